import cython

cdef int _BETWEEN
cdef long long _LONGEST
cdef long long _NO_NUMBER
cdef long long _LONGEST_NUMBER
cdef Py_ssize_t _LOOP_BYTES
cdef Py_ssize_t _HEADS_KEPT
cdef dict _HEADS
cdef list _LENGTHS

cdef class Frames:
    cdef readonly long long left
    cdef long long _skip
    cdef int _kind
    cdef long long _number
    cdef bint _is_negative

    cpdef want(self, long long count)
    @cython.locals(byte=cython.int, room=Py_ssize_t)
    cpdef Py_ssize_t walk(self, const unsigned char[:] buf, Py_ssize_t at, Py_ssize_t end) except -1

cdef class Replies:
    cdef readonly Py_ssize_t count
    cdef readonly long long bytes_held
    cdef list _bufs
    cdef list _bases
    cdef long long[::1] _in
    cdef long long[::1] _from
    cdef long long[::1] _to

    @cython.locals(end=Py_ssize_t, which=Py_ssize_t, start=Py_ssize_t, number=cython.longlong, is_text=bint, is_negative=bint, place=Py_ssize_t)
    cpdef Py_ssize_t take(self, bytes buf, Py_ssize_t at, list places, object base=*) except -1
    @cython.locals(buf=bytes)
    cpdef bytes reply(self, Py_ssize_t place)
    @cython.locals(buf=bytes, at=Py_ssize_t, end=Py_ssize_t, number=cython.longlong, is_negative=bint, base=cython.longlong)
    cpdef long long number(self, Py_ssize_t place) except? -1
    @cython.locals(buf=bytes, at=Py_ssize_t, size=Py_ssize_t, step=Py_ssize_t, place=Py_ssize_t)
    cpdef list other_than(self, bytes reply, list places)

@cython.locals(place=Py_ssize_t, at=Py_ssize_t, end=Py_ssize_t, start=Py_ssize_t, size=Py_ssize_t, body=Py_ssize_t, step=Py_ssize_t, buf=bytes, twin=bytes)
cpdef list unlike(Replies one, Replies other, list places, Py_ssize_t footer)

@cython.locals(place=Py_ssize_t, size=Py_ssize_t, key=bytes, heads=list, parts=list)
cpdef bytes pack_each(bytes command, list keys, list places)
cpdef bytes _head(bytes command, Py_ssize_t size)

@cython.locals(size=Py_ssize_t, key=bytes, parts=list)
cpdef bytes pack_words(bytes command, list keys)
