"""Builds the compiled twins of the codec and of the look into memory: optional for users, demanded with HOLDFAST_REQUIRE_COMPILED=1."""

import os
import shutil
import sys
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext
from setuptools.command.build_py import build_py

REQUIRED = os.environ.get("HOLDFAST_REQUIRE_COMPILED") == "1"
# One source for both builds: a module that has a .pxd beside it is compiled. (A .pxd alone only declares.)
SOURCE = Path("src")
MODULES = sorted(pxd for pxd in SOURCE.glob("holdfast/**/*.pxd") if pxd.with_suffix(".py").exists())
LISTING = {"sdist", "egg_info", "dist_info"}
"""Commands that only say what there is: they compile nothing, so nothing is translated for them."""


class WithExample(build_py):
    """The example cache's home is examples/; a wheel carries it beside the spec's code (`holdfast init --from`)."""

    def run(self) -> None:
        super().run()
        if self.editable_mode:
            return
        home = Path(self.build_lib, "holdfast", "spec", "examples", "phonebill")
        home.mkdir(parents=True, exist_ok=True)
        for file in sorted(Path("examples/phonebill").glob("*.yaml")):
            shutil.copyfile(file, home / file.name)


class OptionalBuild(build_ext):
    """A failed compile leaves the pure Python module in charge, unless the compiled one is demanded."""

    def finalize_options(self) -> None:
        super().finalize_options()
        self.parallel = self.parallel or os.cpu_count()

    def run(self) -> None:
        try:
            super().run()
        except Exception as failed:
            if REQUIRED:
                raise
            print(f"holdfast: all stays in pure Python, the compile failed: {failed}")

    def build_extension(self, ext: Extension) -> None:
        try:
            super().build_extension(ext)
        except Exception as failed:
            if REQUIRED:
                raise
            print(f"holdfast: {ext.name} stays in pure Python, its compile failed: {failed}")


def extensions() -> list[Extension]:
    if LISTING & set(sys.argv[1:]):
        return []
    try:
        from Cython.Build import cythonize
    except ImportError:
        if REQUIRED:
            raise
        return []
    return cythonize(
        [
            Extension(
                ".".join(pxd.relative_to(SOURCE).with_suffix("").parts),
                [str(pxd.with_suffix(".py"))],
                extra_compile_args=["-g0"],  # a third of the time and most of the size
            )
            for pxd in MODULES
        ],
        build_dir="build/cython",
        include_path=[str(SOURCE)],
        language_level=3,
        compiler_directives={
            "boundscheck": False,
            "wraparound": False,
            "cdivision": True,
            # The .pxd alone gives types: an annotation says what a caller may pass, a .pxd how it is held.
            "annotation_typing": False,
        },
    )


setup(ext_modules=extensions(), cmdclass={"build_ext": OptionalBuild, "build_py": WithExample})
