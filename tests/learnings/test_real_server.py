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
