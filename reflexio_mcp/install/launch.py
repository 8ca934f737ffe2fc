"""How a client starts this installation, with almost no PATH."""

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
from importlib import metadata
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit
from urllib.request import url2pathname

from reflexio_mcp.install.files import InstallError

__all__ = ["COMMAND", "Launch", "find_launch", "installed_from", "joined"]

COMMAND: Final = "reflexio-mcp"
_RUNNERS: Final[dict[str, tuple[tuple[str, ...], str]]] = {
    "uvx": ((), "--from"),
    "pipx": (("run",), "--spec"),
}
"""What runs a package from a cache, with its words before the package and its flag for another source."""


@dataclass(frozen=True, slots=True)
class Launch:
    """A program and its arguments."""

    command: str
    args: tuple[str, ...] = ()


def find_launch(
    *, python: str = sys.executable, prefix: str = sys.prefix, env: Mapping[str, str] = os.environ
) -> Launch:
    """How a client starts this installation: by an absolute path.

    Args:
        python: the interpreter that runs now.
        prefix: its environment.
        env: the variables that `PATH`, `UV` and `UV_CACHE_DIR` are read from.

    Raises:
        InstallError: this copy is in a cache that is thrown away, and the program that made it is not found.
    """
    if runner := _runner(Path(prefix), env):
        source = installed_from()
        beside_uv = [str(Path(env["UV"]).parent)] if env.get("UV") else []
        found = shutil.which(runner, path=os.pathsep.join([*beside_uv, env.get("PATH", "")]))
        if not found:
            raise InstallError(
                f"This copy runs from {runner}'s cache and {runner} was not found. "
                f"Install it to stay, for example with `uv tool install {source or COMMAND}`, and run this again."
            )
        words, flag = _RUNNERS[runner]
        return Launch(str(Path(found).absolute()), (*words, *((flag, source) if source else ()), COMMAND))
    for folder in _script_folders(python):
        script = folder / (COMMAND + (".exe" if os.name == "nt" else ""))
        if script.is_file():
            return Launch(str(script))
    # -P: a file named like a module of ours in the client's working folder is not imported.
    return Launch(python, ("-P", "-m", "reflexio_mcp"))


def joined(words: Sequence[str], *, windows: bool = os.name == "nt") -> str:
    """Words as a shell takes them: on Windows with double quotes, and only around blanks."""
    return subprocess.list2cmdline(words) if windows else shlex.join(words)


def installed_from() -> str:
    """The folder, file or repository that this copy was installed from; empty for the package index.

    A password or token in its address is left out: the result is shown, and written into clients' files.
    """
    try:
        record = json.loads(metadata.distribution(COMMAND).read_text("direct_url.json") or "{}")
    except (metadata.PackageNotFoundError, ValueError):
        return ""
    url = str(record.get("url", ""))
    # The name in an SSH address is needed; in any other address it may be a token.
    url = re.sub(r"//([^/?#@:]*)[^/?#]*@", r"//\1@" if "ssh://" in url else "//", url)
    if vcs := record.get("vcs_info"):
        revision = vcs.get("requested_revision", "")
        return f"{vcs.get('vcs', 'git')}+{url}" + (f"@{revision}" if revision else "")
    return url2pathname(urlsplit(url).path) if url.startswith("file:") else url


def _script_folders(python: str) -> list[Path]:
    """Where this interpreter's commands are: beside it, except for one that serves the whole system."""
    folders = [Path(python).parent]
    if python == sys.executable:
        folders.append(Path(sysconfig.get_path("scripts")))
        folders.append(Path(sysconfig.get_path("scripts", f"{os.name}_user")))
    return folders


def _runner(prefix: Path, env: Mapping[str, str]) -> str:
    """The program that made a temporary environment: `uvx`, `pipx` or none."""
    cache = env.get("UV_CACHE_DIR", "")
    made_by_uv = re.search(r"[/\\](archive|environments|builds)-v", str(prefix))
    if made_by_uv or (cache and Path(cache) in prefix.parents):
        return "uvx"
    return "pipx" if {"pipx", ".cache"} <= set(prefix.parts) else ""
