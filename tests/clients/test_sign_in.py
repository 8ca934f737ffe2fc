"""Signing in for real: a certified authorization server, the official clients, and the server as a process."""

import base64
import hashlib
import json
import os
import re
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast
from urllib.parse import parse_qs, urljoin, urlsplit

import anyio
import httpx
import httpx2
import pytest
from mcp.client import Client
from mcp.client.auth import OAuthClientProvider
from mcp.client.streamable_http import streamable_http_client
from mcp.shared.auth import (
    AuthorizationCodeResult,
    OAuthClientInformationFull,
    OAuthClientMetadata,
    OAuthToken,
)

from tests.clients.test_other_clients import NODE, NODE_MODULES
from tests.support.serving import Served, free_port, interactions, modern_call, serving_process

pytestmark = [pytest.mark.anyio, pytest.mark.ci]

HERE = Path(__file__).parent
CALLBACK = "http://127.0.0.1:9/callback"
READER = "https://client.example/reader.json"
EVERYTHING = "memory:read memory:publish memory:delete"
CLIENT = {
    "REFLEXIO_MCP_OAUTH_CLIENT_ID": "memory-server",
    "REFLEXIO_MCP_OAUTH_CLIENT_SECRET": "a-secret-of-these-tests",
}


@dataclass
class Place:
    """A server that people sign in to, and where they do."""

    served: Served
    issuer: str

    @property
    def url(self) -> str:
        return f"{self.served.url}/mcp"


@asynccontextmanager
async def place(tmp_path: Path, tokens: str = "jwt", **variables: str) -> AsyncIterator[Place]:
    if not NODE.exists() or not (NODE_MODULES.parent / "installed").exists():
        pytest.skip("not installed: python3 scripts/other_clients.py")
    port, issuer_port = free_port(), free_port()
    issuer, audience = f"http://127.0.0.1:{issuer_port}", f"http://127.0.0.1:{port}/mcp"
    command = [str(NODE), str(HERE / "identity_provider.mjs"), str(issuer_port), audience, tokens]
    provider = await anyio.open_process(
        command, stderr=subprocess.DEVNULL, env={**os.environ, "NODE_MODULES": str(NODE_MODULES)}
    )
    try:
        assert provider.stdout
        with anyio.fail_after(60):
            await provider.stdout.receive()
        settings = {
            "REFLEXIO_MCP_OAUTH_ISSUER": issuer,
            "REFLEXIO_MCP_OAUTH_AUDIENCE": audience,
            "REFLEXIO_MCP_AUTH_TOKEN": "",
            "REFLEXIO_MCP_CONFIRM": "preview",
        }
        async with serving_process(tmp_path, port=port, **settings | variables) as served:
            yield Place(served, issuer)
    finally:
        with anyio.CancelScope(shield=True):
            provider.kill()
            await provider.aclose()


def browse(url: str, who: str) -> str:
    """What a person does in the browser: give a name, agree. Returns the address the browser is sent back to."""
    with httpx.Client(timeout=30) as browser:
        reply = browser.get(url)
        for _ in range(12):
            if reply.is_redirect:
                url = urljoin(url, reply.headers["location"])
                if url.startswith(CALLBACK):
                    return url
                reply = browser.get(url)
                continue
            assert reply.status_code == 200, reply.text
            action = re.search(r'<form[^>]*action="([^"]+)"', reply.text)
            asked = re.search(r'name="prompt" value="(\w+)"', reply.text)
            assert action
            assert asked
            url = urljoin(url, action[1])
            reply = browser.post(url, data={"prompt": asked[1], "login": who, "password": "any"})
    raise AssertionError("the browser was never sent back")


