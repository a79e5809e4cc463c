"""How ends are named, and what is refused before anything is asked."""

from __future__ import annotations

import pytest

from holdfast.engine.connection import Credentials, TlsTrust
from holdfast.errors import WrongUsage
from holdfast.migrate.ends import End, Layout, Login, credentials_of, read_login, read_url


@pytest.mark.parametrize(
    ("text", "address", "tls"),
    [
        ("redis://h", ("h", 6379), False),
        ("rediss://h:7000", ("h", 7000), True),
        ("valkey://user@h:1/", ("h", 1), False),
        ("redis://[::1]:6380", ("::1", 6380), False),
        ("redis://h?primary=cart", ("h", 6379), False),
    ],
)
def test_urls(text: str, address: tuple[str, int], tls: bool) -> None:
    named = read_url(text)
    assert (named.address, named.tls) == (address, tls)


WRONG = [
    "redis://u:hunter2@h",
    "redis://:hunter2@h",
    "http://h",
    "redis://h/3",
    "redis://",
    "redis://h?db=1",
    "redis://h:99999",
]


@pytest.mark.parametrize("text", WRONG)
def test_urls_refused_without_telling_the_password(text: str) -> None:
    with pytest.raises(WrongUsage) as refused:
        read_url(text)
    assert "hunter2" not in str(refused.value)


def test_password_files() -> None:
    assert read_login("s3cret\n", "f") == Login("", "s3cret")
    assert read_login("me\r\ns3cret\r\n", "f") == Login("me", "s3cret")
    assert "s3cret" not in repr(read_login("s3cret", "f"))
    for wrong in ("", "\n", "a\nb\nc\n", "a\x00b"):
        with pytest.raises(WrongUsage):
            read_login(wrong, "f")


def test_who_logs_in() -> None:
    plain, named = read_url("redis://h"), read_url("redis://me@h")
    assert credentials_of(plain, Login()) is None
    assert credentials_of(plain, Login("", "p")) == Credentials("default", "p")
    assert credentials_of(named, Login("", "p")) == Credentials("me", "p")
    for login in (Login(), Login("other", "p")):
        with pytest.raises(WrongUsage):
            credentials_of(named, login)


def test_an_end_is_written_down_without_its_passwords() -> None:
    who, watcher = Credentials("u", "hunter2"), Credentials("w", "hunter3")
    end = End("x", Layout.SENTINEL, (("h", 1),), who, TlsTrust("ca"), (("s", 2),), watcher, "cart")
    assert "hunter" not in str(end.to_json())
    assert "hunter" not in repr(end)
    assert End.from_json(end.to_json(), end.secrets()) == end
