"""`docs/audit-rules.md`, from the catalog of rules and the constants they name."""

import ast
import re
from pathlib import Path

import reflexio_mcp.traffic
from reflexio_mcp.traffic.rules.catalog import RULES, Rule

ROOMS = [Path(reflexio_mcp.traffic.__file__).parent / room for room in ("rules", "audit")]
FIGURES = Path(__file__).parents[2] / "benchmarks" / "quality" / "figures.md"
PAGE = Path(__file__).parents[2] / "docs" / "audit-rules.md"
_NAMED = re.compile(r"\b[A-Z][A-Z]+(?:_[A-Z]+)+\b")


def constants() -> dict[str, tuple[str, str]]:
    """Every named constant of the audit with its value as written and the reason that stands below it."""
    found: dict[str, tuple[str, str]] = {}
    for path in sorted(path for room in ROOMS for path in room.glob("*.py")):
        body = ast.parse(path.read_text(encoding="utf-8")).body
        for node, below in zip(body, [*body[1:], None], strict=True):
            if not (isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and node.value):
                continue
            reason = ""
            if isinstance(below, ast.Expr) and isinstance(below.value, ast.Constant):
                reason = " ".join(str(below.value.value).split())
            if isinstance(node.value, ast.Constant | ast.BinOp):
                found[node.target.id] = (ast.unparse(node.value), reason)
    return found


def named_in(text: str) -> list[str]:
    known = constants()
    return [name for name in dict.fromkeys(_NAMED.findall(text)) if name in known]


def page() -> str:
    """The page as it should stand in `docs/`."""
    known = constants()
    lines = [
        "# What `audit_traffic` looks for",
        "",
        "Generated from `reflexio_mcp/traffic/rules/catalog.py`; a test keeps it so. Precision comes before recall: a",
        "rule that is not sure says nothing. The labelled corpus in `tests/audit` measures both, and every test run",
        "prints the table.",
        "",
        "Findings show ids and times, never content. A rule marked *filter* can be used as",
        "`finding` in every list and in `delete_requests`: it selects exactly what the finding counts, and the plan",
        "leaves stored words out.",
        "",
        "Where an audit takes several calls, each names what it does not look for: what is judged by all of the",
        "traffic, what compares sessions of two calls, and, in a call that goes on, what takes a session for over. For",
        "`copied-session` and `temporary-session` a list with that `finding` reads all sessions anew.",
        "",
        "A fingerprint, which lists show with `detail=masked`, is the first ten hexadecimal digits of an HMAC-SHA-256",
        "over a SHA-256 digest of a request's roles and contents. Its key comes from `REFLEXIO_MCP_STATE_KEYS`, else",
        "from the API key, else from a file `fingerprint.key` of this machine's user: it is the same for",
        "everybody who shares that, and nobody else can try out what it stands for.",
        "",
        "To add a rule, write its row in the catalog and the detector it names in `reflexio_mcp/traffic/rules/`:",
        "audit, filters and this page follow. Put a case of it, and what only looks so, into `tests/audit/corpus.py`.",
        "`tests/audit/test_catalog.py` names what is missing. Then renew what is generated:",
        "",
        "```bash",
        "REFLEXIO_UPDATE_SNAPSHOTS=1 python3 scripts/test.py tests/audit/test_docs.py tests/tools",
        "```",
        "",
        "| rule | severity | counts | filter |",
        "|---|---|---|---|",
        *(
            f"| `{one.id}` | {one.severity} | {one.unit}s | {'yes' if one.selects else 'no'} |"
            for one in RULES
        ),
    ]
    for one in RULES:
        lines += [
            "",
            f"## {one.id}",
            "",
            f"Finds {one.finds}. {one.why}",
            "",
            f"Instead: {one.advice}",
            "",
            *_where_nothing_is_learned(one),
            one.method,
        ]
        if names := named_in(one.method):
            lines += ["", "| threshold | value | why |", "|---|---|---|"]
            lines += [f"| `{name}` | {known[name][0]} | {known[name][1]} |" for name in names]
    return "\n".join(lines) + "\n\n" + FIGURES.read_text(encoding="utf-8")


def _where_nothing_is_learned(one: Rule) -> list[str]:
    why, advice = one.reasons(learns=False)
    if (why, advice) == (one.why, one.advice):
        return []
    instead = "" if advice == one.advice else f" Instead: {advice}"
    return [f"In a store that does not learn: {why}{instead}", ""]
