"""A release of the SDK that renames what this server relies on stops the start, and no limit is lost in silence."""

import ast
from pathlib import Path
from typing import Any

import pytest
from mcp.server.lowlevel import Server
from mcp.server.mcpserver import MCPServer
from mcp.server.streamable_http_manager import StreamableHTTPSessionManager

import reflexio_mcp
from reflexio_mcp.http.access import Tokens
from reflexio_mcp.http.app import HttpApp
from reflexio_mcp.server.sdk import check
from reflexio_mcp.settings import ConfigurationError, load

PACKAGE = Path(reflexio_mcp.__file__).parent


def renaming(monkeypatch: pytest.MonkeyPatch, cls: type, name: str) -> None:
    """Let new objects of `cls` have `name` under another name."""
    begin = cls.__init__

    def begin_renamed(self: Any, *given: Any, **named: Any) -> None:
        begin(self, *given, **named)
        self.__dict__[name + "_renamed"] = self.__dict__.pop(name)

    monkeypatch.setattr(cls, "__init__", begin_renamed)


def test_without_the_owners_of_sessions_http_does_not_start(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = load({"REFLEXIO_MCP_STORE": ":memory:"})
    HttpApp(settings, Tokens(["a" * 32]))
    renaming(monkeypatch, StreamableHTTPSessionManager, "_session_owners")
    with pytest.raises(ConfigurationError, match=r"has no StreamableHTTPSessionManager\._session_owners"):
        HttpApp(settings, Tokens(["a" * 32]))


def test_without_the_low_level_server_or_the_sealing_of_forms_nothing_starts() -> None:
    server: MCPServer[Any] = MCPServer("one")
    check(server)
    server.middleware.clear()
    with pytest.raises(ConfigurationError, match="has no RequestStateBoundary"):
        check(server)
    server.__dict__["renamed"] = server.__dict__.pop("_lowlevel_server")
    assert isinstance(server.__dict__["renamed"], Server)
    with pytest.raises(ConfigurationError, match=r"has no MCPServer\._lowlevel_server"):
        check(server)


def test_private_names_of_others_are_touched_in_one_place() -> None:
    touched: dict[str, str] = {}
    defined = {"_exit", "_asdict", "_fields", "_replace"}  # of os and of named tuples, documented
    for path in PACKAGE.rglob("*.py"):
        place = str(path.relative_to(PACKAGE).as_posix())
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            name = ""
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                defined.add(node.name)
            elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
                defined.add(node.id)
            elif isinstance(node, ast.Attribute):
                if isinstance(node.ctx, ast.Store):
                    defined.add(node.attr)
                name = node.attr
            elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and "attr" in node.func.id:
                name = str(node.args[1].value) if isinstance(node.args[1], ast.Constant) else ""
            if name.startswith("_") and not name.startswith("__") and place != "server/sdk.py":
                touched[name] = place
    assert {name: place for name, place in touched.items() if name not in defined} == {}
