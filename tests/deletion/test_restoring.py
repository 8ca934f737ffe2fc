"""Undoing a deletion: what can be restored is listed, shown, and stored again as far as that is possible."""

import json
from typing import Any

import pytest

from reflexio_mcp.rest.models import (
    Interaction,
    PublishBody,
    RequestWithInteractions,
    RetrievedLearning,
    StoredInteraction,
    StoredRequest,
    ToolUse,
)
from reflexio_mcp.traffic.deletion import past
from reflexio_mcp.traffic.deletion.items import is_stored_as
from tests.deletion.support import World, text_of
from tests.support.facts import fact_of

pytestmark = pytest.mark.anyio


async def test_a_restore_lists_all_that_can_be_undone_and_the_status_the_last_deletions(world: World) -> None:
    await world.put("r1")
    async with world.connect(CONFIRM="off") as caller:
        kept = await caller.receipt("delete_request", request_id="r1")
        for number in range(10):
            await world.put(f"erased-{number}")
            await caller.receipt("delete_request", request_id=f"erased-{number}", erase=True)
        listed = (await caller.call("restore_requests"))["deletions"]
        status = await caller.result("get_status")
    assert status.structured_content
    assert [(one["number"], one["copied"]) for one in listed] == [(kept["number"], {"requests": 1})]
    assert all("copied" not in one for one in status.structured_content["deletions"])
    assert text_of(status).count("no recovery copy") == 10


async def test_an_interaction_that_only_used_a_tool_is_restored(world: World) -> None:
    used = ToolUse(tool_name="search", tool_data={"for": "trains"})
    body = PublishBody(
        user_id="ada",
        session_id="s",
        request_id="r1",
        interaction_data_list=[Interaction(content="words"), Interaction(tools_used=[used])],
    )
    await world.rest.publish(body, minted=False)
    async with world.connect(CONFIRM="off") as caller:
        number = (await caller.receipt("delete_request", request_id="r1"))["number"]
        done = await caller.restored(number)
        read = await caller.call("get_request", request_id="r1")
    assert (done["status"], done["restored"]) == ("complete", {"requests": 1, "interactions": 2})
    assert "trains" in json.dumps(read)


async def test_a_restore_shows_first_what_it_will_put_back(world: World) -> None:
    await world.put("r1", text="Flying to Lisbon. My password is hunter2-9xQ7vLw3Zt.")
    await world.put("r2")
    async with world.connect(CONFIRM="off") as caller:
        number = (await caller.receipt("delete_session", session_id="s"))["number"]
    async with world.connect() as caller:
        result = await caller.result("restore_requests", deletion=number)
        assert result.structured_content
        plan = result.structured_content
        assert (plan["status"], plan["planned"]) == ("planned", {"requests": 2, "interactions": 2})
        assert "Flying to Lisbon" in text_of(result)
        assert "hunter2" not in text_of(result)
        assert await world.ids() == set()
        done = await caller.call("restore_requests", deletion=number, confirm=plan["confirm"])
        assert (done["status"], done["restored"]) == ("complete", plan["planned"])
        assert await world.ids(session_id="s") == {"r1", "r2"}
        again = await caller.restored(number)
    (left,) = again["not_restored"]
    assert (left["why"], left["count"], sorted(left["ids"])) == ("already_there", 2, ["r1", "r2"])


async def test_a_code_for_one_restore_does_not_fit_another(world: World) -> None:
    for one in ("r1", "r2"):
        await world.put(one)
    async with world.connect() as caller:
        first = await caller.confirmed("delete_request", request_id="r1")
        second = await caller.confirmed("delete_request", request_id="r2")
        code = (await caller.call("restore_requests", deletion=first["number"]))["confirm"]
        facts = await caller.call("restore_requests", deletion=second["number"], confirm=code)
    assert facts["status"] == "planned"
    assert fact_of(facts, "wrong_code")
    assert await world.ids() == set()


async def test_a_code_for_a_restore_that_is_never_learned_from_fits_no_other(world: World) -> None:
    await world.put("r1")
    async with world.connect() as caller:
        deletion = await caller.confirmed("delete_request", request_id="r1")
        number = deletion["number"]
        plan = await caller.call("restore_requests", deletion=number, evaluation_only=True)
        facts = await caller.call("restore_requests", deletion=number, confirm=plan["confirm"])
    assert fact_of(facts, "wrong_code")
    assert await world.ids() == set()


