import cython
from holdfast.codec.crc cimport crc64

cdef Py_ssize_t _ROOM_BYTES
cdef Py_ssize_t _BESIDE_BYTES
cdef Py_ssize_t _LOOP_BYTES

cdef class RestorePacker:
    cdef int _version
    cdef bytearray _room
    cdef unsigned char* _p
    cdef Py_ssize_t _used

    @cython.locals(size=Py_ssize_t, start=Py_ssize_t, has_more=bint)
    cpdef bytes pack(self, bytes key, int kind, bytes value, long long ends_ms, long long freq, long long idle_s)
    @cython.locals(size=Py_ssize_t, put=Py_ssize_t, out="unsigned char*", step=Py_ssize_t)
    cdef void _put(self, bytes data) except *
    @cython.locals(put=Py_ssize_t, out="unsigned char*", step=cython.int)
    cdef void _low_first(self, unsigned long long number, int width) noexcept
    @cython.locals(out="unsigned char*", at=Py_ssize_t)
    cdef void _digits(self, long long number, int width) noexcept
    cdef void _head(self, Py_ssize_t size) except *
    @cython.locals(width=cython.int)
    cdef void _word(self, long long number) except *

@cython.locals(width=cython.int, least="unsigned long long")
cdef int _width(unsigned long long number) noexcept
