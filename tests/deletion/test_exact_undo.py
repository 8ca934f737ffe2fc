"""The embedded store gives out all that it has of a request, so an undo there puts back exactly what was deleted."""

import base64
import json
import sqlite3
import tracemalloc
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import asynccontextmanager, closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from mcp.client.client import Client

from reflexio_mcp.embedded_store.app import EmbeddedStore
from reflexio_mcp.render.restoring import ERASED_WITH
from reflexio_mcp.rest.client import ReflexioClient
from reflexio_mcp.rest.errors import AlreadyExists, BadAddress, Closed, ReflexioError
from reflexio_mcp.rest.models import (
    Citation,
    Interaction,
    PublishBody,
    RequestQuery,
    RetrievedLearning,
    ToolUse,
)
from reflexio_mcp.server.server import ReflexioServer
from reflexio_mcp.settings import load
from reflexio_mcp.state.local.copy_folder import CopyFolder
from reflexio_mcp.traffic.deletion.erasure import erase_from_copies, look_into_copies
from reflexio_mcp.traffic.deletion.execute import execute
from reflexio_mcp.traffic.deletion.safeguards import Origin
from reflexio_mcp.traffic.deletion.takeover import Order, order_of
from reflexio_mcp.traffic.deletion.turn_plan import plan_turns
from reflexio_mcp.traffic.deletion.verify import read_again
from reflexio_mcp.traffic.scope import Scope
from tests.deletion.support import Caller, agreeing, text_of
from tests.state.conftest import KEY
from tests.support.embedded import START, Clock

pytestmark = pytest.mark.anyio

PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
CHECKED = "by reading again, word for word, times, images and citations included"
OLD = "Arrival times are new. Images sent as base64 and citations, if there were any, are not restored: "

RICH = [
    Interaction(content="What is on this picture? \u202e \U0001f600", image_encoding=PIXEL, created_at=12),
    Interaction(image_encoding=PIXEL),
    Interaction(
        role="Assistant",
        content="A dot.",
        created_at=11,
        expert_content="One pixel.",
        shadow_content="A point.",
        citations=[Citation(kind="profile", real_id="p1", tag="t", title="likes dots")],
        retrieved_learnings=[RetrievedLearning(kind="profile", learning_id="p1")],
        tools_used=[
            ToolUse(tool_name="look", tool_data={"z": [1, 2.5, None, "ö"], "a": {}}, status="success")
        ],
    ),
    Interaction(user_action="click", user_action_description="on the dot"),
]


class Store:
    """An embedded store in a file, and servers of it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.clock = Clock()
        self.app = EmbeddedStore(str(folder / "store.db"), clock=self.clock)
        self.rest = ReflexioClient("http://embedded.reflexio.invalid", transport=lambda: self.app)

    async def put(self, request_id: str, *turns: Interaction, session: str = "s", **fields: Any) -> None:
        body = PublishBody(
            user_id="ada",
            session_id=session,
            request_id=request_id,
            interaction_data_list=list(turns) or [Interaction(content="words")],
            **fields,
        )
        await self.rest.publish(body, minted=False)

    def rows(self, *, without: str = "") -> dict[str, list[dict[str, Any]]]:
        """All rows of the file, by table, without the requests' numbers: interactions have a `request_id` instead."""
        queries = {
            "requests": "SELECT * FROM requests ORDER BY request_id",
            "interactions": "SELECT interactions.*, request_id FROM interactions JOIN requests ON arrival = request "
            "ORDER BY interaction_id",
        }
        left_out = {"arrival", "request", without}
        with closing(sqlite3.connect(self.folder / "store.db")) as connection:
            connection.row_factory = sqlite3.Row
            return {
                table: [
                    {name: row[name] for name in row.keys() if name not in left_out}  # noqa: SIM118
                    for row in connection.execute(query)
                ]
                for table, query in queries.items()
            }

    @asynccontextmanager
    async def connect(self, person: Any = None, **env: str) -> AsyncGenerator[Caller]:
        variables = {
            "CONFIRM": "off",
            "RECOVERY_DAYS": "7",
            "RECOVERY_DIR": str(self.folder / "copies"),
            **env,
        }
        settings = load({f"REFLEXIO_MCP_{name}": value for name, value in variables.items()})
        server = ReflexioServer(settings, client=self.rest)
        async with Client(server, raise_exceptions=True, elicitation_callback=person) as client:
            yield Caller(client)

    def copy(self) -> Path:
        [path] = (self.folder / "copies").iterdir()
        return path

    def made_before(self, *request_ids: str) -> None:
        """Leave in the copy what an earlier version wrote of these requests, of all where none is named."""
        lines: list[str] = []
        for line in self.copy().read_text(encoding="utf-8").splitlines():
            row = json.loads(line)
            if not request_ids or row["request"]["request_id"] in request_ids:
                del row["request"]["arrival"], row["request"]["whole"]
                for turn in row["interactions"]:
                    del turn["citations"], turn["image_encoding"]
            lines.append(json.dumps(row) + "\n")
        self.copy().write_text("".join(lines), encoding="utf-8")


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    store = Store(tmp_path)
    yield store
    await store.rest.aclose()


