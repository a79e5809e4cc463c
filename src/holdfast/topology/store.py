"""The controller's own folder of one cache: record, passwords, authority, certificates and the spec last applied."""

from __future__ import annotations

import contextlib
import hashlib
import json
import secrets
import shutil
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from holdfast.engine.acl import SUPERVISOR_USER
from holdfast.engine.connection import Credentials, TlsTrust, tls_context
from holdfast.engine.issued import CertificateUnusable, Issued, Subject
from holdfast.errors import HoldfastError
from holdfast.spec.fault import SpecInvalid
from holdfast.spec.load import LoadedSpec, load_document
from holdfast.state import StateFolder, only_one, private_folder, write_private
from holdfast.topology.damaged import AuthorityLost, SpecLost, password_in
from holdfast.topology.maintenance import Maintenance
from holdfast.topology.record import CacheRecord, RecordUnreadable

MAINTENANCE = "maintenance.json"
PASSWORD_BYTES = 32
RENEW_SHARE = 0.3
"""A certificate is renewed once less than this share of its life is left."""


@dataclass(eq=False)
class CacheUnknown(HoldfastError):
    """No cache of that name was brought up with this state folder."""

    name: str
    known: tuple[str, ...]
    state: str

    def __str__(self) -> str:
        known = f"known here: {', '.join(self.known)}" if self.known else "none is known here"
        return (
            f"there is no cache {self.name} in {self.state} ({known}): bring it up with `holdfast up FILE`, "
            "or set HOLDFAST_STATE to the folder it was made with"
        )


