"""The deletes, and what was learned from what is deleted."""

from typing import Any

import pytest

from reflexio_mcp.rest import api_limits
from tests.contract.calls import Api, fields_of, fresh

pytestmark = pytest.mark.anyio

DELETED = {"success": True, "message": "Deleted successfully"}


async def test_a_request_goes_with_its_interactions_and_nothing_else(api: Api) -> None:
    gone, kept = [(await api.publish())["request_id"] for _ in range(2)]
    for request_id in (f" {gone}\n", fresh()):  # an unknown one is a success too
        assert await api.delete("delete_request", request_id=request_id) == DELETED
    assert await api.stored(gone, kept) == [False, True]
    status = await api.client.get("/api/learning_status", params={"request_id": gone})
    assert status.status_code == 404


async def test_a_set_of_ids_goes_and_unknown_ones_are_passed_over(api: Api) -> None:
    gone = [(await api.publish())["request_id"] for _ in range(2)]
    kept = (await api.publish())["request_id"]
    reply = await api.delete("delete_requests_by_ids", request_ids=[fresh(), *gone, gone[0], "", f" {kept}"])
    assert reply == {"success": True, "deleted_count": 2, "message": "Deleted 2 item(s)"}
    assert await api.stored(*gone, kept) == [False, False, True]


async def test_a_set_of_10_000_ids_is_taken_and_more_is_422(api: Api) -> None:
    mine = (await api.publish())["request_id"]
    most = [*(f"none-{number}" for number in range(api_limits.MAX_DELETE_IDS - 1)), mine]
    assert (await api.delete("delete_requests_by_ids", request_ids=most))["deleted_count"] == 1
    reply = await api.try_delete("delete_requests_by_ids", request_ids=[*most, "one more"])
    assert fields_of(reply) == [["body", "request_ids"]]


@pytest.mark.parametrize(
    ("route", "body", "where"),
    [
        ("delete_request", {"request_id": " "}, ["request_id"]),
        ("delete_requests_by_ids", {"request_ids": []}, ["request_ids"]),
        ("delete_requests_by_ids", {"request_ids": [1]}, ["request_ids", 0]),
        ("delete_interaction", {"user_id": "u", "interaction_id": 0}, ["interaction_id"]),
        ("delete_interaction", {"user_id": " ", "interaction_id": 1}, ["user_id"]),
    ],
)
async def test_a_delete_that_names_nothing_usable_is_422(
    api: Api, route: str, body: dict[str, Any], where: list[Any]
) -> None:
    assert fields_of(await api.try_delete(route, **body)) == [["body", *where]]


async def test_an_interaction_goes_only_for_its_user_and_its_request_stays(api: Api) -> None:
    mine = (await api.publish())["request_id"]
    interaction = (await api.request(mine))["interactions"][0]["interaction_id"]
    stranger = await api.delete("delete_interaction", user_id=fresh("user"), interaction_id=interaction)
    assert stranger == DELETED
    assert len((await api.request(mine))["interactions"]) == 1
    assert await api.delete("delete_interaction", user_id=api.user, interaction_id=interaction) == DELETED
    assert (await api.request(mine))["interactions"] == []
    assert await api.delete("delete_interaction", user_id=api.user, interaction_id=interaction) == DELETED


async def test_an_interaction_id_is_never_given_twice(api: Api) -> None:
    request_id = (await api.publish())["request_id"]
    first = (await api.request(request_id))["interactions"][0]["interaction_id"]
    await api.delete("delete_request", request_id=request_id)
    second = (await api.request((await api.publish())["request_id"]))["interactions"][0]["interaction_id"]
    assert second > first


@pytest.mark.live
async def test_learnings_are_asked_for_with_a_user_and_a_number(real_api: Api) -> None:
    reply = await real_api.client.post("/api/get_profiles", json={"user_id": " ", "top_k": 0})
    assert sorted(fields_of(reply)) == [["body", "top_k"], ["body", "user_id"]]
    reply = await real_api.client.post("/api/get_user_playbooks", json={"limit": 0})
    assert fields_of(reply) == [["body", "limit"]]
    reply = await real_api.try_delete("delete_profiles_by_ids", profile_ids=[])
    assert fields_of(reply) == [["body", "profile_ids"]]
    reply = await real_api.try_delete("delete_user_playbooks_by_ids", user_playbook_ids=["a"])
    assert fields_of(reply) == [["body", "user_playbook_ids", 0]]


async def test_clearing_a_users_data_takes_every_request_of_that_user_alone(api: Api) -> None:
    theirs = fresh("user")
    await api.publish("mine", request_id=(first := fresh()))
    await api.publish("mine too", request_id=(second := fresh()), session_id=fresh("session"))
    await api.publish("theirs", request_id=(other := fresh()), user_id=theirs)
    for counts in ({"requests": 2, "interactions": 2}, {"requests": 0, "interactions": 0}):
        cleared = await api.client.post("/api/clear_user_data", json={"user_id": api.user})
        assert cleared.status_code == 200, cleared.text
        assert cleared.json()["success"]
        assert cleared.json()["deleted_counts"].items() >= counts.items()
    assert await api.stored(first, second) == [False, False]
    assert await api.ids(user_id=theirs) == [[other]]
    blank = await api.client.post("/api/clear_user_data", json={"user_id": " "})
    assert fields_of(blank) == [["body", "user_id"]]


async def test_a_user_of_whom_nothing_was_learned_has_empty_lists(api: Api) -> None:
    for route, name in (
        ("get_profiles", "user_profiles"),
        ("get_user_playbooks", "user_playbooks"),
        ("get_session_outcomes", "session_outcomes"),
        ("get_retrieved_learning_evaluation_results", "results"),
    ):
        reply = (await api.client.post(f"/api/{route}", json={"user_id": api.user, "top_k": 5})).json()
        assert (reply["success"], reply[name]) == (True, [])
    everybodys = (await api.client.get("/api/get_all_profiles", params={"user_id": api.user})).json()
    assert (everybodys["success"], everybodys["user_profiles"]) == (True, [])
    for route, ids in (("delete_profiles_by_ids", {"profile_ids": [fresh()]}),
                       ("delete_user_playbooks_by_ids", {"user_playbook_ids": [999_999_999]})):  # fmt: skip
        assert (await api.delete(route, **ids))["deleted_count"] == 0


async def test_what_belongs_to_no_user_is_listed_for_everybody(api: Api) -> None:
    for route, asked, name in (
        ("get_agent_playbooks", {"limit": 5}, "agent_playbooks"),
        ("get_playbook_application_stats", {"days_back": 1}, "stats"),
    ):
        reply = (await api.client.post(f"/api/{route}", json=asked)).json()
        assert reply["success"]
        assert isinstance(reply[name], list)
    questions = (await api.client.get("/api/pending_tool_calls", params={"limit": 500})).json()
    assert isinstance(questions["pending_tool_calls"], list)
