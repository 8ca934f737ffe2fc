"""The documents are right: every code block is executed or parsed, and every link works."""

import importlib.util
import json
import re
import shlex
import time
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from mcp import Client

from reflexio_mcp.backend import open_client
from reflexio_mcp.cli import parse
from reflexio_mcp.doctor.findings import PROBLEMS
from reflexio_mcp.rest.client import ReflexioClient
from reflexio_mcp.rest.models import Interaction, PublishBody, RequestQuery
from reflexio_mcp.server.server import ReflexioServer
from reflexio_mcp.settings import OPTIONS, Settings, load
from reflexio_mcp.state.postgresql import SERVERS
from reflexio_mcp.tools.catalog import offered
from tests.deletion.support import World

ROOT = Path(__file__).parent.parent.parent
DOCUMENTS = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "SECURITY.md", "CODE_OF_CONDUCT.md")),
    ROOT / "examples" / "README.md",
    ROOT / "packaging" / "README.md",
    ROOT / "benchmarks" / "shared_server.md",
    *sorted((ROOT / "docs").glob("*.md")),
]
FENCE = re.compile(r"^( *)```(\w+)?([^\n]*)\n(.*?)^ *```$", re.DOTALL | re.MULTILINE)
ELSEWHERE = (
    "pip install reflexio-mcp",
    "uv tool ",
    "uvx reflexio-mcp",
    "export ",
    "git clone ",
    "git pull",
    "diff ",
    "cd ",
)
"""Beginnings of shell lines that are not this project's to check."""


def blocks(language: str) -> list[Any]:
    return list(_blocks(language))


def _blocks(language: str) -> Iterator[Any]:
    for document in DOCUMENTS:
        for number, match in enumerate(FENCE.finditer(document.read_text(encoding="utf-8"))):
            if match.group(2) == language:
                name = f"{document.name}-{number}"
                yield pytest.param(document, match.group(3).strip(), match.group(4), id=name)


def test_every_block_is_of_a_kind_that_is_checked() -> None:
    kinds = {
        match.group(2) for path in DOCUMENTS for match in FENCE.finditer(path.read_text(encoding="utf-8"))
    }
    checked_here = {"json", "toml", "bash", "text", "jsonc", "nginx", "ini", "yaml", "caddyfile", "python"}
    assert kinds <= {*checked_here, "sql"}  # tests/state/test_postgresql.py runs the SQL


OF_THE_TESTS = {
    "REFLEXIO_EXAMPLE_COMMAND", "REFLEXIO_LIVE", "REFLEXIO_UPDATE_SNAPSHOTS",
}  # fmt: skip
"""Variables that only tests and examples read."""


@pytest.mark.parametrize(("document", "note", "text"), blocks("json"))
def test_json_is_json_and_its_variables_are_ours(document: Path, note: str, text: str) -> None:
    shown = json.loads(text)
    for section in ("mcpServers", "servers", "context_servers"):
        for entry in shown.get(section, {}).values() if isinstance(shown, dict) else ():
            _check_entry(entry)


@pytest.mark.parametrize(("document", "note", "text"), blocks("toml"))
def test_toml_is_toml_and_its_variables_are_ours(document: Path, note: str, text: str) -> None:
    for entry in tomllib.loads(text).get("mcp_servers", {}).values():
        _check_entry(entry)
        assert set(entry.get("env_vars", [])) <= {option.env for option in OPTIONS}


def _check_entry(entry: dict[str, Any]) -> None:
    if "command" in entry:
        command = [entry["command"], *entry.get("args", [])]
        assert command[-1].startswith("reflexio-mcp") or command[0].endswith("reflexio-mcp"), command
    env = entry.get("env", {})
    assert set(env) <= {option.env for option in OPTIONS}
    # As the client passes it on, with its references filled in.
    load({name: re.sub(r"\$?\{.*\}|\$\w+", "filled-in-by-the-client", value) for name, value in env.items()})


