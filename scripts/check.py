"""Lint, format, types, lock files and the Dockerfile, each in its own process: `python3 scripts/check.py`."""

import sys
import time
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
    failed: list[str] = []
    for name, command in checks.items():
        begun = time.monotonic()
        code = bootstrap.run(command)
        print(f"{name}: {'ok' if code == 0 else 'FAILED'} ({time.monotonic() - begun:.1f} s)", flush=True)
        if code:
            failed.append(name)
    return 1 if failed else 0


if __name__ == "__main__":
    bootstrap.require_python()
    try:
        sys.exit(main())
    except bootstrap.SetupError as error:
        sys.exit(str(error))
