"""The controller's own files of a cache, damaged: each is named with what brings it back, and no node comes to harm."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from tests.live.badluck.caches import ENGINE, bring_up, healthy, pids, read, refusal, spec_text, write
from tests.live.conftest import Bench


def emptied(file: Path) -> None:
    file.write_bytes(b"")


def noise(file: Path) -> None:
    file.write_bytes(bytes(range(128, 168)))


def two_lines(file: Path) -> None:
    file.write_bytes(b"one-password\nanother-one\n")


DAMAGE: list[tuple[str, Callable[[Path], None], tuple[str, ...]]] = [
    ("passwords/operator", emptied, ("passwords/operator is empty", "delete it and run holdfast up")),
    ("passwords/operator", noise, ("passwords/operator holds no password",)),
    ("passwords/operator", two_lines, ("passwords/operator holds no password",)),
    ("passwords/holdfast-supervisor", emptied, ("passwords/holdfast-supervisor is empty",)),
    ("tls/ca.pem", Path.unlink, ("tls/ca.pem is gone", "nodes/shop/ca.pem")),
    ("tls/ca.pem", noise, ("tls/ca.pem is no certificate", "nodes/shop/ca.pem")),
    ("spec.json", emptied, ("spec.json, cannot be used", "name the spec's own file")),
    ("record.json", emptied, ("record.json, cannot be used", ".previous")),
]


def test_damaged_files_are_named_and_nothing_is_made_in_their_place(bench: Bench) -> None:
    path = bring_up(bench, spec_text(mode="replicated", engine=ENGINE, tls="required"))
    kept, before = write(bench, "shop"), pids(bench)
    folder = bench.state / "caches" / "shop"
    for name, damage, words in DAMAGE:
        file = folder / name
        good = file.read_bytes()
        damage(file)
        bad = file.read_bytes() if file.exists() else None
        refusal(bench.run("up" if damage is emptied else "plan", "shop"), *words)
        assert (file.read_bytes() if file.exists() else None) == bad, name
        file.write_bytes(good)
    healthy(bench)
    assert pids(bench) == before
    assert read(bench, "shop", kept) == kept

    # Without the authority's key all goes on, but for what needs a new certificate.
    key = folder / "tls" / "ca.key"
    good = key.read_bytes()
    key.unlink()
    assert bench.run("plan", "shop").code == 0
    (folder / "tls" / "n2.pem").unlink()
    refusal(bench.run("up", str(path)), "tls/ca.key cannot be read", "restore it")
    assert not key.exists()
    key.write_bytes(good)

    # What the sentences say to do works.
    (folder / "tls" / "ca.pem").unlink()
    (folder / "tls" / "ca.pem").write_bytes((bench.state / "nodes" / "shop" / "ca.pem").read_bytes())
    (folder / "passwords" / "operator").unlink()
    (folder / "spec.json").write_bytes(b"{")
    bench.run("up", str(path), check=True)
    healthy(bench)
    assert pids(bench) == before
    assert read(bench, "shop", kept) == kept
