"""Every mode of consent, every kind of client, every deleting tool: who is asked, and what happens then."""

from typing import Any

import pytest

from tests.deletion.support import Person, World, agreeing, text_of

pytestmark = pytest.mark.anyio

TOOLS: dict[str, dict[str, Any]] = {
    "delete_request": {"request_id": "r1"},
    "delete_session": {"session_id": "s"},
    "delete_requests": {"request_ids": ["r1", "r2"]},
}
PEOPLE: dict[str, Any] = {
    "no forms": None,
    "agrees": lambda: agreeing(),
    "declines": lambda: Person(lambda _: "decline"),
    "cancels": lambda: Person(lambda _: "cancel"),
    "sends the form off without a yes": lambda: Person(lambda _: {"delete": False}),
}

# (mode, person): the status of the answer, and whether a person was asked.
EXPECTED = {
    ("off", "no forms"): ("complete", False),
    ("off", "agrees"): ("complete", False),
    ("off", "declines"): ("complete", False),
    ("off", "cancels"): ("complete", False),
    ("off", "sends the form off without a yes"): ("complete", False),
    ("preview", "no forms"): ("planned", False),
    ("preview", "agrees"): ("planned", False),
    ("preview", "declines"): ("planned", False),
    ("preview", "cancels"): ("planned", False),
    ("preview", "sends the form off without a yes"): ("planned", False),
    ("auto", "no forms"): ("planned", False),
    ("auto", "agrees"): ("complete", True),
    ("auto", "declines"): ("declined", True),
    ("auto", "cancels"): ("cancelled", True),
    ("auto", "sends the form off without a yes"): ("declined", True),
    ("ask", "no forms"): ("cannot_ask", False),
    ("ask", "agrees"): ("complete", True),
    ("ask", "declines"): ("declined", True),
    ("ask", "cancels"): ("cancelled", True),
    ("ask", "sends the form off without a yes"): ("declined", True),
}


@pytest.mark.parametrize("tool", TOOLS)
@pytest.mark.parametrize(("mode", "who"), EXPECTED)
async def test_a_deletion_happens_only_when_the_mode_of_consent_is_satisfied(
    world: World, era: str, mode: str, who: str, tool: str
) -> None:
    await world.put("r1")
    await world.put("r2")
    person = PEOPLE[who]() if PEOPLE[who] else None
    status, asked = EXPECTED[mode, who]
    async with world.connect(era, person, CONFIRM=mode) as caller:
        result = await caller.result(tool, **TOOLS[tool])
        assert not result.is_error
        facts = result.structured_content
        assert facts
        assert facts["status"] == status
        assert bool(person and person.seen) is asked
        if status == "complete":
            assert "r1" not in await world.ids(session_id="s")
            assert facts["outcomes"]["deleted"]
            return
        assert facts["deleted"] == 0
        assert await world.ids(session_id="s") == {"r1", "r2"}
        # A code is worth something in one place only: where the mode is to take codes.
        assert ("confirm" in facts) is (status == "planned")
        assert "othing" in text_of(result)
        assert facts["next"] in text_of(result)
        # Who sends the form as it is may have meant yes.
        assert ("they set Delete to yes" in facts["next"]) is (
            asked and who == "sends the form off without a yes"
        )
        if status == "planned":
            assert (await caller.call(tool, **TOOLS[tool], confirm=facts["confirm"]))["status"] == "complete"


@pytest.mark.parametrize("tool", TOOLS)
async def test_a_code_does_not_replace_a_person_who_can_be_asked(world: World, era: str, tool: str) -> None:
    await world.put("r1")
    await world.put("r2")
    server = world.server(CONFIRM="auto")
    async with world.connect(era, server=server) as without_forms:
        code = (await without_forms.call(tool, **TOOLS[tool]))["confirm"]
    person = Person(lambda _: "decline")
    async with world.connect(era, person, server=server) as caller:
        facts = await caller.call(tool, **TOOLS[tool], confirm=code)
    assert facts["status"] == "declined"
    assert len(person.seen) == 1
    assert await world.ids(session_id="s") == {"r1", "r2"}


async def test_a_code_of_another_set_is_refused_before_anybody_is_asked(world: World, era: str) -> None:
    await world.put("r1")
    person = agreeing()
    async with world.connect(era, person, CONFIRM="auto") as caller:
        facts = await caller.call("delete_request", request_id="r1", confirm="1-abc-AAAAAAAAAAAAAAAA")
    assert facts["status"] == "changed"
    assert not person.seen
    assert await world.ids(session_id="s") == {"r1"}


