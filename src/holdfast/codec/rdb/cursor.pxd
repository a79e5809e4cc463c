import cython

cdef class Cursor:
    cdef public bytes buf
    cdef public Py_ssize_t at
    cdef public Py_ssize_t end
    cdef public long long base
    cdef public object key

    cpdef Py_ssize_t left(self)
    @cython.locals(head=cython.int, size=Py_ssize_t, start=Py_ssize_t)
    cpdef object length(self)
    cpdef object count(self)
    @cython.locals(head=cython.int, start=Py_ssize_t)
    cpdef bytes string(self)
    @cython.locals(start=Py_ssize_t)
    cpdef bytes raw_string(self)
    @cython.locals(head=cython.int)
    cpdef object string_head(self)
    @cython.locals(start=Py_ssize_t)
    cpdef bytes raw(self, size)
    cpdef skip(self, size)
    cpdef object unsigned(self)
    cpdef object signed(self)
    cpdef double double(self) except? -1
    cdef int _have(self, size, str what) except -1

cpdef tuple decode_string(bytes buf, Py_ssize_t at, Py_ssize_t end, long long base=*)
