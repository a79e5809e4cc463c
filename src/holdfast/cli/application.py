"""`holdfast env | call`: what an application needs, and one command to try it with."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from holdfast.cli.app import AsJson, CacheArgument, Place, app


class EnvFormat(StrEnum):
    """How `env` prints."""

    SHELL = "shell"
    DOTENV = "dotenv"
    JSON = "json"


@app.command()
def env(
    cache: CacheArgument,
    service: Annotated[str, typer.Argument(metavar="SERVICE", help="A service that the spec declares.")],
    format: Annotated[
        EnvFormat, typer.Option("--format", help="shell (for eval), dotenv or json.")
    ] = EnvFormat.SHELL,
    profile: Annotated[
        Path | None,
        typer.Option("--profile", help="Write the client library's profile to this file instead."),
    ] = None,
    json: AsJson = False,
    place: Place = None,
) -> None:
    """Print what SERVICE needs to connect: nodes, user, authority, and the file that holds its password.

    Example: eval "$(holdfast env phonebill-cache-prod bill-inquiry)"
    """
    from holdfast.cli.console import out, show
    from holdfast.cli.opening import named
    from holdfast.state import write_private
    from holdfast.topology.profiles import as_dotenv, as_shell, environment, profile_of

    given = named(cache, place)
    spec, store = given.loaded.spec, given.store
    made = profile_of(
        spec,
        store.record(),
        service,
        password_file=str(
            store.password_file(spec.user_of(service) if service in spec.services else service)
        ),
        ca_file=str(store.ca_file),
    )
    if profile is not None:
        write_private(profile.absolute(), made.to_json())
        show({"profile": str(profile.absolute())}, f"Profile of {service} written to {profile}", as_json=json)
        return
    facts = environment(made)
    if json or format is EnvFormat.JSON:
        show(facts, "", as_json=True)
    else:
        out(as_shell(facts) if format is EnvFormat.SHELL else as_dotenv(facts))


@app.command(context_settings={"allow_interspersed_args": False})
def call(
    cache: CacheArgument,
    words: Annotated[list[str], typer.Argument(metavar="COMMAND", help="The command and its arguments.")],
    as_user: Annotated[
        str, typer.Option("--as", metavar="SERVICE", help="As this service; without it, as the operator.")
    ] = "",
    node: Annotated[str, typer.Option("--node", help="Send it to this node, whatever its keys are.")] = "",
    json: AsJson = False,
) -> None:
    """Run one command on CACHE, on the node that its keys belong to.

    Options stand before CACHE. Operators may do everything: what is done is written to the audit log.

    Example: holdfast call --as bill-inquiry phonebill-cache-prod GET bill:inquiry:C1:202509
    """
    import asyncio

    from holdfast.cli.console import out, show
    from holdfast.cli.opening import named
    from holdfast.cli.reply import reply_facts, reply_text
    from holdfast.errors import WrongUsage
    from holdfast.state import audit
    from holdfast.topology.call import Answer
    from holdfast.topology.call import call as send
    from holdfast.topology.observe import Access
    from holdfast.topology.profiles import ServiceUnknown

    if words[0].startswith("--"):
        raise WrongUsage(
            f"{words[0]} stands behind CACHE, where it is part of the command", "options stand before CACHE"
        )
    given = named(cache)
    record, spec = given.store.record(), given.loaded.spec
    if as_user and as_user not in spec.services:
        raise ServiceUnknown(record.name, as_user, tuple(spec.services))
    user = spec.user_of(as_user) if as_user else spec.security.access.operators[0]
    access = Access(given.store.own_credentials(), given.store.trust(tls_on=record.tls), timeout_s=10.0)
    if not as_user:
        audit(
            given.state,
            "call",
            {"cache": record.name, "user": user, "node": node, "command": words[0].upper()},
        )

    async def work() -> Answer:
        return await send(record, access, given.store.operator_credentials(user), words, node)

    answer = asyncio.run(work())
    if json:
        show({"node": answer.node, "reply": reply_facts(answer.reply)}, "", as_json=True)
    else:
        out(reply_text(answer.reply))
