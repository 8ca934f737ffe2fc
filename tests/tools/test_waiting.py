"""Publishing with `wait_for_response`: progress, a time limit, and an answer that is true."""

import re
from contextlib import suppress
from typing import Any

import anyio
import pytest
from mcp.client.client import Client
from mcp.types import ProgressNotification

from reflexio_mcp.rest.client import ReflexioClient
from reflexio_mcp.rest.errors import ConnectionLost, ReflexioError
from reflexio_mcp.rest.models import LearningStatus, PublishBody, PublishReply
from reflexio_mcp.server.server import ReflexioServer
from reflexio_mcp.settings import load
from reflexio_mcp.toolkit import context
from reflexio_mcp.traffic import publishing
from tests.support.embedded import Embedded, embedded
from tests.support.facts import text_of
from tests.support.store_app import StoreApp

pytestmark = pytest.mark.anyio

ARGUMENTS = {
    "user_id": "ada",
    "session_id": "s",
    "interactions": [{"content": "words"}],
    "request_id": "r1",
    "wait_for_response": True,
}


class SlowToLearn(ReflexioClient):
    """Stores at once and then holds the reply, as the service does while it extracts."""

    def __init__(self, place: Embedded, *, stores: bool = True) -> None:
        super().__init__("http://unused")
        self._place, self._stores = place, stores

    async def publish(
        self, body: PublishBody, *, minted: bool, wait: bool = False, timeout: float | None = None
    ) -> PublishReply:
        if self._stores:
            await self._place.client.publish(body, minted=minted)
        await anyio.sleep_forever()
        raise AssertionError

    async def get_requests(self, query: Any, *, repeat: bool = True) -> Any:
        return await self._place.client.get_requests(query)

    async def learning_status(self, request_id: str) -> LearningStatus:
        return LearningStatus(status="processing")


