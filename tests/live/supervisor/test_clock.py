"""No wall clock decides anything: the supervisor's jumps by days, and nobody is blamed, nor is a death seen later."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest
from tests.live.conftest import Bench, until
from tests.live.preload import compiled
from tests.live.supervisor.guarded import HANG_S, await_health, events, shards_of, up
from tests.live.supervisor.ledger import Writers

# What Python asks for the time of day, by way of the C library; the monotonic clock is left alone, and so are the
# servers, which have their own ways with a clock that jumps.
SHIFTED_CLOCK = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
#include <time.h>

static long shift_s(void) {
    long shift = 0;
    const char *name = getenv("SHIFT_FILE");
    if (strncmp(program_invocation_short_name, "python", 6)) return 0;
    FILE *file = name ? fopen(name, "r") : NULL;
    if (file) {
        if (fscanf(file, "%ld", &shift) != 1) shift = 0;
        fclose(file);
    }
    return shift;
}

int clock_gettime(clockid_t clock, struct timespec *at) {
    static int (*real)(clockid_t, struct timespec *);
    if (!real) real = dlsym(RTLD_NEXT, "clock_gettime");
    int failed = real(clock, at);
    if (!failed && clock == CLOCK_REALTIME) at->tv_sec += shift_s();
    return failed;
}

int gettimeofday(struct timeval *restrict at, void *restrict zone) {
    struct timespec now;
    (void)zone;
    if (clock_gettime(CLOCK_REALTIME, &now)) return -1;
    at->tv_sec = now.tv_sec;
    at->tv_usec = now.tv_nsec / 1000;
    return 0;
}

time_t time(time_t *at) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    if (at) *at = now.tv_sec;
    return now.tv_sec;
}
"""
DAY_S = 86_400


@pytest.fixture
def shifted_clock(tmp_path: Path) -> Path:
    """A library that shifts the clock of the programs it is loaded into by the seconds in $SHIFT_FILE."""
    return compiled(SHIFTED_CLOCK, tmp_path)


@pytest.mark.long
def test_the_supervisors_clock_jumps_and_nobody_is_blamed(
    bench: Bench, shifted_clock: Path, tmp_path: Path
) -> None:
    shift = tmp_path / "shift"
    shift.write_text("0")
    bench.environ |= {"LD_PRELOAD": str(shifted_clock), "SHIFT_FILE": str(shift)}
    way = up(bench, "valkey-9.1", "cluster", timeout="5s")
    supervisor = int((bench.state / "supervisor" / "lock").read_text())
    assert str(shifted_clock) in Path(f"/proc/{supervisor}/maps").read_text()
    shard = shards_of(bench)[0]
    pids = bench.pids()
    with Writers(way, [shard["primary"], *shard["replicas"]], shard["slots"], wait=1) as writers:
        for days in (3, -3, 0):
            shift.write_text(str(days * DAY_S))
            time.sleep(2.5)
        assert all(account.errors == 0 for account in writers.accounts.values())
        assert bench.pids() == pids
        assert not [each for kind in ("killed", "failover", "lost", "ended") for each in events(bench, kind)]
        shift.write_text(str(-DAY_S))
        began_s = time.time()
        os.kill(pids[shard["primary"]], signal.SIGKILL)
        until(lambda: any(way.roles()[name] == "master" for name in shard["replicas"]), bound_s=HANG_S)
        time.sleep(1.0)
    assert writers.lost() == 0
    (failover,) = events(bench, "failover")
    assert failover["elected_ms"] < HANG_S * 1000
    assert failover["at"] < time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(began_s)), "its clock was back"
    shift.write_text("0")
    await_health(bench, 30)
