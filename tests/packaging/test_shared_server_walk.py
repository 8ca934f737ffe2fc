"""docs/shared-server.md, walked from its first command to its last on a machine that has nothing of this program."""

import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import anyio
import anyio.to_thread
import httpx
import pytest

from tests.deletion.support import World
from tests.doctor.servers import certificate
from tests.support.issuer import Issuer, issuing
from tests.support.postgres_server import PASSWORD, USER, PostgresServer, postgres_server, programs
from tests.support.replicas import NGINX, behind_nginx
from tests.support.serving import (
    WAIT,
    Served,
    bearer,
    free_port,
    interactions,
    message_of,
    modern_call,
    until_healthy,
)
from tests.support.store_app import served

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.ci,
    pytest.mark.skipif(NGINX is None, reason="nginx is not installed"),
    pytest.mark.skipif(programs() is None, reason="PostgreSQL is not installed"),
]

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "shared-server.md"
AUDIENCE = "https://memory.example/mcp"
"""Where clients reach the server, as the page has it."""

PORTS = ("8765", "8766", "8080")
ELSEWHERE = {"opentelemetry-instrument": "tests/over_http/test_metrics.py"}
"""Commands that a test of their own runs from the page."""


class Block(NamedTuple):
    language: str
    lines: list[str]

    def has(self, words: str) -> bool:
        return any(words in line for line in self.lines)


def blocks_of_the_page() -> list[Block]:
    found = re.findall(r"^```(\w+)\n(.*?)^```$", PAGE.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)
    return [Block(language, text.splitlines()) for language, text in found]


class Done(NamedTuple):
    code: int
    said: str
    """What a command wrote to stdout and stderr."""


@dataclass
class Walk:
    """A shell that goes from command to command: variables stay, and servers run on beside it.

    Args:
        instead: what stands on this machine in place of the page's addresses and files.
        variables: of the shell.
        administrator: variables with which PostgreSQL's programs act as its administrator.
        servers: those that run, by the port that the page gives them.
        proxy: the address of nginx once it runs.
    """

    home: Path
    instead: dict[str, str]
    variables: dict[str, str]
    administrator: dict[str, str]
    stack: AsyncExitStack
    ports: dict[str, int] = field(default_factory=lambda: {port: free_port() for port in PORTS})
    servers: dict[str, Served] = field(default_factory=dict[str, Served])
    proxy: str = ""
    left: list[Block] = field(default_factory=blocks_of_the_page)

    def the_next(self, words: str) -> Block:
        """The next block to walk, which has these words."""
        block = self.left.pop(0)
        assert block.has(words), f"the page has {block.lines} where {words!r} was expected"
        return block

    async def do(self, block: Block) -> None:
        """Do what a block says. Each command has to succeed."""
        if block.language == "sql":
            await self._succeed(f"psql -v ON_ERROR_STOP=1 memory <<'END'\n{self.sql(block)}\nEND")
            return
        for line in block.lines:
            words = shlex.split(line, comments=True)
            if words[:2] == ["reflexio-mcp", "serve"]:
                await self._start(words)
            elif "nginx" in words[:2]:
                assert words[-1] == "$PWD/examples/nginx.conf"
                running = list(self.servers.values())
                proxy = behind_nginx(self.home, running, self.variables["REFLEXIO_MCP_ALLOWED_HOSTS"])
                self.proxy = await self.stack.enter_async_context(proxy)
                self.instead["http://127.0.0.1:8080"] = self.proxy
            else:
                await self._succeed(line)

    @staticmethod
    def sql(block: Block) -> str:
        return "\n".join(block.lines).replace("'...'", "'PASSWORD'")

    async def _succeed(self, line: str) -> None:
        done = await self.run(line)
        assert done.code == 0, f"{line}\n{done.said}"

    async def run(self, line: str, **changed: str) -> Done:
        """Run a line in the shell. What it exports stays, unless variables are changed for it alone."""
        for words, ours in self.instead.items():
            line = line.replace(words, ours)
        kept = self.home / "variables"
        as_administrator = line.startswith(("psql", "createdb"))
        env = self.variables | changed | (self.administrator if as_administrator else {})
        script = f"{line}\ncode=$?\nenv -0 > {shlex.quote(str(kept))}\nexit $code"
        done = await anyio.run_process(
            ["bash", "-c", script], env=env, cwd=ROOT, check=False, stderr=subprocess.STDOUT
        )
        if not changed and not as_administrator:
            exported = kept.read_text(encoding="utf-8").rstrip("\0").split("\0")
            self.variables = dict(pair.split("=", 1) for pair in exported)
        return Done(done.returncode, done.stdout.decode())

    async def _start(self, words: list[str]) -> None:
        """Start a server in a terminal of its own; one that has its port is stopped first."""
        port = words[words.index("--port") + 1] if "--port" in words else PORTS[0]
        if port in self.servers:
            assert await self.servers.pop(port).terminate() == 0
        ours = self.ports[port]
        log = self.home / f"{port}.log"
        with log.open("wb") as stderr:
            process = await anyio.open_process(
                [word.replace(port, str(ours)) for word in words],
                env=self.variables | {"REFLEXIO_MCP_PORT": str(ours)},
                stdin=subprocess.DEVNULL,
                stderr=stderr,
                cwd=self.home,
            )
        self.stack.push_async_callback(self._end, process)
        self.servers[port] = Served(ours, process=process, log=log)
        await until_healthy(self.servers[port])

    @staticmethod
    async def _end(process: Any) -> None:
        with anyio.CancelScope(shield=True):
            if process.returncode is None:
                process.kill()
            await process.aclose()


