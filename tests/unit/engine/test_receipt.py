"""The note in a fetched engine's folder, which may have been moved, cut short or tampered with."""

import json
from pathlib import Path

import pytest

from holdfast.engine.fetch_error import WORDS_MAX, CannotFetch, plain_words
from holdfast.engine.receipt import RECEIPT_FILE, Package, Receipt, read_receipt, read_receipts, receipt_text
from holdfast.engine.recipes import RECIPES


def placed(home: Path) -> Receipt:
    home.mkdir(parents=True)
    receipt = Receipt(
        name=home.name,
        command=(
            f"{home}/lib/ld.so",
            "--library-path",
            f"{home}/lib:{home}/more",
            f"{home}/bin/valkey-server",
        ),
        verified="signature checked by apt",
        packages=(Package("libc6", "2.36", "ab" * 32),),
        fetched_at="2026-11-21T00:00:00+00:00",
    )
    (home / RECEIPT_FILE).write_text(receipt_text(receipt, home))
    return receipt


def test_a_receipt_is_read_back_and_follows_its_folder(tmp_path: Path) -> None:
    receipt = placed(tmp_path / "a" / "valkey-8.0")
    assert read_receipt(tmp_path / "a" / "valkey-8.0") == receipt
    (tmp_path / "a").rename(tmp_path / "b")
    (moved,) = read_receipts(tmp_path / "b")
    assert moved.command[-1] == str(tmp_path / "b" / "valkey-8.0" / "bin" / "valkey-server")
    assert str(tmp_path / "a") not in repr(moved)


@pytest.mark.parametrize(
    "change",
    [
        {"format": 2},
        {"name": "redis-7.0"},
        {"command": ["./../../bin/sh"]},
        {"command": 5},
        {"packages": [{"name": "x"}]},
    ],
)
def test_a_receipt_that_cannot_be_meant_is_no_receipt(tmp_path: Path, change: dict[str, object]) -> None:
    home = tmp_path / "valkey-8.0"
    placed(home)
    facts = json.loads((home / RECEIPT_FILE).read_text())
    (home / RECEIPT_FILE).write_text(json.dumps({**facts, **change}))
    assert read_receipt(home) is None


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\xff\xfe", b"null"])
def test_a_torn_receipt_is_no_receipt(tmp_path: Path, content: bytes) -> None:
    home = tmp_path / "valkey-8.0"
    placed(home)
    (home / RECEIPT_FILE).write_bytes(content)
    assert read_receipt(home) is None
    assert read_receipts(tmp_path) == ()


def test_another_programs_complaint_loses_credentials_and_control_characters() -> None:
    words = plain_words("W: odd\nE: Failed https://user:secret@m.example/x\x1b[31m " + "y" * 900)
    assert "secret" not in words
    assert "\x1b" not in words
    assert words.startswith("E: Failed https://m.example/x")
    assert len(words) == WORDS_MAX


def test_the_error_says_that_nothing_was_left_behind() -> None:
    text = str(CannotFetch("redis-7.0", "no space is left for it", "make room"))
    assert text == "redis-7.0 was not fetched: no space is left for it. Nothing was left behind; make room"


def test_each_recipe_is_named_for_its_engine_and_series() -> None:
    for name, recipe in RECIPES.items():
        assert name == f"{recipe.engine}-{recipe.series[0]}.{recipe.series[1]}"
