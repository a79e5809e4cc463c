"""Which checks run, what answers which line, and what a run's files hold."""

from __future__ import annotations

import json
import time
from collections.abc import Awaitable, Callable
from xml.etree import ElementTree

import pytest

from holdfast.cli.proving import exit_code
from holdfast.engine.connection import Credentials
from holdfast.errors import WrongUsage
from holdfast.prove.catalog import CHECKS
from holdfast.prove.check import Check, Disturbs, Need
from holdfast.prove.evidence import Evidence, EvidenceUnreadable, Finding, differences
from holdfast.prove.junit import junit_xml
from holdfast.prove.lines import LINES
from holdfast.prove.plan import INSTEAD, Planned, Situation, Wish, plan
from holdfast.prove.report.page import headline, report_html
from holdfast.prove.runner import Outcomes, Told, run_checks
from holdfast.prove.stage import Stage
from holdfast.prove.verdict import Outcome, Verdict, check_failed, kept, not_kept, skipped
from holdfast.prove.votes import voted_at, wait_s
from holdfast.spec.load import SpecSource, load_spec
from holdfast.topology.observe import Access
from holdfast.topology.record import CacheRecord

ALL = Situation(frozenset(Need))
SECTION_12_3 = {"connectivity": 4, "performance": 4, "security": 4, "availability": 4}
"""Lines of each group of the checklist."""
SECTION_15 = {"15.1": 6, "15.2": 5}


def test_every_line_of_the_checklist_is_there_and_answered_by_checks_that_exist() -> None:
    ids = {check.id for check in CHECKS}
    wanted = {f"12.3.{group}.{n}" for group, count in SECTION_12_3.items() for n in range(1, count + 1)}
    wanted |= {f"{group}.{n}" for group, count in SECTION_15.items() for n in range(1, count + 1)}
    assert {line.id for line in LINES} == wanted
    for line in LINES:
        assert line.checks, line
        assert set(line.checks) <= ids, line


def test_ids_are_unique_and_every_check_says_what_it_answers_to() -> None:
    assert len({check.id for check in CHECKS}) == len(CHECKS)
    for check in CHECKS:
        assert check.title, check.id
        assert check.promise, check.id
        assert check.seed or check.id in {"durability.disk-full"}, check.id
    assert set(INSTEAD) == set(Need)


def test_everything_runs_where_everything_is_there() -> None:
    assert all(each.verdict is None for each in plan(CHECKS, Wish(), ALL))


def test_families_and_ids_choose_and_the_rest_is_skipped() -> None:
    planned = plan(CHECKS, Wish(only=("alerts", "connectivity.tls")), ALL)
    assert {each.check.id for each in planned if each.verdict is None} == {"alerts.rules", "connectivity.tls"}
    assert {each.verdict.outcome for each in planned if each.verdict} == {Outcome.SKIPPED}


@pytest.mark.parametrize(
    ("name", "near"), [("conectivity", "connectivity"), ("performance.latncy", "performance.latency")]
)
def test_an_unknown_check_is_refused_with_the_nearest(name: str, near: str) -> None:
    with pytest.raises(WrongUsage, match=near):
        plan(CHECKS, Wish(only=(name,)), ALL)


def test_what_disturbs_too_much_is_skipped_with_the_reason() -> None:
    planned = plan(CHECKS, Wish(most=Disturbs.HARMLESS, why_not_more="it is production"), ALL)
    left = [each for each in planned if each.verdict]
    assert all(each.check.disturbs is not Disturbs.HARMLESS for each in left)
    assert {each.verdict.why for each in left if each.verdict} == {"it is production"}


def test_what_lacks_something_is_not_provable_and_says_what_would_help() -> None:
    planned = plan(CHECKS, Wish(), Situation(frozenset()))
    for each in planned:
        if each.check.needs:
            assert each.verdict is not None
            assert each.verdict.outcome is Outcome.NOT_PROVABLE
            assert ";" in each.verdict.why
        else:
            assert each.verdict is None


def evidence(*findings: Finding, digest: str = "ab", interrupted: bool = False) -> Evidence:
    machine = {
        "system": "Linux", "kernel": "6", "architecture": "x86_64", "python": "3.11", "cores": 2, "memory_bytes": 1 << 30,
        "load_average": [0.1, 0.2, 0.3],
    }  # fmt: skip
    return Evidence(
        "shop", "2026-11-21T10:00:00+00:00", 12.0, "0.1.0", digest, "valkey-9.1", {"n1": "valkey 9.1.2"}, machine,
        tuple(findings), interrupted=interrupted, files=("cache.yaml", "cache.local.yaml"),
    )  # fmt: skip


def finding(check_id: str, verdict: Verdict, **measured: object) -> Finding:
    return Finding(
        check_id, f"T {check_id}", check_id.partition(".")[0], "x", (), "harmless", verdict, measured
    )


HOSTILE = '<script>alert(1)</script> & \x00\x1b[31m "quoted" ]]>'


