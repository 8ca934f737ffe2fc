"""POST /api/publish_interaction and GET /api/learning_status."""

from typing import Any

import pytest

from reflexio_mcp.rest import api_limits
from tests.contract.calls import Api, fields_of, fresh, messages_of

pytestmark = pytest.mark.anyio


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


async def test_a_publish_without_waiting_can_be_read_at_once(api: Api) -> None:
    reply = await api.publish("first words")
    one = await api.request(reply["request_id"])
    assert [turn["content"] for turn in one["interactions"]] == ["first words"]


async def test_a_request_id_of_the_caller_is_kept(api: Api) -> None:
    mine = fresh()
    assert (await api.publish(request_id=mine))["request_id"] == mine
    assert await api.ids() == [[mine]]


async def test_a_request_id_that_exists_stores_nothing_whoever_repeats_it(api: Api) -> None:
    mine = fresh("it's")
    await api.publish("first", request_id=mine)
    for user, session in ((api.user, api.session), (fresh("user"), fresh("session"))):
        again = await api.try_publish("second", request_id=mine, user_id=user, session_id=session)
        assert again.status_code == 200
        assert again.json() == {
            "success": False,
            "message": f"request_id {mine!r} already exists",
            "warnings": [],
        }
    assert [turn["content"] for turn in (await api.request(mine))["interactions"]] == ["first"]


async def test_a_request_id_is_free_again_after_deletion(api: Api) -> None:
    mine = fresh()
    await api.publish("first", request_id=mine)
    await api.delete("delete_request", request_id=mine)
    await api.publish("second", request_id=mine)
    assert [turn["content"] for turn in (await api.request(mine))["interactions"]] == ["second"]


async def test_ids_are_stored_without_the_space_around_them(api: Api) -> None:
    mine = fresh()
    await api.publish(request_id=f"  {mine} ", user_id=f" {api.user}\n", session_id=f"\t{api.session} ")
    stored = (await api.request(mine))["request"]
    assert (stored["request_id"], stored["user_id"], stored["session_id"]) == (mine, api.user, api.session)
    assert not (await api.try_publish(request_id=mine)).json()["success"]


@pytest.mark.parametrize("field", ["user_id", "session_id", "request_id"])
@pytest.mark.parametrize("blank", ["", " ", "\t\n"])
async def test_a_blank_id_is_422(api: Api, field: str, blank: str) -> None:
    blanked: dict[str, Any] = {field: blank}
    reply = await api.try_publish(**blanked)
    assert fields_of(reply) == [["body", field]]
    assert "must not be empty" in messages_of(reply)


async def test_the_three_required_fields_are_named_when_missing(api: Api) -> None:
    reply = await api.client.post("/api/publish_interaction", json={})
    assert sorted(fields_of(reply)) == [
        ["body", "interaction_data_list"],
        ["body", "session_id"],
        ["body", "user_id"],
    ]


@pytest.mark.parametrize("source", ["", "a", "0", "chat", "web:prod-2.eu_west", "a" + "9" * 127])
async def test_a_source_of_the_allowed_form_is_stored(api: Api, source: str) -> None:
    reply = await api.publish(source=source)
    assert (await api.request(reply["request_id"]))["request"]["source"] == source


@pytest.mark.parametrize("source", ["Chat", "a b", "-x", "a/b", "ü", "a" * 129, " a", "a\n", None])
async def test_another_source_is_422(api: Api, source: str | None) -> None:
    assert {tuple(where[:2]) for where in fields_of(await api.try_publish(source=source))} == {
        ("body", "source")
    }
    if source is not None:
        assert {tuple(where[:2]) for where in fields_of(await api.try_get(source=source))} == {
            ("body", "source")
        }


@pytest.mark.parametrize(("sent", "stored"), [("", "agent-v0"), ("v7", "v7"), (" ", " ")])
async def test_an_empty_agent_version_is_stored_as_agent_v0(api: Api, sent: str, stored: str) -> None:
    reply = await api.publish(agent_version=sent)
    assert (await api.request(reply["request_id"]))["request"]["agent_version"] == stored


