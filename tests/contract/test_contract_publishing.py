"""POST /api/publish_interaction and GET /api/learning_status."""

from typing import Any

import pytest

from reflexio_mcp.rest import api_limits
from reflexio_mcp.rest.models import (
    Interaction,
    PublishBody,
    RequestWithInteractions,
    RetrievedLearning,
    ToolUse,
    differences,
)
from tests.contract.calls import Api, fields_of, fresh, messages_of

pytestmark = pytest.mark.anyio

LEARNING = {"kind": "profile", "learning_id": "1"}


async def test_the_reply_says_where_it_went_and_what_was_learned(api: Api) -> None:
    reply = await api.publish()
    assert reply["message"] == "Interaction published successfully"
    assert reply["warnings"] == []
    assert reply["request_id"]
    assert reply["storage_type"] == "sqlite"
    assert reply["storage_label"]
    assert (reply["profiles_added"], reply["playbooks_added"]) == (0, 0)
    # The one promised difference: the embedded store learns nothing, and says so.
    assert reply["learning_status"] == ("not_tracked" if api.embedded else "deferred")
    assert reply["learning_reason"]


async def test_a_request_id_that_exists_stores_nothing_whoever_repeats_it(api: Api) -> None:
    mine = fresh("it's")
    await api.publish("first", request_id=mine)
    for user, session in ((api.user, api.session), (fresh("user"), fresh("session"))):
        again = await api.try_publish("second", request_id=mine, user_id=user, session_id=session)
        assert again.status_code == 200
        assert again.json()["success"] is False
        assert again.json()["message"] == f"request_id {mine!r} already exists"
    assert [interaction["content"] for interaction in (await api.request(mine))["interactions"]] == ["first"]


async def test_what_is_stored_of_a_publish_does_not_differ_from_it(api: Api) -> None:
    body = PublishBody(
        user_id=f" {api.user} ",
        session_id=api.session,
        request_id=fresh(),
        interaction_data_list=[
            Interaction(content="now"),
            Interaction(content=" later ", created_at=2_000_000_000),
            Interaction(role="Assistant", content="before", created_at=9),
            Interaction(
                content="long before",
                created_at=5,
                tools_used=[
                    ToolUse(tool_name=" search ", tool_data={"b": [1, None], "a": {}}),
                    ToolUse(tool_name="x"),
                ],
                retrieved_learnings=[RetrievedLearning(kind="profile", learning_id="1")],
            ),
        ],
    )
    await api.publish(**body.model_dump(exclude_none=True))
    stored = RequestWithInteractions.model_validate(await api.request(body.request_id))
    assert [each.content.strip() for each in stored.interactions] == ["long before", "before", "now", "later"]
    assert differences(body, stored) == []


async def test_a_request_id_is_free_again_after_deletion(api: Api) -> None:
    mine = fresh()
    await api.publish("first", request_id=mine)
    await api.delete("delete_request", request_id=mine)
    await api.publish("second", request_id=mine)
    assert [interaction["content"] for interaction in (await api.request(mine))["interactions"]] == ["second"]


async def test_ids_are_stored_without_the_space_around_them(api: Api) -> None:
    mine = fresh()
    await api.publish(request_id=f"  {mine} ", user_id=f" {api.user}\n", session_id=f"\t{api.session} ")
    stored = (await api.request(mine))["request"]
    assert (stored["request_id"], stored["user_id"], stored["session_id"]) == (mine, api.user, api.session)
    assert not (await api.try_publish(request_id=mine)).json()["success"]


@pytest.mark.parametrize("field", ["user_id", "session_id", "request_id"])
async def test_a_blank_id_is_422(api: Api, field: str) -> None:
    blanked: dict[str, Any] = {field: " \n"}
    reply = await api.try_publish(**blanked)
    assert fields_of(reply) == [["body", field]]
    assert "must not be empty" in messages_of(reply)


