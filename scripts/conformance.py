"""The official MCP conformance suite against `/mcp` of a real process: `python3 scripts/conformance.py`.

Both protocol revisions. `tests/conformance/REVISION.yml` names the scenarios that need the suite's own test tools,
resources and prompts; any other failure, and any of those that passes by now, ends with exit code 1.
"""

import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import bootstrap
import node_tools

REVISIONS = ("2025-11-25", "2026-07-28")
SUITE = Path("@modelcontextprotocol", "conformance", "dist", "index.js")


def main() -> int:
    try:
        python = bootstrap.ensure("run")
        node, modules = node_tools.ensure()
    except bootstrap.SetupError as error:
        sys.exit(str(error))
    failed = False
    with tempfile.TemporaryDirectory() as folder, _serving(python, Path(folder)) as url:
        for revision in REVISIONS:
            known = bootstrap.ROOT / "tests" / "conformance" / f"{revision}.yml"
            words = ["--suite", "all", "--spec-version", revision, "--expected-failures", str(known)]
            done = subprocess.run(
                [str(node), str(modules / SUITE), "server", "--url", url, *words, "-o", f"{folder}/{revision}"],
                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                encoding="utf-8", errors="replace", timeout=180, check=False,
            )  # fmt: skip
            lines = done.stdout.splitlines()
            if done.returncode:
                failed = True
                print("\n".join(lines[-80:]))
            total = next((line for line in lines if line.startswith("Total:")), "no total")
            print(f"conformance {revision}: {'FAILED' if done.returncode else 'ok'} ({total})", flush=True)
    return 1 if failed else 0


@contextmanager
def _serving(python: Path, home: Path) -> Iterator[str]:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    env = {key: value for key, value in os.environ.items() if not key.startswith("REFLEXIO_")}
    env |= {"HOME": str(home), "REFLEXIO_MCP_STORE": str(home / "store.db")}
    log = home / "stderr.txt"
    # The suite sends no token.
    words = ["serve", "--transport", "http", "--port", str(port), "--unsafe-no-auth"]
    with (
        log.open("wb") as stderr,
        subprocess.Popen(
            [str(python), "-m", "reflexio_mcp", *words], cwd=bootstrap.ROOT, env=env, stderr=stderr
        ) as process,
    ):
        try:
            _wait(f"http://127.0.0.1:{port}/ready", process)
            yield f"http://127.0.0.1:{port}/mcp"
            process.send_signal(signal.SIGTERM)
            code = process.wait(timeout=30)
            said = log.read_text(encoding="utf-8", errors="replace")
            if code or "Traceback" in said:
                raise SystemExit(f"the server ended with exit code {code}:\n{said[-4000:]}")
        finally:
            process.kill()


def _wait(url: str, process: subprocess.Popen[bytes]) -> None:
    limit = time.monotonic() + 60
    while time.monotonic() < limit and process.poll() is None:
        try:
            with urllib.request.urlopen(url, timeout=5):
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.1)
    raise SystemExit("the server did not get ready")


if __name__ == "__main__":
    bootstrap.require_python()
    sys.exit(main())
