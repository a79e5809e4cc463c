import cython
from holdfast.codec.replies cimport Replies

cdef long long _NO_NUMBER
cdef long long _NO_KEY
cdef long long _FAR_MS

cdef class Measured:
    cdef readonly Replies ends
    cdef readonly Replies sizes
    cdef readonly long long margin_ms
    cdef readonly long long unknown_bytes

    cpdef long long end_ms(self, Py_ssize_t place) except? -1
    cpdef long long size(self, Py_ssize_t place) except? -1

@cython.locals(
    big=cython.longlong, text=cython.longlong, room_of_all=cython.longlong, near_ms=cython.longlong, room=cython.longlong, place=Py_ssize_t,
    size=cython.longlong, twin_size=cython.longlong, weight=cython.longlong, end=cython.longlong, twin_end=cython.longlong, apart=cython.longlong,
    small=list, large=list, rest=list,
)
cpdef list in_groups(Measured one, Measured other, object bounds)
