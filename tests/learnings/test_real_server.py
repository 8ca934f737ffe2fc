"""What was learned on the real server is found by its sources, deleted with them, and comes back with them."""

import pytest

from tests.support.real_learning import Corner

pytestmark = [pytest.mark.anyio, pytest.mark.live]


async def test_what_was_learned_goes_with_its_request_and_comes_back_with_it(corner: Corner) -> None:
    corner.learn("oat milk", profile="Takes oat milk", quote="I take oat milk", playbook="Offer oat milk")
    await corner.say("a", "I take oat milk", force_extraction=True)
    [before], [playbook] = await corner.profiles(), await corner.playbooks()
    async with corner.connect(CONFIRM="preview") as caller:
        wanted = {"request_id": corner.name("a"), "include_learnings": True}
        plan = await caller.plan("delete_request", **wanted)
        assert plan["goes"] == {"requests": 1, "interactions": 1, "learnings": 2}
        receipt = await caller.receipt("delete_request", **wanted, confirm=plan["confirm"])
        assert (receipt["status"], receipt["deleted"]) == ("complete", plan["goes"])
        assert not [*await corner.profiles(), *await corner.playbooks()]
        done = await caller.restored(receipt["number"], evaluation_only=True)
        assert done["restored"] == plan["goes"]
    turns = await corner.interactions("a")
    assert await corner.profiles() == [before.model_copy(update={"source_interaction_ids": turns})]
    [again] = await corner.playbooks()
    assert again.user_playbook_id != playbook.user_playbook_id
    assert again.content == playbook.content
