"""`mcp.json.example` is what people copy first, so what it says has to start."""

import json
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest

from reflexio_mcp.settings import OPTIONS, load
from tests.support.stdio import environment, open_session

pytestmark = pytest.mark.anyio

EXAMPLE = Path(__file__).parent.parent / "mcp.json.example"
SERVERS: dict[str, dict[str, Any]] = json.loads(EXAMPLE.read_text(encoding="utf-8"))["mcpServers"]


@pytest.mark.parametrize("name", SERVERS)
async def test_each_entry_starts_and_lists_its_tools(name: str, tmp_path: Path) -> None:
    entry = SERVERS[name]
    beside_python = str(Path(sys.executable).parent)
    command = shutil.which(entry["command"], path=beside_python)
    assert command, f"{entry['command']} is not among the commands in {beside_python}"
    env = environment(tmp_path, **entry.get("env", {}))
    async with open_session("2025-11-25", env=env, command=[command, *entry.get("args", [])]) as session:
        assert {tool["name"] for tool in await session.list_tools()} >= {
            "publish_interaction",
            "delete_request",
        }
        assert await session.end_input() == 0


@pytest.mark.parametrize(
    ("name", "embedded", "base_url"),
    [
        ("reflexio", True, ""),
        ("reflexio-self-hosted", False, "http://localhost:8061"),
        ("reflexio-hosted", False, "https://www.reflexio.ai"),
    ],
)
def test_each_entry_reaches_the_backend_its_name_promises(name: str, embedded: bool, base_url: str) -> None:
    settings = load(SERVERS[name].get("env", {}))
    assert (settings.embedded, settings.base_url) == (embedded, base_url)


def test_every_variable_in_the_example_is_one_that_the_server_reads() -> None:
    known = {option.env for option in OPTIONS}
    used = {variable for entry in SERVERS.values() for variable in entry.get("env", {})}
    assert used <= known
