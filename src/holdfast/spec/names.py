"""What may be called what: one pattern for each kind of name in a spec."""

from typing import Annotated

from pydantic import StringConstraints

CacheName = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9-]{0,39}$")]
"""A cache: lower-case letters, digits and '-', begins with a letter, at most 40 characters."""
Name = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9-]{0,39}$")]
"""Anything else that a person names: services, allow rules, alerts, windows, hosts."""
NamespaceName = Annotated[
    str, StringConstraints(pattern=r"^[a-z][a-z0-9_-]*(\.[a-z0-9][a-z0-9_-]*){0,5}$", max_length=80)
]
"""A family of keys: like a name, in parts joined by dots (`bill.inquiry`)."""
ZoneName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$")]
"""A failure domain, spelt as its place spells it."""
UserName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z][A-Za-z0-9._-]{0,62}$")]
"""A user of the engine; no spaces, for the engine's ACL file separates words by them."""
CommandName = Annotated[str, StringConstraints(pattern=r"^[A-Z][A-Z0-9._-]*(\|[A-Z][A-Z0-9._-]*)?$")]
"""An engine command in upper case, with a subcommand after '|' where meant (`CONFIG|SET`)."""
NAME_RULES = {
    r"^[a-z][a-z0-9-]{0,39}$": "lower-case letters, digits and '-', a letter first, at most 40 characters",
    r"^[a-z][a-z0-9_-]*(\.[a-z0-9][a-z0-9_-]*){0,5}$": "lower-case letters, digits, '_' and '-' in parts joined by dots, a letter first",
    r"^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$": "letters, digits, '.', '_' and '-', at most 63 characters",
    r"^[A-Za-z][A-Za-z0-9._-]{0,62}$": "letters, digits, '.', '_' and '-', a letter first, at most 63 characters",
    r"^[A-Z][A-Z0-9._-]*(\|[A-Z][A-Z0-9._-]*)?$": "a command in upper case, with its subcommand after '|' where one is meant",
}
"""Each pattern above in words, for the error that a person reads."""
