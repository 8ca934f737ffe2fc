"""Learnings, plans, receipts and restores say the same in both forms, and stored names never become words of ours."""

import re
from collections.abc import Iterator
from typing import Any

import pytest
from mcp.types import CallToolResult

from reflexio_mcp.render.words import Words, words_for_model
from reflexio_mcp.results.facts import Fact
from tests.deletion.support import World
from tests.support.facts import ANY_OF_THEM, HOSTILE, text_of

pytestmark = pytest.mark.anyio

USER, SESSION, FIRST, SECOND, LEARNING = (HOSTILE.format(name) for name in ("ada", "s", "r1", "r2", "p1"))


def ours(text: str) -> str:
    """A text without its fences, in one line."""
    return " ".join(re.sub(r"(?s)<<stored text (\w+): .*?<<end \1>>", "", text).split())


def facts_in(form: Any) -> Iterator[Fact]:
    """The facts of a structured form, at whatever depth."""
    if isinstance(form, dict):
        for name, value in form.items():
            if name == "facts":
                yield from map(Fact.model_validate, value)
            else:
                yield from facts_in(value)
    elif isinstance(form, list):
        for value in form:
            yield from facts_in(value)


async def walk(world: World) -> tuple[Words, list[CallToolResult]]:
    """Look at learnings, plan and carry out deletions, and restore, all with names that read like sentences."""
    for request_id in (FIRST, SECOND):
        await world.put(request_id, user=USER, session=SESSION, text=HOSTILE.format("words"))
    await world.learn(LEARNING, FIRST, SECOND, user=USER)
    await world.learn(HOSTILE.format("p2"), FIRST, user=USER)
    answers: list[CallToolResult] = []
    async with world.connect(CONFIRM="preview") as caller:
        words = words_for_model([tool.name for tool in (await caller.client.list_tools()).tools])

        async def ask(tool: str, **arguments: Any) -> dict[str, Any]:
            answers.append(await caller.result(tool, **arguments))
            return answers[-1].structured_content or {}

        async def carry_out(tool: str, **arguments: Any) -> None:
            plan = await ask(tool, **arguments)
            code = plan.get("confirm") or plan["plan"]["confirm"]
            await ask(tool, **arguments, confirm=code)

        await ask("list_learnings", user_id=USER)
        await ask("list_learnings", request_id=FIRST)
        await ask("list_learnings", user_id=HOSTILE.format("nobody"))
        await carry_out("delete_request", request_id=FIRST, reason=HOSTILE.format("why"))
        await carry_out("restore_requests", deletion=1)
        await carry_out("delete_session", session_id=SESSION, include_learnings=True)
        await ask("restore_requests")
        await carry_out("restore_requests", deletion=3)
        await carry_out("delete_learnings", user_id=USER, learning_ids=[f"profile:{LEARNING}"])
        await carry_out("delete_requests", user_id=USER, everything=True, erase=True, include_learnings=True)
        await ask("delete_request", request_id=FIRST)
        await ask("delete_request", request_id=HOSTILE.format("absent"))
        await ask("restore_requests", deletion=3, request_ids=[HOSTILE.format("absent")])
        await ask("get_status")
    return words, answers


async def test_a_stored_name_is_never_a_sentence_of_a_plan_a_receipt_or_a_restore(world: World) -> None:
    _, answers = await walk(world)
    for answer in answers:
        assert ANY_OF_THEM not in ours(text_of(answer))
        assert ANY_OF_THEM not in (answer.structured_content or {}).get("text", "")
    assert sum(ANY_OF_THEM in text_of(answer) for answer in answers) > 6, "the names are shown, in a fence"


async def test_both_forms_of_a_deletion_say_the_same_facts(world: World) -> None:
    words, answers = await walk(world)
    said = 0
    for answer in answers:
        if (form := answer.structured_content) is None:
            continue
        text = ours(text_of(answer))
        for part in re.split(r"(?<=\.) ", form.get("text", "")):
            assert part in text, part
        receipts_on_record = {"deletions"}
        for fact in facts_in({name: value for name, value in form.items() if name not in receipts_on_record}):
            sentence = " ".join(words.of(fact).split())
            assert sentence in text
            assert sentence in form["text"]
            said += bool(sentence)
    assert said > 8
