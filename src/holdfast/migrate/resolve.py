"""From an END argument to the end itself: the name of a cache that Holdfast runs, or a URL and whoever answers there."""

from __future__ import annotations

import os
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from holdfast.engine.connection import TlsTrust
from holdfast.errors import WrongUsage
from holdfast.migrate.ends import (
    Certificates,
    End,
    EndUnusable,
    Layout,
    Login,
    Side,
    credentials_of,
    looks_like_url,
    read_login,
    read_url,
)
from holdfast.migrate.observe import recognise
from holdfast.spec.topology import Mode
from holdfast.state import StateFolder
from holdfast.topology.store import CacheStore

PASSWORD_FILE_MAX_BYTES = 16 * 1024
_PASSWORD_VARIABLE = {Side.SOURCE: "HOLDFAST_FROM_PASSWORD", Side.TARGET: "HOLDFAST_TO_PASSWORD"}
_USER_VARIABLE = {Side.SOURCE: "HOLDFAST_FROM_USER", Side.TARGET: "HOLDFAST_TO_USER"}


@dataclass(frozen=True)
class Wanted:
    """An END and what goes with it."""

    side: Side
    text: str
    """A URL, or the name of a cache."""
    auth_file: str = ""
    certificates: Certificates = field(default_factory=Certificates)


async def resolve(wanted: Wanted, state: StateFolder, environ: Mapping[str, str] | None = None) -> End:
    """The end, with its layout.

    Raises: WrongUsage, EndUnusable, CacheUnknown, and the connection's errors when nobody answers at a URL.
    """
    if not looks_like_url(wanted.text):
        return cache_end(state, wanted.text)
    named = read_url(wanted.text)
    login = _login(wanted, os.environ if environ is None else environ)
    tls = _trust(wanted.certificates) if named.tls else None
    end = End(named.label, Layout.REPLICATED, (named.address,), credentials_of(named, login), tls)
    if named.watched_name:
        end = End(
            named.label,
            Layout.REPLICATED,
            (named.address,),
            end.credentials,
            tls,
            watched_name=named.watched_name,
        )
    return await recognise(end)


def cache_end(state: StateFolder, name: str) -> End:
    """A cache that Holdfast runs. Raises: CacheUnknown, EndUnusable."""
    store = CacheStore(state, name)
    record = store.record()
    if not record.servers:
        raise EndUnusable(name, "it has no servers", "Bring it up first: holdfast up.")
    layout = {Mode.CLUSTER: Layout.CLUSTER, Mode.SENTINEL: Layout.SENTINEL}.get(
        Mode(record.mode), Layout.REPLICATED
    )
    own = store.own_credentials()
    return End(
        label=name,
        layout=layout,
        servers=tuple((member.address, member.port) for member in record.servers),
        credentials=own,
        tls=store.trust(tls_on=record.tls),
        sentinels=tuple((member.address, member.port) for member in record.sentinels),
        sentinel_credentials=own if record.sentinels else None,
        watched_name=name if record.sentinels else "",
        cache=name,
    )


def _login(wanted: Wanted, environ: Mapping[str, str]) -> Login:
    if wanted.auth_file:
        try:
            with Path(wanted.auth_file).open("rb") as file:
                text = file.read(PASSWORD_FILE_MAX_BYTES).decode()
        except (OSError, UnicodeDecodeError) as failed:
            raise WrongUsage(
                f"the password file {wanted.auth_file} cannot be read ({getattr(failed, 'strerror', 'no UTF-8')})",
                "name a file that you may read",
            ) from None
        return read_login(text, wanted.auth_file)
    return Login(
        environ.get(_USER_VARIABLE[wanted.side], ""), environ.get(_PASSWORD_VARIABLE[wanted.side], "")
    )


def _trust(files: Certificates) -> TlsTrust:
    ca = files.ca or ssl.get_default_verify_paths().cafile or ""
    for path in (ca, files.cert, files.key):
        if path and not Path(path).is_file():
            raise WrongUsage(f"there is no file {path}", "name the PEM file itself")
    if not ca:
        raise WrongUsage(
            "this system names no file of trusted authorities", "name one with --from-ca or --to-ca"
        )
    return TlsTrust(str(Path(ca).absolute()), files.cert or None, files.key or None)
