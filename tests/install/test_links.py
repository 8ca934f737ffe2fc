"""One-click links hold exactly the entry that `install` would write."""

import base64
import json
from urllib.parse import parse_qs, urlsplit

import pytest

from reflexio_mcp.install.entry import PROMPT, InstallSpec, entry
from reflexio_mcp.install.launch import Launch
from reflexio_mcp.install.links import LINKS
from tests.install.support import client_of

SPECS = [
    InstallSpec(Launch("uvx", ("reflexio-mcp",))),
    InstallSpec(
        Launch("uvx", ("--from", "git+https://x.example/é+&?", "reflexio-mcp")),
        {"REFLEXIO_USER_ID": "a b"},
        with_key=True,
    ),
]


@pytest.mark.parametrize("spec", SPECS, ids=["plain", "with a key"])
@pytest.mark.parametrize("name", sorted(LINKS))
def test_a_link_holds_the_entry(name: str, spec: InstallSpec) -> None:
    parts = urlsplit(LINKS[name](spec))
    query = parse_qs(parts.query, strict_parsing=True)
    config = query["config"][0]
    text = base64.b64decode(config).decode() if name == "cursor" else config
    assert parts.scheme == "https"
    assert query["name"] == ["reflexio"]
    assert json.loads(text) == entry(client_of(name), spec)
    if name == "vscode":
        assert [json.loads(one) for one in query.get("inputs", [])] == ([[PROMPT]] if spec.with_key else [])
