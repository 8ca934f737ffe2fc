"""Codex: its command line, its app server, and a turn in which it shows a form."""

import json
import re
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hosts_machine import SECONDS, Failed, Job, Machine, Served, by_hand
from hosts_model import serving_model

__all__ = ["codex"]


def codex(machine: Machine, served: Served) -> list[str]:
    """Install, `codex mcp get`, and through its app server the tools that it got and the whole job."""
    machine.install("codex", "preview")
    program = machine.bin / "codex"
    config = machine.home / ".codex" / "config.toml"
    machine.install_remote("codex", served.url, "--name", "over-mcp")
    lines = [machine.expect(machine.run(program, "mcp", "get", "reflexio"), r"enabled: true")]
    with _app_server(machine, program) as ask:
        listed = ask("mcpServerStatus/list", {})["data"]
        thread = ask("thread/start", {"cwd": str(machine.work)})["thread"]["id"]
        for server, store in (("reflexio", None), ("over-mcp", served.store)):
            tools = next(one["tools"] for one in listed if one["name"] == server)

            def call(tool: str, arguments: dict[str, Any], server: str = server) -> str:
                asked = {"threadId": thread, "server": server, "tool": tool, "arguments": arguments}
                return json.dumps(ask("mcpServer/tool/call", asked))

            done = by_hand(machine, f"codex-{server}", call, store=store)
            lines.append(f"{server}: {len(tools)} tools, {done}")
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
    config.unlink()  # with the entry over HTTP
    machine.install("codex", "preview")
    job = Job("codex-exec")
    with serving_model(job) as model:
        _codex_config(config, model.url)
        free = ["--skip-git-repo-check", "--dangerously-bypass-approvals-and-sandbox"]
        return f"exec: {job.work(machine, model, program, 'exec', *free, 'Do the job.')}"


def _codex_form(machine: Machine, program: Path, config: Path) -> str:
    """A turn in which Codex shows the form and the person says yes."""
    config.unlink()
    machine.install("codex", "ask")
    forms: list[dict[str, Any]] = []

    def agree(params: dict[str, Any]) -> dict[str, Any]:
        fields = params["requestedSchema"]["properties"]
        forms.extend([params] if fields else [])  # Codex asks with an empty one whether a tool may be called
        return {"action": "accept", "content": dict.fromkeys(fields, True)}

    job = Job("codex-form", "form")
    with serving_model(job) as model:
        _codex_config(config, model.url)
        with _app_server(machine, program, agree) as ask:
            thread = ask("thread/start", {"cwd": str(machine.work), "approvalPolicy": "on-request"})[
                "thread"
            ]["id"]
            said = [{"type": "text", "text": "Do the job."}]
            ask("turn/start", {"threadId": thread, "input": said}, until="turn/completed")
        if len(forms) != 1 or forms[0]["requestedSchema"]["properties"]["delete"]["default"] is not False:
            raise Failed(f"the forms were {forms}")
        return f"a turn: {job.judge(machine, model.given)}"


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