async def filled(store: Store) -> None:
    """Five requests in two seconds, of which the second and the fourth are about to go."""
    await store.put("before", session="other")
    await store.put("rich", *RICH, source="ide", agent_version="v2")
    await store.put("between", session="other")
    store.clock.now += 1
    await store.put("quiz", Interaction(content="for a test", created_at=0), evaluation_only=True)
    await store.put("last", session="other")


async def test_what_is_put_back_is_row_for_row_what_was_deleted(store: Store) -> None:
    await filled(store)
    before = store.rows()
    async with store.connect() as caller:
        listed = await caller.result("list_requests")
        receipt = await caller.result("delete_session", session_id="s")
        assert receipt.structured_content
        copy_id = receipt.structured_content["copy_id"]
        assert store.rows() != before
        store.clock.now += 1_000
        await store.put("later")
        result = await caller.result("restore_requests", copy_id=copy_id)
        assert await caller.result("delete_request", request_id="later", erase=True)
        assert store.rows() == before
        assert (
            text_of(await caller.result("list_requests")).splitlines()[2:-2]
            == (text_of(listed).splitlines()[2:-2])
        )
        again = await caller.call("restore_requests", copy_id=copy_id)
    assert again["outcomes"] == {"already_there": ["rich", "quiz"]}
    facts, text = result.structured_content, text_of(result)
    assert facts
    assert facts["outcomes"] == {"restored": ["rich", "quiz"]}
    assert facts["status"] == "complete"
    assert facts["checked"] == CHECKED
    assert text.startswith("Restored 2 requests (5 interactions) from the deletion of ")
    assert f"(copy_id={copy_id}), checked {CHECKED}." in text
    assert "lost" not in facts
    assert "base64" not in text
    assert "Arrival" not in text
    for shown in (text, text_of(receipt)):
        assert PIXEL not in shown


async def test_plan_form_receipt_and_status_say_that_it_comes_back_as_it_was(store: Store) -> None:
    await filled(store)
    async with store.connect(CONFIRM="preview") as caller:
        plan = await caller.result("delete_session", session_id="s")
        assert plan.structured_content
        said = (
            "A complete recovery copy is kept on this machine for 7 days. restore_requests puts it back as it was, "
            "time, images and citations included."
        )
        assert plan.structured_content["undo"] == said
        assert said in text_of(plan)
        confirm = plan.structured_content["confirm"]
        receipt = await caller.call("delete_session", session_id="s", confirm=confirm)
        assert receipt["undo"] == (
            f"Until {receipt['copy_kept_until']} it can be put back as it was, time, images and citations included: "
            f"restore_requests with copy_id={receipt['copy_id']}"
        )
        status = await caller.call("get_status")
        assert status["policy"]["undo"] == (
            "Deletions can be undone with restore_requests for 7 days, times, images and citations included."
        )
        await caller.call("restore_requests", copy_id=receipt["copy_id"])
    person = agreeing()
    async with store.connect(person, CONFIRM="ask") as caller:
        await caller.call("delete_request", request_id="rich")
    assert "A complete recovery copy is kept on this machine for 7 days." in person.seen[0]


