"""How long each regular expression of the package takes for texts made to slow it down. Run as a script.

It prints one JSON object a line: `pattern` and `where` before a pattern is looked at, then `slow` for a text for which
its time grew faster than the text. A pattern that takes more processor time than any linear one ends the process.
"""

import ast
import importlib
import itertools
import json
import os
import pkgutil
import re
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from re import _constants as constants  # type: ignore[attr-defined]
from re import _parser as parser  # type: ignore[attr-defined]
from typing import Any, NamedTuple

CHARS = 50_000
GROWTH = 8.0
"""Times longer for four times the text. A quadratic pattern takes sixteen, a linear one four."""
NOTICED = 0.005
"""Seconds below which a look says nothing: a quadratic one of 50 kB takes more, whatever its constant."""
MOST_SECONDS = 10.0
"""Of processor time for one pattern and one text."""

FAILING = ("", "\0", "\n\0", "!")
PLAIN = (
    " ",
    "\n",
    "\t ",
    "a",
    "A",
    "1",
    "-",
    "_",
    ".",
    "a ",
    "a-",
    "a.",
    "\\",
    '"',
    "'",
    "=",
    ":",
    "/",
    "@",
    "\u4e00",
)
BRANCHES = 6
TEXTS = 24
SLOWEST = 2
"""Of the texts of a pattern, those that are looked at in full length: they took longest for a tenth of it."""


SEARCH = frozenset({"search"})
AT_ONE_PLACE = frozenset({"match", "fullmatch"})


class Found(NamedTuple):
    pattern: str
    flags: int
    where: str
    ways: frozenset[str] = SEARCH
    """`search`, or those of `match` and `fullmatch` that are used."""


def compiled_on_import(package: str) -> list[Found]:
    """Import every module and note each pattern that the package's own code compiles meanwhile."""
    found: list[Found] = []
    inner = re._compile  # type: ignore[attr-defined]

    def noting(pattern: Any, flags: int) -> Any:
        compiled = inner(pattern, flags)
        frame: Any = sys._getframe(1)
        while frame.f_globals.get("__name__") == "re":
            frame = frame.f_back
        if str(frame.f_globals.get("__name__")).startswith(package) and isinstance(compiled.pattern, str):
            found.append(
                Found(compiled.pattern, compiled.flags, f"{frame.f_globals['__name__']}:{frame.f_lineno}")
            )
        return compiled

    re._compile = noting  # type: ignore[attr-defined]
    try:
        root = importlib.import_module(package)
        for module in pkgutil.walk_packages(root.__path__, f"{package}."):
            if not module.name.endswith("__main__"):
                importlib.import_module(module.name)
    finally:
        re._compile = inner  # type: ignore[attr-defined]
    return found


def written_in_calls(package: str) -> tuple[list[Found], list[str]]:
    """The patterns written in calls of `re` inside functions, and the places where one is put together there."""
    found, unknown = list[Found](), list[str]()
    root = Path(importlib.import_module(package).__path__[0])
    for path in sorted(root.rglob("*.py")):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        for function in (
            one for one in ast.walk(tree) if isinstance(one, ast.FunctionDef | ast.AsyncFunctionDef)
        ):
            for call in (one for one in ast.walk(function) if isinstance(one, ast.Call)):
                name = ast.unparse(call.func)
                if not re.fullmatch(
                    r"re\.(compile|sub|subn|search|match|fullmatch|split|findall|finditer)", name
                ):
                    continue
                where = f"{path.relative_to(root.parent)}:{call.lineno}"
                if isinstance(call.args[0], ast.Constant) and isinstance(call.args[0].value, str):
                    way = name.removeprefix("re.")
                    ways = frozenset({way}) if way in AT_ONE_PLACE else SEARCH
                    found.append(Found(call.args[0].value, 0, where, ways))
                else:
                    unknown.append(f"{where}: {ast.unparse(call.args[0])}")
    return found, unknown


