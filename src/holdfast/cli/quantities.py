"""Times and shares in options, with the units that specs have."""

from __future__ import annotations

from holdfast.errors import WrongUsage
from holdfast.spec.units import parse_duration_ms

LONGEST_S = 24 * 3600


def time_option(name: str, text: str) -> float:
    """`30s`, `2m`: seconds. Raises: WrongUsage."""
    try:
        seconds = float(parse_duration_ms(text)) / 1000
    except ValueError as wrong:
        raise WrongUsage(f"{name} {text}: {wrong}", "nothing was done") from None
    if not 0 < seconds <= LONGEST_S:
        raise WrongUsage(f"{name} {text} is not between 0 and 24 h", f"write for example {name} 30s")
    return seconds


def share_option(name: str, text: str) -> float:
    """`10%` or `0.1`: a share above 0 and at most 1. Raises: WrongUsage."""
    try:
        share = float(text[:-1]) / 100 if text.endswith("%") else float(text)
    except ValueError:
        raise WrongUsage(f"{name} {text} is no share", f"write for example {name} 10%") from None
    if not 0 < share <= 1:
        raise WrongUsage(f"{name} {text} is not between 0 and 100 %", f"write for example {name} 10%")
    return share
