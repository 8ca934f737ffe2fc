"""The direction of imports is the architecture, and a stdio server pays for every import on every start."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import reflexio_mcp

PACKAGE = Path(reflexio_mcp.__file__).parent
MODULES = sorted(PACKAGE.rglob("*.py"))

ROOMS = {
    # room: (rooms of ours it may import, third parties it may not)
    "rest": ({"rest"}, {"mcp", "starlette", "uvicorn"}),
    "store": ({"store", "rest", "private_files"}, {"mcp", "httpx", "uvicorn"}),
    "state": ({"state", "rest", "private_files"}, {"mcp", "httpx", "starlette", "uvicorn"}),
    "traffic": ({"traffic", "state", "rest"}, {"mcp", "httpx", "starlette", "uvicorn"}),
    "render": ({"render", "traffic", "state", "rest"}, {"mcp", "httpx", "starlette", "uvicorn"}),
    "toolkit": (
        {"toolkit", "render", "traffic", "state", "rest", "settings"},
        {"httpx", "starlette", "uvicorn"},
    ),
    "consent": (
        {"consent", "toolkit", "render", "traffic", "state", "rest", "settings"},
        {"httpx", "starlette", "uvicorn"},
    ),
    "explorer": ({"explorer"}, {"mcp", "httpx", "starlette", "uvicorn"}),
    "tools": (
        {"tools", "explorer", "consent", "toolkit", "render", "traffic", "state", "rest", "settings"},
        {"httpx", "starlette", "uvicorn"},
    ),
}


def imports(path: Path) -> Iterator[str]:
    """Every module a file imports, wherever in it."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            assert node.module
            yield node.module


def room_of(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_a_room_imports_only_what_lies_below_it(path: Path) -> None:
    room = room_of(path)
    allowed, banned = ROOMS.get(room, (None, set[str]()))
    for name in imports(path):
        first, *rest = name.split(".")
        if first == "reflexio_mcp" and allowed is not None:
            assert not rest or rest[0] in allowed, f"{room} imports {name}"
        assert first not in banned, f"{room} imports {name}"


def test_httpx_is_imported_in_rest_and_where_the_backend_is_chosen_alone() -> None:
    importers = {
        str(path.relative_to(PACKAGE).as_posix())
        for path in MODULES
        if any(name.split(".")[0] == "httpx" for name in imports(path))
    }
    outside = {name for name in importers if not name.startswith("rest/")}
    assert outside <= {"backend.py"}


@pytest.mark.parametrize(
    "module",
    [
        "httpx",
        "sqlite3",
        "reflexio_mcp.store",
        "reflexio_mcp.demo",
        "reflexio_mcp.traffic.audit",
        "reflexio_mcp.server.prompts",
        "reflexio_mcp.server.resources",
        "reflexio_mcp.server.completions",
        "kingfisher_sdk",
        "tomlkit",
        "platformdirs",
    ],
)
def test_a_stdio_server_starts_without_what_few_calls_need(module: str) -> None:
    code = (
        "import sys\n"
        "from reflexio_mcp.server.server import build_server\n"
        "from reflexio_mcp.settings import load\n"
        "build_server(load({'REFLEXIO_MCP_STORE': ':memory:'}))\n"
        f"sys.exit({module!r} in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
