"""The README's two commands work from a fresh clone, or say what is missing."""

import ast
import importlib.util
import shutil
import sys
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parent.parent


@pytest.fixture
def bootstrap() -> ModuleType:
    spec = importlib.util.spec_from_file_location("bootstrap", ROOT / "scripts" / "bootstrap.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("name", ["bootstrap", "demo", "test"])
def test_an_old_python_gets_as_far_as_being_told(name: str) -> None:
    source = (ROOT / "scripts" / f"{name}.py").read_text(encoding="utf-8")
    ast.parse(source, feature_version=(3, 7))


def test_an_old_python_is_told_which_one_is_needed(
    bootstrap: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "version_info", (3, 9, 2, "final", 0))
    with pytest.raises(SystemExit, match=r"Python 3\.11 or newer is needed, this is 3\.9\.2"):
        bootstrap.require_python()


def test_a_python_without_any_pip_is_told_how_to_get_it(
    bootstrap: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    monkeypatch.setattr("shutil.which", lambda _: None)
    with pytest.raises(bootstrap.SetupError, match="no pip was found for this Python: install it"):
        bootstrap._installer(Path("python"))


@pytest.mark.ci
def test_an_environment_is_used_again_until_what_it_is_made_from_changes(
    bootstrap: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    installed: list[str] = []
    monkeypatch.setattr(bootstrap, "ROOT", tmp_path)
    monkeypatch.setattr(bootstrap, "REQUIREMENTS", tmp_path)
    monkeypatch.setattr(bootstrap, "run_unseen", lambda words: installed.append(words[-1]))
    for name in ("pyproject.toml", *(f"{lock}.txt" for lock in bootstrap.LOCKS)):
        (tmp_path / name).write_text(name, encoding="utf-8")

    python = bootstrap.ensure("test")
    assert python.exists()
    assert len(installed) == 2
    assert bootstrap.ensure("test") == python
    assert bootstrap.ensure("run") == python, "the fuller environment serves the smaller need"
    assert bootstrap.ensure("dev") != python
    assert bootstrap.ensure("run").parts[-3] == ".venv-dev", "one environment is enough"
    shutil.rmtree(tmp_path / ".venv-dev")
    installed.clear()

    if sys.platform != "win32":  # one program by another of its names, as python3 and python3.13 are
        name = tmp_path / "another-name"
        name.symlink_to(bootstrap.sys._base_executable)
        with monkeypatch.context() as patch:
            patch.setattr(bootstrap.sys, "_base_executable", str(name))
            assert bootstrap.ensure("test") == python
        assert not installed

    (tmp_path / "test.txt").write_text("another version", encoding="utf-8")
    bootstrap.ensure("test")
    assert len(installed) == 2


@pytest.mark.parametrize("lock", ["run", "server", "test", "dev"])
def test_locked_packages_are_pinned_by_version_and_hash_and_bound_to_no_index(lock: str) -> None:
    text = (ROOT / "requirements" / f"{lock}.txt").read_text(encoding="utf-8")
    assert "://" not in text
    entries = text.replace("\\\n", " ").splitlines()
    assert entries
    assert all("==" in entry and "--hash=sha256:" in entry for entry in entries)
