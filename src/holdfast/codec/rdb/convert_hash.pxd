import cython
from holdfast.codec.rdb.task cimport Task

cdef int _START
cdef int _EXPIRY
cdef int _NAME
cdef int _VALUE
cdef int _CLOSE
cdef long long _NEVER_MS
cdef unsigned long long _MOST_MS
cdef int _PLAIN
cdef int _VALKEY
cdef int _REDIS
cdef int _HASH
cdef int _HASH_TTL
cdef int _VALKEY_HASH_TTL

cdef class HashFields(Task):
    cdef bint _expiry_first
    cdef bint _has_least
    cdef int _to
    cdef bint _must_choose
    cdef long long _limit_ms
    cdef long long _least_ms
    cdef long long _expire_ms
    cdef unsigned long long _left_fields
    cdef Py_ssize_t _name_at
    cdef Py_ssize_t _value_end
    cdef int _place
    cdef long long _lost_expiries

    cdef void _begin(self) except *
    cdef int _go(self) except -1
    @cython.locals(start=Py_ssize_t)
    cdef int _prelude(self) except -1
    @cython.locals(mark=Py_ssize_t, room=Py_ssize_t)
    cdef int _carry(self) except -1
    cdef int _turn(self) except -1
    @cython.locals(start=Py_ssize_t)
    cdef int _field(self) except -1
    cdef int _whole_string(self) except -1
    @cython.locals(first=Py_ssize_t, count="unsigned long long", kept="unsigned long long", read="unsigned long long")
    cdef int _choose(self) except -1
    @cython.locals(added="unsigned long long")
    cdef int _read_expiry(self) except -1
