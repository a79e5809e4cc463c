"""The cause of a refused start, from the words that real servers wrote (copied from their logs)."""

from __future__ import annotations

import pytest

from holdfast.engine.refusal import Cause, last_words, left_out, why, why_not_started

HEAD = "10885:M 21 Nov 2026 02:53:53.949 # "
START = "10885:C 21 Nov 2026 02:53:53.900 # oO0OoO0OoO0Oo Redis is starting oO0OoO0OoO0Oo\n"
FATAL = "\n*** FATAL CONFIG FILE ERROR ({}) ***\nReading the configuration file, at line {}\n>>> '{}'\n{}\n"


@pytest.mark.parametrize(
    ("cause", "log", "told"),
    [
        (Cause.PORT_TAKEN, f"{HEAD}Warning: Could not create server TCP listening socket 127.0.0.1:17999: bind: Address already in use\n"
         f"{HEAD}Failed listening on port 17999 (tcp), aborting.\n", "address 127.0.0.1:17999 is taken"),
        (Cause.ADDRESS_MISSING, f"{HEAD}Warning: Could not create server TCP listening socket 10.99.99.99:17998: bind: Cannot assign "
         f"requested address\n{HEAD}Failed listening on port 17998 (TCP), aborting.\n", "address 10.99.99.99:17998"),
        (Cause.CONFIG_REFUSED, FATAL.format("Redis 6.2.14", 2, "nosuch 1", "Bad directive or wrong number of arguments"),
         "line 2 of its configuration was refused: nosuch 1"),
        (Cause.CONFIG_REFUSED, FATAL.format("Version 9.1.2", 7, "maxmemory lots", "argument must be a memory value"), "maxmemory lots"),
        (Cause.CONFIG_REFUSED, f"{HEAD}Unresolved Configuration(s) Detected:\n{HEAD}>>> 'nosuch 1'\n{HEAD}Module Configuration detected "
         "without loadmodule directive or no ApplyConfig call: aborting\n", "refused: nosuch 1"),
        (Cause.CONFIG_REFUSED, f"{HEAD}Fatal error, can't open config file '/n/server.conf': No such file or directory\n", "configuration"),
        (Cause.SNAPSHOT_UNREADABLE, f"{HEAD}Wrong signature trying to load DB from file\n{HEAD}Fatal error loading the DB, check server "
         "logs. Exiting.\n", "dump.rdb"),
        (Cause.SNAPSHOT_UNREADABLE, "[offset 13] Selecting DB ID 0\n--- RDB ERROR DETECTED ---\n[offset 13] Unexpected EOF\n", "dump.rdb"),
        (Cause.SNAPSHOT_TOO_NEW, f"{HEAD}Can't handle RDB format version 99\n{HEAD}Fatal error loading the DB: Invalid argument. Exiting.\n",
         "RDB version 99"),
        (Cause.LOG_UNREADABLE, f"{HEAD}Bad file format reading the append only file appendonly.aof.1.incr.aof: make a backup of your AOF "
         "file, then use ./valkey-check-aof --fix <filename.manifest>\n", "append-only file"),
        (Cause.LOG_UNREADABLE, f"{HEAD}Unable to obtain the AOF file appendonly.aof.1.incr.aof length. stat: No such file or directory\n",
         "append-only file"),
        (Cause.USERS, f"{HEAD}Aborting Valkey startup because of ACL errors: /n/users.acl:1: Error in applying operation '+nosuchcommand': "
         "Unknown command or category name in ACL.\n", "file of users"),
        (Cause.SOCKET_PATH_TOO_LONG, f"{HEAD}Failed opening Unix socket: unix socket path too long (146), must be under 108\n", "Unix socket"),
        (Cause.CLUSTER_FILE_UNREADABLE, f'{HEAD}Guru Meditation: Unrecoverable error: corrupted cluster config file "garbage here\n". '
         f"#cluster_legacy.c:1043\n{HEAD}valkey 9.1.2 crashed by signal: 11, si_code: 1\n", "nodes.conf"),
        (Cause.FOLDER_IN_USE, f"{HEAD}Sorry, the cluster configuration file nodes.conf is already used by a different Redis Cluster node. "
         "Please make sure\n", "another server"),
        (Cause.NO_TLS, f"{HEAD}Missing implement of connection type tls\n{HEAD}Failed finding TLS support.\n", "without TLS"),
        (Cause.CERTIFICATE, f"{HEAD}Failed to load certificate: /n/no.crt: error:80000002:system library::No such file or directory\n"
         f"{HEAD}Failed to configure TLS. Check logs for more info.\n", "certificate"),
        (Cause.NO_SPACE, f"{HEAD}Failed after writing (0) bytes to tmp cluster config file: No space left on device\n"
         f"{HEAD}Fatal: can't update cluster config file.\n", "disk"),
        (Cause.NO_MEMORY, f"{HEAD}Fatal: Can't initialize Background Jobs. Error message: Resource temporarily unavailable\n", "memory"),
        (Cause.NO_MEMORY, "redis-server: error while loading shared libraries: liblz4.so.1: failed to map segment from shared object\n", "memory"),
        (Cause.LIBRARY_MISSING, "redis-server: error while loading shared libraries: libjemalloc.so.2: cannot open shared object file: No such "
         "file or directory\n", "libjemalloc.so.2"),
        (Cause.TOO_FEW_FILES, f"{HEAD}Your current 'ulimit -n' of 20 is not enough for the server to start. Please increase\n", "only 20 files"),
        (Cause.PERMISSION, f"{HEAD}Can't chdir to '/n': Permission denied\n", "may not read or write"),
        (Cause.OTHER, f"{HEAD}Something nobody has seen\n", "it ended with exit code 1"),
    ],
)  # fmt: skip
def test_the_cause_is_told_from_the_servers_words(cause: Cause, log: str, told: str) -> None:
    found = why(START + log, 1)
    assert found.cause is cause
    assert told in found.sentence
    assert found.engine_words
    assert found.hint.endswith((".", "add."))


