"""What the mode `write` remembers comes back from the journal as it was."""

from __future__ import annotations

import json

from holdfast.migrate.ends import Side
from holdfast.migrate.write.acl import Rights
from holdfast.migrate.write.notes import Notes, ReadShard
from holdfast.topology.slots import SlotRange

SHARD = ReadShard((("h", 1), ("h", 2)), (SlotRange(0, 5), SlotRange(7, 7)), "a" * 40, 17)


def test_notes_survive_the_journal() -> None:
    notes = Notes(
        ("holdfast:migration:",),
        {Side.SOURCE: (SHARD, ReadShard((("h", 3),)))},
        Side.TARGET,
        {Side.SOURCE: {"h:1": {"default": Rights(("+@all",)), "bob": Rights((), ("(~x +get)",))}}},
        (Side.SOURCE,),
    )
    assert Notes.from_json(json.loads(json.dumps(notes.to_json()))) == notes
    assert Notes.from_json({}) == Notes()


def test_an_empty_fence_is_none() -> None:
    fenced = Notes().with_fence(Side.TARGET, {"h:1": {}})
    assert Side.TARGET in fenced.fences
    assert fenced.with_fence(Side.TARGET, {}) == Notes()
