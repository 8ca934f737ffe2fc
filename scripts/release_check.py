"""Prove that everything that would be published agrees: `python3 scripts/release_check.py`.

Builds wheel, source archive and bundle into `dist/`; installs the first two alone and runs them; starts what the bundle
says; resolves what the wheel for musl requires; unpacks the source archive, collects all of its tests and runs a part
of them; holds version, registry entry, README marker, changelog and tables to the code. `--write` writes what is made
from the code. `--release` is for the day itself: this version must have its dated entry in the changelog.
"""

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import threading
import zipfile
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import repeat
from pathlib import Path

import bootstrap
import bundle
import musl_wheel
from bootstrap import ROOT, SetupError

DIST = ROOT / "dist"
HELLO = {
    "jsonrpc": "2.0",
    "id": 1,
    "method": "initialize",
    "params": {
        "protocolVersion": "2025-06-18",
        "capabilities": {},
        "clientInfo": {"name": "release-check", "version": "1"},
    },
}
QUICK = (
    "tests/test_settings.py",
    "tests/test_architecture.py",
    "tests/install",
    "tests/packaging/test_published.py",
)
LIST = {"jsonrpc": "2.0", "id": 2, "method": "tools/list", "params": {}}


class Disagreement(Exception):
    """Two things that should agree do not."""


