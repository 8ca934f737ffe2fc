"""The command that is written starts from anywhere, and the command that is shown can be typed."""

import os
import subprocess
from pathlib import Path

import pytest

from reflexio_mcp.install import launch
from reflexio_mcp.install.files import InstallError
from reflexio_mcp.install.launch import Launch, find_launch, installed_from, joined


def executable(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("#!/bin/sh\n", encoding="utf-8")
    path.chmod(0o755)
    return path


def test_the_installed_command_is_named_by_its_whole_path_or_the_interpreter_runs_the_module(
    tmp_path: Path,
) -> None:
    python = str(tmp_path / "bin" / "python")
    module = Launch(python, ("-P", "-m", "reflexio_mcp"))
    assert find_launch(python=python, prefix=str(tmp_path), env={}) == module
    script = executable(tmp_path / "bin" / "reflexio-mcp")
    assert find_launch(python=python, prefix=str(tmp_path), env={}) == Launch(str(script))


@pytest.mark.parametrize("source", ["", "git+https://x.example/reflexio-mcp@main"])
def test_from_a_cache_the_runner_is_written_with_the_source_of_this_copy(
    source: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(launch, "installed_from", lambda: source)
    uvx, pipx = executable(tmp_path / "uvx"), executable(tmp_path / "pipx")
    env = {"PATH": str(tmp_path), "UV_CACHE_DIR": str(tmp_path / "elsewhere")}
    given = ("--from", source) if source else ()
    for cache in ("uv/archive-v0/x", "uv/environments-v2/x", "elsewhere/x"):
        assert find_launch(prefix=str(tmp_path / cache), env=env) == Launch(
            str(uvx), (*given, "reflexio-mcp")
        )
    given = ("--spec", source) if source else ()
    found = find_launch(prefix=str(tmp_path / ".cache/pipx/x"), env=env)
    assert found == Launch(str(pipx), ("run", *given, "reflexio-mcp"))
    with pytest.raises(InstallError, match="uv tool install"):
        find_launch(prefix=str(tmp_path / "uv/archive-v0/x"), env={"PATH": ""})


def test_what_is_written_starts_with_a_poor_path(tmp_path: Path) -> None:
    found = find_launch()
    done = subprocess.run(
        [found.command, *found.args, "--version"],
        env={"PATH": os.defpath, "HOME": str(tmp_path)}, cwd=tmp_path, capture_output=True, encoding="utf-8",
        timeout=60, check=False,
    )  # fmt: skip
    assert done.stdout.startswith("reflexio-mcp "), done.stderr


@pytest.mark.parametrize(
    ("record", "source"),
    [
        (None, ""),
        ("{", ""),
        ('{"url": "file:///home/jo/reflexio%20mcp", "dir_info": {}}', "/home/jo/reflexio mcp"),
        (
            '{"url": "https://jo:s3cr3t@x.example:8443/r@1", "vcs_info": {"vcs": "git", "requested_revision": "v1"}}',
            "git+https://x.example:8443/r@1@v1",
        ),
        ('{"url": "https://ghp_s3cr3t@x.example/r.git", "vcs_info": {"vcs": "git"}}', "git+https://x.example/r.git"),
        ('{"url": "https://jo:s3cr3t@x.example/r.whl"}', "https://x.example/r.whl"),
        ('{"url": "ssh://git:s3cr3t@x.example/r", "vcs_info": {"vcs": "git"}}', "git+ssh://git@x.example/r"),
    ],
)  # fmt: skip
def test_where_a_copy_came_from_is_read_from_its_own_record_without_a_secret(
    record: str | None, source: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Installed:
        def read_text(self, name: str) -> str | None:
            return record if name == "direct_url.json" else None

    monkeypatch.setattr("importlib.metadata.distribution", lambda _: Installed())
    assert installed_from() == source


def test_each_systems_shell_can_take_the_command() -> None:
    words = ["C:\\Tools\\reflexio-mcp.exe", "--name", "my mem"]
    assert joined(words, windows=True) == 'C:\\Tools\\reflexio-mcp.exe --name "my mem"'
    assert joined(["/opt/a b/reflexio-mcp"], windows=False) == "'/opt/a b/reflexio-mcp'"
