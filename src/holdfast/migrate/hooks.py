"""What an operator wants to happen right after a switch: a command is run, or a URL is called, with the facts of it."""

from __future__ import annotations

import asyncio
import json
import os
import shlex
from collections.abc import Mapping

HOOK_BOUND_S = 60.0
WORDS_MAX = 300


async def run_hook(hook: str, facts: Mapping[str, object]) -> str:
    """Run it; one sentence about what became of it. A hook that fails undoes nothing: the switch is done by then.

    Args: `hook`, an `http://` or `https://` URL, which gets the facts as JSON by POST; else a command line, split into words
        without a shell, which gets them on standard input and, as HOLDFAST_NAME=value, in its environment.
    """
    if hook.startswith(("http://", "https://")):
        return await _call(hook, facts)
    return await _run(hook, facts)


async def _call(url: str, facts: Mapping[str, object]) -> str:
    import httpx

    try:
        async with httpx.AsyncClient(timeout=HOOK_BOUND_S) as client:
            answer = await client.post(url, json=dict(facts))
    except httpx.HTTPError as failed:
        return f"the hook failed: {failed or type(failed).__name__}"
    if answer.is_success:
        return f"the hook answered {answer.status_code}"
    return f"the hook failed: it answered {answer.status_code}"


async def _run(command: str, facts: Mapping[str, object]) -> str:
    environ = {**os.environ, **{f"HOLDFAST_{name.upper()}": str(value) for name, value in facts.items()}}
    try:
        words = shlex.split(command)
        process = await asyncio.create_subprocess_exec(
            *words,
            env=environ,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
    except (OSError, ValueError, IndexError) as failed:
        return f"the hook failed: {failed}"
    try:
        async with asyncio.timeout(HOOK_BOUND_S):
            said, _ = await process.communicate(json.dumps(dict(facts)).encode())
    except TimeoutError:
        process.kill()
        await process.wait()
        return f"the hook failed: it ran for more than {HOOK_BOUND_S:g} s and was ended"
    words_said = said.decode(errors="replace").strip().splitlines()
    last = f": {words_said[-1][:WORDS_MAX]}" if words_said else ""
    if process.returncode == 0:
        return f"the hook ended well{last}"
    return f"the hook failed: it ended with {process.returncode}{last}"