def run(command: Sequence[str | Path], *, bare: bool = False, cwd: Path | None = None) -> str:
    """Run a command away from the checkout and return its output.

    Args:
        command: program and arguments.
        bare: in an empty home, with nothing of this machine's configuration.
        cwd: where; an empty folder when `None`.
    """
    with tempfile.TemporaryDirectory() as home:
        done = subprocess.run(
            [str(part) for part in command],
            cwd=cwd or home, env=_environment(home, bare=bare), stdin=subprocess.DEVNULL,
            capture_output=True, encoding="utf-8", errors="replace", timeout=300, check=False,
        )  # fmt: skip
    if done.returncode:
        shown = " ".join(map(str, command))[:200]
        raise Disagreement(f"{shown} failed:\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
    return done.stdout


def version() -> str:
    """The one source of the version."""
    text = (ROOT / "reflexio_mcp" / "__init__.py").read_text(encoding="utf-8")
    return text.split('__version__ = "')[1].split('"')[0]


def tools_of(
    command: Sequence[str | Path], environment: Mapping[str, str], *, bare: bool = False
) -> set[str]:
    """Start a server, ask for its tools as a client does, and end it."""
    ready = {"jsonrpc": "2.0", "method": "notifications/initialized"}
    with tempfile.TemporaryDirectory() as home:
        process = subprocess.Popen(
            [str(part) for part in command],
            cwd=home, env={**_environment(home, bare=bare), **environment},
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            encoding="utf-8", errors="replace",
        )  # fmt: skip
        giving_up = threading.Timer(120, process.kill)
        giving_up.start()
        with process:
            assert process.stdin is not None
            assert process.stdout is not None
            assert process.stderr is not None
            for message in (HELLO, ready, LIST):
                process.stdin.write(json.dumps(message) + "\n")
            process.stdin.flush()
            listed = None
            for line in process.stdout:
                reply = json.loads(line)
                if reply.get("id") == LIST["id"]:
                    listed = {tool["name"] for tool in reply["result"]["tools"]}
                    break
            process.stdin.close()
            said = process.stderr.read()
        giving_up.cancel()
    if listed is None or process.returncode:
        raise Disagreement(f"{command[0]} did not serve (exit code {process.returncode}):\n{said[-2000:]}")
    return listed


def _environment(home: str, *, bare: bool) -> dict[str, str]:
    foreign = ("REFLEXIO", "VIRTUAL_ENV", "PYTHONPATH", "PYTHONHOME")
    env = {name: value for name, value in os.environ.items() if not name.startswith(foreign)}
    if bare:
        env = {name: env[name] for name in ("PATH", "SYSTEMROOT") if name in env}
        env |= {"HOME": home, "USERPROFILE": home, "LOCALAPPDATA": home}
    return env


def check_generated(python: Path) -> None:
    """Tables, registry entry and manifest are what the code says."""
    run([python, ROOT / "scripts" / "docs.py", "--check"])


def check_registry(python: Path) -> None:
    """The registry's entry is valid, has this version, and its name stands in the README."""
    run(
        [
            python,
            "-c",
            _VALIDATE,
            ROOT / "server.json",
            ROOT / "tests" / "packaging" / "server-2025-12-11.json",
        ]
    )
    entry = json.loads((ROOT / "server.json").read_text(encoding="utf-8"))
    versions = {entry["version"], *(package["version"] for package in entry["packages"])}
    _agree("server.json", versions, {version()})
    marker = re.search(r"<!-- mcp-name: (\S+) -->", (ROOT / "README.md").read_text(encoding="utf-8"))
    _agree("the README's mcp-name", marker and marker.group(1), entry["name"])


_VALIDATE = """
import json, sys
from jsonschema import Draft7Validator
entry, schema = (json.load(open(name, encoding="utf-8")) for name in sys.argv[1:])
Draft7Validator(schema, format_checker=Draft7Validator.FORMAT_CHECKER).validate(entry)
"""


def check_changelog(python: Path) -> None:
    """On the day of a release, the topmost dated heading of the changelog is this version."""
    text = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    headings = re.findall(r"^## \[(.+?)\](?: - \d{4}-\d\d-\d\d)?$", text, re.MULTILINE)
    if "--release" in sys.argv:
        _agree("the topmost heading of CHANGELOG.md", headings[0], version())


def check_archives(python: Path) -> None:
    """Wheel and source archive install alone, say their version, and list the same tools."""
    for path in DIST.glob("*"):
        if path.suffix in (".whl", ".gz", ".mcpb"):
            path.unlink()
    run([python, "-m", "uv", "build", "--quiet", "--out-dir", DIST, ROOT])
    wheel, archive = (
        DIST / f"reflexio_mcp-{version()}-py3-none-any.whl",
        DIST / f"reflexio_mcp-{version()}.tar.gz",
    )
    musl_wheel.musl_wheel(wheel)
    with zipfile.ZipFile(wheel) as inside:
        names = inside.namelist()
        metadata = inside.read(f"reflexio_mcp-{version()}.dist-info/METADATA").decode()
    _agree(
        "folders in the wheel",
        {name.split("/")[0] for name in names},
        {"reflexio_mcp", f"reflexio_mcp-{version()}.dist-info"},
    )
    _agree("py.typed in the wheel", "reflexio_mcp/py.typed" in names, True)
    _agree("the registry's marker in the wheel's description", "mcp-name: " in metadata, True)
    seen: list[set[str]] = []
    for made in (wheel, archive):
        with tempfile.TemporaryDirectory() as folder:
            home = Path(folder) / "env"
            run([python, "-m", "uv", "venv", "--quiet", "--python", sys.executable, home])
            inner = home / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
            lock = ROOT / "requirements" / "run.txt"
            run(
                [
                    python,
                    "-m",
                    "uv",
                    "pip",
                    "install",
                    "--quiet",
                    "--python",
                    inner,
                    "--require-hashes",
                    "-r",
                    lock,
                ]
            )
            run([python, "-m", "uv", "pip", "install", "--quiet", "--python", inner, "--no-deps", made])
            command = inner.with_name("reflexio-mcp.exe" if os.name == "nt" else "reflexio-mcp")
            _agree(
                f"--version of {made.name}",
                run([command, "--version"], bare=True).strip(),
                f"reflexio-mcp {version()}",
            )
            seen.append(tools_of([command], {"REFLEXIO_MCP_STORE": ":memory:"}, bare=True))
            run([command, "demo"], bare=True)
    _agree("tools of wheel and source archive", seen[0], seen[1])
    manifest = json.loads((ROOT / "packaging" / "mcpb" / "manifest.json").read_text(encoding="utf-8"))
    _agree("tools of the bundle's manifest", {tool["name"] for tool in manifest["tools"]}, seen[0])


def check_musl(python: Path) -> None:
    """On Alpine Linux, where nothing is built, all that the wheel for musl requires has a wheel."""
    require = f"reflexio-mcp=={version()}"
    wheel = DIST / f"reflexio_mcp-{version()}-{musl_wheel.TAG}.whl"
    _agree("a wheel for musl", wheel.is_file(), True)
    with tempfile.TemporaryDirectory() as folder:
        asked = Path(folder) / "asked.txt"
        asked.write_text(require, encoding="utf-8")
        shutil.copy(wheel, folder)
        for machine, python_version in (("x86_64", "3.11"), ("aarch64", "3.13")):
            found = run(
                [
                    python, "-m", "uv", "pip", "compile", "--quiet", asked,
                    "--python-platform", f"{machine}-unknown-linux-musl", "--python-version", python_version,
                    "--only-binary", ":all:", "--find-links", folder,
                    "--constraint", ROOT / "requirements" / "run.txt",
                ]
            )  # fmt: skip
            _agree(f"the wheel chosen on musl, {machine}", require in found.splitlines(), True)
            _agree(f"{musl_wheel.DEPENDENCY} on musl, {machine}", musl_wheel.DEPENDENCY in found, False)


def check_source(python: Path) -> None:
    """The source archive holds what git keeps, and its own tests are found and run in it."""
    archive = DIST / f"reflexio_mcp-{version()}.tar.gz"
    with tempfile.TemporaryDirectory() as folder:
        with tarfile.open(archive) as packed:
            packed.extractall(folder, filter="data")
        inside = Path(folder) / f"reflexio_mcp-{version()}"
        files = {path.relative_to(inside).as_posix() for path in inside.rglob("*") if path.is_file()}
        if (ROOT / ".git").exists():
            listing = ["git", "-C", ROOT, "ls-files", "--cached", "--others", "--exclude-standard"]
            kept = {name for name in run(listing).splitlines() if (ROOT / name).is_file()}
            kept = {name for name in kept if not name.startswith(".ci/")}
            _agree("files that the source archive lacks or adds", files ^ kept, {"PKG-INFO"})
        where = run([python, "-c", "import reflexio_mcp; print(reflexio_mcp.__file__)"], cwd=inside)
        _agree("the package under test", Path(where.strip()).resolve().parents[1], inside.resolve())
        run([python, "-m", "pytest", "-q", "--collect-only", "-p", "no:cacheprovider"], cwd=inside)
        run([python, "-m", "pytest", "-q", "-p", "no:cacheprovider", *QUICK], cwd=inside)


def check_bundle(python: Path) -> None:
    """The official tool takes the bundle, its key is sensitive, and what it says starts."""
    path = bundle.build(version(), DIST)
    with tempfile.TemporaryDirectory() as folder:
        with zipfile.ZipFile(path) as inside:
            inside.extractall(folder)
        manifest = json.loads((Path(folder) / "manifest.json").read_text(encoding="utf-8"))
        _agree("the bundle's version", manifest["version"], version())
        _agree("the key is a sensitive field", manifest["user_config"]["api_key"].get("sensitive"), True)
        settings = {
            f"${{user_config.{name}}}": str(one["default"]) for name, one in manifest["user_config"].items()
        }
        settings["${__dirname}"] = folder
        config = manifest["server"]["mcp_config"]

        def filled(text: str) -> str:
            for name, value in settings.items():
                text = text.replace(name, value)
            return text

        uv = run([python, "-c", "import uv; print(uv.find_uv_bin())"]).strip()
        env = {name: filled(value) for name, value in config["env"].items()}
        env |= {"REFLEXIO_MCP_STORE": ":memory:", "UV_PYTHON_DOWNLOADS": "never"}
        served = tools_of([uv, *(filled(arg) for arg in config["args"])], env)
        _agree("tools of the bundle", served, {tool["name"] for tool in manifest["tools"]})


def _agree(what: str, found: object, wanted: object) -> None:
    if found != wanted:
        raise Disagreement(f"{what}: {found!r}, not {wanted!r}")


_Check = Callable[[Path], None]

IN_ORDER: tuple[_Check, ...] = (check_generated, check_registry, check_changelog, check_archives)
BESIDE: tuple[_Check, ...] = (check_musl, check_source, check_bundle)
"""Once the archives are there, each is about something else."""


def _made(check: _Check, python: Path) -> tuple[bool, str]:
    """Whether a check is well, and what is said of it."""
    said = str(check.__doc__).splitlines()[0]
    try:
        check(python)
    except (Disagreement, SetupError, subprocess.TimeoutExpired) as error:
        return False, f"FAILED: {said}\n{error}"
    return True, f"ok: {said}"


def _told(made: tuple[bool, str]) -> bool:
    good, said = made
    print(said, flush=True)
    return good


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--write", action="store_true", help="write what is made from the code, and stop")
    parser.add_argument("--release", action="store_true", help="this version is about to be published")
    write = parser.parse_args().write
    failed = False
    try:
        python = bootstrap.ensure("dev", folder=".venv-dev")
        if write:
            return bootstrap.run([python, "scripts/docs.py"])
        for check in IN_ORDER:
            failed = not _told(_made(check, python)) or failed
        with ThreadPoolExecutor(len(BESIDE)) as beside:
            for made in beside.map(_made, BESIDE, repeat(python)):
                failed = not _told(made) or failed
    except SetupError as error:
        sys.exit(str(error))
    return 1 if failed else 0


if __name__ == "__main__":
    bootstrap.require_python()
    sys.exit(main())
