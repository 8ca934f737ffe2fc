"""Set up a virtual environment for this checkout, with the standard library alone.

`demo.py`, `test.py` and `check.py` call `ensure` and run in what it returns. The environment holds exactly
what a lock file in `requirements/` names, and this checkout in editable form; it is used again for as long
as the lock file, `pyproject.toml` and the interpreter stay the same.

Works where `ensurepip` is missing (Debian's `python3` without `python3-venv`): pip installs into an
environment from outside it.
"""

from __future__ import annotations  # an older Python must get as far as `require_python`

import hashlib
import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path

MINIMUM = (3, 11)
ROOT = Path(__file__).resolve().parent.parent
REQUIREMENTS = ROOT / "requirements"

# Each lock contains the ones before it, so a fuller environment serves a smaller need.
LOCKS = ("run", "server", "test", "dev")


class SetupError(Exception):
    """Set-up cannot go on; the text says what to do."""


def require_python() -> None:
    """Leave with one sentence where the interpreter is older than the package allows."""
    if sys.version_info[:2] < MINIMUM:
        wanted = "{}.{}".format(*MINIMUM)
        sys.exit(
            f"Python {wanted} or newer is needed, this is {_version()}: try python{wanted} {sys.argv[0]}"
        )


def main(lock: str, *arguments: str) -> None:
    """Run the environment's Python with `arguments` and the command line's, then leave with its exit code."""
    require_python()
    try:
        python = ensure(lock)
    except SetupError as error:
        sys.exit(str(error))
    except KeyboardInterrupt:
        sys.exit(130)
    sys.exit(run([python, *arguments, *sys.argv[1:]]))


def ensure(lock: str = "run") -> Path:
    """Return the interpreter of an environment that holds `lock`, made or brought up to date where needed.

    It is `.venv-dev` for the `dev` lock and `.venv` for the others, unless `.venv-dev` serves them.

    Raises:
        SetupError: no environment could be made; the text says why and what to do.
    """
    serving = LOCKS[LOCKS.index(lock) :]  # this lock and the fuller ones
    wanted = [_state(fuller) for fuller in serving]
    for home in (ROOT / ".venv-dev", ROOT / ".venv"):
        python, stamp = interpreter(home), home / "installed"
        if stamp.exists() and _runs(python) and stamp.read_text(encoding="utf-8") in wanted:
            return python
    home = ROOT / (".venv-dev" if lock == "dev" else ".venv")
    python, stamp = interpreter(home), home / "installed"
    _say(f"Setting up {home.name} with Python {_version()} (once, from the network) ...")
    _create(home)
    install = _installer(python)
    run_unseen([*install, "--require-hashes", "-r", str(REQUIREMENTS / f"{lock}.txt")])
    run_unseen([*install, "--no-deps", "-e", str(ROOT)])
    stamp.write_text(_state(lock), encoding="utf-8")
    _say(f"{home.name} is ready.")
    return python


def environment(home: Path, requirements: Path, *options: str, python: str = sys.executable) -> Path:
    """Return the interpreter of an environment with the packages of others, made by uv where it is needed.

    Args:
        home: its folder.
        requirements: the file that pins its packages.
        options: for `uv pip install`.
        python: the interpreter, or the versions that may be used.

    Raises:
        SetupError: it could not be made; the text says why.
    """
    stamp = home / "installed"
    wanted = hashlib.sha256(requirements.read_bytes() + sys.version.encode()).hexdigest()
    if not stamp.exists() or stamp.read_text(encoding="utf-8") != wanted:
        uv = [str(ensure("dev")), "-m", "uv", "--quiet"]
        run_unseen([*uv, "venv", "--clear", "--python", python, str(home)])
        inside = ["--python", str(interpreter(home))]
        run_unseen([*uv, "pip", "install", *inside, *options, "-r", str(requirements)])
        stamp.write_text(wanted, encoding="utf-8")
    return interpreter(home)


def interpreter(home: Path) -> Path:
    """The interpreter of the environment in a folder."""
    return home / ("Scripts/python.exe" if os.name == "nt" else "bin/python")


def run(words: list[str | Path]) -> int:
    """Run a command before the person's eyes, in the checkout's top folder, and return its exit code.

    Ctrl-C goes to the command.
    """
    with subprocess.Popen([str(part) for part in words], cwd=ROOT) as process:
        while True:
            try:
                return process.wait()
            except KeyboardInterrupt:
                continue  # the terminal sent it to the command as well, which ends in its own way


def _version() -> str:
    return "{}.{}.{}".format(*sys.version_info[:3])


def _state(lock: str) -> str:
    """What an environment is made from: this Python, this folder, and the files that name its packages."""
    # `python3` and `python3.11` are often one program.
    program = os.path.realpath(getattr(sys, "_base_executable", sys.executable))
    digest = hashlib.sha256(f"{sys.implementation.cache_tag} {program} {ROOT}".encode())
    for path in (ROOT / "pyproject.toml", REQUIREMENTS / f"{lock}.txt"):
        digest.update(path.read_bytes())
    return digest.hexdigest()


def _runs(python: Path) -> bool:
    try:
        return subprocess.run([str(python), "-c", ""], capture_output=True, check=False).returncode == 0
    except OSError:
        return False


def _create(home: Path) -> None:
    try:
        import venv

        shutil.rmtree(home, ignore_errors=True)
        venv.EnvBuilder(symlinks=os.name != "nt", with_pip=False).create(home)
    except (ImportError, OSError, subprocess.SubprocessError) as error:
        raise SetupError(f"no virtual environment could be made in {home}: {error}") from error


def _installer(python: Path) -> list[str]:
    """The first of the ways to install into `python` that this machine has, as the head of a command."""
    quiet = ["install", "--quiet", "--no-input", "--disable-pip-version-check"]
    into = ["--python", str(python)]
    found = shutil.which("uv")
    if found:
        return [found, "pip", "install", "--quiet", *into]
    if importlib.util.find_spec("pip"):
        return [sys.executable, "-m", "pip", *into, *quiet]
    if importlib.util.find_spec("ensurepip"):
        bundled = subprocess.run([str(python), "-m", "ensurepip"], capture_output=True, check=False)
        if bundled.returncode == 0:
            return [str(python), "-m", "pip", *quiet]
    for name in ("pip3", "pip"):
        found = shutil.which(name)
        if found:
            return [found, *into, *quiet]
    raise SetupError(
        "no pip was found for this Python: install it (Debian and Ubuntu: apt install python3-pip;"
        " elsewhere: python -m ensurepip) and run this again"
    )


def run_unseen(words: list[str], cwd: Path = ROOT) -> None:
    """Run a command of the set-up, and show what it prints only if it fails.

    Raises:
        SetupError: it failed; the text has what it printed.
    """
    # Settings of another Python or environment must not reach this one.
    foreign = {"PYTHONHOME", "PYTHONPATH", "VIRTUAL_ENV"}
    done = subprocess.run(
        words,
        cwd=cwd,
        env={key: value for key, value in os.environ.items() if key not in foreign},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
        errors="replace",
        check=False,
    )
    if done.returncode:
        shown = " ".join(words)[:200]
        raise SetupError(f"{shown} failed (exit code {done.returncode}):\n{done.stdout.strip()[-2000:]}")


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