def only_matched(package: str) -> dict[tuple[str, str], frozenset[str]]:
    """Modules and private names of patterns that are only ever matched at one place of a text, with how they are."""
    used: dict[tuple[str, str], set[str]] = {}
    root = Path(importlib.import_module(package).__path__[0])
    for path in root.rglob("*.py"):
        module = ".".join(path.relative_to(root.parent).with_suffix("").parts)
        for one in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(one, ast.Attribute) and isinstance(one.value, ast.Name):
                used.setdefault((module, one.value.id), set()).add(one.attr)
    return {
        key: AT_ONE_PLACE & methods
        for key, methods in used.items()
        if key[1].startswith("_") and AT_ONE_PLACE & methods and methods <= AT_ONE_PLACE | {"pattern"}
    }


def samples(items: Any) -> Iterator[str]:
    """A few texts that a part of a pattern matches, or nearly."""
    parts = [list(itertools.islice(samples_of(*item), BRANCHES)) or [""] for item in items]
    if not parts:
        yield ""
        return
    for turn in range(max(map(len, parts))):
        yield "".join(part[turn % len(part)] for part in parts)


def samples_of(kind: Any, value: Any) -> Iterator[str]:
    if kind is constants.LITERAL:
        yield chr(value)
    elif kind is constants.NOT_LITERAL:
        yield "b" if value == ord("a") else "a"
    elif kind is constants.ANY:
        yield from ("a", " ")
    elif kind is constants.IN:
        yield from members(value)
    elif kind is constants.BRANCH:
        for branch in value[1]:
            yield from itertools.islice(samples(branch), 2)
    elif kind is constants.SUBPATTERN:
        yield from samples(value[3])
    elif kind is constants.ATOMIC_GROUP:
        yield from samples(value)
    elif kind in REPEATS:
        least, most, inner = value
        for one in samples(inner):
            yield one * max(least, min(1, most))
    elif kind is constants.ASSERT:
        yield from samples(value[1]) if value[0] > 0 else ("",)
    else:
        yield ""


def members(items: Any) -> Iterator[str]:
    """Characters of a class."""
    if items[0][0] is constants.NEGATE:
        known = re.compile("[" + "".join(map(re.escape, PLAIN)) + "]")
        taken = {chr(value) for kind, value in items[1:] if kind is constants.LITERAL}
        yield from [one for one in ("a", " ", "1", "-", "\n") if known and one not in taken][:3]
        return
    for kind, value in items:
        if kind is constants.LITERAL:
            yield chr(value)
        elif kind is constants.RANGE:
            yield chr(value[0])
            yield chr(value[1])
        elif kind is constants.CATEGORY:
            yield from CATEGORIES.get(value, ("a", " "))


REPEATS = (constants.MAX_REPEAT, constants.MIN_REPEAT, constants.POSSESSIVE_REPEAT)
CATEGORIES = {
    constants.CATEGORY_DIGIT: ("1", "0"),
    constants.CATEGORY_NOT_DIGIT: ("a", " "),
    constants.CATEGORY_SPACE: (" ", "\n"),
    constants.CATEGORY_NOT_SPACE: ("a", "-"),
    constants.CATEGORY_WORD: ("a", "1", "_"),
    constants.CATEGORY_NOT_WORD: (" ", "-"),
}


def repeats(items: Any, before: str = "") -> Iterator[tuple[str, list[str]]]:
    """Each part that can be repeated at length: what comes before it, and what it repeats."""
    for number, (kind, value) in enumerate(items):
        so_far = before + next(samples(items[:number]))
        if kind in REPEATS:
            if value[1] > 20:
                yield so_far, list(itertools.islice(samples(value[2]), BRANCHES))
            yield from repeats(value[2], so_far)
        elif kind is constants.SUBPATTERN:
            yield from repeats(value[3], so_far)
        elif kind is constants.ATOMIC_GROUP:
            yield from repeats(value, so_far)
        elif kind is constants.BRANCH:
            for branch in value[1]:
                yield from repeats(branch, so_far)
        elif kind in (constants.ASSERT, constants.ASSERT_NOT):
            yield from repeats(value[1], so_far)


