"""The example that comes with Holdfast: in an installed wheel beside the spec's code, in a checkout under examples/."""

from __future__ import annotations

from pathlib import Path

from holdfast.errors import WrongUsage

EXAMPLES = ("phonebill",)
FILES = ("cache.yaml", "cache.local.yaml")


def example_files(name: str) -> dict[str, bytes]:
    """File name -> content of the example's spec and its overlay. Raises WrongUsage for an unknown one."""
    if name not in EXAMPLES:
        raise WrongUsage(f"there is no example {name!r}", f"known: {', '.join(EXAMPLES)}")
    import holdfast.spec

    package = Path(holdfast.spec.__file__).parent
    homes = (package / "examples" / name, package.parents[2] / "examples" / name)
    home = next((home for home in homes if (home / FILES[0]).is_file()), homes[0])
    return {file: (home / file).read_bytes() for file in FILES}
