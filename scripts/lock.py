"""Write `requirements/*.txt` from `pyproject.toml`, or prove with `--check` that they agree with it.

One file a need: `run` what the package depends on, `server` with the extra for PostgreSQL on top, `test` and `dev`
with those groups. They pin every package by version and hash, for every platform. Versions move only when `--upgrade`
is given.
Needs `uv`, which the `dev` group brings: `.venv-dev/bin/python scripts/lock.py`.
"""

import argparse
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from bootstrap import LOCKS, REQUIREMENTS, ROOT


def compile_locks(folder: Path, *, upgrade: bool) -> None:
    """Resolve each need into `folder`, keeping the versions that the files there already have."""
    for lock in LOCKS:
        above = {"run": [], "server": ["--extra", "postgres"]}.get(lock, ["--group", lock])
        if lock != "run":
            above += ["--constraint", str(folder / "run.txt")]
        subprocess.run(
            [
                *(sys.executable, "-m", "uv", "pip", "compile", "--quiet", "pyproject.toml"),
                *above,
                *("--universal", "--python-version", "3.11", "--generate-hashes"),
                *("--no-header", "--no-annotate", "--no-emit-index-url"),
                *(["--upgrade"] if upgrade else []),
                *("--output-file", str(folder / f"{lock}.txt")),
            ],
            cwd=ROOT,
            check=True,
        )


def pins(path: Path) -> list[str]:
    """The `name==version ; marker` lines of a lock file: its hashes grow when a release gets more wheels."""
    lines = path.read_text(encoding="utf-8").splitlines()
    return [line.rstrip(" \\") for line in lines if line and not line[0].isspace()]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--check", action="store_true", help="change nothing, exit 1 where a file is out of date"
    )
    parser.add_argument(
        "--upgrade", action="store_true", help="take the newest versions that pyproject.toml allows"
    )
    options = parser.parse_args()
    if not options.check:
        compile_locks(REQUIREMENTS, upgrade=options.upgrade)
        return 0
    with tempfile.TemporaryDirectory() as scratch:
        fresh = Path(scratch) / "requirements"
        shutil.copytree(REQUIREMENTS, fresh)
        compile_locks(fresh, upgrade=False)
        stale = [lock for lock in LOCKS if pins(fresh / f"{lock}.txt") != pins(REQUIREMENTS / f"{lock}.txt")]
    for lock in stale:
        print(
            f"requirements/{lock}.txt does not follow from pyproject.toml: run scripts/lock.py",
            file=sys.stderr,
        )
    return 1 if stale else 0


if __name__ == "__main__":
    sys.exit(main())
