"""A pytest plugin (`-p tests.unit.codec.written`): Holdfast is imported as it is written, whatever was compiled of it."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import FileFinder, ModuleSpec, SourceFileLoader
from types import ModuleType


class Written(MetaPathFinder):
    """Finds the modules of packages that have compiled ones by their source files only."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if not fullname.startswith(("holdfast.codec.", "holdfast.client.")):
            return None
        for folder in path or ():
            spec = FileFinder(folder, (SourceFileLoader, [".py"])).find_spec(fullname)
            if spec is not None:
                return spec
        return None


sys.meta_path.insert(0, Written())
