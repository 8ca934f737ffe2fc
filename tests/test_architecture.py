"""The direction of imports is the architecture, and a stdio server pays for every import on every start."""

import ast
import graphlib
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import reflexio_mcp

PACKAGE = Path(reflexio_mcp.__file__).parent
FILES = sorted(PACKAGE.rglob("*.py"))

SERVERS = {"starlette", "uvicorn"}
INNER = {"mcp", "httpx", *SERVERS}
DATA = ("state", "rest", "__init__")
TRAFFIC = ("traffic", "traffic/rules", "traffic/reading", "traffic/learnings", "traffic/audit",
           "traffic/deletion", "traffic/publishing")  # fmt: skip
TOOLS = ("toolkit", "render", *TRAFFIC, *DATA, "settings")
ANY = None
"""Every layer that is declared above this one."""

LAYERS: dict[str, tuple[tuple[str, ...] | None, set[str]]] = {
    # A folder or a file: the layers it may import beside itself, and the libraries it may not. The lowest is first.
    "__init__": ((), INNER),
    "private_files": ((), INNER),
    "logs": ((), INNER),
    "sdk_import": ((), INNER),
    "rest": (("__init__",), {"mcp", *SERVERS}),
    "settings": (("rest",), INNER),
    "embedded_store": (("private_files", "rest", "__init__"), {"mcp", "httpx", "uvicorn"}),
    "state": (("rest",), {*INNER, "sqlite3", "psycopg"}),
    "state/local": (("private_files", "rest", "state"), {*INNER, "psycopg"}),
    "state/postgresql": (("rest", "state"), {*INNER, "sqlite3"}),
    "traffic": (DATA, INNER),
    "traffic/rules": (("traffic", *DATA), INNER),
    "traffic/reading": (("traffic", "traffic/rules", *DATA), INNER),
    "traffic/learnings": (("traffic", "traffic/reading", *DATA), INNER),
    "traffic/audit": (("traffic", "traffic/rules", "traffic/reading", "traffic/learnings", *DATA), INNER),
    "traffic/deletion": (("traffic", "traffic/rules", "traffic/reading", "traffic/learnings", *DATA), INNER),
    "traffic/publishing": (("traffic", "traffic/rules", "traffic/reading", *DATA), INNER),
    "render": ((*TRAFFIC, *DATA), INNER),
    "toolkit": (("render", *TRAFFIC, *DATA, "settings"), {"httpx", *SERVERS}),
    "consent": (TOOLS, {"httpx", *SERVERS}),
    "explorer": (("__init__",), INNER),
    "tools": (("explorer", "consent", *TOOLS), {"httpx", *SERVERS}),
    "backend": (("private_files", "rest", "settings", "state", "state/local",
                 "state/postgresql", "embedded_store"), INNER),
    "server": (("logs", "private_files", "backend", "tools", "explorer", "consent", *TOOLS), {"httpx", "uvicorn"}),
    "stdio": (("server", "logs", "settings"), {"httpx", *SERVERS}),
    "http/refusal": ((), INNER),
    "http/oauth": (("http/refusal", "server", "toolkit", "rest", "settings"), {"uvicorn"}),
    "http": (("http/refusal", "http/oauth", "backend", "server",
              "toolkit", "logs", "private_files", "rest", "settings", "state", "__init__"), {"httpx"}),
    "install": (("backend", "traffic/rules", "settings", "private_files", "__init__"), INNER),
    "doctor": (("install", "http/oauth", "backend", "tools", "traffic/rules", "embedded_store", "private_files", "rest",
                "settings", "state", "__init__"), {"httpx", *SERVERS}),
    "read_commands": (ANY, {"httpx", *SERVERS}),
    "delete_command": (ANY, {"httpx", *SERVERS}),
    "explore": (ANY, {"httpx"}),
    "demo": (ANY, {"httpx", *SERVERS}),
    "cli": (ANY, {"httpx", *SERVERS}),
    "__main__": (("cli",), INNER),
}  # fmt: skip


def module_of(path: Path) -> str:
    return ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts).removesuffix(".__init__")


MODULES = {module_of(path): path for path in FILES}


def layer_of(path: Path) -> str:
    """The layer that a file belongs to: declared for the file itself, else for the folder it lies in."""
    inside = path.relative_to(PACKAGE)
    file, folder = inside.with_suffix("").as_posix(), inside.parent.as_posix()
    assert file in LAYERS or folder in LAYERS, f"{inside} belongs to no layer: declare one in LAYERS"
    return file if file in LAYERS else folder


def imports(path: Path) -> set[str]:
    """Every module a file imports: wherever in it, relative or not, for the type checker alone or not."""
    here = module_of(path).split(".")
    package = here if path.name == "__init__.py" else here[:-1]
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else []
            origin = ".".join([*above, *filter(None, [node.module])])
            named = {f"{origin}.{alias.name}" for alias in node.names}
            found |= {name if name in MODULES else origin for name in named}
    return found


