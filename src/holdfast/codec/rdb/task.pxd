import cython
from holdfast.codec.rdb.cursor cimport Cursor

cdef class Head:
    cdef readonly object db
    cdef readonly object key
    cdef readonly bytes prefix
    cdef readonly bytes name

cdef class Task:
    cdef readonly Head head
    cdef readonly object bounds
    cdef readonly Cursor cursor
    cdef public list out
    cdef public list lost
    cdef list _waiting
    cdef Py_ssize_t _waiting_bytes
    cdef bint _is_open

    cpdef open(self, int type)
    cpdef lose(self, reason, Py_ssize_t parts=*)
    cpdef give_up(self, reason)
    @cython.locals(cursor=Cursor, left=Py_ssize_t, rest=bytes)
    cpdef bint feed(self, bytes data, bint is_last) except *
    cpdef bytes take_rest(self)
    @cython.locals(cursor=Cursor, start=Py_ssize_t)
    cpdef tried(self, reader)
    cdef _check_bound(self)
