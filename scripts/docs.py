"""Write what the documents say about the code. A test proves that they agree with it.

Between `<!-- generated: NAME -->` and `<!-- end -->` is what `BLOCKS` makes; `server.json` and the bundle's
manifest are made whole. Needs the `test` group: `.venv/bin/python scripts/docs.py` after `python3 scripts/test.py`.
"""

import argparse
import base64
import json
import re
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import plugin
import published
from bootstrap import ROOT

from benchmarks.counting import per_tool
from reflexio_mcp.cli import COMMANDS, FILTER_HELP, build_parser
from reflexio_mcp.consent.forms import ANSWER_SECONDS
from reflexio_mcp.install.clients import CLIENTS, Client, Layout, System
from reflexio_mcp.install.entry import Server, entry, snippet
from reflexio_mcp.rest.api_limits import (
    MAX_BODY_BYTES,
    MAX_CONTENT_CHARS,
    MAX_DELETE_IDS,
    MAX_INTERACTIONS,
    PUBLISHES_PER_MINUTE,
)
from reflexio_mcp.results.answer_size import PAGE_CHARS, TEXT_CHARS
from reflexio_mcp.results.facts import FactCode
from reflexio_mcp.server.prompts import PROMPTS
from reflexio_mcp.server.resources import RESOURCES, TEMPLATES
from reflexio_mcp.settings import GROUPS, OPTIONS, Settings
from reflexio_mcp.state.state import RECORD_DAYS
from reflexio_mcp.tools.catalog import CATALOG, offered, sdk_tool
from reflexio_mcp.traffic.audit.run import AUDIT_SECONDS
from reflexio_mcp.traffic.deletion.plan import CODE_SECONDS

DOCUMENTS = ("README.md", *sorted(f"docs/{path.name}" for path in (ROOT / "docs").glob("*.md")))
BLOCK = re.compile(r"(<!-- generated: ([\w-]+) -->\n)(.*?)(<!-- end -->)", re.DOTALL)
SCHEMAS = "reflexio_mcp/tools/schemas.json"
COMMAND = published.command(published.SOURCE)
ENV_OF_ONE_USER = {"REFLEXIO_USER_ID": "your-user-id"}


def options() -> str:
    """The options, a table for each group."""
    return "\n".join(_options(group) for group in GROUPS)


def _options(group: str) -> str:
    rows = [f"### {GROUPS[group]}", "", "| Variable | What it does | Default |", "|---|---|---|"]
    for option in OPTIONS:
        if option.group != group:
            continue
        default = option.typed_default
        note = f"`{default}`" if default else ""
        accepts = option.kind.accepts.split(" from ")[-1]  # `1 to 600` of `a number from 1 to 600`
        if default and not option.is_switch and accepts != "any text":
            note += f" ({accepts})"
        secret = "**Secret.** " if option.secret else ""
        rows.append(f"| `{option.env}` | {secret}{option.help} | {note} |")
    return "\n".join(rows) + "\n"


@cache
def listed() -> tuple[dict[str, object], ...]:
    """The tools as `tools/list` gives them where all are offered with every parameter."""
    everything = Settings(url="http://localhost:8061", recovery_days=7)
    return tuple(tool.model_dump(by_alias=True, exclude_none=True) for tool in offered(everything))


def _not_embedded() -> str:
    """The tools that are not offered with the embedded store."""
    embedded = {tool.name for tool in offered(Settings())}
    names = [f"`{tool['name']}`" for tool in listed() if tool["name"] not in embedded]
    return f"{', '.join(names[:-1])} and {names[-1]}"


def tools() -> str:
    """The tool table with what each costs in a model's context."""
    rows = ["| Tool | What it does | Changes | Tokens |", "|---|---|---|---:|"]
    costs = per_tool(listed())
    for tool in listed():
        hints = tool["annotations"]
        assert isinstance(hints, dict)
        if hints["readOnlyHint"]:
            changes = "nothing"
        elif hints["destructiveHint"]:
            changes = "deletes"
        else:
            changes = "adds"
        rows.append(f"| `{tool['name']}` | {tool['description']} | {changes} | {costs[str(tool['name'])]} |")
    rows.append(f"| **{len(costs)} tools** | | | **{sum(costs.values())}** |")
    return (
        "\n".join(rows)
        + "\n\n*Tokens* counts name, description and input schema (`cl100k_base`), which a model is given in every "
        "conversation. `restore_requests` is left out if `REFLEXIO_MCP_RECOVERY_DAYS` is 0, and "
        f"with the embedded store, which learns nothing, {_not_embedded()}.\n"
    )


