import cython
from cpython cimport time
from holdfast.client cimport coarse

cdef class Trust:
    cdef public double until

cdef class Entry:
    cdef public object value, owner
    cdef public double until
    cdef public Trust trust
    cdef public Py_ssize_t size
    cdef public long long hits

cdef class View:
    cdef readonly dict entries

    @cython.locals(entry=Entry, now=double)
    cpdef look(self, key)
