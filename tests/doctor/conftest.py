"""A machine with nothing on it yet."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from reflexio_mcp.cli import main
from reflexio_mcp.doctor import checks

KEY = "rflx-secret-0123456789"


class Machine:
    """A person's folder in which `doctor` looks around.

    Args:
        home: the folder.
        set_variable: sets a variable of the shell.
    """

    def __init__(
        self, home: Path, set_variable: Callable[[str, str], None], capsys: pytest.CaptureFixture[str]
    ) -> None:
        self.home = home
        self.set = set_variable
        self._capsys = capsys

    def client(self, path: str, content: Any) -> None:
        """Write a client's file, as JSON unless it is text."""
        file = self.home / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")

    def entry(self, **entry: Any) -> None:
        """An entry of Cursor."""
        self.client(
            ".cursor/mcp.json", {"mcpServers": {"reflexio": {"command": "/bin/reflexio-mcp"} | entry}}
        )

    def examined(self, *words: str) -> dict[str, Any]:
        """The report for a program, in which each problem has something to do and no key is shown."""
        code, report = self.said("--json", *words)
        made = json.loads(report)
        assert made["exit_code"] == code
        assert all(one["do"] for one in made["findings"] if one["status"] in ("failure", "warning"))
        return made

    def said(self, *words: str) -> tuple[int, str]:
        """The exit code and everything that is printed."""
        self._capsys.readouterr()
        code = main(["doctor", *words])
        printed = self._capsys.readouterr()
        assert KEY not in printed.out + printed.err
        return code, printed.out

    def problems(self, *words: str) -> set[str]:
        """The names of what is wrong."""
        return {one["name"] for one in self.examined(*words)["findings"] if "name" in one} - {"no-client"}


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Machine:
    for variable in list(os.environ):
        if variable.lower().endswith("_proxy") or variable.startswith(("REFLEXIO", "XDG_", "SSL_")):
            monkeypatch.delenv(variable)
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("XDG_DATA_HOME", str(home / "data"))
    monkeypatch.setattr(checks, "CALL_SECONDS", 60)  # however busy the machine is
    return Machine(home, monkeypatch.setenv, capsys)
