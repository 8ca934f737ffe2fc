"""Install the clients of others, each in an environment of its own: `python3 scripts/other_clients.py`.

They stand in `.cache/clients/NAME` as `tests/clients/requirements/NAME.txt` pins them, and in `.cache/node`; the
tests of `tests/clients` use what they find there and skip the rest.
"""

import hashlib
import os
import shutil
import sys
from pathlib import Path

import bootstrap
import node_tools

FOLDER = bootstrap.ROOT / ".cache" / "clients"
REQUIREMENTS = bootstrap.ROOT / "tests" / "clients" / "requirements"


def install(requirements: Path) -> None:
    """Make the environment of one client, unless it is there already.

    Raises:
        SetupError: it could not be made; the text says why.
    """
    home = FOLDER / requirements.stem
    wanted = hashlib.sha256(requirements.read_bytes() + sys.version.encode()).hexdigest()
    stamp = home / "installed"
    if stamp.exists() and stamp.read_text(encoding="utf-8") == wanted:
        return
    bootstrap._create(home)
    python = home / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    uv = shutil.which("uv")
    install = (
        [uv, "pip", "install", "--quiet", "--python", str(python)] if uv else bootstrap._installer(python)
    )
    command = [*install, "--require-hashes", "-r", str(requirements)]
    bootstrap._run(command, f"installing {requirements.stem}")
    stamp.write_text(wanted, encoding="utf-8")


def main() -> int:
    bootstrap.require_python()
    try:
        for requirements in sorted(REQUIREMENTS.glob("*.txt")):
            install(requirements)
            print(f"{requirements.stem}: ready", flush=True)
        node_tools.ensure()
        print("node: ready")
    except bootstrap.SetupError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
