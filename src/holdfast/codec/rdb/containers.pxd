import cython

@cython.locals(
    end=Py_ssize_t, count=Py_ssize_t, at=Py_ssize_t, last=Py_ssize_t, head=cython.int, start=Py_ssize_t,
    size="long long", skipped=Py_ssize_t, number=cython.int, width=Py_ssize_t, found=list,
)
cpdef list read_listpack(bytes packed)

cdef Py_ssize_t back_length_size(Py_ssize_t size) noexcept

@cython.locals(width=Py_ssize_t, step=Py_ssize_t, wanted=cython.int)
cdef bint is_back_length(const unsigned char* packed, Py_ssize_t at, Py_ssize_t end, Py_ssize_t size) noexcept

@cython.locals(number="unsigned long long", step=Py_ssize_t, one="unsigned long long")
cdef long long little(const unsigned char* packed, Py_ssize_t at, Py_ssize_t width, Py_ssize_t end) noexcept

@cython.locals(
    end=Py_ssize_t, count=Py_ssize_t, at=Py_ssize_t, last=Py_ssize_t, before="long long", tail=Py_ssize_t, said="long long",
    head=cython.int, size="long long", width=Py_ssize_t, found=list,
)
cpdef list read_ziplist(bytes packed)

cdef Py_ssize_t integer_width(int head) noexcept
