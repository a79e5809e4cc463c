import cython

@cython.locals(crc=int, byte=cython.uint)
cpdef int crc16(bytes buf)

cpdef bytes hash_tag(bytes key)

cpdef int key_slot(bytes key)

cdef unsigned long long[4096] _CRC64

@cython.locals(
    first=cython.uint, second="unsigned long long", third=cython.uint, fourth="unsigned long long",
    low="unsigned long long", high="unsigned long long",
)
cdef unsigned long long crc64_span(const unsigned char* buf, Py_ssize_t at, Py_ssize_t end, unsigned long long crc) noexcept

cpdef unsigned long long crc64(bytes buf, unsigned long long crc=*)

cdef class Crc64:
    cdef readonly unsigned long long value
    cpdef add(self, bytes buf, Py_ssize_t at, Py_ssize_t end)
