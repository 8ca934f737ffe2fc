"""Access tokens of an authorization server: which are taken, which are not, and what each may do."""

import base64
import hashlib
import hmac
import json
import socket
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import anyio
import httpx
import jwt
import pytest
from mcp.client import Client

from reflexio_mcp.http.app import HttpApp
from reflexio_mcp.http.bearer_tokens import Tokens
from reflexio_mcp.http.oauth import (
    ASK_AGAIN_SECONDS,
    FRESH_SECONDS,
    MOST_WAITING,
    REMEMBER_SECONDS,
    STALE_SECONDS,
    SignIn,
)
from reflexio_mcp.http.refusal import Refusal
from reflexio_mcp.settings import ConfigurationError, Settings, load
from tests.doctor.servers import certificate, raw
from tests.over_http.test_attacks import events
from tests.over_http.test_calls import until
from tests.support.issuer import AUDIENCE, Issuer, issuing, key, public
from tests.support.serving import (
    TOKEN,
    Served,
    connected,
    free_port,
    modern_call,
    serving,
    serving_process,
    turns,
)

pytestmark = pytest.mark.anyio

ALL = "memory:read memory:publish memory:delete"


@pytest.fixture
def issuer() -> Iterator[Issuer]:
    with issuing() as issuer:
        yield issuer


def signing_in(issuer: Issuer, **more: Any) -> Settings:
    options: dict[str, Any] = {"oauth_issuer": issuer.url, "oauth_audience": AUDIENCE, "confirm": "preview"}
    return Settings(**options | more)


@asynccontextmanager
async def serving_people(issuer: Issuer, **more: Any) -> AsyncIterator[Served]:
    async with serving(signing_in(issuer, **more), tokens=()) as served:
        yield served


def bearer(token: str) -> dict[str, str]:
    return {"authorization": f"Bearer {token}"}


def as_person(served: Served, token: str, **way: Any) -> AbstractAsyncContextManager[Client]:
    return connected(served.url, bearer(token), **way)


async def call(
    served: Served, token: str, tool: str = "list_requests", arguments: dict[str, Any] | None = None
) -> httpx.Response:
    headers, body = modern_call(tool, arguments or {})
    async with httpx.AsyncClient(timeout=30) as http:
        return await http.post(f"{served.url}/mcp", json=body, headers=headers | bearer(token))


def b64(value: object) -> str:
    text = value if isinstance(value, bytes) else json.dumps(value).encode()
    return base64.urlsafe_b64encode(text).rstrip(b"=").decode()


def by_hand(header: dict[str, Any], claims: dict[str, Any], sign: Callable[[bytes], bytes]) -> str:
    """A token that no library would make."""
    text = f"{b64(header)}.{b64(claims)}"
    return f"{text}.{b64(sign(text.encode()))}"


def hmac_with(secret: bytes) -> Callable[[bytes], bytes]:
    return lambda text: hmac.new(secret, text, hashlib.sha256).digest()


def pem() -> bytes:
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    return key("one").public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


NOW = int(time.time())
LONG_NUMBER = b'{"alg":' + b"9" * 5000 + b"}"
FORGED: dict[str, Callable[[Issuer], str]] = {
    "another key under the same name": lambda i: jwt.encode(
        i.claims("ann"), key("thief"), algorithm="RS256", headers={"kid": "one"}
    ),
    "a key nobody has": lambda i: i.token(kid="thief"),
    "no signature": lambda i: by_hand({"alg": "none", "kid": "one"}, i.claims("ann"), lambda _: b""),
    "no signature, spelt otherwise": lambda i: by_hand({"alg": "NonE"}, i.claims("ann"), lambda _: b""),
    "the public key as a shared secret": lambda i: by_hand(
        {"alg": "HS256", "kid": "one"}, i.claims("ann"), hmac_with(pem())
    ),
    "the public key as JSON as a shared secret": lambda i: by_hand(
        {"alg": "HS256", "kid": "one"}, i.claims("ann"), hmac_with(json.dumps(public("one")).encode())
    ),
    "an empty shared secret": lambda i: by_hand({"alg": "HS256"}, i.claims("ann"), hmac_with(b"")),
    "its own key in the header": lambda i: i.token(
        kid="thief", headers={"kid": "one", "jwk": public("thief"), "alg": "RS256"}
    ),
    "its own key by address": lambda i: i.token(kid="thief", headers={"kid": "one", "jku": f"{i.url}/keys"}),
    "the signature of another token": lambda i: ".".join(
        [*i.token("bob").split(".")[:2], i.token("ann").split(".")[2]]
    ),
    "changed after it was signed": lambda i: ".".join(
        [i.token().split(".")[0], b64(i.claims("bob")), i.token().split(".")[2]]
    ),
    "an elliptic token for an RSA key": lambda i: by_hand(
        {"alg": "ES256", "kid": "one"}, i.claims("ann"), lambda _: b"x" * 64
    ),
    "a weak algorithm": lambda i: by_hand(
        {"alg": "RS1", "kid": "one"}, i.claims("ann"), lambda _: b"x" * 256
    ),
    "a list as algorithm": lambda i: by_hand(
        {"alg": ["RS256"], "kid": "one"}, i.claims("ann"), lambda _: b"x"
    ),
    "an extension that must be understood": lambda i: i.token(headers={"crit": ["exp"]}),
    "another type of token": lambda i: i.token(headers={"typ": "logout+jwt"}),
    "expired": lambda i: i.token(exp=NOW - 3600, iat=NOW - 7200),
    "not valid yet": lambda i: i.token(nbf=NOW + 3600),
    "issued in the future": lambda i: i.token(iat=NOW + 3600),
    "no end": lambda i: i.token(exp=None),
    "an end that is a text": lambda i: i.token(exp="soon"),
    "for another server": lambda i: i.token(aud="https://elsewhere.example/mcp"),
    "for a longer address": lambda i: i.token(aud=f"{AUDIENCE}x"),
    "for the client": lambda i: i.token(aud="client-id"),
    "for nobody": lambda i: i.token(aud=None),
    "by another issuer": lambda i: i.token(iss="https://elsewhere.example"),
    "by an issuer whose name begins alike": lambda i: i.token(iss=f"{i.url}.elsewhere.example"),
    "by no issuer": lambda i: i.token(iss=None),
    "of nobody": lambda i: i.token(sub=None),
    "of an empty name": lambda i: i.token(""),
    "of a blank name": lambda i: i.token("  "),
    "of a name with blanks around it": lambda i: i.token("ann "),
    "an ID token": lambda i: i.token(token_use="id"),
    "of a name that is a list": lambda i: i.token(sub=["ann"]),
    "of a name with a line break": lambda i: i.token("ann\nbob"),
    "of a name too long": lambda i: i.token("a" * 1001),
    "bound to a key of its owner": lambda i: i.token(cnf={"jkt": "thumbprint"}),
    "opaque": lambda i: "an-opaque-token",
    "empty parts": lambda i: "..",
    "no text at all": lambda i: "\xff\xfe.\xff.\xff",
    "claims that are a list": lambda i: by_hand({"alg": "RS256", "kid": "one"}, [1], lambda _: b"x"),  # type: ignore[arg-type]
    "a header nested deep": lambda i: f"{b64(b'[' * 9000)}.e30.eA",
    "a header with a number too long": lambda i: f"{b64(LONG_NUMBER)}.e30.eA",
}


