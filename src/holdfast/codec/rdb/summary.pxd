import cython
from holdfast.codec.rdb.scan cimport Scanner

cdef int _KEY
cdef int _VALUE_END
cdef int _NEED

@cython.locals(scan=Scanner, stop=cython.int, size="long long", least="long long", heap=list, place=tuple)
cpdef summarize(pieces, long long total=*, Py_ssize_t biggest=*)

cdef _count_key(summary, Scanner scan, tuple place)

cdef _count_other(summary, Scanner scan, int stop)
