"""The operator's checklist (validation, section 12.3, and success criteria, section 15, of the plan for phonebill), line by
line, and which checks answer each. Pure.

A line whose check says "not provable here" is answered by that, with the reason.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Line:
    """One line of the checklist."""

    id: str
    what: str
    checks: tuple[str, ...]


LINES: tuple[Line, ...] = (
    Line("12.3.connectivity.1", "the application cluster reaches the cache", ("connectivity.services",)),
    Line("12.3.connectivity.2", "each service reads and writes", ("connectivity.services",)),
    Line("12.3.connectivity.3", "clients connect in cluster mode", ("connectivity.topology",)),
    Line("12.3.connectivity.4", "traffic is encrypted", ("connectivity.tls", "connectivity.plaintext")),
    Line("12.3.performance.1", "answers in less than 5 ms", ("performance.latency",)),
    Line("12.3.performance.2", "10,000 requests per second", ("performance.latency", "performance.most")),
    Line("12.3.performance.3", "memory is used well", ("performance.memory",)),
    Line("12.3.performance.4", "more than 90 % of reads hit", ("performance.hit-rate",)),
    Line("12.3.security.1", "no access from outside", ("security.addresses",)),
    Line("12.3.security.2", "authentication and rights", ("security.authentication", "security.rights")),
    Line(
        "12.3.security.3",
        "data is encrypted",
        ("connectivity.tls", "security.tls-versions", "security.secrets", "security.at-rest"),
    ),
    Line("12.3.security.4", "an audit log is kept", ("security.audit", "security.refusals-kept")),
    Line("12.3.availability.1", "a zone fails", ("availability.zone-lost",)),
    Line(
        "12.3.availability.2",
        "a failed node recovers",
        (
            "availability.replica-killed",
            "availability.primary-hung",
            "availability.cold-start",
            "durability.aof-tail",
        ),
    ),
    Line(
        "12.3.availability.3",
        "failover is automatic",
        ("availability.primary-killed", "availability.supervisor-killed", "availability.minority"),
    ),
    Line("12.3.availability.4", "backup and restore", ("durability.backup",)),
    Line("15.1.1", "the cache is up and as declared", ("connectivity.topology", "durability.config")),
    Line("15.1.2", "zones and clustering are active", ("connectivity.topology", "availability.zone-lost")),
    Line("15.1.3", "it is reached through the private network only", ("security.addresses",)),
    Line("15.1.4", "all services connect", ("connectivity.services",)),
    Line("15.1.5", "monitoring and alerts are in place", ("alerts.rules",)),
    Line("15.1.6", "backup and disaster recovery are set up", ("durability.backup", "durability.region")),
    Line("15.2.1", "availability of 99.99 % and more", ("availability.promise",)),
    Line(
        "15.2.2",
        "answers in less than 5 ms, 10,000 requests per second and more",
        ("performance.latency", "performance.most", "performance.pipelining"),
    ),
    Line(
        "15.2.3",
        "private and encrypted",
        ("security.addresses", "connectivity.tls", "connectivity.plaintext"),
    ),
    Line("15.2.4", "ready to grow", ("connectivity.topology", "availability.switchover")),
    Line("15.2.5", "metrics as they come, and alerts", ("alerts.rules",)),
)


def seed_of(check_id: str) -> tuple[str, ...]:
    """The lines that a check answers."""
    return tuple(line.id for line in LINES if check_id in line.checks)
