"""Rights of users, as every engine at hand tells them, taken away and given back."""

from __future__ import annotations

import pytest

from holdfast.migrate.write.acl import (
    Rights,
    as_before,
    categories_named,
    may_write,
    own_rights,
    read_user,
    without_writes,
)

REDIS_6 = "user alice on #30c9 ~app:* &* -@all +@read -keys +info +set"
VALKEY_9 = (
    "user bob on nopass sanitize-payload ~* resetchannels alldbs -@all +get (~t* resetchannels -@all +set)"
)


@pytest.mark.parametrize(
    ("line", "name", "rights"),
    [
        (REDIS_6, "alice", Rights(("-@all", "+@read", "-keys", "+info", "+set"))),
        (VALKEY_9, "bob", Rights(("-@all", "+get"), ("(~t* resetchannels -@all +set)",))),
        ("user default off resetpass resetkeys nocommands", "default", Rights(("nocommands",))),
        (
            "user odd on ~a(b) ~(c +@all (~x( -@all) (+get)",
            "odd",
            Rights(("+@all",), ("(~x( -@all)", "(+get)")),
        ),
    ],
)
def test_rights_are_read(line: str, name: str, rights: Rights) -> None:
    assert read_user(line) == (name, rights)


def test_what_was_allowed_comes_back_in_order_and_nothing_else_is_touched() -> None:
    _, rights = read_user(VALKEY_9)
    assert without_writes((7, 0, 0)) == ("clearselectors", "-@write")
    assert as_before(rights, (9, 1, 0)) == (
        "clearselectors",
        "nocommands",
        "-@all",
        "+get",
        "(~t* resetchannels -@all +set)",
    )
    assert without_writes((6, 2, 0)) == ("-@write",)
    assert as_before(Rights(("+@all",)), (6, 2, 0)) == ("nocommands", "+@all")


def test_our_own_user_has_one_password_and_every_right() -> None:
    assert own_rights("ab", (6, 0, 0)) == ("reset", "on", "#ab", "allkeys", "allcommands")
    assert "allchannels" in own_rights("ab", (6, 2, 0))


CATEGORIES = {
    "write": frozenset({"set", "del", "sort", "flushall", "acl"}),
    "admin": frozenset({"acl", "config"}),
    "dangerous": frozenset({"flushall", "sort", "keys", "info"}),
    "read": frozenset({"get", "keys"}),
}


@pytest.mark.parametrize(
    ("rules", "may"),
    [
        (
            "+@all -@write -@admin -role -info -keys",
            False,
        ),  # how Redis 6.2 tells of +@all -@dangerous -@write
        ("+@all -@dangerous", True),
        ("+@all -@write +set", True),
        ("+@all -@write +@dangerous", True),
        ("+@all -@write +@read +info", False),
        ("-@all +@read +info", False),
        ("-@all +@read +set -set", False),
        ("-@all +acl|whoami", True),
        ("allcommands", True),
        ("allcommands nocommands", False),
        ("", False),
        ("-@write +@all", True),
        ("+@all -set -del -sort -flushall -acl", False),
    ],
)
def test_rules_are_followed_to_see_whether_a_write_is_left(rules: str, may: bool) -> None:
    rights = Rights(tuple(rules.split()))
    assert categories_named([rights]) <= set(CATEGORIES)
    assert may_write(rights, CATEGORIES) is may