async def test_what_is_marked_for_evaluation_alone_differs_in_that_mark(store: Store) -> None:
    await filled(store)
    before = store.rows(without="evaluation_only")
    async with store.connect() as caller:
        copy_id = (await caller.call("delete_request", request_id="rich"))["copy_id"]
        facts = await caller.call("restore_requests", copy_id=copy_id, evaluation_only=True)
        assert (await caller.call("restore_requests", copy_id=copy_id))["outcomes"] == {
            "already_there": ["rich"]
        }
    assert (facts["outcomes"], facts["checked"]) == ({"restored": ["rich"]}, CHECKED)
    assert store.rows(without="evaluation_only") == before
    assert (await store.rest.learning_status("rich")).reason == "not_applicable"


async def test_a_copy_of_an_earlier_version_comes_back_as_it_did_then(store: Store) -> None:
    await filled(store)
    async with store.connect() as caller:
        copy_id = (await caller.call("delete_session", session_id="s"))["copy_id"]
        store.made_before()
        store.clock.now += 1_000
        result = await caller.result("restore_requests", copy_id=copy_id)
        again = await caller.call("restore_requests", copy_id=copy_id)
    facts = result.structured_content
    assert facts
    assert facts["outcomes"] == {"restored": ["rich", "quiz"]}
    assert facts["checked"] == "by reading again, word for word"
    assert facts["interactions_lost"] == 1
    assert facts["lost"] == f"{OLD}a copy of an earlier version does not hold them."
    assert facts["lost"] in text_of(result)
    assert again["outcomes"] == {"already_there": ["rich", "quiz"]}
    page = await store.rest.get_requests(RequestQuery(session_id="s"))
    assert {one.request.created_at for one in page.sessions[0].requests} == {START + 1_001}


async def test_of_a_mixed_copy_it_is_said_how_much_came_back_in_part(store: Store) -> None:
    await filled(store)
    async with store.connect() as caller:
        copy_id = (await caller.call("delete_session", session_id="s"))["copy_id"]
        store.made_before("quiz")
        facts = await caller.call("restore_requests", copy_id=copy_id)
    assert facts["outcomes"] == {"restored": ["rich", "quiz"]}
    assert facts["checked"] == "by reading again, word for word"
    assert facts["lost"].startswith(f"1 of them came back in part. {OLD}")
    assert store.rows()["interactions"][-1]["image_encoding"] == ""
    assert sum(row["image_encoding"] == PIXEL for row in store.rows()["interactions"]) == 2


@pytest.mark.parametrize("image", ["", "iVBORw0KGgo="])
async def test_another_request_under_the_id_stays_also_where_only_its_image_differs(
    store: Store, image: str
) -> None:
    await store.put("r", Interaction(content="look", image_encoding=PIXEL))
    async with store.connect() as caller:
        copy_id = (await caller.call("delete_request", request_id="r"))["copy_id"]
        await store.put("r", Interaction(content="look", image_encoding=image))
        taken = store.rows()
        facts = await caller.call("restore_requests", copy_id=copy_id)
    assert facts["outcomes"] == {"id_taken": ["r"]}
    assert store.rows() == taken


async def test_an_id_that_is_taken_is_refused_as_by_a_publish(store: Store) -> None:
    await store.put("r", *RICH)
    [item] = (await store.rest.read_whole(["r"])).requests
    before = store.rows()
    with pytest.raises(AlreadyExists) as refused:
        await store.rest.put_back(item)
    assert refused.value.effect == "none"
    assert store.rows() == before


