"""Every pair of engines at hand in mode `write`, in each shape: there, compared, cut over, back, and ended."""

from __future__ import annotations

import asyncio
import itertools

import pytest
from tests.live.compare.data import every_type
from tests.live.conftest import AT_HAND
from tests.live.migrate.journey import benched, status
from tests.live.migrate.test_write_switch import ACCEPTED, end_of, endpoints, in_step, run
from tests.live.plain import Plain

from holdfast.compare.side import Side

PAIRS = list(itertools.permutations(sorted(AT_HAND), 2))
SHAPES = {"1-to-3": (1, 3), "3-to-3": (3, 3), "3-to-1": (3, 1)}
KEYS = 100


async def fill_end(servers: list[Plain], turn: int) -> None:
    """The first time keys of every type, each where its slot is; afterwards some strings, lists and counters."""
    side = await Side.open(endpoints(servers))
    try:
        for words in every_type("a") if turn == 0 else ():
            key = words[2] if words[0] == "XGROUP" else words[1]
            await side.ask(0, key if isinstance(key, bytes) else str(key).encode(), *words)
        for number in range(KEYS):
            key = b"k:%d" % number
            await side.ask(0, key, "SET", key, turn, "PX", 9_000_000)
            await side.ask(0, b"l" + key, "RPUSH", b"l" + key, turn)
            await side.ask(0, b"c" + key, "INCR", b"c" + key)
    finally:
        side.close()


@pytest.mark.long
@pytest.mark.timeout(180)
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("pair", PAIRS, ids="-to-".join)
async def test_each_pair_there_and_back(pair: tuple[str, str], shape: str) -> None:
    here, there = SHAPES[shape]
    async with end_of(pair[0], here) as source, end_of(pair[1], there) as target:
        await fill_end(source, 0)
        one, other = endpoints(source), endpoints(target)
        with benched() as bench:
            ends = ("--from", f"redis://{one[0]}", "--to", f"redis://{other[0]}")
            await run(bench, "migrate", "start", "m", *ends, "--mode", "write", *ACCEPTED)
            await in_step(bench)
            told = (await run(bench, "migrate", "verify", "m", "--json")).facts
            assert (told["different"], told["changing"]) == (0, 0), told
            assert told["keys"] >= KEYS
            for turn, (verb, side) in enumerate((("cutover", target), ("rollback", source)), start=1):
                await run(bench, "migrate", verb, "m")
                await fill_end(side, turn)
                await in_step(bench)
            await asyncio.sleep(0.3)
            await in_step(bench)
            told = (await run(bench, "migrate", "verify", "m", "--json")).facts
            assert (told["different"], told["changing"]) == (0, 0), told
            assert not status(bench)["wrong"]
            await run(bench, "migrate", "cutover", "m")
            ended = (await run(bench, "migrate", "finish", "m", "--yes", "--json")).facts
            assert (ended["stage"], ended["words"]) == ("finished", "")
