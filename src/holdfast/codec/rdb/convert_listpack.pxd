import cython
from holdfast.codec.rdb.listpack cimport Listpack
from holdfast.codec.rdb.task cimport Task

cdef long long _NEVER_MS
cdef long long _MOST_MS
cdef int _UNKNOWN_COUNT
cdef int _HASH
cdef int _VALKEY_HASH_TTL
cdef object _FIELD_TTL

cdef class HashListpack(Task):
    cdef bint _has_least
    cdef bint _has_ttl
    cdef bint _must_choose
    cdef long long _limit_ms
    cdef long long _expire_ms
    cdef Listpack _behind
    cdef Listpack _ahead
    cdef bytes _listpack
    cdef Py_ssize_t _listpack_at
    cdef Py_ssize_t _listpack_end

    cdef int _go(self) except -1
    @cython.locals(entry=Listpack, with_ttl="long long")
    cdef int _once(self) except -1
    @cython.locals(fields="long long", kept="long long", with_ttl="long long")
    cdef int _twice(self) except -1
    @cython.locals(head=cython.int, start=Py_ssize_t)
    cdef int _find(self) except -1
    cdef int _look(self) except -1
    cdef void _write(self, bint with_expiry) except *
    cdef void _write_entry(self, Listpack entry) except *
    cdef bint _is_kept(self) noexcept
    @cython.locals(entries=Listpack, at=Py_ssize_t, end=Py_ssize_t, number="long long", p="const unsigned char*")
    cdef void _read_expiry(self) except *
