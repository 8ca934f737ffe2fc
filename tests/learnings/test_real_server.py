"""What the real server does with what it learned: the facts that everything said about learnings rests on."""

import pytest

from tests.support.real_learning import Corner

pytestmark = [pytest.mark.anyio, pytest.mark.live]


async def test_a_learning_names_the_last_request_of_its_window_and_lists_the_turns_of_all(
    corner: Corner,
) -> None:
    corner.learn("Secret Lane", profile="Lives at 12 Secret Lane", quote="I live at 12 Secret Lane")
    await corner.say("a", "I live at 12 Secret Lane")
    await corner.say("b", "What is the weather?")
    await corner.say("c", "Thank you", force_extraction=True)
    (profile,) = await corner.profiles()
    assert profile.content == "Lives at 12 Secret Lane"
    assert profile.generated_from_request_id == corner.name("c")
    assert profile.source_interaction_ids == await corner.interactions("a", "b", "c")


async def test_finishing_a_session_learns_from_a_window_that_is_not_full(corner: Corner) -> None:
    corner.learn("Secret Lane", profile="Lives at 12 Secret Lane")
    await corner.say("a", "I live at 12 Secret Lane")
    await corner.say("b", "Thank you", session_finished=True)
    (profile,) = await corner.profiles()
    assert profile.source_interaction_ids == await corner.interactions("a", "b")


async def test_learnings_can_be_stored_as_they_were_in_every_state(corner: Corner) -> None:
    corner.learn("oat milk", profile="Takes oat milk", quote="I take oat milk", playbook="Offer oat milk")
    await corner.say("a", "I take oat milk", force_extraction=True)
    [profile], [playbook] = await corner.profiles(), await corner.playbooks()
    await corner.rest.delete_profiles([profile.profile_id])
    await corner.rest.delete_user_playbooks([str(playbook.user_playbook_id)])
    states = (None, "pending", "archived", "archive_in_progress", "merged", "superseded", "expired")
    profiles = [
        profile.model_copy(update={"profile_id": corner.name(str(state)), "status": state})
        for state in states
    ]
    playbooks = [playbook.model_copy(update={"status": state}) for state in states]
    await corner.rest.add_profiles([*profiles, profile])
    await corner.rest.add_user_playbooks(playbooks)
    # A profile keeps its id and everything else, a playbook all but its id.
    found = {one.profile_id: one for one in await corner.profiles()}
    assert found == {one.profile_id: one for one in (*profiles, profile)}
    again = {one.status: one for one in await corner.playbooks()}
    assert playbook.user_playbook_id not in {one.user_playbook_id for one in again.values()}
    assert [
        again[state].model_copy(update={"user_playbook_id": playbook.user_playbook_id}) for state in states
    ] == playbooks
    # An id that is taken is overwritten, also where another user has it.
    other = profile.model_copy(update={"user_id": corner.name("bob"), "content": "Takes cream"})
    await corner.rest.add_profiles([other])
    assert profile.profile_id not in {one.profile_id for one in await corner.profiles()}
    assert await corner.profiles("bob") == [other]


async def test_what_was_learned_comes_back_with_its_request(
    corner: Corner, tmp_path_factory: pytest.TempPathFactory
) -> None:
    corner.learn("oat milk", profile="Takes oat milk", quote="I take oat milk", playbook="Offer oat milk")
    await corner.say("a", "I take oat milk", force_extraction=True)
    [before], [playbook] = await corner.profiles(), await corner.playbooks()
    folder = str(tmp_path_factory.mktemp("copies"))
    async with corner.connect(RECOVERY_DAYS="1", RECOVERY_DIR=folder) as caller:
        done = await caller.call("delete_request", request_id=corner.name("a"), include_learnings=True)
        assert not [*await corner.profiles(), *await corner.playbooks()]
        back = await caller.call("restore_requests", copy_id=done["copy_id"], evaluation_only=True)
        assert back["status"] == "complete"
        of_request = await caller.call("list_learnings", request_id=corner.name("a"))
    assert of_request["total"] == back["learnings_restored"] == 2
    turns = await corner.interactions("a")
    assert await corner.profiles() == [before.model_copy(update={"source_interaction_ids": turns})]
    [again] = await corner.playbooks()
    assert again.user_playbook_id != playbook.user_playbook_id
    assert again.content == playbook.content


async def test_a_hundred_learnings_come_back_call_by_call(
    corner: Corner, tmp_path_factory: pytest.TempPathFactory
) -> None:
    corner.learn("oat milk", profile="Takes oat milk", quote="I take oat milk", times=100)
    await corner.say("a", "I take oat milk", force_extraction=True)
    before = {one.profile_id: one for one in await corner.profiles()}
    assert len(before) == 100
    folder = str(tmp_path_factory.mktemp("copies"))
    options = {"RECOVERY_DAYS": "1", "RECOVERY_DIR": folder}
    async with corner.connect(**options) as caller:
        done = await caller.call("delete_request", request_id=corner.name("a"), include_learnings=True)
        assert done["learned_deleted"]["profiles"] == 100
        assert not await corner.profiles()
        restored = {"copy_id": done["copy_id"], "evaluation_only": True}
        back = await caller.call("restore_requests", **restored)
        while back["status"] == "incomplete":  # a busy machine can take longer than one call may
            assert "Call again" in back["next"]
            back = await caller.call("restore_requests", **restored)
    turns = await corner.interactions("a")
    assert {one.profile_id: one for one in await corner.profiles()} == {
        name: one.model_copy(update={"source_interaction_ids": turns}) for name, one in before.items()
    }
