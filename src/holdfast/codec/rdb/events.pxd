import cython

cdef class Key:
    cdef readonly object db
    cdef readonly bytes key
    cdef readonly int type
    cdef readonly object value
    cdef readonly object expire_ms
    cdef readonly object idle_s
    cdef readonly object freq
    cdef readonly object meta
    cdef readonly object offset

    cpdef set_value(self, bytes value)
