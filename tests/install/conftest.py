"""A folder of its own for each test, with no client in it and none on the PATH."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.install.support import NAMED, Home


@pytest.fixture
def home_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Home]:
    for variable in list(os.environ):
        if variable.startswith(("REFLEXIO", "XDG_", "CODEX_", "CLAUDE_", "COPILOT_", "UV")):
            monkeypatch.delenv(variable)
    for variable, value in {"HOME": str(tmp_path), "PATH": "/usr/bin:/bin", "LOGNAME": "jo"}.items():
        monkeypatch.setenv(variable, value)
    return lambda name: Home(tmp_path, NAMED[name])
