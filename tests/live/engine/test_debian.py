"""Packages through real apt, from an archive made on the spot: signatures, hashes, libraries."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.live.engine.archives import DebianArchive, bundled, signing_key, system_libraries, system_loader

from holdfast.engine.debian import take_packages
from holdfast.engine.fetch_error import CannotFetch
from holdfast.engine.probe import probe
from holdfast.engine.recipes import DebianRecipe
from holdfast.engine.taken import Taken

pytestmark = pytest.mark.skipif(
    not all(map(shutil.which, ("apt-get", "dpkg-deb", "gpg", "gpgconf"))), reason="needs apt, dpkg and GnuPG"
)

RECIPE = DebianRecipe(
    name="valkey-9.9",
    engine="valkey",
    series=(9, 1),
    release="bookworm",
    package="valkey-server",
    program="usr/bin/valkey-server",
    tls=False,
)


@pytest.fixture(scope="module")
def key() -> Iterator[tuple[Path, Path]]:
    with signing_key() as made:
        yield made


@pytest.fixture
def archive(tmp_path: Path, key: tuple[Path, Path]) -> DebianArchive:
    """The bundled server as Debian packs its own: a link in one package, the program in another, and a libc."""
    made = DebianArchive(tmp_path / "archive", *key)
    made.put(
        "valkey-server",
        {"usr/bin/valkey-server": "valkey-check-rdb"},
        ["valkey-tools", "adduser"],
        "database",
    )
    made.put("valkey-tools", {"usr/bin/valkey-check-rdb": bundled()}, ["libc6 (>= 0.1)"], "database")
    made.put("adduser", {}, ["perl"], "admin")
    made.put("perl", {}, [], "perl")
    return made


def with_libraries(archive: DebianArchive, *leave_out: str) -> DebianArchive:
    libraries = [path for path in system_libraries(bundled()) if path.name not in leave_out]
    files: dict[str, Path | str] = {f"usr/lib/x/{path.name}": path.resolve() for path in libraries}
    files[f"usr/lib/x/{system_loader().name}"] = system_loader().resolve()
    archive.put("libc6", files)
    archive.sign()
    return archive


def take(archive: DebianArchive, folder: Path, unsigned: bool = False) -> tuple[Taken, list[str]]:
    home, scratch, lines = folder / "home", folder / "scratch", list[str]()
    for made in (home, scratch):
        made.mkdir(parents=True)
    taken = take_packages(RECIPE, home, scratch, lines.append, unsigned, archive.apt_folder)
    return taken, lines


def test_the_server_starts_with_its_own_loader_and_libraries(
    archive: DebianArchive, tmp_path: Path, key: tuple[Path, Path]
) -> None:
    taken, lines = take(with_libraries(archive), tmp_path / "with space")
    home = tmp_path / "with space" / "home"
    assert taken.verified == f"signature checked by apt with {key[1]}"
    assert taken.verified in lines
    assert taken.command[0] == str(home / "lib" / system_loader().name)
    assert taken.command[1:] == ("--library-path", str(home / "lib"), str(home / "bin" / "valkey-server"))
    assert probe(taken.command).version[:2] == (9, 1)
    assert (home / "lib" / "libc.so.6").is_file()
    assert not any(path.is_symlink() for path in home.rglob("*"))
    # Maintainer scripts' helpers are no part of a server.
    assert [package.name for package in taken.packages] == ["libc6", "valkey-server", "valkey-tools"]
    assert sorted(path.name for path in (home / "licences").iterdir()) == [
        "libc6",
        "valkey-server",
        "valkey-tools",
    ]


def test_a_signature_by_an_unknown_key_is_refused_unless_told_otherwise(
    archive: DebianArchive, tmp_path: Path
) -> None:
    with_libraries(archive)
    with signing_key() as (_, stranger):
        archive.point_apt_at(stranger)
        with pytest.raises(CannotFetch, match="signature could not be checked") as refused:
            take(archive, tmp_path / "one")
        assert "--unsigned" in refused.value.instead
        taken, lines = take(archive, tmp_path / "two", unsigned=True)
    assert taken.verified.startswith("not verified")
    assert any("NOT VERIFIED" in line for line in lines)


def test_the_signature_is_still_checked_first_when_unsigned_is_allowed(
    archive: DebianArchive, tmp_path: Path
) -> None:
    taken, _ = take(with_libraries(archive), tmp_path / "one", unsigned=True)
    assert taken.verified.startswith("signature checked by apt")


def test_a_list_changed_after_signing_is_refused(archive: DebianArchive, tmp_path: Path) -> None:
    with_libraries(archive)
    for listed in archive.folder.glob("dists/bookworm/main/*/Packages*"):
        data = bytearray(listed.read_bytes())
        data[-1] ^= 1
        listed.write_bytes(bytes(data))
    with pytest.raises(CannotFetch, match="reading package lists"):
        take(archive, tmp_path / "one", unsigned=True)


def test_a_wrong_signature_is_refused_whatever_is_allowed(archive: DebianArchive, tmp_path: Path) -> None:
    with_libraries(archive)
    signed = archive.folder / "dists" / "bookworm" / "InRelease"
    signed.write_text(signed.read_text().replace("Origin: test", "Origin: best"))
    with pytest.raises(CannotFetch, match="signature is wrong"):
        take(archive, tmp_path / "one", unsigned=True)


def test_a_package_changed_after_signing_is_refused(archive: DebianArchive, tmp_path: Path) -> None:
    with_libraries(archive)
    (deb,) = archive.folder.glob("valkey-tools_*.deb")
    data = bytearray(deb.read_bytes())
    data[len(data) // 2] ^= 1
    deb.write_bytes(bytes(data))
    with pytest.raises(CannotFetch, match=r"fetching packages: .*[Hh]ash"):
        take(archive, tmp_path / "one", unsigned=True)


def test_a_library_that_the_packages_lack_is_named_and_not_taken_from_the_system(
    archive: DebianArchive, tmp_path: Path
) -> None:
    with_libraries(archive, "libm.so.6")
    with pytest.raises(CannotFetch, match=r"do not hold libm\.so\.6"):
        take(archive, tmp_path / "one")


def test_a_machine_without_a_debian_archive_is_told_what_else_to_do(
    archive: DebianArchive, tmp_path: Path
) -> None:
    with_libraries(archive)
    shutil.rmtree(archive.apt_folder)
    with pytest.raises(CannotFetch, match="names no Debian archive") as refused:
        take(archive, tmp_path / "one")
    assert "HOLDFAST_ENGINES" in str(refused.value)


def test_a_mirror_that_is_not_there_is_said_in_apts_words(archive: DebianArchive, tmp_path: Path) -> None:
    with_libraries(archive)
    shutil.rmtree(archive.folder / "dists")
    with pytest.raises(CannotFetch, match=r"reading package lists: E: .*Release"):
        take(archive, tmp_path / "one")


@pytest.mark.parametrize("name", ["a:b", 'a"b', "a$b"])
def test_a_path_that_the_loader_or_apt_cannot_take_is_refused_first(
    archive: DebianArchive, tmp_path: Path, name: str
) -> None:
    with pytest.raises(CannotFetch, match="HOLDFAST_STATE"):
        take(archive, tmp_path / name)


def test_a_machine_without_apt_is_told_so(
    archive: DebianArchive, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(CannotFetch, match="has no apt-get"):
        take(archive, tmp_path / "one")