@pytest.mark.parametrize(("document", "note", "text"), blocks("bash"))
def test_each_command_is_one_that_works(document: Path, note: str, text: str) -> None:
    for line in text.replace("\\\n", " ").splitlines():
        words = shlex.split(line, comments=True)
        variables = [words.pop(0) for _ in range(len(words)) if words and re.match(r"[A-Z_]+=", words[0])]
        for assignment in variables:
            name, _, value = assignment.partition("=")
            if name.startswith("REFLEXIO_") and name not in OF_THE_TESTS:
                load({name: value} if "$" not in value else {})
                assert name in {option.env for option in OPTIONS}
        if not words or line.strip().startswith(ELSEWHERE):
            continue
        if words[0] == "eval":
            words = shlex.split(words[1].removeprefix("$(").removesuffix(")"))
        words = words[: next((at for at, word in enumerate(words) if word in ("|", ">")), None)]
        if words[0] == "reflexio-mcp":
            arguments = parse(words[1:])
            load({}, {o.name: getattr(arguments, o.name) for o in OPTIONS if hasattr(arguments, o.name)})
        elif words[:2] == ["python3", "-m"]:
            assert importlib.util.find_spec(words[2]), line
        elif words[0] in ("python3", ".venv/bin/python"):
            assert (ROOT / words[1]).is_file(), line
        elif words[:3] == ["docker", "compose", "exec"]:
            compose = (ROOT / "packaging" / "docker" / "compose.yaml").read_text(encoding="utf-8")
            assert f"\n  {words[3]}:\n" in compose, line
            assert words[-1] == SERVERS, line
        else:
            assert document in (ROOT / "docs" / "http.md", ROOT / "packaging" / "README.md"), (
                f"{line!r} is checked by nothing"
            )


REPOSITORY = "https://github.com/reflexio-mcp/reflexio-mcp/blob/main/"


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_link_inside_leads_to_a_file_and_a_heading_that_is_there(document: Path) -> None:
    text = FENCE.sub("", document.read_text(encoding="utf-8"))
    for target, place in re.findall(r"\]\(([^)#]*)(#[^)]*)?\)", text):
        target = target.replace("/raw/main/", "/blob/main/")
        path = (
            ROOT / target.removeprefix(REPOSITORY)
            if target.startswith(REPOSITORY)
            else document.parent / target
        )
        if "://" in target and not target.startswith(REPOSITORY):
            continue
        path = path if target else document
        assert path.exists(), f"{document.name} links to {target}"
        headings = re.findall(r"^#+ (.*)$", path.read_text(encoding="utf-8"), re.MULTILINE) if place else []
        slugs = ["#" + re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings]
        assert not place or place in slugs, f"{document.name} links to {target}{place}"


def test_the_readme_is_short_and_its_links_work_on_the_package_index() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert len(text.encode()) <= 9_000
    assert [target for target in re.findall(r"\]\(([^)]+)\)", text) if "://" not in target] == []


def test_every_page_can_be_reached_from_the_readme() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    pages = {path.relative_to(ROOT).as_posix() for path in DOCUMENTS} - {
        "README.md",
        "SECURITY.md",
        "CODE_OF_CONDUCT.md",
    }
    first = {page for page in pages if f"{REPOSITORY}{page}" in text}
    second = "".join((ROOT / page).read_text(encoding="utf-8") for page in first)
    linked = {link.removeprefix("../") for link in re.findall(r"\]\(([^)#]+)", second)}
    assert pages - first <= linked | {f"docs/{link}" for link in linked}
    assert len(pages - first) <= 3


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_every_variable_that_is_named_exists(document: Path) -> None:
    gone = {"REFLEXIO_MCP_AUDIT_LOG", "REFLEXIO_MCP_RECOVERY_DIR"}  # the pages say what becomes of them
    known = {option.env for option in OPTIONS} | OF_THE_TESTS | gone
    named = set(re.findall(r"REFLEXIO_[A-Z_]+[A-Z]", document.read_text(encoding="utf-8")))
    assert named <= known


def test_the_options_of_the_configuration_page_are_all_there_are() -> None:
    text = (ROOT / "docs" / "configuration.md").read_text(encoding="utf-8")
    shown = re.findall(r"^\| `(REFLEXIO_\w+)` \|", text, re.MULTILINE)
    assert sorted(shown) == sorted(option.env for option in OPTIONS)


def test_each_problem_that_doctor_names_is_explained() -> None:
    text = (ROOT / "docs" / "troubleshooting.md").read_text(encoding="utf-8")
    explained = set(re.findall(r"^\| `([a-z-]+)` \|", text, re.MULTILINE))
    assert explained == set(PROBLEMS)


def test_the_readme_says_what_it_is_in_one_sentence() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    first = text.split("# reflexio-mcp\n\n")[1].split("\n\n")[0]
    assert len(re.findall(r"\.(?:\s|$)", first)) == 1


# --- the recipes, run ---


def calls_of(page: str, *kinds: str) -> list[dict[str, Any]]:
    text = (ROOT / "docs" / page).read_text(encoding="utf-8")
    return [
        json.loads(match.group(4))
        for match in FENCE.finditer(text)
        if match.group(3).strip() in (kinds or ("call",))
    ]


def test_calls_that_need_a_reflexio_that_learns_fit_their_tools() -> None:
    tools = {tool.name: tool for tool in offered(Settings(url="http://127.0.0.1:1"))}
    calls = [
        call for page in ("recipes.md", "publishing.md") for call in calls_of(page, "call where it learns")
    ]
    assert len(calls) >= 9
    for call in calls:
        jsonschema.validate(call["arguments"], tools[call["tool"]].parameters)
        assert set(call["arguments"]) <= set(tools[call["tool"]].parameters["properties"])


