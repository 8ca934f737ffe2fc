"""The page on a real Reflexio server that learns: what was learned is shown, lit in the table, and taken back."""

from functools import partial

import anyio.to_thread
import pytest

from tests.explorer.conftest import Play
from tests.learnings.conftest import corner  # noqa: F401 - the fixture
from tests.support.real_learning import Corner

pytestmark = [pytest.mark.anyio, pytest.mark.live]


async def test_what_was_learned_is_shown_and_goes_with_its_requests(corner: Corner, play: Play) -> None:  # noqa: F811
    corner.learn("Secret Lane", profile="Lives at 12 Secret Lane", quote="I live at 12 Secret Lane")
    corner.learn("in metric", playbook="Answer in metric units")
    await corner.say("a", "I live at 12 Secret Lane. Always answer in metric units.", session="home")
    await corner.say("b", "What is the weather?", session="home")
    await corner.say("c", "Thank you", session="home", force_extraction=True)
    assert len(await corner.profiles()) == 1
    given = {"REFLEXIO_URL": corner.server.url, "REFLEXIO_USER_ID": corner.name("ada")}
    await anyio.to_thread.run_sync(partial(play, "showsAndTakesBackWhatWasLearned", "", **given))
    assert [one for one in await corner.profiles() if one.status is None] == []
    assert [one for one in await corner.playbooks() if one.status is None] == []
