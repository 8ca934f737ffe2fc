"""Prove that everything that would be published agrees: `python3 scripts/release_check.py`.

Builds the source archive, the wheel from it, and the bundle into `dist/`, installs the wheel alone and runs it, writes
its software bill of materials, starts what the bundle says, and compares their tools. With `--release`, this version
must have its dated entry in the changelog. That pages and registry entry follow from the code is tested with the
package.
"""

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import bootstrap
import node_tools
from bootstrap import ROOT, SetupError

VERSION = (
    (ROOT / "reflexio_mcp" / "__init__.py")
    .read_text(encoding="utf-8")
    .split('__version__ = "')[1]
    .split('"')[0]
)
DIST = ROOT / "dist"
WHEEL = DIST / f"reflexio_mcp-{VERSION}-py3-none-any.whl"
BUNDLE = DIST / f"reflexio-mcp-{VERSION}.mcpb"
MATERIALS = DIST / f"reflexio-mcp-{VERSION}.cdx.json"
PAGE_TOOLS = {"explorer_data", "judge_finding"}
"""Only clients that show pages are given them."""

MCPB = "@anthropic-ai/mcpb@2.1.2"

LIST_TOOLS = """
import asyncio, json, sys
from mcp import Client, StdioServerParameters, stdio_client

async def main(command, *arguments):
    environment = json.loads(sys.argv[1])
    server = stdio_client(StdioServerParameters(command=command, args=arguments, env=environment))
    async with Client(server) as client:
        print(json.dumps(sorted(tool.name for tool in (await client.list_tools()).tools)))

asyncio.run(main(*sys.argv[2:]))
"""


class Disagreement(Exception):
    """Two things that should agree do not."""


def run(*command: str | Path) -> str:
    """Run a command in an empty home, away from the checkout; return what it prints."""
    with tempfile.TemporaryDirectory() as home:
        done = subprocess.run(
            [str(part) for part in command],
            cwd=home, env=environment(home), stdin=subprocess.DEVNULL,
            capture_output=True, encoding="utf-8", errors="replace", timeout=300, check=False,
        )  # fmt: skip
    if done.returncode:
        shown = " ".join(map(str, command))[:200]
        raise Disagreement(f"{shown} failed:\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
    return done.stdout


def environment(home: str) -> dict[str, str]:
    """This machine's environment with another home, and nothing that configures the package or Python."""
    foreign = ("REFLEXIO", "VIRTUAL_ENV", "PYTHONPATH", "PYTHONHOME", "XDG_")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(foreign)}
    return kept | {"HOME": home, "USERPROFILE": home, "LOCALAPPDATA": home, "UV_PYTHON_DOWNLOADS": "never"}


def agree(what: str, found: object, wanted: object) -> None:
    if found != wanted:
        raise Disagreement(f"{what}: {found!r}, not {wanted!r}")


def tools_of(python: Path, *command: str | Path, **variables: str) -> list[str]:
    """The tools of a server that is started as a client starts it."""
    with tempfile.TemporaryDirectory() as home:
        given = environment(home) | {"REFLEXIO_MCP_STORE": ":memory:"} | variables
        return json.loads(run(python, "-c", LIST_TOOLS, json.dumps(given), *command))


def tools_of_the_manifest() -> list[str]:
    """The tools that the manifest promises to a client that shows no pages, as these checks do not."""
    manifest = json.loads((ROOT / "packaging" / "mcpb" / "manifest.json").read_text(encoding="utf-8"))
    return sorted(tool["name"] for tool in manifest["tools"] if tool["name"] not in PAGE_TOOLS)


def check_changelog() -> None:
    """On the day of a release, the topmost heading of the changelog is this version."""
    if "--release" in sys.argv:
        text = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
        headings = re.findall(r"^## \[(.+?)\] - \d{4}-\d\d-\d\d$", text, re.MULTILINE)
        agree("the topmost dated heading of CHANGELOG.md", headings[:1], [VERSION])
        agree("an unreleased heading in CHANGELOG.md", "[Unreleased]" in text, False)


