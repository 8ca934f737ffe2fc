"""Run this project's HTTP server as a process."""

import os
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from bootstrap import SetupError

SECONDS = 60


def free_port() -> int:
    """A port of 127.0.0.1 that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


@contextmanager
def serving(
    command: Sequence[str | Path], home: Path, *options: str, port: int = 0, **variables: str
) -> Iterator[str]:
    """Start the server, yield its address without a path once it is ready, and end it.

    Args:
        command: what runs `reflexio-mcp`.
        home: an existing folder that stands for the user's.
        options: of `serve`.
        port: where it listens; a free one by default.
        variables: its configuration; none of the caller's own reaches it.

    Raises:
        SetupError: it did not start, ended with an error or logged a traceback.
    """
    url = f"http://127.0.0.1:{port or (port := free_port())}"
    env = {key: value for key, value in os.environ.items() if not key.startswith("REFLEXIO_")}
    words = [*map(str, command), "serve", "--transport", "http", "--port", str(port), *options]
    log = home / f"server-{port}.log"
    with (
        log.open("wb") as output,
        subprocess.Popen(
            words, cwd=home, env=env | {"HOME": str(home)} | variables, stderr=output
        ) as process,
    ):
        try:
            _wait(f"{url}/ready", process)
            yield url
            process.terminate()
            code = process.wait(timeout=30)
        finally:
            process.kill()
    said = log.read_text(encoding="utf-8", errors="replace")
    if code or "Traceback" in said:
        raise SetupError(f"the server ended with exit code {code}:\n{said[-4000:]}")


def _wait(url: str, process: "subprocess.Popen[bytes]") -> None:
    limit = time.monotonic() + SECONDS
    while time.monotonic() < limit and process.poll() is None:
        try:
            with urllib.request.urlopen(url, timeout=5):
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.1)
    raise SetupError("the server did not get ready")
