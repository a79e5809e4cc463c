import cython
from holdfast.codec.rdb.cursor cimport Cursor
from holdfast.codec.rdb.task cimport Task

@cython.locals(entries=list, found=list, at=Py_ssize_t, said=bytes)
cpdef list listpack_fields(bytes packed, Cursor cursor)

cdef bytes _ms(object expire_ms, Cursor cursor)

cdef tuple _valkey_field(Cursor cursor)

@cython.locals(kept=list, lost=Py_ssize_t)
cdef _write_plain(Task task, list fields)
