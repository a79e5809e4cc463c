import cython

cdef unsigned long long _STRING_BOUND
cdef unsigned long long _COUNT_BOUND
cdef unsigned long long _MOST_EXPANDED
cdef int _DONE
cdef int _STRING
cdef int _NUMBER
cdef int _RAW
cdef int _LOOP
cdef int _LOOP_END
cdef int _SCORE
cdef int _COUNT
cdef int _COUNTED
cdef int _MAYBE
cdef int _ITEM
cdef unsigned short[1024] _CODE

cdef class Walker:
    cdef readonly long long total
    cdef readonly long long base
    cdef readonly bytes buf
    cdef const unsigned char* _p
    cdef public Py_ssize_t at
    cdef readonly Py_ssize_t end
    cdef readonly Py_ssize_t need
    cdef readonly Py_ssize_t key_at
    cdef object _kept_key
    cdef bint _has_key
    cdef unsigned long long _number
    cdef Py_ssize_t _skip
    cdef int _pc
    cdef int _depth
    cdef unsigned long long _count
    cdef int[8] _loop_at
    cdef unsigned long long[8] _loop_left

    cpdef Py_ssize_t walk_value(self, bytes body, int entry) except -1
    cpdef bytes piece(self, Py_ssize_t start, Py_ssize_t end)
    @cython.locals(head=cython.uint)
    cpdef key_name(self)
    @cython.locals(p="const unsigned char*", at=Py_ssize_t, room=Py_ssize_t, head=cython.uint, high="unsigned long long")
    cdef int _length(self) except -1
    @cython.locals(head=cython.uint)
    cdef int _string(self) except -1
    @cython.locals(start=Py_ssize_t, packed="unsigned long long")
    cdef int _packed(self) except -1
    @cython.locals(room=Py_ssize_t, code=cython.int, level=cython.int)
    cdef int _walk(self) except -1
    cdef int _enter(self, unsigned long long count) except -1
    @cython.locals(start=Py_ssize_t, size=cython.int, number="unsigned long long")
    cdef int _seldom(self, int code) except -1
    cdef int _module_part(self, unsigned long long number, Py_ssize_t start) except -1
    cdef int _again(self, Py_ssize_t start) except -1
    @cython.locals(p="const unsigned char*", low=cython.uint, high="unsigned long long")
    cdef unsigned long long _unsigned(self, Py_ssize_t at) noexcept
    @cython.locals(p="const unsigned char*", low=cython.uint)
    cdef long long _signed(self, Py_ssize_t at) noexcept
    @cython.locals(p="const unsigned char*", top="long long")
    cdef long long _signed_32(self, Py_ssize_t at) noexcept
    @cython.locals(p="const unsigned char*")
    cdef unsigned int _big_32(self, Py_ssize_t at) noexcept
    @cython.locals(left="long long")
    cdef unsigned long long _left(self) noexcept
    cdef _corrupt(self, str expected, str found)
    cdef _too_long(self, str what, long long bound)
