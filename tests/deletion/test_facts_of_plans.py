"""A plan says each fact where it holds, with its number, and nowhere else."""

from typing import Any

import pytest

from reflexio_mcp.traffic.deletion import plan as plans
from tests.deletion.support import Known, World

pytestmark = pytest.mark.anyio

SISTER = "I have a sister in Porto"
MORNING = "Good morning everybody"

LEARNED: dict[str, tuple[list[str], dict[str, Any]]] = {
    "said only there": (["r1"], {"quote": SISTER}),
    "said elsewhere, too": (["r1", "twin"], {"quote": SISTER}),
    "said only in what stays": (["r1", "other"], {"quote": MORNING}),
    "quotes nothing": (["r1", "other"], {}),
    "lists nothing": ([], {}),
    "not in use any more": (["r1"], {"quote": SISTER, "status": "superseded"}),
}
"""What a learning is learned from and what it quotes."""

SAID: list[tuple[str, dict[str, int], dict[str, int], dict[str, int]]] = [
    ("nothing", {"no_learning_known": 0}, {"no_learning_known": 0}, {"no_learning_known": 0}),
    ("said only there", {"learnings_stay": 1}, {"words_nowhere_else": 1}, {"words_nowhere_else": 1}),
    (
        "said elsewhere, too",
        {},
        {"learnings_partly": 1},
        {"learnings_partly": 1, "learnings_undecided": 1},
    ),
    ("said only in what stays", {}, {"learnings_window": 1}, {"learnings_window": 1}),
    ("quotes nothing", {}, {"learnings_unknown": 1}, {"learnings_unknown": 1, "learnings_undecided": 1}),
    (
        "lists nothing",
        {"no_learning_known": 0, "learnings_unlinked": 1},
        {"no_learning_known": 0, "learnings_unlinked": 1},
        {"no_learning_known": 0, "learnings_unlinked": 1},
    ),
    ("not in use any more", {}, {}, {}),
]
"""What a plan says of it: if learnings are kept, if they are included, and if they are erased."""


async def facts(world: World, tool: str, **asked: Any) -> dict[str, int]:
    """The facts of a plan with their numbers; 0 for a fact without one."""
    async with world.connect() as caller:
        plan = await caller.plan(tool, **asked)
    return {fact["code"]: fact.get("number", 0) for fact in plan["facts"]}


@pytest.mark.parametrize(
    ("learned", "kept", "included", "erased"), SAID, ids=[learned for learned, *_ in SAID]
)
async def test_a_plan_says_of_a_learning_whether_it_stays_and_why(
    world: World, learned: str, kept: dict[str, int], included: dict[str, int], erased: dict[str, int]
) -> None:
    await world.put("r1", text=SISTER)
    await world.put("other", session="t", text=MORNING)
    if learned == "said elsewhere, too":
        await world.put("twin", session="t", text=SISTER)
    window, fields = LEARNED.get(learned, ([], {}))
    if window:
        await world.learn("p", *window, content="Has a sister in Porto", **fields)
    elif learned == "lists nothing":
        world.backend.profiles["p"] = Known("ada", "of another time", content="Has a sister in Porto")
    always, target = {"outcomes_stay": 0}, {"request_id": "r1"}
    assert await facts(world, "delete_request", **target) == kept | always
    with_learnings = target | {"include_learnings": True}
    assert await facts(world, "delete_request", **with_learnings) == included | always
    erasing = await facts(world, "delete_request", **with_learnings, erase=True)
    assert erasing == erased | always | {"exports_stay": 0}


@pytest.mark.parametrize(
    ("window", "quote", "gone_earlier"),
    [
        (["r1", "before"], f"{SISTER} … {MORNING}", 1),
        (["r1", "before"], SISTER, 0),
        (["r1"], "words that nobody has said", 0),
    ],
    ids=["quotes both", "quotes what goes now", "quotes nothing of either"],
)
async def test_a_plan_says_that_a_learning_goes_though_it_quotes_what_was_deleted_before(
    world: World, window: list[str], quote: str, gone_earlier: int
) -> None:
    await world.put("r1", text=SISTER)
    await world.put("before", session="t", text=MORNING)
    await world.learn("p", *window, content="Has a sister in Porto", quote=quote)
    await world.rest.delete_requests_by_ids(["before"])
    said = await facts(world, "delete_request", request_id="r1", include_learnings=True)
    assert said.get("source_gone_earlier", 0) == gone_earlier


async def test_a_plan_counts_the_users_whose_learnings_it_has_not_looked_at(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(plans, "USERS_COUNTED", 2)
    for user in ("ada", "bob", "eve"):
        await world.put(f"of {user}", user=user)
        await world.learn(f"p {user}", f"of {user}", user=user)
    kept = await facts(world, "delete_session", session_id="s")
    assert (kept["users_not_looked_at"], kept["learnings_stay"]) == (1, 2)
    included = await facts(world, "delete_session", session_id="s", include_learnings=True)
    assert "users_not_looked_at" not in included


async def test_interactions_that_stay_are_counted_in_a_plan_that_takes_any(world: World) -> None:
    await world.put("r1")
    [interaction] = await world.interactions("r1")
    chosen = await facts(world, "delete_request", request_id="r1", interaction_ids=[interaction])
    assert chosen == {"interactions_stay": 0, "no_learning_known": 0, "outcomes_stay": 0}
    none = await facts(world, "delete_request", request_id="r1", interaction_ids=[99])
    assert "interactions_stay" not in none


async def test_a_plan_for_learnings_of_a_session_says_that_a_part_cannot_be_read(world: World) -> None:
    await world.put("r1", text=SISTER)
    await world.put("hidden", session="s")
    await world.learn("p", "r1", content="Has a sister in Porto", quote=SISTER)
    assert "part_unread" not in await facts(world, "delete_learnings", session_id="s")
    world.backend.unreturned.add("hidden")
    assert "part_unread" in await facts(world, "delete_learnings", session_id="s")
