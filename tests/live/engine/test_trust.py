"""Whom Holdfast trusts when it speaks TLS to a node: the cache's own authority, and none of the system's."""

from __future__ import annotations

import datetime
import ssl
from pathlib import Path

from holdfast.engine.connection import TlsTrust, _context
from holdfast.engine.tls import make_authority


def test_no_authority_but_the_cache_s_own_is_trusted(tmp_path: Path) -> None:
    authority = make_authority("authority of a test", 10, datetime.datetime.now(datetime.UTC))
    file = tmp_path / "ca.pem"
    file.write_bytes(authority.cert_pem)
    context = _context(TlsTrust(str(file)), (1,))
    assert len(context.get_ca_certs()) == 1
    assert context.verify_mode is ssl.CERT_REQUIRED
    assert context.check_hostname
    assert context.minimum_version is ssl.TLSVersion.TLSv1_2
