"""Lint, format, types, lock files and the Dockerfile, each in its own process: `python3 scripts/check.py`."""

import subprocess
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import bootstrap


def main() -> int:
    python = bootstrap.ensure("dev", folder=".venv-dev")
    checks = {
        "lint": [python, "-m", "ruff", "check", "."],
        "format": [python, "-m", "ruff", "format", "--check", "."],
        "types": [python, "-m", "pyright", "--pythonpath", python],
        "lock files": [python, "scripts/lock.py", "--check"],
    }
    if sys.platform != "win32":  # hadolint has no package there
        checks["Dockerfile"] = [Path(python).with_name("hadolint"), "packaging/docker/Dockerfile"]
    # All at once: the types alone take longer than the rest.
    with ThreadPoolExecutor(len(checks)) as beside:
        done = dict(zip(checks, beside.map(_made, checks.values()), strict=True))
    for name, (code, said, took) in done.items():
        print(f"{said}{name}: {'ok' if code == 0 else 'FAILED'} ({took:.1f} s)", flush=True)
    return 1 if any(code for code, _, _ in done.values()) else 0


def _made(command: Sequence[str | Path]) -> tuple[int, str, float]:
    """The exit code of a check, what it said, and how long it took."""
    begun = time.monotonic()
    done = subprocess.run(
        [str(part) for part in command],
        cwd=bootstrap.ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
        errors="replace",
        check=False,
    )
    return done.returncode, done.stdout, time.monotonic() - begun


if __name__ == "__main__":
    bootstrap.require_python()
    try:
        sys.exit(main())
    except bootstrap.SetupError as error:
        sys.exit(str(error))
