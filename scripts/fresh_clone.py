"""Try the README's two commands as a new user would: `python3 scripts/fresh_clone.py [PYTHON ...]`.

For each interpreter: a fresh clone of what is committed, an empty home, a PATH with the system's folders alone. How
packages are reached (a proxy, an index, certificates) is this machine's business and is passed on. With `--tests` the
second command runs the whole suite, as it does for a user; without it a quick part of it.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import bootstrap
from bootstrap import ROOT

PASSED_ON = ("PIP_", "UV_", "SSL_CERT", "REQUESTS_CA", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY")
QUICK = ("tests/test_settings.py", "tests/test_mcp_json_example.py", "tests/install")
SECONDS = 1800


def environment(home: Path) -> dict[str, str]:
    """An empty home and a minimal PATH."""
    env = {name: value for name, value in os.environ.items() if name.upper().startswith(PASSED_ON)}
    return env | {"HOME": str(home), "PATH": "/usr/bin:/bin", "PIP_CACHE_DIR": str(home / "cache")}


def attempt(python: str, clone: Path, home: Path, *command: str) -> bool:
    """Run one command in the clone and say how it went."""
    begun = time.monotonic()
    done = subprocess.run(
        [python, *command], cwd=clone, env=environment(home), stdin=subprocess.DEVNULL,
        capture_output=True, encoding="utf-8", errors="replace", timeout=SECONDS, check=False,
    )  # fmt: skip
    last = (done.stdout.strip().splitlines() or done.stderr.strip().splitlines() or ["(nothing)"])[-1]
    verdict = "ok" if done.returncode == 0 else f"FAILED with exit code {done.returncode}"
    print(f"{python} {' '.join(command)}: {verdict} ({time.monotonic() - begun:.0f} s): {last}", flush=True)
    if done.returncode:
        print(done.stdout[-3000:] + done.stderr[-3000:])
    return done.returncode == 0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("python", nargs="*", default=[sys.executable], help="interpreters to try")
    parser.add_argument("--tests", action="store_true", help="run the whole suite, as the README does")
    options = parser.parse_args()
    good = True
    for python in options.python:
        with tempfile.TemporaryDirectory() as scratch:
            clone, home = Path(scratch) / "clone", Path(scratch) / "home"
            home.mkdir()
            subprocess.run(["git", "clone", "--quiet", str(ROOT), str(clone)], check=True)
            good &= attempt(python, clone, home, "scripts/demo.py")
            good &= attempt(
                python, clone, home, "scripts/test.py", *(() if options.tests else ("-q", *QUICK))
            )
    return 0 if good else 1


if __name__ == "__main__":
    bootstrap.require_python()
    sys.exit(main())
