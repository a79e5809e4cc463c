import cython

cdef class Key:
    cdef readonly long long db
    cdef readonly bytes key
    cdef readonly int type
    cdef readonly bytes value
    cdef readonly object expire_ms
    cdef readonly object idle_s
    cdef readonly object freq
    cdef readonly bytes meta
    cdef readonly long long offset

    cpdef set_value(self, bytes value)