@pytest.fixture
def issuer() -> Iterator[Issuer]:
    with issuing() as issuer:
        yield issuer


@pytest.fixture
def database(tmp_path: Path) -> Iterator[tuple[PostgresServer, Path]]:
    """A new cluster, whose roles are the page's alone, and the file that its certificate is checked with."""
    _, file = certificate(tmp_path)
    with postgres_server() as server:
        assert server
        server.speak_tls(file)
        yield server, file


@asynccontextmanager
async def walking(
    home: Path, database: tuple[PostgresServer, Path], issuer: Issuer, reflexio: str
) -> AsyncIterator[Walk]:
    server, authorities = database
    of_postgresql = programs()
    uv = shutil.which("uv", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    assert of_postgresql
    if uv is None:
        pytest.skip("uv is not installed")
    (home / "bin").mkdir()
    (home / "bin" / "uv").symlink_to(uv)
    folders = [home / "bin", of_postgresql, "/usr/bin", "/bin", "/usr/sbin"]
    # `uv` finds packages as this run does; nothing else of its environment is known on the bare machine.
    of_uv = {name: value for name, value in os.environ.items() if name.startswith(("UV_", "PIP_", "SSL_"))}
    user_folder = {"UV_CACHE_DIR": str(home / "cache"), "UV_TOOL_DIR": str(home / "tools")}
    shell = {"HOME": str(home), "UV_TOOL_BIN_DIR": str(home / "bin")} | user_folder
    async with AsyncExitStack() as stack:
        yield Walk(
            home,
            {
                "db.example.com": f"127.0.0.1:{server.port}",
                "/etc/ssl/certs/ca-certificates.crt": str(authorities),
                "https://reflexio.example": reflexio,
                "https://id.example": issuer.url,
            },
            of_uv | shell | {"PATH": os.pathsep.join(map(str, folders))},
            {"PGHOST": "127.0.0.1", "PGPORT": str(server.port), "PGUSER": USER, "PGPASSWORD": PASSWORD},
            stack,
        )


async def call(url: str, token: str, tool: str, **arguments: Any) -> dict[str, Any]:
    """Call a tool as a client does that reaches the server by its public name."""
    headers, body = modern_call(tool, arguments)
    async with httpx.AsyncClient(timeout=WAIT) as client:
        reply = await client.post(
            f"{url}/mcp", headers=headers | bearer(token) | {"host": "memory.example"}, json=body
        )
    assert reply.status_code == 200, reply.text
    result = message_of(reply)["result"]
    assert not result.get("isError"), result
    return result["structuredContent"]


async def publish(url: str, token: str, said: str) -> None:
    await call(url, token, "publish_interaction", session_id="moving", interactions=interactions(said))


async def listed(url: str, token: str) -> int:
    return (await call(url, token, "list_requests")).get("returned", 0)


async def test_the_page_of_a_shared_server_leads_from_a_bare_machine_to_two_replicas_behind_nginx(
    tmp_path: Path, database: tuple[PostgresServer, Path], issuer: Issuer
) -> None:
    world = World(str(tmp_path / "reflexio.db"), tmp_path)
    async with (
        AsyncExitStack() as stack,
        served(world.backend) as reflexio,
        walking(tmp_path, database, issuer, reflexio) as walk,
    ):
        stack.push_async_callback(world.close)
        assert "not found" in (await walk.run("reflexio-mcp --version")).said
        await walk.do(walk.the_next("uv tool install"))
        walk.the_next("reflexio-mcp: serving http://")

        await walk.do(walk.the_next("REFLEXIO_MCP_OAUTH_ISSUER"))
        ada, bob = (issuer.token(person, aud=AUDIENCE) for person in ("ada", "bob"))
        alone = walk.servers["8765"].url
        await publish(alone, ada, "I moved to Lisbon.")
        assert await listed(alone, ada) == 1
        assert await listed(alone, bob) == 0

        await make_the_database(walk)

        await walk.do(walk.the_next("reflexio-mcp serve --transport http --port 8766"))
        await publish(walk.proxy, ada, "I like tea.")
        one, other = walk.servers.values()
        plan = (await call(one.url, ada, "delete_requests", session_id="moving"))["plan"]
        confirmed = await call(
            other.url, ada, "delete_requests", session_id="moving", confirm=plan["confirm"]
        )
        assert confirmed["receipt"]["deleted"]["requests"] == 2
        assert await listed(walk.proxy, ada) == 0

        log = await walk.run(f"psql -At memory <<'END'\n{walk.sql(walk.the_next('reflexio_mcp.log'))}\nEND")
        assert "|begin|user ada, session moving|" in log.said
        assert (await walk.run("reflexio-mcp log --verify")).code == 0
        assert "none changed or missing" in (await walk.run("reflexio-mcp log --verify")).said

        await a_wrong_key_is_named(walk)
        await tables_in_another_schema_are_named(walk)

        commands = [block for block in walk.left if block.language != "text"]
        assert [block for block in commands if not any(map(block.has, ELSEWHERE))] == []


async def make_the_database(walk: Walk) -> None:
    """Make the database, its roles and tables; each command says what is missing before it is there."""
    [tables] = [block for block in walk.left if block.has("reflexio-mcp state create")]
    exported, create = tables.lines
    before = f"{exported}; {create}"
    missing = await walk.run(before)
    assert (missing.code, "refuses the role reflexio_mcp or the password" in missing.said) == (1, True), (
        missing.said
    )
    await walk.do(walk.the_next("createdb memory"))
    await walk.do(walk.the_next("CREATE SCHEMA"))
    missing = await walk.run(before)
    assert (missing.code, "There is no role reflexio_mcp_server" in missing.said) == (1, True), missing.said
    [role] = walk.left[0].lines
    assert role in missing.said
    await walk.do(walk.the_next("CREATE ROLE reflexio_mcp_server"))
    await walk.do(walk.the_next("reflexio-mcp state create"))


async def a_wrong_key_is_named(walk: Walk) -> None:
    wrong = {"REFLEXIO_MCP_STATE_KEYS": "k" * 44, "REFLEXIO_MCP_PORT": str(free_port())}
    for command in ("reflexio-mcp state check", "reflexio-mcp serve --transport http"):
        refused = await walk.run(command, **wrong)
        assert (refused.code, "REFLEXIO_MCP_STATE_KEYS" in refused.said) == (2, True), refused.said


async def tables_in_another_schema_are_named(walk: Walk) -> None:
    await walk.run("psql memory -c 'ALTER SCHEMA reflexio_mcp RENAME TO restored'")
    elsewhere = await walk.run("reflexio-mcp state check")
    assert (elsewhere.code, "in the schema restored" in elsewhere.said) == (1, True), elsewhere.said
    await walk.run("psql memory -c 'ALTER SCHEMA restored RENAME TO reflexio_mcp'")
    assert (await walk.run("reflexio-mcp state check")).code == 0
