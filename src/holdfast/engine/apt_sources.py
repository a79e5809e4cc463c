"""Where a machine's apt gets Debian packages from, and the same places asked for another suite (pure)."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

_CODENAMES = ("buster", "bullseye", "bookworm", "trixie", "forky", "duke", "sid")
_STAGES = ("unstable", "testing", "stable", "oldstable", "oldoldstable")
DEBIAN_SUITES = frozenset((*_CODENAMES, *_STAGES))

_OPTIONS = re.compile(r"^(deb)\s+(?:\[(?P<options>[^]]*)\]\s+)?(?P<rest>\S.*)$")


@dataclass(frozen=True)
class AptSource:
    """One archive that apt is configured to read."""

    uris: tuple[str, ...]
    suites: tuple[str, ...]
    signed_by: str
    """A keyring's path, an embedded key with its line breaks, or "" for apt's own trusted keys."""

    @property
    def is_debian(self) -> bool:
        return any(_codename(suite) in DEBIAN_SUITES for suite in self.suites)

    @property
    def is_security(self) -> bool:
        return any(suite.endswith(("-security", "/updates")) for suite in self.suites)

    @property
    def keyring(self) -> str:
        """For people: whose signature is checked against what."""
        if not self.signed_by:
            return "apt's trusted keys"
        return "the key in the machine's apt sources" if "\n" in self.signed_by else self.signed_by


def read_deb822(text: str) -> Iterator[AptSource]:
    """The enabled binary archives of a *.sources file."""
    for stanza in re.split(r"\n[ \t]*\n", text):
        fields = _fields(stanza)
        if "deb" not in fields.get("types", "").split() or fields.get("enabled", "yes").lower() == "no":
            continue
        uris, suites = fields.get("uris", "").split(), fields.get("suites", "").split()
        if uris and suites and "main" in fields.get("components", "").split():
            yield AptSource(tuple(uris), tuple(suites), fields.get("signed-by", ""))


def read_one_line(text: str) -> Iterator[AptSource]:
    """The binary archives of sources.list or a *.list file."""
    for line in text.splitlines():
        match = _OPTIONS.match(line.split("#", 1)[0].strip())
        if not match:
            continue
        words = match["rest"].split()
        if "main" not in words[2:]:
            continue
        uri, suite = words[:2]
        options = dict(option.split("=", 1) for option in (match["options"] or "").split() if "=" in option)
        yield AptSource((uri,), (suite,), options.get("signed-by", ""))


def sources_for(
    configured: Iterable[AptSource], suites: Sequence[str], trusted: bool = False
) -> tuple[str, tuple[str, ...]]:
    """A *.sources text for `suites`, from the machine's own mirrors and keys.

    Args: `trusted`, whether apt shall take packages whose signature it cannot check.
    Returns: the text and the keyrings that check it; an empty text where no Debian archive is configured.
    """
    debian = [source for source in configured if source.is_debian]
    main = next((source for source in debian if not source.is_security), None)
    security = next((source for source in debian if source.is_security), None)
    if main is None:
        return "", ()
    wanted = [(main, [suite for suite in suites if not suite.endswith("-security")])]
    if security is not None:
        wanted.append((security, [suite for suite in suites if suite.endswith("-security")]))
    stanzas = [_stanza(source, named, trusted) for source, named in wanted if named]
    keyrings = tuple(dict.fromkeys(source.keyring for source, named in wanted if named))
    return "\n".join(stanzas), keyrings


def _stanza(source: AptSource, suites: Sequence[str], trusted: bool) -> str:
    lines = [
        "Types: deb",
        f"URIs: {' '.join(source.uris)}",
        f"Suites: {' '.join(suites)}",
        "Components: main",
        "Targets: Packages",
    ]
    if source.signed_by:
        lines.append(f"Signed-By: {source.signed_by}")
    if trusted:
        lines.append("Trusted: yes")
    return "\n".join(lines) + "\n"


def _fields(stanza: str) -> dict[str, str]:
    """The fields of one stanza, names in lower case; continuation lines keep their line breaks."""
    fields: dict[str, str] = {}
    name = ""
    for line in stanza.splitlines():
        if line.startswith("#"):
            continue
        if line[:1] in (" ", "\t") and name:
            fields[name] += "\n" + line
        elif ":" in line:
            name, value = line.split(":", 1)
            name = name.strip().lower()
            fields[name] = value.strip()
    return fields


def _codename(suite: str) -> str:
    return re.split(r"[-/]", suite, maxsplit=1)[0]
