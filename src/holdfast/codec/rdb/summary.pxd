import cython
from holdfast.codec.rdb.scan cimport Scanner

cdef int _KEY
cdef int _VALUE_END
cdef int _NEED
cdef int _MODULE

cdef class Tally:
    cdef long long db
    cdef long long[256] keys
    cdef long long[256] value_bytes
    cdef long long expiring

    @cython.locals(number=cython.int)
    cdef settle(self, summary, long long db)

@cython.locals(scan=Scanner, tally=Tally, stop=cython.int, size="long long", least="long long", heap=list, is_key=cython.bint, unnamed=cython.int)
cpdef summarize(pieces, long long total=*, Py_ssize_t biggest=*)

cdef int _name_module(summary, Scanner scan, int stop) except -1

cdef _count_other(summary, Scanner scan, int stop)
