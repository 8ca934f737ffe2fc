"""Sentences that somebody reads are made in `render/`; the rooms below it make facts."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import reflexio_mcp

PACKAGE = Path(reflexio_mcp.__file__).parent
ROOMS = ("consent", "rest", "results", "state", "toolkit", "tools", "traffic")

WORDS = re.compile(r"[A-Za-z][a-z']*,? [a-z']+,? [a-z']+")
"""Three words in a row."""

STATEMENT = re.compile(r"\s*;?\s*(?:SELECT|INSERT|UPDATE|DELETE|CREATE|ALTER|GRANT) ")
"""The start of an SQL statement."""

REFUSALS = {"InvalidInput", "PydanticCustomError"}
"""They say what an argument accepts, name no tool, and never repeat a value that is not quoted."""

SCHEMA = {"Field", "ToolSpec"}
"""What a model reads before it calls, in schemas and descriptions."""

ALLOWED = {
    # What a caller wrote, and what is wrong with it, as the text of `InvalidInput`
    "toolkit/parameters.py": (21, "what arguments accept"),
    "tools/learnings.py": (1, "what arguments accept"),
    "traffic/deletion/targets.py": (1, "the name of a target"),
    "traffic/learnings/select.py": (1, "the name of a selection"),
    "traffic/policy.py": (6, "what a policy file accepts"),
    "traffic/publishing.py": (4, "parts of what arguments accept, and a detail"),
    "traffic/reading/filters.py": (3, "the name of a filter"),
    # Schemas
    "results/facts.py": (1, "the description of a field"),
    "results/reading.py": (1, "the description of a field"),
    "tools/catalog.py": (3, "descriptions of tools"),
    "tools/explore.py": (1, "the mark of the page's data"),
    "traffic/filter_fields.py": (12, "descriptions of fields"),
    # Details, which stand in brackets or in a fence
    "rest/client.py": (1, "a detail of a failed call"),
    "rest/exchange.py": (5, "details of a failed call"),
    "rest/transport.py": (7, "details of a failed call"),
    "results/base.py": (3, "how stored text is marked"),
    "state/keys.py": (4, "why the state cannot be used"),
    "state/log.py": (2, "why the log cannot be trusted"),
    "state/postgresql.py": (13, "why the state cannot be used"),
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
    paths = [path for room in ROOMS for path in sorted((PACKAGE / room).rglob("*.py"))]
    found = {path.relative_to(PACKAGE).as_posix(): len([*sentences(path)]) for path in paths}
    return {name: number for name, number in found.items() if number}


def test_a_sentence_for_a_reader_is_made_in_render_alone() -> None:
    more = {name: number for name, number in counted().items() if number > ALLOWED.get(name, (0, ""))[0]}
    assert more == {}, "make it a fact, with its words in render/"
