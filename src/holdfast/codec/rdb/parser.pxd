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

    @cython.locals(scan=Scanner)
    cdef Key _key(self)
    @cython.locals(scan=Scanner)
    cdef object _other(self, int stop)
