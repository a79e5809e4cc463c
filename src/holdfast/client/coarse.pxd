# The clock of `kept` for ends that are far off: the kernel's last tick. There is no coarse.py: as written, `kept` asks `time`.

cdef extern from *:
    """
    #include <time.h>
    static double holdfast_coarse(void) {
    #ifdef CLOCK_MONOTONIC_COARSE
        struct timespec at;
        if (clock_gettime(CLOCK_MONOTONIC_COARSE, &at) == 0)
            return (double)at.tv_sec + (double)at.tv_nsec * 1e-9;
    #endif
        return Py_HUGE_VAL; /* later than any end: the exact clock is asked */
    }
    """
    double monotonic "holdfast_coarse"() nogil