def test_a_layer_is_declared_above_those_it_may_import() -> None:
    order = list(LAYERS)
    for layer, (below, _) in LAYERS.items():
        assert set(below or ()) <= set(order[: order.index(layer)]), f"{layer} imports what stands above it"


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_a_file_imports_only_its_own_layer_and_what_lies_below(path: Path) -> None:
    layer = layer_of(path)
    below, banned = LAYERS[layer]
    allowed = {layer, *(list(LAYERS)[: list(LAYERS).index(layer)] if below is None else below)}
    for name in imports(path):
        top = name.split(".")[0]
        assert top not in banned, f"{layer} imports {name}"
        if top == "reflexio_mcp":
            assert name in MODULES, f"{name} does not exist"
            assert layer_of(MODULES[name]) in allowed, f"{layer} imports {name}"


def test_no_module_leads_back_to_itself() -> None:
    graph = {name: imports(path) & MODULES.keys() for name, path in MODULES.items()}
    assert sum(map(len, graph.values())) > len(MODULES)
    graphlib.TopologicalSorter(graph).prepare()


def test_httpx_is_imported_where_somebody_else_is_asked_alone() -> None:
    importers = {module_of(path) for path in FILES if any(n.split(".")[0] == "httpx" for n in imports(path))}
    assert importers == {"reflexio_mcp.rest.transport", "reflexio_mcp.http.oauth"}


def test_private_modules_of_the_sdk_are_named_in_one_place() -> None:
    naming = {
        module_of(path) for path in FILES if any(n.startswith("mcp.") and "._" in n for n in imports(path))
    }
    assert naming == {"reflexio_mcp.server.sdk"}


def modules_after(code: str) -> set[str]:
    """The modules that a process has when it has run `code`, without variables that look like ours."""
    code = f"import sys\n{code}\nprint(*(name for name, module in sys.modules.items() if module))"
    env = {name: value for name, value in os.environ.items() if "REF" not in name and "XIO" not in name}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120, env=env
    )
    return set(done.stdout.split())


@pytest.fixture(scope="module")
def started() -> set[str]:
    """The modules that a stdio server has when it has started."""
    return modules_after(
        "import os\n"
        "os.environ['REFLEXIO_MCP_STORE'] = ':memory:'\n"
        "import anyio\n"
        "from reflexio_mcp import cli\n"
        "def run(serve, settings):\n"
        "    from reflexio_mcp.server.server import ReflexioServer\n"
        "    ReflexioServer(settings)\n"
        "anyio.run = run\n"
        "assert cli.main([]) == 0"
    )


def test_what_was_typed_is_known_before_any_model_is_built() -> None:
    typed = modules_after("from reflexio_mcp import cli\ncli.parse(['serve'])")
    assert "reflexio_mcp.cli" in typed
    assert typed.isdisjoint({"pydantic", "mcp", "httpx", "rich"})


@pytest.mark.parametrize(
    "module",
    [
        "httpx",
        "httpx2._client",
        "mcp.client",
        "uvicorn",
        "sqlite3",
        "reflexio_mcp.embedded_store",
        "reflexio_mcp.demo",
        "reflexio_mcp.traffic.audit",
        "reflexio_mcp.server.prompts",
        "reflexio_mcp.server.resources",
        "reflexio_mcp.server.completions",
        "kingfisher_sdk",
        "reflexio_mcp.traffic.rules.secrets",
        "difflib",
        "phonenumbers",
        "stdnum",
        "tomlkit",
        "platformdirs",
        "rich",
        "reflexio_mcp.state.postgresql",
        "psycopg",
    ],
)
def test_a_stdio_server_starts_without_what_few_calls_need(module: str, started: set[str]) -> None:
    assert "reflexio_mcp.server.server" in started
    assert module not in started


def test_every_library_that_is_imported_is_declared() -> None:
    declared = tomllib.loads((PACKAGE.parent / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = [line for lines in declared["optional-dependencies"].values() for line in lines]
    named = {re.split(r"[^a-z0-9-]", line.lower())[0] for line in declared["dependencies"] + extras}
    modules = {
        "json-with-comments": "jsonc",
        "opentelemetry-api": "opentelemetry",
        "pydantic": "pydantic_core",
    }
    modules |= {
        "pyjwt": "jwt",
        "kingfisher-secret-scanner": "kingfisher_sdk",
        "phonenumberslite": "phonenumbers",
        "psycopg-pool": "psycopg_pool",
        "python-stdnum": "stdnum",
    }
    known = {modules.get(name, name) for name in named} | named | {"reflexio_mcp", *sys.stdlib_module_names}
    imported = {name.split(".")[0] for path in FILES for name in imports(path)}
    assert imported - known == set()
