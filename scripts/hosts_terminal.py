"""A program in a terminal of its own, through tmux: what its screen shows, and keys."""

import re
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from hosts_machine import SECONDS, Failed, Machine

__all__ = ["Terminal", "in_terminal"]

TMUX = shutil.which("tmux")


class Terminal:
    """A tmux server with one window."""

    def __init__(self, machine: Machine) -> None:
        if TMUX is None:
            raise Failed("tmux was not found: a program with a screen cannot be driven without it")
        self._tmux = [TMUX, "-S", str(machine.home / "tmux"), "-f", str(machine.write("tmux.conf", _CONFIG))]
        self._env = machine.env | {"TERM": "xterm-256color", "LANG": "C.UTF-8"}
        self._work = machine.work

    def ask(self, *words: str) -> str:
        """A command of tmux and what it prints."""
        done = subprocess.run(
            [*self._tmux, *words], env=self._env, cwd=self._work, stdin=subprocess.DEVNULL,
            capture_output=True, encoding="utf-8", timeout=SECONDS, check=False,
        )  # fmt: skip
        if done.returncode:
            raise Failed(f"tmux {words[0]} ended with {done.returncode}: {done.stderr.strip()}")
        return done.stdout

    def screen(self) -> str:
        return self.ask("capture-pane", "-p", "-J")

    def key(self, key: str, sign: str) -> None:
        """Press a key by its name in tmux, and wait until the screen shows what it should do."""
        self.ask("send-keys", key)
        # What comes at once with the next key may be taken for a paste.
        self.wait(sign)

    def press(self, key: str, done: Callable[[], bool], sign: str) -> None:
        """Press a key, and after a while once more, as a person would where the screen goes on to show something."""
        deadline = time.monotonic() + SECONDS
        while not done() and time.monotonic() < deadline:
            if re.search(sign, self.screen()) and not done():
                self.ask("send-keys", key)
            patience = time.monotonic() + 10
            while not done() and time.monotonic() < patience:
                time.sleep(0.2)

    def wait(self, pattern: str) -> str:
        """The screen, once it shows something."""
        self.until(lambda: re.search(pattern, self.screen()) is not None, f"{pattern!r}")
        return self.screen()

    def until(self, true: Callable[[], bool], what: str) -> None:
        deadline = time.monotonic() + SECONDS
        while not true():
            if time.monotonic() > deadline:
                raise Failed(f"waited for {what} on:\n{self.screen()}")
            time.sleep(0.2)


# A program that ended leaves its last screen.
_CONFIG = "set -g remain-on-exit on\nset -g default-terminal xterm-256color\n"


@contextmanager
def in_terminal(
    machine: Machine, *command: str | Path, columns: int = 80, rows: int = 24
) -> Iterator[Terminal]:
    """Run a program in a terminal, and end it."""
    terminal = Terminal(machine)
    size = ["-x", str(columns), "-y", str(rows)]
    terminal.ask("new-session", "-d", *size, "--", *(str(word) for word in command))
    try:
        yield terminal
    finally:
        terminal.ask("kill-server")
