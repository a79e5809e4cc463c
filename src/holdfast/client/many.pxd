import cython

@cython.locals(words=list, size=Py_ssize_t, key=object, text=str)
cpdef bytes mget(list keys)

@cython.locals(found=dict, at=Py_ssize_t, reply=object, raw=bytes)
cpdef by_key(list keys, list replies, decode)
