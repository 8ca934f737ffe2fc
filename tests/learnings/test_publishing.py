"""What a publish says about learning, on the real server that learns."""

import anyio
import httpx
import pytest

from tests.deletion.support import text_of
from tests.support.real_learning import Corner

pytestmark = [pytest.mark.anyio]

INTERACTIONS = [{"role": "User", "content": "I live at 12 Secret Lane"}]


def request(corner: Corner, name: str, **more: object) -> dict[str, object]:
    return {
        "user_id": corner.name("ada"),
        "session_id": corner.name("s"),
        "request_id": corner.name(name),
        "interactions": INTERACTIONS,
        **more,
    }


@pytest.mark.live
async def test_a_first_request_waits_for_more_and_finishing_the_session_learns_from_it(
    corner: Corner,
) -> None:
    corner.learn("Secret Lane", profile="Lives at 12 Secret Lane")
    async with corner.connect() as caller:
        result = await caller.result("publish_interaction", **request(corner, "a"))
        assert "learned from it yet" in text_of(result)
        assert "finish_session learns now" in text_of(result)
        assert not await corner.profiles()
        result = await caller.result(
            "finish_session", user_id=corner.name("ada"), session_id=corner.name("s")
        )
        assert "Reflexio now learns" in text_of(result)
        with anyio.fail_after(60):
            while not await corner.profiles():  # noqa: ASYNC110 - the server tells nobody when it has learned
                await anyio.sleep(0.2)
        listed = await caller.call("list_learnings", session_id=corner.name("s"))
    assert [one["content"] for one in listed["learnings"]] == ["Lives at 12 Secret Lane"]


@pytest.mark.live
async def test_counts_are_said_also_when_nothing_was_added(corner: Corner) -> None:
    async with corner.connect() as caller:
        result = await caller.result(
            "publish_interaction", **request(corner, "a", session_finished=True, wait_for_response=True)
        )
        assert "Added 0 profiles and 0 playbooks." in text_of(result)
        corner.learn("Secret Lane", profile="Lives at 12 Secret Lane")
        result = await caller.result(
            "publish_interaction", **request(corner, "b", session_finished=True, wait_for_response=True)
        )
    assert "Added 1 profile and 0 playbooks." in text_of(result)
    assert result.structured_content
    assert (result.structured_content["profiles_added"], result.structured_content["playbooks_added"]) == (
        1,
        0,
    )


@pytest.mark.live
async def test_evaluation_only_teaches_nothing_and_says_so(corner: Corner) -> None:
    corner.learn("Secret Lane", profile="Lives at 12 Secret Lane")
    async with corner.connect() as caller:
        result = await caller.result("publish_interaction", **request(corner, "a", evaluation_only=True))
        assert "Nothing is learned from it: it is for evaluation only." in text_of(result)
        assert "(done" not in text_of(result)
    assert not await corner.profiles()


@pytest.mark.live
async def test_the_arm_of_a_user_is_stored_and_the_other_and_an_unknown_experiment_are_refused(
    corner: Corner,
) -> None:
    experiment = {"experiment_id": corner.name("e")}
    agent = {"User-Agent": "reflexio-mcp/test"}
    async with httpx.AsyncClient(base_url=corner.server.url, headers=agent, timeout=60) as raw:
        started = await raw.post("/api/retrieval_experiments", json={**experiment, "holdout_percentage": 50})
        assert started.status_code == 200, started.text
        try:
            async with corner.connect() as caller:
                stored: list[str] = []
                for arm in ("treatment", "holdout"):
                    chosen = {
                        "retrieval_experiment_id": experiment["experiment_id"],
                        "retrieval_experiment_arm": arm,
                    }
                    # The service assigns each user to one arm.
                    result = await caller.result("publish_interaction", **request(corner, arm), **chosen)
                    if result.is_error:
                        assert "arm does not match the user assignment" in text_of(result)
                        continue
                    stored.append(arm)
                    shown = await caller.call("get_request", request_id=corner.name(arm))
                    assert {name: shown[name] for name in chosen} == chosen
                assert len(stored) == 1
                other = {"retrieval_experiment_id": "none-such", "retrieval_experiment_arm": "holdout"}
                await caller.refused("publish_interaction", **request(corner, "x"), **other)
                assert "No request" in await caller.refused("get_request", request_id=corner.name("x"))
        finally:
            await raw.post("/api/retrieval_experiments/stop", json=experiment)


@pytest.mark.live
async def test_overriding_a_stall_learns_as_ever_where_there_is_none(corner: Corner) -> None:
    corner.learn("Secret Lane", profile="Lives at 12 Secret Lane")
    async with corner.connect() as caller:
        facts = await caller.call(
            "publish_interaction",
            **request(
                corner, "a", override_learning_stall=True, session_finished=True, wait_for_response=True
            ),
        )
    assert facts["learning"]["status"] == "done"
    assert len(await corner.profiles()) == 1


@pytest.mark.live
async def test_a_session_that_is_not_there_cannot_be_finished(corner: Corner) -> None:
    async with corner.connect() as caller:
        said = await caller.refused("finish_session", user_id=corner.name("ada"), session_id="none")
    assert "nothing was finished" in said


async def test_the_embedded_store_says_that_it_does_not_learn_and_offers_none_of_it() -> None:
    from reflexio_mcp.settings import load
    from reflexio_mcp.tools.catalog import offered

    tools = {tool.name: tool for tool in offered(load({}))}
    assert "finish_session" not in tools
    assert "session_finished" not in tools["publish_interaction"].input_schema["properties"]
