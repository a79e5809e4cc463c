"""Why a server did not start, in one sentence, from its own last words (pure).

Each rule knows the words that Valkey and Redis (6.2 to 9.1) write for one cause; the first that matches is the
answer, and the server's words always come along.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum

_LINE_HEAD = re.compile(r"^\d+:\w \d+ \w+ \d+ [\d:.]+ [#*.-] ?")
_SECRET_LINE = re.compile(
    r"(?i)\b(masterauth|primaryauth|requirepass|auth-pass|sentinel-pass|tls-key-file-pass)\b.*|([#><])[0-9a-f]{64}"
)
_NOISE = re.compile(
    r"oO0OoO0OoO0Oo|Warning: no config|overcommit|TCP backlog|Transparent Huge Pages|, just started"
)
_WORDS_MAX = 500
_FATAL_CONFIG = "FATAL CONFIG FILE ERROR"


SIGKILL = 9


class Cause(StrEnum):
    """What kept a server from starting."""

    PORT_TAKEN = "port taken"
    ADDRESS_MISSING = "address missing"
    SOCKET_PATH_TOO_LONG = "socket path too long"
    CONFIG_REFUSED = "configuration refused"
    NO_SPACE = "no space"
    NO_MEMORY = "no memory"
    TOO_FEW_FILES = "too few open files"
    SNAPSHOT_UNREADABLE = "snapshot unreadable"
    SNAPSHOT_TOO_NEW = "snapshot too new"
    LOG_UNREADABLE = "append-only file unreadable"
    CLUSTER_FILE_UNREADABLE = "cluster file unreadable"
    FOLDER_IN_USE = "folder in use"
    CERTIFICATE = "certificate"
    NO_TLS = "no TLS"
    USERS = "users refused"
    LIBRARY_MISSING = "library missing"
    NOT_EXECUTABLE = "not executable"
    PERMISSION = "permission"
    KILLED = "killed"
    CRASHED = "crashed"
    OTHER = "other"


@dataclass(frozen=True)
class Refusal:
    """Why, for code and for people."""

    cause: Cause
    sentence: str
    """What is wrong, without a full stop."""
    engine_words: str
    """The server's own, without secrets; empty when it said nothing."""
    hint: str
    """What to try."""

    def __str__(self) -> str:
        said = f" It said: {self.engine_words!r}." if self.engine_words else " It said nothing."
        if self.cause is Cause.KILLED and not self.engine_words:  # it had no time to
            said = ""
        return f"{self.sentence}.{said} {self.hint}"


@dataclass(frozen=True)
class _Rule:
    cause: Cause
    words: re.Pattern[str]
    sentence: str
    """May use {0}, {1}: the groups that `words` found."""
    hint: str


def _rule(cause: Cause, words: str, sentence: str, hint: str) -> _Rule:
    return _Rule(cause, re.compile(words, re.IGNORECASE), sentence, hint)


_RESTORE = (
    "Its files were not touched. Move the damaged file away and run `holdfast up`: a replica then copies from its primary, "
    "and a primary is not started empty over a replica that holds its data. Or restore the file from a backup."
)
_CUT = re.compile(r"Truncating the AOF(?: \S+)? at offset (\d+)")

