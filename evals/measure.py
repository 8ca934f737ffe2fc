"""What a fixed way through twelve of the tasks costs: `python -m evals.measure [text|structured ...] [--show FOLDER]`.

Nothing here needs an assistant, so a change of words is weighed before anybody is asked again. The calls are such as
assistants make; "*" stands for the code of the call before.
"""

import argparse
import json
import logging
import os
import re
import sys
import tempfile
from pathlib import Path
from typing import Any, Final

import anyio

from evals import bridge

__all__ = ["WAYS", "walk"]

Call = tuple[str, dict[str, Any]]


def _twice(tool: str, **arguments: Any) -> list[Call]:
    """A deletion: its plan, and the call that carries it out."""
    return [(tool, arguments), (tool, arguments | {"confirm": "*"})]


WAYS: Final[dict[str, list[Call]]] = {
    "lisbon": [
        ("list_requests", {"user_id": "ada", "contains": "Lisbon", "limit": 100}),
        ("list_requests", {"session_id": "holiday-plans"}),
        *_twice("delete_session", session_id="holiday-plans", user_id="ada"),
    ],
    "staging": [
        ("list_sessions", {"start_time": "24h", "limit": 100}),
        *_twice("delete_requests", source="staging-e2e", start_time="24h"),
    ],
    "credentials": [("audit_traffic", {})],
    "credentials-delete": [
        ("list_requests", {"finding": "probable-secret", "limit": 100}),
        *_twice("delete_requests", request_ids=["cred-aws", "cred-token"]),
    ],
    "twice": [
        ("audit_traffic", {}),
        ("list_requests", {"finding": "duplicate", "limit": 100}),
        *_twice("delete_requests", finding="duplicate", start_time="30d"),
    ],
    "erase-user": _twice("delete_requests", user_id="cyd"),
    "undo": [*_twice("delete_session", session_id="board-minutes"), *_twice("restore_requests", deletion=1)],
    "last": [
        ("list_requests", {"user_id": "ada", "limit": 5}),
        *_twice("delete_request", request_id="bad-1"),
    ],
    "how-many": [("list_requests", {"user_id": "bob", "limit": 100})],
    "longest": [("list_sessions", {"order": "longest", "limit": 5})],
    "health": [
        ("list_requests", {"user_id": "ada", "contains": "health", "limit": 100}),
        ("list_sessions", {"user_id": "ada", "limit": 100}),
        *_twice("delete_session", session_id="ada-health", user_id="ada"),
    ],
    "only-mine": _twice("delete_session", session_id="default", user_id="ada"),
}  # fmt: skip


async def walk(folder: Path, name: str, view: str) -> list[tuple[str, str]]:
    """Make the calls of one task; each with what the host's model is given of its result."""
    await bridge.begin(folder, name, view=view)
    made: list[tuple[str, str]] = []
    given: dict[str, str] = {}
    for tool, arguments in WAYS[name]:
        filled = {key: given.get(key, "") if value == "*" else value for key, value in arguments.items()}
        result = await bridge.call(folder, tool, filled)
        made.append((f"{tool} {json.dumps(filled, ensure_ascii=False)}", result))
        given |= re.findall(r"\b(confirm)\W{1,4}([\w-]+)", result)
    return made


async def _main(views: list[str], show: Path | None) -> None:
    for view in views:
        calls = chars = 0
        for name in WAYS:
            with tempfile.TemporaryDirectory() as base:
                # The server keeps its keys beside the run, so that the person's own are left alone.
                os.environ["XDG_DATA_HOME"] = f"{base}/data"
                made = await walk(Path(base) / "run", name, view)
            sizes = [len(result) for _, result in made]
            calls, chars = calls + len(sizes), chars + sum(sizes)
            each = " + ".join(f"{one:,}" for one in sizes)
            sys.stdout.write(f"{view:<10} {name:<20} {sum(sizes):>7,} = {each}\n")
            if show:
                _write(show / f"{view}-{name}.txt", made)
        sys.stdout.write(f"{view}: {calls} calls, {chars:,} characters\n")


def _write(path: Path, made: list[tuple[str, str]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"> {call}\n{result}\n\n" for call, result in made), encoding="utf-8")


def main() -> None:
    """Print what each way costs."""
    parser = argparse.ArgumentParser(prog="python -m evals.measure", description=__doc__)
    parser.add_argument("view", nargs="*", default=["text", "structured"])
    parser.add_argument("--show", type=Path, help="write each call with its result into this folder")
    told = parser.parse_args()
    # A host shows its model no log.
    logging.disable()
    anyio.run(_main, told.view, told.show)


if __name__ == "__main__":
    main()
