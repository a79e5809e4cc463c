"""What a machine keeps so that a cache's controller and other machines reach its supervisor, and nobody else does.

One listener for each cache, with a certificate of that cache's own authority; whoever connects must have one too, and
its names say who it is: the controller, or a machine. A service's or node's certificate is neither and asks nothing.
"""

from __future__ import annotations

import json
import re
import ssl
from dataclasses import asdict, dataclass, field
from pathlib import Path

from holdfast.errors import HoldfastError
from holdfast.state import private_folder, write_private

NAME = re.compile(r"[a-z][a-z0-9-]{0,63}")
FOLDER = "admissions"
FORMAT = 1
CONTROLLER = "controller.supervisor.holdfast.internal"
MACHINES = ".machine.supervisor.holdfast.internal"
CA, CERT, KEY, FACTS = "ca.pem", "cert.pem", "key.pem", "admission.json"


@dataclass(eq=False)
class AdmissionInvalid(HoldfastError):
    """A file that should admit a cache's machines is none."""

    source: str
    why: str

    def __str__(self) -> str:
        return (
            f"{self.source} is no invitation of this Holdfast: {self.why}; nothing was changed: write a new one with "
            "`holdfast supervisor invite CACHE MACHINE`"
        )


@dataclass(frozen=True)
class Admission:
    """One cache's way to this machine."""

    cache: str
    machine: str
    """The machine's name in the cache's spec."""
    address: str
    port: int
    ca_pem: str
    cert_pem: str
    key_pem: str = field(repr=False)

    def to_json(self) -> str:
        """The invitation as a file; it holds a private key."""
        return json.dumps({"format": FORMAT, **asdict(self)}, indent=1)

    @classmethod
    def from_json(cls, source: str, text: str | bytes) -> Admission:
        """Raises: AdmissionInvalid."""
        try:
            value = json.loads(text)
            if value.pop("format") != FORMAT:
                raise ValueError("its format is another one")
            made = cls(**value)
        except (ValueError, TypeError, KeyError, AttributeError) as strange:
            raise AdmissionInvalid(source, str(strange) or type(strange).__name__) from strange
        texts = (made.cache, made.machine, made.address, made.ca_pem, made.cert_pem, made.key_pem)
        if not all(isinstance(each, str) and each for each in texts) or not isinstance(made.port, int):
            raise AdmissionInvalid(source, "it lacks something")
        if not NAME.fullmatch(made.cache) or not NAME.fullmatch(made.machine):
            raise AdmissionInvalid(source, "its cache or machine has a name that none has")
        return made


def name_of(machine: str) -> str:
    """The name in a machine's certificate that says which it is."""
    return machine + MACHINES


def keep(supervisor_folder: Path, admission: Admission) -> Path:
    """Keep it for the supervisor's next start. Returns: the folder it lies in."""
    folder = private_folder(supervisor_folder / FOLDER / admission.cache)
    for name, text in ((CA, admission.ca_pem), (CERT, admission.cert_pem), (KEY, admission.key_pem)):
        write_private(folder / name, text)
    write_private(folder / FACTS, admission.to_json())
    return folder


def kept(supervisor_folder: Path) -> dict[str, Admission]:
    """Cache -> what admits it. Those that cannot be read are left out. Raises nothing."""
    found = {}
    for file in sorted((supervisor_folder / FOLDER).glob(f"*/{FACTS}")):
        try:
            admission = Admission.from_json(str(file), file.read_bytes())
        except (OSError, AdmissionInvalid):
            continue
        found[admission.cache] = admission
    return found


def client_context(folder: Path) -> ssl.SSLContext:
    """How a holder of this folder's certificate connects: it must be known, and the other must be of the same cache."""
    context = ssl.create_default_context(cafile=str(folder / CA))
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.load_cert_chain(folder / CERT, folder / KEY)
    return context


def server_context(folder: Path) -> ssl.SSLContext:
    """How the supervisor lets in: only with a certificate of this cache's authority."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.load_verify_locations(folder / CA)
    context.load_cert_chain(folder / CERT, folder / KEY)
    context.verify_mode = ssl.CERT_REQUIRED
    return context


def caller_of(names: set[str]) -> str:
    """Who a certificate's holder is: CONTROLLER, a machine's name, or empty for nobody who may ask."""
    if CONTROLLER in names:
        return CONTROLLER
    machines = [name.removesuffix(MACHINES) for name in names if name.endswith(MACHINES)]
    return machines[0] if len(machines) == 1 else ""