async def test_an_agent_version_of_over_1000_characters_is_422(api: Api) -> None:
    assert fields_of(await api.try_publish(agent_version="v" * 1001)) == [["body", "agent_version"]]


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
    ((turn),) = (await api.request(reply["request_id"]))["interactions"]
    assert turn.pop("interaction_id") > 0
    assert turn == {**sent, "user_id": api.user, "request_id": reply["request_id"]}


async def test_defaults_of_an_interaction_are_filled_in(api: Api) -> None:
    reply = await api.publish("x")
    one = await api.request(reply["request_id"])
    ((turn),) = one["interactions"]
    assert turn.pop("interaction_id") > 0
    assert abs(turn.pop("created_at") - one["request"]["created_at"]) <= 1
    assert turn == {
        "user_id": api.user,
        "request_id": reply["request_id"],
        "role": "User",
        "content": "x",
        "user_action": "none",
        "user_action_description": "",
        "interacted_image_url": "",
        "shadow_content": "",
        "expert_content": "",
        "tools_used": [],
        "retrieved_learnings": [],
    }


async def test_images_and_citations_are_taken_and_do_not_come_back(api: Api) -> None:
    reply = await api.publish(
        interaction_data_list=[
            {"image_encoding": "aGk="},
            {"citations": [{"kind": "playbook", "real_id": "1", "tag": "t", "title": "T"}]},
        ]
    )
    turns = (await api.request(reply["request_id"]))["interactions"]
    assert len(turns) == 2
    assert all({"image_encoding", "citations", "embedding"}.isdisjoint(turn) for turn in turns)


async def test_interactions_come_back_oldest_first_then_as_sent(api: Api) -> None:
    sent = [("b", 9), ("a", 3), ("c", 3)]
    reply = await api.publish(
        interaction_data_list=[{"content": text, "created_at": second} for text, second in sent]
    )
    turns = (await api.request(reply["request_id"]))["interactions"]
    assert [turn["content"] for turn in turns] == ["a", "c", "b"]


@pytest.mark.parametrize(
    ("sent", "stored"), [(-5, 0), ("7", 7), (8.0, 8), (10**15, 253402300799), (2**70, 253402300799)]
)
async def test_the_time_of_an_interaction_is_moved_into_range(api: Api, sent: Any, stored: int) -> None:
    reply = await api.publish(interaction_data_list=[{"content": "x", "created_at": sent}])
    one = await api.request(reply["request_id"])
    assert one["interactions"][0]["created_at"] == stored
    assert one["request"]["created_at"] not in (stored, sent)


@pytest.mark.parametrize("sent", [5.5, "noon", None])
async def test_a_time_that_is_no_whole_second_is_422(api: Api, sent: Any) -> None:
    reply = await api.try_interaction(content="x", created_at=sent)
    assert fields_of(reply) == [["body", "interaction_data_list", 0, "created_at"]]


@pytest.mark.parametrize(
    "fields",
    [
        {"role": "r" * (api_limits.MAX_ROLE_CHARS + 1)},
        {"content": "c" * (api_limits.MAX_CONTENT_CHARS + 1)},
        {"shadow_content": "c" * (api_limits.MAX_CONTENT_CHARS + 1)},
        {"expert_content": "c" * (api_limits.MAX_CONTENT_CHARS + 1)},
        {"user_action_description": "d" * (api_limits.MAX_ACTION_DESCRIPTION_CHARS + 1)},
        {"interacted_image_url": "https://127.0.0.1/" + "u" * api_limits.MAX_IMAGE_URL_CHARS},
        {"user_action": "swipe"},
        {"interacted_image_url": "ftp://127.0.0.1/x"},
        {"interacted_image_url": "no url"},
        {"tools_used": [{}]},
        {"tools_used": [{"tool_name": "t", "tool_data": "text"}]},
        {"tools_used": [{"tool_name": "t"}] * 1001},
        {"citations": [{"kind": "note", "real_id": "1"}]},
        {"citations": [{"kind": "profile"}]},
        {"retrieved_learnings": [{"kind": "playbook", "learning_id": "1"}]},
        {"retrieved_learnings": [{"kind": "profile", "learning_id": ""}]},
    ],
    ids=lambda fields: next(iter(fields)),
)
async def test_a_field_over_its_limit_or_of_another_form_is_422(api: Api, fields: dict[str, Any]) -> None:
    reply = await api.try_interaction(**{"content": "x", **fields})
    assert fields_of(reply)[0][:4] == ["body", "interaction_data_list", 0, next(iter(fields))]
    assert await api.ids() == []