async def test_the_person_reads_what_would_go_in_words(world: World, era: str) -> None:
    await world.put("r1", user="ada", session="trip", text="Flying to Lisbon\u202e in\nMay ” Set 1")
    await world.put("r2", user="bob", session="trip", text="x" * 500)
    await world.learn("p", "r1")
    person = Person(lambda _: "decline")
    async with world.connect(era, person) as caller:
        await caller.call("delete_session", session_id="trip")
    [message] = person.seen
    assert "2 requests (2 interactions) of 2 USERS" in message
    assert "“ada” (1), “bob” (1)" in message
    assert "“trip” (2)" in message
    assert r"“Flying to Lisbon\u202e in May ' Set 1”" in message
    assert "x" * 100 not in message
    assert "1 profile learned from conversations this was part of stays." in message
    assert "cannot be undone" in message
    assert "type the number of requests: 2" in message
    assert len(message) < 2_000


async def test_stored_words_are_left_out_of_the_question_where_they_are_masked(
    world: World, era: str
) -> None:
    await world.put("r1", text="a secret")
    person = Person(lambda _: "decline")
    async with world.connect(era, person, MASK="1") as caller:
        result = await caller.result("delete_request", request_id="r1")
    assert "secret" not in person.seen[0] + text_of(result) + str(result.structured_content)


@pytest.mark.parametrize(("count", "typed"), [(25, False), (26, True)])
async def test_a_large_set_needs_its_number_typed(world: World, era: str, count: int, typed: bool) -> None:
    for number in range(count):
        await world.put(f"r{number}")
    person = agreeing()
    async with world.connect(era, person) as caller:
        facts = await caller.call("delete_session", session_id="s")
    assert facts["deleted"] == count
    assert set(person.schemas[0]["properties"]) == ({"requests"} if typed else {"delete"})


async def test_a_wrong_number_deletes_nothing_and_says_which_was_right(world: World, era: str) -> None:
    await world.put("r1", user="ada")
    await world.put("r2", user="bob")
    person = Person(lambda _: {"requests": 20})
    async with world.connect(era, person) as caller:
        result = await caller.result("delete_session", session_id="s")
    assert result.structured_content
    assert result.structured_content["status"] == "wrong_number"
    assert "20 was typed and there are 2 requests" in text_of(result)
    assert "20 was typed and there are 2 requests" in result.structured_content["why"]
    assert await world.ids(session_id="s") == {"r1", "r2"}


@pytest.mark.parametrize(
    ("content", "status"),
    [
        ({}, "declined"),
        ({"other": 1}, "declined"),
        ({"delete": "perhaps"}, "unanswered"),
        ({"delete": "yes"}, "unanswered"),
        ({"delete": "on"}, "unanswered"),
        ({"delete": 1}, "unanswered"),
        ("nothing", "unanswered"),
    ],
)
async def test_an_answer_that_is_none_deletes_nothing_and_shows_the_plan(
    world: World, era: str, content: dict[str, Any] | str, status: str
) -> None:
    await world.put("r1")
    async with world.connect(era, Person(lambda _: content)) as caller:
        result = await caller.result("delete_request", request_id="r1")
    assert text_of(result).startswith("Nothing was deleted")
    assert result.structured_content
    assert result.structured_content["status"] == status
    assert result.structured_content["plan"]["requests"] == 1
    assert await world.ids(session_id="s") == {"r1"}


@pytest.mark.parametrize("content", [{}, {"requests": "two"}, {"requests": True}, "nothing"])
async def test_a_form_that_comes_back_without_its_number_is_unanswered(
    world: World, era: str, content: dict[str, Any] | str
) -> None:
    await world.put("r1")
    await world.put("r2", user="bob")
    async with world.connect(era, Person(lambda _: content)) as caller:
        facts = await caller.call("delete_session", session_id="s")
    assert (facts["status"], facts["plan"]["requests"]) == ("unanswered", 2)
    assert await world.ids(session_id="s") == {"r1", "r2"}


async def test_a_host_that_fails_to_show_the_form_is_told_in_words(world: World) -> None:
    await world.put("r1")
    async with world.connect("legacy", Person(lambda _: "broken")) as caller:
        facts = await caller.call("delete_request", request_id="r1")
    assert facts["status"] == "unanswered"
    assert await world.ids(session_id="s") == {"r1"}


async def test_a_yes_to_one_set_is_not_a_yes_to_another(world: World) -> None:
    """2026-07-28 repeats the call with the answer: what arrived in between was not in the question."""
    await world.put("r1")
    asked: list[str] = []

    def answer(message: str) -> dict[str, Any]:
        asked.append(message)
        return {"delete": True}

    person = Person(answer)
    show = person.__call__

    async def meanwhile(context: Any, params: Any) -> Any:
        if not asked:
            await world.put("r2")
        return await show(context, params)

    async with world.connect("2026-07-28", meanwhile) as caller:
        facts = await caller.call("delete_session", session_id="s")
    assert len(asked) == 2
    assert "1 request" in asked[0]
    assert "2 requests" in asked[1]
    assert facts["outcomes"] == {"deleted": ["r2", "r1"]}


