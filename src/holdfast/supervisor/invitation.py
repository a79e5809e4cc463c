"""The controller's side of admission: what it hands to each machine of a cache, and how it shows who it is itself."""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from urllib.parse import urlsplit

from holdfast.engine.issued import Issued, Subject
from holdfast.errors import HoldfastError
from holdfast.spec.cache import Spec
from holdfast.state import private_folder, write_private
from holdfast.supervisor import admission
from holdfast.supervisor.admission import CA, CERT, CONTROLLER, KEY, Admission
from holdfast.topology.store import CacheStore

DEFAULT_PORT = 7800
DAYS = 3650
"""As long as the authority lives, at most: a machine whose certificate ended could not be reached to renew it."""


@dataclass(eq=False)
class NoSuchMachine(HoldfastError):
    """The spec has no such machine, or not one that is reached over the network."""

    cache: str
    machine: str
    why: str

    def __str__(self) -> str:
        return f"{self.machine} cannot be invited to {self.cache}: {self.why}; nothing was written"


def invite(spec: Spec, store: CacheStore, machine: str) -> Admission:
    """What the machine needs so that this cache's controller and other machines reach its supervisor.

    Raises: NoSuchMachine, CertificateUnusable.
    """
    host = spec.place.hosts.get(machine)
    if host is None:
        known = ", ".join(spec.place.hosts) or "none"
        raise NoSuchMachine(spec.cache.name, machine, f"place.hosts has {known}")
    if not host.supervisor.startswith("https://"):
        raise NoSuchMachine(
            spec.cache.name,
            machine,
            f"its supervisor is {host.supervisor}, which is reached without certificates",
        )
    place = urlsplit(host.supervisor)
    address = place.hostname or str(host.address)
    made = _certificate(spec, store, Subject.NODE, machine, (address, admission.name_of(machine)))
    return Admission(
        cache=spec.cache.name,
        machine=machine,
        address=address,
        port=place.port or DEFAULT_PORT,
        ca_pem=store.authority_cert(spec.security.tls.ca_days).decode(),
        cert_pem=made.cert_pem.decode(),
        key_pem=made.key_pem.decode(),
    )


def controller_trust(spec: Spec, store: CacheStore) -> ssl.SSLContext:
    """How the controller of a cache connects to the supervisors of its machines."""
    made = _certificate(spec, store, Subject.OPERATOR, "controller", (CONTROLLER,))
    folder = private_folder(store.folder / "controller")
    for name, content in (
        (CA, store.authority_cert(spec.security.tls.ca_days)),
        (CERT, made.cert_pem),
        (KEY, made.key_pem),
    ):
        if not (folder / name).exists() or (folder / name).read_bytes() != content:
            write_private(folder / name, content)
    return admission.client_context(folder)


def _certificate(
    spec: Spec, store: CacheStore, subject: Subject, name: str, names: tuple[str, ...]
) -> Issued:
    ca_days = spec.security.tls.ca_days
    return store.certificate(subject, f"supervisor-{name}", names, days=min(DAYS, ca_days), ca_days=ca_days)