@pytest.mark.parametrize("source", ["", "web:prod-2.eu_west", "a" + "9" * 127])
async def test_a_source_of_the_allowed_form_is_stored(api: Api, source: str) -> None:
    reply = await api.publish(source=source)
    assert (await api.request(reply["request_id"]))["request"]["source"] == source


@pytest.mark.parametrize("source", ["Chat", "a b", "-x", "a" * 129, "a\n"])
async def test_another_source_is_422(api: Api, source: str) -> None:
    for reply in (await api.try_publish(source=source), await api.try_get(source=source)):
        assert {tuple(where[:2]) for where in fields_of(reply)} == {("body", "source")}


@pytest.mark.parametrize(("sent", "stored"), [("", "agent-v0"), ("v7", "v7"), (" ", " ")])
async def test_an_empty_agent_version_is_stored_as_agent_v0(api: Api, sent: str, stored: str) -> None:
    reply = await api.publish(agent_version=sent)
    assert (await api.request(reply["request_id"]))["request"]["agent_version"] == stored


async def test_what_an_interaction_says_comes_back(api: Api) -> None:
    sent = {
        "role": "Assistant",
        "content": "größe 🙂\u0000\n\ttab",
        "created_at": 1_700_000_000,
        "user_action": "click",
        "user_action_description": "pressed save",
        "interacted_image_url": "https://127.0.0.1/picture.png",
        "shadow_content": "shadow",
        "expert_content": "expert",
        "tools_used": [
            {"tool_name": "search", "tool_data": {"q": ["a", 1, None, {"b": 1.5}]}, "status": "ok"}
        ],
        "retrieved_learnings": [{"kind": "profile", "learning_id": "p1"}],
    }
    reply = await api.publish(interaction_data_list=[sent])
    ((interaction),) = (await api.request(reply["request_id"]))["interactions"]
    assert interaction.pop("interaction_id") > 0
    assert interaction == {**sent, "user_id": api.user, "request_id": reply["request_id"]}


async def test_images_and_citations_are_taken_and_do_not_come_back(api: Api) -> None:
    reply = await api.publish(
        interaction_data_list=[
            {"image_encoding": "aGk="},
            {"citations": [{"kind": "playbook", "real_id": "1", "tag": "t", "title": "T"}]},
        ]
    )
    interactions = (await api.request(reply["request_id"]))["interactions"]
    assert len(interactions) == 2
    assert all(
        {"image_encoding", "citations", "embedding"}.isdisjoint(interaction) for interaction in interactions
    )


async def test_interactions_come_back_oldest_first_then_as_sent(api: Api) -> None:
    sent = [("b", 9), ("a", 3), ("c", 3)]
    reply = await api.publish(
        interaction_data_list=[{"content": text, "created_at": second} for text, second in sent]
    )
    interactions = (await api.request(reply["request_id"]))["interactions"]
    assert [interaction["content"] for interaction in interactions] == ["a", "c", "b"]


@pytest.mark.parametrize(
    ("sent", "stored"), [(-5, 0), ("7", 7), (8.0, 8), (10**15, 253402300799), (2**70, 253402300799)]
)
async def test_the_time_of_an_interaction_is_moved_into_range(api: Api, sent: Any, stored: int) -> None:
    reply = await api.publish(interaction_data_list=[{"content": "x", "created_at": sent}])
    one = await api.request(reply["request_id"])
    assert one["interactions"][0]["created_at"] == stored
    assert one["request"]["created_at"] not in (stored, sent)


@pytest.mark.live
async def test_an_empty_interaction_is_dropped_with_a_warning(real_api: Api) -> None:
    reply = await real_api.publish(
        interaction_data_list=[{"content": " \n"}, {"content": "kept"}, {"role": "Assistant"}, {}]
    )
    assert reply["warnings"] == [
        "skipped 3 empty interaction(s) that carried no content, at index(es) 0, 2, 3"
    ]
    interactions = (await real_api.request(reply["request_id"]))["interactions"]
    assert [interaction["content"] for interaction in interactions] == ["kept"]


