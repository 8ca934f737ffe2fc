"""The command that is written starts from anywhere."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from reflexio_mcp.install.errors import InstallError
from reflexio_mcp.install.launch import Launch, as_called, find_launch, installed_from, joined


def executable(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("#!/bin/sh\n", encoding="utf-8")
    path.chmod(0o755)
    return path


def test_the_installed_command_is_named_by_its_whole_path(tmp_path: Path) -> None:
    script = executable(tmp_path / "bin" / "reflexio-mcp")
    assert find_launch(python=str(tmp_path / "bin/python"), prefix=str(tmp_path), env={}) == Launch(
        str(script)
    )


def test_without_a_command_the_interpreter_runs_the_module(tmp_path: Path) -> None:
    python = str(tmp_path / "bin/python")
    assert find_launch(python=python, prefix=str(tmp_path), env={}) == Launch(
        python, ("-P", "-m", "reflexio_mcp")
    )


@pytest.mark.parametrize("cache", [".cache/uv/archive-v0/x1", ".cache/uv/environments-v2/x1", "elsewhere/x1"])
def test_from_uvx_the_runner_is_written_and_not_its_cache(cache: str, tmp_path: Path) -> None:
    executable(tmp_path / cache / "bin" / "reflexio-mcp")
    uvx = executable(tmp_path / "tools" / "uvx")
    env = {"PATH": str(uvx.parent), "UV_CACHE_DIR": str(tmp_path / "elsewhere")}
    found = find_launch(
        python=str(tmp_path / cache / "bin/python"), prefix=str(tmp_path / cache), env=env, source=""
    )
    assert found == Launch(str(uvx), ("reflexio-mcp",))


def test_the_uvx_beside_the_uv_that_runs_us_comes_first(tmp_path: Path) -> None:
    uvx = executable(tmp_path / "own" / "uvx")
    env = {"PATH": "", "UV": str(tmp_path / "own" / "uv")}
    assert find_launch(prefix=str(tmp_path / "uv/archive-v0/x"), env=env).command == str(uvx)


def test_a_throw_away_copy_whose_runner_is_gone_is_not_written(tmp_path: Path) -> None:
    with pytest.raises(InstallError, match="uv tool install reflexio-mcp"):
        find_launch(prefix=str(tmp_path / "uv/archive-v0/x"), env={"PATH": ""}, source="")


def test_what_is_written_starts_with_a_poor_path(tmp_path: Path) -> None:
    launch = find_launch()
    done = subprocess.run(
        [launch.command, *launch.args, "--version"],
        env={"PATH": os.defpath, "HOME": str(tmp_path)},
        cwd=tmp_path,
        capture_output=True,
        encoding="utf-8",
        timeout=60,
        check=False,
    )
    assert done.stdout.startswith("reflexio-mcp "), done.stderr
    assert Path(launch.command).is_absolute()
    assert sys.executable


def test_a_throw_away_copy_from_elsewhere_is_found_there_again(tmp_path: Path) -> None:
    """The package index may have another version, or none."""
    executable(tmp_path / "uvx")
    executable(tmp_path / "pipx")
    env = {"PATH": str(tmp_path)}
    source = "git+https://example.com/x/reflexio-mcp@main"
    uvx = find_launch(prefix=str(tmp_path / "uv/archive-v0/x"), env=env, source=source)
    assert uvx.args == ("--from", source, "reflexio-mcp")
    pipx = find_launch(prefix=str(tmp_path / ".cache/pipx/x"), env=env, source=source)
    assert pipx.args == ("run", "--spec", source, "reflexio-mcp")


@pytest.mark.parametrize(
    ("told", "source"),
    [
        (None, ""),
        ("{", ""),
        ('{"url": "file:///home/jo/reflexio%20mcp", "dir_info": {}}', "/home/jo/reflexio mcp"),
        ('{"url": "https://x.example/reflexio_mcp-1-py3-none-any.whl"}', "https://x.example/reflexio_mcp-1-py3-none-any.whl"),
        ('{"url": "https://x.example/r", "vcs_info": {"vcs": "git", "commit_id": "c"}}', "git+https://x.example/r"),
        (
            '{"url": "https://x.example/r", "vcs_info": {"vcs": "git", "requested_revision": "v1"}}',
            "git+https://x.example/r@v1",
        ),
        (
            '{"url": "https://jo:s3cr3t@x.example:8443/r@1", "vcs_info": {"vcs": "git", "requested_revision": "v1"}}',
            "git+https://x.example:8443/r@1@v1",
        ),
        ('{"url": "https://ghp_s3cr3t@x.example/r.git", "vcs_info": {"vcs": "git"}}', "git+https://x.example/r.git"),
        ('{"url": "https://jo:s3cr3t@x.example/r.whl"}', "https://x.example/r.whl"),
        ('{"url": "ssh://git@x.example/r", "vcs_info": {"vcs": "git"}}', "git+ssh://git@x.example/r"),
        ('{"url": "ssh://git:s3cr3t@x.example/r", "vcs_info": {"vcs": "git"}}', "git+ssh://git@x.example/r"),
    ],
)  # fmt: skip
def test_where_a_copy_came_from_is_read_from_its_own_record(
    told: str | None, source: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Installed:
        def read_text(self, name: str) -> str | None:
            return told if name == "direct_url.json" else None

    monkeypatch.setattr("importlib.metadata.distribution", lambda _: Installed())
    assert installed_from() == source


def called(
    words: list[str], home: Path, *, path: str = "/usr/bin:/bin", prefix: str = "", source: str = ""
) -> str:
    prefix = prefix or str(home / "venv")
    return as_called(
        words=words, python=f"{prefix}/bin/python", prefix=prefix, env={"PATH": path}, source=source
    )


def test_the_next_command_is_named_as_this_one_was_called(tmp_path: Path) -> None:
    script = str(executable(tmp_path / "venv" / "bin" / "reflexio-mcp"))
    python = f"{tmp_path}/venv/bin/python"
    assert called([python, ".venv/bin/reflexio-mcp", "install"], tmp_path) == ".venv/bin/reflexio-mcp"
    assert called([python, "/a b/reflexio-mcp"], tmp_path) == "'/a b/reflexio-mcp'"
    assert called(["python3", "-m", "reflexio_mcp", "doctor"], tmp_path) == "python3 -m reflexio_mcp"
    assert called(["python3", "-P", "-m", "reflexio_mcp"], tmp_path) == "python3 -P -m reflexio_mcp"
    for other in (["python3", "-m", "pytest"], ["python3", "tool.py"], ["python3"], ["python3", "-c", "..."]):
        assert called(other, tmp_path) == "reflexio-mcp"

    # A shell finds this copy by its name, perhaps through a link, or it finds another one.
    link = tmp_path / "local" / "reflexio-mcp"
    link.parent.mkdir()
    link.symlink_to(script)
    another = executable(tmp_path / "elsewhere" / "reflexio-mcp")
    for words in ([python, script], [python, str(link)], [python, "-m", "reflexio_mcp"]):
        for folder in (Path(script).parent, link.parent):
            assert called(words, tmp_path, path=str(folder)) == "reflexio-mcp"
        assert called(words, tmp_path, path=str(another.parent)) != "reflexio-mcp"


@pytest.mark.parametrize(
    ("prefix", "source", "said"),
    [
        ("uv/archive-v0/x", "/src/reflexio mcp", "uvx --from '/src/reflexio mcp' reflexio-mcp"),
        ("uv/archive-v0/x", "", "uvx reflexio-mcp"),
        (".cache/pipx/x", "/src/reflexio-mcp", "pipx run --spec /src/reflexio-mcp reflexio-mcp"),
        (".cache/pipx/x", "", "pipx run reflexio-mcp"),
    ],
)
def test_a_copy_that_is_thrown_away_is_called_by_what_made_it(
    prefix: str, source: str, said: str, tmp_path: Path
) -> None:
    script = executable(tmp_path / prefix / "bin" / "reflexio-mcp")
    where = str(tmp_path / prefix)  # a runner puts it on the PATH for as long as it runs
    assert (
        called(["python", str(script)], tmp_path, path=str(script.parent), prefix=where, source=source)
        == said
    )


@pytest.mark.parametrize(
    ("words", "last"),
    [
        (["install"], "Next: {} install cursor"),
        (["doctor"], "Next: Run `{} install cursor`."),
        (["instal"], "Try: {} --help"),
        (["doctor", "--jsn"], "Try: {} doctor --help"),
    ],
)
def test_what_comes_next_can_be_typed_as_it_stands(words: list[str], last: str, tmp_path: Path) -> None:
    (tmp_path / ".cursor").mkdir()
    done = subprocess.run(
        [sys.executable, "-m", "reflexio_mcp", *words],
        env={"HOME": str(tmp_path), "PATH": "/usr/bin:/bin"},
        capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    said = (done.stdout + done.stderr).splitlines()[-1]
    assert said == last.format(f"{sys.executable} -m reflexio_mcp")


def test_each_systems_shell_can_take_the_command() -> None:
    words = ["C:\\Tools\\reflexio-mcp.exe", "--name", "my mem"]
    assert joined(words, windows=True) == 'C:\\Tools\\reflexio-mcp.exe --name "my mem"'
    assert joined(["/opt/a b/reflexio-mcp"], windows=False) == "'/opt/a b/reflexio-mcp'"