async def test_a_wait_beats_and_ends_below_the_clients_timeout_with_stored_still_learning(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(context, "FIRST_SECONDS", 0)
    monkeypatch.setattr(context, "SILENCE_SECONDS", 0)
    beats: list[float] = []

    async def on_progress(progress: float, total: float | None, message: str | None) -> None:
        beats.append(progress)

    settings = load({"REFLEXIO_MCP_WAIT_TIMEOUT": "3"})
    async with embedded() as place, Client(ReflexioServer(settings, client=SlowToLearn(place))) as client:
        with anyio.fail_after(60):
            result = await client.call_tool("publish_interaction", ARGUMENTS, progress_callback=on_progress)
    assert not result.is_error
    assert result.structured_content is not None
    assert result.structured_content["learning"]["status"] == "still_learning"
    assert "still learning from it" in text_of(result)
    assert "r1" in text_of(result)
    assert len(beats) >= 2
    assert beats == sorted(beats)


async def test_progress_begins_after_two_seconds_and_a_shorter_call_tells_of_none() -> None:
    beats: list[float] = []

    async def on_progress(progress: float, total: float | None, message: str | None) -> None:
        beats.append(anyio.current_time() - began)

    settings = load({"REFLEXIO_MCP_WAIT_TIMEOUT": "4"})
    async with embedded() as place, Client(ReflexioServer(settings, client=SlowToLearn(place))) as client:
        began = anyio.current_time()
        await client.call_tool("list_requests", {}, progress_callback=on_progress)
        assert beats == []
        await client.call_tool("publish_interaction", ARGUMENTS, progress_callback=on_progress)
    [first] = beats  # the next one comes after a longer silence
    assert 2 <= first < 4


async def test_a_wait_that_ends_without_the_request_being_stored_does_not_claim_it() -> None:
    settings = load({"REFLEXIO_MCP_WAIT_TIMEOUT": "1"})
    async with embedded() as place:
        rest = SlowToLearn(place, stores=False)
        async with Client(ReflexioServer(settings, client=rest)) as client:
            with anyio.fail_after(60):
                result = await client.call_tool("publish_interaction", ARGUMENTS)
    assert result.is_error
    assert "not known" in text_of(result)
    assert "\nrepeat with id: r1\n" in text_of(result)


class LostAnswers(ReflexioClient):
    """Stores what it is given and loses every answer."""

    def __init__(self, place: Embedded, *, readable: bool) -> None:
        super().__init__("http://unused")
        self._place, self._readable = place, readable

    async def publish(
        self, body: PublishBody, *, minted: bool, wait: bool = False, timeout: float | None = None
    ) -> PublishReply:
        await self._place.client.publish(body, minted=minted)
        raise ConnectionLost

    async def get_requests(self, query: Any, *, repeat: bool = True) -> Any:
        if not self._readable:
            raise ConnectionLost
        return await self._place.client.get_requests(query)

    async def learning_status(self, request_id: str) -> Any:
        return await self._place.client.learning_status(request_id)


@pytest.mark.parametrize("wait", [False, True])
async def test_a_lost_answer_is_looked_up_before_anything_is_said(wait: bool) -> None:
    async with (
        embedded() as place,
        Client(ReflexioServer(load({}), client=LostAnswers(place, readable=True))) as client,
    ):
        result = await client.call_tool(
            "publish_interaction", {**ARGUMENTS, "request_id": "", "wait_for_response": wait}
        )
    assert not result.is_error
    assert result.structured_content is not None
    assert result.structured_content["status"] == "stored"


class LostRefusals(LostAnswers):
    """Loses every refusal, too."""

    async def publish(
        self, body: PublishBody, *, minted: bool, wait: bool = False, timeout: float | None = None
    ) -> PublishReply:
        with suppress(ReflexioError):
            await self._place.client.publish(body, minted=minted)
        raise ConnectionLost


@pytest.mark.parametrize("loses", [LostRefusals, SlowToLearn])
async def test_another_request_under_the_id_is_not_taken_for_what_was_published(
    loses: type[ReflexioClient],
) -> None:
    settings = load({"REFLEXIO_MCP_WAIT_TIMEOUT": "1"})
    async with embedded() as place:
        await place.put("r1", text="other words")
        rest = LostRefusals(place, readable=True)
        if loses is SlowToLearn:
            rest = SlowToLearn(place, stores=False)
        async with Client(ReflexioServer(settings, client=rest)) as client:
            result = await client.call_tool("publish_interaction", ARGUMENTS)
    assert result.is_error
    assert "id taken: by a request that differs in interactions" in text_of(result)


async def test_a_lost_answer_that_cannot_be_looked_up_names_the_minted_id_to_repeat_with() -> None:
    arguments = {name: value for name, value in ARGUMENTS.items() if name != "request_id"}
    async with embedded() as place:
        async with Client(ReflexioServer(load({}), client=LostAnswers(place, readable=False))) as client:
            result = await client.call_tool("publish_interaction", arguments)
        assert result.is_error
        [minted] = re.findall(r"\nrepeat with id: ([0-9a-f-]{36})\n", text_of(result))
        async with Client(ReflexioServer(load({}), client=place.client)) as client:
            again = await client.call_tool("publish_interaction", {**arguments, "request_id": minted})
            listed = await client.call_tool("list_requests", {})
    assert not again.is_error
    assert "Already stored by an earlier call, nothing added" in text_of(again)
    assert listed.structured_content is not None
    assert listed.structured_content["returned"] == 1


def test_the_defaults_beat_at_least_every_fifteen_seconds_and_end_below_sixty() -> None:
    assert context.SILENCE_SECONDS + 1 <= 15
    assert load({}).wait_timeout + publishing.LOOK_SECONDS < 60


async def test_a_refusal_while_waiting_is_the_same_sentence_as_without() -> None:
    store = StoreApp(":memory:")
    async with embedded() as place:
        await place.put("r1", text="other words")
        async with Client(ReflexioServer(load({}), client=place.client)) as client:
            result = await client.call_tool("publish_interaction", ARGUMENTS)
    await store.aclose()
    assert result.is_error
    assert text_of(result).startswith("This request_id is taken. Nothing was changed.")
    assert "id taken: by a request that differs in interactions" in text_of(result)


async def test_progress_has_its_step_and_numbers_beside_the_words(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(context, "FIRST_SECONDS", 0.0)
    monkeypatch.setattr(context, "SILENCE_SECONDS", 0.0)
    told: list[ProgressNotification] = []

    async def on_message(message: object) -> None:
        if isinstance(message, ProgressNotification):
            told.append(message)

    async def on_progress(progress: float, total: float | None, message: str | None) -> None:
        pass

    settings = load({"REFLEXIO_MCP_WAIT_TIMEOUT": "3"})
    async with (
        embedded() as place,
        Client(
            ReflexioServer(settings, client=SlowToLearn(place)), mode="legacy", message_handler=on_message
        ) as client,
    ):
        await client.call_tool("publish_interaction", ARGUMENTS, progress_callback=on_progress)
    assert told
    assert told[0].params.message == "storing and learning"
    assert (told[0].params.meta or {})[context.PROGRESS_KEY] == {"step": "storing"}
