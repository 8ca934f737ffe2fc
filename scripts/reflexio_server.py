"""Install and start the real Reflexio server, for the tests that compare the embedded store with it.

    python3 scripts/reflexio_server.py install
    python3 scripts/reflexio_server.py run --port 8061
    python3 scripts/reflexio_server.py run --port 8061 --model http://127.0.0.1:8292/v1

Without `--model` it learns nothing, because no language model can be reached. With the address of an
OpenAI-compatible endpoint it learns from what is published.

It lives in an environment of its own, never in the project's: `.cache/reflexio-server`, or the folder that
`REFLEXIO_SERVER_CACHE` names. Needs Python 3.12 or newer somewhere on the machine, found by itself, and some
400 MB. The packages come from `requirements/reflexio-server.txt`. To renew that file, resolve the new version
with `uv pip compile --universal --python-version 3.12 --override EXCLUDED`, where EXCLUDED names each of
torch, sentence-transformers, transformers, hdbscan, onnxruntime, braintrust, gepa, xlsxwriter and einops
with the marker `python_version < "3"`.
"""

from __future__ import annotations  # an older Python must get as far as a clear message

import argparse
import contextlib
import hashlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ROOT / "requirements" / "reflexio-server.txt"
MINIMUM = (3, 12)
INTERPRETERS = ("python3.13", "python3.12", "python3.14", "python3", "python")
READY_SECONDS = 90.0
STOP_SECONDS = 15.0
LOG_NAME = "server.log"


class ServerError(Exception):
    """The server could not be installed or started; the text says why and what to do."""


def cache_folder() -> Path:
    """Where the server's environment is kept between runs."""
    return Path(os.environ.get("REFLEXIO_SERVER_CACHE") or ROOT / ".cache" / "reflexio-server")