async def test_forged_tokens_let_nobody_in(issuer: Issuer, caplog: pytest.LogCaptureFixture) -> None:
    async with serving_people(issuer) as served:
        assert (await call(served, issuer.token())).status_code == 200
        for name, forge in FORGED.items():
            token = forge(issuer)
            headers, body = modern_call("list_requests", {})
            async with httpx.AsyncClient(timeout=60) as http:
                sent = [(k, v) for k, v in headers.items()] + [
                    ("authorization", f"Bearer {token}".encode("latin-1"))
                ]
                reply = await http.post(f"{served.url}/mcp", json=body, headers=sent)  # type: ignore[arg-type]
            assert reply.status_code == 401, (name, reply.text)
            challenge = reply.headers["www-authenticate"]
            assert challenge.startswith('Bearer error="invalid_token", resource_metadata="'), name
            assert token not in reply.text + caplog.text, name


@pytest.mark.parametrize("kind", ["RSA", "EC", "OKP"])
async def test_each_kind_of_key_is_taken(issuer: Issuer, kind: str) -> None:
    issuer.keys = [public(kind, kind), public("one")]
    async with serving_people(issuer) as served:
        assert (await call(served, issuer.token(kid=kind, kind=kind))).status_code == 200


async def test_who_is_not_signed_in_is_told_where(issuer: Issuer) -> None:
    async with serving_people(issuer) as served, httpx.AsyncClient(timeout=60) as http:
        headers, body = modern_call("list_requests", {})
        reply = await http.post(f"{served.url}/mcp", json=body, headers=headers)
        assert reply.status_code == 401
        assert f"Sign in first, at {issuer.url}" in reply.text
        wrong = await call(served, "made-up")
        assert wrong.status_code == 401
        assert "The token is not one that this server can read. Sign in again." in wrong.text
        challenge = reply.headers["www-authenticate"]
        assert challenge == (
            'Bearer resource_metadata="http://127.0.0.1:9/.well-known/oauth-protected-resource/mcp", '
            f'scope="{ALL}"'
        )
        for path in ("/mcp", ""):
            told = await http.get(f"{served.url}/.well-known/oauth-protected-resource{path}")
            assert told.json() == {
                "resource": AUDIENCE,
                "authorization_servers": [issuer.url],
                "scopes_supported": ALL.split(),
                "bearer_methods_supported": ["header"],
                "resource_name": "Reflexio memory",
            }
            assert told.headers["access-control-allow-origin"] == "*"
        foreign = await http.get(
            f"{served.url}/.well-known/oauth-protected-resource", headers={"host": "evil.example"}
        )
        assert foreign.status_code == 421
        for path in ("/register", "/.well-known/oauth-authorization-server"):
            told = await http.get(f"{served.url}{path}")
            assert told.status_code == 404
            assert issuer.url in told.json()["error_description"]


