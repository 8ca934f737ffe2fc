"""A raw MCP client over stdio: a real process, JSON lines, every reply held to the official schema.

It stands beside the SDK's own client on purpose. What that client would repair or forgive, this one shows:
the bytes on the wire, the exit code, stderr, what a broken line does.

    async with open_session("2026-07-28", env=environment(tmp_path)) as session:
        tools = await session.list_tools()
        result = await session.call("get_status")

Every wait is bounded. A message that breaks the schema of its revision raises `jsonschema.ValidationError`.
"""

import functools
import json
import os
import signal
import subprocess
import sys
import uuid
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Literal, get_args

import anyio
import anyio.abc
from jsonschema import Draft202012Validator
from jsonschema.protocols import Validator

from reflexio_mcp.cli import main
from tests.support.forked import ForkedProcess, open_forked

Revision = Literal["2025-06-18", "2025-11-25", "2026-07-28"]
REVISIONS: tuple[Revision, ...] = get_args(Revision)
MODERN: Revision = "2026-07-28"

SERVER = (sys.executable, "-m", "reflexio_mcp")
WAIT = 60.0
"""Seconds that any one answer may take, a cold start on a busy machine included."""

_SCHEMAS = Path(__file__).parent.parent / "protocol" / "schemas"
_RESULTS = {
    "completion/complete": "CompleteResult",
    "initialize": "InitializeResult",
    "logging/setLevel": "EmptyResult",
    "ping": "EmptyResult",
    "prompts/get": "GetPromptResult",
    "prompts/list": "ListPromptsResult",
    "resources/list": "ListResourcesResult",
    "resources/read": "ReadResourceResult",
    "resources/subscribe": "EmptyResult",
    "resources/templates/list": "ListResourceTemplatesResult",
    "resources/unsubscribe": "EmptyResult",
    "server/discover": "DiscoverResult",
    "tools/call": "CallToolResult",
    "tools/list": "ListToolsResult",
}


class ServerEndedError(Exception):
    """The server closed its stdout while an answer was awaited. Carries what it wrote to stderr."""


class RpcError(Exception):
    """The server answered with a JSON-RPC error."""

    def __init__(self, error: dict[str, Any]) -> None:
        super().__init__(f"{error['code']}: {error['message']}")
        self.code: int = error["code"]
        self.message: str = error["message"]
        self.data: Any = error.get("data")


@functools.cache
def schema(revision: Revision, name: str) -> Validator:
    """The validator of one definition of the official schema of a revision."""
    text = (_SCHEMAS / f"mcp-{revision}.json").read_text(encoding="utf-8")
    document: dict[str, Any] = json.loads(text)
    definitions = "$defs" if "$defs" in document else "definitions"
    return Draft202012Validator(
        {"$ref": f"#/{definitions}/{name}", definitions: document[definitions]},
        format_checker=Draft202012Validator.FORMAT_CHECKER,
    )


def environment(home: Path, **variables: str) -> dict[str, str]:
    """An environment with nothing of the caller's own configuration, and `home` as the user's folder."""
    kept = ("PATH", "SYSTEMROOT", "SYSTEMDRIVE", "TEMP", "TMP", "PATHEXT")
    env = {key: os.environ[key] for key in kept if key in os.environ}
    env |= {"HOME": str(home), "USERPROFILE": str(home), "LOCALAPPDATA": str(home), "APPDATA": str(home)}
    return env | {"PYTHONDONTWRITEBYTECODE": "1"} | variables