async def test_only_some_requests_can_be_restored_and_never_learned_from_again(world: World) -> None:
    for one in ("r1", "r2"):
        await world.put(one)
    async with world.connect(CONFIRM="off") as caller:
        number = (await caller.receipt("delete_session", session_id="s"))["number"]
        done = await caller.restored(number, request_ids=["r1"], evaluation_only=True)
        assert done["restored"]["requests"] == 1
        shown = await caller.call("get_request", request_id="r1")
    assert await world.ids() == {"r1"}
    assert shown["evaluation_only"] is True


async def test_a_restore_is_in_the_audit_log_and_its_deletion_is_marked_once_all_of_it_is_back(
    world: World,
) -> None:
    for one in ("r1", "r2"):
        await world.put(one)
    server = world.server(CONFIRM="off")
    async with world.connect(server=server) as caller:
        number = (await caller.receipt("delete_session", session_id="s"))["number"]
        await caller.restored(number, request_ids=["r1"])
        part = await caller.call("restore_requests")
        await caller.restored(number)
        whole = await caller.call("restore_requests")
        said = text_of(await caller.result("restore_requests"))
    assert [one["deletions"][0]["status"] for one in (part, whole)] == ["partly_restored", "restored"]
    assert "its recovery copy was restored" in said
    lines = [json.loads(entry.line) for entry in server.runtime.state.log.entries()]
    assert [one["event"] for one in lines[2:]] == ["restoring", "restored", "restoring", "restored"]
    assert [one["ids"] for one in lines[2:]] == [["r1"], ["r1"], ["r1", "r2"], ["r2"]]
    assert {(one["deletion"], one["tool"]) for one in lines[2:]} == {(number, "restore_requests")}
    assert lines[2]["restore"] == lines[3]["restore"] != lines[4]["restore"]
    assert [one["outcome"] for one in lines[3::2]] == ["complete", "complete"]
    assert all(one["call_id"] for one in lines)


async def test_what_is_stored_under_the_id_by_now_stays(world: World) -> None:
    await world.put("r1", text="the old one")
    async with world.connect(CONFIRM="off") as caller:
        number = (await caller.receipt("delete_request", request_id="r1"))["number"]
        await world.put("r1", text="the new one")
        done = await caller.restored(number)
    assert done["not_restored"] == [{"why": "id_taken", "count": 1, "ids": ["r1"]}]
    assert "restored" not in done or done["restored"] == {}


PICTURE = "https://pictures.example/1"
OTHERWISE = [
    ({"interacted_image_url": PICTURE}, {"interacted_image_url": f"{PICTURE}2"}),
    (
        {"tools_used": [ToolUse(tool_name="pay", tool_data={"amount": 5})]},
        {"tools_used": [ToolUse(tool_name="pay", tool_data={"amount": 50_000})]},
    ),
    ({"tools_used": [ToolUse(tool_name="pay")]}, {"tools_used": [ToolUse(tool_name="look")]}),
    (
        {"tools_used": [ToolUse(tool_name="pay", status="success")]},
        {"tools_used": [ToolUse(tool_name="pay", status="error")]},
    ),
    (
        {"tools_used": [ToolUse(tool_name="pay", tool_data={"to": None})]},
        {"tools_used": [ToolUse(tool_name="pay", tool_data={"to": []})]},
    ),
    (
        {"tools_used": [ToolUse(tool_name="pay", tool_data={"paid": True})]},
        {"tools_used": [ToolUse(tool_name="pay", tool_data={"paid": 1})]},
    ),
    ({"expert_content": "better words"}, {"shadow_content": "better words"}),
    (
        {"retrieved_learnings": [RetrievedLearning(kind="profile", learning_id="p1")]},
        {"retrieved_learnings": [RetrievedLearning(kind="profile", learning_id="p2")]},
    ),
]
LABELS = [
    ({"source": "chat"}, {"source": "mail"}),
    ({"agent_version": "1"}, {"agent_version": "2"}),
    ({"evaluation_only": True}, {}),
    ({}, {"evaluation_only": True}),
]


