"""A cache's own certificate authority, and the certificates it gives to nodes, services and operators.

Keys are EC P-256, good for TLS 1.2 and 1.3. Nothing is written here: callers write keys with 0600. The time comes in
as an argument; only the keys and serial numbers are random.
"""

from __future__ import annotations

import datetime
import ipaddress
from collections.abc import Sequence

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from holdfast.engine.issued import CertificateUnusable, Issued, Subject

CLOCK_ALLOWANCE = datetime.timedelta(hours=1)
"""Certificates begin this much in the past, for machines whose clocks are behind."""
COMMON_NAME_MAX = 64


def make_authority(name: str, days: int, now: datetime.datetime) -> Issued:
    """A self-signed authority for one cache, that may sign certificates and nothing else."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = _name(name)
    certificate = (
        _builder(subject, subject, key.public_key(), days, now)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(signs_certificates=True), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    return _issued(certificate, key)


def issue(
    authority: Issued, subject: Subject, name: str, names: Sequence[str], days: int, now: datetime.datetime
) -> Issued:
    """A certificate signed by `authority`, never good for longer than the authority itself.

    Args: `name`, the node, or the user that the holder is; `names`, under which a node is reached, host names and
        IP addresses mixed.
    Raises: CertificateUnusable when the authority cannot be read or is itself no longer good.
    """
    ca = _certificate(authority.cert_pem, "the authority's certificate")
    ca_key = _key(authority.key_pem, "the authority's key")
    if ca.not_valid_after_utc <= now:
        raise CertificateUnusable(
            "the cache's certificate authority", f"it ended on {ca.not_valid_after_utc:%Y-%m-%d}"
        )
    key = ec.generate_private_key(ec.SECP256R1())
    builder = (
        _builder(_name(name), ca.subject, key.public_key(), days, now, not_after_limit=ca.not_valid_after_utc)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(signs_certificates=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage(_purposes(subject)), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(ca_key.public_key()), critical=False
        )
    )
    if names:
        builder = builder.add_extension(
            x509.SubjectAlternativeName([_alternative(each) for each in names]), critical=False
        )
    return _issued(builder.sign(ca_key, hashes.SHA256()), key)


def expires(cert_pem: bytes) -> datetime.datetime:
    """When the certificate ends, in UTC.

    Raises: CertificateUnusable when it cannot be read.
    """
    return _certificate(cert_pem, "the certificate").not_valid_after_utc


def days_left(cert_pem: bytes, now: datetime.datetime) -> float:
    """Days until the certificate ends; negative once it has.

    Raises: CertificateUnusable when it cannot be read.
    """
    return (expires(cert_pem) - now) / datetime.timedelta(days=1)


def names_of(cert_pem: bytes) -> tuple[str, ...]:
    """The host names and IP addresses that the certificate is good for.

    Raises: CertificateUnusable when it cannot be read.
    """
    certificate = _certificate(cert_pem, "the certificate")
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return ()
    return (
        *names.get_values_for_type(x509.DNSName),
        *(str(ip) for ip in names.get_values_for_type(x509.IPAddress)),
    )


def refuse_unusable(issued: Issued, ca_pem: bytes, now: datetime.datetime, what: str) -> None:
    """Check what a server would not notice, or only say in the words of its TLS library.

    Servers start with a certificate that has ended; it is their clients that then refuse them.
    Raises: CertificateUnusable when certificate, key and authority do not belong together or the time is wrong.
    """
    certificate, ca = _certificate(issued.cert_pem, what), _certificate(ca_pem, "the authority's certificate")
    if _key(issued.key_pem, f"the key of {what}").public_key() != certificate.public_key():
        raise CertificateUnusable(what, "its key belongs to another certificate")
    try:
        certificate.verify_directly_issued_by(ca)
    except (InvalidSignature, ValueError, TypeError) as strange:
        raise CertificateUnusable(what, "it was not signed by this cache's authority") from strange
    for one, whose in ((certificate, what), (ca, "the authority's certificate")):
        if one.not_valid_after_utc <= now:
            raise CertificateUnusable(whose, f"it ended on {one.not_valid_after_utc:%Y-%m-%d %H:%M} UTC")
        if one.not_valid_before_utc > now:
            raise CertificateUnusable(
                whose,
                f"it begins on {one.not_valid_before_utc:%Y-%m-%d %H:%M} UTC: the machine's clock may be wrong",
            )


def _builder(
    subject: x509.Name,
    issuer: x509.Name,
    public_key: ec.EllipticCurvePublicKey,
    days: int,
    now: datetime.datetime,
    not_after_limit: datetime.datetime | None = None,
) -> x509.CertificateBuilder:
    ends = now + datetime.timedelta(days=days)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(public_key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - CLOCK_ALLOWANCE)
        .not_valid_after(min(ends, not_after_limit) if not_after_limit else ends)
    )


def _purposes(subject: Subject) -> list[x509.ObjectIdentifier]:
    if subject is Subject.NODE:
        return [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
    return [ExtendedKeyUsageOID.CLIENT_AUTH]


def _usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _name(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name[:COMMON_NAME_MAX])])


def _alternative(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _certificate(pem: bytes, what: str) -> x509.Certificate:
    try:
        return x509.load_pem_x509_certificate(pem)
    except ValueError as strange:
        raise CertificateUnusable(what, "it is not a certificate in PEM form") from strange


def _key(pem: bytes, what: str) -> ec.EllipticCurvePrivateKey:
    try:
        key = serialization.load_pem_private_key(pem, password=None)
    except (ValueError, TypeError) as strange:
        raise CertificateUnusable(what, "it is not a private key in PEM form") from strange
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise CertificateUnusable(what, "it is no EC key")
    return key


def _issued(certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey) -> Issued:
    return Issued(
        certificate.public_bytes(serialization.Encoding.PEM),
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        ),
    )
