"""Whether what must fail failed, and what must not show does not."""

from __future__ import annotations

from holdfast.prove.check import Measured
from holdfast.prove.verdict import Verdict, judged, not_provable
from holdfast.spec.cache import Spec


def authentication(measured: Measured, spec: Spec) -> Verdict:
    """Nobody gets in without the right password."""
    told = f"{measured['tried']} attempts by {measured['users']} users and nobody, {len(measured['let_in'])} let in"
    return judged("only declared users, each with its password", told, list(measured["let_in"]))


def rights(measured: Measured, spec: Spec) -> Verdict:
    """No service reaches beyond its keys and commands."""
    told = f"{measured['tried']} attempts, {len(measured['allowed'])} allowed"
    return judged(
        "each service its own keys and no operator's command",
        told,
        list(measured["allowed"]),
        "; ".join(measured["notes"]),
    )


def addresses(measured: Measured, spec: Spec) -> Verdict:
    """Only the allowed addresses reach the nodes."""
    allow = ", ".join(measured["allow"]) or "everybody (network.allow is empty)"
    how = "; ".join(sorted({each["how"] for each in measured["enforced"].values()}))
    told = f"listens on {', '.join(measured['listening']) or 'nothing seen'}; held by {how or 'nothing'}"
    others = len(measured["other_addresses"])
    told += f"; {measured['tried']} attempts from {others} other {'address' if others == 1 else 'addresses'} of this machine, {len(measured['entered'])} let in"
    faults = [f"{place} takes connections" for place in measured["entered"]] if spec.network.allow else []
    faults += [f"{name}: {each['why']}" for name, each in measured["enforced"].items() if not each["holds"]]
    if not spec.network.allow:
        return not_provable(allow, "no address is kept out by the spec", "declare network.allow", told)
    if not measured["enforced"]:
        return not_provable(
            allow, "no machine told what it enforces", "run it where the supervisor runs", told
        )
    return judged(allow, told, faults)


def tls_versions(measured: Measured, spec: Spec) -> Verdict:
    """Older versions are refused."""
    promised = f"TLS {spec.security.tls.min_version.value} and up"
    told = f"{measured['tried']} handshakes by TLS {', '.join(measured['below'])}: {len(measured['spoken'])} accepted"
    if measured["untried"] and not measured["spoken"]:
        return not_provable(
            promised,
            "; ".join(measured["untried"]),
            "run it from a machine whose TLS library still offers them",
        )
    return judged(promised, told, list(measured["spoken"]))


def secrets_hidden(measured: Measured, spec: Spec) -> Verdict:
    """No password shows anywhere, no file of the cache is open to others."""
    told = (
        f"{measured['secrets']} passwords looked for in {measured['logs']} logs and reports and in {measured['processes']} "
        f"arguments and environments of processes: {len(measured['found'])} found"
    )
    if not measured["secrets"] and not measured["found"]:
        return not_provable("no secret shows", "no password is known here to look for", "declare services")
    told += f"; {len(measured['open'])} of {measured['files']} files and folders open to others"
    return judged("no secret shows, no file is open to others", told, [*measured["found"], *measured["open"]])


def audited(measured: Measured, spec: Spec) -> Verdict:
    """Refused log-ins and operators' actions are on record."""
    seen = measured["servers"] - len(measured["without_the_refusal"])
    action = "is" if measured["action_logged"] else "is not"
    told = f"the refused log-in is in the ACL LOG of {seen} of {measured['servers']} servers; this run {action} in audit.log"
    faults = [f"{name} has no record of it" for name in measured["without_the_refusal"]]
    if spec.security.audit and not measured["action_logged"]:
        faults.append("the operator's action is not in audit.log")
    if measured["audit_log_mode"] not in {"0600", "0400"}:
        faults.append(f"audit.log has mode {measured['audit_log_mode']}")
    return judged("what operators do and what is refused is on record", told, faults)


def refusals_kept(measured: Measured, spec: Spec) -> Verdict:
    """What servers refuse is in the audit log, where no restart of theirs takes it away."""
    promised = "refused log-ins outlive the server that refused them"
    if not spec.security.audit:
        return not_provable("no audit log", "none is promised", "declare security.audit: true")
    missing = measured["not_kept"]
    told = (
        f"the refusals of {measured['servers'] - len(missing)} of {measured['servers']} servers are in audit.log"
        + (f", {measured['took_s']:g} s later" if not missing else "")
    )
    faults = [
        f"{name} refused a log-in, and audit.log has nothing of it after {measured['bound_s']:g} s"
        for name in missing
    ]
    return judged(promised, told, faults)


def at_rest(measured: Measured, spec: Spec) -> Verdict:
    """No spec promises it; what is seen of it is told."""
    seen = {
        True: f"the state folder is on device {measured['device']}, encrypted by dm-crypt",
        False: f"the state folder is on device {measured['device']}, with no dm-crypt in it",
        None: "the state folder is on a file system without a block device of its own (network, overlay, ZFS, btrfs)",
    }[measured["encrypted"]]
    return not_provable(
        "no encryption of files on disk",
        "none is promised: engines write their files as they are",
        "keep the state folder on an encrypted disk, and it is said here",
        seen,
    )
