"""The report in a real browser: nothing overflows on a phone, nothing is fetched, charts are drawn, paper comes out."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Error, Page, sync_playwright

from holdfast.load.measures import encoded, histogram_of
from holdfast.prove.catalog import CHECKS
from holdfast.prove.evidence import Evidence, Finding
from holdfast.prove.report.page import report_html
from holdfast.prove.verdict import Verdict, check_failed, kept, not_kept, not_provable, skipped

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
WIDTHS = (320, 390, 768, 1280)
LONG = "a-name-that-is-as-long-as-names-may-be-" * 6
"""One word without a place to break."""


def load() -> dict[str, Any]:
    histogram = histogram_of({200 + 7 * step: 4000 // (step + 1) for step in range(400)} | {9000: 3})
    latency = {
        "command": "GET", "count": 20_000, "mean_ms": 0.4, "max_ms": 9.0,
        "percentiles_ms": {"50": 0.3, "90": 0.6, "99": 1.9, "99.9": 2.9, "99.99": 9.0},
    }  # fmt: skip
    return {
        "histograms": {"all": encoded(histogram), "GET": encoded(histogram)}, "percentile": 99, "rate_per_s": 10_000.0,
        "offer": {"clients": 50}, "latencies": [latency], "overall": {**latency, "command": "all"},
    }  # fmt: skip


def failure() -> dict[str, Any]:
    acks = {
        shard: [12 if not (shard == "n1" and 60 < place < 85) else 0 for place in range(150)]
        for shard in ("n1", "n3", "n5")
    }
    group = {
        "wait": 0, "acknowledged": 1200, "lost": 0, "doubled": 1, "gap_ms": 480.0, "gap_at_s": 1.21, "lost_span_s": 0.0,
        "errors": {},
    }  # fmt: skip
    ledger = {
        "acknowledged": 3600, "lost_without_wait": 2, "lost_with_wait": 0, "doubled": 1, "lost_span_s": 0.1,
        "groups": [{**group, "shard": shard} for shard in acks], "bucket_s": 0.02, "acks": acks,
    }  # fmt: skip
    return {
        "kind": "a primary is killed", "shards": ["n1"], "at_s": 1.2, "gap_ms": 480.0, "whole_after_s": 1.9,
        "judged_by_wait": False, "gap_with_wait_ms": 500.0, "ledger": ledger,
    }  # fmt: skip


def evidence() -> Evidence:
    """Every check, every outcome, words that do not break."""
    outcomes: list[Verdict] = [
        kept("p99 <= 5 ms at 10,000/s", "p99 1.90 ms at 10,000/s"),
        not_kept("30s", LONG, f"{LONG} <b>not bold</b>"),
        not_provable("nothing", "why", "instead"),
        check_failed("it broke"),
        skipped("not asked for"),
    ]
    findings = []
    for place, check in enumerate(CHECKS):
        measured: dict[str, Any] = {"words": LONG}
        if check.id == "performance.latency":
            measured = load()
        if check.id.startswith("availability.primary"):
            measured = failure()
        verdict = outcomes[0] if "ledger" in measured or "histograms" in measured else outcomes[place % 5]
        trace = "Traceback (most recent call last):\n  " + LONG if verdict is outcomes[3] else ""
        findings.append(
            Finding(
                check.id, check.title, check.family, check.promise, check.seed, check.disturbs.value, verdict, measured,
                1.0, ("n1 runs on",), trace,
            )
        )  # fmt: skip
    machine = {
        "system": "Linux", "kernel": "6.1", "architecture": "x86_64", "python": "3.11", "cores": 2,
        "memory_bytes": 8 << 30, "load_average": [0.5, 0.4, 0.3],
    }  # fmt: skip
    nodes = {f"n{number}": "valkey 8.0.1" for number in range(1, 7)}
    return Evidence(
        LONG[:40], "2026-11-21T10:00:00+00:00", 170.0, "0.1.0", "ab" * 32, "valkey-8.0.1@x", nodes, machine,
        tuple(findings), notes=("a note",),
    )  # fmt: skip


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    if CHROMIUM is None:
        pytest.skip("no Chromium is here: apt-get install chromium")
    with sync_playwright() as playwright:
        made = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield made
        made.close()


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> str:
    path: Path = tmp_path_factory.mktemp("report") / "report.html"
    path.write_text(report_html(evidence()))
    return path.as_uri()


@pytest.fixture
def page(browser: Browser, address: str) -> Iterator[Page]:
    made = browser.new_page()
    made.goto(address)
    yield made
    made.close()


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("scheme", ["light", pytest.param("dark", marks=pytest.mark.long)])
def test_nothing_is_wider_than_the_screen(page: Page, width: int, scheme: Any) -> None:
    page.emulate_media(color_scheme=scheme)
    page.set_viewport_size({"width": width, "height": 800})
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    cut = page.evaluate(
        """() => [...document.querySelectorAll('td, h1, h3, p, figcaption, dd')]
            .filter(each => each.getBoundingClientRect().right > innerWidth + 1).map(each => each.textContent.slice(0, 40))"""
    )
    assert cut == []


def test_every_verdict_can_be_read_and_no_word_becomes_markup(page: Page) -> None:
    for words in ("kept", "not kept", "not provable here", "check failed", "skipped"):
        assert page.locator(".badge", has_text=words).first.is_visible()
    assert page.locator("td b").count() == 0
    assert page.get_by_text("<b>not bold</b>").first.is_visible()
    assert page.locator("tr[id]").count() == len(CHECKS)


def test_charts_are_drawn_with_the_gap_shaded(page: Page) -> None:
    charts = page.locator("figure svg")
    assert charts.count() == 3
    for place in range(3):
        box = charts.nth(place).bounding_box()
        assert box is not None
        assert box["width"] > 250
        assert box["height"] > 80
        assert charts.nth(place).get_attribute("aria-label")
        assert charts.nth(place).locator("polyline").count() >= 2
    band = page.locator("figure svg .band").first.bounding_box()
    assert band is not None
    assert band["width"] > 20
    assert page.get_by_text("480 ms without a write").first.is_visible()
    assert page.get_by_text("promised: 5 ms").first.is_visible()


def test_words_on_colour_have_contrast(page: Page) -> None:
    """WCAG 2.1 AA: 4.5 to 1, for the verdicts and the small print, in both schemes."""
    script = """() => {
        const light = text => { const [r, g, b] = text.match(/[0-9.]+/g).map(Number).map(v => v / 255)
            .map(v => v <= .03928 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4); return .2126 * r + .7152 * g + .0722 * b };
        const behind = e => { while (e) { const c = getComputedStyle(e).backgroundColor;
            if (!/, 0\\)$|transparent/.test(c)) return c; e = e.parentElement } return 'rgb(255,255,255)' };
        return [...document.querySelectorAll('.badge, .id, .why, .soft, td, .tiles li')].map(e => {
            const [a, b] = [light(getComputedStyle(e).color), light(behind(e))].sort((x, y) => y - x);
            return [(a + .05) / (b + .05), e.className] }).filter(([ratio]) => ratio < 4.5) }"""
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        assert page.evaluate(script) == [], scheme


def test_nothing_is_fetched_and_nothing_goes_wrong(browser: Browser, address: str) -> None:
    page = browser.new_page()
    asked: list[str] = []
    wrong: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.on("console", lambda message: wrong.append(message.text))
    page.on("pageerror", lambda failed: wrong.append(str(failed)))
    page.goto(address)
    assert asked == [address]
    assert wrong == []
    page.close()


def test_it_prints_on_paper_without_what_only_a_screen_needs(page: Page) -> None:
    page.emulate_media(media="print")
    assert not page.get_by_text("Every figure", exact=True).is_visible()
    assert page.get_by_text("Promises", exact=True).first.is_visible()
    try:
        paper = page.pdf(format="A4")
    except Error as failed:
        pytest.fail(str(failed))
    assert paper.startswith(b"%PDF")
    assert 2 <= len(re.findall(rb"/Type\s*/Page\b", paper)) <= 20
