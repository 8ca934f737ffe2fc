"""What changed since a time: from the rows of the service, and from this server's own records."""

import time
from pathlib import Path
from typing import Any

import pytest

from reflexio_mcp.state.state import State
from reflexio_mcp.state.tables import StateUnusable
from reflexio_mcp.tools import learnings
from tests.audit.stored import GITHUB_TOKEN
from tests.deletion.support import Caller, World
from tests.learnings.rows import merged
from tests.support.facts import fact_of

pytestmark = pytest.mark.anyio

NOW = int(time.time())
HOUR = 3_600
LONG_AGO = NOW - 100 * HOUR

Told = dict[tuple[str, str], dict[str, Any]]


async def told(caller: Caller, **arguments: Any) -> Told:
    """The changes of the last ten hours, by kind and learning."""
    page = await caller.call("list_learnings", **{"changed_since": "10h", "user_id": "ada"} | arguments)
    return {(row["change"], row.get("learning_id", "")): row for row in page.get("changes", [])}


async def two_requests(world: World) -> None:
    world.clock.now = NOW - HOUR
    await world.put("a", text="I live in Lisbon")
    await world.put("b", text="I moved to Porto")


async def moved(world: World) -> None:
    """A learning of long ago that another one has replaced an hour ago."""
    await two_requests(world)
    await world.learn(
        "lisbon",
        "a",
        content="Lives in Lisbon",
        quote="I live in Lisbon",
        status="superseded",
        changed=NOW - HOUR,
    )
    await world.learn(
        "porto",
        "a",
        "b",
        content="Lives in Porto",
        quote=merged("I moved to Porto", "I live in Lisbon"),
        changed=NOW - HOUR,
        created=NOW - HOUR,
    )


async def test_new_replaced_forgotten_and_expired_profiles_are_told_with_old_and_new_texts(
    world: World,
) -> None:
    await moved(world)
    await world.learn("tea", "b", content="Drinks tea", changed=NOW - HOUR, created=NOW - HOUR)
    await world.learn(
        "cat", "a", content="Has a cat", quote="It has a cat", changed=NOW - 2 * HOUR, status="superseded"
    )
    await world.learn("trip", "a", content="Is in Rome", changed=LONG_AGO, expires=NOW - HOUR)
    await world.learn("known", "a", content="Is an engineer", changed=LONG_AGO)
    await world.learn("over", "a", content="Was in Oslo", changed=LONG_AGO, expires=LONG_AGO)
    async with world.connect() as caller:
        found = await told(caller)
        result = await caller.call("list_learnings", changed_since="10h", user_id="ada")
    assert {key: (row["content"], row.get("old")) for key, row in found.items()} == {
        ("replaced", "profile:porto"): ("Lives in Porto", ["Lives in Lisbon"]),
        ("new", "profile:tea"): ("Drinks tea", None),
        ("forgotten", "profile:cat"): ("Has a cat", None),
        ("expired", "profile:trip"): ("Is in Rome", None),
    }
    assert "maybe_deleted" not in found["forgotten", "profile:cat"]
    assert fact_of(result, "changes_elsewhere")
    assert [row["at"] for row in result["changes"]] == sorted(
        (row["at"] for row in result["changes"]), reverse=True
    )


async def test_a_playbook_that_is_said_again_under_another_id_is_no_change(world: World) -> None:
    await two_requests(world)
    metric = {"content": "Use metric", "quote": "I live in Lisbon"}
    await world.learn(1, "a", **metric, changed=LONG_AGO, status="merged")
    await world.learn(2, "a", **metric, changed=NOW - HOUR, status="merged")
    await world.learn(3, "a", **metric, changed=NOW - HOUR)
    await world.learn(4, "b", content="Be brief", changed=NOW - 2 * HOUR, status="merged")
    await world.learn(5, "b", content="Be brief", changed=NOW - HOUR)
    async with world.connect() as caller:
        found = await told(caller)
    assert set(found) == {("new", "user_playbook:5")}


async def test_a_playbook_that_says_something_else_is_told_with_what_was_in_use_before(world: World) -> None:
    await two_requests(world)
    quote = "I live in Lisbon"
    await world.learn(1, "a", content="Use miles", quote=quote, changed=LONG_AGO - 1, status="merged")
    await world.learn(2, "a", content="Use feet", quote=quote, changed=LONG_AGO, status="merged")
    await world.learn(3, "a", content="Use metric", quote=quote, changed=NOW - HOUR)
    async with world.connect() as caller:
        found = await told(caller)
    assert {key: row["old"] for key, row in found.items()} == {("replaced", "user_playbook:3"): ["Use feet"]}


