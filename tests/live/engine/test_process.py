"""One server process: it outlives its parent, its end is seen, its pid is never mistaken, its refusals are told."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import stat
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from tests.live.conftest import AT_HAND, need
from tests.live.engine.servers import Server, cache_spec, running, until, write_node
from tests.live.ports import LOOPBACK, free_port

from holdfast.engine.build import EngineBuild
from holdfast.engine.log import LogLimits, follow, rotate, tail
from holdfast.engine.process import (
    Launch,
    NodeNotReady,
    NodeRefusedToStart,
    ProcessIdentity,
    ServerProcess,
    StopOutcome,
)
from holdfast.engine.refusal import Cause


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(params=list(AT_HAND))
def build(request: pytest.FixtureRequest) -> EngineBuild:
    return AT_HAND[request.param]


async def refused(build: EngineBuild, folder: Path, **changes: Any) -> NodeRefusedToStart:
    with pytest.raises(NodeRefusedToStart) as told:
        async with running(build, folder, **changes):
            pass
    assert str(folder) in str(told.value), "where to look further is said"
    return told.value


async def test_it_starts_answers_and_stops(build: EngineBuild, tmp_path: Path) -> None:
    async with running(build, tmp_path / "n") as server:
        assert server.process.running
        began = time.monotonic()
        assert await server.process.stop() is StopOutcome.STOPPED
        assert time.monotonic() - began < 5
        assert server.process.exit_code == 0
        assert await server.process.stop() is StopOutcome.GONE_BEFORE


async def test_its_files_are_its_owners_alone(build: EngineBuild, tmp_path: Path) -> None:
    async with running(build, tmp_path / "n") as server:
        async with server.link() as node:
            await node.ask("SAVE")
        modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "n").iterdir()}
    assert modes["dump.rdb"] == modes["server.log"] == 0o600
    assert modes["s"] == 0o700


async def test_its_end_is_seen_at_once(tmp_path: Path) -> None:
    async with running(need("valkey-9.1"), tmp_path / "n") as server:
        began = time.monotonic()
        os.kill(server.process.pid, signal.SIGKILL)
        assert await server.process.ended(10)
        assert time.monotonic() - began < 5
        assert server.process.exit_code == -9
        assert server.process.why_it_ended().cause is Cause.KILLED


async def test_a_port_that_is_taken_is_named(build: EngineBuild, tmp_path: Path) -> None:
    with socket.socket() as holder:
        holder.bind((LOOPBACK, 0))
        holder.listen()
        port = holder.getsockname()[1]
        told = await refused(build, tmp_path / "n", port=port)
    assert told.cause is Cause.PORT_TAKEN
    assert f"{LOOPBACK}:{port}" in str(told)
    assert "Address already in use" in told.refusal.engine_words


async def test_an_address_that_is_not_here_is_named(build: EngineBuild, tmp_path: Path) -> None:
    told = await refused(build, tmp_path / "n", bind=("192.0.2.1",))
    assert told.cause is Cause.ADDRESS_MISSING
    assert "192.0.2.1" in str(told)


async def test_a_refused_line_is_told(build: EngineBuild, tmp_path: Path) -> None:
    _, _, launch = write_node(build, tmp_path / "n", cache_spec())
    config = launch.folder / launch.config_name
    config.write_text(config.read_text() + "nosuchdirective 1\n")
    process = await ServerProcess.start(launch)
    with pytest.raises(NodeRefusedToStart, match="nosuchdirective 1") as told:
        await process.wait_ready(_silent)
    assert told.value.cause is Cause.CONFIG_REFUSED


async def _silent() -> None:
    raise TimeoutError


@pytest.mark.parametrize(
    "content", [b"no snapshot at all", b"REDIS0009\xfe\x00\x00\x05hel", b"REDIS0099\xff" + b"\0" * 8]
)
async def test_a_snapshot_that_cannot_be_read_is_told_and_kept(
    build: EngineBuild, tmp_path: Path, content: bytes
) -> None:
    folder = tmp_path / "n"
    folder.mkdir()
    (folder / "dump.rdb").write_bytes(content)
    told = await refused(build, folder)
    assert told.cause is (Cause.SNAPSHOT_TOO_NEW if b"0099" in content else Cause.SNAPSHOT_UNREADABLE)
    assert (folder / "dump.rdb").read_bytes() == content


async def test_refused_users_are_told(build: EngineBuild, tmp_path: Path) -> None:
    facts, _, launch = write_node(build, tmp_path / "n", cache_spec())
    Path(facts.acl_path).write_text("user a on +nosuchcommand\n")
    process = await ServerProcess.start(launch)
    with pytest.raises(NodeRefusedToStart) as told:
        await process.wait_ready(_silent)
    assert told.value.cause is Cause.USERS


async def test_too_little_memory_is_told(tmp_path: Path) -> None:
    build = need("valkey-9.1")
    _, _, launch = write_node(build, tmp_path / "n", cache_spec())
    starved = Launch(
        launch.node, ("/usr/bin/env", "prlimit", "--as=20000000", "--", *build.command), launch.folder
    )
    process = await ServerProcess.start(starved)
    with pytest.raises(NodeRefusedToStart) as told:
        await process.wait_ready(_silent)
    assert told.value.cause is Cause.NO_MEMORY


async def test_a_program_that_is_not_there_or_may_not_run_is_told(tmp_path: Path) -> None:
    program = tmp_path / "valkey-server"
    with pytest.raises(NodeRefusedToStart, match="is not there any more"):
        await ServerProcess.start(Launch("cart-1", (str(program),), tmp_path))
    program.write_text("not for you")
    with pytest.raises(NodeRefusedToStart, match="noexec"):
        await ServerProcess.start(Launch("cart-1", (str(program),), tmp_path))


@pytest.mark.parametrize("name", ["a*", "a?", "[a]"])
async def test_a_folder_that_servers_take_for_a_pattern_is_refused(tmp_path: Path, name: str) -> None:
    """From 7.0 on they would find no configuration there, and start on port 6379 without users."""
    told = await refused(need("valkey-9.1"), tmp_path / name)
    assert told.cause is Cause.CONFIG_REFUSED
    assert "HOLDFAST_STATE" in str(told)
    assert not (tmp_path / name / "server.log").exists(), "it was started"


async def test_words_of_an_earlier_life_are_not_taken_for_those_of_this(tmp_path: Path) -> None:
    build = need("valkey-9.1")
    folder = tmp_path / "n"
    folder.mkdir()
    (folder / "server.log").write_text("1:M 21 Nov 2026 02:53:53.949 # No space left on device\n")
    (folder / "dump.rdb").write_bytes(b"no snapshot at all")
    assert (await refused(build, folder)).cause is Cause.SNAPSHOT_UNREADABLE


async def test_loading_is_no_failure(tmp_path: Path) -> None:
    """The snapshot takes longer to load than the server may be silent."""
    build = need("valkey-9.1")
    folder = tmp_path / "n"
    async with running(build, folder) as server, server.link() as node:
        await node.ask_all([("SET", f"k{n}", "v") for n in range(3000)])
        await node.ask("SAVE")
    _, _, launch = write_node(build, folder, cache_spec())
    config = folder / launch.config_name
    config.write_text(config.read_text() + "key-load-delay 500\nloading-process-events-interval-bytes 1024\n")
    process = await ServerProcess.start(launch)
    slow = Server(server.facts, server.directives, process)
    try:
        began = time.monotonic()
        await process.wait_ready(slow.ping, timeout_s=0.5, loading_timeout_s=60)
        assert time.monotonic() - began > 0.5, "it loaded too fast for this test to mean anything"
        async with slow.link() as node:
            assert await node.ask("DBSIZE") == 3000
    finally:
        await process.kill()


async def test_a_server_that_never_answers_is_left_running_and_told(tmp_path: Path) -> None:
    async with running(need("valkey-9.1"), tmp_path / "n") as server:
        os.kill(server.process.pid, signal.SIGSTOP)
        with pytest.raises(NodeNotReady, match="left running"):
            await server.process.wait_ready(server.ping, timeout_s=0.3)
        assert server.process.running


async def test_a_halted_server_is_killed_and_not_woken(tmp_path: Path) -> None:
    async with running(need("valkey-9.1"), tmp_path / "n") as server:
        os.kill(server.process.pid, signal.SIGSTOP)

        async def halted() -> bool:
            return ") T " in Path(f"/proc/{server.process.pid}/stat").read_text()

        await until(halted)
        began = time.monotonic()
        assert await server.process.stop(patience_s=30) is StopOutcome.KILLED
        assert time.monotonic() - began < 15, "a process that cannot end was waited for"


async def test_it_is_adopted_and_its_end_is_seen_by_a_stranger(tmp_path: Path) -> None:
    async with running(need("valkey-9.1"), tmp_path / "n") as server:
        server_launch = server.process.launch
        again = ProcessIdentity.from_json(server.process.identity.to_json())
        adopted = ServerProcess.adopt(server_launch, again)
        assert adopted is not None
        await adopted.wait_ready(server.ping)
        assert await adopted.stop() is StopOutcome.STOPPED
        assert adopted.exit_code is None, "only a parent is told"
        assert await server.process.ended(5)
        assert ServerProcess.adopt(server_launch, again) is None


async def test_a_reused_pid_is_recognised(tmp_path: Path) -> None:
    launch = Launch("cart-1", ("/bin/true",), tmp_path)
    mine = ProcessIdentity.of(os.getpid())
    assert mine is not None
    other_life = ProcessIdentity(mine.pid, mine.started_ticks - 1, mine.boot_id)
    other_boot = ProcessIdentity(mine.pid, mine.started_ticks, "another")
    for wrong in (
        other_life,
        other_boot,
        ProcessIdentity(0, 1, mine.boot_id),
        ProcessIdentity(2**22, 1, mine.boot_id),
    ):
        assert ServerProcess.adopt(launch, wrong) is None
    dead = subprocess.Popen(["/bin/true"])
    os.waitid(os.P_PID, dead.pid, os.WEXITED | os.WNOWAIT)
    assert ProcessIdentity.of(dead.pid) is None, "a dead process that nobody has buried is nobody"
    dead.wait()


PARENT = """
import asyncio, json, sys
from pathlib import Path
from typing import Any
from holdfast.engine.process import Launch, ServerProcess
async def main():
    process = await ServerProcess.start(Launch("cart-1", tuple(sys.argv[2:]), Path(sys.argv[1])))
    print(json.dumps(process.identity.to_json()), flush=True)
    await asyncio.sleep(60)
