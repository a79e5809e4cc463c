"""The machine's own mirrors and keys, asked for another suite."""

import pytest

from holdfast.engine.apt_sources import AptSource, read_deb822, read_one_line, sources_for

DEB822 = """\
Types: deb
# a comment within
URIs: http://mirror.example/debian https://second.example/debian
Suites: bookworm bookworm-updates
Components: main contrib
Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg

Types: deb
URIs: http://mirror.example/debian-security
Suites: bookworm-security
Components: main
Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg

Types: deb-src
URIs: http://mirror.example/debian
Suites: bookworm
Components: main

Types: deb
Enabled: no
URIs: http://off.example/debian
Suites: bookworm
Components: main
"""

EMBEDDED = """\
Types: deb
URIs: http://mirror.example/debian
Suites: trixie
Components: main
Signed-By:
 -----BEGIN PGP PUBLIC KEY BLOCK-----
 .
 mQINBF
 -----END PGP PUBLIC KEY BLOCK-----
"""


def test_deb822_gives_the_enabled_binary_archives() -> None:
    main, security = read_deb822(DEB822)
    assert main.uris == ("http://mirror.example/debian", "https://second.example/debian")
    assert main.suites == ("bookworm", "bookworm-updates")
    assert not main.is_security
    assert security.is_security
    assert main.keyring == "/usr/share/keyrings/debian-archive-keyring.gpg"


@pytest.mark.parametrize(
    ("line", "source"),
    [
        (
            "deb http://m.example/debian bookworm main",
            AptSource(("http://m.example/debian",), ("bookworm",), ""),
        ),
        (
            "deb [arch=amd64 signed-by=/k.gpg] http://m.example/debian bookworm contrib main  # ours",
            AptSource(("http://m.example/debian",), ("bookworm",), "/k.gpg"),
        ),
        (
            "deb [ trusted=yes ] http://m.example/debian-security bullseye/updates main",
            AptSource(("http://m.example/debian-security",), ("bullseye/updates",), ""),
        ),
        ("# deb http://m.example/debian bookworm main", None),
        ("deb-src http://m.example/debian bookworm main", None),
        ("deb http://m.example/debian ./", None),
        ("deb http://m.example/debian bookworm contrib", None),
        ("deb", None),
        ("", None),
    ],
)
def test_one_line_sources(line: str, source: AptSource | None) -> None:
    assert list(read_one_line(line)) == ([source] if source else [])


def test_another_suite_is_asked_of_the_same_mirror_with_the_same_key() -> None:
    text, keyrings = sources_for(read_deb822(DEB822), ("trixie", "trixie-security"))
    main, security = read_deb822(text)
    assert main.uris == ("http://mirror.example/debian", "https://second.example/debian")
    assert (main.suites, security.suites) == (("trixie",), ("trixie-security",))
    assert security.uris == ("http://mirror.example/debian-security",)
    assert keyrings == ("/usr/share/keyrings/debian-archive-keyring.gpg",)
    assert "Trusted" not in text


def test_without_a_security_archive_its_suite_is_left_out() -> None:
    text, _ = sources_for(
        read_one_line("deb http://m.example/debian bookworm main"), ("trixie", "trixie-security")
    )
    assert [source.suites for source in read_deb822(text)] == [("trixie",)]


def test_trust_of_the_machine_is_not_inherited_and_only_given_on_demand() -> None:
    configured = list(read_one_line("deb [trusted=yes] http://m.example/debian bookworm main"))
    assert "Trusted" not in sources_for(configured, ("trixie",))[0]
    assert "Trusted: yes" in sources_for(configured, ("trixie",), trusted=True)[0]


def test_an_embedded_key_is_carried_whole() -> None:
    (source,) = read_deb822(EMBEDDED)
    text, keyrings = sources_for([source], ("bookworm",))
    (carried,) = read_deb822(text)
    assert carried.signed_by == source.signed_by
    assert "mQINBF" in carried.signed_by
    assert keyrings == ("the key in the machine's apt sources",)


@pytest.mark.parametrize("suite", ["noble", "jammy-updates", "nodistro", "cloud-sdk-bookworm"])
def test_another_distribution_is_no_debian(suite: str) -> None:
    assert sources_for(read_one_line(f"deb http://m.example/x {suite} main"), ("bookworm",)) == ("", ())