async def test_corrections_deletions_and_undos_are_told_from_our_records_with_the_old_text(
    world: World,
) -> None:
    await two_requests(world)
    await world.learn("lisbon", "a", content="Lives in Lisbon", changed=LONG_AGO)
    await world.learn(7, "b", content="Be brief", changed=LONG_AGO)
    await world.learn("tea", "b", content="Drinks tea", changed=LONG_AGO)
    async with world.connect(CONFIRM="off") as caller:
        corrected = await caller.receipt(
            "correct_learning", user_id="ada", learning_id="profile:lisbon", content="Lives in Porto"
        )
        deleted = await caller.receipt(
            "delete_learnings", user_id="ada", learning_ids=["user_playbook:7", "profile:tea"]
        )
        gone = await told(caller)
        await caller.restored(deleted["number"])
        back = await told(caller)
    row = gone["corrected", "profile:lisbon"]
    assert (row["old"], row["content"], row["job"]) == (
        ["Lives in Lisbon"],
        "Lives in Porto",
        corrected["number"],
    )
    assert "elsewhere" not in row
    assert {key: row["content"] for key, row in gone.items() if key[0] == "taken_back"} == {
        ("taken_back", "user_playbook:7"): "Be brief",
        ("taken_back", "profile:tea"): "Drinks tea",
    }
    assert {row["content"] for key, row in back.items() if key[0] == "put_back"} == {"Be brief", "Drinks tea"}
    assert {kind for kind, _ in back} == {"corrected", "taken_back", "put_back"}


async def test_what_becomes_current_again_is_told_and_not_called_forgotten(world: World) -> None:
    await moved(world)
    async with world.connect(CONFIRM="off") as caller:
        await caller.receipt("delete_request", request_id="b", include_learnings=True)
        found = await told(caller)
    assert {key: (row["content"], row.get("old")) for key, row in found.items()} == {
        ("taken_back", "profile:porto"): ("Lives in Porto", None),
        ("put_back", "profile:lisbon"): ("Lives in Lisbon", None),
    }


async def test_where_no_copy_shows_it_forgotten_and_deleted_are_not_told_apart(world: World) -> None:
    await moved(world)
    arguments = {"user_id": "ada", "learning_ids": ["profile:porto"]}
    async with world.connect(CONFIRM="off") as caller:
        kept = await caller.receipt("delete_learnings", **arguments)
        assert set(await told(caller)) == {("taken_back", "profile:porto")}
        await caller.restored(kept["number"])
        await caller.receipt("delete_learnings", **arguments, erase=True)
        page = await caller.call("list_learnings", changed_since="10h", user_id="ada")
    found = {(row["change"], row["learning_id"]): row for row in page["changes"]}
    assert found["forgotten", "profile:lisbon"]["maybe_deleted"] is True
    assert (fact_of(page, "forgotten_or_deleted") or {})["number"] == 1
    assert "content" not in found["taken_back", "profile:porto"]
    assert "Porto" not in str(page)


async def test_a_correction_by_another_client_is_told_without_its_old_text(world: World) -> None:
    await two_requests(world)
    await world.learn("lisbon", "a", content="Lives in Lisbon", changed=LONG_AGO, created=LONG_AGO)
    await world.rest.update_profile("ada", "lisbon", "Lives in Faro")
    async with world.connect() as caller:
        found = await told(caller)
    row = found["corrected", "profile:lisbon"]
    assert (row["elsewhere"], row["content"], row.get("old")) == (True, "Lives in Faro", None)


async def everybody(world: World) -> None:
    await moved(world)
    await world.put("c", user="bob", text="I drink tea")
    await world.put("d", user="eve", text="Forget that I have a cat")
    await world.learn("tea", "c", user="bob", content="Drinks tea", changed=NOW - HOUR, created=NOW - HOUR)
    # Nothing else is stored of her, so that only her conversation names her.
    await world.learn("cat", "d", user="eve", content="Has a cat", changed=NOW - HOUR, status="superseded")
    await world.learn(9, "c", user="zoe", content="Be brief", changed=NOW - HOUR)
    await world.learn("old", "c", user="quiet", content="Is quiet", changed=LONG_AGO)


async def test_without_a_user_an_operator_sees_the_changes_of_every_user(world: World) -> None:
    await everybody(world)
    async with world.connect(CONFIRM="off") as caller:
        await caller.receipt("delete_learnings", user_id="quiet", learning_ids=["profile:old"])
        page = await caller.call("list_learnings", changed_since="10h")
    assert {(row["user_id"], row["change"], row["content"]) for row in page["changes"]} == {
        ("ada", "replaced", "Lives in Porto"),
        ("bob", "new", "Drinks tea"),
        ("eve", "forgotten", "Has a cat"),
        ("zoe", "new", "Be brief"),
        ("quiet", "taken_back", "Is quiet"),
    }


