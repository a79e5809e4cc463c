import cython
from holdfast.codec.crc cimport Crc64
from holdfast.codec.rdb.walk cimport Walker

cdef int _NEED
cdef int _KEY
cdef int _VALUE_END
cdef int _UNKNOWN
cdef long long _WHOLE_BOUND
cdef int _IN_HEADER
cdef int _IN_RECORD
cdef int _IN_VALUE
cdef int _IN_FOOTER
cdef int _ENDED
cdef int _HEADER_BYTES
cdef int _LZF
cdef unsigned long long _MOST_IDLE_S
cdef int[514] _ENTRIES

cdef class Scanner(Walker):
    cdef readonly object dialect
    cdef readonly Py_ssize_t record_at
    cdef readonly Py_ssize_t value_at
    cdef readonly long long value_offset
    cdef readonly Py_ssize_t body_at
    cdef readonly Py_ssize_t second_at
    cdef readonly Py_ssize_t meta_at
    cdef readonly Py_ssize_t meta_end
    cdef readonly int type
    cdef readonly long long db
    cdef readonly long long expire_ms
    cdef readonly long long idle_s
    cdef readonly int freq
    cdef readonly unsigned long long first
    cdef readonly unsigned long long second
    cdef readonly unsigned long long third
    cdef readonly unsigned long long crc
    cdef readonly unsigned long long stored_crc
    cdef Crc64 _crc
    cdef Py_ssize_t _crc_at
    cdef int _state
    cdef int _version
    cdef bint _valkey
    cdef bint _has_meta
    cdef list _waiting
    cdef Py_ssize_t _waiting_bytes
    cdef int[256] _entry

    @cython.locals(left=Py_ssize_t)
    cpdef feed(self, bytes data)
    cpdef finish(self)
    cpdef bytes rest(self)
    cpdef bint has_footer(self)
    cpdef int step(self) except -1
    cdef int _header(self) except -1
    @cython.locals(number=cython.int)
    cdef int _record(self) except -1
    @cython.locals(entry=cython.int)
    cdef int _key(self, int number) except -1
    cdef int _begin_value(self, int entry, int stop) except -1
    @cython.locals(start=Py_ssize_t, whole=cython.int)
    cdef int _meta(self) except -1
    cdef int _opcode(self, int number) except -1
    @cython.locals(ranges=cython.int)
    cdef int _slot_import(self) except -1
    @cython.locals(which=cython.int)
    cdef int _numbers(self, int count) except -1
    cdef int _footer(self) except -1
    cdef int _forget(self) except -1
    cdef int _short(self, Py_ssize_t lacking) except -1
    @cython.locals(start=Py_ssize_t)
    cdef int _whole_string(self) except -1
