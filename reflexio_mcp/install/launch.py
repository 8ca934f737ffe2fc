"""The command that a client runs: absolute, because a client started from a dock has almost no PATH."""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import url2pathname

from reflexio_mcp.install.errors import InstallError

__all__ = ["Launch", "as_called", "find_launch", "installed_from", "joined", "without_login"]

COMMAND = "reflexio-mcp"


@dataclass(frozen=True, slots=True)
class Launch:
    """A program and what it is given."""

    command: str
    args: tuple[str, ...] = ()


def find_launch(
    *,
    python: str = sys.executable,
    prefix: str = sys.prefix,
    env: Mapping[str, str] | None = None,
    source: str | None = None,
) -> Launch:
    """How to start this installation from anywhere.

    Args:
        python: the interpreter that runs now.
        prefix: its environment.
        env: where `PATH`, `UV` and the caches are named; the process's own when `None`.
        source: where this copy was installed from, empty for the package index; looked up when `None`.

    Raises:
        InstallError: this copy lives in a cache that is thrown away, and what made it is not found.
    """
    env = os.environ if env is None else env
    runner = _temporary(Path(prefix), env)
    if runner:
        source = installed_from() if source is None else source
        found = _tool(runner, env)
        if not found:
            raise InstallError(
                f"This copy runs from {runner}'s cache and {runner} was not found. "
                f"Install it to stay, for example with `uv tool install {source or COMMAND}`, and run this again."
            )
        if runner == "uvx":
            return Launch(found, ("--from", source, COMMAND) if source else (COMMAND,))
        return Launch(found, ("run", "--spec", source, COMMAND) if source else ("run", COMMAND))
    for folder in _script_folders(python):
        script = folder / (COMMAND + (".exe" if os.name == "nt" else ""))
        if script.is_file():
            return Launch(str(script))
    # -P: a file named like one of ours in the client's working folder is not imported.
    return Launch(python, ("-P", "-m", "reflexio_mcp"))


def as_called(
    *,
    words: Sequence[str] = sys.orig_argv,
    python: str = sys.executable,
    prefix: str = sys.prefix,
    env: Mapping[str, str] | None = None,
    source: str | None = None,
) -> str:
    """What to type to run this program again: its name where a shell finds this copy by it, else what was typed.

    Args:
        words: the command line of this process, that of its interpreter.
        python, prefix, env, source: as for `find_launch`.
    """
    env = os.environ if env is None else env
    if runner := _temporary(Path(prefix), env):  # whose PATH is gone afterwards
        source = installed_from() if source is None else source
        run, flag = (["uvx"], "--from") if runner == "uvx" else (["pipx", "run"], "--spec")
        return joined([*run, *([flag, source] if source else []), COMMAND])
    typed = _typed(words)
    if not typed:
        return COMMAND
    found = shutil.which(COMMAND, path=env.get("PATH")) or ""
    copies = [typed[0], *(str(folder / Path(found).name) for folder in _script_folders(python))]
    if found and os.path.realpath(found) in map(os.path.realpath, copies):
        return COMMAND
    return joined(typed)


def joined(words: Sequence[str], *, windows: bool = os.name == "nt") -> str:
    """Words as a shell takes them: on Windows with double quotes, and only around blanks."""
    return subprocess.list2cmdline(words) if windows else shlex.join(words)


def _typed(words: Sequence[str]) -> Sequence[str]:
    """The words that started this program; none where another program uses this package."""
    for at, word in enumerate(words):
        if word == "-m":
            return words[: at + 2] if words[at + 1 : at + 2] == ["reflexio_mcp"] else []
        if at and not word.startswith("-"):
            return [word] if Path(word).name.removesuffix(".exe") == COMMAND else []
    return []


def _script_folders(python: str) -> list[Path]:
    """Where this interpreter's commands are: beside it, except for one that serves the whole system."""
    folders = [Path(python).parent]
    if python == sys.executable:
        folders.append(Path(sysconfig.get_path("scripts")))
        folders.append(Path(sysconfig.get_path("scripts", f"{os.name}_user")))
    return folders


def installed_from() -> str:
    """The folder, file or repository that this copy was installed from; empty for the package index.

    A password or token in its address is left out: the result is shown, and written into clients' files.
    """
    from importlib.metadata import PackageNotFoundError, distribution

    try:
        told = json.loads(distribution(COMMAND).read_text("direct_url.json") or "{}")
    except (PackageNotFoundError, ValueError):
        return ""
    url = without_login(str(told.get("url", "")))
    if vcs := told.get("vcs_info"):
        revision = vcs.get("requested_revision", "")
        return f"{vcs.get('vcs', 'git')}+{url}" + (f"@{revision}" if revision else "")
    return url2pathname(urlsplit(url).path) if url.startswith("file:") else url


def without_login(url: str) -> str:
    """An address without the name and password in it; of one for SSH the name stays, which it needs."""
    scheme, _, rest = url.partition("://")
    authority = re.split(r"[/?#]", rest, maxsplit=1)[0]
    login, _, host = authority.rpartition("@")
    if not login:
        return url
    name = f"{login.partition(':')[0]}@" if scheme.endswith("ssh") else ""
    return f"{scheme}://{name}{host}{rest.removeprefix(authority)}"


def _temporary(prefix: Path, env: Mapping[str, str]) -> str:
    """What made a temporary environment: `uvx`, `pipx` or nothing."""
    cache = env.get("UV_CACHE_DIR", "")
    parts = prefix.parts
    if (cache and Path(cache) in prefix.parents) or any(
        part.startswith(("archive-v", "environments-v", "builds-v")) for part in parts
    ):
        return "uvx"
    return "pipx" if "pipx" in parts and ".cache" in parts else ""


def _tool(name: str, env: Mapping[str, str]) -> str:
    beside = Path(env["UV"]).with_name("uvx.exe" if os.name == "nt" else "uvx") if env.get("UV") else None
    if name == "uvx" and beside is not None and beside.is_file():
        return str(beside)
    found = shutil.which(name, path=env.get("PATH"))
    return str(Path(found).absolute()) if found else ""
