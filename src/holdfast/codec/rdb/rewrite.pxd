import cython
from holdfast.codec.rdb.scan cimport Scanner
from holdfast.codec.rdb.sink cimport Sink
from holdfast.codec.rdb.task cimport Task

cdef int _NEED
cdef int _KEY
cdef int _VALUE_END
cdef int _MODULE
cdef int _CARRY
cdef int _CONVERT
cdef int _LOSE

cdef class Rewriter:
    cdef readonly object target
    cdef readonly object losses
    cdef readonly long long keys
    cdef readonly long long keys_lost
    cdef readonly long long keys_converted
    cdef readonly bint is_finished
    cdef readonly long long bytes_in
    cdef readonly long long bytes_out
    cdef readonly Scanner scan
    cdef long long _databases
    cdef Sink _sink
    cdef int[256] _fate
    cdef dict _rules
    cdef dict _parts
    cdef dict _tasks
    cdef bint _is_valkey
    cdef int _mode
    cdef bint _is_outside
    cdef Task _task
    cdef object _often
    cdef long long _often_keys
    cdef long long _often_parts

    @cython.locals(written=bytes)
    cpdef bytes feed(self, bytes data)
    cpdef finish(self)
    cpdef bytes rest(self)
    @cython.locals(scan=Scanner, start=Py_ssize_t, stop=cython.int)
    cdef void _run(self) except *
    cdef void _emit(self, Py_ssize_t start, Py_ssize_t end) except *
    @cython.locals(scan=Scanner, keeps_meta=cython.bint)
    cdef Py_ssize_t _begin_value(self) except -1
    cdef Task _task_for(self, int number)
    @cython.locals(task=Task)
    cdef void _convert(self, Py_ssize_t start, bint is_last) except *
    @cython.locals(task=Task)
    cdef void _end_value(self, Py_ssize_t start) except *
    cdef _name(self, reason)
    cdef _count(self, Task task)
    cdef void _enter(self) except *
    @cython.locals(scan=Scanner)
    cdef Py_ssize_t _other(self, int stop, Py_ssize_t start) except -1
    @cython.locals(scan=Scanner, closed=Py_ssize_t)
    cdef void _finish(self, Py_ssize_t start) except *