async def test_the_page_of_a_browser_learns_where_and_for_what_to_sign_in(issuer: Issuer) -> None:
    page = {"origin": "https://app.example"}
    asked = page | {
        "access-control-request-method": "GET",
        "access-control-request-headers": "mcp-protocol-version",
    }
    async with (
        serving_people(issuer, allowed_origins=("https://app.example",)) as served,
        httpx.AsyncClient(timeout=60) as http,
    ):
        metadata = f"{served.url}/.well-known/oauth-protected-resource/mcp"
        preflight = await http.options(metadata, headers=asked)
        assert preflight.is_success
        assert preflight.headers["access-control-allow-origin"] == "*"
        assert preflight.headers["access-control-allow-headers"] == "*"
        assert "GET" in preflight.headers["access-control-allow-methods"]
        assert (await http.options(metadata, headers=asked | {"host": "evil.example"})).status_code == 421
        headers, body = modern_call("publish_interaction", {})
        for token, status in (({}, 401), (bearer(issuer.token(scope="memory:read")), 403)):
            reply = await http.post(f"{served.url}/mcp", json=body, headers=headers | page | token)
            assert reply.status_code == status
            assert reply.headers["access-control-allow-origin"] in ("*", "https://app.example")
            assert "www-authenticate" in reply.headers["access-control-expose-headers"]
            assert "resource_metadata" in reply.headers["www-authenticate"]


GRANTED = {
    "memory:read": {
        "list_sessions",
        "list_requests",
        "get_request",
        "audit_traffic",
        "explore_traffic",
        "get_status",
    },
    "memory:publish": {"publish_interaction"},
    "memory:delete": {"delete_request", "delete_session", "delete_requests", "restore_requests"},
}


@pytest.mark.parametrize("way", [{"mode": "auto"}, {"mode": "legacy"}], ids=["2026", "2025"])
@pytest.mark.parametrize("granted", ["read", "publish", "delete", "read publish", "read publish delete"])
async def test_scopes_decide_which_tools_are_offered_and_answered(
    issuer: Issuer, granted: str, way: dict[str, Any], tmp_path: Any
) -> None:
    scope = " ".join(f"memory:{one}" for one in granted.split())
    may = set().union(*(GRANTED[one] for one in scope.split()))
    every = set().union(*GRANTED.values())
    token = issuer.token(scope=f"openid {scope} memory:everything")
    folder = str(tmp_path / "copies")
    async with serving_people(issuer, recovery_days=1, recovery_dir=folder) as served:
        async with as_person(served, token, **way) as client:
            listed = {tool.name for tool in (await client.list_tools()).tools} - {"explorer_data"}
            assert listed == may
            readable = "memory:read" in scope
            assert bool((await client.list_resource_templates()).resource_templates) == readable
            assert bool((await client.list_prompts()).prompts) == (granted != "publish")
        for tool in every:
            reply = await call(served, token, tool, {})
            if tool in may:
                assert reply.status_code == 200, tool
                continue
            assert reply.status_code == 403, tool
            challenge = reply.headers["www-authenticate"]
            assert 'error="insufficient_scope"' in challenge
            [needed] = [name for name, tools in GRANTED.items() if tool in tools]
            wanted = challenge.partition('scope="')[2].partition('"')[0].split()
            assert set(wanted) == {needed, *scope.split()}, tool


@pytest.mark.parametrize("scope", ["", "openid profile", "memory:everything", "memory:operator"])
async def test_without_a_scope_of_ours_nothing_is_answered(issuer: Issuer, scope: str) -> None:
    async with serving_people(issuer) as served:
        reply = await call(served, issuer.token(scope=scope), "get_status")
        assert reply.status_code == 403
        assert "insufficient_scope" in reply.headers["www-authenticate"]


def scopes_asked_for(reply: httpx.Response) -> str:
    return reply.headers["www-authenticate"].partition('scope="')[2].partition('"')[0]


async def test_an_operator_who_is_asked_for_more_stays_one(issuer: Issuer) -> None:
    async with serving_people(issuer) as served:
        reader = issuer.token(scope="openid memory:operator memory:read")
        reply = await call(served, reader, "publish_interaction")
        assert (reply.status_code, scopes_asked_for(reply)) == (
            403,
            "memory:read memory:publish memory:operator",
        )
        reply = await call(served, issuer.token(scope="memory:operator"))
        assert (reply.status_code, scopes_asked_for(reply)) == (403, "memory:read memory:operator")
        reply = await call(served, issuer.token(scope="memory:read"), "publish_interaction")
        assert scopes_asked_for(reply) == "memory:read memory:publish", "others do not learn of it"


OFFERED: dict[str, tuple[dict[str, Any], str]] = {
    "read-only": ({"read_only": True}, "memory:read"),
    "some tools": ({"tools": ("get_request", "delete_request")}, "memory:read memory:delete"),
    "one tool": ({"tools": ("publish_interaction",)}, "memory:publish"),
}


@pytest.mark.parametrize("case", OFFERED)
async def test_nobody_is_asked_to_grant_what_no_tool_here_does(issuer: Issuer, case: str) -> None:
    options, scopes = OFFERED[case]
    async with serving_people(issuer, **options) as served, httpx.AsyncClient(timeout=60) as http:
        told = (await http.get(f"{served.url}/.well-known/oauth-protected-resource/mcp")).json()
        assert told["scopes_supported"] == scopes.split()
        headers, body = modern_call("get_request", {})
        assert scopes_asked_for(await http.post(f"{served.url}/mcp", json=body, headers=headers)) == scopes
        none = await call(served, issuer.token(scope="openid"))
        assert (none.status_code, scopes_asked_for(none)) == (403, scopes.split()[0])


