"""Every form that can be sent, held to the official schema of the revision it is sent in, with nothing beside it."""

from pathlib import Path
from typing import Any, cast

import pytest
from jsonschema import Draft202012Validator, ValidationError
from mcp.server.elicitation import render_elicitation_schema

from reflexio_mcp.consent.forms import Reply, Unanswered, form_of
from reflexio_mcp.consent.policy import Question
from tests.support.stdio import MODERN, REVISIONS, Revision, environment, open_session, schema

pytestmark = pytest.mark.anyio

KEYS = {"2025-06-18": "definitions", "2025-11-25": "$defs", "2026-07-28": "$defs"}


def closed(node: Any) -> Any:
    """A schema in which an object may have the properties that are listed and no others, as some clients read it."""
    if isinstance(node, list):
        return [closed(one) for one in node]
    if not isinstance(node, dict):
        return node
    inner = {key: closed(value) for key, value in node.items()}
    if isinstance(node.get("properties"), dict) and "additionalProperties" not in node:
        inner["additionalProperties"] = False
    return inner


def check(revision: Revision, params: dict[str, Any]) -> None:
    """Hold the parameters of a form to the closed schema of a revision.

    Raises:
        ValidationError: it says something else, or more.
    """
    whole = dict(cast("dict[str, Any]", schema(revision, "ElicitRequest").schema))
    sent = {key: value for key, value in params.items() if key != "_meta"}
    asked: dict[str, Any] = {"method": "elicitation/create", "params": sent}
    if "id" in whole[KEYS[revision]]["ElicitRequest"]["properties"]:
        asked |= {"jsonrpc": "2.0", "id": 1}
    Draft202012Validator(closed(whole)).validate(asked)


async def test_a_client_that_only_opens_addresses_is_shown_the_plan_instead_of_a_form(tmp_path: Path) -> None:
    env = environment(tmp_path, REFLEXIO_MCP_STORE=":memory:")
    async with open_session("2025-11-25", env=env, capabilities={"elicitation": {"url": {}}}) as session:
        given = {"user_id": "ann", "session_id": "s", "interactions": [{"content": "Water the roses."}]}
        assert not (await session.call("publish_interaction", given)).get("isError")
        answer = await session.call("delete_session", {"session_id": "s"})
    assert answer["structuredContent"]["status"] == "planned"


@pytest.mark.parametrize("count", [1, 26], ids=["a yes", "a number"])
@pytest.mark.parametrize("revision", REVISIONS)
async def test_a_form_on_the_wire_says_what_its_revision_lists_and_nothing_else(
    revision: Revision, count: int, tmp_path: Path
) -> None:
    env = environment(tmp_path, REFLEXIO_MCP_STORE=":memory:")
    async with open_session(revision, env=env, capabilities={"elicitation": {}}) as session:
        for number in range(count):
            interactions = [{"content": f"Water rose number {number}."}]
            given = {"user_id": "ann", "session_id": "s", "interactions": interactions}
            assert not (await session.call("publish_interaction", given)).get("isError")
        asked = await session.send("tools/call", {"name": "delete_session", "arguments": {"session_id": "s"}})
        if revision == MODERN:
            [(name, question)] = (await session.reply(asked))["inputRequests"].items()
            assert name.isalpha()
            params = question["params"]
        else:
            request = await session.server_request()
            params = request["params"]
            await session.answer(request, {"action": "decline"})
            answer = await session.reply(asked)
            assert answer["structuredContent"]["status"] == "declined"
        check(revision, params)
        first = params["message"].splitlines()[0]
        noun = "request" if count == 1 else "requests"
        assert first.startswith(f"Delete {count} {noun} with ")
        assert first.endswith("You can undo this for at least 7 days.")
        [(name, one)] = params["requestedSchema"]["properties"].items()
        assert (name, one["type"], one.get("default")) == (
            ("delete", "boolean", False) if count == 1 else ("number", "integer", None)
        )


@pytest.mark.parametrize("mode", ["auto", "ask"])
@pytest.mark.parametrize("old", ["2024-11-05", "2025-03-26"])
async def test_a_revision_that_has_no_forms_is_sent_none(old: str, mode: str, tmp_path: Path) -> None:
    """Its protocol does not know the request, whatever its client declares."""
    env = environment(tmp_path, REFLEXIO_MCP_STORE=":memory:", REFLEXIO_MCP_CONFIRM=mode)
    capabilities = {"elicitation": {}}
    # No schema of these is at hand; the next one's knows all that they do.
    async with open_session("2025-06-18", env=env, capabilities=capabilities, handshake=False) as session:
        opening = {
            "protocolVersion": old,
            "capabilities": capabilities,
            "clientInfo": {"name": "raw", "version": "1"},
        }
        assert (await session.request("initialize", opening))["protocolVersion"] == old
        await session.notify("notifications/initialized")
        given = {"user_id": "ann", "session_id": "s", "interactions": [{"content": "Water rose."}]}
        assert not (await session.call("publish_interaction", given)).get("isError")
        facts = (await session.call("delete_session", {"session_id": "s"}))["structuredContent"]
        assert not session.requests
        assert facts["status"] == ("planned" if mode == "auto" else "cannot_ask")
        if mode == "auto":
            again = {"session_id": "s", "confirm": facts["plan"]["confirm"]}
            assert (await session.call("delete_session", again))["structuredContent"]["status"] == "complete"


FORMS = {
    "a yes": form_of(Question(None)),
    "a yes to a correction": form_of(Question(None), changes=True),
    "a yes to a decision": form_of(Question(None), decides=True),
    "a number": form_of(Question(26)),
}


def test_no_form_is_left_out() -> None:
    forms = {*FORMS.values(), Unanswered}
    # A form that others are made from is not sent itself.
    assert forms >= {form for kind in Reply.__subclasses__() for form in (kind.__subclasses__() or (kind,))}


@pytest.mark.parametrize("question", FORMS)
@pytest.mark.parametrize("revision", REVISIONS)
def test_each_form_there_is_fits_each_revision(revision: Revision, question: str) -> None:
    requested = render_elicitation_schema(FORMS[question])
    check(revision, {"message": "Delete?", "requestedSchema": requested})
    field = next(iter(requested["properties"]))
    assert field in ("delete", "change", "decide") or not _takes(FORMS[question], {field: True})
    with pytest.raises(ValidationError):
        check(revision, {"message": "Delete?", "requestedSchema": requested | {"title": "Yes"}})


def _takes(form: type[Reply], content: dict[str, Any]) -> bool:
    return isinstance(form.model_validate(content), form)