async def is_taken_by_what_differs(
    world: World, before: dict[str, Any], now: dict[str, Any], *, labels: bool = False
) -> None:
    """Restore a request first beside another one with its id, then beside the same."""

    async def put(fields: dict[str, Any]) -> None:
        said = [Interaction(content="words", **({} if labels else fields))]
        body = PublishBody(user_id="ada", session_id="s", request_id="r1", interaction_data_list=said)
        await world.rest.publish(body.model_copy(update=fields if labels else {}), minted=False)

    await put(before)
    async with world.connect(CONFIRM="off") as caller:
        receipt = await caller.receipt("delete_request", request_id="r1")
        await put(now)
        done = await caller.restored(receipt["number"])
        assert (done["status"], done["not_restored"][0]["why"]) == ("incomplete", "id_taken")
        assert not fact_of(done, "images_not_compared")
        await caller.receipt("delete_request", request_id="r1")
        await put(before)
        again = await caller.restored(receipt["number"])
    assert (again["status"], again["not_restored"][0]["why"]) == ("complete", "already_there")
    assert fact_of(again, "images_not_compared")


@pytest.mark.parametrize(("before", "now"), OTHERWISE)
async def test_the_same_words_with_anything_else_beside_them_are_not_what_was_deleted(
    world: World, before: dict[str, Any], now: dict[str, Any]
) -> None:
    await is_taken_by_what_differs(world, before, now)


@pytest.mark.parametrize(("before", "now"), LABELS)
async def test_the_same_words_under_other_labels_are_not_what_was_deleted(
    world: World, before: dict[str, Any], now: dict[str, Any]
) -> None:
    await is_taken_by_what_differs(world, before, now, labels=True)


async def test_a_restore_that_is_never_learned_from_is_told_from_one_that_is(world: World) -> None:
    await world.put("r1")
    async with world.connect(CONFIRM="off") as caller:
        number = (await caller.receipt("delete_request", request_id="r1"))["number"]
        await caller.restored(number, evaluation_only=True)
        again = await caller.restored(number, evaluation_only=True)
        learned = await caller.restored(number)
    assert [done["not_restored"][0]["why"] for done in (again, learned)] == ["already_there", "id_taken"]


@pytest.mark.parametrize("content", ["words", ""])
@pytest.mark.parametrize("field", [{"image_encoding": "YmVhdmVy"}, {"citations": [{"title": "other"}]}])
def test_a_copy_of_the_embedded_store_is_compared_with_its_image_and_its_citations(
    field: dict[str, Any], content: str
) -> None:
    same = {"interaction_id": 1, "content": content, "image_encoding": "aGVyb24=", "citations": []}
    copy, other = (
        RequestWithInteractions(
            request=StoredRequest(request_id="r1"), interactions=[StoredInteraction(**fields)]
        )
        for fields in (same, same | field)
    )
    assert is_stored_as(copy, copy, put_back=True)
    assert not is_stored_as(other, copy, put_back=True)
    assert is_stored_as(other, copy)


def test_a_request_is_stored_whatever_the_order_in_which_a_store_returns_its_interactions() -> None:
    said = [StoredInteraction(interaction_id=number, content=f"words {number}") for number in (1, 2)]
    one, turned = (
        RequestWithInteractions(request=StoredRequest(request_id="r1"), interactions=interactions)
        for interactions in (said, said[::-1])
    )
    assert is_stored_as(one, turned, put_back=True)
    assert is_stored_as(one, turned)


async def test_what_was_learned_comes_back_and_names_its_sources_by_their_new_ids(world: World) -> None:
    await world.put("r1")
    await world.learn("p", "r1", content="likes tea")
    await world.learn(7, "r1", content="offer tea")
    before = await world.interactions("r1")
    async with world.connect(CONFIRM="off") as caller:
        number = (await caller.receipt("delete_request", request_id="r1", include_learnings=True))["number"]
        assert not world.backend.profiles
        done = await caller.restored(number)
        assert done["restored"] == {"requests": 1, "interactions": 1, "learnings": 2}
        again = await caller.restored(number)
        assert again["not_restored"][0]["why"] == "already_there"
    after = await world.interactions("r1")
    assert before != after
    assert world.backend.profiles["p"].interactions == after
    assert len(world.backend.playbooks) == 1


