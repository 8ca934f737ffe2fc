"""Receipts that another version recorded are read as far as they are understood."""

import json

import pytest

from reflexio_mcp.results.deletion import recorded_receipt
from reflexio_mcp.state.state import State
from tests.deletion.support import World
from tests.support.facts import fact_of

pytestmark = pytest.mark.anyio

EARLIER = {
    "number": 1,
    "planned": {"requests": 1, "interactions": 1},
    "deleted": {"requests": 1},
    "remains": ["Earlier exports are not deleted."],
    "way_back": {"state": "erased", "sentence": "This cannot be undone."},
    "next": "Call again.",
}
NEWER = {
    "number": 1,
    "planned": {"requests": 1, "wishes": 3},
    "deleted": {"requests": 1},
    "mood": "good",
    "not_deleted": [{"why": "on the moon", "count": 1}, {"why": "held", "count": 2, "since": "1969"}],
    "facts": [{"code": "exports_stay", "colour": "blue"}, {"code": "of_tomorrow", "number": 7}],
}


def test_what_an_earlier_version_said_in_words_is_kept_as_names() -> None:
    receipt = recorded_receipt(json.dumps(EARLIER))
    assert receipt
    assert receipt.deleted.requests == 1
    [fact] = receipt.facts
    assert (fact.code, fact.names) == (
        "said_by_earlier_version",
        ["Earlier exports are not deleted.", "Call again."],
    )


def test_of_what_a_newer_version_recorded_the_unknown_part_is_counted() -> None:
    receipt = recorded_receipt(json.dumps(NEWER))
    assert receipt
    assert [(one.why, one.count) for one in receipt.not_deleted] == [("held", 2)]
    assert [(fact.code, fact.number) for fact in receipt.facts] == [
        ("exports_stay", None),
        ("said_by_newer_version", 2),
    ]


@pytest.mark.parametrize("text", ["", "[]", "{}", "no JSON", '{"number": "many"}', '{"facts": [1]}'])
def test_what_is_no_receipt_is_left_out(text: str) -> None:
    assert recorded_receipt(text) is None


@pytest.mark.parametrize("recorded", [EARLIER, NEWER, {"never": "seen"}])
async def test_the_status_is_shown_beside_receipts_of_other_versions(
    world: World, monkeypatch: pytest.MonkeyPatch, recorded: dict[str, object]
) -> None:
    await world.put("r1")
    async with world.connect(CONFIRM="off") as caller:
        await caller.receipt("delete_request", request_id="r1")
        last = State.last

        def of_another_version(*given: object, **named: object) -> object:
            found = last(*given, **named)  # type: ignore[arg-type]
            return [one._replace(receipt=json.dumps(recorded)) for one in found]

        monkeypatch.setattr(State, "last", of_another_version)
        [past] = (await caller.call("get_status"))["deletions"]
    assert past["status"] == "complete"
    assert ("receipt" in past) is ("number" in recorded)
    if recorded is EARLIER:
        assert fact_of(past["receipt"], "said_by_earlier_version")
