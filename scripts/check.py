"""Lint, format, types, lock files, workflows and the Dockerfile, each in its own process.

`python3 scripts/check.py`
"""

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import bootstrap


def passes(name: str, command: list[str]) -> bool:
    """Run a check and print what it says."""
    done = subprocess.run(
        command, cwd=bootstrap.ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        encoding="utf-8", errors="replace", check=False,
    )  # fmt: skip
    print(f"{done.stdout}{name}: {'FAILED' if done.returncode else 'ok'}", flush=True)
    return done.returncode == 0


def main() -> int:
    try:
        program = bootstrap.ensure("dev")
    except bootstrap.SetupError as error:
        sys.exit(str(error))
    python = str(program)
    checks = {
        "lint": [python, "-m", "ruff", "check", "."],
        "format": [python, "-m", "ruff", "format", "--check", "."],
        "types": [python, "-m", "pyright", "--pythonpath", python],
        "lock files": [python, "scripts/lock.py", "--check"],
    }
    checks["workflows"] = [str(program.with_name("zizmor")), "--offline", "--quiet", ".github"]
    if sys.platform != "win32":  # hadolint has no package there
        checks["Dockerfile"] = [str(program.with_name("hadolint")), "packaging/docker/Dockerfile"]
    with ThreadPoolExecutor(len(checks)) as beside:
        return 0 if all(list(beside.map(passes, checks, checks.values()))) else 1


if __name__ == "__main__":
    bootstrap.require_python()
    sys.exit(main())
