import cython

cdef Py_ssize_t _HEAD_BYTES

cdef class Listpack:
    cdef bytes _buf
    cdef const unsigned char* _p
    cdef Py_ssize_t _start
    cdef Py_ssize_t _at
    cdef Py_ssize_t _last
    cdef readonly int said
    cdef readonly Py_ssize_t count
    cdef readonly bint is_number
    cdef readonly long long number
    cdef readonly Py_ssize_t at
    cdef readonly Py_ssize_t size

    @cython.locals(p="const unsigned char*")
    cpdef int open(self, bytes buf, Py_ssize_t at, Py_ssize_t end) except -1
    @cython.locals(p="const unsigned char*", at=Py_ssize_t, head=cython.int, behind=Py_ssize_t, whole=Py_ssize_t, width=cython.int)
    cpdef int next(self) except -1
    cpdef bytes text(self)
    @cython.locals(p="const unsigned char*", number="long long", one="long long", step=cython.int)
    cdef long long _low_first(self, Py_ssize_t at, int width) noexcept
    @cython.locals(width=cython.int, step=cython.int, wanted=cython.int)
    cdef bint _is_back_length(self, Py_ssize_t at, Py_ssize_t size) noexcept
    cdef _corrupt(self, Py_ssize_t at, str expected)

cdef int _back_length_bytes(Py_ssize_t size) noexcept

@cython.locals(entries=Listpack, found=list)
cpdef list read_listpack(bytes packed)
