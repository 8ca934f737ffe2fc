"""Run the examples, each in an environment of its own in `.cache/examples`: `python3 scripts/examples.py`.

`examples/requirements` pins their packages, made from `examples/requirements/NAME.in` by `scripts/lock.py`.
"""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import bootstrap
from bootstrap import ROOT

FOLDER = ROOT / "examples"
SECONDS = 120


def passes(requirements: Path, command: Path) -> bool:
    """Run an example on a throw-away store, and say how it went."""
    name = requirements.stem
    python = bootstrap.environment(ROOT / ".cache" / "examples" / name, requirements, "--require-hashes")
    with tempfile.TemporaryDirectory() as home:
        kept = {key: os.environ[key] for key in ("PATH", "SYSTEMROOT") if key in os.environ}
        done = subprocess.run(
            [str(python), str(FOLDER / f"{name}.py")],
            env={**kept, "HOME": home, "USERPROFILE": home, "REFLEXIO_EXAMPLE_COMMAND": str(command)},
            cwd=FOLDER, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            encoding="utf-8", errors="replace", timeout=SECONDS, check=False,
        )  # fmt: skip
    good = done.returncode == 0 and "It is forgotten." in done.stdout
    print(f"{name}: {'ok' if good else f'FAILED{os.linesep}{done.stdout[-6000:]}'}", flush=True)
    return good


def main() -> int:
    try:
        server = bootstrap.ensure("run")
        command = server.with_name("reflexio-mcp.exe" if os.name == "nt" else "reflexio-mcp")
        all_requirements = sorted((FOLDER / "requirements").glob("*.txt"))
        done = [passes(requirements, command) for requirements in all_requirements]
    except bootstrap.SetupError as error:
        sys.exit(str(error))
    return 0 if all(done) else 1


if __name__ == "__main__":
    bootstrap.require_python()
    sys.exit(main())