@dataclass
class Person:
    """Somebody at an official Python client."""

    name: str
    tokens: OAuthToken | None = None
    information: OAuthClientInformationFull | None = None
    came_back: str = ""
    asked_for: list[str] = field(default_factory=list[str])

    async def get_tokens(self) -> OAuthToken | None:
        return self.tokens

    async def set_tokens(self, tokens: OAuthToken) -> None:
        self.tokens = tokens

    async def get_client_info(self) -> OAuthClientInformationFull | None:
        return self.information

    async def set_client_info(self, client_info: OAuthClientInformationFull) -> None:
        self.information = client_info

    async def sign_in(self, url: str) -> None:
        self.asked_for.append(parse_qs(urlsplit(url).query)["scope"][0])
        self.came_back = await anyio.to_thread.run_sync(browse, url, self.name)

    async def code(self) -> AuthorizationCodeResult:
        given = {name: values[0] for name, values in parse_qs(urlsplit(self.came_back).query).items()}
        return AuthorizationCodeResult.model_validate(given)

    @asynccontextmanager
    async def client(
        self, url: str, *, document: str | None = None, scope: str = ""
    ) -> AsyncIterator[Client]:
        metadata = OAuthClientMetadata.model_validate(
            {
                "client_name": "person",
                "redirect_uris": [CALLBACK],
                "token_endpoint_auth_method": "none",
                "grant_types": ["authorization_code"],
                "response_types": ["code"],
                **({"scope": scope} if scope else {}),
            }
        )
        auth = OAuthClientProvider(url, metadata, self, self.sign_in, self.code, client_metadata_url=document)
        async with (
            httpx2.AsyncClient(auth=auth, timeout=httpx2.Timeout(60)) as http,
            Client(streamable_http_client(url, http_client=http)) as client,
        ):
            yield client

    @property
    def token(self) -> str:
        assert self.tokens
        return self.tokens.access_token


async def done(client: Client, tool: str, **arguments: Any) -> dict[str, Any]:
    result = await client.call_tool(tool, arguments)
    assert not result.is_error, result.content
    return cast("dict[str, Any]", result.structured_content)


async def test_two_people_sign_in_and_each_has_their_own_memory(tmp_path: Path) -> None:
    ann, bob = Person("ann"), Person("bob")
    async with place(tmp_path) as there, ann.client(there.url) as of_ann, bob.client(there.url) as of_bob:
        stored = await done(
            of_ann, "publish_interaction", user_id="ann", session_id="s", interactions=interactions("of ann")
        )
        assert stored["user_id"] == "ann"
        assert "of ann" in str(await done(of_ann, "list_requests"))
        assert "of ann" not in str(await done(of_bob, "list_requests"))
        for tool, arguments in (
            ("get_request", {"request_id": stored["request_id"]}),
            ("list_requests", {"user_id": "ann"}),
            ("publish_interaction", {"user_id": "ann", "session_id": "s", "interactions": interactions("x")}),
            ("delete_session", {"session_id": "s", "user_id": "ann"}),
        ):
            assert (await of_bob.call_tool(tool, arguments)).is_error, tool

        plan = await done(of_ann, "delete_session", session_id="s")
        code = plan["plan"]["confirm"]
        await of_bob.call_tool("delete_session", {"session_id": "s", "confirm": code})
        assert "of ann" in str(await done(of_ann, "list_requests")), "another's code deletes nothing"
        gone = await done(of_ann, "delete_session", session_id="s", confirm=code)
        assert gone["receipt"]["deleted"]["requests"] == 1
    assert ann.asked_for == [EVERYTHING]
    assert ann.information
    assert ann.information.client_id != READER


async def test_a_client_that_is_known_by_its_document(tmp_path: Path) -> None:
    ann = Person("ann")
    async with place(tmp_path) as there, ann.client(there.url, document=READER) as client:
        await done(client, "list_requests")
    assert ann.information
    assert ann.information.client_id == READER


