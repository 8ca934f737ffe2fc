"""Who is asked before something is deleted, in every mode, with every kind of client and answer."""

import gc
from typing import Any

import anyio
import pytest
from mcp import Client
from mcp.types import ElicitResult

from reflexio_mcp.consent import forms
from reflexio_mcp.rest.models import StoredInteraction
from reflexio_mcp.server.server import ReflexioServer
from reflexio_mcp.settings import Settings
from tests.deletion.support import Caller, Person, World, agreeing, text_of

pytestmark = pytest.mark.anyio

PEOPLE: dict[str, Any] = {
    "no forms": lambda: None,
    "agrees": agreeing,
    "declines": lambda: Person(lambda _: "decline"),
    "cancels": lambda: Person(lambda _: "cancel"),
    "sends the form without a yes": lambda: Person(lambda _: {"delete": False}),
}
EXPECTED = {
    ("off", "no forms"): "complete",
    ("off", "declines"): "complete",
    ("preview", "no forms"): "planned",
    ("preview", "agrees"): "planned",
    ("auto", "no forms"): "planned",
    ("auto", "agrees"): "complete",
    ("auto", "declines"): "declined",
    ("auto", "cancels"): "declined",
    ("auto", "sends the form without a yes"): "declined",
    ("ask", "no forms"): "cannot_ask",
    ("ask", "agrees"): "complete",
    ("ask", "declines"): "declined",
}


@pytest.mark.parametrize(("mode", "who"), EXPECTED)
async def test_a_deletion_happens_only_if_the_mode_of_consent_is_satisfied(
    world: World, era: str, mode: str, who: str
) -> None:
    await world.put("r1")
    person = PEOPLE[who]()
    async with world.connect(era, person, CONFIRM=mode) as caller:
        result = await caller.result("delete_request", request_id="r1")
    facts = result.structured_content
    assert facts
    assert facts["status"] == EXPECTED[mode, who]
    assert bool(person and person.seen) is (mode in ("auto", "ask") and who != "no forms")
    if facts["status"] == "complete":
        assert await world.ids() == set()
        return
    assert await world.ids() == {"r1"}
    # A code is worth something in one place only: if the mode is to take codes.
    assert ("confirm" in facts["plan"]) is (facts["status"] == "planned")
    assert text_of(result).startswith("Nothing ")
    said = text_of(result).replace("\n", " ")
    assert all(sentence in said for sentence in facts["text"].split(". "))


@pytest.mark.parametrize(
    ("tool", "arguments"),
    [
        ("delete_request", {"request_id": "r1"}),
        ("delete_session", {"session_id": "s"}),
        ("delete_requests", {"request_ids": ["r1"]}),
        ("delete_request", {"request_id": "r1", "interaction_ids": [1]}),
        ("delete_learnings", {"user_id": "ada"}),
    ],
)
async def test_every_tool_that_deletes_asks(
    world: World, era: str, tool: str, arguments: dict[str, Any]
) -> None:
    await world.put("r1")
    await world.learn("p", "r1")
    person = Person(lambda _: "decline")
    async with world.connect(era, person) as caller:
        facts = await caller.call(tool, **arguments)
    assert facts["status"] == "declined"
    assert len(person.seen) == 1
    assert await world.ids() == {"r1"}
    assert world.backend.profiles


async def test_a_code_does_not_replace_a_person_who_can_be_asked(world: World, era: str) -> None:
    await world.put("r1")
    server = world.server()
    async with world.connect(era, server=server) as without_forms:
        code = (await without_forms.plan("delete_request", request_id="r1"))["confirm"]
    person = Person(lambda _: "decline")
    async with world.connect(era, person, server=server) as caller:
        facts = await caller.call("delete_request", request_id="r1", confirm=code)
    assert (facts["status"], len(person.seen)) == ("declined", 1)
    assert await world.ids() == {"r1"}


async def test_a_code_that_does_not_fit_is_refused_before_anybody_is_asked(world: World, era: str) -> None:
    await world.put("r1")
    person = agreeing()
    async with world.connect(era, person) as caller:
        facts = await caller.call(
            "delete_request", request_id="r1", confirm="1-1795907486-AAAAAAAAAAAAAAAAAAAAAAAA"
        )
    assert (facts["status"], person.seen) == ("changed", [])
    assert await world.ids() == {"r1"}