@pytest.mark.parametrize("host", [*api_limits.CLOUD_METADATA_HOSTS, "METADATA.google.internal"])
async def test_an_image_on_a_metadata_host_is_422(api: Api, host: str) -> None:
    url = f"http://[{host}]/x" if ":" in host else f"http://{host}/x"
    reply = await api.try_interaction(content="x", interacted_image_url=url)
    assert fields_of(reply) == [["body", "interaction_data_list", 0, "interacted_image_url"]]


async def test_an_image_in_the_url_itself_is_taken(api: Api) -> None:
    assert (await api.try_interaction(interacted_image_url="data:image/png;base64,aGk=")).json()["success"]


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"user_action": "click"}, "user_action requires a user_action_description"),
        (
            {"interacted_image_url": "http://127.0.0.1/x", "image_encoding": "aGk="},
            "interacted_image_url and image_encoding cannot both be set",
        ),
    ],
)
async def test_a_contradiction_in_an_interaction_is_422(
    api: Api, fields: dict[str, Any], reason: str
) -> None:
    reply = await api.try_publish(interaction_data_list=[{"content": "fine"}, {"content": "x", **fields}])
    assert fields_of(reply) == [["body"]]
    assert f"interaction_data_list[1] {reason}" in messages_of(reply)


@pytest.mark.live
async def test_an_empty_interaction_is_dropped_with_a_warning(real_api: Api) -> None:
    reply = await real_api.publish(
        interaction_data_list=[{"content": " \n"}, {"content": "kept"}, {"role": "Assistant"}, {}]
    )
    assert reply["warnings"] == [
        "skipped 3 empty interaction(s) that carried no content, at index(es) 0, 2, 3"
    ]
    turns = (await real_api.request(reply["request_id"]))["interactions"]
    assert [turn["content"] for turn in turns] == ["kept"]


@pytest.mark.live
async def test_many_empty_interactions_are_counted_and_ten_are_named(real_api: Api) -> None:
    reply = await real_api.publish(interaction_data_list=[{"content": "kept"}, *({} for _ in range(12))])
    (warning,) = reply["warnings"]
    assert warning.startswith("skipped 12 empty interaction(s)")
    assert warning.endswith("at index(es) 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, +2 more")


@pytest.mark.live
async def test_a_batch_where_all_are_empty_is_422(real_api: Api) -> None:
    reply = await real_api.try_publish(interaction_data_list=[{}, {"content": "  "}])
    assert fields_of(reply) == [["body"]]
    assert "every interaction is empty" in messages_of(reply)


@pytest.mark.parametrize("count", [0, api_limits.MAX_INTERACTIONS + 1])
async def test_a_batch_of_none_or_too_many_is_422(api: Api, count: int) -> None:
    reply = await api.try_publish(interaction_data_list=[{"content": "x"}] * count)
    assert fields_of(reply) == [["body", "interaction_data_list"]]


async def test_more_than_1000_learnings_in_one_request_are_422(api: Api) -> None:
    learning = {"kind": "profile", "learning_id": "1"}
    reply = await api.try_publish(
        interaction_data_list=[{"content": "x", "retrieved_learnings": [learning] * 501}] * 2
    )
    assert fields_of(reply) == [["body"]]
    assert "at most 1000 retrieved_learnings" in messages_of(reply)


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


@pytest.mark.live
async def test_unknown_fields_are_named_within_bounds_and_printable(real_api: Api) -> None:
    unknown: dict[str, Any] = dict.fromkeys([*(f"f{number}" for number in range(7)), "a\nb" + "c" * 80], 1)
    reply = await real_api.publish(**unknown)
    assert reply["warnings"] == [
        f"publish request: ignored unrecognised field(s) a?b{'c' * 61}..., f0, f1, f2, f3, +3 more"
    ]


