import cython

@cython.locals(crc=int, byte=cython.uint)
cpdef int crc16(bytes buf)

cpdef bytes hash_tag(bytes key)

cpdef int key_slot(bytes key)
