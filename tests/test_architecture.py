"""Imports go one way, a stdio server starts without what calls need, and a call goes through few files."""

import ast
import graphlib
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from types import FrameType

import anyio
import pytest
from mcp import Client

import reflexio_mcp
from reflexio_mcp.server.server import ReflexioServer
from reflexio_mcp.settings import Settings

PACKAGE = Path(reflexio_mcp.__file__).parent
ROOT = PACKAGE.parent


def module_of(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


MODULES = {module_of(path): path for path in sorted(PACKAGE.rglob("*.py"))}


def imports(path: Path) -> set[str]:
    """Every module that a file imports, wherever in it."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            assert not node.level, f"{path} has a relative import"
            named = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= {name if name in MODULES else node.module for name in named}
    return found


GRAPH = {name: imports(path) for name, path in MODULES.items()}


def room_of(module: str) -> str:
    """The folder or file directly below the package."""
    return module.split(".")[1] if "." in module else ""


def test_no_module_imports_itself_by_way_of_others() -> None:
    assert len(MODULES) > 50
    graphlib.TopologicalSorter({name: found & MODULES.keys() for name, found in GRAPH.items()}).prepare()


def test_no_room_imports_itself_by_way_of_others() -> None:
    rooms: dict[str, set[str]] = {}
    for name, found in GRAPH.items():
        others = {room_of(one) for one in found & MODULES.keys()}
        rooms.setdefault(room_of(name), set()).update(others - {room_of(name)})
    graphlib.TopologicalSorter(rooms).prepare()


def test_a_module_lists_in_all_what_other_folders_use_by_name_and_nothing_else() -> None:
    used: dict[str, set[str]] = {name: set() for name in MODULES}
    listed: dict[str, set[str]] = {name: set() for name in MODULES}
    for name, path in MODULES.items():
        modules: dict[str, str] = {}
        uses: set[tuple[str, str]] = set()
        # Breadth first, so an import comes before its uses.
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            match node:
                case ast.Assign(targets=[ast.Name("__all__")], value=names):
                    listed[name] = set(ast.literal_eval(names))
                case ast.ImportFrom(module=str(module), names=names):
                    uses |= {(module, alias.name) for alias in names}
                    modules |= {alias.asname or alias.name: f"{module}.{alias.name}" for alias in names}
                case ast.Attribute(ast.Name(module), attribute) if module in modules:
                    uses.add((modules[module], attribute))
                case _:
                    pass
        for module, one in uses:
            if (
                module in MODULES
                and f"{module}.{one}" not in MODULES
                and MODULES[module].parent != path.parent
            ):
                used[module].add(one)
    assert listed == used


@pytest.mark.parametrize("room", ["rest", "state", "traffic", "results", "render", "install"])
def test_the_inner_rooms_know_neither_the_sdk_nor_a_web_server(room: str) -> None:
    found = {
        one.split(".")[0] for name, imported in GRAPH.items() if room_of(name) == room for one in imported
    }
    assert found & {"mcp", "starlette", "uvicorn"} == set()
    assert room == "rest" or "httpx" not in found


def test_private_modules_of_the_sdk_are_named_in_one_place() -> None:
    naming = {name for name, found in GRAPH.items() if any(n.startswith("mcp.") and "._" in n for n in found)}
    assert naming <= {"reflexio_mcp.server.sdk"}


def test_texts_are_normalized_in_one_place_which_does_it_in_pieces() -> None:
    naming = {name for name, path in MODULES.items() if "unicodedata.normalize" in path.read_text("utf-8")}
    assert naming == {"reflexio_mcp.matching.words"}
    importing = {name for name, found in GRAPH.items() if "unicodedata.normalize" in found}
    assert not importing


def test_a_stdio_server_starts_without_what_calls_need() -> None:
    code = (
        "import os, sys, anyio\n"
        "os.environ['REFLEXIO_MCP_STORE'] = ':memory:'\n"
        "from reflexio_mcp import cli\n"
        "def run(serve, settings):\n"
        "    from reflexio_mcp.server.server import ReflexioServer\n"
        "    ReflexioServer(settings)\n"
        "anyio.run = run\n"
        "assert cli.main([]) == 0\n"
        "print(*(name for name, module in sys.modules.items() if module))"
    )
    env = {name: value for name, value in os.environ.items() if "REFLEXIO" not in name}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120, env=env
    )
    started = set(done.stdout.split())
    assert "reflexio_mcp.server.server" in started
    late = {"httpx", "sqlite3", "kingfisher_sdk", "phonenumbers", "stdnum", "tomlkit", "psycopg"}
    rooms = "consent embedded_store rest.client rest.models tools.read traffic.audit traffic.reading traffic.scope"
    late |= {f"reflexio_mcp.{room}" for room in rooms.split()}
    assert started & late == set()


def test_every_library_that_is_imported_is_declared() -> None:
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = [line for lines in declared["optional-dependencies"].values() for line in lines]
    named = {re.split(r"[^a-z0-9-]", line.lower())[0] for line in declared["dependencies"] + extras}
    modules = {
        "kingfisher-secret-scanner": "kingfisher_sdk",
        "opentelemetry-api": "opentelemetry",
        "phonenumberslite": "phonenumbers",
        "pydantic": "pydantic_core",
        "pyjwt": "jwt",
        "python-stdnum": "stdnum",
    }
    libraries = {modules.get(name, name) for name in named}
    imported = {name.split(".")[0] for found in GRAPH.values() for name in found}
    assert imported - libraries - named - {"reflexio_mcp", *sys.stdlib_module_names} == set()


@pytest.mark.ci
@pytest.mark.parametrize(
    ("tool", "arguments", "most"),
    [("list_requests", {}, 30), ("delete_session", {"session_id": "s", "user_id": "ada"}, 43)],
)
def test_a_call_goes_through_few_files(tool: str, arguments: dict[str, str], most: int) -> None:
    seen: set[str] = set()

    def note(frame: FrameType, event: str, _: object) -> None:
        if event == "call" and frame.f_code.co_filename.startswith(str(PACKAGE)):
            seen.add(frame.f_code.co_filename)

    async def call() -> None:
        async with Client(ReflexioServer(Settings(store=":memory:"))) as client:
            stored = {"user_id": "ada", "session_id": "s", "interactions": [{"content": "words"}]}
            await client.call_tool("publish_interaction", stored)
            await client.call_tool(tool, arguments)  # What only the first call does is not counted.
            sys.setprofile(note)
            try:
                result = await client.call_tool(tool, arguments)
            finally:
                sys.setprofile(None)
            assert not result.is_error

    anyio.run(call)
    assert 10 < len(seen) <= most, sorted(seen)