async def test_a_person_sees_the_changes_of_their_own_alone_also_those_by_an_operator(world: World) -> None:
    await everybody(world)
    async with world.connect(CONFIRM="off") as operator:
        await operator.receipt("delete_learnings", user_id="bob", learning_ids=["profile:tea"])
        await operator.receipt("delete_learnings", user_id="ada", learning_ids=["profile:porto"])
    async with world.connect(REFLEXIO_USER_ID="ada") as caller:
        page = await caller.call("list_learnings", changed_since="10h")
        refused = await caller.refused("list_learnings", changed_since="10h", user_id="bob")
    assert [(row["change"], row["content"], row["old"]) for row in page["changes"]] == [
        ("taken_back", "Lives in Porto", ["Lives in Lisbon"])
    ]
    assert not {"bob", "eve", "zoe", "tea"} & set(str(page).replace("'", " ").split())
    assert "is fixed" in refused


async def test_exports_are_told_with_the_number_of_learnings_that_left(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))  # the archive is kept there
    await two_requests(world)
    await world.learn("lisbon", "a", content="Lives in Lisbon", changed=LONG_AGO)
    async with world.connect() as caller:
        plan = await caller.call("export_data", user_id="ada", redact=False)
        await caller.call("export_data", user_id="ada", redact=False, confirm=plan["confirm"])
        found = await told(caller)
        everyone = await told(caller, user_id="")
    [row] = found.values()
    assert (row["change"], row["exported"], "ada" in row["selected"]) == ("exported", 1, True)
    assert ("exported", "") in everyone


async def test_an_export_is_told_without_a_key_in_what_it_selected(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))  # the archive is kept there
    await two_requests(world)
    async with world.connect() as caller:
        selected = {"user_id": "ada", "agent_version": GITHUB_TOKEN}
        plan = await caller.call("export_data", **selected, redact=False)
        await caller.call("export_data", **selected, redact=False, confirm=plan["confirm"])
        [row] = (await told(caller)).values()
    assert row["change"] == "exported"
    assert GITHUB_TOKEN not in row["selected"]


async def test_pages_hold_each_change_once_whatever_the_age_means_by_then(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    await two_requests(world)
    for number in range(7):
        changed = NOW - HOUR - number
        await world.learn(f"p{number}", "a", content=f"fact {number}", changed=changed, created=changed)
    seen: list[str] = []
    arguments: dict[str, Any] = {"changed_since": "10h", "user_id": "ada", "limit": 3}
    async with world.connect() as caller:
        page = await caller.call("list_learnings", **arguments)
        while True:
            seen += [row["content"] for row in page["changes"]]
            if "cursor" not in page:
                break
            # By now, the age means a time after all of them.
            monkeypatch.setattr(learnings, "parse_time", lambda *_, **__: NOW)
            page = await caller.call("list_learnings", **arguments, cursor=page["cursor"])
    assert seen == [f"fact {number}" for number in range(7)]


async def test_hidden_content_stays_hidden_and_secrets_are_covered(world: World) -> None:
    await moved(world)
    token = "ghp_" + "16C7e42F292c6912E7710c838347Ae178B4a"
    await world.learn("token", "a", content=f"The token is {token}", changed=NOW - HOUR, created=NOW - HOUR)
    async with world.connect() as caller:
        assert token not in str(await told(caller))
    async with world.connect(MASK="1") as caller:
        found = await told(caller)
    assert ("replaced", "profile:porto") in found
    assert not any(word in str(found) for word in ("Porto'", "Lisbon", "token is"))


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"session_id": "s"}, "can be combined with user_id alone"),
        ({"contains": "tea"}, "can be combined with user_id alone"),
        ({"changed_since": "last week"}, "changed_since must be ISO 8601"),
        ({"shared": True}, "cannot be combined with shared"),
    ],
)
async def test_what_changes_cannot_be_asked_by_is_refused(
    world: World, arguments: dict[str, Any], said: str
) -> None:
    async with world.connect() as caller:
        asked = {"user_id": "ada", "changed_since": "10h"} | arguments
        assert said in await caller.refused("list_learnings", **asked)


async def test_unreadable_records_are_told_and_the_rows_are_compared_all_the_same(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    await moved(world)

    def full(*_: object) -> None:
        raise StateUnusable("the disk is full", "make room")

    monkeypatch.setattr(State, "learning_deeds", full)
    async with world.connect() as caller:
        page = await caller.call("list_learnings", changed_since="10h", user_id="ada")
    assert [row["change"] for row in page["changes"]] == ["replaced"]
    assert fact_of(page, "changes_unrecorded")


async def test_it_is_said_when_the_time_is_longer_ago_than_replaced_learnings_are_kept(world: World) -> None:
    async with world.connect() as caller:
        long_ago = await caller.call("list_learnings", changed_since="91d", user_id="ada")
        lately = await caller.call("list_learnings", changed_since="89d", user_id="ada")
    assert (fact_of(long_ago, "changes_too_old") or {})["number"] == 90
    assert not fact_of(lately, "changes_too_old")
    assert "No change is known." in lately["text"] or not lately.get("changes")
