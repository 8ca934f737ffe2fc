"""What somebody who signed in may do, and what a client is told that has to ask for more."""

import logging
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest

from reflexio_mcp.settings import Settings
from tests.support.issuer import AUDIENCE, SCOPES, Issuer, issuing
from tests.support.serving import (
    TOKEN,
    Served,
    bearer,
    connected,
    events,
    interactions,
    message_of,
    modern_call,
    post,
    serving,
)

pytestmark = pytest.mark.anyio

METADATA = "/.well-known/oauth-protected-resource/mcp"
GRANTED = {
    "memory:read": {"list_sessions", "list_requests", "get_request", "audit_traffic", "get_status"},
    "memory:publish": {"publish_interaction"},
    "memory:delete": {"delete_request", "delete_session", "delete_requests"},
}


@pytest.fixture
def issuer() -> Iterator[Issuer]:
    with issuing() as issuer:
        yield issuer


@asynccontextmanager
async def serving_people(issuer: Issuer, *tokens: str, **more: Any) -> AsyncIterator[Served]:
    options: dict[str, Any] = {"oauth_issuer": issuer.url, "oauth_audience": AUDIENCE}
    async with serving(Settings(**options | more), tokens=tokens) as served:
        yield served


def scopes_asked_for(reply: httpx.Response) -> str:
    return reply.headers["www-authenticate"].partition('scope="')[2].partition('"')[0]


async def test_who_is_not_signed_in_is_told_where(issuer: Issuer) -> None:
    async with serving_people(issuer) as served, httpx.AsyncClient(timeout=60) as http:
        headers, body = modern_call("list_requests", {})
        reply = await http.post(f"{served.url}/mcp", json=body, headers=headers)
        assert reply.status_code == 401
        assert f'resource_metadata="http://127.0.0.1:9{METADATA}"' in reply.headers["www-authenticate"]
        told = (await http.get(f"{served.url}{METADATA}")).json()
        assert told["resource"] == AUDIENCE
        assert told["authorization_servers"] == [issuer.url]
        assert told["scopes_supported"] == SCOPES.split()
        assert (
            await http.get(f"{served.url}{METADATA}", headers={"host": "evil.example"})
        ).status_code == 421
        assert issuer.url in (await http.get(f"{served.url}/register")).json()["error_description"]


@pytest.mark.parametrize("mode", ["auto", "legacy"])
@pytest.mark.parametrize("scope", [*GRANTED, "memory:read memory:publish", SCOPES])
async def test_scopes_decide_which_tools_are_offered_and_answered(
    issuer: Issuer, scope: str, mode: str
) -> None:
    may = set().union(*(GRANTED[one] for one in scope.split()))
    every = set().union(*GRANTED.values())
    token = issuer.token(scope=f"openid {scope} memory:everything")
    async with serving_people(issuer) as served:
        async with connected(served.url, bearer(token), mode=mode) as client:
            assert {tool.name for tool in (await client.list_tools()).tools} & every == may
            readable = "memory:read" in scope
            assert bool((await client.list_resource_templates()).resource_templates) == readable
        for tool in every:
            reply = await post(served, tool, token=token)
            assert reply.status_code == (200 if tool in may else 403), tool
            if tool not in may:
                assert 'error="insufficient_scope"' in reply.headers["www-authenticate"]
                [needed] = [name for name, tools in GRANTED.items() if tool in tools]
                assert set(scopes_asked_for(reply).split()) == {needed, *scope.split()}, tool


@pytest.mark.parametrize("scope", ["", "openid profile", "memory:everything", "memory:operator"])
async def test_without_a_scope_of_ours_nothing_is_answered(issuer: Issuer, scope: str) -> None:
    async with serving_people(issuer) as served:
        assert (await post(served, "get_status", token=issuer.token(scope=scope))).status_code == 403


async def test_an_operator_who_is_asked_for_more_stays_one_and_nobody_else_learns_of_that_scope(
    issuer: Issuer,
) -> None:
    async with serving_people(issuer) as served:
        operator = issuer.token(scope="memory:operator memory:read")
        reply = await post(served, "publish_interaction", token=operator)
        assert scopes_asked_for(reply) == "memory:read memory:publish memory:operator"
        reply = await post(served, "publish_interaction", token=issuer.token(scope="memory:read"))
        assert scopes_asked_for(reply) == "memory:read memory:publish"


