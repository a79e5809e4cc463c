"""The console script: registers every command, runs one, and turns its error into one line and an exit code."""

from __future__ import annotations

import gc
import importlib
import sys
import traceback
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NoReturn

from holdfast.cli import console
from holdfast.cli.exit import ExitCode
from holdfast.errors import HoldfastError, WrongUsage

COMMANDS: Mapping[str, tuple[str, ...]] = {
    "holdfast.cli.spec": ("init", "check", "spec"),
    "holdfast.cli.engines": ("engines",),
    "holdfast.cli.cache": ("plan", "up", "status", "down", "logs"),
    "holdfast.cli.application": ("env", "call"),
    "holdfast.cli.changes": ("switchover", "events"),
    "holdfast.cli.bench": ("bench",),
    "holdfast.cli.upgrade": ("upgrade",),
    "holdfast.cli.prove": ("prove",),
    "holdfast.cli.migrate": ("migrate",),
    "holdfast.cli.maintenance": ("maintenance",),
    "holdfast.cli.repair": ("repair",),
    "holdfast.cli.compare": ("compare",),
    "holdfast.cli.supervisor": ("supervisor",),
    "holdfast.cli.service": ("service",),
    "holdfast.cli.doctor": ("doctor",),
    "holdfast.cli.docs": (),  # `docs` writes of every command, so all are wanted for it
    "holdfast.cli.rdb": ("rdb",),
    "holdfast.cli.uninstall": ("uninstall",),
}
"""The modules of commands, in the order in which help lists them, and the verbs for which one is enough."""

_OBJECTS_UNTIL_COLLECTED = 50_000
"""Python's own 700 has modules that are being imported searched for garbage again and again: a tenth of a short command."""

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


def register(verb: str = "") -> None:
    """Import the commands' modules, so that they are known to `app`; help and pages list them in this order, whatever was
    imported before.

    Args: `verb`, the one that will be called: only its module is imported, a third of the time of a short command. Every
        module without it, or where no module has it: help, completion and a misspelt verb need to know them all.
    """
    from holdfast.cli.app import app

    wanted = [module for module, verbs in COMMANDS.items() if verb in verbs] or COMMANDS
    for module in wanted:
        importlib.import_module(module)
    places = {module: place for place, module in enumerate(COMMANDS)}

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
    gc.set_threshold(_OBJECTS_UNTIL_COLLECTED)
    try:
        from typer.main import get_command

        from holdfast.cli.app import app
        from holdfast.cli.terminal import prepared
    except ModuleNotFoundError as missing:
        console.err(
            f"holdfast: the control plane needs {missing.name}, which is not installed: "
            "pip install 'holdfast[run]' (the base install is the applications' library)"
        )
        sys.exit(ExitCode.FAILED)
    register(next((word for word in sys.argv[1:] if word != "--debug"), ""))
    try:
        prepared(get_command(app))(prog_name="holdfast")
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
        if ended.code == ExitCode.WRONG_USAGE and "--json" in sys.argv:  # told on stderr, by that library too
            usage = ended.__context__
            words = getattr(usage, "format_message", usage.__str__)()
            console.failure_as_json(type(usage).__name__, words)
        raise
    except BrokenPipeError:  # the reader of `holdfast ... | head` has seen enough
        sys.stderr.close()
        sys.exit(ExitCode.OK)
    except OSError as failed:  # a disk that is full or gone, where nobody nearer knew what to say
        _tell(SystemRefused(str(failed.filename or "the system"), failed.strerror or str(failed)))
        sys.exit(ExitCode.FAILED)


def _tell_interrupted() -> NoReturn:
    console.tell_failure(
        "Interrupted", "interrupted; what was done stays done, run the same command again to go on"
    )
    sys.exit(INTERRUPTED)


def _tell(failed: HoldfastError) -> None:
    if console.debug():
        traceback.print_exc()
    console.tell_failure(type(failed).__name__, str(failed))


if __name__ == "__main__":
    main()