def check_wheel(python: Path) -> None:
    """The wheel holds the package alone, works where nothing else is installed, and its materials are listed."""
    with zipfile.ZipFile(WHEEL) as inside:
        names = inside.namelist()
    folders = {name.split("/")[0] for name in names}
    agree("folders in the wheel", folders, {"reflexio_mcp", f"reflexio_mcp-{VERSION}.dist-info"})
    agree("py.typed in the wheel", "reflexio_mcp/py.typed" in names, True)
    with tempfile.TemporaryDirectory() as folder:
        inner = bootstrap.interpreter(Path(folder))
        run(python, "-m", "uv", "venv", "--quiet", "--clear", "--python", sys.executable, folder)
        pinned = ["--constraint", ROOT / "requirements" / "run.txt"]
        run(python, "-m", "uv", "pip", "install", "--quiet", "--python", inner, *pinned, WHEEL)
        command = inner.with_name("reflexio-mcp.exe" if os.name == "nt" else "reflexio-mcp")
        agree("--version of the wheel", run(command, "--version").strip(), f"reflexio-mcp {VERSION}")
        agree("tools of the wheel", tools_of(python, command), tools_of_the_manifest())
        run(command, "demo")
        run(
            python,
            "-m",
            "cyclonedx_py",
            "environment",
            inner,
            "--output-reproducible",
            "--output-file",
            MATERIALS,
        )
    materials = json.loads(MATERIALS.read_text(encoding="utf-8"))["components"]
    versions = {material["name"]: material["version"] for material in materials}
    agree("reflexio-mcp in the bill of materials", versions.get("reflexio-mcp"), VERSION)
    agree("mcp, httpx and pydantic in it", {"mcp", "httpx", "pydantic"} <= versions.keys(), True)


def check_bundle(python: Path) -> None:
    """The official tool takes the bundle for Claude Desktop, and what it says starts."""
    with tempfile.TemporaryDirectory() as staged:
        for source in (
            "packaging/mcpb/manifest.json",
            "packaging/mcpb/icon.png",
            "README.md",
            "LICENSE",
            "pyproject.toml",
        ):
            shutil.copy(ROOT / source, staged)
        shutil.copy(ROOT / "requirements" / "run.txt", Path(staged) / "requirements.txt")
        leave = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / "reflexio_mcp", Path(staged) / "reflexio_mcp", ignore=leave)
        mcpb = [node_tools.npm(), "exec", "--yes", "--ignore-scripts", f"--package={MCPB}", "--", "mcpb"]
        bootstrap.run_unseen([*mcpb, "validate", f"{staged}/manifest.json"])
        bootstrap.run_unseen([*mcpb, "pack", staged, str(BUNDLE)])
    with tempfile.TemporaryDirectory() as folder:
        with zipfile.ZipFile(BUNDLE) as inside:
            inside.extractall(folder)
        manifest = json.loads((Path(folder) / "manifest.json").read_text(encoding="utf-8"))
        agree("the bundle's version", manifest["version"], VERSION)
        answers = {
            f"user_config.{name}": str(asked.get("default", "ada"))
            for name, asked in manifest["user_config"].items()
        }
        answers["__dirname"] = folder
        config = manifest["server"]["mcp_config"]

        def filled(text: str) -> str:
            return re.sub(r"\$\{([\w.]+)\}", lambda found: answers[found[1]], text)

        uv = run(python, "-c", "import uv; print(uv.find_uv_bin())").strip()
        variables = {name: filled(value) for name, value in config["env"].items()}
        found = tools_of(python, uv, *map(filled, config["args"]), **variables)
        agree("tools of the bundle", found, tools_of_the_manifest())


def passes(check: Callable[..., None], *given: Path) -> bool:
    """Run a check and say how it went."""
    try:
        check(*given)
    except (Disagreement, SetupError, subprocess.TimeoutExpired) as error:
        print(f"FAILED: {check.__doc__}\n{error}", flush=True)
        return False
    print(f"ok: {check.__doc__}", flush=True)
    return True


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--release", action="store_true", help="this version is about to be published")
    parser.parse_args()
    try:
        python = bootstrap.ensure("dev")
        cache = subprocess.check_output([str(python), "-m", "uv", "cache", "dir"], encoding="utf-8")
        os.environ.setdefault("UV_CACHE_DIR", cache.strip())
        shutil.rmtree(DIST, ignore_errors=True)
        bootstrap.run_unseen([str(python), "-m", "uv", "build", "--quiet", "--out-dir", str(DIST), str(ROOT)])
    except SetupError as error:
        sys.exit(str(error))
    checks = (check_wheel, check_bundle)
    with ThreadPoolExecutor(2) as beside:
        done = [passes(check_changelog), *beside.map(lambda check: passes(check, python), checks)]
    return 0 if all(done) else 1


if __name__ == "__main__":
    bootstrap.require_python()
    sys.exit(main())