async def test_nobody_is_asked_to_grant_what_no_tool_here_does(issuer: Issuer) -> None:
    async with serving_people(issuer, read_only=True) as served, httpx.AsyncClient(timeout=60) as http:
        assert (await http.get(f"{served.url}{METADATA}")).json()["scopes_supported"] == ["memory:read"]
        reply = message_of(await post(served, "delete_session", token=issuer.token(scope="memory:read")))
        assert "There is no tool 'delete_session' here" in reply["result"]["content"][0]["text"]


async def test_scopes_may_be_a_list(issuer: Issuer) -> None:
    async with serving_people(issuer) as served:
        token = issuer.token(scope=None, scp=["memory:read"])
        assert (await post(served, "list_requests", token=token)).status_code == 200
        assert (await post(served, "delete_session", token=token)).status_code == 403


async def test_the_page_of_a_browser_reads_for_what_to_sign_in(issuer: Issuer) -> None:
    async with serving_people(issuer, allowed_origins=("https://app.example",)) as served:
        reply = await post(
            served,
            "publish_interaction",
            token=issuer.token(scope="memory:read"),
            origin="https://app.example",
        )
        assert reply.status_code == 403
        assert reply.headers["access-control-allow-origin"] == "https://app.example"
        assert "www-authenticate" in reply.headers["access-control-expose-headers"]


async def test_an_operator_sees_everybody_and_a_token_of_the_operator_stays_valid(issuer: Issuer) -> None:
    async with serving_people(issuer, TOKEN, "ann:token-of-ann") as served:
        for name in ("ann", "bob"):
            given = {"session_id": "s", "user_id": name, "interactions": interactions(f"of {name}")}
            await post(served, "publish_interaction", given, token=issuer.token(name))
        for token, seen in (
            (issuer.token("ann"), "ann"),
            ("token-of-ann", "ann"),
            (issuer.token("eve"), ""),
            (issuer.token("eve", scope=f"{SCOPES} memory:operator"), "ann bob"),
            (TOKEN, "ann bob"),
        ):
            listed = (await post(served, "list_requests", token=token)).text
            assert [name for name in ("ann", "bob") if f"of {name}" in listed] == seen.split()


async def test_the_log_names_who_signed_in_also_an_operator_who_reaches_everybody(
    issuer: Issuer, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    async with serving_people(issuer) as served:
        await post(served, "list_requests", token=issuer.token("ann"))
        await post(served, "list_requests", token=issuer.token("eve", scope=f"{SCOPES} memory:operator"))
    assert [line["person"] for line in events(caplog, "call")] == ["ann", "eve"]


async def test_the_user_is_the_claim_that_the_operator_names(issuer: Issuer) -> None:
    async with serving_people(issuer, oauth_user_claim="email") as served:
        given = {"session_id": "s", "interactions": interactions("hello")}
        token = issuer.token("0815", email="ann@example.org")
        stored = message_of(await post(served, "publish_interaction", given, token=token))
        assert stored["result"]["structuredContent"]["user_id"] == "ann@example.org"


async def test_the_host_of_the_audience_is_answered_with_its_port_and_without(issuer: Issuer) -> None:
    for host in ("memory.example", "[2001:db8::7]"):
        async with (
            serving_people(issuer, oauth_audience=f"https://{host}:8443/mcp") as served,
            httpx.AsyncClient() as http,
        ):
            for sent, status in ((host, 200), (f"{host}:8443", 200), (f"other.{host}", 421)):
                reply = await http.get(f"{served.url}{METADATA}", headers={"host": sent})
                assert reply.status_code == status, sent


async def test_where_memory_is_kept_is_told_to_operators_alone(issuer: Issuer) -> None:
    where = "http://127.0.0.1:9"
    async with serving_people(issuer, timeout=1, url=where) as served:
        for tool in ("get_status", "list_requests"):
            assert "127.0.0.1:9" not in (await post(served, tool, token=issuer.token("ann"))).text, tool
        operator = issuer.token("eve", scope=f"{SCOPES} memory:operator")
        assert where in (await post(served, "get_status", token=operator)).text