asyncio.run(main())
"""


async def test_it_survives_ctrl_c_and_the_death_of_its_parent(tmp_path: Path) -> None:
    build = need("valkey-9.1")
    facts, directives, launch = write_node(build, tmp_path / "n", cache_spec())
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT, str(launch.folder), *build.command],
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert parent.stdout is not None
    identity = ProcessIdentity.from_json(json.loads(parent.stdout.readline()))
    os.killpg(parent.pid, signal.SIGINT)
    os.killpg(parent.pid, signal.SIGKILL)
    parent.wait(10)
    parent.stdout.close()
    adopted = ServerProcess.adopt(launch, identity)
    assert adopted is not None, "the server died with its parent"
    try:
        await adopted.wait_ready(Server(facts, directives, adopted).ping)
    finally:
        await adopted.kill()


async def test_what_we_let_go_runs_on(tmp_path: Path) -> None:
    async with running(need("valkey-9.1"), tmp_path / "n") as server:
        process = server.process
        process.let_go()
        assert ProcessIdentity.of(process.pid) == process.identity
        server.process = ServerProcess.adopt(process.launch, process.identity) or process
        assert server.process is not process


async def test_a_rotated_log_loses_no_line(build: EngineBuild, tmp_path: Path) -> None:
    """The server goes on in a new file by itself; every save leaves its lines in one of the files."""
    async with running(build, tmp_path / "n") as server:
        log = server.process.launch.log_path
        limits = LogLimits(size_bytes=1, older_files=3)
        async with server.link() as node:
            for _ in range(3):
                await node.ask("SAVE")
                assert rotate(log, limits)
            await node.ask("SAVE")
        files = sorted(path.name for path in log.parent.glob("server.log*"))
        assert files == ["server.log", "server.log.1", "server.log.2", "server.log.3"]
        whole = "".join(path.read_text() for path in log.parent.glob("server.log*"))
        assert whole.count("DB saved on disk") == 4
        assert stat.S_IMODE(log.stat().st_mode) == 0o600
        assert rotate(log, limits)
        assert not (log.parent / "server.log.4").exists()


async def test_a_log_is_followed_across_its_rotation(tmp_path: Path) -> None:
    log = tmp_path / "server.log"
    log.write_text("before\n")
    seen: list[str] = []

    async def reading() -> None:
        async for line in follow(log, every_s=0.01):
            seen.append(line)  # noqa: PERF401  (they must be there as they come)

    reader = asyncio.create_task(reading())
    await asyncio.sleep(0.05)
    with log.open("a") as file:
        file.write("one\nhalf ")
    await asyncio.sleep(0.05)
    with log.open("a") as file:
        file.write("done\n\x1b[2Jtwo\n")
    rotate(log, LogLimits(size_bytes=1))
    log.write_text("three\n")

    async def all_there() -> bool:
        return "three" in seen

    await until(all_there)
    reader.cancel()
    assert seen == ["one", "half done", "?[2Jtwo", "three"]
    assert tail(log, 5) == ["three"]
    assert tail(tmp_path / "none", 5) == []


async def test_a_full_disk_is_told(tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("mounting a small tmpfs needs root")
    small = tmp_path / "small"
    small.mkdir()
    if subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(small)], capture_output=True
    ).returncode:
        pytest.skip("this machine allows no tmpfs mounts")
    try:
        spec = cache_spec(topology={"mode": "cluster", "shards": 3, "replicas": 1})
        _, _, launch = write_node(need("valkey-9.1"), small, spec, bus_port=free_port())
        with pytest.raises(OSError, match="No space left"):
            (small / "filler").write_bytes(b"\0" * 65536)
        process = await ServerProcess.start(launch)
        with pytest.raises(NodeRefusedToStart) as told:
            await process.wait_ready(_silent)
        # A full disk may have no room for the words either; then the end alone is told.
        assert told.value.cause in {Cause.NO_SPACE, Cause.OTHER}
    finally:
        subprocess.run(["umount", str(small)], check=True)
