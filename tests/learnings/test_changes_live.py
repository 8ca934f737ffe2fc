"""What changed, as the real server's rows and this server's records tell it."""

import time

import pytest

from reflexio_mcp.rest.models import UserProfile
from tests.support.real_learning import Corner
from tests.support.stories import chain_story

pytestmark = [pytest.mark.anyio, pytest.mark.live]


async def test_each_kind_of_change_is_told_of_what_the_server_really_does(corner: Corner) -> None:
    began, user = int(time.time()), corner.name("ada")
    await chain_story(corner)
    corner.model.rules.clear()
    corner.learn("in metric", playbook="Use metric")
    corner.learn("I have a cat", profile="Has a cat", quote="I have a cat")
    await corner.say("cat", "Answer in metric. I have a cat", force_extraction=True)
    corner.learn("the cat is gone", forget="Has a cat")
    for said in ("the cat is gone", "What is the weather?"):  # the playbook gets a new id each time
        await corner.say(f"later-{len(said)}", said, force_extraction=True)
    ended = UserProfile(
        profile_id=corner.name("trip"),
        user_id=user,
        content="Is in Rome",
        last_modified_timestamp=began,
        profile_time_to_live="one_day",
        expiration_timestamp=int(time.time()) - 1,
    )
    await corner.rest.add_profiles([ended])
    async with corner.connect() as caller:
        arguments = {"changed_since": time.strftime("%FT%TZ", time.gmtime(began))}
        learned = await caller.call("list_learnings", user_id=user, **arguments)
        by_text = {row["content"]: row for row in learned["changes"]}
        [metric] = [one for one in await corner.playbooks() if one.status is None]
        await caller.receipt(
            "correct_learning",
            user_id=user,
            learning_id=by_text["Takes sugar, as said 3 times"]["learning_id"],
            content="Takes one sugar",
        )
        deleted = await caller.receipt(
            "delete_learnings", user_id=user, learning_ids=[f"user_playbook:{metric.user_playbook_id}"]
        )
        back = await caller.restored(deleted["number"])
        assert back["restored"] == {"learnings": 1}, back["text"]
        acted = await caller.call("list_learnings", user_id=user, **arguments)
    assert {(row["change"], row["content"]): row.get("old") for row in learned["changes"]} == {
        ("replaced", "Takes sugar, as said 3 times"): [
            "Takes sugar, as said 2 times",
            "Says about sugar: I take sugar in my tea",
        ],
        ("new", "Use metric"): None,
        ("forgotten", "Has a cat"): None,
        ("expired", "Is in Rome"): None,
    }
    ours = [row for row in acted["changes"] if row.get("job")]
    assert [(row["change"], row["content"], row.get("old")) for row in reversed(ours)] == [
        ("corrected", "Takes one sugar", ["Takes sugar, as said 3 times"]),
        ("taken_back", "Use metric", None),
        ("put_back", "Use metric", None),
    ]
    assert not any(row.get("elsewhere") for row in acted["changes"])