ABOUT_FACTS = """Plans and receipts have `facts`: what else you have to know. A program reads the code, a model reads \
`text`. A fact has a `number`, `names` and a time, `until`, where the table says so:

```json
{"code": "on_hold", "number": 2, "names": ["Miller case"], "until": "2027-03-01T23:59:59Z"}
```

A code keeps its meaning in later versions. They can add codes, so a program ignores codes that it does not know.

| Code | What it says |
|---|---|
"""


def facts() -> str:
    """The codes of facts with what they mean."""
    return ABOUT_FACTS + "".join(f"| `{code}` | {code.meaning} |\n" for code in FactCode)


def clients() -> str:
    """A row for each client, then each form of the entry once."""
    rows = ["| Client | File | The key of an account |", "|---|---|---|"]
    forms: dict[str, list[str]] = {}
    for client in CLIENTS:
        note = "" if client.note == CURSOR.note else client.note  # Cursor has the usual one
        rows.append(f"| {client.title}: `{client.name}` | {_places(client)} | {note} |")
        form = f"```{client.format}\n{snippet(client, Server(COMMAND, ENV_OF_ONE_USER))}\n```\n"
        forms.setdefault(form, []).append(client.title)
    blocks = (f"{', '.join(titles)}:\n\n{form}" for form, titles in forms.items())
    return "\n".join([*rows, "", *blocks])


def _link(client: Client) -> str:
    """A link that puts the server into a client with one click, as a web address: pages strip links of programs."""
    config = json.dumps(entry(client, Server(COMMAND)), separators=(",", ":"))
    if client.name == "cursor":
        encoded = base64.b64encode(config.encode()).decode()
        return f"https://cursor.com/en/install-mcp?{urlencode({'name': 'reflexio', 'config': encoded})}"
    query = urlencode({"name": "reflexio", "config": config}, quote_via=quote)
    return f"https://insiders.vscode.dev/redirect/mcp/install?{query}"


CURSOR = next(client for client in CLIENTS if client.name == "cursor")
ONE_CLICK = ("cursor", "vscode")


def one_line() -> str:
    """What adds the server to a client in one line or click, without a clone."""
    words = f"reflexio -- {' '.join(COMMAND)} --user-id your-user-id"
    links = (f"[Add to {client.title}]({_link(client)})" for client in CLIENTS if client.name in ONE_CLICK)
    rows = (
        ("Claude Code", f"`claude mcp add --scope user {words}`"),
        ("Codex", f"`codex mcp add {words}`"),
        ("Cursor, VS Code", " · ".join(links)),
    )
    table = ["| Client | Run or click |", "|---|---|", *(f"| {client} | {how} |" for client, how in rows)]
    form = f"```json\n{snippet(None, Server(COMMAND, ENV_OF_ONE_USER))}\n```\n"
    return "\n".join([*table, "", "Any other client takes this entry:", "", form])


def _places(client: Client) -> str:
    systems: tuple[tuple[System, str], ...] = (("linux", "Linux"), ("macos", "macOS"), ("windows", "Windows"))
    found: dict[str, list[str]] = {}
    for system, title in systems:
        home = Path("/home/you")
        path = client.paths(Layout(system, home))[0].relative_to(home).as_posix()
        if system == "windows":
            path = path.replace("AppData/Roaming", "%APPDATA%")
            shown = path.replace("/", "\\") if path.startswith("%") else f"~/{path}"
        else:
            shown = f"~/{path}"
        found.setdefault(shown, []).append(title)
    if len(found) == 1:
        return f"`{next(iter(found))}`"
    return ", ".join(f"`{shown}` ({' and '.join(titles)})" for shown, titles in found.items())


MIB = 1024 * 1024


