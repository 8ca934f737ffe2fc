"""Tasks about what was learned, on a real Reflexio server that learns.

    python -m evals.learning FOLDER TASK [--view text|structured]

Starts the server with a scripted model behind it, plants the conversations, prints what the assistant is told, and runs
until the assistant has answered. Then it writes down what is left, for `evals.report`, and ends.
"""

import argparse
import json
import logging
import tempfile
from itertools import groupby
from pathlib import Path
from typing import Final

import anyio

from evals.bridge import VIEWS, keep_apart, new_folder, prepare, settings_of, task_of
from evals.deeds import done_by_others
from evals.tasks import LEARNING_TASKS
from evals.worlds import FACTS, WAITS, conversations, publish_body, request_ids
from reflexio_mcp.rest.client import ReflexioClient
from scripts import reflexio_server
from scripts.serving import free_port
from tests.support.scripted_model import Rule, ScriptedModel

RULES: Final = (
    Rule(
        "moved from berlin", profile=f"{FACTS['home']}, in Neubau", quote="I have moved from Berlin to Vienna"
    ),
    Rule("allergic to peanuts", profile=FACTS["food"], quote="I am allergic to peanuts"),
    Rule("three sentences at most", playbook=f"Keep a letter to {FACTS['style']}"),
    Rule("diabetes", profile=f"{FACTS['health']} and takes metformin", quote="I have type 2 diabetes"),
    Rule("test-blue", profile=FACTS["colour"], quote="my favourite colour is test-blue"),
    Rule("without meat", profile=FACTS["diet"], quote="Without meat, as always"),
    Rule("get up at six", profile=FACTS["early"], quote="I get up at six every day"),
    Rule("sleep until ten", profile=FACTS["late"], quote="I sleep until ten on every day of the week"),
    Rule("live in graz", profile=FACTS["tom"], quote="I live in Graz"),
)
"""What the model learns, and from which words."""

ANSWERED_SECONDS: Final = 0.5
"""How often it is looked whether the assistant has answered."""


async def plant(client: ReflexioClient) -> None:
    """Publish the conversations; the last request of each is learned from when this returns."""
    for _, rows in groupby(conversations(), key=lambda row: row.session_id):
        *before, last = rows
        for row in before:
            await client.publish(publish_body(row), minted=False)
        if last.kind == WAITS:
            await client.publish(publish_body(last), minted=False)
            continue
        closing = publish_body(last).model_copy(update={"force_extraction": True})
        reply = await client.publish(closing, minted=False, wait=True)
        assert reply.learning_status == "done", reply


async def left(client: ReflexioClient) -> dict[str, list[str]]:
    """The ids of the requests that a service has, and what it has learned of anybody."""
    learned: list[str] = []
    for user in {row.user_id for row in conversations()}:
        learned += [one.content for one in await client.get_profiles(user) if not one.status]
        learned += [one.content for one in await client.get_user_playbooks(user) if not one.status]
    return {"requests": sorted(await request_ids(client)), "learned": sorted(learned)}


async def _run(folder: Path, task: str, view: str, url: str) -> None:
    async with ReflexioClient(url) as client:
        await plant(client)
        told = prepare(folder, task=task, view=view, url=url)
        begun, _ = task_of(folder)
        if begun.after_others:
            keep_apart(folder)
            await done_by_others(settings_of(folder))
        print(told, flush=True)
        log = anyio.Path(folder / "log.jsonl")
        while not (await log.exists() and '"answer"' in await log.read_text(encoding="utf-8")):  # noqa: ASYNC110 - another process writes it
            await anyio.sleep(ANSWERED_SECONDS)
        (folder / "left.json").write_text(json.dumps(await left(client)), encoding="utf-8")


def main() -> None:
    """Run one task."""
    parser = argparse.ArgumentParser(
        prog="python -m evals.learning",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("folder", type=new_folder)
    names = [one.name for one in LEARNING_TASKS]
    parser.add_argument("task", choices=names, metavar="task", help=", ".join(names))
    parser.add_argument("--view", choices=VIEWS, default="text")
    given = parser.parse_args()
    logging.disable()  # only what the assistant is told is printed
    python = reflexio_server.install()
    given.folder.mkdir(parents=True)
    with ScriptedModel(list(RULES)) as model, tempfile.TemporaryDirectory() as home:
        port = free_port()
        server = reflexio_server.start(port, Path(home), python, model=model.url)
        try:
            anyio.run(_run, given.folder, given.task, given.view, f"http://127.0.0.1:{port}")
        finally:
            reflexio_server.stop(server)


if __name__ == "__main__":
    main()