class StdioSession:
    """One server process and the conversation with it. Made by `open_session`.

    `notifications` and `requests` collect what the server sent on its own; both are schema-checked too.
    """

    def __init__(
        self,
        process: anyio.abc.Process | ForkedProcess,
        revision: Revision,
        stderr: Path,
        capabilities: Mapping[str, Any],
    ) -> None:
        self.process = process
        self.revision: Revision = revision
        self.capabilities = dict(capabilities)
        self.notifications: list[dict[str, Any]] = []
        self.requests: list[dict[str, Any]] = []
        self.opening: dict[str, Any] = {}
        self._stderr = stderr
        self._buffer = bytearray()
        self._next_id = 0
        self._pending: dict[int, str] = {}
        self._replies: dict[int, dict[str, Any]] = {}
        self._output_schemas: dict[str, Validator] | None = None

    def stderr(self) -> str:
        """What the server has logged so far."""
        return self._stderr.read_text(encoding="utf-8", errors="replace")

    async def send_line(self, line: str | bytes) -> None:
        """Write one line as it is, well-formed or not."""
        data = line.encode() if isinstance(line, str) else line
        assert self.process.stdin
        with anyio.fail_after(WAIT):
            await self.process.stdin.send(data + b"\n")

    async def send_request_line(self, request_id: int, line: str | bytes) -> None:
        """Write a line, well-formed or not, that asks under an id of the caller's choice; `reply` awaits the answer."""
        self._pending[request_id] = ""
        await self.send_line(line)

    async def send(self, method: str, params: Mapping[str, Any] | None = None) -> int:
        """Send a request and return its id; `reply` awaits the answer."""
        self._next_id += 1
        self._pending[self._next_id] = method
        message = {"jsonrpc": "2.0", "id": self._next_id, "method": method, "params": self._stamped(params)}
        await self.send_line(json.dumps(message))
        return self._next_id

    async def notify(self, method: str, params: Mapping[str, Any] | None = None) -> None:
        """Send a notification."""
        await self.send_line(
            json.dumps({"jsonrpc": "2.0", "method": method, "params": self._stamped(params)})
        )

    async def server_request(self, *, timeout: float = WAIT) -> dict[str, Any]:
        """Await a request of the server that was not taken yet. `answer` answers it."""
        with anyio.fail_after(timeout):
            while not self.requests:
                self._sort(await self._message())
        return self.requests.pop(0)

    async def answer(self, request: Mapping[str, Any], result: Mapping[str, Any]) -> None:
        """Answer a request of the server."""
        await self.send_line(json.dumps({"jsonrpc": "2.0", "id": request["id"], "result": result}))

    async def reply(self, request_id: int, *, timeout: float = WAIT) -> dict[str, Any]:
        """Await the result of a request that `send` began.

        Raises:
            RpcError: the answer is an error.
            ServerEndedError: the server is gone.
            TimeoutError: no answer in `timeout` seconds.
        """
        with anyio.fail_after(timeout):
            while request_id not in self._replies:
                self._sort(await self._message())
        message = self._replies.pop(request_id)
        if "error" in message:
            raise RpcError(message["error"])
        return message["result"]

    async def request(
        self, method: str, params: Mapping[str, Any] | None = None, *, timeout: float = WAIT
    ) -> dict[str, Any]:
        """Send a request and return its result."""
        return await self.reply(await self.send(method, params), timeout=timeout)

    async def list_tools(self) -> list[dict[str, Any]]:
        """Every tool, all pages read."""
        tools: list[dict[str, Any]] = []
        params: dict[str, Any] = {}
        while True:
            page = await self.request("tools/list", params)
            tools += page["tools"]
            if "nextCursor" not in page:
                break
            params = {"cursor": page["nextCursor"]}
        for tool in tools:
            Draft202012Validator.check_schema(tool["inputSchema"])
        declared = {tool["name"]: tool["outputSchema"] for tool in tools if "outputSchema" in tool}
        for output_schema in declared.values():
            Draft202012Validator.check_schema(output_schema)
        self._output_schemas = {name: Draft202012Validator(declared[name]) for name in declared}
        return tools

    async def call(
        self,
        name: str,
        arguments: Mapping[str, Any] | None = None,
        *,
        meta: Mapping[str, Any] | None = None,
        timeout: float = WAIT,
    ) -> dict[str, Any]:
        """Call a tool; its structured content is held to the output schema that the tool declares."""
        if self._output_schemas is None:
            await self.list_tools()
        params: dict[str, Any] = {"name": name, "arguments": dict(arguments or {})}
        if meta:
            params["_meta"] = dict(meta)
        result = await self.request("tools/call", params, timeout=timeout)
        declared = (self._output_schemas or {}).get(name)
        if declared and not result.get("isError") and result.get("resultType", "complete") == "complete":
            assert "structuredContent" in result, (
                f"{name} declares an output schema and answered without content"
            )
            declared.validate(result["structuredContent"])
        return result

    async def close_input(self) -> None:
        """Close the server's stdin without waiting for what follows."""
        assert self.process.stdin
        await self.process.stdin.aclose()

    async def end_input(self, *, timeout: float = WAIT) -> int:
        """Close the server's stdin, read what it still says, and return its exit code."""
        await self.close_input()
        return await self.exit_code(timeout=timeout)

    async def interrupt(self, *, timeout: float = WAIT) -> int:
        """Press Ctrl-C and return the exit code."""
        self.process.send_signal(signal.SIGINT)
        return await self.exit_code(timeout=timeout)

    async def kill(self) -> None:
        """End the process without a chance to tidy up (`kill -9`)."""
        self.process.kill()
        await self.exit_code()

    async def exit_code(self, *, timeout: float = WAIT) -> int:
        """Read to the end of the server's output and return its exit code."""
        with anyio.fail_after(timeout):
            while True:
                try:
                    self._sort(await self._message())
                except ServerEndedError:
                    break
            return await self.process.wait()

    async def handshake(self) -> None:
        """Open the conversation the way the revision does."""
        if self.revision == MODERN:
            self.opening = await self.request("server/discover")
            assert self.revision in self.opening["supportedVersions"]
            return
        self.opening = await self.request(
            "initialize",
            {
                "protocolVersion": self.revision,
                "capabilities": self.capabilities,
                "clientInfo": {"name": "raw-client", "version": "1"},
            },
        )
        assert self.opening["protocolVersion"] == self.revision
        await self.notify("notifications/initialized")

    def _stamped(self, params: Mapping[str, Any] | None) -> dict[str, Any]:
        stamped = dict(params or {})
        if self.revision == MODERN:
            stamped["_meta"] = {
                "io.modelcontextprotocol/protocolVersion": self.revision,
                "io.modelcontextprotocol/clientInfo": {"name": "raw-client", "version": "1"},
                "io.modelcontextprotocol/clientCapabilities": self.capabilities,
            } | dict(stamped.get("_meta", {}))
        return stamped

    async def _message(self) -> dict[str, Any]:
        """The next message of the server, checked against the schema of what it is."""
        assert self.process.stdout
        while (end := self._buffer.find(b"\n")) < 0:
            try:
                self._buffer += await self.process.stdout.receive()
            except anyio.EndOfStream:
                assert not self._buffer, f"output ends in the middle of a line: {bytes(self._buffer)!r}"
                raise ServerEndedError(self.stderr()) from None
        line = bytes(self._buffer[:end])
        del self._buffer[: end + 1]
        message: dict[str, Any] = json.loads(line.decode("utf-8"))
        self._check(message)
        return message

    def _check(self, message: dict[str, Any]) -> None:
        schema(self.revision, "JSONRPCMessage").validate(message)
        if "method" in message:
            kind = "ServerRequest" if "id" in message else "ServerNotification"
            schema(self.revision, kind).validate(message)
        elif "result" in message:
            method = self._pending[message["id"]]
            name = _RESULTS[method]
            if self.revision == MODERN and message["result"].get("resultType") == "input_required":
                name = "InputRequiredResult"
            schema(self.revision, name).validate(message["result"])

    def _sort(self, message: dict[str, Any]) -> None:
        if "method" not in message:
            request_id = message.get("id")
            assert request_id in self._pending, f"an answer to nothing that was asked: {message}"
            del self._pending[request_id]
            self._replies[request_id] = message
        elif "id" in message:
            self.requests.append(message)
        else:
            self.notifications.append(message)


