"""One YAML text becomes plain data, with the line and column of every key and value, or a list of faults.

The text comes from outside, so everything is bounded: its size, how deep it nests, and how many values its aliases
unfold to; an alias that holds itself is refused. Only plain YAML 1.2 values are built, never objects of a tag.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode
from ruamel.yaml.reader import ReaderError

from holdfast.spec.fault import Fault, Path, path_text

LARGEST_BYTES = 256 << 10
"""About ten times the largest real spec; a text of this size takes two seconds to read."""
DEEPEST = 24
MOST_VALUES = 50_000
_TAG = "tag:yaml.org,2002:"
_PLAIN_TAGS = frozenset({"str", "int", "float", "bool", "timestamp"})
_LONGEST_NUMBER = 40


@dataclass(frozen=True)
class Mark:
    """Where a key and its value stand; lines and columns from 1."""

    file: str
    key_line: int
    key_column: int
    line: int
    column: int


@dataclass
class Document:
    """What one file says. `data` holds dicts, lists and scalars; `marks` has an entry for each of them."""

    file: str
    data: dict[str, Any] = field(default_factory=dict)
    marks: dict[Path, Mark] = field(default_factory=dict)
    faults: list[Fault] = field(default_factory=list)


def read_document(file: str, text: bytes | str) -> Document:
    """Read one spec file. Its faults are in the answer; nothing is raised for what a file may contain."""
    document = Document(file)
    decoded = _decoded(document, text)
    if decoded is None:
        return document
    try:
        root = YAML(typ="safe", pure=True).compose(decoded)
    except RecursionError:
        document.faults.append(
            Fault(file, 0, 0, "", "the file nests too deep to be read", f"nest at most {DEEPEST} levels")
        )
        return document
    except MarkedYAMLError as broken:
        document.faults.append(_syntax_fault(file, broken))
        return document
    except ReaderError as broken:
        document.faults.append(_character_fault(file, decoded, broken))
        return document
    except (YAMLError, ValueError, OverflowError) as broken:
        document.faults.append(Fault(file, 0, 0, "", f"the file is not YAML: {_one_line(str(broken))}"))
        return document
    if root is None:
        return document
    if not isinstance(root, MappingNode):
        document.faults.append(
            Fault(
                file,
                _line(root),
                _column(root),
                "",
                "the file is not a map of sections",
                "begin with cache: {name: NAME}",
            )
        )
        return document
    built = _Builder(document).build(root, (), (root,))
    document.data = built if isinstance(built, dict) else {}
    return document


def _decoded(document: Document, text: bytes | str) -> str | None:
    size_bytes = len(text.encode(errors="surrogatepass") if isinstance(text, str) else text)
    if size_bytes > LARGEST_BYTES:
        document.faults.append(
            Fault(
                document.file,
                0,
                0,
                "",
                f"the file has {size_bytes} bytes, more than the {LARGEST_BYTES} that a spec may have",
            )
        )
        return None
    if isinstance(text, str):
        return text.removeprefix("\ufeff")
    try:
        return text.decode("utf-8-sig")
    except UnicodeDecodeError as wrong:
        before = text[: wrong.start]
        line = before.count(b"\n") + 1
        column = len(before.rpartition(b"\n")[2].decode("utf-8", "replace")) + 1
        document.faults.append(
            Fault(
                document.file,
                line,
                column,
                "",
                f"byte 0x{text[wrong.start]:02x} is not UTF-8",
                "save the file as UTF-8 text",
            )
        )
        return None


def _syntax_fault(file: str, broken: MarkedYAMLError) -> Fault:
    mark = broken.problem_mark or broken.context_mark
    said = (
        _one_line(", ".join(str(part) for part in (broken.context, broken.problem) if part)) or "syntax error"
    )
    return Fault(
        file,
        mark.line + 1 if mark else 0,
        mark.column + 1 if mark else 0,
        "",
        f"the file is not YAML: {said}",
        _syntax_hint(said),
    )


def _syntax_hint(said: str) -> str:
    if "\\t" in said:
        return "indent with spaces, not with tabs"
    if "another document" in said:
        return "write one document for one cache, without ---"
    return ""


def _character_fault(file: str, text: str, broken: ReaderError) -> Fault:
    at = broken.position if isinstance(broken.position, int) else 0
    before = text[:at]
    code = broken.character if isinstance(broken.character, int) else ord(str(broken.character)[:1] or "\0")
    return Fault(
        file,
        before.count("\n") + 1,
        len(before.rpartition("\n")[2]) + 1,
        "",
        f"character U+{code:04X} may not stand in YAML",
        "write it as an escape in double quotes",
    )


def _one_line(text: str) -> str:
    return " ".join(text.split())[:300]


def _line(node: Node) -> int:
    return int(node.start_mark.line) + 1


def _column(node: Node) -> int:
    return int(node.start_mark.column) + 1


class _Builder:
    """Walks composed nodes once and leaves data, marks and faults in a document."""

    def __init__(self, document: Document) -> None:
        self._document = document
        self._values = 0

    def build(self, node: Node, path: Path, above: tuple[Node, ...]) -> Any:
        """Plain data of `node`; `above` are the nodes that it stands in, itself last."""
        self._values += 1
        if self._values > MOST_VALUES:
            if self._values == MOST_VALUES + 1:
                self._fault(
                    node,
                    path,
                    f"its aliases unfold to more than {MOST_VALUES} values",
                    "write the values out",
                )
            return None
        if len(above) > DEEPEST:
            self._fault(node, path, f"it nests deeper than {DEEPEST} levels")
            return None
        if isinstance(node, MappingNode) and node.tag == _TAG + "map":
            return self._map(node, path, above)
        if isinstance(node, SequenceNode) and node.tag == _TAG + "seq":
            return self._list(node, path, above)
        return self._scalar(node, path)

    def _map(self, node: MappingNode, path: Path, above: tuple[Node, ...]) -> dict[str, Any]:
        built: dict[str, Any] = {}
        first_lines: dict[str, int] = {}
        for key_node, value_node in node.value:
            key = self._key(key_node, path)
            if key is None:
                continue
            inner = (*path, key)
            if key in first_lines:
                self._fault(
                    key_node,
                    inner,
                    f"this key was already given on line {first_lines[key]}",
                    "keep one of the two",
                )
                continue
            first_lines[key] = _line(key_node)
            if any(value_node is outer for outer in above):
                self._fault(key_node, inner, "this alias holds itself", "write the values out")
                continue
            self._mark(inner, key_node, value_node)
            built[key] = self.build(value_node, inner, (*above, value_node))
        return built

    def _key(self, node: Node, path: Path) -> str | None:
        if isinstance(node, ScalarNode):
            if node.tag == _TAG + "merge":
                self._fault(
                    node,
                    path,
                    "merge keys (<<) are not part of YAML 1.2",
                    "write the values out, or use an overlay file",
                )
                return None
            if (node.tag or "").removeprefix(_TAG) in _PLAIN_TAGS:
                return str(node.value)
        self._fault(node, path, "a key is a plain text")
        return None

    def _list(self, node: SequenceNode, path: Path, above: tuple[Node, ...]) -> list[Any]:
        built: list[Any] = []
        for index, item in enumerate(node.value):
            inner = (*path, index)
            if any(item is outer for outer in above):
                self._fault(item, inner, "this alias holds itself", "write the values out")
                continue
            self._mark(inner, item, item)
            built.append(self.build(item, inner, (*above, item)))
        return built

    def _scalar(self, node: Node, path: Path) -> str | int | float | bool | None:
        text, tag = str(node.value), node.tag or ""
        kind = tag.removeprefix(_TAG)
        if not isinstance(node, ScalarNode) or kind not in {*_PLAIN_TAGS, "null"}:
            self._fault(node, path, f"tag {tag[:80]} is not used in a spec", "write a plain value")
            return None
        short = len(text) <= _LONGEST_NUMBER
        try:
            if kind == "int" and short:
                return int(text.replace("_", ""), 10 if text.lstrip("+-").replace("_", "").isdigit() else 0)
            if kind == "float" and short:
                return float(text.replace("_", "").replace(".inf", "inf").replace(".nan", "nan"))
        except ValueError:
            return text
        if kind == "bool":
            return text.lower() in {"true", "yes", "on"}
        return None if kind == "null" else text

    def _mark(self, path: Path, key: Node, value: Node) -> None:
        self._document.marks[path] = Mark(
            self._document.file, _line(key), _column(key), _line(value), _column(value)
        )

    def _fault(self, node: Node, path: Path, message: str, hint: str = "") -> None:
        self._document.faults.append(
            Fault(self._document.file, _line(node), _column(node), path_text(path), message, hint)
        )


def merged(documents: list[Document]) -> tuple[dict[str, Any], dict[Path, Mark]]:
    """The documents laid over one another: maps merge, lists and scalars replace, null removes."""
    data: dict[str, Any] = {}
    marks: dict[Path, Mark] = {}
    for document in documents:
        _lay_over(data, document.data, (), marks, document.marks)
    return data, marks


def _lay_over(
    below: dict[str, Any],
    above: Mapping[str, Any],
    path: Path,
    marks: dict[Path, Mark],
    new_marks: Mapping[Path, Mark],
) -> None:
    for key, value in above.items():
        inner = (*path, key)
        if isinstance(value, dict) and isinstance(below.get(key), dict):
            _lay_over(below[key], value, inner, marks, new_marks)
            continue
        for known in _paths(below.pop(key, None), inner):
            marks.pop(known, None)
        if value is None:
            continue
        marks[inner] = new_marks[inner]
        if isinstance(value, dict):
            below[key] = {}
            _lay_over(below[key], value, inner, marks, new_marks)
            continue
        below[key] = value
        marks.update((known, new_marks[known]) for known in _paths(value, inner) if known in new_marks)


def _paths(value: Any, path: Path) -> Iterator[Path]:
    """`path` and every path below it in `value`."""
    yield path
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for part, below in inner:
        yield from _paths(below, (*path, part))
