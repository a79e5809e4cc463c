"""Coverage-guided fuzzing of the RDB codec: `python -m tests.fuzz.rdb [--written] SECONDS`, run by `make fuzz`.

Whatever the bytes, the parser, the rewriter, the decoder and the payload reader end with our errors or with a result that
they agree on; anything else (another exception, a crash, a hang, an allocation beyond the bound) ends the run with the input.
"""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path

import atheris

if "--written" in sys.argv:
    import tests.unit.codec.written  # noqa: F401

with atheris.instrument_imports(include=["holdfast.codec"]):
    from holdfast.codec.crc import crc64
    from holdfast.codec.rdb import parser, rewrite, summary, values
    from holdfast.codec.rdb.dialect import DIALECTS
    from holdfast.codec.rdb.dump import read_dump
    from holdfast.codec.rdb.errors import RdbError
    from holdfast.codec.rdb.events import End, Event, Header, Key, ValueChunk
    from holdfast.codec.rdb.losses import Reason
    from holdfast.codec.rdb.task import Bounds
    from holdfast.codec.rdb.writer import Writer

ROOT = Path(__file__).resolve().parents[2]
CORPUS = ROOT / "tests" / "data" / "rdb"
MEMORY_MB = 2048
ONE_INPUT_S = 10
HEADERS = tuple(sorted({dialect.header for dialect in DIALECTS.values()}))
TARGETS = ("redis-6.2", "redis-7.0", "redis-8.0", "redis-8.8", "valkey-8.1", "valkey-9.1")
LARGEST = 4096


def with_crc(body: bytes) -> bytes:
    """The bytes closed by a right checksum, without which no input would get past the end."""
    return body + b"\xff" + crc64(body + b"\xff").to_bytes(8, "little")


def events(data: bytes, size: int) -> list[Event] | None:
    """All events; None where our error says no."""
    reader = parser.Parser(whole_bytes=LARGEST)
    found: list[Event] = []
    try:
        for at in range(0, len(data), size):
            reader.feed(data[at : at + size])
            found += reader
        reader.finish()
    except RdbError:
        return None
    return found


def decode_all(found: list[Event]) -> None:
    """Decode what came whole."""
    assert isinstance(found[0], Header)
    for event in found:
        if isinstance(event, Key) and event.value is not None:
            try:
                values.decode(event.type, event.value, found[0].dialect, event.key)
            except RdbError:
                continue


def rewritten(data: bytes, target: rewrite.Target, size: int) -> bytes | None:
    """What is written; None where our error says no, or where something was too big to be held."""
    writer = rewrite.Rewriter(target)
    try:
        out = b"".join([writer.feed(data[at : at + size]) for at in range(0, len(data), size)])
        writer.finish()
    except RdbError:
        return None
    return None if Reason.TOO_BIG in writer.losses.by_reason else out


def content(found: list[Event]) -> tuple[list[bytes], bytes]:
    """Keys and the bytes of all values, however they were cut."""
    keys = [event.key for event in found if isinstance(event, Key)]
    held = (
        event.value or b"" if isinstance(event, Key) else event.data
        for event in found
        if isinstance(event, Key | ValueChunk)
    )
    return keys, b"".join(held)


def one(data: bytes) -> None:
    """One input: its first bytes choose header, target and pieces, the others are the RDB's."""
    if len(data) < 4:
        return
    header = HEADERS[data[0] % len(HEADERS)]
    size = (3, 17, 64, LARGEST * 4)[data[1] % 4]
    limit = None if data[2] & 1 else 1_800_000_000_000
    target = rewrite.Target(DIALECTS[TARGETS[data[2] // 2 % len(TARGETS)]], 16, bounds=Bounds(LARGEST, limit))
    rdb = with_crc(header + data[3:])
    whole, cut = events(rdb, len(rdb)), events(rdb, size)
    assert (whole is None) == (cut is None)
    if whole is not None and cut is not None:
        assert content(whole) == content(cut)
        assert isinstance(whole[-1], End)
        decode_all(whole)
        pieces = (rdb[at : at + size] for at in range(0, len(rdb), size))
        assert summary.summarize(pieces).total_keys == len(content(whole)[0])
    out = rewritten(rdb, target, size)
    if out is not None:
        at_once = rewritten(rdb, target, len(rdb))
        assert at_once is None or at_once == out
        again = events(out, len(out))
        assert again is not None
        assert {event.type for event in again if isinstance(event, Key)} <= target.dialect.loads
    try:
        read_dump(
            data[3:]
            + (11).to_bytes(2, "little")
            + crc64(data[3:] + (11).to_bytes(2, "little")).to_bytes(8, "little")
        )
    except RdbError:
        return


def seeds() -> dict[str, bytes]:
    """Of every real file the smallest key of each type, as inputs for `one`."""
    found: dict[str, bytes] = {}
    for number, file in enumerate(sorted(CORPUS.glob("*.rdb"))):
        begun, *rest = parser.events_of(file.read_bytes())
        assert isinstance(begun, Header)
        place = HEADERS.index(begun.dialect.header)
        keys = sorted(
            (event for event in rest if isinstance(event, Key)),
            key=lambda key: len(key.value or b""),
            reverse=True,
        )
        for key in {key.type: key for key in keys if len(key.value or b"") < LARGEST}.values():
            writer = Writer(begun.dialect)
            writer.select(0)
            writer.key(b"k", key.type, key.value or b"", key.expire_ms)
            body = writer.take()[len(begun.dialect.header) :]
            found[f"{file.stem}-{key.type}"] = bytes((place, number % 4, number)) + body
    return found


def main() -> None:
    """Fuzz for so many seconds, from the values of real files."""
    seconds = next(word for word in sys.argv[1:] if word.isdigit())
    with tempfile.TemporaryDirectory(prefix="hf-fuzz-") as folder:
        first = Path(folder, "seeds")
        first.mkdir()
        for name, data in seeds().items():
            (first / name).write_bytes(data)
        options = [
            f"-max_total_time={seconds}",
            f"-rss_limit_mb={MEMORY_MB}",
            f"-timeout={ONE_INPUT_S}",
            "-print_final_stats=1",
        ]
        artifacts = ROOT / "build" / "fuzz"
        artifacts.mkdir(parents=True, exist_ok=True)
        atheris.Setup([sys.argv[0], *options, f"-artifact_prefix={artifacts}/", str(first)], one)
        began = time.monotonic()
        print(
            f"fuzzing {'the written' if '--written' in sys.argv else 'the installed'} build for {seconds} s",
            flush=True,
        )
        atheris.Fuzz()
        print(f"ended after {time.monotonic() - began:.0f} s")


if __name__ == "__main__":
    main()
