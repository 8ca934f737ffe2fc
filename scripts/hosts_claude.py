"""Claude Code: with `-p`, in a terminal where it shows the form, and where a person signs in."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import node_tools
from bootstrap import ROOT
from hosts_machine import TOKEN, Failed, Job, Machine, Served, free_port, serving
from hosts_model import Step, serving_model
from hosts_terminal import in_terminal

__all__ = ["claude_code", "claude_sign_in", "claude_terminal"]


def _meet(machine: Machine, url: str) -> None:
    """Let Claude Code use the model at `url` and no other service, and skip what it asks a person the first time."""
    machine.env |= {
        "ANTHROPIC_BASE_URL": url,
        "ANTHROPIC_API_KEY": "none",
        "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
        "ENABLE_TOOL_SEARCH": "false",
    }
    known = {
        "hasCompletedOnboarding": True,
        "theme": "dark",
        "customApiKeyResponses": {"approved": ["none"], "rejected": []},
        "projects": {str(machine.work): {"hasTrustDialogAccepted": True}},
    }
    if not (machine.home / ".claude.json").exists():
        machine.write(".claude.json", known)


def _print(machine: Machine, job: Job, server: str = "reflexio", store: Path | None = None) -> str:
    """One job with `claude -p`."""
    with serving_model(job) as model:
        _meet(machine, model.url)
        claude = [machine.bin / "claude", "-p", "Do the job.", "--allowedTools", f"mcp__{server}"]
        return job.work(machine, model, *claude, good=(0, 1), store=store)


def claude_code(machine: Machine, served: Served) -> list[str]:
    """Jobs with `-p`, installed with `--remote`, added for /sse, their health, and what it says without a token."""
    claude = machine.bin / "claude"
    machine.install("claude-code", "preview")
    lines = [f"-p: {_print(machine, Job('claude'))}"]
    machine.install("claude-code")
    lines.append(f"-p, with its form: {_print(machine, Job('claude-form', 'unseen'))}")
    add = ["mcp", "add", "-s", "user", "--transport"]
    header = ["--header", f"Authorization: Bearer {TOKEN}"]
    machine.install_remote("claude-code", served.url, "--name", "over-mcp")
    machine.run(claude, *add, "sse", "over-sse", f"{served.url}/sse", *header)
    machine.run(claude, *add, "http", "no-token", f"{served.url}/mcp")
    for name in ("reflexio", "over-mcp", "over-sse"):
        said = machine.run(claude, "mcp", "get", name)
        lines.append(f"{name}: {machine.expect(said, r'Status: .*Connected')}")
    said = machine.run(claude, "mcp", "get", "no-token")
    lines.append(f"no token: {machine.expect(said, 'give the client its bearer token')}")
    return lines


_EMPTY, _TICKED, _ACCEPT, _DECLINE = (
    f"\N{HEAVY RIGHT-POINTING ANGLE QUOTATION MARK ORNAMENT} {shown}"
    for shown in (". Delete: ☐", ". Delete: ☒", "Accept", "Decline")
)
_ANSWERS: tuple[tuple[str, tuple[tuple[str, str], ...], str, str], ...] = (
    ("Decline", (("Down", _ACCEPT), ("Right", _DECLINE)), "Enter", "declined"),
    ("Escape", (), "Escape", "cancelled"),
    ("Accept with an empty box", (("Down", _ACCEPT),), "Enter", "declined"),
    ("Accept with a tick", (("Space", _TICKED), ("Down", _ACCEPT)), "Enter", "complete"),
)
"""What a person does with the form: keys and what the screen shows after each, the last key, and the status that the
model is given."""


def claude_terminal(machine: Machine, served: Served) -> list[str]:
    """The form in a terminal: the lines that it shows, and that nothing but a yes deletes."""
    job, screen = Job("form", "form"), ""

    def asking_until_yes(results: list[str]) -> Step | None:
        if len(results) < 3:
            return job(results)
        if len(results) < 3 + len(_ANSWERS):
            return job(results[:3])
        return job(results[:4]) if len(results) == 3 + len(_ANSWERS) else None

    with serving_model(asking_until_yes) as model:
        _meet(machine, model.url)
        machine.install("claude-code")
        claude = [machine.bin / "claude", "Do the job.", "--allowedTools", "mcp__reflexio"]
        with in_terminal(machine, *claude) as terminal:
            for number, (answer, keys, last, _) in enumerate(_ANSWERS, 4):
                screen = terminal.wait(_EMPTY)
                machine.expect(screen, r"Delete 1 request .*“ada”\? This cannot be undone\.")
                if machine.stored("form") != 1:
                    raise Failed(f"it is gone before {answer}")
                focus = _EMPTY
                for key, focus in keys:
                    terminal.key(key, focus)

                def answered(number: int = number) -> bool:
                    return len(model.given) >= number

                terminal.press(last, answered, focus)
                terminal.until(answered, f"the model after {answer}")
            terminal.until(lambda: len(model.given) == 4 + len(_ANSWERS), "the end")
    for given, (answer, *_, status) in zip(model.given[3:], _ANSWERS, strict=False):
        if f'"status":"{status}"' not in given:
            raise Failed(f"after {answer} the model is given {given}")
    done = job.judge(machine, [*model.given[:3], *model.given[-2:]])
    _, shown = screen.split("requests your input")
    lines = [line for line in shown.split("Delete: ☐")[0].splitlines() if line.strip()]
    kept = ", ".join(answer for answer, *_, status in _ANSWERS if status != "complete")
    return [f"nothing is deleted by {kept}", done, f"of the question it shows {len(lines) - 1} lines"]


_BROWSER = """#!{python}
# What a person does in the browser: they give their name and agree.
import http.cookiejar, re, sys, urllib.parse, urllib.request

