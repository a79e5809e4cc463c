import cython
from holdfast.codec.crc cimport Crc64

cdef Py_ssize_t _ROOM_BYTES
cdef Py_ssize_t _PART_BYTES
cdef Py_ssize_t _LOOP_BYTES

cdef class Sink:
    cdef bytearray _room
    cdef unsigned char* _p
    cdef Py_ssize_t _used
    cdef list _parts
    cdef Crc64 _crc

    @cython.locals(size=Py_ssize_t, out="unsigned char*", p="const unsigned char*", step=Py_ssize_t, put=Py_ssize_t)
    cpdef void span(self, bytes buf, Py_ssize_t at, Py_ssize_t end) except *
    cpdef void write(self, bytes data) except *
    cpdef void byte(self, int number) except *
    @cython.locals(step=cython.int, out="unsigned char*", put=Py_ssize_t)
    cpdef void low_first(self, unsigned long long number) except *
    @cython.locals(step=cython.int, out="unsigned char*", put=Py_ssize_t, size=cython.int)
    cpdef void length(self, unsigned long long number) except *
    cpdef unsigned long long crc(self) except *
    cpdef bytes take(self)
    @cython.locals(part=bytes)
    cdef void _settle(self) except *
