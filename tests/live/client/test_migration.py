"""An application that goes on through the cutover of a real migration: its profile is written anew by the hook."""

from __future__ import annotations

import functools
import sys
import textwrap
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from tests.live.client.servers import namespaces, until
from tests.live.conftest import need
from tests.live.engine.servers import make_tls
from tests.live.migrate.journey import benched, in_step
from tests.live.migrate.plain import Plain, plain

from holdfast.client import Cache, CacheUnavailable
from holdfast.profile import Profile, Seed

REPOINTED_WITHIN_S = 5.0
"""From the first refusal to the last: the hook's start, the look at its file, a new layout."""
HOOK = """\
    #!{python}
    import json, os, sys
    primary = json.load(sys.stdin)
    profile = json.load(open({path!r}))
    profile["seeds"] = [dict(host=primary["primary_host"], port=primary["primary_port"])]
    profile.update({more!r})
    with open({path!r} + ".new", "w") as file:
        json.dump(profile, file)
    os.replace({path!r} + ".new", {path!r})
    print("re-pointed")
"""


@dataclass
class Application:
    """Threads that write keys of their own, and read one another's through the first tier."""

    cache: Cache
    threads: int = 4
    written: dict[str, int] = field(default_factory=dict)
    """The last acknowledged value of each key; keys whose last write may or may not have been done are left out."""
    refusals: list[tuple[float, CacheUnavailable]] = field(default_factory=list)
    wrong: list[BaseException] = field(default_factory=list)
    writes: int = 0
    _stop: threading.Event = field(default_factory=threading.Event)

    def __enter__(self) -> Application:
        self._running = [threading.Thread(target=self._work, args=(n,)) for n in range(self.threads)]
        for thread in self._running:
            thread.start()
        return self

    def __exit__(self, *told: object) -> None:
        self._stop.set()
        for thread in self._running:
            thread.join(20)

    def wrote(self, count: int) -> bool:
        return self.writes > count

    def _work(self, number: int) -> None:
        bills = self.cache.namespace("bill.inquiry")
        n = 0
        while not self._stop.is_set():
            n += 1
            key = f"bill:inquiry:W{number}-{n % 25}:1"
            try:
                bills.put(n, key)
                self.written[key] = n
                self.writes += 1
            except CacheUnavailable as refused:
                self.refusals.append((time.monotonic(), refused))
                if refused.may_have_run:
                    self.written.pop(key, None)
                time.sleep(0.002)
            except BaseException as failed:
                self.wrong.append(failed)
                return
            try:
                found = bills.get(key)
                if key in self.written and (found is None or found < self.written[key]):
                    self.wrong.append(AssertionError(f"{key}: {found} after {self.written[key]}"))
                bills.get(f"bill:inquiry:W{(number + 1) % self.threads}-{n % 25}:1")
            except CacheUnavailable:
                pass
            except BaseException as failed:
                self.wrong.append(failed)
                return


def profile_of(server: Plain, path: Path, ca_file: str | None = None) -> None:
    made = Profile(
        "demo",
        "shop",
        "standalone",
        (Seed("127.0.0.1", server.port),),
        "",
        "",
        ca_file,
        namespaces=namespaces(),
    )
    path.write_bytes(made.to_json())


def cut_over(
    source: Plain, target: Plain, folder: Path, words: tuple[str, ...], verbs: tuple[str, ...]
) -> None:
    """The whole way, with the application at work on it all the time."""
    path, hook = folder / "shop.profile.json", folder / "repoint"
    profile_of(source, path, source.tls.ca if source.tls else None)
    hook.touch(mode=0o700)
    with benched() as bench, Cache.open(path) as cache:
        with Application(cache) as work:
            until(lambda: work.writes > 200)
            bench.run("migrate", "start", "m", "--from", source.url, "--to", target.url, *words, check=True)
            in_step(bench)
            for verb in verbs:
                new = target if verb == "cutover" else source
                more = {"ca_file": new.tls.ca if new.tls else None}
                hook.write_text(
                    textwrap.dedent(HOOK).format(python=sys.executable, path=str(path), more=more)
                )
                work.refusals.clear()
                done = bench.run("migrate", verb, "m", "--hook", str(hook), "--json", check=True).facts
                assert "re-pointed" in done["switches"][-1]["hook"]
                until(functools.partial(leads, cache, new.port), 5)
                until(functools.partial(work.wrote, work.writes + 500), 20)
                assert not work.wrong, work.wrong[:3]
                told = [at for at, _ in work.refusals]
                if told:
                    assert max(told) - min(told) < REPOINTED_WITHIN_S, max(told) - min(told)
                in_step(bench)
        bills = cache.namespace("bill.inquiry")
        assert len(work.written) > 50
        for key, value in work.written.items():
            held = new.client.get(key)
            assert held is not None, f"{key} was acknowledged and is lost"
            assert int(held) == value, f"{key}: {held} after {value} was acknowledged"
            assert bills.get(key) == value, "the first tier says what the new primary holds"
        assert cache.shared.l1.fills > 50


def leads(cache: Cache, port: int) -> bool:
    """Whether the client knows the server on that port for the primary."""
    layout = cache.shared.layout
    return layout is not None and layout.shards[0].primary.port == port


@pytest.mark.long
@pytest.mark.timeout(120)
@pytest.mark.parametrize(
    ("pair", "verbs"),
    [
        (("redis-8.0", "valkey-9.1"), ("cutover",)),
        (("redis-8.0", "valkey-8.1"), ("cutover", "rollback", "cutover")),
    ],
)
def test_a_cutover_costs_a_bounded_time_and_nothing_else(
    pair: tuple[str, str], verbs: tuple[str, ...], tmp_path: Path
) -> None:
    with plain(need(pair[0])) as source, plain(need(pair[1])) as target:
        cut_over(source, target, tmp_path, (), verbs)


@pytest.mark.long
@pytest.mark.timeout(180)
def test_a_cutover_to_another_authority(tmp_path: Path) -> None:
    """The new cache's certificates come from elsewhere: the profile says so, and connections made from then on trust it."""
    ours, theirs = make_tls(tmp_path / "ours"), make_tls(tmp_path / "theirs")
    with (
        plain(need("redis-8.0"), tls=ours) as source,
        plain(need("valkey-8.0"), tls=theirs) as target,
    ):
        both = tmp_path / "both.pem"
        both.write_text(Path(ours.ca).read_text() + Path(theirs.ca).read_text())
        for server in (source, target):
            server.client.config_set("tls-ca-cert-file", str(both))
        words = (
            "--from-ca",
            ours.ca,
            "--to-ca",
            theirs.ca,
            "--relay-cert",
            ours.cert,
            "--relay-key",
            ours.key,
        )
        cut_over(source, target, tmp_path, words, ("cutover",))
