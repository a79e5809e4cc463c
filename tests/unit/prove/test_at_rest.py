"""Devices as Linux shows them: plain, by dm-crypt, and volumes made of both."""

from __future__ import annotations

from pathlib import Path

from holdfast.prove.checks.at_rest import encrypted


def device(folder: Path, uuid: str = "", *below: Path) -> Path:
    (folder / "slaves").mkdir(parents=True)
    if uuid:
        (folder / "dm").mkdir()
        (folder / "dm" / "uuid").write_text(uuid + "\n")
    for each in below:
        (folder / "slaves" / each.name).symlink_to(each)
    return folder


def test_only_what_goes_through_dm_crypt_whole_is_encrypted(tmp_path: Path) -> None:
    plain = device(tmp_path / "sda1")
    luks = device(tmp_path / "dm-0", "CRYPT-LUKS2-0f3a-root", plain)
    volume = device(tmp_path / "dm-1", "LVM-Yx2", luks)
    mixed = device(tmp_path / "dm-2", "LVM-Yx3", luks, plain)
    bare = device(tmp_path / "dm-3", "LVM-Yx4", plain)
    assert [encrypted(each) for each in (plain, luks, volume, mixed, bare)] == [
        False,
        True,
        True,
        False,
        False,
    ]
    assert encrypted(tmp_path / "none") is None
