"""Lint, format, types and lock files, each in its own process: `python3 scripts/check.py`."""

import sys
import time

import bootstrap

CHECKS = {
    "lint": ["ruff", "check", "."],
    "format": ["ruff", "format", "--check", "."],
    "types": ["pyright"],
    "lock files": ["scripts/lock.py", "--check"],
}


def main() -> int:
    python = bootstrap.ensure("dev", folder=".venv-dev")
    failed: list[str] = []
    for name, command in CHECKS.items():
        begun = time.monotonic()
        head = [python] if command[0].endswith(".py") else [python, "-m"]
        code = bootstrap.run([*head, *command])
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
