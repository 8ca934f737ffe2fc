"""Run an HTTP server as a process."""

import os
import socket
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

SECONDS = 60


def free_port() -> int:
    """A port of 127.0.0.1 that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


@contextmanager
def serving(command: Sequence[str | Path], home: Path, port: int = 0, **variables: str) -> Iterator[str]:
    """Start a server, yield its address without a path once it listens, and end it.

    Args:
        command: its words, without the port that goes last.
        home: an existing folder that stands for the user's.
        port: where it listens; a free one by default.
        variables: its configuration; none of the caller's own reaches it.

    Raises:
        RuntimeError: it did not start, ended with an error or logged a traceback.
    """
    port = port or free_port()
    env = {key: value for key, value in os.environ.items() if not key.startswith("REFLEXIO_")}
    log = home / f"server-{port}.log"
    with (
        log.open("wb") as output,
        subprocess.Popen(
            [*map(str, command), str(port)], cwd=home, env=env | {"HOME": str(home)} | variables,
            stdout=output, stderr=output,
        ) as process,
    ):  # fmt: skip
        try:
            _wait(port, process)
            yield f"http://127.0.0.1:{port}"
            process.terminate()
            code = process.wait(timeout=30)
        finally:
            process.kill()
    said = log.read_text(encoding="utf-8", errors="replace")
    if code or "Traceback" in said:
        raise RuntimeError(f"the server ended with exit code {code}:\n{said[-4000:]}")


def _wait(port: int, process: "subprocess.Popen[bytes]") -> None:
    limit = time.monotonic() + SECONDS
    while time.monotonic() < limit and process.poll() is None:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        except OSError:
            time.sleep(0.05)
    raise RuntimeError("the server did not start")
