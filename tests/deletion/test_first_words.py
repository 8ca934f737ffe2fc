"""No secret is shown on the way to a deletion: in forms, plans and lists, whatever chose the set."""

import base64
import json
import random
from typing import Any

import pytest

from tests.deletion.support import Person, World, text_of

pytestmark = pytest.mark.anyio

_BYTES = random.Random(24).randbytes(2_400)
KEY_LINES = base64.encodebytes(_BYTES).decode()
PEM = f"-----BEGIN RSA PRIVATE KEY-----\n{KEY_LINES}-----END RSA PRIVATE KEY-----"

SECRETS = {
    "a told passphrase": ("My passphrase is correct horse battery staple, thanks", "correct horse"),
    "a told password of words": ("the wifi password: blue kettle on a hill", "blue kettle"),
    "a password": ("My password is Tr0ub4dor&3", "Tr0ub4dor"),
    "a password in another language": ("Mein Passwort lautet grüner wagen im wald", "wagen"),
    "a key of 3,200 characters": (PEM, KEY_LINES[:20]),
    "a key that is cut off": (PEM[:300], KEY_LINES[:20]),
    "a key behind many blanks": (" \n" * 4_000 + PEM, KEY_LINES[:20]),
    "a key behind a greeting": (f"Here you go: {PEM[:900]}", KEY_LINES[:20]),
    "a key in JSON": (json.dumps({"k": PEM})[:1_500], KEY_LINES[:20]),
    "a seed phrase": ("my seed phrase: apple brave crane dance eagle flame grape house", "brave crane"),
    "a token at the end of what is shown": ("x " * 30 + "AKIAJ3X7Q2M5K8N4P6R9", "AKIAJ3X7"),
    "a token that begins where a cut might be": ("y" * 70 + " hf_" + "aB3d" * 8 + "xY", "aB3d"),
}
FILTERS: list[tuple[str, dict[str, Any]]] = [
    ("delete_requests", {"user_id": "ada", "contains": "needle"}),
    ("delete_requests", {"user_id": "ada"}),
    ("delete_requests", {"session_id": "s"}),
    ("delete_requests", {"source": "ide"}),
    ("delete_requests", {"start_time": "2020-01-01"}),
    ("delete_requests", {"user_id": "ada", "finding": "probable-secret"}),
    ("delete_requests", {"request_ids": ["r1"]}),
    ("delete_session", {"session_id": "s"}),
    ("delete_request", {"request_id": "r1"}),
]


@pytest.mark.parametrize("name", SECRETS)
async def test_first_words_show_no_secret(world: World, name: str) -> None:
    text, secret = SECRETS[name]
    await world.put("r1", text=f"{text}\n needle", source="ide")
    await world.learn("p1", "r1", content=text)
    person = Person(lambda _: "decline")
    said: list[str] = []
    async with world.connect(person=person, CONFIRM="auto") as caller:
        for tool, arguments in FILTERS:
            result = await caller.result(tool, **arguments)
            said += [text_of(result), str(result.structured_content)]
    async with world.connect(CONFIRM="preview") as caller:
        for tool, arguments in (
            *FILTERS,
            ("list_sessions", {}),
            ("list_sessions", {"order": "longest"}),
            ("list_requests", {}),
            ("list_requests", {"request_id": "r1"}),
            ("delete_learnings", {"user_id": "ada"}),
        ):
            result = await caller.result(tool, **arguments)
            assert not result.is_error, text_of(result)
            said += [text_of(result), str(result.structured_content)]
    assert len(person.seen) >= len(FILTERS) - 1
    shown = [one for one in (*person.seen, *said) if secret in one]
    assert not shown, shown[0]


async def test_ordinary_first_words_are_shown(world: World) -> None:
    await world.put("r1", text="Book a table for two at seven, please")
    person = Person(lambda _: "decline")
    async with world.connect(person=person) as caller:
        await caller.call("delete_request", request_id="r1")
        listed = await caller.call("list_sessions")
    assert "Book a table for two at seven, please" in person.seen[0]
    assert listed["sessions"][0]["first_words"] == "Book a table for two at seven, please"


async def test_the_newest_of_one_second_are_shown_with_their_words_in_whichever_sessions(
    world: World,
) -> None:
    for number in range(8, 0, -1):
        world.clock.now -= 1
        await world.put(f"t{number}", session=f"z{number}", text=f"words of {number}")
    async with world.connect(CONFIRM="preview") as caller:
        plan = await caller.call("delete_requests", user_id="ada")
    assert [(one["request_id"], one["first_words"]) for one in plan["plan"]["examples"]] == [
        (f"t{number}", f"words of {number}") for number in range(1, 6)
    ]
