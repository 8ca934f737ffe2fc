"""The documents are right: code blocks are executed or parsed, links lead somewhere, and what is named exists."""

import importlib.util
import json
import re
import shlex
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import jsonschema
import pytest
from mcp import Client

from reflexio_mcp.backend import open_client
from reflexio_mcp.cli import parse
from reflexio_mcp.rest.models import Interaction, PublishBody, RequestQuery
from reflexio_mcp.server.server import ReflexioServer
from reflexio_mcp.settings import OPTIONS, Settings, load
from reflexio_mcp.tools.catalog import offered

ROOT = Path(__file__).parent.parent.parent
DOCUMENTS = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "SECURITY.md", "CODE_OF_CONDUCT.md")),
    ROOT / "examples" / "README.md",
    ROOT / "packaging" / "README.md",
    *sorted((ROOT / "docs").glob("*.md")),
]
EACH = pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.relative_to(ROOT).as_posix())
REPOSITORY = "https://github.com/reflexio-mcp/reflexio-mcp/blob/main/"

FENCE = re.compile(
    r"^ *```(?P<language>\w+)?(?P<note>[^\n]*)\n(?P<text>.*?)^ *```$", re.DOTALL | re.MULTILINE
)
VARIABLES = {option.env for option in OPTIONS}
OF_THE_TESTS = {
    "REFLEXIO_EXAMPLE_COMMAND",
    "REFLEXIO_LIVE",
    "REFLEXIO_LOAD",
    "REFLEXIO_TEST_ENGINE",
    "REFLEXIO_UPDATE_SNAPSHOTS",
}
"""Variables that only tests and examples read."""

SYSTEM = {
    "apt", "brew", "caddy", "cd", "claude", "createdb", "curl", "diff", "docker", "export", "git", "mkdir", "nginx",
    "npx", "openssl", "opentelemetry-instrument", "opentelemetry-bootstrap", "pip", "pipx", "psql", "source", "sudo",
    "systemctl", "tail", "unset", "uv", "uvx",
}  # fmt: skip
"""Programs in shell lines that are not this project's to check."""


class Block(NamedTuple):
    document: Path
    language: str
    note: str
    text: str


def text_of(path: Path) -> str:
    return path.read_text(encoding="utf-8")


def blocks(*documents: Path) -> Iterator[Block]:
    for document in documents or DOCUMENTS:
        for found in FENCE.finditer(text_of(document)):
            yield Block(document, found["language"] or "", found["note"].strip(), found["text"])


# --- what is named exists ---


def test_entries_of_clients_are_well_formed_and_their_variables_are_ours() -> None:
    entries: list[dict[str, Any]] = []
    for block in blocks():
        if block.language == "json":
            shown = json.loads(block.text)
            for section in ("mcpServers", "servers", "context_servers"):
                entries += shown.get(section, {}).values() if isinstance(shown, dict) else ()
        elif block.language == "toml":
            entries += tomllib.loads(block.text).get("mcp_servers", {}).values()
    assert len(entries) > 5
    for entry in entries:
        env = entry.get("env", {})
        assert env.keys() | {*entry.get("env_vars", [])} <= VARIABLES
        # As the client passes it on, with its references filled in.
        load({name: re.sub(r"\$?\{.*\}|\$\w+", "filled-in", value) for name, value in env.items()})
        assert "command" not in entry or "reflexio-mcp" in " ".join(
            [entry["command"], *entry.get("args", [])]
        )


@EACH
def test_each_command_works(document: Path) -> None:
    for block in blocks(document):
        lines = block.text.replace("\\\n", " ").splitlines() if block.language == "bash" else []
        for line in lines:
            words = shlex.split(re.sub(r'^eval "\$\((.*)\)"', r"\1", line), comments=True)
            while words and (assigned := re.fullmatch(r"(REFLEXIO_\w+)=(.*)", words[0], re.DOTALL)):
                assert assigned[1] in VARIABLES | OF_THE_TESTS, line
                load(
                    {assigned[1]: assigned[2]} if assigned[1] in VARIABLES and "$" not in assigned[2] else {}
                )
                words.pop(0)
            words = words[: next((at for at, word in enumerate(words) if word in ("|", ">", ">>")), None)]
            if words[:1] == ["systemd-run"]:  # what it runs comes after its own options
                words = words[next(at for at, word in enumerate(words[1:], 1) if word[0] != "-") :]
            if not words or Path(words[0]).name in SYSTEM or re.match(r"\w+=", words[0]):
                continue
            if words[0].endswith("reflexio-mcp"):
                typed = vars(parse(words[1:]))
                load({}, {option.name: typed[option.name] for option in OPTIONS if option.name in typed})
            elif "-m" in words[:2]:
                assert importlib.util.find_spec(words[2]), line
            else:
                assert "python" in words[0], f"{line!r} is checked by nothing"
                assert (ROOT / words[1]).is_file(), line


@EACH
def test_each_link_inside_leads_to_a_file_and_a_heading_that_exist(document: Path) -> None:
    for target, place in re.findall(r"\]\(([^)#]*)(#[^)]*)?\)", FENCE.sub("", text_of(document))):
        target = target.replace("/raw/main/", "/blob/main/")
        if "://" in target and not target.startswith(REPOSITORY):
            continue
        inside = target.startswith(REPOSITORY)
        path = ROOT / target.removeprefix(REPOSITORY) if inside else document.parent / target
        path = path if target else document
        assert path.exists(), target
        if place:
            headings = re.findall(r"^#+ (.*)$", text_of(path), re.MULTILINE)
            slugs = ["#" + re.sub(r"[^\w -]", "", one.lower()).replace(" ", "-") for one in headings]
            assert place in slugs, f"{target}{place}"