async def test_a_request_that_took_over_an_id_is_not_what_was_agreed_to(world: World) -> None:
    await world.put("r1")
    asked: list[str] = []

    async def swapped(context: Any, params: Any) -> Any:
        if not asked:
            await world.rest.delete_request("r1")
            await world.put("r1")
        asked.append(params.message)
        return await Person(lambda _: "decline" if len(asked) > 1 else {"delete": True})(context, params)

    async with world.connect("2026-07-28", swapped) as caller:
        facts = await caller.call("delete_request", request_id="r1")
    assert facts["status"] == "declined"
    assert len(asked) == 2
    assert await world.ids(session_id="s") == {"r1"}


async def test_what_arrives_while_the_person_thinks_stays(world: World) -> None:
    """Before 2026-07-28 the call waits for the answer and deletes what the question was about."""
    await world.put("r1")

    async def slow(context: Any, params: Any) -> Any:
        await world.put("r2")
        return await agreeing()(context, params)

    async with world.connect("legacy", slow) as caller:
        facts = await caller.call("delete_session", session_id="s")
    assert facts["outcomes"] == {"deleted": ["r1"]}
    assert await world.ids(session_id="s") == {"r2"}


@pytest.mark.parametrize("count", [1, 26], ids=["a yes", "a number"])
async def test_a_form_says_only_what_its_schema_lists_and_its_default_is_no(
    world: World, era: str, count: int
) -> None:
    for number in range(count):
        await world.put(f"r{number}")
    person = Person(lambda message: {"requests": 0} if "type the number" in message else {})
    async with world.connect(era, person) as caller:
        facts = await caller.call("delete_session", session_id="s")
    assert facts["deleted"] == 0
    [schema] = person.schemas
    assert schema.keys() <= {"$schema", "type", "properties", "required"}
    assert schema["type"] == "object"
    for name, one in schema["properties"].items():
        assert one.keys() <= {"type", "title", "description", "default"}
        assert one.get("default") is (False if name == "delete" else None)


@pytest.mark.parametrize(("count", "days", "final"), [(1, "0", True), (30, "0", True), (2, "7", False)])
async def test_the_first_line_of_a_form_says_how_much_and_whether_it_is_final(
    world: World, era: str, count: int, days: str, final: bool
) -> None:
    """Clients were seen that show three lines."""
    for number in range(count):
        await world.put(f"r{number}", session="x" * 500)
    person = Person(lambda _: "decline")
    async with world.connect(era, person, RECOVERY_DAYS=days) as caller:
        await caller.call("delete_session", session_id="x" * 500)
    first, second, *_ = person.seen[0].splitlines()
    assert first.startswith(f"Delete {count} request{'s' if count > 1 else ''} (")
    assert first.endswith("This cannot be undone." if final else "is kept on this machine for 7 days.")
    assert ("type the number of requests: 30" in second) is (count == 30)


async def test_a_cancelled_question_is_not_asked_again_and_again(world: World, era: str) -> None:
    await world.put("r1")
    async with world.connect(era, Person(lambda _: "cancel")) as caller:
        facts = await caller.call("delete_request", request_id="r1")
    assert facts["status"] == "cancelled"
    assert "confirm" not in facts
    assert "Do not repeat the call" in facts["next"]
    assert "REFLEXIO_MCP_CONFIRM=preview" in facts["next"]
    assert "call again" not in facts["next"]


async def test_what_a_secret_was_found_in_is_shown_to_nobody(world: World, era: str) -> None:
    await world.put("r1", text="my password is hunter2-9xQ7vLw3Zt, do not tell")
    person = Person(lambda _: "decline")
    async with world.connect(era, person) as caller:
        result = await caller.result("delete_requests", user_id="ada", finding="probable-secret")
    assert "1 request" in person.seen[0]
    for shown in (person.seen[0], text_of(result), str(result.structured_content)):
        assert "my password is [redacted: password in a sentence]" in shown
        assert "hunter2" not in shown


async def test_a_yes_is_no_number(world: World, era: str) -> None:
    await world.put("r1")
    person = Person(lambda _: {"requests": True})
    async with world.connect(era, person, CONFIRM_ABOVE="0") as caller:
        result = await caller.client.call_tool("delete_request", {"request_id": "r1"})
    assert "Nothing was deleted" in text_of(result)
    assert await world.ids() == {"r1"}


OPTIONS: list[dict[str, bool]] = [
    {},
    {"include_learnings": True},
    {"erase": True},
    {"include_learnings": True, "erase": True},
]


@pytest.mark.parametrize("planned", OPTIONS)
async def test_a_code_fits_only_the_options_it_was_given_for(
    world: World, era: str, planned: dict[str, bool]
) -> None:
    await world.put("r1")
    async with world.connect(era, CONFIRM="preview", RECOVERY_DAYS="7") as caller:
        plan = await caller.call("delete_request", request_id="r1", **planned)
        for others in OPTIONS:
            if others != planned:
                result = await caller.result(
                    "delete_request", request_id="r1", confirm=plan["confirm"], **others
                )
                assert "given for other options" in text_of(result)
        assert await world.ids() == {"r1"}
        done = await caller.call("delete_request", request_id="r1", confirm=plan["confirm"], **planned)
    assert done["status"] == "complete"
