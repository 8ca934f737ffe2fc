"""Conversations on the real server whose learnings are merged, and what the server's own table says of them."""

import json
import sqlite3
from contextlib import closing

from tests.support.real_learning import Corner

PEANUTS = "I cannot eat peanuts. Give me everything in metric"
COLOUR = "My favourite colour is test-blue"
CAT = "It has a cat in it"
BUTTER = "I love peanut butter, says the test; metric only"


async def peanut_story(corner: Corner, *, merged: bool) -> None:
    """A test run in the window of real conversations; if `merged`, its second part is merged with a real fact."""
    corner.learn(PEANUTS, profile="Cannot eat peanuts", quote="I cannot eat peanuts", playbook="Use metric")
    corner.learn(COLOUR, profile="Favourite colour: test-blue", quote=COLOUR)
    corner.learn(CAT, profile="Has a cat", quote="It has a cat in it")
    corner.learn(BUTTER, profile="Loves peanut butter", quote="I love peanut butter", playbook="Use metric")
    if merged:
        corner.model.merges["peanut"] = "Loves peanuts"
    await corner.say("real-1", PEANUTS, session="real")
    await corner.say("ping", "ping", session="ci-run-7")
    await corner.say("blue", COLOUR, session="ci-run-7")
    await corner.say("real-2", CAT, session="real", force_extraction=True)
    await corner.say("butter", BUTTER, session="ci-run-7", force_extraction=True)


async def chain_story(corner: Corner) -> None:
    """A fact of two real conversations and one test run: each replaces the profile before."""
    said = ("I take sugar in my tea", "I take two sugars now", "I take ten sugars, says the test")
    for number, text in enumerate(said):
        corner.model.rules.clear()
        corner.model.merges["sugar"] = f"Takes sugar, as said {number + 1} times"
        corner.learn(text, profile=f"Says about sugar: {text}", quote=text)
        await corner.say(f"sugar-{number}", text, force_extraction=True)


def recorded_replacements(corner: Corner) -> dict[tuple[str, str], set[str]]:
    """What the server's own table says: for the kind and id of each replaced learning, what replaced it directly."""
    (path,) = (corner.server.home / ".reflexio" / "data").glob("*.db")
    found: dict[tuple[str, str], set[str]] = {}
    with closing(sqlite3.connect(path, timeout=30)) as connection:
        rows = connection.execute("SELECT entity_type, entity_id, source_ids FROM lineage_event").fetchall()
    for kind, entity, sources in rows:
        for source in json.loads(sources):
            found.setdefault((kind, str(source)), set()).add(entity)
    return found
