"""Exit codes: part of every command's contract (docs/cli.md)."""

from enum import IntEnum


class ExitCode(IntEnum):
    """What a script may conclude from a command's end."""

    OK = 0
    FAILED = 1
    WRONG_USAGE = 2
    CHANGES_WAIT = 3
    """`plan`: steps are outstanding; `status`: the cache is degraded."""
    PROMISE_BROKEN = 4
    DATA_DIFFERS = 5
    ADVICE = 6
    """`check`: advice of severity error that is not accepted."""
