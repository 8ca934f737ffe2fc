"""Write `requirements/*.txt` from `pyproject.toml`, or prove with `--check` that they agree with it.

`run` is what the package depends on, `server` adds the extra for PostgreSQL, `test` and `dev` those groups. They pin
every package by version and hash, for every platform. Versions move only with `--upgrade`. The packages of the examples
are written too. Needs `uv`, which the `dev` group brings: `.venv-dev/bin/python scripts/lock.py`.
"""

import argparse
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from bootstrap import LOCKS, REQUIREMENTS, ROOT

ADDED = {
    "run": [],
    "server": ["--extra", "postgres"],
    "test": ["--group", "test"],
    "dev": ["--group", "dev"],
}


def resolve(source: str | Path, target: Path, *options: str | Path) -> None:
    """Pin what a file asks for, and keep the versions that the target already has."""
    command = [
        *(sys.executable, "-m", "uv", "pip", "compile", "--quiet", source, *options, "--output-file", target),
        *("--universal", "--python-version", "3.11", "--generate-hashes"),
        *("--no-header", "--no-annotate", "--no-emit-index-url"),
    ]
    subprocess.run([str(part) for part in command], cwd=ROOT, check=True)


def resolve_all(folder: Path, *options: str) -> None:
    """Resolve each need of this project into a folder."""
    for lock in LOCKS:
        same_versions = [] if lock == "run" else ["--constraint", folder / "run.txt"]
        resolve("pyproject.toml", folder / f"{lock}.txt", *ADDED[lock], *same_versions, *options)


def pins(path: Path) -> list[str]:
    """The `name==version ; marker` lines of a lock file: its hashes grow when a release gets more wheels."""
    lines = path.read_text(encoding="utf-8").splitlines()
    return [line.rstrip(" \\") for line in lines if line and not line[0].isspace()]


def stale() -> list[str]:
    """The lock files that do not follow from `pyproject.toml`."""
    with tempfile.TemporaryDirectory() as scratch:
        fresh = Path(scratch) / "requirements"
        shutil.copytree(REQUIREMENTS, fresh)
        resolve_all(fresh)
        return [lock for lock in LOCKS if pins(fresh / f"{lock}.txt") != pins(REQUIREMENTS / f"{lock}.txt")]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--check", action="store_true", help="change nothing, exit 1 if a file is out of date"
    )
    parser.add_argument("--upgrade", action="store_true", help="take the newest versions that are allowed")
    given = parser.parse_args()
    if given.check:
        found = stale()
        for lock in found:
            print(f"requirements/{lock}.txt does not follow from pyproject.toml: run scripts/lock.py")
        return 1 if found else 0
    newest = ["--upgrade"] if given.upgrade else []
    resolve_all(REQUIREMENTS, *newest)
    for source in (ROOT / "examples" / "requirements").glob("*.in"):
        resolve(source, source.with_suffix(".txt"), *newest)
    return 0


if __name__ == "__main__":
    sys.exit(main())