@pytest.mark.parametrize("count", [0, api_limits.MAX_INTERACTIONS + 1])
async def test_a_batch_of_none_or_too_many_is_422(api: Api, count: int) -> None:
    reply = await api.try_publish(interaction_data_list=[{"content": "x"}] * count)
    assert fields_of(reply) == [["body", "interaction_data_list"]]


@pytest.mark.live
async def test_unknown_fields_are_dropped_and_named(real_api: Api) -> None:
    reply = await real_api.publish(
        interaction_data_list=[
            {"content": "x", "Foo": 1, "tools_used": [{"tool_name": "t", "zip": 1}]},
            {"content": "y", "user_id": "u", "session_id": "s"},
        ],
        forceExtraction=True,
    )
    assert reply["warnings"] == [
        "interaction_data_list[0]: ignored unrecognised field(s) Foo, tools_used[0].zip",
        "publish request: ignored unrecognised field(s) forceExtraction",
    ]


async def test_evaluation_only_is_stored_and_never_learned_from(api: Api) -> None:
    for wait in (None, True):
        reply = await api.publish(evaluation_only=True, wait=wait)
        assert (reply["learning_status"], reply["learning_reason"]) == ("done", "not_applicable")
        assert (await api.request(reply["request_id"]))["request"]["evaluation_only"] is True
        status = await api.client.get("/api/learning_status", params={"request_id": reply["request_id"]})
        assert status.json() == {"status": "done", "reason": "not_applicable"}


@pytest.mark.live
async def test_an_experiment_needs_both_fields_and_must_exist(real_api: Api) -> None:
    half = await real_api.try_publish(retrieval_experiment_id="e")
    assert fields_of(half) == [["body"]]
    whole = await real_api.try_publish(retrieval_experiment_id="e", retrieval_experiment_arm="holdout")
    assert whole.json()["success"] is False
    assert "experiment" in whole.json()["message"]
    assert await real_api.ids() == []


async def test_the_learning_of_an_unknown_request_is_404(api: Api) -> None:
    reply = await api.client.get("/api/learning_status", params={"request_id": fresh()})
    assert (reply.status_code, reply.json()) == (404, {"detail": "request not found"})


async def test_the_learning_of_a_stored_request_has_a_status(api: Api) -> None:
    reply = await api.publish()
    status = (await api.client.get("/api/learning_status", params={"request_id": reply["request_id"]})).json()
    if api.embedded:
        assert status["status"] == "not_tracked"
    else:
        assert status["status"] in ("pending", "processing", "done", "failed")


@pytest.mark.parametrize(
    "fields",
    [
        {"evaluation_only": True, "force_extraction": True},
        {"interaction_data_list": [{"content": "x", "user_action": "click"}]},
        {"interaction_data_list": [{"interacted_image_url": "http://127.0.0.1/x", "image_encoding": "aGk="}]},
        {"interaction_data_list": [{"content": "x" * (api_limits.MAX_CONTENT_CHARS + 1)}]},
        {"interaction_data_list": [{"content": "x", "tools_used": [{"tool_data": {}}]}]},
    ],
)
async def test_a_body_that_contradicts_itself_or_is_over_a_limit_is_422(
    api: Api, fields: dict[str, Any]
) -> None:
    assert fields_of(await api.try_publish(**fields))
    assert await api.ids() == []


@pytest.mark.live
@pytest.mark.parametrize(
    "fields",
    [
        {"agent_version": "v" * 1001},
        {"interaction_data_list": [{}, {"content": "  "}]},
        {"interaction_data_list": [{"content": "x", "interacted_image_url": "http://169.254.169.254/x"}]},
        {"interaction_data_list": [{"content": "x", "interacted_image_url": "ftp://127.0.0.1/x"}]},
        {"interaction_data_list": [{"content": "x", "retrieved_learnings": [LEARNING] * 501}] * 2},
    ],
)
async def test_the_server_refuses_what_the_client_never_sends(real_api: Api, fields: dict[str, Any]) -> None:
    assert fields_of(await real_api.try_publish(**fields))
    assert await real_api.ids() == []