def texts(found: Found) -> list[tuple[str, str, str]]:
    """What a text begins with, repeats and ends with, so that the pattern finds much to try and then nothing."""
    tree = parser.parse(found.pattern, found.flags)
    made: dict[tuple[str, str, str], None] = {}
    for before, bodies in repeats(tree):
        for body in filter(None, bodies):
            for end in FAILING[:3]:
                made[before, body, end] = None
            made["", before + body, "\0"] = None
            made["", before + body * 3, "\0"] = None
            made[before, body + before, "!"] = None
        if before:
            made["", before, "\0"] = None
            made["", before + " ", "\0"] = None
    for whole in itertools.islice(samples(tree), BRANCHES):
        if whole:
            made["", whole, "!"] = None
            made["", whole[:-1] or whole, "\0"] = None
            made["", whole[: len(whole) // 2] or whole, "\0"] = None
    for piece in PLAIN:
        made["", piece, "\0"] = None
    many = list(made)
    # Evenly from all of them: a pattern of many branches has thousands.
    return many[:: max(1, len(many) // TEXTS)]


def seconds(compiled: Any, ways: frozenset[str], text: str) -> float:
    begun = time.thread_time()
    if "search" in ways:
        for _ in compiled.finditer(text):
            pass
    for way in ways & AT_ONE_PLACE:
        getattr(compiled, way)(text)
    return time.thread_time() - begun


def slow(compiled: Any, ways: frozenset[str], made: tuple[str, str, str]) -> str:
    """Says how the time grew where it grew faster than the text."""
    before, body, end = made
    quarter, whole = (before + body * (chars // len(body)) + end for chars in (CHARS // 4, CHARS))
    seconds(compiled, ways, quarter)
    long = seconds(compiled, ways, whole)
    if long > NOTICED:
        least = min(seconds(compiled, ways, quarter) for _ in range(3))
        long = min(long, seconds(compiled, ways, whole))
        if long > NOTICED and long > GROWTH * least:
            return f"{before!r} + {body!r} * n + {end!r}: {least:.4f} s, then {long:.4f} s for four times the text"
    return ""


def say(facts: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(facts) + "\n")
    sys.stdout.flush()


def main(package: str) -> None:
    imported = compiled_on_import(package)
    written, unknown = written_in_calls(package)
    say({"unknown": unknown})
    names = {
        value.pattern: (module, name)
        for module, known in list(sys.modules.items())
        if module.startswith(package)
        for name, value in vars(known).items()
        if isinstance(value, re.Pattern)
    }
    matched = only_matched(package)
    every: dict[tuple[str, int], Found] = {}
    for one in (*imported, *written):
        every.setdefault((one.pattern, one.flags & ~re.UNICODE), one)
    for found in every.values():
        ways = matched.get(names.get(found.pattern, ("", "")), found.ways)
        say({"pattern": found.pattern, "where": found.where, "ways": sorted(ways)})
        # In a process of its own: nothing else ends a pattern that takes for ever.
        if (child := os.fork()) == 0:
            look(found, ways)
            os._exit(0)
        if os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) != 0:
            say({"slow": f"more than {MOST_SECONDS} s of processor time"})


def look(found: Found, ways: frozenset[str]) -> None:
    compiled = re.compile(found.pattern, found.flags)
    costs: list[tuple[float, tuple[str, str, str]]] = []
    for made in texts(found):
        before, body, end = made
        begin(made)
        costs.append((seconds(compiled, ways, before + body * (CHARS // 10 // len(body)) + end), made))
    for _, made in sorted(costs, reverse=True)[:SLOWEST]:
        begin(made)
        if said := slow(compiled, ways, made):
            say({"slow": said})
            return


def begin(made: tuple[str, str, str]) -> None:
    signal.setitimer(signal.ITIMER_VIRTUAL, MOST_SECONDS)
    say({"text": made})


if __name__ == "__main__":
    main(sys.argv[1])