@EACH
def test_each_variable_that_is_named_exists(document: Path) -> None:
    assert set(re.findall(r"REFLEXIO_[A-Z_]+[A-Z]", text_of(document))) <= VARIABLES | OF_THE_TESTS


def test_the_page_on_architecture_names_what_exists() -> None:
    page = text_of(ROOT / "CONTRIBUTING.md")
    elsewhere = ("tests/", "scripts/", "reflexio_mcp/")
    found = re.findall(r"`([a-z_/]+(?:/|\.py))`", page)
    named = {name for name in found if not name.startswith(elsewhere)}
    assert [name for name in sorted(named) if not (ROOT / "reflexio_mcp" / name).exists()] == []
    rooms = {name.strip("/").split("/")[0].removesuffix(".py") for name in named}
    there = {path.name.removesuffix(".py") for path in (ROOT / "reflexio_mcp").iterdir()}
    assert there - rooms <= {"__init__", "__main__", "__pycache__", "py.typed"}


def test_the_pages_are_short() -> None:
    def words(*paths: Path) -> int:
        return sum(len(text_of(path).split()) for path in paths)

    assert words(ROOT / "README.md") <= 1_000
    assert words(ROOT / "CHANGELOG.md") <= 700
    # The codes of facts are for programs, and are looked up rather than read.
    codes = re.search(r"### Facts\n.*?<!-- end -->", text_of(ROOT / "docs/tools.md"), re.DOTALL)
    assert codes
    assert words(*(ROOT / "docs").glob("*.md")) - len(codes[0].split()) <= 14_000


def test_the_links_of_the_readme_work_on_the_package_index() -> None:
    text = text_of(ROOT / "README.md")
    assert [target for target in re.findall(r"\]\(([^)]+)\)", text) if "://" not in target] == []


# --- the calls, made ---


def calls_of(page: str, *, learning: bool = False) -> list[dict[str, Any]]:
    notes = ("call", "call where it learns") if learning else ("call",)
    return [json.loads(block.text) for block in blocks(ROOT / "docs" / page) if block.note in notes]


@pytest.mark.parametrize("page", ["recipes.md", "concepts.md"])
def test_each_call_fits_its_tool(page: str) -> None:
    tools = {tool.name: tool for tool in offered(Settings(url="http://127.0.0.1:1", recovery_days=7))}
    for call in calls_of(page, learning=True):
        schema = tools[call["tool"]].input_schema
        jsonschema.validate(call["arguments"], schema)
        assert call["arguments"].keys() <= schema["properties"].keys()


@pytest.mark.anyio
async def test_each_way_of_publishing_works(tmp_path: Path) -> None:
    async with Client(ReflexioServer(Settings(store=str(tmp_path / "store.db")))) as client:
        for call in calls_of("concepts.md"):
            assert not (await facts_of(client, call)).get("warnings"), call


async def facts_of(client: Client, call: dict[str, Any]) -> dict[str, Any]:
    result = await client.call_tool(call["tool"], call["arguments"])
    assert not result.is_error, (call, result.content)
    return result.structured_content or {}


STORED = (
    ("test-1", "ada", "e2e-1", "ci.e2e", "2.3", "lorem ipsum test test"),
    ("test-2", "ada", "e2e-2", "ci.e2e", "2.3", "lorem ipsum test test"),
    ("trip-1", "ada", "trip", "chat", "2.3", "I am flying to Lisbon in May."),
    ("passport-1", "ada", "visa", "chat", "2.3", "My passport has the number C01X00T47."),
    ("allergy-1", "ada", "dinner", "chat", "2.3", "I cannot eat peanuts."),
    ("keep-1", "bob", "other", "chat", "2.3", "Somebody else's."),
    ("deploy-1", "ada", "work", "chat", "2.4", "Send the report on Fridays."),
)


@pytest.mark.anyio
async def test_the_recipes_do_what_they_say(tmp_path: Path) -> None:
    settings = Settings(store=str(tmp_path / "store.db"), confirm="preview")
    async with open_client(settings) as backend:
        for request_id, user_id, session_id, source, version, said in STORED:
            body = PublishBody(
                user_id=user_id, session_id=session_id, request_id=request_id, source=source, agent_version=version,
                interaction_data_list=[Interaction(content=said)],
            )  # fmt: skip
            await backend.publish(body, minted=False)
    deleted = 0
    async with Client(ReflexioServer(settings)) as client:
        for call in calls_of("recipes.md"):
            facts = await facts_of(client, call)
            if "plan" in facts:  # The page says that the second call repeats the first with the plan's code.
                call["arguments"]["confirm"] = facts["plan"]["confirm"]
                facts = await facts_of(client, call)
            deleted += facts.get("receipt", {}).get("deleted", {}).get("requests", 0)
    async with open_client(settings) as backend:
        page = await backend.get_requests(RequestQuery(top_k=100))
    left = {one.request.request_id for group in page.sessions for one in group.requests}
    # Deleted: the passport, two of the test run, the trip, the evaluation, and the last two of one person.
    assert ("keep-1" in left, len(left), deleted) == (True, 1, 7)