def installed(cache: Path | None = None) -> Path | None:
    """The interpreter of a complete and current installation, `None` when there is none."""
    folder = cache or cache_folder()
    python = _python_of(folder)
    try:
        stamp = json.loads((folder / "installed.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return python if stamp.get("packages") == _digest() and _version(str(python)) else None


def install(cache: Path | None = None) -> Path:
    """Install the server unless it is there, and return the interpreter that runs it.

    Raises:
        ServerError: no suitable Python, no installer, or the installation failed.
    """
    folder = cache or cache_folder()
    if python := installed(folder):
        return python
    interpreter = find_interpreter()
    print(f"Installing the Reflexio server into {folder} (400 MB, once) ...", file=sys.stderr, flush=True)
    shutil.rmtree(folder, ignore_errors=True)
    folder.parent.mkdir(parents=True, exist_ok=True)
    _run([interpreter, "-m", "venv", "--without-pip", str(folder)], "making its environment")
    python = _python_of(folder)
    _run([*_installer(python), "--no-deps", "-r", str(PACKAGES)], "installing its packages")
    (folder / "installed.json").write_text(json.dumps({"packages": _digest()}), encoding="utf-8")
    return python


def find_interpreter() -> str:
    """A Python that is new enough, from this one, the PATH and pyenv.

    Raises:
        ServerError: there is none.
    """
    candidates = [sys.executable]
    for name in INTERPRETERS:
        for folder in os.get_exec_path():
            found = shutil.which(name, path=folder)
            if found:
                candidates.append(found)
    pyenv = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv") / "versions"
    candidates += [str(path) for path in sorted(pyenv.glob("3.*/bin/python"), reverse=True)]
    for candidate in dict.fromkeys(candidates):
        if _version(candidate) >= MINIMUM:
            return candidate
    raise ServerError(
        "The Reflexio server needs Python {}.{} or newer and none was found."
        " Install one, for instance python3.13, and run this again.".format(*MINIMUM)
    )


def start(port: int, home: Path, python: Path | None = None, *, model: str = "") -> subprocess.Popen[bytes]:
    """Start the server on 127.0.0.1 with its data in `home`, and return when it answers.

    Args:
        port: where it listens.
        home: an existing folder for its database and its log; empty for a fresh server.
        python: the interpreter `install` returned.
        model: the OpenAI-compatible endpoint it learns with; it learns nothing when this is empty.

    Raises:
        ServerError: it is not installed, ended at once, or did not answer within 90 s.
    """
    python = python or installed()
    if python is None:
        raise ServerError(
            "The Reflexio server is not installed: run python3 scripts/reflexio_server.py install"
        )
    log = home / LOG_NAME
    with log.open("wb") as output:
        process = subprocess.Popen(
            [str(python), "-m", "reflexio.server", "--host", "127.0.0.1", "--port", str(port)],
            cwd=home,
            env=_environment(python, home) | (_learning(model, home) if model else {}),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        _wait_until_ready(process, port, log)
    except BaseException:
        stop(process)
        raise
    return process


def stop(process: subprocess.Popen[bytes]) -> None:
    """End the server and wait until it has ended, with the workers it forks for model calls."""
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
    process.wait()
    if os.name != "nt":
        # Workers that wait for a model outlive it; they are alone in the session that was made for it.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)


def free_port() -> int:
    """A port of 127.0.0.1 nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def _environment(python: Path, home: Path) -> dict[str, str]:
    # Nothing of the caller's, so that no key and no setting reaches it. The model address leads nowhere.
    tokenizers = next(python.parent.parent.glob("**/litellm/litellm_core_utils/tokenizers"), home)
    return {
        "PATH": os.defpath,
        "HOME": str(home),
        "OPENAI_API_KEY": "none",
        "OPENAI_API_BASE": "http://127.0.0.1:9",
        "LITELLM_LOCAL_MODEL_COST_MAP": "True",
        "TIKTOKEN_CACHE_DIR": str(tokenizers),
        **({"SYSTEMROOT": os.environ["SYSTEMROOT"]} if os.name == "nt" else {}),
    }


def _learning(model: str, home: Path) -> dict[str, str]:
    # A model call runs in a forked child, where a garbage collection can wait for a lock that nobody holds any more:
    # one call in twenty then hangs until its time is over.
    site = home / "site"
    site.mkdir(exist_ok=True)
    (site / "sitecustomize.py").write_text(
        "import gc, os\nos.register_at_fork(after_in_child=gc.disable)\n", encoding="utf-8"
    )
    return {
        "OPENAI_API_BASE": model,
        "PYTHONPATH": str(site),
        "REFLEXIO_GENERATION_TIMEOUT_SECONDS": "60",
        "REFLEXIO_DURABLE_LEARNING_POLL_SECONDS": "0.2",
    }


def _wait_until_ready(process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    deadline = time.monotonic() + READY_SECONDS
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise ServerError(
                f"The Reflexio server ended with code {process.returncode}:\n{_last_lines(log)}"
            )
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=2):
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.1)
    raise ServerError(f"The Reflexio server did not answer within {READY_SECONDS:.0f} s:\n{_last_lines(log)}")


def _last_lines(log: Path) -> str:
    return "\n".join(log.read_text(encoding="utf-8", errors="replace").splitlines()[-15:])


def _python_of(folder: Path) -> Path:
    return folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")


def _digest() -> str:
    return hashlib.sha256(PACKAGES.read_bytes()).hexdigest()


def _version(interpreter: str) -> tuple[int, ...]:
    """What this interpreter is; `()` when it does not run. A shim on the PATH may lead nowhere."""
    try:
        done = subprocess.run(
            [interpreter, "-c", "import sys, venv; print(*sys.version_info[:2])"],
            capture_output=True,
            encoding="utf-8",
            check=False,
        )
    except OSError:
        return ()
    return tuple(map(int, done.stdout.split())) if done.returncode == 0 else ()


def _installer(python: Path) -> list[str]:
    """The head of an install command into `python`: uv or any pip of this machine, or the bundled one."""
    uv = shutil.which("uv")
    if uv:
        return [uv, "pip", "install", "--quiet", "--python", str(python)]
    pip = ["--quiet", "--disable-pip-version-check", "--no-input"]
    for command in ([sys.executable, "-m", "pip"], ["pip3"], ["pip"]):
        if _succeeds([*command, "--version"]):
            return [*command, "--python", str(python), "install", *pip]
    if _succeeds([str(python), "-m", "ensurepip"]):
        return [str(python), "-m", "pip", "install", *pip]
    raise ServerError(
        "No pip was found: install it (Debian and Ubuntu: apt install python3-pip) and run this again."
    )


def _succeeds(command: list[str]) -> bool:
    try:
        return subprocess.run(command, capture_output=True, check=False).returncode == 0
    except OSError:
        return False


def _run(command: list[str], what: str) -> None:
    foreign = {"PYTHONHOME", "PYTHONPATH", "VIRTUAL_ENV"}
    done = subprocess.run(
        command,
        env={name: value for name, value in os.environ.items() if name not in foreign},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
        errors="replace",
        check=False,
    )
    if done.returncode:
        raise ServerError(f"{what} failed (exit code {done.returncode}):\n{done.stdout.strip()[-2000:]}")


def main() -> int:
    parser = argparse.ArgumentParser(description="Install or run the real Reflexio server for tests.")
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("install", help="install it, unless it is there")
    run = commands.add_parser("run", help="run it until Ctrl-C")
    run.add_argument("--port", type=int, default=8061)
    run.add_argument(
        "--model", default="", help="OpenAI-compatible endpoint to learn with, such as http://…/v1"
    )
    run.add_argument("--home", type=Path, help="keep its data here instead of in a throw-away folder")
    options = parser.parse_args()
    try:
        python = install()
        if options.command == "install":
            print(python)
            return 0
        with tempfile.TemporaryDirectory(prefix="reflexio-server-") as scratch:
            home = options.home or Path(scratch)
            home.mkdir(parents=True, exist_ok=True)
            signal.signal(
                signal.SIGTERM, lambda *_: sys.exit(143)
            )  # so that the server does not outlive this
            process = start(options.port, home, python, model=options.model)
            print(f"http://127.0.0.1:{options.port}", flush=True)
            try:
                return process.wait()
            finally:
                stop(process)
    except ServerError as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main())
