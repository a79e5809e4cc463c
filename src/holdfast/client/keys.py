"""A namespace's keys: its pattern compiled once into a function that builds a key and one that takes it apart (pure)."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from enum import Enum
from uuid import UUID

from holdfast.client.errors import FieldsWrong, KeyInvalid, NamespaceInvalid

LONGEST_KEY_BYTES = 64 * 1024
MOST_KNOWN, LONGEST_KNOWN = 4096, 256
"""Ready keys that are remembered as sound: how many, of how many characters at most."""
SLOTS = 16_384
_PART = re.compile(r"\{\{(?P<tag>[A-Za-z]\w*)\}\}|\{(?P<field>[A-Za-z]\w*)\}|(?P<literal>[^{}\s]+)", re.ASCII)
_TAKEN = frozenset({"read", "default", "ttl_s", "ttl", "within_s", "value", "key", "loader", "self"})
"""Words that the methods use for themselves; such a field is given by `key(...)`."""


class KeyPattern:
    """`bill:inquiry:{customerId}:{month}`; double braces are a hash tag and stay in the key as single ones.

    Raises: NamespaceInvalid.
    """

    __slots__ = ("_known", "_match", "_parts", "ambiguous", "build", "fields", "namespace", "prefix", "text")

    def __init__(self, namespace: str, text: str) -> None:
        self.namespace, self.text = namespace, text
        parts = self._parts = _parts(namespace, text)
        self.fields = tuple(name for kind, name in parts if kind != "literal")
        if len(set(self.fields)) != len(self.fields):
            raise NamespaceInvalid(namespace, f"its pattern {text} names a field twice")
        if not any(kind == "literal" for kind, _ in parts):
            raise NamespaceInvalid(
                namespace, f"its pattern {text} matches every key: begin with text of its own"
            )
        head = parts[0][1] if parts[0][0] == "literal" else ""
        tagged = len(parts) > 1 and parts[1][0] == "tag" and bool(head)
        self.prefix = head + ("{" if tagged else "")
        self._match = re.compile(
            "".join(re.escape(word) if kind == "literal" else _group(kind, word) for kind, word in parts),
            re.DOTALL,
        ).fullmatch
        # Where two fields share a segment, their values could spell the text between them.
        self.ambiguous = any("{" in segment.partition("{")[2] for segment in _segments(parts))
        self._known: set[str] = set()
        self.build: Callable[[Mapping[str, object]], str] = self._compiled(parts)
        """The key of these fields, given as a mapping. Raises: KeyInvalid."""

    @property
    def clashing(self) -> frozenset[str]:
        """Fields that keyword arguments cannot carry."""
        return frozenset(self.fields) & _TAKEN

    def spelt(self, names: Mapping[str, str]) -> str:
        """The inside of an f-string that spells a key. Args: `names`, of the variable that holds each field."""
        return "".join(
            word if kind == "literal" else ("{{{%s}}}" if kind == "tag" else "{%s}") % names[word]
            for kind, word in self._parts
        )

    def take_apart(self, key: object) -> dict[str, str]:
        """The fields of a ready key. Raises: KeyInvalid when it is none of this namespace."""
        if not isinstance(key, str):
            raise self._wrong(f"a key is text, not {type(key).__name__}")
        found = self._match(key)
        if found is None or len(key) > LONGEST_KEY_BYTES:
            raise self._wrong(f"{_short(key)} is not built like that")
        return found.groupdict()

    def sound(self, key: str) -> str:
        """A key as `build` made it, known to be sendable too: `build` leaves that to be asked once nothing near has it.

        Raises: KeyInvalid.
        """
        if len(key) > LONGEST_KEY_BYTES or not key.isascii():
            try:
                size = len(key.encode())
            except UnicodeEncodeError:
                raise self._wrong(f"{_short(key)} is not valid Unicode text") from None
            if size > LONGEST_KEY_BYTES:
                raise self._wrong(f"it would have {size} bytes, and {LONGEST_KEY_BYTES} is the most")
        return key

    def check(self, key: object) -> None:
        """As `take_apart`, where the fields are not wanted. Raises: KeyInvalid."""
        if key.__class__ is str and key in self._known:
            return
        if key.__class__ is not str or self._match(key) is None or len(key) > LONGEST_KEY_BYTES:
            self.take_apart(key)
        assert isinstance(key, str)
        self.sound(key)
        if len(key) <= LONGEST_KNOWN:
            if len(self._known) >= MOST_KNOWN:
                self._known.clear()
            self._known.add(key)

    def check_each(self, keys: list[str]) -> None:
        """As `check` for each of them; at once where all are known. Raises: KeyInvalid."""
        try:
            if self._known.issuperset(keys):
                return
        except TypeError:  # one that cannot even be looked for
            pass
        for key in keys:
            self.check(key)

    def _compiled(self, parts: list[tuple[str, str]]) -> Callable[[Mapping[str, object]], str]:
        """One expression for the usual case: fields of plain text. Everything else goes the long way round."""
        if not self.fields or self.ambiguous:
            return self._slowly
        names = [f"f{index}" for index in range(len(self.fields))]
        at = dict(zip(self.fields, names, strict=True))
        spelt = self.spelt(at)
        colons = sum(word.count(":") for kind, word in parts if kind == "literal")
        source = (
            "def build(fields):\n"
            f" if len(fields) == {len(names)}:\n"
            "  try:\n"
            + "".join(f"   {name} = fields[{field!r}]\n" for field, name in at.items())
            + "  except KeyError:\n   return slowly(fields)\n"
            f"  if {' and '.join(f'{name}.__class__ is str and {name}' for name in names)}:\n"
            f"   key = f{spelt!r}\n"
            f"   if key.count(':') == {colons}:\n"
            "    return key\n"
            " return slowly(fields)\n"
        )
        scope: dict[str, Callable[..., str]] = {"slowly": self._slowly}
        # Field names are identifiers and literals are written by repr: nothing of the pattern is run as code.
        exec(compile(source, f"<keys of {self.namespace}>", "exec"), scope)  # noqa: S102
        return scope["build"]

    def _slowly(self, fields: Mapping[str, object]) -> str:
        missing = [name for name in self.fields if name not in fields]
        extra = [str(name) for name in fields if name not in self.fields]
        if missing or extra:
            told = [f"missing {', '.join(missing)}"] if missing else []
            told += [f"there is no field {', '.join(extra)}"] if extra else []
            raise FieldsWrong(self.namespace, self.text, "; ".join(told))
        texts = {name: self._text_of(name, fields[name]) for name in self.fields}
        key = "".join(
            word if kind == "literal" else ("{%s}" if kind == "tag" else "%s") % texts[word]
            for kind, word in self._parts
        )
        if len(key.encode("utf-8", "surrogatepass")) > LONGEST_KEY_BYTES:
            raise self._wrong(f"it would have more than {LONGEST_KEY_BYTES} bytes")
        if self.take_apart(key) != texts:
            raise self._wrong(f"{_short(key)} could also be read as other fields")
        return key

    def _text_of(self, name: str, value: object) -> str:
        if isinstance(value, Enum):
            value = value.value
        if isinstance(value, bool) or not isinstance(value, str | int | UUID):
            raise self._wrong(f"{name} is {type(value).__name__}; a field is text, a whole number or a UUID")
        text = str(value)
        if not text or ":" in text:
            raise self._wrong(f"{name}={_short(text)}; a field holds some text without ':'")
        try:
            text.encode()
        except UnicodeEncodeError:
            raise self._wrong(f"{name} is not valid Unicode text") from None
        return text

    def _wrong(self, why: str) -> KeyInvalid:
        return KeyInvalid(self.namespace, self.text, why)


def _parts(namespace: str, text: str) -> list[tuple[str, str]]:
    found, at = [], 0
    while at < len(text):
        match = _PART.match(text, at)
        if match is None or match.lastgroup is None:
            raise NamespaceInvalid(
                namespace,
                f"its pattern {text!r} cannot be read at character {at + 1}; write bill:{{customerId}}",
            )
        found.append((match.lastgroup, match[match.lastgroup]))
        at = match.end()
    if not found:
        raise NamespaceInvalid(namespace, "its pattern is empty")
    return found


def _group(kind: str, name: str) -> str:
    return rf"\{{(?P<{name}>[^:]+)\}}" if kind == "tag" else f"(?P<{name}>[^:]+)"


def _segments(parts: list[tuple[str, str]]) -> list[str]:
    return "".join(word if kind == "literal" else "{" for kind, word in parts).split(":")


def _short(text: str) -> str:
    return repr(text if len(text) <= 80 else text[:77] + "...")


def prefix_free(prefixes: Iterable[str]) -> tuple[str, ...]:
    """The fewest of these that still open every key the others do: servers refuse overlapping ones on a connection."""
    kept: list[str] = []
    for prefix in sorted(set(prefixes)):
        if not kept or not prefix.startswith(kept[-1]):
            kept.append(prefix)
    return tuple(kept)


def slot_of(key: bytes) -> int:
    """The cluster slot of a key: CRC16 (XMODEM) of its hash tag, or of all of it. Source: keyHashSlot, cluster.c."""
    from binascii import crc_hqx

    begin = key.find(b"{")
    if begin >= 0:
        end = key.find(b"}", begin + 1)
        if end > begin + 1:
            key = key[begin + 1 : end]
    return crc_hqx(key, 0) % SLOTS
