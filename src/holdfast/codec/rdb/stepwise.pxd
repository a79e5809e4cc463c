import cython
from holdfast.codec.rdb.cursor cimport Cursor
from holdfast.codec.rdb.task cimport Task

cdef class Stepwise(Task):
    cdef readonly Cursor cursor
    cdef public list out
    cdef object _make
    cdef object _steps

    cdef void _begin(self) except *
    @cython.locals(cursor=Cursor)
    cdef int _go(self) except -1
