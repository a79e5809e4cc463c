import cython

@cython.locals(
    end=Py_ssize_t, whole=bytearray, out="unsigned char*", p="const unsigned char*",
    at=Py_ssize_t, put=Py_ssize_t, control=cython.int, count=Py_ssize_t, back=Py_ssize_t,
)
cpdef bytes expand(bytes packed, Py_ssize_t length)

@cython.locals(step=Py_ssize_t)
cdef void copy_bytes(unsigned char* out, Py_ssize_t put, const unsigned char* p, Py_ssize_t at, Py_ssize_t count) noexcept

@cython.locals(step=Py_ssize_t)
cdef void repeat(unsigned char* out, Py_ssize_t put, Py_ssize_t back, Py_ssize_t count) noexcept