async def test_a_new_code_comes_with_how_to_use_it(world: World) -> None:
    await world.put("r1")
    async with world.connect(CONFIRM="preview") as caller:
        before = await caller.plan("delete_session", session_id="s")
        await world.put("r2")
        answer = await caller.call("delete_session", session_id="s", confirm=before["confirm"])
    plan = answer.get("plan", answer)
    assert answer["status"] == "changed"
    assert plan["confirm"]
    assert "call again with the same arguments and this code as confirm" in answer["text"]
    assert "without confirm" not in answer["text"]


@pytest.mark.parametrize("mode", ["off", "ask"])
async def test_where_no_code_is_needed_a_wrong_one_is_answered_without_a_new_one(
    world: World, mode: str
) -> None:
    await world.put("r1")
    async with world.connect(CONFIRM="preview") as caller:
        code = (await caller.plan("delete_session", session_id="s"))["confirm"]
    await world.put("r2")
    async with world.connect(person=agreeing(), CONFIRM=mode) as caller:
        answer = await caller.call("delete_session", session_id="s", confirm=code)
    assert (answer["status"], "confirm" in answer["plan"]) == ("changed", False)
    assert "Call again without confirm." in answer["text"]
    assert "this code as confirm" not in answer["text"]
    assert await world.ids() == {"r1", "r2"}


@pytest.mark.parametrize(("count", "typed"), [(25, False), (26, True)])
async def test_a_large_set_needs_its_number_typed(world: World, era: str, count: int, typed: bool) -> None:
    for number in range(count):
        await world.put(f"r{number}")
    person = agreeing()
    async with world.connect(era, person) as caller:
        receipt = await caller.receipt("delete_session", session_id="s")
    assert receipt["deleted"]["requests"] == count
    assert set(person.schemas[0]["properties"]) == ({"number"} if typed else {"delete"})


@pytest.mark.parametrize(
    "asked", [{"everything": True}, {"user_id": "ada", "erase": True, "include_learnings": True}]
)
async def test_who_deletes_everything_types_the_number_however_small_it_is(
    world: World, era: str, asked: dict[str, Any]
) -> None:
    await world.put("r1")
    person = agreeing()
    async with world.connect(era, person) as caller:
        await caller.receipt("delete_requests", **asked)
    assert set(person.schemas[0]["properties"]) == {"number"}
    assert await world.ids() == set()


@pytest.mark.parametrize(
    ("users", "content", "status"),
    [
        (("ada", "bob"), {"number": 20}, "wrong_number"),
        (("ada", "bob"), {}, "declined"),
        (("ada", "bob"), {"number": "two"}, "declined"),
        (("ada", "bob"), {"number": True}, "declined"),
        (("ada", "bob"), {"number": 2.5}, "declined"),
        (("ada", "bob"), {"delete": True}, "declined"),
        (("ada",), {}, "declined"),
        (("ada",), {"delete": "yes"}, "declined"),
        (("ada",), {"delete": 1}, "declined"),
    ],
)
async def test_what_is_no_clear_yes_and_not_the_number_deletes_nothing_and_shows_the_plan(
    world: World, era: str, users: tuple[str, ...], content: dict[str, Any], status: str
) -> None:
    for user in users:
        await world.put(user, user=user)
    async with world.connect(era, Person(lambda _: content)) as caller:
        facts = await caller.call("delete_session", session_id="s")
    assert (facts["status"], facts["plan"]["selected"]["requests"]) == (status, len(users))
    assert await world.ids(session_id="s") == set(users)


@pytest.mark.parametrize("typed", ["2", " 2 ", 2.0, 2])
async def test_a_number_counts_however_the_client_writes_it(world: World, era: str, typed: object) -> None:
    for user in ("ada", "bob"):
        await world.put(user, user=user)
    async with world.connect(era, Person(lambda _: {"number": typed})) as caller:
        facts = await caller.call("delete_session", session_id="s")
    assert facts["status"] == "complete"
    assert await world.ids(session_id="s") == set()


async def test_a_form_that_comes_back_without_content_is_shown_again(world: World, era: str) -> None:
    await world.put("r1")
    replies = iter(["nothing", {"delete": True}])
    person = Person(lambda _: next(replies))
    async with world.connect(era, person) as caller:
        facts = await caller.call("delete_request", request_id="r1")
    assert (facts["status"], len(person.seen)) == ("complete", 2)


