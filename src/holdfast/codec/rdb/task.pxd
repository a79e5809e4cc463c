import cython
from holdfast.codec.rdb.scan cimport Scanner
from holdfast.codec.rdb.sink cimport Sink
from holdfast.codec.rdb.walk cimport Walker

cdef class Task(Walker):
    cdef readonly Sink sink
    cdef readonly object bounds
    cdef readonly long long db
    cdef readonly bint has_key
    cdef public list lost
    cdef bint _is_open
    cdef bint _is_done
    cdef bint _is_last
    cdef bytes _head
    cdef Py_ssize_t _head_at
    cdef Py_ssize_t _cut_at
    cdef Py_ssize_t _cut_end
    cdef Py_ssize_t _type_at
    cdef Py_ssize_t _head_end
    cdef list _waiting
    cdef Py_ssize_t _waiting_bytes

    cpdef void begin(self, long long db, bytes key, long long base) except *
    cdef void begin_record(self, Scanner scan, bint keeps_meta) except *
    cdef void _begin(self) except *
    @cython.locals(left=Py_ssize_t)
    cpdef void feed(self, bytes buf, Py_ssize_t at, Py_ssize_t end, bint is_last) except *
    cdef int _go(self) except -1
    @cython.locals(head=bytes)
    cpdef void open(self, int type) except *
    cpdef void lose(self, reason, long long parts=*) except *
    cpdef give_up(self, reason)
    cpdef key_name(self)
    cdef void _check_bound(self, Py_ssize_t held) except *
