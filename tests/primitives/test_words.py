"""What a model is told before its first call, whole, for each policy of consent. A change of words must be meant.

Run with `REFLEXIO_UPDATE_SNAPSHOTS=1` to write the snapshots anew.
"""

import os
import re
from pathlib import Path
from typing import get_args

import pytest
from mcp.client.client import Client
from mcp.types import TextContent

from reflexio_mcp.server.guide import guide
from reflexio_mcp.server.prompts import PROMPTS
from reflexio_mcp.server.server import ReflexioServer
from reflexio_mcp.settings import Confirm, load
from reflexio_mcp.tools.catalog import CATALOG

TOOLS = [spec.name for spec in CATALOG]

pytestmark = pytest.mark.anyio

FOLDER = Path(__file__).parent / "words"
POLICIES: tuple[Confirm, ...] = get_args(Confirm)
BACKENDS = {
    "embedded": {"REFLEXIO_MCP_STORE": ":memory:"},
    "learning": {"REFLEXIO_URL": "http://127.0.0.1:1", "REFLEXIO_MCP_RECOVERY_DAYS": "7"},
}
GIVEN = {"session_id": "trip", "user_id": "ada", "start_time": "7d"}


async def words(**env: str) -> str:
    """The instructions, the description of each tool that deletes, and every prompt."""
    server = ReflexioServer(load(env))
    async with Client(server, mode="2026-07-28") as client:
        parts = [server.instructions or ""]
        parts += [
            f"{tool.name}: {tool.description}"
            for tool in (await client.list_tools()).tools
            if tool.annotations and tool.annotations.destructive_hint
        ]
        for prompt in (await client.list_prompts()).prompts:
            names = [one.name for one in prompt.arguments or ()]
            got = await client.get_prompt(prompt.name, {one: GIVEN[one] for one in names if one in GIVEN})
            [message] = got.messages
            assert isinstance(message.content, TextContent)
            parts.append(f"{prompt.name}: {prompt.description}\n{message.content.text}")
    return "\n\n".join(parts) + "\n"


def check(name: str, text: str) -> None:
    path = FOLDER / f"{name}.txt"
    if os.environ.get("REFLEXIO_UPDATE_SNAPSHOTS"):
        FOLDER.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")
    assert path.read_text(encoding="utf-8") == text


@pytest.mark.parametrize("confirm", POLICIES)
@pytest.mark.parametrize("backend", BACKENDS)
async def test_what_is_said_before_the_first_call_is_as_its_snapshot_says(
    backend: str, confirm: Confirm
) -> None:
    text = await words(REFLEXIO_MCP_CONFIRM=confirm, **BACKENDS[backend])
    check(f"{confirm}-{backend}", text)


@pytest.mark.parametrize("learns", [False, True])
def test_the_guide_is_as_its_snapshot_says(learns: bool) -> None:
    check(f"guide-{'learning' if learns else 'embedded'}", guide(TOOLS, learns=learns, confirm="auto") + "\n")


def test_no_snapshot_is_left_of_what_is_gone() -> None:
    names = {f"{confirm}-{backend}" for confirm in POLICIES for backend in BACKENDS}
    assert {path.stem for path in FOLDER.glob("*.txt")} == names | {f"guide-{one}" for one in BACKENDS}


async def test_where_nobody_is_asked_nothing_promises_a_plan() -> None:
    """An assistant that looks at the plan first deletes with its first call."""
    for env in BACKENDS.values():
        text = await words(REFLEXIO_MCP_CONFIRM="off", **env)
        promised = (guide(TOOLS, learns=True, confirm="off") + text).replace("no plan", "")
        assert " plan" not in promised
        for said in ("would go first", "confirm code", "in a form"):
            assert said not in promised
        assert "a clear wish is enough for a few requests" in text
        assert "tell me what would be deleted and wait for my yes" in text


@pytest.mark.parametrize("confirm", [one for one in POLICIES if one != "off"])
async def test_a_clear_request_is_enough_only_where_the_operator_says_so(confirm: Confirm) -> None:
    text = await words(REFLEXIO_MCP_CONFIRM=confirm)
    assert "a clear wish is enough" not in text
    assert "at once" not in text


async def test_nothing_speaks_of_learning_where_nothing_learns() -> None:
    text = await words(**BACKENDS["embedded"])
    assert "learn" not in text
    assert "learn" in await words(**BACKENDS["learning"])


@pytest.mark.parametrize(
    "has", [(), ("audit_traffic",), ("publish_interaction", "get_request"), tuple(TOOLS)]
)
def test_the_guide_and_the_prompts_name_only_tools_that_the_model_has(has: tuple[str, ...]) -> None:
    said = [guide(has, learns=True, confirm="auto")]
    said += [
        prompt.write({}, has, confirm="auto", learns=True) for prompt in PROMPTS if prompt.needs <= set(has)
    ]
    named = {name for text in said for name in TOOLS if re.search(rf"\b{name}\b", text)}
    assert named <= set(has)
    assert bool(named) is bool(has)