_RULES = (
    _rule(Cause.NO_SPACE, r"No space left on device|Disk quota exceeded", "the disk that holds its folder is full",
          "Free space there and start it again."),
    _rule(Cause.PORT_TAKEN, r"listening socket (\S+?): (?:bind|listen): Address already in use",
          "address {0} is taken by another program",
          "See which with `ss -ltnp` and stop it: a node keeps its port."),
    _rule(Cause.PORT_TAKEN, r"Address already in use", "a port it needs is taken by another program",
          "See which with `ss -ltnp` and stop it: a node keeps its port."),
    _rule(Cause.ADDRESS_MISSING, r"listening socket (\S+?): .*(?:Cannot assign requested address|Address family not supported)",
          "this machine does not have the address {0}", "Correct network.bind, or the address of this host in place.hosts."),
    _rule(Cause.SOCKET_PATH_TOO_LONG, r"socket path too long", "the path of its Unix socket is too long (107 bytes at most)",
          "Use a state folder with a shorter path (HOLDFAST_STATE)."),
    _rule(Cause.FOLDER_IN_USE, r"cluster configuration file \S+ is already used",
          "another server already runs in its folder", "Stop that server first."),
    _rule(Cause.CLUSTER_FILE_UNREADABLE, r"corrupted cluster config file",
          "its memory of the cluster (nodes.conf) is damaged",
          "Its data was not touched. Move nodes.conf away and let `holdfast up` take the node into the cluster again."),
    _rule(Cause.NO_TLS, r"Failed finding TLS support|Missing implement of connection type tls",
          "this engine was built without TLS", "Choose an engine with TLS: holdfast engines; or write security.tls: off."),
    _rule(Cause.CERTIFICATE, r"Failed to (?:load|configure)[^\n]*?(?:certificate|private key|CA)[^\n]*?:? ?(/\S+?)?:? error",
          "a TLS certificate or key cannot be used", "Its files were not touched. `holdfast up` issues missing certificates anew."),
    _rule(Cause.CERTIFICATE, r"Failed to configure TLS", "its TLS settings cannot be used",
          "`holdfast up` issues missing certificates anew."),
    _rule(Cause.USERS, r"because of ACL errors|Error loading ACLs", "its file of users was refused",
          "Nothing was loaded. `holdfast up` writes the file anew."),
    _rule(Cause.CONFIG_REFUSED, _FATAL_CONFIG + r"[\s\S]*?at line (\d+)[\s\S]*?>>> '([^\n]*)'",
          "line {0} of its configuration was refused: {1}", "Correct the field of the spec that the file names above this line."),
    _rule(Cause.CONFIG_REFUSED, r"Unresolved Configuration\(s\) Detected:[\s\S]*?>>> '([^\n]*)'",
          "a line of its configuration was refused: {0}", "Correct the field of the spec that the file names above this line."),
    _rule(Cause.CONFIG_REFUSED, _FATAL_CONFIG + r"|can't open config file", "its configuration was refused",
          "`holdfast up` writes the file anew."),
    _rule(Cause.SNAPSHOT_TOO_NEW, r"Can't handle RDB format version (\d+)",
          "its snapshot is of RDB version {0}, which this engine does not read",
          "Its files were not touched. Use an engine that is at least as new as the one that wrote it, or migrate."),
    _rule(Cause.SNAPSHOT_UNREADABLE,
          r"RDB ERROR DETECTED|Wrong signature trying to load DB|Wrong RDB checksum|Fatal error loading the DB|"
          r"foreign type or opcode|Short read or OOM loading DB",
          "its snapshot (dump.rdb) is damaged", _RESTORE),
    _rule(Cause.LOG_UNREADABLE,
          r"reading the append only file|AOF file \S+ length|Unexpected end of file reading the append only|"
          r"Error opening.*append only|AOF manifest|loading the append only file",
          "its append-only file is damaged or incomplete", _RESTORE),
    _rule(Cause.TOO_FEW_FILES, r"'ulimit -n' of (\d+) is not enough",
          "it may open only {0} files", "Raise the limit of open files (ulimit -n, LimitNOFILE=), or lower network.maxclients."),
    _rule(Cause.NO_MEMORY, r"Cannot allocate memory|Out Of Memory|Can't initialize Background Jobs|failed to map segment",
          "the system gave it too little memory", "Free memory, raise the limit it runs under, or lower memory.maxmemory."),
    _rule(Cause.LIBRARY_MISSING, r"error while loading shared libraries: (\S+?):|version `([^']+)' not found",
          "its program lacks a library ({0})", "Fetch an engine that brings its own: holdfast engines add."),
    _rule(Cause.NOT_EXECUTABLE, r"Exec format error|cannot execute", "its program cannot run on this machine",
          "Fetch an engine for it: holdfast engines add."),
    _rule(Cause.PERMISSION, r"Permission denied|Operation not permitted|Read-only file system",
          "it may not read or write one of its files", "See that the folder belongs to this user and is not mounted noexec or read-only."),
)  # fmt: skip