@pytest.mark.parametrize(
    ("exit_code", "cause", "told"),
    [(-9, Cause.KILLED, "SIGKILL"), (-11, Cause.CRASHED, "signal 11"), (-15, Cause.KILLED, "signal 15"), (None, Cause.OTHER, "it ended")],
)  # fmt: skip
def test_a_silent_end_is_told_from_how_it_came(exit_code: int | None, cause: Cause, told: str) -> None:
    found = why("", exit_code)
    assert found.cause is cause
    assert told in found.sentence
    assert ("It said nothing." in str(found)) is (cause is not Cause.KILLED)


def test_a_killed_server_is_not_quoted_for_what_it_said_long_before() -> None:
    found = why(START + f"{HEAD}Missing implement of connection type tls\n", -9)
    assert str(found).startswith(
        "it was killed (SIGKILL), by somebody or by the system when memory ran out. Look at"
    )


def test_what_every_start_says_is_left_out() -> None:
    overcommit = f"{HEAD}WARNING Memory overcommit must be enabled! Without it, a background save may fail.\n"
    assert (
        last_words(START + overcommit + f"{HEAD}Failed listening on port 1 (tcp), aborting.\n")
        == "Failed listening on port 1 (tcp), aborting."
    )


@pytest.mark.parametrize("name", ["primaryauth", "masterauth", "requirepass", "sentinel auth-pass cart"])
def test_a_refused_line_with_a_password_is_told_without_it(name: str) -> None:
    found = why(FATAL.format("Version 9.1.2", 3, f'{name} "hunter2 x"', "Unbalanced quotes"), 1)
    assert found.cause is Cause.CONFIG_REFUSED
    assert "hunter2" not in str(found) + repr(found)
    assert "(secret)" in found.sentence


def test_a_hash_in_a_refused_user_is_not_told() -> None:
    line = f"{HEAD}Aborting Valkey startup because of ACL errors: /u:1: Error in applying operation '#{'ab' * 32}x'\n"
    assert "abab" not in str(why(line, 1))


def test_a_log_cannot_move_the_terminals_cursor() -> None:
    assert "\x1b" not in str(why(f"{HEAD}\x1b[2Jbad\n", 1))


@pytest.mark.parametrize(
    ("error", "cause"), [("Permission denied", Cause.NOT_EXECUTABLE), ("No such file or directory", Cause.OTHER), ("Exec format error", Cause.NOT_EXECUTABLE)]
)  # fmt: skip
def test_a_program_that_the_system_does_not_start(error: str, cause: Cause) -> None:
    assert why_not_started(error, "/e/valkey-server").cause is cause


@pytest.mark.parametrize(
    ("log", "said"),
    [
        ("1:M 21 Nov 2026 04:00:00.000 # !!! Truncating the AOF at offset 812 !!!", "byte 812"),
        (
            "1:M 21 Nov 2026 04:00:00.000 # !!! Truncating the AOF appendonly.aof.1.incr.aof at offset 7 !!!",
            "byte 7",
        ),
        ("1:M 21 Nov 2026 04:00:00.000 * DB loaded from append only file: 0.001 seconds", ""),
    ],
    ids=["before 7.0", "since 7.0", "whole"],
)
def test_what_a_server_left_out_when_it_started_is_told(log: str, said: str) -> None:
    told = left_out(log)
    assert (said in told) if said else told == ""
