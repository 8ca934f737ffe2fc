"""Build the bundle for Claude Desktop into `dist/`: `python3 scripts/bundle.py`.

The official tool (`mcpb`, from npm, in `.cache/mcpb`) validates its manifest and packs it. It holds the source
of the package and the pinned requirements; the host's `uv` brings a Python and installs exactly those.
"""

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import bootstrap
from bootstrap import ROOT, SetupError

MCPB = "@anthropic-ai/mcpb@2.1.2"
FOLDER = ROOT / ".cache" / "mcpb"
INSIDE = ("README.md", "LICENSE", "pyproject.toml")


def tool() -> list[str]:
    """The official tool as the head of a command, installed on the first use.

    Raises:
        SetupError: there is no npm, or it failed.
    """
    program = FOLDER / "node_modules" / ".bin" / ("mcpb.cmd" if sys.platform == "win32" else "mcpb")
    stamp = FOLDER / "installed"
    if not stamp.exists() or stamp.read_text(encoding="utf-8") != MCPB:
        npm = shutil.which("npm")
        if npm is None:
            raise SetupError("npm was not found: install Node.js and run this again")
        FOLDER.mkdir(parents=True, exist_ok=True)
        done = subprocess.run(
            [npm, "install", "--prefix", str(FOLDER), "--ignore-scripts", "--no-audit", "--no-fund", MCPB],
            stdin=subprocess.DEVNULL, capture_output=True, encoding="utf-8", errors="replace", check=False,
        )  # fmt: skip
        if done.returncode:
            raise SetupError(f"npm install failed (exit code {done.returncode}):\n{done.stderr.strip()}")
        stamp.write_text(MCPB, encoding="utf-8")
    return [str(program)]


def stage(folder: Path) -> None:
    """Lay out what the bundle holds."""
    shutil.copy(ROOT / "packaging" / "mcpb" / "manifest.json", folder / "manifest.json")
    shutil.copy(ROOT / "packaging" / "mcpb" / "icon.png", folder / "icon.png")
    shutil.copy(ROOT / "requirements" / "run.txt", folder / "requirements.txt")
    for name in INSIDE:
        shutil.copy(ROOT / name, folder / name)
    leave = shutil.ignore_patterns("__pycache__", "*.pyc")
    shutil.copytree(ROOT / "reflexio_mcp", folder / "reflexio_mcp", ignore=leave)


def build(version: str, out: Path) -> Path:
    """Validate, pack and return the bundle.

    Raises:
        SetupError: the tool is missing or refuses it.
    """
    mcpb = tool()
    out.mkdir(parents=True, exist_ok=True)
    target = out / f"reflexio-mcp-{version}.mcpb"
    with tempfile.TemporaryDirectory() as scratch:
        stage(Path(scratch))
        for command in (["validate", f"{scratch}/manifest.json"], ["pack", scratch, str(target)]):
            done = subprocess.run(
                [*mcpb, *command], stdin=subprocess.DEVNULL, capture_output=True,
                encoding="utf-8", errors="replace", check=False,
            )  # fmt: skip
            if done.returncode:
                raise SetupError(f"mcpb {command[0]} refuses it:\n{done.stdout}{done.stderr}")
    return target


def main() -> int:
    bootstrap.require_python()
    text = (ROOT / "reflexio_mcp" / "__init__.py").read_text(encoding="utf-8")
    version = text.split('__version__ = "')[1].split('"')[0]
    try:
        print(build(version, ROOT / "dist"))
    except SetupError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