async def test_a_rate_limit_ends_a_restore_and_a_repeat_goes_on(world: World) -> None:
    for number in range(5):
        await world.put(f"r{number}")
    async with world.connect(CONFIRM="off", WAIT_TIMEOUT="1") as caller:
        number = (await caller.receipt("delete_session", session_id="s"))["number"]
        world.backend.failing["/api/publish_interaction"] = (2, 429)
        done = await caller.restored(number)
        assert (done["status"], done["restored"]["requests"]) == ("incomplete", 2)
        assert done["not_restored"][0]["why"] == "left"
        assert fact_of(done, "restore_rest")
        world.backend.failing.clear()
        done = await caller.restored(number)
    assert (done["status"], done["restored"]["requests"]) == ("complete", 3)
    assert len(await world.ids(session_id="s")) == 5


async def test_what_was_restored_is_said_only_after_it_was_seen(world: World) -> None:
    await world.put("r1")
    async with world.connect(CONFIRM="off") as caller:
        number = (await caller.receipt("delete_request", request_id="r1"))["number"]
        world.backend.answering["/api/publish_interaction"] = {"success": True, "request_id": "r1"}
        done = await caller.restored(number)
    assert done["status"] == "incomplete"
    assert done["not_restored"] == [{"why": "left", "count": 1, "ids": ["r1"]}]


async def test_a_restore_without_its_copy_says_so(world: World) -> None:
    async with world.connect() as caller:
        said = await caller.refused("restore_requests", deletion=99)
    assert said.startswith("Deletion 99 has no recovery copy that you can restore.")


async def test_a_long_conversation_comes_back_in_its_order(world: World) -> None:
    ids = [f"r{number:03}" for number in range(60)]
    for one in ids:
        await world.put(one)
    async with world.connect(CONFIRM="off") as caller:
        number = (await caller.receipt("delete_session", session_id="s"))["number"]
        await caller.restored(number)
    arrived = {one: (await world.interactions(one))[0] for one in ids}
    assert sorted(ids, key=arrived.__getitem__) == ids


async def test_a_restore_counts_the_interactions_that_it_could_store(world: World) -> None:
    interactions = [Interaction(content="words"), Interaction(image_encoding="aGVsbG8=")]
    body = PublishBody(user_id="ada", session_id="s", request_id="r1", interaction_data_list=interactions)
    await world.rest.publish(body, minted=False)
    async with world.connect(CONFIRM="off") as caller:
        number = (await caller.receipt("delete_request", request_id="r1"))["number"]
        done = await caller.restored(number)
    assert done["restored"] == {"requests": 1, "interactions": 1}
    assert len(await world.interactions("r1")) == 1


async def test_a_restore_of_some_requests_plans_only_what_they_taught(world: World) -> None:
    for one in ("r1", "r2"):
        await world.put(one)
        await world.learn(f"of {one}", one, content=one)
    async with world.connect() as caller:
        arguments = {"session_id": "s", "include_learnings": True}
        number = (await caller.confirmed("delete_session", **arguments))["number"]
        plan = await caller.call("restore_requests", deletion=number, request_ids=["r1"])
        done = await caller.restored(number, request_ids=["r1"])
        assert plan["planned"] == done["restored"] == {"requests": 1, "interactions": 1, "learnings": 1}
        said = await caller.refused("restore_requests", deletion=number, request_ids=["r3"])
        one = await caller.refused("restore_requests", deletion=number, request_ids=["r2", "r3"])
    assert "no recovery copy of these requests" in said
    assert "no copy of requests (1): r3" in one
    assert await world.ids() == {"r1"}


async def test_learnings_whose_storing_lost_its_answer_are_restored(world: World) -> None:
    await world.put("r1")
    await world.learn("p", "r1")
    async with world.connect(CONFIRM="off") as caller:
        number = (await caller.receipt("delete_request", request_id="r1", include_learnings=True))["number"]
        storing = world.backend.add_user_profile

        def lost(asked: dict[str, Any]) -> dict[str, Any]:
            storing(asked)
            raise OSError

        world.backend.add_user_profile = lost
        done = await caller.restored(number)
    assert set(world.backend.profiles) == {"p"}
    assert done["restored"] == {"requests": 1, "interactions": 1, "learnings": 1}