@pytest.mark.parametrize("tool", ["delete_session", "finish_session", "nonsense"])
@pytest.mark.parametrize("scope", ["memory:read", "memory:delete"])
async def test_a_tool_that_nobody_has_is_said_to_be_none(issuer: Issuer, tool: str, scope: str) -> None:
    async with serving_people(issuer, read_only=True) as served:
        reply = await call(served, issuer.token(scope=scope), tool, {})
        assert reply.status_code == 200
        [said, *_] = reply.json()["result"]["content"]
        assert f"There is no tool '{tool}' here; nothing was done. " in said["text"]
        others = "The tools are list_sessions," if scope == "memory:read" else "You may call none."
        assert others in said["text"]


async def test_scopes_may_be_a_list_as_some_services_write_them(issuer: Issuer) -> None:
    async with serving_people(issuer) as served:
        listed = issuer.token(scope=None, scp=["memory:read"])
        assert (await call(served, listed)).status_code == 200
        assert (await call(served, listed, "delete_session", {"session_id": "s"})).status_code == 403


async def test_the_user_is_the_claim_that_the_operator_names(issuer: Issuer) -> None:
    async with serving_people(issuer, oauth_user_claim="email") as served:
        given = {"session_id": "s", "user_id": "ann@example.org", "interactions": turns("hello")}
        token = issuer.token("0815", email="ann@example.org")
        stored = (await call(served, token, "publish_interaction", given)).json()["result"][
            "structuredContent"
        ]
        assert stored["user_id"] == "ann@example.org"
        assert (await call(served, issuer.token("0815"))).status_code == 401


async def test_an_e_mail_address_that_nobody_verified_names_no_user(issuer: Issuer) -> None:
    async with checking(issuer, Clock(), oauth_user_claim="email") as sign_in:
        for verified, status in (
            *((one, 200) for one in (True, None, "true")),
            *((one, 401) for one in (False, "false", "False ", 0, 1, "0", "no", "", [])),
        ):
            token = issuer.token("0815", email="ann@example.org", email_verified=verified)
            assert await status_of(sign_in, token) == status, verified


async def test_the_host_of_the_audience_is_answered_with_its_port_and_without(issuer: Issuer) -> None:
    for host, audience in (
        ("memory.example", "https://memory.example:8443/mcp"),
        ("[2001:db8::7]", "https://[2001:db8::7]:8443/mcp"),
        ("memory.example", "https://memory.example/mcp"),
    ):
        async with serving_people(issuer, oauth_audience=audience) as served, httpx.AsyncClient() as http:
            for sent, status in ((host, 200), (f"{host}:8443", 200), (f"other.{host}", 421)):
                place = f"{served.url}/.well-known/oauth-protected-resource/mcp"
                assert (await http.get(place, headers={"host": sent})).status_code == status, sent


async def test_an_operator_sees_everybody_and_a_static_token_stays_valid(issuer: Issuer) -> None:
    async with serving(signing_in(issuer), tokens=(TOKEN,)) as served:
        for name in ("ann", "bob"):
            given = {"session_id": "s", "user_id": name, "interactions": turns(f"of {name}")}
            assert (await call(served, issuer.token(name), "publish_interaction", given)).status_code == 200
        for token, seen in (
            (issuer.token("ann"), 1),
            (issuer.token("eve"), 0),
            (issuer.token("eve", scope=f"{ALL} memory:operator"), 2),
            (TOKEN, 2),
        ):
            reply = (await call(served, token)).json()["result"]["structuredContent"]
            assert reply["returned"] == seen


@pytest.mark.parametrize("backend", ["nobody answers", "another service answers", "a file"])
async def test_where_memory_is_kept_is_told_to_operators_alone(
    issuer: Issuer, backend: str, tmp_path: Path
) -> None:
    where = {
        "nobody answers": f"http://127.0.0.1:{free_port()}",
        "another service answers": f"{issuer.url}/elsewhere",
        "a file": str(tmp_path / "store.db"),
    }[backend]
    option = "store" if backend == "a file" else "url"
    async with serving_people(issuer, timeout=2, **{option: where}) as served:
        for tool in ("get_status", "list_requests", "explore_traffic"):
            told = (await call(served, issuer.token("ann"), tool)).text
            assert "result" in told
            assert where.rpartition("//")[2] not in told, tool
        operator = issuer.token("eve", scope=f"{ALL} memory:operator")
        assert where in (await call(served, operator, "get_status")).text


async def test_a_header_of_tenancy_is_refused_beside_a_sign_in(issuer: Issuer) -> None:
    async with serving_people(issuer) as served, httpx.AsyncClient(timeout=60) as http:
        headers, body = modern_call("list_requests", {})
        for name in ("x-reflexio-user-id", "x-reflexio-api-key"):
            reply = await http.post(
                f"{served.url}/mcp", json=body, headers=headers | bearer(issuer.token()) | {name: "bob"}
            )
            assert reply.status_code == 403


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


