import cython
from holdfast.codec.rdb.events cimport Key
from holdfast.codec.rdb.scan cimport Scanner

cdef int _NEED
cdef int _KEY
cdef int _VALUE_END

cdef class Parser:
    cdef readonly Scanner scan
    cdef Py_ssize_t _whole_bytes
    cdef object _running
    cdef bint _is_over

    @cython.locals(scan=Scanner, made=Key, start=Py_ssize_t, stop=cython.int)
    cdef object _next(self)
    @cython.locals(scan=Scanner, made=Key)
    cdef Key _key(self)
    @cython.locals(scan=Scanner)
    cdef object _other(self, int stop)
