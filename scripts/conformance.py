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
EXPECTED = bootstrap.ROOT / "tests" / "conformance"
START_SECONDS = 60.0
SUITE_SECONDS = 180.0


def main() -> int:
    bootstrap.require_python()
    try:
        python = bootstrap.ensure("run")
        node, modules = node_tools.ensure()
    except bootstrap.SetupError as error:
        print(error, file=sys.stderr)
        return 1
    suite = modules / "@modelcontextprotocol" / "conformance" / "dist" / "index.js"
    failed = False
    with tempfile.TemporaryDirectory() as folder, _serving(python, Path(folder)) as url:
        for revision in REVISIONS:
            begun = time.monotonic()
            done = subprocess.run(
                [
                    *(
                        str(node),
                        str(suite),
                        "server",
                        "--url",
                        url,
                        "--suite",
                        "all",
                        "--spec-version",
                        revision,
                    ),
                    *("--expected-failures", str(EXPECTED / f"{revision}.yml"), "-o", f"{folder}/{revision}"),
                ],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                encoding="utf-8",
                errors="replace",
                timeout=SUITE_SECONDS,
                check=False,
            )
            lines = done.stdout.splitlines()
            if done.returncode:
                failed = True
                print("\n".join(lines[-80:]))
            total = next((line for line in lines if line.startswith("Total:")), "no total")
            verdict = "ok" if done.returncode == 0 else f"FAILED with exit code {done.returncode}"
            print(
                f"conformance {revision}: {verdict} ({total}; {time.monotonic() - begun:.0f} s)", flush=True
            )
    return 1 if failed else 0


@contextmanager
def _serving(python: Path, home: Path) -> Iterator[str]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    env = {key: value for key, value in os.environ.items() if not key.startswith("REFLEXIO_")}
    env |= {"HOME": str(home), "REFLEXIO_MCP_STORE": str(home / "store.db")}
    log = home / "stderr.txt"
    command = [str(python), "-m", "reflexio_mcp", "serve", "--transport", "http", "--port", str(port)]
    # The suite sends no token.
    command.append("--unsafe-no-auth")
    with (
        log.open("wb") as stderr,
        subprocess.Popen(command, cwd=bootstrap.ROOT, env=env, stderr=stderr) as process,
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
    limit = time.monotonic() + START_SECONDS
    while time.monotonic() < limit and process.poll() is None:
        try:
            with urllib.request.urlopen(url, timeout=5):
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.1)
    raise SystemExit("the server did not get ready")


if __name__ == "__main__":
    sys.exit(main())
