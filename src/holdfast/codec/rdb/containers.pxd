import cython

@cython.locals(number="unsigned long long", step=Py_ssize_t, one="unsigned long long")
cdef long long little(const unsigned char* packed, Py_ssize_t at, Py_ssize_t width, Py_ssize_t end) noexcept

@cython.locals(
    end=Py_ssize_t, count=Py_ssize_t, at=Py_ssize_t, last=Py_ssize_t, before="long long", tail=Py_ssize_t, said="long long",
    head=cython.int, size="long long", width=Py_ssize_t, found=list,
)
cpdef list read_ziplist(bytes packed)

cdef Py_ssize_t integer_width(int head) noexcept
