"""Choose the engine for a spec among those found, or say of each what it lacks (pure)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from holdfast.engine.build import BrokenEngine, EngineBuild
from holdfast.engine.recipes import RECIPES, Recipe
from holdfast.errors import HoldfastError
from holdfast.spec.cache import Spec
from holdfast.spec.topology import Mode


class VersionRange(Protocol):
    """What the spec's `engine.version` is to this module."""

    @property
    def text(self) -> str:
        """As the spec has it: ">=8.0,<9"."""

    def allows(self, version: tuple[int, int, int], /) -> bool:
        """Whether `version` is within the range."""


@dataclass(frozen=True)
class Needs:
    """What a spec asks of an engine."""

    name: Literal["any", "valkey", "redis"]
    version: VersionRange
    tls: Literal["required", "where_available", "off"]
    sentinel: bool

    def __str__(self) -> str:
        wished = ["Valkey or Redis" if self.name == "any" else self.name.capitalize()]
        if self.version.text not in ("", "any", "*"):
            wished.append(self.version.text)
        if self.tls == "required":
            wished.append("with TLS")
        if self.sentinel:
            wished.append("with Sentinel")
        return " ".join(wished)


def needs_of(spec: Spec) -> Needs:
    """What `spec` asks of an engine."""
    return Needs(
        name=spec.engine.name.value,
        version=spec.engine.version,
        tls=spec.security.tls.mode.value,
        sentinel=spec.topology.mode is Mode.SENTINEL,
    )


@dataclass(eq=False)
class NoEngineFits(HoldfastError):
    """No engine on this machine is what the spec asks for."""

    wanted: str
    lacking: tuple[tuple[str, str], ...]
    """Of each engine found: what it is, and what it lacks or why it does not work."""
    would_fit: tuple[str, ...]
    """Recipes that `holdfast engines add` can fetch and that would do."""

    def __str__(self) -> str:
        seen = "; ".join(f"{title}: {lack}" for title, lack in self.lacking) or "none was found"
        mend = (
            f"fetch one that fits: holdfast engines add {self.would_fit[0]}"
            if self.would_fit
            else "no engine that `holdfast engines add` can fetch fits either: name one that does in engine.path "
            "or HOLDFAST_ENGINES, or widen the spec's engine section"
        )
        return f"no engine on this machine is {self.wanted} ({seen}). Nothing was started; {mend}"


def choose_engine(
    needs: Needs, found: Sequence[EngineBuild], broken: Sequence[BrokenEngine] = ()
) -> EngineBuild:
    """The best of `found` that satisfies `needs`.

    A path that the spec names wins or fails: another engine never takes its place. Else TLS counts first
    where it is wanted and not required, then Valkey before Redis where any will do, then the newest version,
    then the order in which they were found.
    Raises: NoEngineFits with what each lacks.
    """
    named = [build for build in found if build.source == "spec path"]
    named_broken = [engine for engine in broken if engine.source == "spec path"]
    if named or named_broken:
        found, broken = named, named_broken
    fitting = [build for build in found if not lacks(needs, build)]
    if not fitting:
        raise NoEngineFits(
            wanted=str(needs),
            lacking=tuple(
                [(build.title, " and ".join(lacks(needs, build))) for build in found]
                + [(engine.path, f"does not work ({engine.words})") for engine in broken]
            ),
            would_fit=tuple(recipe.name for recipe in fitting_recipes(needs)),
        )
    return max(fitting, key=lambda build: _rank(needs, build))


def lacks(needs: Needs, build: EngineBuild) -> list[str]:
    """What `build` lacks of `needs`, as short phrases; empty when it fits."""
    missing = []
    if needs.name not in ("any", build.name):
        missing.append(f"is not {needs.name.capitalize()}")
    if not needs.version.allows(build.version):
        missing.append(f"is not version {needs.version.text}")
    if needs.tls == "required" and not build.tls:
        missing.append("has no TLS")
    if needs.sentinel and not build.sentinel:
        missing.append("has no Sentinel")
    return missing


def fitting_recipes(needs: Needs) -> tuple[Recipe, ...]:
    """The recipes whose engine would satisfy `needs`, the best first; patch levels are known after fetching."""

    def fits(recipe: Recipe) -> bool:
        # Some patch level of the series has to be allowed: ">=8.0.2" still means that valkey-8.0 may do.
        allowed = any(needs.version.allows((*recipe.series, patch)) for patch in range(31))
        return needs.name in ("any", recipe.engine) and allowed and (recipe.tls or needs.tls != "required")

    def rank(recipe: Recipe) -> tuple[bool, bool, tuple[int, int]]:
        return (recipe.tls and needs.tls != "off", recipe.engine == "valkey", recipe.series)

    return tuple(sorted(filter(fits, RECIPES.values()), key=rank, reverse=True))


def worth_fetching(needs: Needs, found: Iterable[EngineBuild]) -> Recipe | None:
    """The recipe that would give `needs` what no engine of `found` gives it: any at all, or TLS."""
    fitting = [build for build in found if not lacks(needs, build)]
    if any(build.tls or needs.tls == "off" or build.source == "spec path" for build in fitting):
        return None
    recipes = fitting_recipes(needs)
    if not recipes or (fitting and not recipes[0].tls):
        return None
    return recipes[0]


def _rank(needs: Needs, build: EngineBuild) -> tuple[bool, bool, tuple[int, int, int]]:
    return (build.tls and needs.tls == "where_available", build.name == "valkey", build.version)
