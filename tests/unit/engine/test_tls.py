"""The cache's authority and what it issues, by a clock that the test sets."""

from __future__ import annotations

import datetime

import pytest
from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID

from holdfast.engine.issued import CertificateUnusable, Issued, Subject
from holdfast.engine.tls import (
    days_left,
    expires,
    issue,
    make_authority,
    names_of,
    refuse_unusable,
)

NOW = datetime.datetime(2026, 11, 21, 12, tzinfo=datetime.UTC)
DAY = datetime.timedelta(days=1)


@pytest.fixture(scope="module")
def authority() -> Issued:
    return make_authority("cart", 3650, NOW)


def node(authority: Issued, days: int = 365, now: datetime.datetime = NOW) -> Issued:
    return issue(authority, Subject.NODE, "cart-1", ("localhost", "127.0.0.1", "::1"), days, now)


def test_a_node_is_server_and_client_under_its_names(authority: Issued) -> None:
    cert = node(authority).cert_pem
    assert names_of(cert) == ("localhost", "127.0.0.1", "::1")
    read = x509.load_pem_x509_certificate(cert)
    purposes = set(read.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value)
    assert purposes == {ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH}
    assert not read.extensions.get_extension_for_class(x509.BasicConstraints).value.ca


@pytest.mark.parametrize("subject", [Subject.SERVICE, Subject.OPERATOR])
def test_people_and_services_can_only_be_clients(authority: Issued, subject: Subject) -> None:
    read = x509.load_pem_x509_certificate(issue(authority, subject, "bill", (), 30, NOW).cert_pem)
    assert list(read.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value) == [
        ExtendedKeyUsageOID.CLIENT_AUTH
    ]
    assert read.subject.rfc4514_string() == "CN=bill"


def test_the_time_is_the_callers(authority: Issued) -> None:
    cert = node(authority, days=10).cert_pem
    assert expires(cert) == NOW + 10 * DAY
    assert days_left(cert, NOW + 11 * DAY) == -1
    assert names_of(authority.cert_pem) == ()


def test_no_certificate_outlives_its_authority() -> None:
    short = make_authority("cart", 5, NOW)
    assert expires(node(short, days=365).cert_pem) == NOW + 5 * DAY
    with pytest.raises(CertificateUnusable, match="ended on 2026-11-26"):
        node(short, now=NOW + 6 * DAY)


def test_what_a_server_would_not_notice_is_refused(authority: Issued) -> None:
    good = node(authority, days=10)
    refuse_unusable(good, authority.cert_pem, NOW, "cart-1")
    with pytest.raises(CertificateUnusable, match="ended on"):
        refuse_unusable(good, authority.cert_pem, NOW + 11 * DAY, "cart-1")
    with pytest.raises(CertificateUnusable, match="clock may be wrong"):
        refuse_unusable(good, authority.cert_pem, NOW - DAY, "cart-1")
    with pytest.raises(CertificateUnusable, match="key belongs to another"):
        refuse_unusable(Issued(good.cert_pem, node(authority).key_pem), authority.cert_pem, NOW, "cart-1")
    with pytest.raises(CertificateUnusable, match="not signed by"):
        refuse_unusable(good, make_authority("cart", 10, NOW).cert_pem, NOW, "cart-1")


@pytest.mark.parametrize(
    "rubbish", [b"", b"rubbish", b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"]
)
def test_rubbish_is_named_as_such(authority: Issued, rubbish: bytes) -> None:
    with pytest.raises(CertificateUnusable, match="PEM"):
        expires(rubbish)
    with pytest.raises(CertificateUnusable, match="PEM"):
        node(Issued(authority.cert_pem, rubbish))


def test_a_key_shows_in_no_representation(authority: Issued) -> None:
    assert "PRIVATE" not in repr(authority)
