import cython

cdef list _SHORT

cpdef bytes write_length(object number)
cpdef bytes write_string(bytes text)