def why(log_text: str, exit_code: int | None) -> Refusal:
    """The cause, from what the server wrote since it was started and how it ended.

    Args: `exit_code`, negative when a signal ended it, None when it cannot be known.
    """
    words = last_words(log_text)
    if exit_code == -SIGKILL:  # it had no time to say why: what stands in its log is about something else
        return _ended_by(SIGKILL, "")
    for rule in _RULES:
        if found := rule.words.search(log_text):
            groups = (_without_secrets(group) for group in found.groups() if group)
            return Refusal(rule.cause, _filled(rule.sentence, *groups), words, rule.hint)
    if exit_code is not None and exit_code < 0:
        return _ended_by(-exit_code, words)
    code = "" if exit_code is None else f" with exit code {exit_code}"
    return Refusal(Cause.OTHER, f"it ended{code}", words, "See its whole log: holdfast logs.")


def left_out(log_text: str) -> str:
    """What a server that did start has left out of its data, by its own words; empty when nothing."""
    cut = _CUT.search(log_text)
    if cut is None:
        return ""
    return (
        f"found its append-only file ending in the middle of a write: what stood after byte {cut[1]} is lost"
    )


def why_not_started(error_text: str, program: str) -> Refusal:
    """The cause when the system did not even start `program`; `error_text` is the system's."""
    found = why(error_text, None)
    if found.cause is Cause.PERMISSION:
        return Refusal(Cause.NOT_EXECUTABLE, f"{program} may not be executed", error_text,
                       "Its disk may be mounted noexec: put the state folder or the engine elsewhere.")  # fmt: skip
    if "No such file" in error_text:
        return Refusal(
            Cause.OTHER, f"{program} is not there any more", error_text, "Look at: holdfast engines."
        )
    return found


def last_words(log_text: str) -> str:
    """The lines that tell most: a refused configuration whole, otherwise the last warnings; no secrets."""
    lines = [line.rstrip() for line in log_text.splitlines() if line.strip() and not _NOISE.search(line)]
    for at, line in enumerate(lines):
        if _FATAL_CONFIG in line:
            lines = lines[at + 1 :]
            break
    else:
        warnings = [line for line in lines if _is_warning(line)]
        lines = warnings[-3:] or lines[-3:]
    said = " / ".join(_LINE_HEAD.sub("", line).strip() for line in lines)
    return _without_secrets("".join(c if c.isprintable() else "?" for c in said))[:_WORDS_MAX]


def _is_warning(line: str) -> bool:
    head = _LINE_HEAD.match(line)
    return bool(head and "#" in head.group())


def _ended_by(signal: int, words: str) -> Refusal:
    if signal == SIGKILL:
        return Refusal(Cause.KILLED, "it was killed (SIGKILL), by somebody or by the system when memory ran out", words,
                       "Look at the kernel's log (journalctl -k); if it was memory, lower memory.maxmemory or give it more.")  # fmt: skip
    if signal in (4, 6, 7, 8, 11):
        return Refusal(
            Cause.CRASHED, f"it crashed (signal {signal})", words, "See its whole log: holdfast logs."
        )
    return Refusal(
        Cause.KILLED, f"it was ended by signal {signal}", words, "See who did that, and start it again."
    )


def _filled(sentence: str, *groups: str) -> str:
    for index, group in enumerate(groups):
        sentence = sentence.replace(f"{{{index}}}", group)
    return sentence.replace(" ({0})", "")


def _without_secrets(text: str) -> str:
    return _SECRET_LINE.sub(lambda found: f"{found[1]} (secret)" if found[1] else f"{found[2]}(secret)", text)