def limits() -> str:
    """The limits that a reader has to know before a decision, each with its name in the code or its setting."""
    default = Settings()
    rows_of_a_list = next(tool for tool in listed() if tool["name"] == "list_requests")["inputSchema"]
    assert isinstance(rows_of_a_list, dict)
    most_rows = rows_of_a_list["properties"]["limit"]["maximum"]
    rows = (
        ("Interactions in one request", f"{MAX_INTERACTIONS:,}", "MAX_INTERACTIONS"),
        ("Characters in one interaction", f"{MAX_CONTENT_CHARS:,}", "MAX_CONTENT_CHARS"),
        ("Size of one publish", f"{MAX_BODY_BYTES // MIB} MiB", "MAX_BODY_BYTES"),
        (
            "Publishes a minute, by all people (Reflexio's limit)",
            f"{PUBLISHES_PER_MINUTE}",
            "PUBLISHES_PER_MINUTE",
        ),
        ("Rows on one page of a list", f"{most_rows}", "limit"),
        ("Characters of one answer", f"{TEXT_CHARS:,}", "TEXT_CHARS"),
        ("Characters of a page with `limit`, or of places", f"{PAGE_CHARS:,}", "PAGE_CHARS"),
        ("Seconds of one audit call", f"{AUDIT_SECONDS:.0f}", "AUDIT_SECONDS"),
        ("Ids in one deletion", f"{MAX_DELETE_IDS:,}", "MAX_DELETE_IDS"),
        ("Items deleted in an hour", f"{default.delete_cap:,}", "REFLEXIO_MCP_DELETE_CAP"),
        ("Hours for a plan's code", f"{CODE_SECONDS // 3600}", "CODE_SECONDS"),
        ("Minutes for a form", f"{ANSWER_SECONDS / 60:.0f}", "ANSWER_SECONDS"),
        ("Days for a recovery copy", f"{default.recovery_days}", "REFLEXIO_MCP_RECOVERY_DAYS"),
        ("Days for a receipt, unless its copy stays longer", f"{RECORD_DAYS}", "RECORD_DAYS"),
        ("Calls of one caller at once", f"{default.max_in_flight}", "REFLEXIO_MCP_MAX_IN_FLIGHT"),
    )
    table = ["| What | At most | Name |", "|---|---:|---|"]
    return "\n".join([*table, *(f"| {what} | {most} | `{name}` |" for what, most, name in rows)]) + "\n"


SHARED_OPTIONS = ("--limit", "--all")
"""Options that mean the same in each command that has them."""


def usage() -> str:
    """Every command with its own arguments and examples; the filter and shared options once."""
    _, parsers = build_parser()
    what = "Lists, the audit (except `--finding`) and deletions take this filter. A request must match all its parts."
    said = ["## The filter", "", what, ""]
    said += [f"- `--{name.replace('_', '-')}`: {about}" for name, about in FILTER_HELP.items()]
    without_json = [f"`{name}`" for name, parser in parsers.items() if not _takes_json(parser)]
    without_json.append("`version`")  # another spelling of the option, without a parser of its own
    json_too = f"With `--json`, a command prints JSON, except {', '.join(without_json)}; an error goes to stderr alone."
    said += ["", f"Lists also take `--limit N` (default: 20) and `--all`. {json_too}"]
    explained: set[str] = set()
    for title, commands in COMMANDS.items():
        said += ["", f"## {title}"]
        for name, command in commands.items():
            examples = (re.split(" {3,}", line)[0] for line in command.examples.splitlines())
            said += ["", f"### `reflexio-mcp {name}`", "", parsers[name].description or "", ""]
            said += ["```bash", *examples, "```"]
            if own_arguments := _arguments(parsers[name], explained):
                said += ["", *own_arguments]
    return "\n".join(said) + "\n"


def _takes_json(parser: argparse.ArgumentParser) -> bool:
    return any("--json" in action.option_strings for action in parser._actions)


def _arguments(parser: argparse.ArgumentParser, explained: set[str]) -> list[str]:
    """What a command takes besides the settings of the server.

    Args:
        explained: lines of commands above. One of them is not repeated; this command's are added.
    """
    explained_above = {option.name for option in OPTIONS} | {"help", "json"}
    taken = [action for action in parser._actions if action.dest not in explained_above]
    filter_options = {f"filter_{name}" for name in FILTER_HELP}
    filtering = [action for action in taken if action.dest in filter_options]
    if len(filtering) == 1:
        filtering = []  # a command with one such option says what it means
    shared = [action for action in taken if any(flag in SHARED_OPTIONS for flag in action.option_strings)]
    explained_elsewhere = ["the filter"] if filtering else []
    explained_elsewhere += [f"`{action.option_strings[0]}`" for action in shared]
    listing, above = list[str](), list[str]()
    for action in taken:
        if action not in filtering and action not in shared:
            value = f" {action.metavar or action.dest.upper()}" if action.nargs is None else ""
            name = f"{action.option_strings[0]}{value}" if action.option_strings else action.metavar
            line = f"- `{name}`: {(action.help or '') % {'default': action.default}}"
            if line in explained:
                above.append(f"`{action.option_strings[0] if action.option_strings else action.metavar}`")
            else:
                listing.append(line)
    explained.update(listing)
    if above:
        listing.insert(0, f"- {', '.join(above)}: as above")
    if explained_elsewhere:
        listing.insert(0, f"- {', '.join(explained_elsewhere)}")
    return listing


