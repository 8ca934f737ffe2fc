"""A single request of megabytes: others are served while it is looked at, and a cancellation ends it at once."""

import time
from pathlib import Path

import anyio
import anyio.from_thread
import anyio.lowlevel
import pytest

from reflexio_mcp.rest.models import RequestWithInteractions, StoredInteraction, StoredRequest
from reflexio_mcp.traffic.audit.run import run_audit
from reflexio_mcp.traffic.reading.filters import TrafficFilter
from reflexio_mcp.traffic.reading.search import FINDINGS
from reflexio_mcp.traffic.rules import secrets
from reflexio_mcp.traffic.scope import Scope
from tests.audit.corpus import Maker
from tests.audit.measuring import EVERY_TOOL
from tests.audit.stocking import stocked
from tests.audit.talk import Turn

pytestmark = pytest.mark.anyio

TEXT = "the plan for the garden " * 300
TURNS = 200


def large() -> RequestWithInteractions:
    turns = [StoredInteraction(interaction_id=index, role="User", content=TEXT) for index in range(TURNS)]
    stored = StoredRequest(request_id="r", user_id="ada", session_id="tmp-1", created_at=1)
    return RequestWithInteractions(request=stored, interactions=turns)


class Others:
    """Another task that waits for the event loop."""

    turns = 0

    async def wait(self) -> None:
        while True:
            await anyio.lowlevel.checkpoint()
            self.turns += 1


@pytest.mark.parametrize(
    "wanted",
    [
        *(TrafficFilter(finding=rule) for rule in sorted(FINDINGS)),
        TrafficFilter(contains="no such words"),
    ],
    ids=lambda wanted: wanted.finding or wanted.contains,
)
async def test_a_search_in_one_large_request_lets_others_have_their_turn(wanted: TrafficFilter) -> None:
    others = Others()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(others.wait)
        await wanted.pick_in_thread([large(), large()])
        tasks.cancel_scope.cancel()
    assert others.turns


async def test_others_are_served_between_two_texts_of_a_request(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    served = 0
    real = secrets.find_secrets

    async def serve() -> None:
        nonlocal served
        await anyio.lowlevel.checkpoint()
        served += 1

    def looking(text: str) -> list[secrets.Secret]:
        anyio.from_thread.run(serve)
        return real(text)

    monkeypatch.setattr(secrets, "find_secrets", looking)
    make = Maker(1, int(time.time()))
    make.put([Turn("User", TEXT) for _ in range(TURNS)], "s", "ada", make.when(), "ide")
    async with stocked(make.finish(), tmp_path) as client:
        await run_audit(Scope(client), TrafficFilter(), offer=EVERY_TOOL)
    assert served >= TURNS


async def test_an_audit_of_one_large_request_is_cancelled_in_the_middle_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked = 0
    real = secrets.find_secrets
    scope = anyio.CancelScope()

    def counting(text: str) -> list[secrets.Secret]:
        nonlocal looked
        looked += 1
        if looked == 20:
            anyio.from_thread.run_sync(scope.cancel)
        return real(text)

    monkeypatch.setattr(secrets, "find_secrets", counting)
    make = Maker(1, int(time.time()))
    make.put([Turn("User", TEXT) for _ in range(TURNS)], "s", "ada", make.when(), "ide")
    async with stocked(make.finish(), tmp_path) as client:
        with scope:
            await run_audit(Scope(client), TrafficFilter(), offer=EVERY_TOOL)
    assert scope.cancelled_caught
    assert looked == 20
