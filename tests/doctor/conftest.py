"""Fixtures of the doctor's tests."""

import os
from pathlib import Path

import pytest

from tests.doctor.support import SetUp


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> SetUp:
    for variable in [
        name for name in os.environ if name.lower().endswith("_proxy") or name.startswith("REFLEXIO")
    ]:
        monkeypatch.delenv(variable)
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("XDG_DATA_HOME", str(home / "data"))
    return SetUp(home, {"HOME": str(home)})
