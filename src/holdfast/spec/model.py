"""The base of every spec model: frozen, closed, and able to name all its flaws at once.

A flaw is a contradiction between values that are each valid alone ("a cluster of 2 shards"). Pydantic stops a model
at the first exception of a validator; here a model yields all of them, each with the key it is about.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar, Self

from pydantic import BaseModel, ConfigDict, GetJsonSchemaHandler, model_validator
from pydantic_core import CoreSchema, PydanticCustomError

FLAWS = "holdfast_flaws"
"""The pydantic error type under which `Model` reports; its context holds the flaws."""


@dataclass(frozen=True)
class Flaw:
    """One contradiction inside a model."""

    at: tuple[str | int, ...]
    """Keys from the model down to the value, as the file spells them."""
    message: str
    """What is wrong, one sentence without a full stop."""
    hint: str = ""
    """What to write instead."""
    needs: tuple[str | int, ...] = ()
    """Path from the root that the flaw misses; a reader that had to drop it from a faulty file keeps silent."""


def joined(flaws: list[Flaw]) -> str:
    """The flaws as one sentence each, for people who build a spec in code rather than from a file."""
    return "; ".join(f"{flaw.message} ({flaw.hint})" if flaw.hint else flaw.message for flaw in flaws)


class Model(BaseModel):
    """Frozen; unknown keys refused; documented from the texts below its fields.

    A file uses the aliases (`maxmemory`), code may also use the names (`maxmemory_bytes`). A section's default is written
    `Section.model_construct()`: `Section()` would have pydantic make a validator of its own for each while the modules are
    imported, a tenth of the time of a short command; a test holds the two to be the same.
    """

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        validate_by_alias=True,
        validate_by_name=True,
        serialize_by_alias=True,
        validate_default=False,
        defer_build=True,  # most models are only ever parts of the whole spec, and are built with it
    )

    scalar_key: ClassVar[str | None] = None
    """Where set, the model may be written as one scalar (`tls: required`), which then stands for this key."""

    @model_validator(mode="before")
    @classmethod
    def _a_scalar_stands_for_its_key(cls, given: Any) -> Any:
        if cls.scalar_key is not None and isinstance(given, str | int | float | bool):
            return {cls.scalar_key: given}
        return given

    @model_validator(mode="after")
    def _flaws_are_refused(self) -> Self:
        found = list(self.flaws())
        if found:
            raise PydanticCustomError(FLAWS, "{text}", {"text": joined(found), "flaws": tuple(found)})
        return self

    @classmethod
    def __get_pydantic_json_schema__(cls, core: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        """A model that may be one scalar says so in the schema too."""
        schema = handler(core)
        if cls.scalar_key is None:
            return schema
        whole = handler.resolve_ref_schema(schema)
        return {
            "anyOf": [whole.copy(), whole["properties"][cls.scalar_key]],
            "description": whole.pop("description", ""),
        }

    def flaws(self) -> Iterator[Flaw]:
        """Contradictions among the values of this model; each section says its own."""
        return iter(())