@asynccontextmanager
async def checking(issuer: Issuer, clock: Callable[[], float], **more: Any) -> AsyncIterator[SignIn]:
    sign_in = SignIn(signing_in(issuer, **more), {}, clock)
    try:
        yield sign_in
    finally:
        await sign_in.aclose()


async def status_of(sign_in: SignIn, token: str) -> int:
    try:
        await sign_in.caller(token)
    except Refusal as refused:
        return refused.status
    return 200


async def test_keys_are_kept_rotated_and_dropped(issuer: Issuer) -> None:
    clock = Clock()
    async with checking(issuer, clock) as sign_in:
        assert await status_of(sign_in, issuer.token()) == 200
        assert await status_of(sign_in, issuer.token()) == 200
        assert issuer.asked["/keys"] == 1

        clock.now += ASK_AGAIN_SECONDS
        issuer.keys = [public("one"), public("two")]
        assert await status_of(sign_in, issuer.token(kid="two")) == 200, "a new key is fetched when it is met"
        for number in range(50):
            assert await status_of(sign_in, issuer.token(kid="thief", headers={"kid": str(number)})) == 401
        assert issuer.asked["/keys"] == 2, "made-up names do not make the issuer work"

        issuer.keys = [public("two")]
        clock.now += FRESH_SECONDS
        assert await status_of(sign_in, issuer.token(kid="two")) == 200
        assert await status_of(sign_in, issuer.token(kid="one")) == 401, "a key that was withdrawn"


async def test_while_the_issuer_is_away_its_keys_hold_for_an_hour_and_then_nobody_comes_in(
    issuer: Issuer,
) -> None:
    clock = Clock()
    async with checking(issuer, clock) as sign_in:
        issuer.status = 503
        assert await status_of(sign_in, issuer.token()) == 503, "never reached"
        issuer.status = 200
        clock.now += ASK_AGAIN_SECONDS
        assert await status_of(sign_in, issuer.token()) == 200
        issuer.status = 503
        clock.now += FRESH_SECONDS + 1
        assert await status_of(sign_in, issuer.token()) == 200
        clock.now += STALE_SECONDS
        assert await status_of(sign_in, issuer.token()) == 503
        issuer.status = 200
        clock.now += ASK_AGAIN_SECONDS
        assert await status_of(sign_in, issuer.token()) == 200


async def test_while_the_issuer_hangs_known_keys_still_let_people_in(issuer: Issuer) -> None:
    clock = Clock()
    async with checking(issuer, clock) as sign_in:
        assert await status_of(sign_in, issuer.token()) == 200
        clock.now += FRESH_SECONDS + 1
        issuer.hold.clear()
        forged = issuer.token(kid="thief", headers={"kid": "made-up"})
        told: list[int] = []

        async def knock() -> None:
            told.append(await status_of(sign_in, forged))

        async with anyio.create_task_group() as tasks:
            for _ in range(20):
                tasks.start_soon(knock)
            await anyio.wait_all_tasks_blocked()
            assert await status_of(sign_in, issuer.token()) == 200
            assert told == [], "who is known does not wait for those who are not"
            issuer.hold.set()
        assert told == [401] * 20
        assert issuer.asked["/keys"] == 2, "all of them waited for one fetch"


async def test_a_flood_of_unknown_tokens_is_cut_short(issuer: Issuer) -> None:
    issuer.tokens["opaque"] = {"active": True, **issuer.claims("ann")}
    async with checking(issuer, Clock(), oauth_client_id="us", oauth_client_secret="secret") as sign_in:
        assert await status_of(sign_in, "opaque") == 200
        issuer.hold.clear()
        told: list[int] = []

        async def knock(number: int) -> None:
            told.append(await status_of(sign_in, f"junk-{number}"))

        async with anyio.create_task_group() as tasks:
            for number in range(500):
                tasks.start_soon(knock, number)
            await until(lambda: len(told) >= 500 - MOST_WAITING)
            assert await status_of(sign_in, "opaque") == 200
            assert told == [503] * (500 - MOST_WAITING), "who is known is not kept waiting"
            with pytest.raises(
                Refusal, match=r"is being asked about too many tokens, .*; try again in a moment"
            ):
                await sign_in.caller("one-more")
            issuer.hold.set()
        assert told.count(401) == MOST_WAITING
        assert issuer.asked["/ask"] == 1 + MOST_WAITING


NOT_AWAY = (
    "(gives no metadata or keys that can be read|names another issuer).*; if it stays so, tell the operator"
)
LIES: dict[str, dict[str, Any]] = {
    "another issuer": {"metadata": {"issuer": "https://elsewhere.example"}},
    "keys without encryption": {"metadata": {"jwks_uri": "http://keys.example/keys"}},
    "keys in a file": {"metadata": {"jwks_uri": "file:///etc/passwd"}},
    "no keys": {"metadata": {"jwks_uri": None}},
    "no page of keys": {"metadata": {"jwks_uri": "{}/nowhere"}},
    "nobody at the keys' address": {"metadata": {"jwks_uri": "http://127.0.0.1:9/keys"}},
    "no metadata": {"status": 404},
    "not JSON": {"body": b"<html>"},
    "a list": {"body": b"[]"},
    "nested deep": {"body": b"[" * 100_000},
    "endless": {"body": b" " * (2 * 1024 * 1024)},
    "packed": {"headers": {"content-encoding": "gzip"}},
    "moved": {"status": 302, "headers": {"location": "https://elsewhere.example"}},
}