async def test_an_opaque_token_is_checked_by_asking_until_it_is_revoked(tmp_path: Path) -> None:
    ann = Person("ann")
    async with place(tmp_path, "opaque", **CLIENT) as there:
        async with ann.client(there.url) as client:
            await done(client, "list_requests")
        assert "." not in ann.token
        headers, body = modern_call("list_requests", {})
        sent = headers | {"authorization": f"Bearer {ann.token}"}
        async with httpx.AsyncClient(timeout=30) as http:
            assert (await http.post(there.url, json=body, headers=sent)).status_code == 200
            assert ann.information
            given = {"token": ann.token, "client_id": ann.information.client_id}
            assert (await http.post(f"{there.issuer}/token/revocation", data=given)).status_code == 200
            with anyio.fail_after(60):  # an answer is remembered for a while
                while (reply := await http.post(there.url, json=body, headers=sent)).status_code == 200:  # noqa: ASYNC110
                    await anyio.sleep(0.5)
            assert reply.status_code == 401


async def test_more_is_asked_for_when_it_is_needed(tmp_path: Path) -> None:
    ann = Person("ann")
    async with place(tmp_path) as there:
        async with ann.client(there.url) as client:
            await done(
                client, "publish_interaction", user_id="ann", session_id="s", interactions=interactions("x")
            )
        narrow = Person("ann", information=ann.information)
        address = await _authorize(there, narrow, "memory:read")
        token = await _exchange(there, narrow, address)
        headers, body = modern_call("delete_session", {"session_id": "s"})
        async with httpx.AsyncClient(timeout=30) as http:
            reply = await http.post(
                there.url, json=body, headers=headers | {"authorization": f"Bearer {token}"}
            )
        assert reply.status_code == 403
        assert 'scope="memory:read memory:delete"' in reply.headers["www-authenticate"]

        # The official client reads this and asks the person for more.
        narrow.tokens = OAuthToken(access_token=token, scope="memory:read")
        async with narrow.client(there.url) as client:
            listed = {tool.name for tool in (await client.list_tools()).tools}
            assert "delete_session" not in listed
            plan = await done(client, "delete_session", session_id="s")
            assert plan["plan"]["confirm"]
        assert [set(asked.split()) for asked in narrow.asked_for[1:]] == [{"memory:read", "memory:delete"}]


VERIFIER = "v" * 64


async def _authorize(there: Place, person: Person, scope: str) -> str:
    assert person.information
    challenge = base64.urlsafe_b64encode(hashlib.sha256(VERIFIER.encode()).digest()).rstrip(b"=").decode()
    query = {
        "response_type": "code",
        "client_id": str(person.information.client_id),
        "redirect_uri": CALLBACK,
        "code_challenge": challenge,
        "code_challenge_method": "S256",
        "resource": there.url,
        "scope": scope,
        "state": "x",
    }
    await person.sign_in(f"{there.issuer}/auth?{httpx.QueryParams(query)}")
    return person.came_back


async def _exchange(there: Place, person: Person, address: str) -> str:
    assert person.information
    form = {
        "grant_type": "authorization_code",
        "code": parse_qs(urlsplit(address).query)["code"][0],
        "redirect_uri": CALLBACK,
        "client_id": str(person.information.client_id),
        "code_verifier": VERIFIER,
        "resource": there.url,
    }
    async with httpx.AsyncClient(timeout=30) as http:
        reply = await http.post(f"{there.issuer}/token", data=form)
    return json.loads(reply.text)["access_token"]


async def test_the_official_typescript_client(tmp_path: Path) -> None:
    async with place(tmp_path) as there:
        command = [str(NODE), str(HERE / "sign_in.mjs"), there.url]
        async with await anyio.open_process(
            command, env={**os.environ, "NODE_MODULES": str(NODE_MODULES)}, stderr=subprocess.STDOUT
        ) as process:
            assert process.stdout
            assert process.stdin
            with anyio.fail_after(60):
                address = (await process.stdout.receive()).decode().strip()
                assert address.startswith(there.issuer), address
                back = await anyio.to_thread.run_sync(browse, address, "ann")
                await process.stdin.send(f"{back}\n".encode())
                said = (await process.stdout.receive()).decode()
                assert said == "done\n", said
                assert await process.wait() == 0
