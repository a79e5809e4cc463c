import cython

cpdef tuple walk_over(bytes buf, Py_ssize_t at, Py_ssize_t end, frozenset listed, frozenset plain=*)

cpdef tuple walk_to(bytes buf, Py_ssize_t at, Py_ssize_t end, frozenset listed)

@cython.locals(i=Py_ssize_t, left=cython.longlong, size=cython.longlong, named_at=Py_ssize_t, named_end=Py_ssize_t, short=bint, name=bytes)
cdef tuple _walk(bytes buf, Py_ssize_t at, Py_ssize_t end, frozenset listed, frozenset plain, bint stop_when)

cpdef tuple read_command(bytes buf, Py_ssize_t at)

cpdef bytes write_command(list words)
