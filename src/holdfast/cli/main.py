"""The console script: registers every command, runs one, and turns its error into one line and an exit code."""

from __future__ import annotations

import importlib
import sys
import traceback
from dataclasses import dataclass
from typing import Any, NoReturn

from holdfast.cli import console
from holdfast.cli.exit import ExitCode
from holdfast.errors import HoldfastError, WrongUsage

COMMAND_MODULES = (
    "holdfast.cli.spec",
    "holdfast.cli.engines",
    "holdfast.cli.cache",
    "holdfast.cli.application",
    "holdfast.cli.changes",
    "holdfast.cli.bench",
    "holdfast.cli.upgrade",
    "holdfast.cli.prove",
    "holdfast.cli.migrate",
    "holdfast.cli.maintenance",
    "holdfast.cli.repair",
    "holdfast.cli.compare",
    "holdfast.cli.supervisor",
    "holdfast.cli.service",
    "holdfast.cli.doctor",
    "holdfast.cli.docs",
    "holdfast.cli.rdb",
    "holdfast.cli.uninstall",
)


INTERRUPTED = 130
"""What shells say of a command that Ctrl-C ended."""


@dataclass(eq=False)
class SystemRefused(HoldfastError):
    """The operating system did not do something."""

    where: str
    words: str

    def __str__(self) -> str:
        return (
            f"{self.where}: {self.words}; what was done stays done: mend that and run the same command again "
            "(--debug shows where it happened)"
        )


def register() -> None:
    """Import every command's module, so that it is known to `app`; help and pages list them in this order, whatever was
    imported before.
    """
    from holdfast.cli.app import app

    places = {}
    for place, module in enumerate(COMMAND_MODULES):
        importlib.import_module(module)
        places[module] = place

    def place_of(module: str) -> int:
        while module and module not in places:
            module = module.rpartition(".")[0]
        return places.get(module, len(places))

    app.registered_commands.sort(key=lambda each: place_of(each.callback.__module__ if each.callback else ""))
    app.registered_groups.sort(key=lambda each: place_of(_home(each)))


def _home(group: Any) -> str:
    """Module of a group's first command."""
    inner = group.typer_instance
    found = [each.callback.__module__ for each in inner.registered_commands if each.callback]
    return found[0] if found else ""


def main() -> None:
    """Run the command line; the only place where a HoldfastError ends."""
    try:
        from holdfast.cli.app import app
    except ModuleNotFoundError as missing:
        console.err(
            f"holdfast: the control plane needs {missing.name}, which is not installed: "
            "pip install 'holdfast[run]' (the base install is the applications' library)"
        )
        sys.exit(ExitCode.FAILED)
    register()
    try:
        app(prog_name="holdfast")
    except WrongUsage as wrong:
        _tell(wrong)
        sys.exit(ExitCode.WRONG_USAGE)
    except HoldfastError as failed:
        _tell(failed)
        sys.exit(ExitCode.FAILED)
    except KeyboardInterrupt:
        _tell_interrupted()
    except SystemExit as ended:
        if ended.code == INTERRUPTED:  # the command line's own library has caught it, without a word
            _tell_interrupted()
        raise
    except BrokenPipeError:  # the reader of `holdfast ... | head` has seen enough
        sys.stderr.close()
        sys.exit(ExitCode.OK)
    except OSError as failed:  # a disk that is full or gone, where nobody nearer knew what to say
        _tell(SystemRefused(str(failed.filename or "the system"), failed.strerror or str(failed)))
        sys.exit(ExitCode.FAILED)


def _tell_interrupted() -> NoReturn:
    console.err("holdfast: interrupted; what was done stays done, run the same command again to go on")
    sys.exit(INTERRUPTED)


def _tell(failed: HoldfastError) -> None:
    if console.debug():
        traceback.print_exc()
    console.err(f"holdfast: {failed}")


if __name__ == "__main__":
    main()