@pytest.mark.live
async def test_unknown_fields_of_many_interactions_are_named_twenty_times(real_api: Api) -> None:
    reply = await real_api.publish(interaction_data_list=[{"content": "x", "Foo": 1}] * 23)
    assert len(reply["warnings"]) == 21
    assert reply["warnings"][-1] == "...and 3 more interaction(s) with the same problem"


async def test_a_tool_status_of_any_type_becomes_short_text(api: Api) -> None:
    sent = [5, None, True, "s" * 150]
    reply = await api.publish(
        interaction_data_list=[{"tools_used": [{"tool_name": "", "status": one} for one in sent]}]
    )
    ((turn),) = (await api.request(reply["request_id"]))["interactions"]
    assert [use["status"] for use in turn["tools_used"]] == ["5", "", "True", "s" * 100]


async def test_evaluation_only_is_stored_and_never_learned_from(api: Api) -> None:
    for wait in (None, True):
        reply = await api.publish(evaluation_only=True, wait=wait)
        assert (reply["learning_status"], reply["learning_reason"]) == ("done", "not_applicable")
        assert (await api.request(reply["request_id"]))["request"]["evaluation_only"] is True
        status = await api.client.get("/api/learning_status", params={"request_id": reply["request_id"]})
        assert status.json() == {"status": "done", "reason": "not_applicable"}


async def test_evaluation_only_with_force_extraction_is_422(api: Api) -> None:
    reply = await api.try_publish(evaluation_only=True, force_extraction=True)
    assert fields_of(reply) == [["body"]]
    assert "evaluation_only cannot be combined with force_extraction" in messages_of(reply)


async def test_the_other_flags_are_taken_and_do_not_come_back(api: Api) -> None:
    reply = await api.publish(skip_aggregation=True, session_finished=True, override_learning_stall=True)
    assert reply["warnings"] == []
    stored = (await api.request(reply["request_id"]))["request"]
    created_at = stored.pop("created_at")
    assert isinstance(created_at, int)
    stored.pop("arrival", None)  # the embedded store's own
    assert stored == {
        "request_id": reply["request_id"],
        "user_id": api.user,
        "source": "",
        "agent_version": "agent-v0",
        "session_id": api.session,
        "evaluation_only": False,
    }


@pytest.mark.live
async def test_an_experiment_needs_both_fields_and_must_exist(real_api: Api) -> None:
    half = await real_api.try_publish(retrieval_experiment_id="e")
    assert fields_of(half) == [["body"]]
    whole = await real_api.try_publish(retrieval_experiment_id="e", retrieval_experiment_arm="holdout")
    assert whole.json()["success"] is False
    assert "experiment" in whole.json()["message"]
    assert await real_api.ids() == []


@pytest.mark.live
async def test_a_wait_flag_that_is_no_boolean_is_422(real_api: Api) -> None:
    reply = await real_api.client.post(
        "/api/publish_interaction",
        params={"wait_for_response": "maybe"},
        json={
            "user_id": real_api.user,
            "session_id": real_api.session,
            "interaction_data_list": [{"content": "x"}],
        },
    )
    assert fields_of(reply) == [["query", "wait_for_response"]]
    assert await real_api.ids() == []


async def test_the_learning_of_an_unknown_request_is_404(api: Api) -> None:
    reply = await api.client.get("/api/learning_status", params={"request_id": fresh()})
    assert (reply.status_code, reply.json()) == (404, {"detail": "request not found"})


@pytest.mark.live
async def test_the_learning_of_no_request_is_422(real_api: Api) -> None:
    assert fields_of(await real_api.client.get("/api/learning_status")) == [["query", "request_id"]]


async def test_the_learning_of_a_stored_request_has_a_status(api: Api) -> None:
    reply = await api.publish()
    status = (await api.client.get("/api/learning_status", params={"request_id": reply["request_id"]})).json()
    if api.embedded:
        assert status["status"] == "not_tracked"
    else:
        assert status["status"] in ("pending", "processing", "done", "failed")