def test_evidence_comes_back_as_it_was_written() -> None:
    made = evidence(
        finding("a.one", kept("p", "m"), deep={"list": [1, 2]}), finding("a.two", not_kept("p", "m", "w"))
    )
    again = Evidence.from_json("x", json.loads(json.dumps(made.to_json())))
    assert again == made
    older = {name: each for name, each in made.to_json().items() if name != "files"}
    assert Evidence.from_json("x", older).files == ()


@pytest.mark.parametrize(
    "value", [None, [], {"format": 9}, {"format": 1}, {"format": 1, "findings": [{"id": "x"}]}]
)
def test_what_is_no_evidence_is_refused(value: object) -> None:
    with pytest.raises(EvidenceUnreadable):
        Evidence.from_json("x", value)


def test_differences_name_what_got_worse() -> None:
    before = evidence(
        finding("a.one", kept("p", "1 ms")), finding("a.two", kept("p", "m")), finding("a.gone", skipped("x"))
    )
    after = evidence(finding("a.one", not_kept("p", "9 ms", "slow")), finding("a.two", kept("p", "m")))
    (only,) = differences(before, after)
    assert only.id == "a.one"
    assert only.is_worse
    assert only.is_another_verdict
    assert not differences(after, before)[0].is_worse
    (figure,) = differences(
        evidence(finding("a.one", kept("p", "1 ms"))), evidence(finding("a.one", kept("p", "2 ms")))
    )
    assert not figure.is_another_verdict
    assert differences(before, evidence(finding("a.one", kept("p", "1 ms"))))[0].is_worse


def test_junit_is_xml_whatever_is_in_it() -> None:
    made = evidence(
        finding("a.one", not_kept(HOSTILE, HOSTILE, HOSTILE)), finding("a.two", check_failed(HOSTILE)),
        finding("a.three", skipped(HOSTILE)), finding("a.four", kept("p", "m")),
    )  # fmt: skip
    suite = ElementTree.fromstring(junit_xml(made).encode())[0]
    assert (suite.get("tests"), suite.get("failures"), suite.get("errors"), suite.get("skipped")) == (
        "4",
        "1",
        "1",
        "1",
    )


def test_the_page_escapes_all_words_and_fetches_nothing() -> None:
    page = report_html(evidence(finding("a.one", not_kept(HOSTILE, HOSTILE, HOSTILE), words=HOSTILE)))
    assert "<script" not in page
    assert "&lt;script&gt;" in page
    assert "http://" not in page
    assert "https://" not in page
    assert "src=" not in page


@pytest.mark.parametrize(
    ("verdicts", "said"),
    [
        ([kept("", "")], "1 promise kept."),
        ([kept("", ""), not_kept("", "", "x")], "1 promise not kept, 1 kept."),
        ([kept("", ""), check_failed("x")], "1 promise kept, 1 check failed."),
    ],
)
def test_the_headline(verdicts: list[Verdict], said: str) -> None:
    assert headline(evidence(*(finding(f"a.n{n}", each) for n, each in enumerate(verdicts)))) == said


def test_a_clock_that_jumps_never_makes_an_experiment_wait_longer_than_a_vote_does() -> None:
    future = {"kind": "failover", "node": "n1", "at": "2126-01-01T00:00:00+00:00"}
    switched = {"kind": "switched home", "node": "n2", "from": "n1", "at": "2026-01-01T00:00:00+00:00"}
    broken = {"kind": "failover", "node": "n3", "at": "yesterday"}
    voted = voted_at([switched, future, broken, {"kind": "restarted", "node": "n4"}])
    assert set(voted) == {"n1"}
    assert wait_s(["n1"], voted, 1_800_000_000.0, 15.0) == 31.0
    assert wait_s(["n1"], voted_at([switched]), 1_900_000_000.0, 15.0) == 0.0
    assert wait_s(["n9"], voted, 1_800_000_000.0, 15.0) == 0.0


async def test_a_check_that_breaks_is_told_and_the_next_one_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also when the clock jumps back an hour in the middle: durations are not told by it."""

    async def breaks(stage: Stage) -> dict[str, object]:
        monkeypatch.setattr(time, "time", lambda: 0.0)
        raise ValueError("no such thing")

    async def works(stage: Stage) -> dict[str, object]:
        return {"n": 1}

    def check(name: str, run: Callable[[Stage], Awaitable[dict[str, object]]]) -> Check:
        return Check(
            name, "t", "p", (), Disturbs.HARMLESS, 1, frozenset(), run, lambda measured, _: kept("p", "m")
        )

    record = CacheRecord("shop", "standalone", "x", tls=False)
    spec = load_spec([SpecSource("x", "format: 1\ncache: {name: shop}\n")]).spec
    stage = Stage(spec, record, Access(Credentials("u", "p"), None), {}, {})
    done = await run_checks([Planned(check("a.one", breaks)), Planned(check("a.two", works))], stage, Told())
    one, two = done.findings
    assert one.verdict.outcome is Outcome.FAILED
    assert "no such thing" in one.verdict.why
    assert "Traceback" in one.traceback
    assert two.verdict.outcome is Outcome.KEPT
    assert 0 <= one.took_s < 60
    assert exit_code(done, not_written=False) == 1
    assert exit_code(Outcomes([two]), not_written=True) == 1
    assert exit_code(Outcomes([two]), not_written=False) == 0