async def test_everything_of_a_named_user_needs_no_number_typed(world: World) -> None:
    await world.put("r1")
    await world.put("bobs", user="bob")
    async with world.connect(person=Person(lambda message: {"delete": True})) as caller:
        facts = await caller.call("delete_requests", user_id="ada", everything=True)
    assert facts["status"] == "complete"
    assert await world.ids() == {"bobs"}


async def test_a_form_that_nobody_answers_ends_and_says_so(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(forms, "ANSWER_SECONDS", 0.05)
    await world.put("r1")

    async def away(context: object, params: object) -> ElicitResult:
        await anyio.sleep_forever()
        raise AssertionError

    async with world.connect("legacy", away) as caller:
        facts = await caller.call("delete_request", request_id="r1")
        [refusal] = (await caller.call("get_status"))["logged"]
    assert facts["status"] == refusal["why"] == "unanswered"
    assert "nobody answered the question within ten minutes" in facts["text"]
    assert await world.ids() == {"r1"}


@pytest.mark.parametrize("answer", ["nothing", "broken"])
async def test_a_host_that_shows_no_form_after_all_is_told_in_words(world: World, answer: str) -> None:
    await world.put("r1")
    async with world.connect("legacy", Person(lambda _: answer)) as caller:
        facts = await caller.call("delete_request", request_id="r1")
    assert facts["status"] == "declined"
    assert "declined or could not be shown" in facts["text"]
    assert await world.ids() == {"r1"}


@pytest.mark.parametrize("count", [1, 26], ids=["a yes", "a number"])
async def test_a_form_says_only_what_its_schema_lists_and_its_default_is_no(
    world: World, era: str, count: int
) -> None:
    """Codex refuses a form whose schema has a title or a description of its own."""
    for number in range(count):
        await world.put(f"r{number}")
    person = Person(lambda _: "decline")
    async with world.connect(era, person) as caller:
        await caller.call("delete_session", session_id="s")
    [schema] = person.schemas
    assert schema.keys() <= {"$schema", "type", "properties", "required"}
    for name, one in schema["properties"].items():
        assert one.keys() <= {"type", "title", "description", "default"}
        assert one.get("default") is (False if name == "delete" else None)


async def test_no_link_or_image_of_a_stored_text_is_one_in_a_form(world: World, era: str) -> None:
    image = "![x](https://evil.example/p.png)"
    await world.put("r1", user=image, session=image, text=image)
    person = Person(lambda _: "decline")
    async with world.connect(era, person) as caller:
        await caller.call("delete_session", session_id=image)
    assert "evil.example" in person.seen[0]
    assert "](https:" not in person.seen[0]


async def test_the_question_says_how_much_whose_and_whether_it_is_final_in_its_first_lines(
    world: World, era: str
) -> None:
    """Clients were seen that show three lines."""
    await world.put("r1", user="ada", session="trip", text="Flying to Lisbon\u202e in\nMay ” Set 1")
    await world.put("r2", user="bob", session="trip", text="x" * 500)
    await world.learn("p", "r1")
    person = Person(lambda _: "decline")
    async with world.connect(era, person, RECOVERY_DAYS="0") as caller:
        await caller.call("delete_session", session_id="trip")
    [message] = person.seen
    first, second, *_ = message.splitlines()
    assert first.startswith("Delete 2 requests with 2 interactions of 2 USERS? This cannot be undone")
    assert second == "To delete, type the number of requests: 2"
    assert r"“Flying to Lisbon\u202e in May ' Set 1”" in message
    assert "x" * 100 not in message
    assert "1 learning that came from this selection alone stays." in message
    assert len(message) < 2_000


async def test_the_question_counts_users_and_sessions_that_it_does_not_name(world: World, era: str) -> None:
    for number in range(15):
        await world.put(f"r{number}", user=f"user-{number}", session=f"trip-{number}")
    person = Person(lambda _: "decline")
    async with world.connect(era, person) as caller:
        await caller.call("delete_requests", everything=True)
    assert "of 15 USERS?" in person.seen[0]
    assert person.seen[0].count(" and 10 more") == 2


async def test_a_yes_to_one_set_is_not_a_yes_to_another(world: World) -> None:
    """2026-07-28 repeats the call with the answer: what arrived in between was not in the question."""
    await world.put("r1")
    asked: list[str] = []

    async def meanwhile(context: Any, params: Any) -> Any:
        if not asked:
            await world.put("r2")
        asked.append(params.message)
        return await agreeing()(context, params)

    async with world.connect("2026-07-28", meanwhile) as caller:
        receipt = await caller.receipt("delete_session", session_id="s")
    assert ("1 request " in asked[0], "2 requests" in asked[1], len(asked)) == (True, True, 2)
    assert receipt["deleted"]["requests"] == 2


async def test_a_yes_to_one_set_is_not_a_yes_to_another_that_looks_the_same(world: World) -> None:
    await world.put("r1")
    asked: list[str] = []

    async def meanwhile(context: Any, params: Any) -> Any:
        if not asked:
            await world.rest.delete_requests_by_ids(["r1"])
            world.clock.now -= 1
            await world.put("r2")
        asked.append(params.message)
        return await agreeing()(context, params)

    async with world.connect("2026-07-28", meanwhile) as caller:
        receipt = await caller.receipt("delete_session", session_id="s")
    first, second = (one.rpartition("Fingerprint") for one in asked)
    assert (first[0] == second[0], first[2] == second[2]) == (True, False)
    assert receipt["deleted"]["requests"] == 1


async def test_what_arrives_while_the_person_thinks_stays(world: World) -> None:
    """Before 2026-07-28 the call waits for the answer and deletes what the question was about."""
    await world.put("r1")

    async def slow(context: Any, params: Any) -> Any:
        await world.put("r2")
        return await agreeing()(context, params)

    async with world.connect("legacy", slow) as caller:
        receipt = await caller.receipt("delete_session", session_id="s")
    assert receipt["deleted"]["requests"] == 1
    assert await world.ids(session_id="s") == {"r2"}


async def test_what_took_over_an_id_while_the_person_thinks_stays(world: World) -> None:
    await world.put("r1")

    async def slow(context: Any, params: Any) -> Any:
        await world.rest.delete_requests_by_ids(["r1"])
        await world.put("r1", text="another one")
        return await agreeing()(context, params)

    async with world.connect("legacy", slow) as caller:
        receipt = await caller.receipt("delete_request", request_id="r1")
    assert receipt["status"] == "incomplete"
    assert receipt["not_deleted"] == [{"why": "changed", "count": 1, "ids": ["r1"]}]
    assert await world.ids() == {"r1"}


async def test_a_form_tells_nobody_a_digest_that_guessed_contents_can_be_tried_against(
    world: World,
) -> None:
    await world.put("r1")
    forms = []
    for key in ("Zk3v9Qw7xR2mT8pL5nJ4hB6cF1dS0aGy", "bXr4Tn8Wq2Lz6Vd0Kc5Ys9Hf3Jm7Pg1Qe"):
        person = Person(lambda _: "decline")
        async with world.connect(person=person, CONFIRM="ask", STATE_KEYS=key) as caller:
            await caller.call("delete_request", request_id="r1")
        forms += person.seen
    first, second = (one.rpartition(" ")[2] for one in forms)
    assert first != second


async def test_a_form_that_waits_holds_no_contents_of_what_it_asks_about(era: str) -> None:
    """The form of the older protocol waits inside the call, for minutes."""
    text = "words that only these requests say"
    held: list[StoredInteraction] = []

    def look(_: str) -> str:
        gc.collect()
        interactions = (found for found in gc.get_objects() if isinstance(found, StoredInteraction))
        held.extend(interaction for interaction in interactions if interaction.content == text)
        return "decline"

    person = Person(look)
    names = [f"r{number}" for number in range(6)]
    server = ReflexioServer(Settings(store=":memory:", confirm="ask"))
    async with Client(server, mode=era, elicitation_callback=person) as client:
        caller = Caller(client)
        for name in names:
            said = {"user_id": "ada", "session_id": "s", "interactions": [{"content": text}]}
            await caller.call("publish_interaction", request_id=name, **said)
        await caller.call("delete_requests", request_ids=names)
    assert len(person.seen) == 1
    assert held == []
