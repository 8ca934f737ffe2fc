"""Sentences that several readers get are made in `render/`; other rooms make facts, or have one reader."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import reflexio_mcp
from reflexio_mcp.tools.catalog import CATALOG

PACKAGE = Path(reflexio_mcp.__file__).parent
WORDS = re.compile(r"[A-Za-z][a-z']*,? [a-z']+,? [a-z']+")
"""Three words in a row."""

STATEMENT = re.compile(r"\s*;?\s*(?:SELECT|INSERT|UPDATE|DELETE|CREATE|ALTER|GRANT|REVOKE|WITH) ")
"""The start of an SQL statement."""

REFUSALS = {"InvalidInput", "PydanticCustomError"}
"""They say what an argument accepts, name no tool, and never repeat a value that is not quoted."""

SCHEMA = {"Field", "ToolSpec"}
"""What a model reads before it calls, in schemas and descriptions."""

SHELL_ALONE = "a shell reads it, and nobody else, in the words of commands and options"
CLIENT_ALONE = "a client program or a browser reads it, before the caller and its tools are known"
MODEL_ALONE = "a model reads it, and nobody else; tests/primitives/ compare what it names with the tools"

ONE_READER = {
    "backend.py": SHELL_ALONE,
    "cli.py": SHELL_ALONE,
    "delete_command.py": SHELL_ALONE,
    "demo.py": SHELL_ALONE,
    "doctor/": SHELL_ALONE,
    "embedded_store/": "the service says it, and its words are shown as a detail",
    "explore.py": SHELL_ALONE,
    "explorer/document.py": "the page's code",
    "http/": CLIENT_ALONE,
    "install/": SHELL_ALONE,
    "logs.py": "lines of the log",
    "publish_command.py": SHELL_ALONE,
    "report_command.py": SHELL_ALONE,
    "read_commands.py": SHELL_ALONE,
    "render/": "the words of every reader",
    "screen.py": SHELL_ALONE,
    "server/calls.py": MODEL_ALONE,
    "server/guide.py": MODEL_ALONE,
    "server/prompts.py": MODEL_ALONE,
    "server/resources.py": MODEL_ALONE,
    "server/sdk.py": SHELL_ALONE,
    "server/server.py": MODEL_ALONE,
    "server/skills.py": MODEL_ALONE,
    "server/stdio_stream.py": CLIENT_ALONE,
    "settings.py": "an operator reads it, in a help text and in docs/configuration.md",
    "state_command.py": SHELL_ALONE,
}
"""Rooms whose sentences have one reader, so that a table for each would have one column."""

ALLOWED = {
    # What a caller wrote, and what is wrong with it, as the text of `InvalidInput`
    "toolkit/parameters.py": (21, "what arguments accept"),
    "tools/learnings.py": (1, "what arguments accept"),
    "traffic/deletion/targets.py": (1, "the name of a target"),
    "traffic/learnings/select.py": (1, "the name of a selection"),
    "traffic/policy.py": (8, "what a policy file accepts"),
    "traffic/publishing.py": (4, "parts of what arguments accept, and a detail"),
    "traffic/reading/filter_wording.py": (3, "the name of a filter"),
    # Schemas
    "results/facts.py": (1, "the description of a field"),
    "results/reading.py": (1, "the description of a field"),
    "tools/catalog.py": (4, "descriptions of tools"),
    "tools/explore.py": (1, "the mark of the page's data"),
    "traffic/filter_fields.py": (12, "descriptions of fields"),
    # Details, which stand in brackets or in a fence
    "rest/client.py": (1, "a detail of a failed call"),
    "rest/exchange.py": (5, "details of a failed call"),
    "rest/transport.py": (7, "details of a failed call"),
    "results/base.py": (3, "how stored text is marked"),
    "state/keys.py": (4, "why the state cannot be used"),
    "state/log.py": (2, "why the log cannot be trusted"),
    "state/postgresql.py": (26, "why the state cannot be used"),
    "state/records.py": (2, "lines of the audit log"),
    "state/state.py": (3, "why the state cannot be used"),
    "state/tables.py": (11, "why the state cannot be used"),
    # Rules of the audit say why, in words for everybody
    "traffic/audit/rules/content.py": (7, "why and advice of rules"),
    "traffic/audit/rules/duplicates.py": (2, "why and advice of a rule"),
    "traffic/audit/rules/habits.py": (16, "why and advice of rules"),
    "traffic/audit/rules/injection.py": (8, "patterns"),
    "traffic/audit/rules/learning.py": (8, "why and advice of rules"),
    "traffic/audit/rules/secrets.py": (6, "patterns, and kinds of secrets"),
    "traffic/audit/run.py": (3, "names of what is not looked for"),
    "traffic/learnings/listing.py": (2, "the name of a selection"),
    "traffic/learnings/evidence.py": (2, "what Reflexio writes"),
}
"""How many more a file has, and why. A number only falls."""


def sentences(path: Path) -> Iterator[tuple[int, str]]:
    """Strings of three words and more, without docstrings, schemas, refused arguments and texts for programmers."""
    tree = ast.parse(path.read_text("utf-8"))
    parents = {child: node for node in ast.walk(tree) for child in ast.iter_child_nodes(node)}
    refusing = {
        name.id
        for call in ast.walk(tree)
        if isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and call.func.id in REFUSALS
        for name in ast.walk(call)
        if isinstance(name, ast.Name)
    }
    for node in ast.walk(tree):
        match node:
            case ast.Constant(str(text)) if WORDS.search(text) and not STATEMENT.match(text):
                if not allowed(node, parents, refusing):
                    yield node.lineno, text
            case _:
                pass


def allowed(node: ast.AST, parents: dict[ast.AST, ast.AST], refusing: set[str]) -> bool:
    while node in parents:
        node = parents[node]
        match node:
            case ast.Expr(ast.Constant()) | ast.Raise():
                return True
            case ast.Call(ast.Name(name) | ast.Attribute(_, name)) if name in REFUSALS | SCHEMA:
                return True
            case ast.Call(ast.Attribute(ast.Name("logger"))):
                return True
            case ast.ClassDef(name="FactCode"):
                return True
            case ast.AnnAssign(ast.Name(name)) if name in refusing:
                return True
            case _:
                pass
    return False


def counted() -> dict[str, int]:
    found = {
        path.relative_to(PACKAGE).as_posix(): len([*sentences(path)])
        for path in sorted(PACKAGE.rglob("*.py"))
    }
    return {name: number for name, number in found.items() if number and not one_reader(name)}


def one_reader(name: str) -> str:
    """Who alone reads the sentences of a file; empty if several readers get them."""
    return next((reader for room, reader in ONE_READER.items() if name.startswith(room)), "")


def test_a_sentence_for_a_reader_is_made_in_render_alone() -> None:
    more = {name: number for name, number in counted().items() if number > ALLOWED.get(name, (0, ""))[0]}
    assert more == {}, "make it a fact, with its words in render/, or say who alone reads it"


def test_a_shell_a_client_and_a_refusal_for_several_readers_name_no_tool() -> None:
    tool = re.compile(rf"\b(?:{'|'.join(spec.name for spec in CATALOG)})\b")
    for path in sorted(PACKAGE.rglob("*.py")):
        name = path.relative_to(PACKAGE).as_posix()
        if one_reader(name) in (SHELL_ALONE, CLIENT_ALONE):
            for _, text in sentences(path):
                assert not tool.search(text), (name, text)
        if name.startswith(("rest/", "state/", "traffic/")):
            for text in refusals(path):
                assert not re.search(rf"{tool.pattern}|(?<!\S)--\w|`", text), (name, text)


def refusals(path: Path) -> Iterator[str]:
    """Texts of errors and refused arguments, which a model, a shell and the page can all get."""
    tree = ast.parse(path.read_text("utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.Raise):
            yield from (
                inner.value
                for inner in ast.walk(node)
                if isinstance(inner, ast.Constant) and isinstance(inner.value, str)
            )
