"""Links that put the server into a client with one click; the client asks before it adds anything."""

import base64
import json
from collections.abc import Callable
from typing import Any, Final
from urllib.parse import quote, urlencode

from reflexio_mcp.install.clients import find_client
from reflexio_mcp.install.entry import PROMPT, InstallSpec, entry

__all__ = ["LINKS"]


def _json(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)


def _cursor(spec: InstallSpec) -> str:
    config = base64.b64encode(_json(_entry("cursor", spec)).encode()).decode()
    return f"https://cursor.com/en/install-mcp?{urlencode({'name': spec.name, 'config': config})}"


def _vscode(spec: InstallSpec) -> str:
    query = {"name": spec.name, "config": _json(_entry("vscode", spec))}
    if spec.with_key:
        query["inputs"] = _json([PROMPT])
    return f"https://insiders.vscode.dev/redirect/mcp/install?{urlencode(query, quote_via=quote)}"


def _entry(name: str, spec: InstallSpec) -> dict[str, Any]:
    client = find_client(name)
    assert client is not None
    return entry(client, spec)


LINKS: Final[dict[str, Callable[[InstallSpec], str]]] = {"cursor": _cursor, "vscode": _vscode}
"""A client's name to what makes its link. Web addresses, because pages strip links with a scheme of a program."""