@pytest.mark.parametrize("lie", LIES)
async def test_an_issuer_that_answers_oddly_lets_nobody_in(issuer: Issuer, lie: str) -> None:
    for name, value in LIES[lie].items():
        setattr(issuer, name, value)
    if issuer.metadata.get("jwks_uri"):
        issuer.metadata = {"jwks_uri": issuer.metadata["jwks_uri"].format(issuer.url)}
    async with checking(issuer, Clock()) as sign_in:
        with pytest.raises(Refusal, match=NOT_AWAY) as refused:
            await sign_in.caller(issuer.token())
        assert refused.value.status == 503
        assert (await sign_in.trouble())[1] is False


async def test_an_issuer_where_nobody_listens_is_called_away(issuer: Issuer) -> None:
    async with checking(issuer, Clock(), oauth_issuer=f"http://127.0.0.1:{free_port()}") as sign_in:
        assert await sign_in.trouble() == ("cannot be reached", False)


@pytest.mark.parametrize(
    "keys", [[], [{}], [{"kty": "RSA", "kid": "one"}], ["one"], [{"kty": "oct", "k": "AA", "kid": "one"}]]
)
async def test_keys_that_are_none_let_nobody_in(issuer: Issuer, keys: list[Any]) -> None:
    issuer.keys = keys
    async with checking(issuer, Clock()) as sign_in:
        assert await status_of(sign_in, issuer.token()) == 401


async def test_an_issuer_whose_name_ends_with_a_slash_is_taken_by_that_name_alone(issuer: Issuer) -> None:
    bare, issuer.url = issuer.url, f"{issuer.url}/"
    named = load({"REFLEXIO_MCP_OAUTH_ISSUER": issuer.url}).oauth_issuer
    async with checking(issuer, Clock(), oauth_issuer=named) as sign_in:
        assert await status_of(sign_in, issuer.token()) == 200
        assert await status_of(sign_in, issuer.token(iss=bare)) == 401
        assert sign_in.metadata["authorization_servers"] == [issuer.url]
    async with checking(issuer, Clock(), oauth_issuer=bare) as sign_in:
        with pytest.raises(Refusal, match=f"names another issuer in its metadata, '{issuer.url}'"):
            await sign_in.caller(issuer.token())


async def test_an_issuer_behind_a_companys_own_authority_is_trusted_as_reflexio_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tls, file = certificate(tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(file))
    with issuing(tls) as issuer:
        async with checking(issuer, Clock()) as sign_in:
            assert await status_of(sign_in, issuer.token()) == 200