class CacheStore:
    """Reads and writes one cache's folder; every write is whole or not at all."""

    def __init__(self, state: StateFolder, name: str) -> None:
        self.name = name
        self._state = state
        self.folder = state.cache(name)

    @property
    def exists(self) -> bool:
        """Whether a record was ever written."""
        return (self.folder / "record.json").exists()

    @property
    def keeps_spec(self) -> bool:
        """Whether a spec is kept that can be read."""
        try:
            self.spec()
        except (CacheUnknown, SpecLost):
            return False
        return True

    @contextlib.contextmanager
    def alone(self) -> Iterator[None]:
        """Let no other command change this cache for the length of the block. Raises: Busy."""
        private_folder(self.folder)
        with only_one(self.folder / "lock", f"the cache {self.name}"):
            yield

    def record(self) -> CacheRecord:
        """Raises: CacheUnknown, RecordUnreadable."""
        path = self.folder / "record.json"
        try:
            value = json.loads(path.read_bytes())
        except FileNotFoundError:
            raise CacheUnknown(self.name, self._state.cache_names(), str(self._state.path)) from None
        except (OSError, ValueError) as failed:
            raise RecordUnreadable(str(path), str(failed)) from failed
        return CacheRecord.from_json(str(path), value)

    def save_record(self, record: CacheRecord) -> None:
        """Write the record, the one before kept as record.json.previous."""
        path = private_folder(self.folder) / "record.json"
        if path.exists():
            write_private(self.folder / "record.json.previous", path.read_bytes())
        write_private(path, json.dumps(record.to_json(), indent=1))

    def save_spec(self, document: Mapping[str, Any]) -> None:
        """Keep the whole merged spec, so that the cache's name can stand for its file."""
        write_private(
            private_folder(self.folder) / "spec.json", json.dumps(document, indent=1, ensure_ascii=False)
        )

    def spec(self) -> LoadedSpec:
        """The spec last brought up. Raises: CacheUnknown, SpecLost."""
        path = self.folder / "spec.json"
        try:
            return load_document(str(path), path.read_bytes())
        except FileNotFoundError:
            raise CacheUnknown(self.name, self._state.cache_names(), str(self._state.path)) from None
        except OSError as failed:
            raise SpecLost(str(path), failed.strerror or str(failed)) from failed
        except SpecInvalid as invalid:
            raise SpecLost(str(path), f"{invalid.faults[0].message}") from invalid

    def begin_maintenance(self, maintenance: Maintenance) -> None:
        """Remember until when somebody works on the cache."""
        write_private(private_folder(self.folder) / MAINTENANCE, json.dumps(maintenance.to_json()))

    def end_maintenance(self) -> None:
        (self.folder / MAINTENANCE).unlink(missing_ok=True)

    def maintenance(self, now: datetime) -> Maintenance | None:
        """The maintenance that the cache is in; None when it is in none, or the file of it cannot be read."""
        try:
            found = Maintenance.from_json(json.loads((self.folder / MAINTENANCE).read_bytes()))
        except (OSError, ValueError, KeyError, TypeError):
            return None
        return found if found.holds(now) else None

    def passwords(self, users: Iterable[str] = ()) -> dict[str, str]:
        """Each user's password; those of `users` that have none yet get one, which is kept.

        Each lies in a file of its own, 0600, whose path can be handed to an application. Raises: PasswordUnusable.
        """
        folder = private_folder(private_folder(self.folder) / "passwords")
        for user in users:
            if not (folder / user).exists():
                write_private(folder / user, secrets.token_urlsafe(PASSWORD_BYTES))
        return {
            file.name: password_in(str(file), file.read_bytes())
            for file in folder.iterdir()
            if not file.name.startswith(".")
        }

    def forget_passwords(self, keep: Iterable[str]) -> None:
        """Delete the passwords of users that are gone: one that is declared again later gets a new one."""
        folder = self.folder / "passwords"
        known = set(keep)
        for file in folder.iterdir() if folder.is_dir() else ():
            if file.name not in known and not file.name.startswith("."):
                file.unlink(missing_ok=True)

    def password_file(self, user: str) -> Path:
        """Where that user's password lies."""
        return self.folder / "passwords" / user

    def hashes(self, users: Iterable[str]) -> dict[str, tuple[str, ...]]:
        """SHA-256 of each user's password in hexadecimal, as the engines keep it."""
        return {
            user: (hashlib.sha256(text.encode()).hexdigest(),) for user, text in self.passwords(users).items()
        }

    def authority(self, days: int) -> Issued:
        """The cache's own certificate authority, made at the first call. Raises: AuthorityLost."""
        cert = self.authority_cert(days)
        try:
            return Issued(cert, self.ca_file.with_suffix(".key").read_bytes())
        except OSError as failed:
            raise AuthorityLost(
                str(self.ca_file.with_suffix(".key")),
                f"cannot be read ({failed.strerror}), so no certificate can be made",
                "restore it from a copy of the state folder; nodes work on with the certificates they have until those end",
            ) from failed

    def authority_cert(self, days: int) -> bytes:
        """The authority's certificate alone; the authority is made at the first call. Raises: AuthorityLost."""
        key = self.ca_file.with_suffix(".key")
        if not self.ca_file.exists() and not self._has_issued():
            from holdfast.engine import tls

            private_folder(private_folder(self.folder) / "tls")
            made = tls.make_authority(f"Holdfast authority of {self.name}", days, datetime.now(UTC))
            write_private(key, made.key_pem)
            write_private(self.ca_file, made.cert_pem)
        self.trust(tls_on=True)
        return self.ca_file.read_bytes()

    def _has_issued(self) -> bool:
        """Whether nodes may be running with certificates of an authority that was here."""
        others = [file for file in (self.folder / "tls").glob("*.pem") if file != self.ca_file]
        return bool(others) or (self.exists and self.record().tls)

    def certificate(
        self, subject: Subject, name: str, names: tuple[str, ...], *, days: int, ca_days: int
    ) -> Issued:
        """The certificate of a node or user: the one kept, or a new one where that is missing, for other names, or
        near its end.
        """
        if kept := self.kept_certificate(name, names, days=days):
            return kept
        from holdfast.engine import tls

        folder = private_folder(private_folder(self.folder) / "tls")
        cert, key = folder / f"{name}.pem", folder / f"{name}.key"
        made = tls.issue(self.authority(ca_days), subject, name, names, days, datetime.now(UTC))
        write_private(key, made.key_pem)
        write_private(cert, made.cert_pem)
        return made

    def kept_certificate(self, name: str, names: tuple[str, ...], *, days: int) -> Issued | None:
        """The certificate on file, while it is for these names and has enough of its life left."""
        cert, key = self.folder / "tls" / f"{name}.pem", self.folder / "tls" / f"{name}.key"
        if not (cert.exists() and key.exists()):
            return None
        from holdfast.engine import tls

        kept = Issued(cert.read_bytes(), key.read_bytes())
        try:
            fresh = tls.days_left(kept.cert_pem, datetime.now(UTC)) > days * RENEW_SHARE
            return kept if fresh and set(tls.names_of(kept.cert_pem)) == set(names) else None
        except CertificateUnusable:
            return None

    @property
    def ca_file(self) -> Path:
        """The authority's certificate, which clients trust."""
        return self.folder / "tls" / "ca.pem"

    def trust(self, *, tls_on: bool) -> TlsTrust | None:
        """How Holdfast itself speaks TLS with the nodes; None without TLS. Raises: AuthorityLost."""
        if not tls_on:
            return None
        trust = TlsTrust(str(self.ca_file))
        try:
            tls_context(trust)
        except (OSError, ValueError) as failed:  # an ssl.SSLError is an OSError
            why = "is no certificate" if self.ca_file.is_file() else "is gone"
            raise AuthorityLost(
                trust.ca_file,
                f"{why}, so no node can be known by its certificate",
                f"put a copy back: each machine of the cache keeps one as nodes/{self.name}/ca.pem in its state folder",
            ) from failed
        return trust

    def own_credentials(self) -> Credentials:
        """Holdfast's own user on the nodes."""
        file = self.password_file(SUPERVISOR_USER)
        if not file.exists():
            self.passwords([SUPERVISOR_USER])
        return Credentials(SUPERVISOR_USER, password_in(str(file), file.read_bytes()))

    def operator_credentials(self, user: str) -> Credentials:
        """A declared user's credentials. Raises: KeyError when it has none."""
        return Credentials(user, self.passwords()[user])

    def delete(self) -> None:
        """Forget the cache: record, secrets and certificates."""
        shutil.rmtree(self.folder, ignore_errors=False)