async def test_a_request_id_chooses_no_request_whose_interaction_has_that_number(world: World) -> None:
    await world.put("r1")
    (number,) = await world.interactions("r1")
    async with world.connect(CONFIRM="off") as caller:
        deletion = (await caller.receipt("delete_request", request_id="r1"))["number"]
        said = await caller.refused("restore_requests", deletion=deletion, request_ids=[str(number)])
        erased = await caller.call("delete_request", request_id=str(number), erase=True)
        both = await caller.call("delete_requests", request_ids=["r1", str(number)], erase=True)
    assert "no recovery copy" in said
    assert erased["status"] == "not_found"
    assert both["receipt"]["not_deleted"] == [{"why": "not_found", "count": 1, "ids": [str(number)]}]


async def test_the_requests_to_choose_from_are_shown_and_it_is_said_when_there_are_more(world: World) -> None:
    for number in range(52):
        await world.put(f"r{number}")
    async with world.connect(CONFIRM="off") as caller:
        number = (await caller.receipt("delete_session", session_id="s"))["number"]
    async with world.connect() as caller:
        plan = await caller.call("restore_requests", deletion=number)
        some = await caller.call("restore_requests", deletion=number, request_ids=["r1", "r51"])
    assert len(plan["examples"]) == 50
    assert fact_of(plan, "requests_not_shown") == {"code": "requests_not_shown", "number": 52}
    assert [one["id"] for one in some["examples"]] == ["r1", "r51"]
    assert not fact_of(some, "requests_not_shown")


async def test_a_past_deletion_says_what_its_copy_contains_now(world: World) -> None:
    await world.put("r1")
    await world.put("r2")
    async with world.connect(CONFIRM="off") as caller:
        before = await caller.receipt("delete_requests", request_ids=["r1", "r2"])
        copied: list[object] = []
        for one in ("r1", "r2"):
            await caller.receipt("delete_request", request_id=one, erase=True)
            past = (await caller.call("get_status"))["deletions"]
            [since] = [one for one in past if one["number"] == before["number"]]
            assert "way_back" not in since["receipt"]
            copied.append(since.get("copied"))
    assert before["way_back"]["until"]
    assert copied == [{"requests": 1}, None]


async def test_a_person_can_undo_what_an_operator_deleted_of_theirs_and_sees_nothing_else_of_it(
    world: World,
) -> None:
    await world.put("r1")
    await world.put("r2", user="bob", session="s-of-bob")
    async with world.connect(CONFIRM="off") as operator:
        number = (await operator.receipt("delete_requests", request_ids=["r1", "r2"], reason="a clean-up"))[
            "number"
        ]
    async with world.connect(CONFIRM="off", REFLEXIO_USER_ID="ada") as ada:
        listed = await ada.call("restore_requests")
        said = text_of(await ada.result("restore_requests"))
        await ada.restored(number)
    [past] = listed["deletions"]
    assert past["number"] == number
    assert past["copied"]["requests"] == 1
    assert not past.get("target")
    assert "receipt" not in past
    assert "deleted by an operator" in said
    assert "bob" not in str(listed)
    assert "clean-up" not in str(listed)
    async with world.connect(CONFIRM="off", REFLEXIO_USER_ID="eve") as eve:
        assert "deletions" not in await eve.call("restore_requests")


async def test_a_list_of_deletions_says_how_many_more_can_be_restored_and_how(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(past, "SHOWN", 2)
    async with world.connect(CONFIRM="off") as caller:
        for number in range(5):
            await world.put(f"r{number}")
            await caller.receipt("delete_request", request_id=f"r{number}")
        listed = await caller.call("restore_requests")
        assert [deletion["number"] for deletion in listed["deletions"]] == [5, 4]
        assert fact_of(listed, "more_to_restore") == {
            "code": "more_to_restore",
            "number": 3,
            "names": ["1-3"],
        }
        assert "3 older deletions can be restored by their numbers" in listed["text"]
        assert (await caller.restored(1))["status"] == "complete"
