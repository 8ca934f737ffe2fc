"""Importing the MCP SDK for a server, without what only clients or other transports need of it.

This import is most of a start. What is left out of it is there as soon as it is used.
"""

import gc
import importlib.util
import sys
import threading
from collections.abc import Callable
from types import ModuleType
from typing import Any, Final, cast

from pydantic import BaseModel

__all__ = ["import_sdk"]

_WHEN_USED: Final = ("mcp", "httpx2")
"""`mcp` imports the clients, and they `httpx2`; a module of the server's names that, for resources by address."""


def import_sdk(*, http: bool) -> Callable[[], None]:
    """Import the SDK's types; what is imported after this takes its time from what this sets up.

    The garbage collector is off afterwards, as nothing that an import makes is garbage: `tune_collector` turns it on.

    Args:
        http: whether HTTP is served; without it, `uvicorn` is not imported.

    Returns:
        What takes it back, for a release of the SDK that can only be imported in its own order.
    """
    before = {*sys.modules}

    def take_back() -> None:
        for name in sys.modules.keys() - before:
            if name.partition(".")[0] in (*_WHEN_USED, "mcp_types", __package__):
                del sys.modules[name]

    gc.disable()
    # For a log handler that has no use, since `log_to_stderr` has set one.
    _leave_out("rich")
    if not http:
        # `sse_starlette` would have a share in how it stops, where it is installed.
        _leave_out("uvicorn.main")
    for package in _WHEN_USED:
        _import_when_used(package)
    # A union is built at once whatever its models say, and from models that are not built it is built more slowly.
    importlib.import_module("mcp_types")
    # Of the same types as each revision spells them, a connection needs few.
    BaseModel.model_config["defer_build"] = True
    # So that `from mcp import types` finds it and does not ask `mcp` for a name.
    importlib.import_module("mcp.types")
    return take_back


def _leave_out(module: str) -> None:
    """Make an import of `module` fail, where it is not imported yet and the importer can do without it."""
    sys.modules.setdefault(module, cast("ModuleType", None))


def _import_when_used(package: str) -> None:
    """Run a package's `__init__` when one of its names is asked for; its submodules can be imported before that."""
    if package in sys.modules or (spec := importlib.util.find_spec(package)) is None or spec.loader is None:
        return
    loader = spec.loader
    module = importlib.util.module_from_spec(spec)
    lock = threading.RLock()
    running = False

    def load(name: str) -> Any:
        nonlocal running
        with lock:  # a second thread waits, as for any import
            if running:
                raise AttributeError(f"module {package!r} has no attribute {name!r} yet")
            if vars(module).get("__getattr__") is load:
                running = True
                try:
                    loader.exec_module(module)
                finally:
                    running = False
                if vars(module).get("__getattr__") is load:
                    del vars(module)["__getattr__"]
        return getattr(module, name)

    vars(module)["__getattr__"] = load
    sys.modules[package] = module