def prompts() -> str:
    """The prompts with their arguments."""
    rows = ["| Prompt | Arguments | What it does |", "|---|---|---|"]
    for prompt in PROMPTS:
        arguments = ", ".join(f"`{name}`" for name in prompt.arguments)
        rows.append(f"| `{prompt.name}` | {arguments} | {prompt.description} |")
    return "\n".join(rows) + "\n"


def resources() -> str:
    """The resources and their templates."""
    rows = ["| Resource | What it is |", "|---|---|"]
    rows += [f"| `{resource.uri}` | {resource.description} |" for resource in RESOURCES]
    rows += [f"| `{template.uri_template}` | {template.description} |" for template in TEMPLATES]
    return "\n".join(rows) + "\n"


def schemas() -> str:
    """The schemas of each tool, as the SDK derives them from its function."""
    found: dict[str, Any] = {}
    for spec in CATALOG:
        tool = sdk_tool(spec.name)
        given = without_ballast(tool.parameters, tool.parameters)
        if spec.opened_by:  # all arguments of the page would cost tokens in every conversation
            needed = {name: given["properties"][name] for name in given["required"]}
            given = {"type": "object", "properties": needed, "required": given["required"]}
        # Without `additionalProperties`, which some clients cannot read; the server refuses unknown arguments itself.
        found[spec.name] = {"inputSchema": given, "outputSchema": tool.output_schema}
    return json.dumps(found, indent=1) + "\n"


SAYS_LITTLE = {
    "$defs",
    "title",
    "maxLength",
    "minLength",
    "maxItems",
    "minItems",
    "minimum",
    "additionalProperties",
}
"""Keywords that cost tokens in every listing; a refusal explains violations."""


def without_ballast(node: Any, whole: dict[str, Any]) -> Any:
    """A part of a `whole` schema without references, empty defaults and what is in `SAYS_LITTLE`."""
    if isinstance(node, list):
        return [without_ballast(item, whole) for item in node]
    if not isinstance(node, dict):
        return node
    if reference := node.get("$ref"):
        node = whole["$defs"][reference.rpartition("/")[2]] | {"description": ""}
    left_out = SAYS_LITTLE | {key for key in ("default", "description") if not node.get(key)}
    found = {key: without_ballast(value, whole) for key, value in node.items() if key not in left_out}
    if "properties" in node:  # a property may be named like a keyword
        properties = node["properties"].items()
        found["properties"] = {name: without_ballast(schema, whole) for name, schema in properties}
    return found


BLOCKS: dict[str, Callable[[], str]] = {
    "options": options,
    "prompts": prompts,
    "resources": resources,
    "tools": tools,
    "facts": facts,
    "clients": clients,
    "limits": limits,
    "one-line": one_line,
    "usage": usage,
}

FILES: dict[str, Callable[[], str]] = {
    SCHEMAS: schemas,
    "server.json": lambda: published.as_text(published.server_json()),
    "packaging/mcpb/manifest.json": lambda: published.as_text(published.bundle_manifest()),
    **plugin.FILES,
}


def renewed(text: str) -> str:
    """A document with every block as the code has it now; a block of an unknown name stays."""

    def renewed_block(found: re.Match[str]) -> str:
        begin, name, old, end = found.groups()
        return begin + (BLOCKS[name]() if name in BLOCKS else old) + end

    return BLOCK.sub(renewed_block, text)


def stale() -> dict[Path, str]:
    """The files that no longer agree with the code, with what they should be."""
    wanted = {ROOT / name: make() for name, make in FILES.items()}
    wanted |= {
        ROOT / name: renewed((ROOT / name).read_text(encoding="utf-8"))
        for name in DOCUMENTS
        if (ROOT / name).exists()
    }
    return {
        path: text
        for path, text in wanted.items()
        if not path.exists() or path.read_text(encoding="utf-8") != text
    }


if __name__ == "__main__":
    (ROOT / SCHEMAS).write_text(schemas(), encoding="utf-8")  # the tools, which pages list, need it
    for path, text in stale().items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        print(f"{path.relative_to(ROOT)} is up to date again")
