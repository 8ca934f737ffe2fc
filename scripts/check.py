"""Lint, format, types and lock files, each in its own process: `python3 scripts/check.py`."""

import sys
import time

import bootstrap


def main() -> int:
    python = bootstrap.ensure("dev", folder=".venv-dev")
    checks = {
        "lint": ["-m", "ruff", "check", "."],
        "format": ["-m", "ruff", "format", "--check", "."],
        "types": ["-m", "pyright", "--pythonpath", python],
        "lock files": ["scripts/lock.py", "--check"],
    }
    failed: list[str] = []
    for name, command in checks.items():
        begun = time.monotonic()
        code = bootstrap.run([python, *command])
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