async def test_what_reads_otherwise_than_the_copy_is_named(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    await store.put("r", *RICH)
    put_back = store.rest.put_back

    async def with_another_time(item: Any) -> Any:
        request = item.request.model_copy(update={"created_at": 7})
        return await put_back(item.model_copy(update={"request": request}))

    monkeypatch.setattr(store.rest, "put_back", with_another_time)
    async with store.connect() as caller:
        copy_id = (await caller.call("delete_request", request_id="r"))["copy_id"]
        result = await caller.result("restore_requests", copy_id=copy_id)
    facts = result.structured_content
    assert facts
    assert (facts["status"], facts["checked"], facts["differs"]) == ("incomplete", "by reading again", ["r"])
    assert "read back otherwise than in the copy (1): r" in text_of(result)


async def test_ids_that_the_file_never_gave_are_not_taken_over(store: Store) -> None:
    await store.put("r", *RICH)
    [item] = (await store.rest.read_whole(["r"])).requests
    await store.rest.delete_request("r")
    far = [turn.model_copy(update={"interaction_id": 2**62}) for turn in item.interactions]
    await store.rest.put_back(item.model_copy(update={"interactions": far}))
    await store.put("next")
    assert [row["interaction_id"] for row in store.rows()["interactions"]] == [5, 6, 7, 8, 9]
    [again] = (await store.rest.read_whole(["r"])).requests
    assert [one.image_encoding for one in again.interactions] == [
        one.image_encoding for one in item.interactions
    ]


async def test_ids_that_others_have_by_now_stay_with_them(store: Store) -> None:
    await store.put("r", *RICH)
    [item] = (await store.rest.read_whole(["r"])).requests
    twin = item.request.model_copy(update={"request_id": "twin"})
    await store.rest.put_back(item.model_copy(update={"request": twin}))
    first, second = (await store.rest.read_whole(["r", "twin"])).requests
    assert first == item
    assert [one.interaction_id for one in second.interactions] == [5, 6, 7, 8]
    assert [one.content for one in second.interactions] == [one.content for one in item.interactions]


async def test_a_yes_to_a_deletion_is_none_to_another_one_after_its_undo(store: Store) -> None:
    await filled(store)
    before = store.rows()
    async with store.connect(CONFIRM="preview") as caller:
        confirm = (await caller.call("delete_session", session_id="s"))["confirm"]
        receipt = await caller.call("delete_session", session_id="s", confirm=confirm)
        await caller.call("restore_requests", copy_id=receipt["copy_id"])
        again = await caller.call("delete_session", session_id="s", confirm=confirm)
    assert (again["status"], again["deleted"]) == ("changed", 0)
    assert store.rows() == before


async def test_a_yes_to_single_turns_is_none_to_them_after_an_undo(store: Store) -> None:
    await store.put("r", *RICH)
    turns = {"request_id": "r", "interaction_ids": [1]}
    async with store.connect(CONFIRM="preview") as caller:
        whole = await caller.confirmed("delete_request", request_id="r")
        await caller.call("restore_requests", copy_id=whole["copy_id"])
        before = (await caller.call("delete_request", **turns))["confirm"]
        await caller.call("delete_request", **turns, confirm=before)
        await caller.confirmed("delete_request", request_id="r")
        await caller.call("restore_requests", copy_id=whole["copy_id"])
        stored = store.rows()
        again = await caller.call("delete_request", **turns, confirm=before)
        assert (again["status"], again["deleted"]) == ("changed", 0)
        assert store.rows() == stored
        done = await caller.call("delete_request", **turns, confirm=again["confirm"])
    assert done["counts"] == {"deleted": 1}


async def test_who_goes_on_with_a_deletion_of_turns_leaves_those_that_were_put_back(store: Store) -> None:
    await store.put("r", *RICH)
    scope = Scope(store.rest, exact=True)
    plan = await plan_turns(scope, "r", [1, 99])
    assert (await read_again(scope, plan)).same == {"1"}
    order = Order.read(order_of(scope, plan, Origin("delete_request", "a client", "off", "owner")))
    async with store.connect() as caller:
        copy_id = (await caller.call("delete_request", request_id="r"))["copy_id"]
        await caller.call("restore_requests", copy_id=copy_id)
    before = store.rows()
    receipt = await execute(scope, order.plan)
    assert receipt.outcomes == {"1": "changed", "99": "not_found"}
    assert store.rows() == before


async def test_single_turns_come_back_with_their_time_and_image_as_a_request_of_their_own(
    store: Store,
) -> None:
    await store.put("r", *RICH, source="ide")
    before = store.rows(without="request_id")
    chosen = [row["interaction_id"] for row in before["interactions"] if row["image_encoding"]]
    async with store.connect(CONFIRM="preview") as caller:
        plan = await caller.call("delete_request", request_id="r", interaction_ids=chosen)
        of_its_own = "as a request of its own in the same session, time, images and citations included"
        assert plan["undo"].endswith(f"restore_requests puts it back {of_its_own}.")
        receipt = await caller.call(
            "delete_request", request_id="r", interaction_ids=chosen, confirm=plan["confirm"]
        )
        assert f"it can be put back {of_its_own}: restore_requests" in receipt["undo"]
        store.clock.now += 1_000
        facts = await caller.call("restore_requests", copy_id=receipt["copy_id"])
        again = await caller.call("restore_requests", copy_id=receipt["copy_id"])
    name = f"r-turns-{receipt['copy_id']}"
    assert (facts["outcomes"], facts["checked"]) == ({"restored": [name]}, CHECKED)
    assert again["outcomes"] == {"already_there": [name]}
    after = store.rows(without="request_id")
    assert after["interactions"] == before["interactions"]
    assert after["requests"] == before["requests"] * 2


async def test_turns_that_came_back_as_a_request_are_sent_for_to_that_one(store: Store) -> None:
    await store.put("r", *RICH)
    wanted = {"request_id": "r", "interaction_ids": [2], "erase": True}
    async with store.connect() as caller:
        whole = (await caller.call("delete_request", request_id="r"))["copy_id"]
        await caller.call("restore_requests", copy_id=whole)
        single = (await caller.call("delete_request", request_id="r", interaction_ids=[2]))["copy_id"]
        await caller.call("restore_requests", copy_id=single)
        there = f"r-turns-{single}"
        asked = await caller.call("delete_request", **wanted)
        assert asked["status"] == "not_found"
        assert f"; request {there} has it again: name its turns as get_request shows" in asked["next"]
        gone = await caller.call("delete_request", **(wanted | {"request_id": there}))
        assert (gone["counts"], gone["copies_changed"]) == ({"deleted": 1}, 1)
        # The older copy has it under the request that it was in.
        asked = await caller.call("delete_request", **wanted)
        assert (
            "; request r is stored without it: only to delete all of that, with erase=true" in asked["next"]
        )
        assert (await caller.call("delete_request", request_id="r", erase=True))["copies_changed"] == 1
        assert (await caller.call("delete_request", **wanted))["next"].startswith("Find ids with get_request")
    assert not list((store.folder / "copies").iterdir())


async def test_a_turn_that_is_gone_before_its_deletion_is_erased_from_copies_too(store: Store) -> None:
    # By the process that began the deletion, say, and was killed.
    await store.put("r", *(Interaction(content=word) for word in ("one", "two", "three")))
    scope = Scope(store.rest, exact=True)
    copies = CopyFolder(lambda: store.folder / "copies", 7)
    writer = copies.begin("owner")
    writer.add((await store.rest.read_whole(["r"])).requests)
    writer.finish()
    plan = replace(await plan_turns(scope, "r", [1, 2]), erase=True)
    plan = await look_into_copies(scope, plan, copies, "owner")
    await store.rest.delete_interaction("ada", 1)
    receipt = await execute(scope, plan)
    assert receipt.outcomes == {"1": "not_found", "2": "deleted"}
    assert (await erase_from_copies(receipt, "owner", copies)).forgotten == 1
    [copy] = copies.of("owner")
    held = copies.read_at(copy, copies.contents(copy)["r"])
    assert [turn.content for turn in held.interactions] == ["three"]


async def test_erase_of_a_turn_takes_no_other_turn_out_of_the_copies(store: Store) -> None:
    other = PIXEL[:-6] + "AAAAAA"
    turns = [
        Interaction(content="two"),
        Interaction(image_encoding=PIXEL),
        Interaction(image_encoding=other),
        Interaction(content="same", image_encoding=PIXEL),
        *(Interaction(content="same") for _ in range(3)),
    ]
    await store.put("r", *turns)
    async with store.connect() as caller:
        whole = (await caller.call("delete_request", request_id="r"))["copy_id"]
        await caller.call("restore_requests", copy_id=whole)
        single = (await caller.call("delete_request", request_id="r", interaction_ids=[3]))["copy_id"]
        erased = await caller.call("delete_request", request_id="r", interaction_ids=[2, 5], erase=True)
        assert erased["copies_changed"] == 1
        left = (await caller.call("restore_requests", copy_id=single))["outcomes"]
        assert left == {"restored": [f"r-turns-{single}"]}
        await caller.call("delete_request", request_id="r")
        await caller.call("delete_request", request_id=f"r-turns-{single}")
        await caller.call("restore_requests", copy_id=whole)
    rows = store.rows()["interactions"]
    assert [row["interaction_id"] for row in rows] == [1, 3, 4, 6, 7]
    assert [row["image_encoding"] for row in rows] == ["", other, PIXEL, "", ""]


@pytest.mark.parametrize("gone_since", [True, False])
@pytest.mark.parametrize(
    "beside",
    [
        {"image_encoding": PIXEL},
        {"citations": [Citation(kind="profile", real_id="p1", tag="t", title="likes dots")]},
        {"tools_used": [ToolUse(tool_name="look")]},
        {"tools_used": [ToolUse(tool_name="look", tool_data={"at": "the card"})]},
        {"interacted_image_url": "https://example.org/card.png"},
    ],
)
async def test_erased_words_stay_in_no_copy_whatever_stood_beside_them(
    store: Store, beside: dict[str, Any], gone_since: bool
) -> None:
    words = "my pin is on the card"
    turns = [Interaction(content=words, **beside), Interaction(content=words)]
    before, after = turns if gone_since else reversed(turns)
    await store.put("r", before, Interaction(content="b"))
    async with store.connect(CONFIRM="preview") as caller:
        plan = await caller.call("delete_request", request_id="r")
        copy_id = (await caller.call("delete_request", request_id="r", confirm=plan["confirm"]))["copy_id"]
        await store.put("r", after, Interaction(content="b"))
        ids = [row["interaction_id"] for row in store.rows()["interactions"]]
        chosen = {"request_id": "r", "interaction_ids": ids[:1], "erase": True}
        plan = await caller.call("delete_request", **chosen)
        assert "What recovery copies of earlier deletions hold of it goes too." in plan["undo"]
        receipt = await caller.call("delete_request", **chosen, confirm=plan["confirm"])
        assert receipt["copies_changed"] == 1
        assert words not in store.copy().read_text(encoding="utf-8")
        await store.rest.delete_request("r")
        await caller.call("restore_requests", copy_id=copy_id)
    assert [row["content"] for row in store.rows()["interactions"]] == ["b"]


async def test_an_erased_image_without_words_is_told_from_others_in_copies(store: Store) -> None:
    other = PIXEL[:-6] + "AAAAAA"
    cited = [Citation(kind="profile", real_id="p1", tag="t", title="likes dots")]
    turns = [
        Interaction(image_encoding=PIXEL),
        Interaction(image_encoding=other),
        Interaction(image_encoding=PIXEL, citations=cited),
    ]
    await store.put("r", *turns)
    async with store.connect() as caller:
        copy_id = (await caller.call("delete_request", request_id="r"))["copy_id"]
        await store.put("r", turns[0])
        ids = [row["interaction_id"] for row in store.rows()["interactions"]]
        erased = await caller.call("delete_request", request_id="r", interaction_ids=ids, erase=True)
        assert erased["copies_changed"] == 1
        await store.rest.delete_request("r")
        await caller.call("restore_requests", copy_id=copy_id)
    rows = store.rows()["interactions"]
    assert [row["image_encoding"] for row in rows] == [other, PIXEL]
    assert [row["interaction_id"] for row in rows] == [2, 3]


def step(words: str, name: str, number: int) -> Interaction:
    return Interaction(content=words, tools_used=[ToolUse(tool_name=name, tool_data={"number": number})])


@pytest.mark.parametrize(
    "turns",
    [
        [step("Let me look at that.", "run", number) for number in range(4)],
        [step("Let me look at that.", name, 0) for name in ("open", "read", "move", "close")],
        [step("", "run", number) for number in range(4)],
        [step(" ", name, 0) for name in ("open", "read", "move", "close")],
        [step("", "run", 0).model_copy(update={"role": role}) for role in ("a", "b", "c", "d")],
    ],
)
async def test_an_erased_step_leaves_other_steps_in_the_only_copy(
    store: Store, turns: list[Interaction]
) -> None:
    await store.put("r", *turns)
    before = [(row["role"], row["tools_used"]) for row in store.rows()["interactions"]]
    async with store.connect() as caller:
        copy_id = (await caller.call("delete_request", request_id="r"))["copy_id"]
        again = turns[1].model_copy(deep=True)
        again.tools_used[0].status = "success"
        await store.put("r", again, Interaction(content="b"))
        ids = [row["interaction_id"] for row in store.rows()["interactions"]]
        erased = await caller.call("delete_request", request_id="r", interaction_ids=ids[:1], erase=True)
        assert erased["copies_changed"] == 1
        await store.rest.delete_request("r")
        await caller.call("restore_requests", copy_id=copy_id)
    rows = store.rows()["interactions"]
    assert [(row["role"], row["tools_used"]) for row in rows] == [before[0], *before[2:]]


@pytest.mark.parametrize(
    "other",
    [
        {"content": "My pin is on the card"},
        {"content": "my pin is on the card", "expert_content": "Say nothing of pins."},
        {"content": "my pin is on the card", "role": "user"},
    ],
)
async def test_only_the_same_wording_is_erased_from_copies(store: Store, other: dict[str, Any]) -> None:
    # As docs/security.md says.
    await store.put("r", Interaction(**other), Interaction(content="b"))
    async with store.connect() as caller:
        await caller.call("delete_request", request_id="r")
        await store.put("r", Interaction(content="my pin is on the card"), Interaction(content="b"))
        ids = [row["interaction_id"] for row in store.rows()["interactions"]]
        erased = await caller.call("delete_request", request_id="r", interaction_ids=ids[:1], erase=True)
    assert "copies_changed" not in erased
    assert other["content"] in store.copy().read_text(encoding="utf-8")


async def test_turns_restored_on_their_own_stay_in_copies_of_the_request_they_were_in(store: Store) -> None:
    # So a restore says of its copy that a deletion of the same requests takes what it deletes out of it, and no other.
    await store.put("r", *RICH)
    async with store.connect() as caller:
        whole = (await caller.call("delete_request", request_id="r"))["copy_id"]
        said = text_of(await caller.result("restore_requests", copy_id=whole))
        assert f"; {ERASED_WITH} takes what it deletes out of it." in said
        single = (await caller.call("delete_request", request_id="r", interaction_ids=[1]))["copy_id"]
        await caller.call("restore_requests", copy_id=single)
        there = f"r-turns-{single}"
        assert (await caller.call("delete_request", request_id=there, erase=True))["copies_changed"] == 1
        assert "on this picture?" in store.copy().read_text(encoding="utf-8")
        assert (await caller.call("delete_request", request_id="r", erase=True))["copies_changed"] == 1
    assert not list((store.folder / "copies").iterdir())


@pytest.mark.parametrize("error", [BadAddress(), Closed()])
async def test_a_restore_ends_where_the_connection_cannot_be_used(
    store: Store, monkeypatch: pytest.MonkeyPatch, error: ReflexioError
) -> None:
    await filled(store)
    async with store.connect() as caller:
        copy_id = (await caller.call("delete_session", session_id="s"))["copy_id"]

        async def refused(*_: object) -> None:
            raise error

        with monkeypatch.context() as patched:
            patched.setattr(store.rest, "put_back", refused)
            facts = await caller.call("restore_requests", copy_id=copy_id)
        assert facts["outcomes"] == {"left": ["rich", "quiz"]}
        assert error.happened[1:] in facts["failure"]
        again = await caller.call("restore_requests", copy_id=copy_id)
    assert again["outcomes"] == {"restored": ["rich", "quiz"]}


async def test_erase_of_a_turn_takes_it_out_of_a_copy_of_an_earlier_version_by_its_words(
    store: Store,
) -> None:
    await store.put("r", Interaction(content="one"), Interaction(content="same", image_encoding=PIXEL))
    async with store.connect() as caller:
        copy_id = (await caller.call("delete_request", request_id="r"))["copy_id"]
        store.made_before()
        await caller.call("restore_requests", copy_id=copy_id)
        ids = [row["interaction_id"] for row in store.rows()["interactions"]]
        erased = await caller.call("delete_request", request_id="r", interaction_ids=ids[1:], erase=True)
    assert erased["copies_changed"] == 1
    assert "same" not in store.copy().read_text(encoding="utf-8")


async def test_a_request_without_turns_comes_back_empty(store: Store) -> None:
    await store.put("r")
    [turn] = store.rows()["interactions"]
    await store.rest.delete_interaction("ada", turn["interaction_id"])
    before = store.rows()
    async with store.connect() as caller:
        copy_id = (await caller.call("delete_request", request_id="r"))["copy_id"]
        facts = await caller.call("restore_requests", copy_id=copy_id)
    assert facts["outcomes"] == {"restored": ["r"]}
    assert store.rows() == before


async def test_lists_and_single_reads_carry_no_images(store: Store) -> None:
    await store.put("r", *RICH)
    page = await store.rest.get_requests(RequestQuery(request_id="r"))
    [item] = page.sessions[0].requests
    assert not item.request.whole
    assert {turn.image_encoding for turn in item.interactions} == {None}
    assert {turn.citations is None for turn in item.interactions} == {True}


@pytest.mark.parametrize("where", ["folder", "postgresql"])
async def test_large_images_are_copied_and_put_back_a_few_at_a_time(
    store: Store, where: str, request: pytest.FixtureRequest
) -> None:
    shared = {}
    if where == "postgresql":
        shared = {"STATE": request.getfixturevalue("postgres_url"), "STATE_KEYS": KEY, "RECOVERY_DIR": ""}
    await filled(store)
    image = base64.b64encode(bytes(range(256)) * 4_096).decode()
    for index in range(20):
        await store.put(f"r{index:02}", Interaction(content=f"image {index}", image_encoding=image))
    before = store.rows()
    async with store.connect(**shared) as caller:
        await caller.call("get_status")
        tracemalloc.start()
        try:
            receipt = await caller.call("delete_session", session_id="s")
            facts = await caller.call("restore_requests", copy_id=receipt["copy_id"])
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
    assert receipt["counts"] == {"deleted": 22}
    assert (facts["counts"], facts["checked"]) == ({"restored": 22}, CHECKED)
    assert store.rows() == before
    assert peak < 20 * len(image) / 2


async def test_what_is_as_long_as_a_publish_may_be_comes_back(store: Store) -> None:
    # Its ids and times, which a publish does not have, make it longer.
    turns = [Interaction(content="x" * 10_440) for _ in range(1_000)]
    await store.put("r", *turns)
    before = store.rows()
    async with store.connect() as caller:
        copy_id = (await caller.call("delete_request", request_id="r"))["copy_id"]
        facts = await caller.call("restore_requests", copy_id=copy_id)
    assert facts["outcomes"] == {"restored": ["r"]}
    assert store.rows() == before


async def test_what_is_stored_much_longer_than_it_was_published_is_taken_back(store: Store) -> None:
    # Each use of a tool is stored with all its fields: of many short ones most is that.
    await store.put("r", *[Interaction(content="x") for _ in range(22)])
    [item] = (await store.rest.read_whole(["r"])).requests
    await store.rest.delete_request("r")
    long = [turn.model_copy(update={"content": "x" * 2**20}) for turn in item.interactions]
    await store.rest.put_back(item.model_copy(update={"interactions": long}))
    assert sum(len(row["content"]) for row in store.rows()["interactions"]) == 22 * 2**20


async def damaged(store: Store, change: Callable[[dict[str, Any]], object]) -> None:
    """Change the line of one request in the copy."""
    rows = [json.loads(line) for line in store.copy().read_text(encoding="utf-8").splitlines()]
    for row in rows:
        if row["request"]["request_id"] == "rich":
            change(row)
    store.copy().write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


@pytest.mark.parametrize(
    "change",
    [
        lambda row: [turn.update(image_encoding=None) for turn in row["interactions"]],
        lambda row: row["request"].update(created_at=2**63),
    ],
)
async def test_a_damaged_request_keeps_no_other_one_from_coming_back(
    store: Store, change: Callable[[dict[str, Any]], object]
) -> None:
    await filled(store)
    async with store.connect() as caller:
        copy_id = (await caller.call("delete_session", session_id="s"))["copy_id"]
        await damaged(store, change)
        first = await caller.result("restore_requests", copy_id=copy_id)
        again = await caller.call("restore_requests", copy_id=copy_id)
    facts = first.structured_content
    assert facts
    assert facts["outcomes"] == {"not_restorable": ["rich"], "restored": ["quiz"]}
    assert (facts["status"], facts["checked"]) == ("incomplete", CHECKED)
    assert facts["next"].startswith("What is not restorable was refused (")
    assert "failure" not in facts
    assert again["outcomes"] == {"not_restorable": ["rich"], "already_there": ["quiz"]}
    assert again["status"] == "nothing_restored"


async def test_an_interaction_id_that_stands_twice_in_a_copy_is_given_anew(store: Store) -> None:
    await filled(store)
    async with store.connect() as caller:
        copy_id = (await caller.call("delete_session", session_id="s"))["copy_id"]
        await damaged(store, lambda row: [turn.update(interaction_id=1) for turn in row["interactions"]])
        facts = await caller.call("restore_requests", copy_id=copy_id)
    assert facts["outcomes"] == {"restored": ["rich", "quiz"]}
    assert len({row["interaction_id"] for row in store.rows()["interactions"]}) == 8