async def test_the_way_to_the_issuer_is_through_the_proxy_but_not_on_this_machine(
    issuer: Issuer, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[bytes] = []

    def turn_away(connection: socket.socket) -> None:
        seen.append(connection.recv(1000))
        connection.sendall(b"HTTP/1.1 403 Forbidden\r\ncontent-length: 0\r\n\r\n")

    with raw(turn_away) as proxy:
        for name in ("http_proxy", "https_proxy", "all_proxy"):
            monkeypatch.setenv(name, proxy)
        monkeypatch.setenv("no_proxy", "")
        async with checking(issuer, Clock()) as sign_in:
            assert await status_of(sign_in, issuer.token()) == 200
        async with checking(issuer, Clock(), oauth_issuer="https://id.example") as sign_in:
            assert await status_of(sign_in, issuer.token()) == 503
    assert seen
    assert {words.split()[1] for words in seen} == {b"id.example:443"}
    monkeypatch.setitem(sys.modules, "socksio", None)
    for unusable in ("no-proxy://", "socks5://127.0.0.1:9"):
        monkeypatch.setenv("https_proxy", unusable)
        with pytest.raises(ConfigurationError, match="HTTPS_PROXY"):
            SignIn(signing_in(issuer), {})


async def test_a_key_for_encryption_or_another_algorithm_does_not_sign(issuer: Issuer) -> None:
    for more in ({"use": "enc"}, {"alg": "PS256"}):
        issuer.keys = [public("one", **more)]
        async with checking(issuer, Clock()) as sign_in:
            assert await status_of(sign_in, issuer.token()) == 401


OPAQUE: dict[str, tuple[int, dict[str, Any]]] = {
    "in order": (200, {}),
    "without an end": (200, {"exp": None}),
    "for several": (200, {"aud": ["other", AUDIENCE]}),
    "revoked": (401, {"active": False}),
    "neither": (401, {"active": "true"}),
    "expired": (401, {"exp": NOW - 3600}),
    "not valid yet": (401, {"nbf": NOW + 3600}),
    "for another server": (401, {"aud": "https://elsewhere.example"}),
    "for nobody in particular": (401, {"aud": None}),
    "by another issuer": (401, {"iss": "https://elsewhere.example"}),
    "of nobody": (401, {"sub": None}),
    "bound to a certificate": (401, {"cnf": {"x5t#S256": "thumbprint"}}),
    "an end that is null": (200, {"exp": None}),
    "an end that is a text": (401, {"exp": str(NOW + 600)}),
    "an end that is no number": (401, {"exp": float("nan")}),
    "a beginning that is a text": (401, {"nbf": str(NOW)}),
    "a refresh token": (401, {"token_type": "refresh_token"}),
    "an ID token": (401, {"token_use": "id"}),
    "without a scope": (403, {"scope": "openid"}),
}


@pytest.mark.parametrize("case", OPAQUE)
async def test_opaque_tokens_are_checked_by_asking(issuer: Issuer, case: str) -> None:
    status, more = OPAQUE[case]
    said = {"active": True, **issuer.claims("ann")} | more
    issuer.tokens["opaque"] = {name: value for name, value in said.items() if value is not None}
    async with checking(issuer, Clock(), oauth_client_id="us", oauth_client_secret="secret") as sign_in:
        assert await status_of(sign_in, "opaque") == status
        assert await status_of(sign_in, "another") == 401


async def test_any_client_id_and_secret_can_be_sent(issuer: Issuer) -> None:
    issuer.tokens["opaque"] = {"active": True, **issuer.claims("ann")}
    for name, secret in (("us", "q3Z+x/9k+Pw="), ("us", "50%25off"), ("us", "100%"), ("https://us", "a b:é")):
        issuer.client = name, secret
        async with checking(issuer, Clock(), oauth_client_id=name, oauth_client_secret=secret) as sign_in:
            assert await status_of(sign_in, "opaque") == 200, secret
            assert await sign_in.trouble() == ("", True)
    async with checking(issuer, Clock(), oauth_client_id="us", oauth_client_secret="old") as sign_in:
        refused = "refuses this server's client id and secret at its introspection endpoint"
        assert await sign_in.trouble() == (refused, True)
        with pytest.raises(Refusal, match="refuses this server's client id and secret"):
            await sign_in.caller("opaque")
        assert await status_of(sign_in, issuer.token()) == 200


ASKED_IN_VAIN: dict[str, tuple[dict[str, Any], str]] = {
    "no endpoint": ({"introspection_endpoint": None}, "names no introspection endpoint that can be used"),
    "no such page": ({"introspection_endpoint": "{}/nowhere"}, "answers 404 at its introspection endpoint"),
    "nobody there": (
        {"introspection_endpoint": "http://127.0.0.1:9/ask"},
        "cannot be reached at its introspection endpoint",
    ),
}


@pytest.mark.parametrize("case", ASKED_IN_VAIN)
async def test_where_asking_fails_the_issuer_is_not_called_away_and_jwts_are_taken(
    issuer: Issuer, case: str
) -> None:
    metadata, why = ASKED_IN_VAIN[case]
    issuer.metadata = {name: url and url.format(issuer.url) for name, url in metadata.items()}
    async with checking(issuer, Clock(), oauth_client_id="us", oauth_client_secret="secret") as sign_in:
        assert await sign_in.trouble() == (why, True)
        advice = "try again in a moment" if case == "nobody there" else "tell the operator"
        with pytest.raises(Refusal, match=f"{why}, .*{advice}"):
            await sign_in.caller("opaque")
        assert await status_of(sign_in, issuer.token()) == 200


async def test_an_issuer_with_opaque_tokens_alone_needs_no_keys(issuer: Issuer) -> None:
    issuer.keys = []
    issuer.tokens["opaque"] = {"active": True, **issuer.claims("ann")}
    async with checking(issuer, Clock(), oauth_client_id="us", oauth_client_secret="secret") as sign_in:
        assert await sign_in.trouble() == ("", False)
        assert await status_of(sign_in, "opaque") == 200
    async with checking(issuer, Clock()) as sign_in:
        assert await sign_in.trouble() == ("has no keys", False)


async def test_a_revoked_token_works_no_longer_than_an_answer_is_remembered(issuer: Issuer) -> None:
    clock = Clock()
    issuer.tokens["opaque"] = {"active": True, **issuer.claims("ann")}
    async with checking(issuer, clock, oauth_client_id="us", oauth_client_secret="secret") as sign_in:
        assert await status_of(sign_in, "opaque") == 200
        del issuer.tokens["opaque"]
        assert await status_of(sign_in, "opaque") == 200
        assert issuer.asked["/ask"] == 1
        clock.now += REMEMBER_SECONDS
        assert await status_of(sign_in, "opaque") == 401
        issuer.status = 500
        clock.now += REMEMBER_SECONDS
        assert await status_of(sign_in, "opaque") == 503, "what cannot be checked is not let in"


IMPATIENT = (
    "import reflexio_mcp.http.oauth as o; o.REMEMBER_SECONDS = 0.2; from reflexio_mcp.cli import main; main()"
)


async def test_streams_end_when_their_token_is_taken_back(issuer: Issuer, tmp_path: Path) -> None:
    serving = serving_process(
        tmp_path,
        command=(sys.executable, "-c", IMPATIENT),
        REFLEXIO_MCP_OAUTH_ISSUER=issuer.url,
        REFLEXIO_MCP_OAUTH_AUDIENCE=AUDIENCE,
        REFLEXIO_MCP_OAUTH_CLIENT_ID="us",
        REFLEXIO_MCP_OAUTH_CLIENT_SECRET="secret",
    )
    async with serving as served, httpx.AsyncClient(timeout=30) as http:
        for left in ({"active": False}, {"active": True, **issuer.claims("ann", "memory:publish")}):
            issuer.tokens["opaque"] = {"active": True, **issuer.claims("ann", exp=None)}
            with anyio.fail_after(30):
                async with http.stream("GET", f"{served.url}/sse", headers=bearer("opaque")) as stream:
                    assert stream.status_code == 200
                    chunks = stream.aiter_bytes()
                    assert await anext(chunks)
                    asked = issuer.asked["/ask"]
                    await until(lambda asked=asked: issuer.asked["/ask"] >= asked + 2, 20)
                    issuer.tokens["opaque"] = left
                    async for _ in chunks:
                        pass


async def test_an_issuer_that_fails_once_ends_no_stream(
    issuer: Issuer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("reflexio_mcp.http.oauth.REMEMBER_SECONDS", 0.2)
    issuer.tokens["opaque"] = {"active": True, **issuer.claims("ann")}
    async with checking(
        issuer, time.monotonic, oauth_client_id="us", oauth_client_secret="secret"
    ) as sign_in:
        caller = await sign_in.caller("opaque")
        assert caller.token_ends
        ended = anyio.Event()

        async def watch() -> None:
            assert caller.token_ends
            await caller.token_ends()
            ended.set()

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(watch)
            for status in (500, 200):
                issuer.status = status
                asked = issuer.asked["/ask"]
                await until(lambda asked=asked: issuer.asked["/ask"] > asked, 20)
            await until(lambda: issuer.asked["/ask"] > asked + 1, 20)
            assert not ended.is_set()
            issuer.status = 500
            await ended.wait()
        assert (await sign_in.caller(issuer.token())).token_ends is None, "it works until it expires"


async def test_streams_end_with_the_token(issuer: Issuer, tmp_path: Path) -> None:
    variables: dict[str, Any] = {
        "REFLEXIO_MCP_OAUTH_ISSUER": issuer.url,
        "REFLEXIO_MCP_OAUTH_AUDIENCE": AUDIENCE,
    }
    async with (
        serving_process(tmp_path, **variables, REFLEXIO_MCP_AUTH_TOKEN="") as served,
        httpx.AsyncClient(timeout=30) as http,
    ):
        # The leeway for clocks lets a token in that has just ended; a stream is not kept open on it.
        ends = int(time.time()) + 3
        sent = bearer(issuer.token(exp=ends))
        with anyio.fail_after(25):  # the leeway ends after that
            async with http.stream("GET", f"{served.url}/sse", headers=sent) as stream:
                assert stream.status_code == 200
                began = [chunk async for chunk in stream.aiter_bytes()]
        assert began, "it was open"
        assert time.time() >= ends - 1


CONTRADICTIONS: dict[str, dict[str, Any]] = {
    "no audience": {"oauth_audience": ""},
    "an issuer without encryption": {"oauth_issuer": "http://id.example"},
    "an audience without encryption": {"oauth_audience": "http://memory.example/mcp"},
    "a client without its secret": {"oauth_client_id": "us"},
    "a secret without its client": {"oauth_client_secret": "secret"},
    "no authentication": {"unsafe_no_auth": True},
    "keys in headers": {"tenancy": "header", "url": "https://reflexio.example"},
    "one user for all": {"user_id": "ann"},
    "no issuer": {"oauth_issuer": ""},
}


@pytest.mark.parametrize("case", CONTRADICTIONS)
async def test_settings_that_contradict_a_sign_in_stop_the_start(issuer: Issuer, case: str) -> None:
    settings = replace(signing_in(issuer), store=":memory:", **CONTRADICTIONS[case])
    with pytest.raises(ConfigurationError, match="REFLEXIO_"):
        HttpApp(settings, Tokens(()))


async def test_refusals_are_logged_by_reason_alone(issuer: Issuer, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    async with serving_people(issuer) as served:
        thief = issuer.token(kid="thief")
        await call(served, thief)
        await call(served, issuer.token(scope="memory:read"), "delete_session", {"session_id": "s"})
    reasons = [event["reason"] for event in events(caplog, "refused")]
    assert reasons == ["token", "scope"]
    assert "ann" not in caplog.text


async def test_the_start_says_where_people_sign_in_and_serves_on_where_that_cannot_be_read(
    issuer: Issuer, tmp_path: Path
) -> None:
    options: dict[str, Any] = {
        "REFLEXIO_MCP_OAUTH_ISSUER": issuer.url,
        "REFLEXIO_MCP_OAUTH_AUDIENCE": AUDIENCE,
    }
    async with serving_process(tmp_path, **options) as served:
        said = served.stderr()
        assert f"reflexio-mcp: people sign in at {issuer.url}\n" in said
        assert "reflexio-mcp: memory: the embedded store at " in said
    issuer.status = 500
    async with serving_process(tmp_path, **options) as served:
        await until(
            lambda: f"warning: sign-in does not work while {issuer.url} gives no metadata" in served.stderr(),
            60,
        )
    issuer.status, issuer.metadata = 200, {"introspection_endpoint": None}
    options |= {"REFLEXIO_MCP_OAUTH_CLIENT_ID": "us", "REFLEXIO_MCP_OAUTH_CLIENT_SECRET": "secret"}
    async with serving_process(tmp_path, **options) as served:
        await until(
            lambda: f"warning: sign-in works with JWTs alone while {issuer.url} names no" in served.stderr(),
            60,
        )
