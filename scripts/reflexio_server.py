"""Install the real Reflexio server, for the tests that compare the embedded store with it.

    python3 scripts/reflexio_server.py install

Tests start it, with or without the address of an OpenAI-compatible endpoint: without one it learns nothing.

It has an environment of its own: `.cache/reflexio-server`, or the folder that `REFLEXIO_SERVER_CACHE` names. It needs
Python 3.12 or newer somewhere on the machine, which uv finds, and some 600 MB. The packages come from
`requirements/reflexio-server.txt`. To renew that file, resolve the new version, with scikit-learn and cloudpickle, with
`uv pip compile --universal --python-version 3.12 --override EXCLUDED`, where EXCLUDED names each of torch,
sentence-transformers, transformers, onnxruntime, braintrust, gepa, xlsxwriter and einops with the marker
`python_version < "3"`.
"""

import argparse
import contextlib
import hashlib
import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.append(str(ROOT))  # a test imports this module, a person runs it

from scripts import bootstrap  # noqa: E402

PACKAGES = ROOT / "requirements" / "reflexio-server.txt"
READY_SECONDS = 90.0
STOP_SECONDS = 15.0


class ServerError(Exception):
    """The server could not be installed or started; the text says why and what to do."""


def cache_folder() -> Path:
    """Where the server's environment is kept between runs."""
    return Path(os.environ.get("REFLEXIO_SERVER_CACHE") or ROOT / ".cache" / "reflexio-server")


def installed() -> Path | None:
    """The interpreter of a complete and current installation, `None` if there is none."""
    with contextlib.suppress(OSError, ValueError):
        stamp = json.loads((cache_folder() / "installed.json").read_text(encoding="utf-8"))
        if stamp.get("packages") == _digest():
            return bootstrap.interpreter(cache_folder())
    return None


def install() -> Path:
    """Install the server unless it is there, and return the interpreter that runs it.

    Raises:
        ServerError: the installation failed.
    """
    if python := installed():
        return python
    folder = cache_folder()
    print(f"Installing the Reflexio server into {folder} (600 MB, once) ...", file=sys.stderr, flush=True)
    try:
        python = bootstrap.environment(folder, PACKAGES, "--no-deps", python=">=3.12")
    except bootstrap.SetupError as error:
        raise ServerError(str(error)) from error
    (folder / "installed.json").write_text(json.dumps({"packages": _digest()}), encoding="utf-8")
    return python


def start(
    port: int, home: Path, python: Path | None = None, *, model: str = "", vectors: str = ""
) -> subprocess.Popen[bytes]:
    """Start the server on 127.0.0.1 with its data in `home`, and return when it answers.

    Args:
        port: where it listens.
        home: an existing folder for its database and its log; with nothing in it for a fresh server.
        python: the interpreter `install` returned.
        model: the OpenAI-compatible endpoint it learns with; it learns nothing if this is empty.
        vectors: the embedding service with which it makes shared rules; it makes none if this is empty.

    Raises:
        ServerError: it is not installed, ended at once, or did not answer within 90 s.
    """
    python = python or install()
    log = home / "server.log"
    env = _environment(python, home)
    if model:
        env |= _variables_to_learn(model, home)
    if vectors:
        env |= _variables_to_share(vectors)
    with log.open("wb") as output:
        process = subprocess.Popen(
            [str(python), "-m", "reflexio.server", "--host", "127.0.0.1", "--port", str(port)],
            cwd=home,
            env=env,
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


def _variables_to_learn(model: str, home: Path) -> dict[str, str]:
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


def _variables_to_share(vectors: str) -> dict[str, str]:
    # A run makes shared rules at most once an hour, unless it is told otherwise.
    return {"REFLEXIO_EMBEDDING_SERVICE_URL": vectors, "REFLEXIO_AGGREGATION_MIN_INTERVAL_SECONDS": "2"}


def _wait_until_ready(process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    deadline = time.monotonic() + READY_SECONDS
    while process.poll() is None and time.monotonic() < deadline:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=2):
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.1)
    happened = (
        f"did not answer within {READY_SECONDS:.0f} s"
        if process.returncode is None
        else f"ended with code {process.returncode}"
    )
    last_lines = "\n".join(log.read_text(encoding="utf-8", errors="replace").splitlines()[-15:])
    raise ServerError(f"The Reflexio server {happened}:\n{last_lines}")


def _digest() -> str:
    return hashlib.sha256(PACKAGES.read_bytes()).hexdigest()


if __name__ == "__main__":
    bootstrap.require_python()
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=["install"])
    parser.parse_args()
    try:
        print(install())
    except ServerError as error:
        sys.exit(str(error))