browser = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(http.cookiejar.CookieJar()))
url, form = sys.argv[1], None
for _ in range(9):
    with browser.open(url, form, timeout=60) as reply:
        page, url = reply.read().decode(), reply.url
    action = re.search('<form[^>]*action="([^"]+)"', page)
    asked = re.search('name="prompt" value="([a-z]+)"', page)
    if not action or not asked:
        break
    url = urllib.parse.urljoin(url, action[1])
    form = urllib.parse.urlencode({{"prompt": asked[1], "login": "{person}", "password": "any"}}).encode()
"""


@contextmanager
def _signing_in(machine: Machine) -> Iterator[Served]:
    """A server that people sign in to, and a certified authorization server at which they do and clients register."""
    node, modules = node_tools.ensure()
    port, issuer_port = free_port(), free_port()
    issuer, audience = f"http://127.0.0.1:{issuer_port}", f"http://127.0.0.1:{port}/mcp"
    script = ROOT / "tests" / "clients" / "identity_provider.mjs"
    variables = {
        "REFLEXIO_MCP_OAUTH_ISSUER": issuer,
        "REFLEXIO_MCP_OAUTH_AUDIENCE": audience,
        "REFLEXIO_MCP_CONFIRM": "preview",
    }
    with subprocess.Popen(
        [str(node), str(script), str(issuer_port), audience, "jwt", "register"],
        env={"PATH": "/usr/bin:/bin", "NODE_MODULES": str(modules)},
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, encoding="utf-8",
    ) as provider:  # fmt: skip
        try:
            assert provider.stdout is not None
            if provider.stdout.readline() != "ready\n":
                raise Failed("the authorization server did not start")
            with serving(machine.command, machine.home / "signed.db", variables, port=port) as there:
                yield there
        finally:
            provider.kill()


def _sign_in(machine: Machine, there: Served, person: str) -> str:
    """What Claude Code says when somebody has signed in."""
    claude = machine.bin / "claude"
    browser = machine.write("browser", _BROWSER.format(python=sys.executable, person=person))
    browser.chmod(0o700)
    machine.env["BROWSER"] = str(browser)
    machine.run(claude, "mcp", "add", "-s", "user", "--transport", "http", "signed", f"{there.url}/mcp")
    machine.expect(machine.run(claude, "mcp", "get", "signed"), r"Status: .*Needs authentication")
    with in_terminal(machine, claude, "mcp", "login", "signed") as terminal:
        said = machine.expect(terminal.wait(r"Authenticated with|Pane is dead"), "Authenticated with")
    machine.expect(machine.run(claude, "mcp", "get", "signed"), r"Status: .*Connected")
    return said


def claude_sign_in(machine: Machine, served: Served) -> list[str]:
    """Two people sign in. One does the whole job, of which the other sees nothing."""
    other = Machine(machine.home / "other", machine.command)
    job = Job("signed", user="ann")
    with _signing_in(machine) as there:
        for home, person in ((machine, "ann"), (other, "bob")):
            _meet(home, "http://127.0.0.1:9")
            _sign_in(home, there, person)
        lines = [f"registered, signed in as two people; -p: {_print(machine, job, 'signed', there.store)}"]
        look = ("list_requests", {}), ("list_requests", {"session_id": "signed-stays"})
        with serving_model(lambda results: look[len(results)] if len(results) < len(look) else None) as model:
            _meet(other, model.url)
            other.run(other.bin / "claude", "-p", "Look.", "--allowedTools", "mcp__signed", good=(0, 1))
            if len(model.given) != len(look) or any('"returned":0' not in seen for seen in model.given):
                raise Failed(f"the other person is given {model.given}")
    other.end_what_is_left()
    return [*lines, "the other person is given nothing of it"]