@asynccontextmanager
async def open_session(
    revision: Revision,
    *,
    env: Mapping[str, str],
    command: Sequence[str] = (),
    runs: Callable[[], int] = main,
    capabilities: Mapping[str, Any] | None = None,
    handshake: bool = True,
    reads_stderr: bool = True,
) -> AsyncIterator[StdioSession]:
    """Start a server and speak `revision` with it. Whatever happens, the process is gone at the end.

    Args:
        revision: the protocol revision to speak.
        env: the whole environment of the process, such as `environment` makes.
        command: what to start, such as `SERVER`; without it, the process is forked where the imports are done.
        runs: what a forked process runs.
        capabilities: what the client declares.
        handshake: whether to open the conversation; `False` leaves that to the test.
        reads_stderr: whether anybody reads what the server logs; `False` is a pipe that is full after 64 KiB.
    """
    home = Path(env["HOME"])
    stderr = home / f"stderr-{uuid.uuid4().hex}.txt"
    if reads_stderr:
        log, unread = os.open(stderr, os.O_WRONLY | os.O_CREAT), -1
    else:
        stderr.touch()
        unread, log = os.pipe()
    try:
        if command or sys.platform == "win32":
            process = await anyio.open_process(
                list(command or SERVER),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                env=env,
                cwd=home,
            )
        else:
            process = open_forked(runs, env, home, stderr=log)
    finally:
        os.close(log)
    session = StdioSession(process, revision, stderr, capabilities or {})
    try:
        if handshake:
            await session.handshake()
        yield session
    finally:
        with anyio.CancelScope(shield=True):
            if process.returncode is None:
                process.kill()
            await process.aclose()
        if unread >= 0:
            os.close(unread)
