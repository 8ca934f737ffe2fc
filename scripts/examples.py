"""Run the examples, each in an environment of its own in `.cache/examples`: `python3 scripts/examples.py`.

`--lock` writes their pinned requirements anew from `PACKAGES`.
"""

import argparse
import hashlib
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import bootstrap
from bootstrap import ROOT, SetupError

PACKAGES = {
    "pydantic_ai_agent": ["pydantic-ai-slim[mcp]>=2.68,<3"],
    "langchain_agent": ["langchain>=1.5,<2", "langchain-mcp-adapters>=0.3,<0.4"],
    "openai_agents_agent": ["openai-agents>=0.24,<0.25"],
}
FOLDER = ROOT / "examples"
SECONDS = 120


def requirements(name: str) -> Path:
    """The pinned packages of an example."""
    return FOLDER / "requirements" / f"{name}.txt"


def lock(uv: list[str | Path]) -> None:
    """Pin what each example needs, by version and hash, for every platform."""
    for name, packages in PACKAGES.items():
        subprocess.run(
            [
                *(*map(str, uv), "pip", "compile", "--quiet", "-", "--universal", "--python-version", "3.11"),
                *("--generate-hashes", "--no-header", "--no-annotate", "--no-emit-index-url"),
                *("--output-file", str(requirements(name))),
            ],
            input="\n".join(packages), encoding="utf-8", cwd=ROOT, check=True,
        )  # fmt: skip


def environment(name: str, uv: list[str | Path]) -> Path:
    """The interpreter of an example's environment, made or brought up to date where needed.

    Raises:
        SetupError: it could not be made.
    """
    home = ROOT / ".cache" / "examples" / name
    python = home / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    wanted = hashlib.sha256(requirements(name).read_bytes() + sys.version.encode()).hexdigest()
    stamp = home / "installed"
    if stamp.exists() and python.exists() and stamp.read_text(encoding="utf-8") == wanted:
        return python
    for command in (
        ["venv", "--quiet", "--clear", "--python", sys.executable, home],
        ["pip", "sync", "--quiet", "--require-hashes", "--python", python, requirements(name)],
    ):
        done = subprocess.run(
            [str(part) for part in (*uv, *command)], cwd=ROOT, stdin=subprocess.DEVNULL,
            capture_output=True, encoding="utf-8", errors="replace", check=False,
        )  # fmt: skip
        if done.returncode:
            raise SetupError(f"the environment of {name} could not be made:\n{done.stderr.strip()}")
    stamp.write_text(wanted, encoding="utf-8")
    return python


def passes(name: str, python: Path, command: Path) -> bool:
    """Run an example on a throw-away store."""
    with tempfile.TemporaryDirectory() as home:
        kept = {key: os.environ[key] for key in ("PATH", "SYSTEMROOT") if key in os.environ}
        try:
            done = subprocess.run(
                [str(python), str(FOLDER / f"{name}.py")],
                env={**kept, "HOME": home, "USERPROFILE": home, "REFLEXIO_EXAMPLE_COMMAND": str(command)},
                cwd=FOLDER, stdin=subprocess.DEVNULL, capture_output=True,
                encoding="utf-8", errors="replace", timeout=SECONDS, check=False,
            )  # fmt: skip
        except subprocess.TimeoutExpired:
            print(f"{name}: no end within {SECONDS} s")
            return False
    if done.returncode:
        print(done.stdout[-2000:] + done.stderr[-4000:])
    return done.returncode == 0 and done.stdout.startswith("It is forgotten.")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--lock", action="store_true", help="write the pinned requirements anew")
    relock = parser.parse_args().lock
    failed = False
    try:
        dev = bootstrap.ensure("dev", folder=".venv-dev")
        uv: list[str | Path] = [dev, "-m", "uv"]
        if relock:
            lock(uv)
        server = bootstrap.ensure("run")
        command = server.with_name("reflexio-mcp.exe" if os.name == "nt" else "reflexio-mcp")
        for name in PACKAGES:
            begun = time.monotonic()
            good = passes(name, environment(name, uv), command)
            failed = failed or not good
            print(f"{name}: {'ok' if good else 'FAILED'} ({time.monotonic() - begun:.0f} s)", flush=True)
    except SetupError as error:
        sys.exit(str(error))
    return 1 if failed else 0


if __name__ == "__main__":
    bootstrap.require_python()
    sys.exit(main())
