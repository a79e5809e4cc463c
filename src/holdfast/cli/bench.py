"""`holdfast bench`: traffic as the spec declares it, or another, on a cache that is up."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from holdfast.cli.app import AsJson, CacheArgument, Place, app


@app.command()
def bench(
    cache: CacheArgument,
    rate: Annotated[
        float | None,
        typer.Option(
            "--rate",
            min=0,
            help="Commands per second, open loop; 0: as many as the cache takes. Default: the workload's own sum.",
        ),
    ] = None,
    seconds: Annotated[
        str, typer.Option("--for", metavar="TIME", help="How long it counts: 30s, 2m.")
    ] = "10s",
    clients: Annotated[
        int,
        typer.Option(
            "--clients", min=1, max=10_000, help="Clients, each with a connection to every primary."
        ),
    ] = 50,
    pipeline: Annotated[
        int, typer.Option("--pipeline", min=1, max=1000, help="Commands that a client sends together.")
    ] = 1,
    workload: Annotated[
        Path | None,
        typer.Option("--workload", metavar="FILE", help="A workload file instead of the spec's `traffic`."),
    ] = None,
    replicas: Annotated[
        bool, typer.Option("--replicas", help="Read from replicas, and count stale answers.")
    ] = False,
    keys: Annotated[
        str, typer.Option("--keys", metavar="SHARE", help="Share of the declared keys to use: 10%.")
    ] = "100%",
    json: AsJson = False,
    place: Place = None,
) -> None:
    """Offer traffic to CACHE and measure it: rate, latency percentiles, hits, and what was lost, doubled or stale.

    Open loop: a command is due by the clock, and its latency counts from then, so that a stall is seen by all that it
    held up. Every key written holds the word hfprove and is removed again; no other key is touched. Where the load
    generator or the machine was the limit and not the cache, it says so.

    \b
    Examples:
      holdfast bench phonebill-cache-prod --rate 10000 --for 30s --clients 200
      holdfast bench phonebill-cache-prod --rate 0 --pipeline 16 --workload gets.yaml
    """
    import asyncio

    from holdfast.cli.bench_views import bench_text
    from holdfast.cli.console import err, show
    from holdfast.cli.opening import machines, named
    from holdfast.cli.quantities import share_option, time_option
    from holdfast.cli.specfile import read_text
    from holdfast.load.job import Offer
    from holdfast.load.result import LoadResult
    from holdfast.load.run import offer_load, reach_of
    from holdfast.load.workload import from_file, from_spec
    from holdfast.topology.observe import Access, observe

    given = named(cache, place)
    counted_s = time_option("--for", seconds)
    spec, record = given.loaded.spec, given.store.record()
    offered = (
        from_file(str(workload), read_text(workload, "a workload").encode())
        if workload is not None
        else from_spec(spec)
    ).scaled(share_option("--keys", keys))
    offer = Offer(
        rate_per_s=offered.rate_per_s if rate is None else rate,
        seconds=counted_s,
        clients=clients,
        pipeline=pipeline,
        reads_from_replicas=replicas,
    )
    tell = (lambda _: None) if json else (lambda text: err(f"{record.name}: {text}"))

    async def work() -> LoadResult:
        access = Access(given.store.own_credentials(), given.store.trust(tls_on=record.tls))
        async with machines(given, start=False) as hosts:
            seen = await observe(record, access, hosts)
            return await offer_load(record.name, reach_of(record, seen, access), offered, offer, tell=tell)

    result = asyncio.run(work())
    show(result.to_json(), bench_text(result, offered), as_json=json)