@pytest.mark.anyio
async def test_each_way_of_publishing_works(tmp_path: Path) -> None:
    async with Client(ReflexioServer(Settings(store=str(tmp_path / "store.db")))) as client:
        calls = calls_of("publishing.md")
        for call in calls:
            result = await client.call_tool(call["tool"], call["arguments"])
            assert not result.is_error, (call, result.content)
            assert not (result.structured_content or {}).get("warnings"), call
    assert len(calls) == 7


async def fill(client: ReflexioClient) -> None:
    for request_id, session_id, source, version, said in (
        ("test-1", "e2e-1", "ci.e2e", "2.3", "lorem ipsum test test"),
        ("test-2", "e2e-2", "ci.e2e", "2.3", "lorem ipsum test test"),
        ("trip-1", "trip", "chat", "2.3", "I am flying to Lisbon in May."),
        ("passport-1", "visa", "chat", "2.3", "My passport has the number C01X00T47."),
        ("allergy-1", "dinner", "chat", "2.3", "I cannot eat peanuts."),
        ("keep-1", "other", "chat", "2.3", "Somebody else's."),
        ("deploy-1", "work", "chat", "2.4", "Send the report on Fridays."),
    ):
        turn = Interaction(content=said)
        body = PublishBody(
            user_id="bob" if request_id == "keep-1" else "ada", session_id=session_id, request_id=request_id,
            interaction_data_list=[turn], source=source, agent_version=version,
        )  # fmt: skip
        await client.publish(body, minted=False)


async def followed(server: ReflexioServer, calls: list[dict[str, Any]]) -> int:
    """Make calls as a recipe has them, one after the other.

    Returns:
        How many requests and learnings they deleted.
    """
    deleted, code, following = 0, "", ""
    planned: dict[str, Any] = {}
    times: dict[str, str] = {}
    async with Client(server) as client:
        for call in calls:
            arguments = {**call["arguments"]}
            if arguments.pop("confirm", "") == "CODE":
                assert arguments == {**planned, **times}, "the plan before this call is of another one"
                arguments |= {name: re.findall(rf"{name}=(\S+?)[,)]", following)[0] for name in times}
                arguments["confirm"] = code
            result = await client.call_tool(call["tool"], arguments)
            facts = result.structured_content
            assert not result.is_error, (call, result.content)
            assert facts is not None
            code, planned, following = facts.get("confirm", ""), arguments, facts.get("next", "")
            # A code is of a set, and an age selects another one in the next call.
            times = {name: "TIME" for name in ("start_time", "end_time") if name in arguments}
            deleted += facts.get("deleted", 0)
    return deleted


async def left(client: ReflexioClient) -> set[str]:
    page = await client.get_requests(RequestQuery(top_k=100))
    return {one.request.request_id for group in page.sessions for one in group.requests}


@pytest.mark.anyio
async def test_the_recipes_do_what_they_say(tmp_path: Path) -> None:
    where = Settings(store=str(tmp_path / "store.db"), confirm="preview")
    async with open_client(where) as client:
        await fill(client)
    deleted = await followed(ReflexioServer(where), calls_of("recipes.md"))
    async with open_client(where) as client:
        ids = await left(client)
    # The passport, two of the test run, the trip, the evaluation, and the last two of one person.
    assert ("keep-1" in ids, len(ids), deleted) == (True, 2, 7)


@pytest.mark.anyio
async def test_the_recipes_do_what_they_say_where_it_learns(tmp_path: Path) -> None:
    world = World(":memory:", tmp_path)
    world.clock.now = int(time.time())
    await fill(world.rest)
    await world.learn("b7c1", "trip-1", content="Likes aisle seats.")
    calls = calls_of("recipes.md", "call", "call where it learns")
    try:
        deleted = await followed(world.server(CONFIRM="preview"), calls)
        # Beside the same requests the test of the extraction, and the learning.
        assert (await left(world.rest), world.backend.profiles, deleted) == ({"keep-1"}, {}, 9)
    finally:
        await world.close()


def test_the_page_on_architecture_names_what_exists() -> None:
    page = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    assert len(page.splitlines()) <= 120
    named = {name for name in re.findall(r"`([a-z_/]+(?:/|\.py))`", page) if not name.startswith("tests/")}
    assert len(named) > 30
    missing = [name for name in sorted(named) if not (ROOT / "reflexio_mcp" / name).exists()]
    assert missing == []
    first = {path.name.removesuffix(".py") for path in (ROOT / "reflexio_mcp").iterdir()}
    rooms = {name.strip("/").split("/")[0].removesuffix(".py") for name in named}
    assert first - rooms <= {"__init__", "__main__", "__pycache__", "py.typed"}
