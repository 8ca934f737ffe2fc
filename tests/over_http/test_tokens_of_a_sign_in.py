"""Access tokens of an authorization server: which are taken, and which are not."""

import base64
import hashlib
import hmac
import json
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from typing import Any

import anyio
import httpx
import jwt
import pytest

from reflexio_mcp.http import app, oauth
from reflexio_mcp.http.access import peer
from reflexio_mcp.http.oauth import (
    ASK_AGAIN_SECONDS,
    FRESH_SECONDS,
    MOST_WAITING,
    PEER_SHARE,
    REMEMBER_SECONDS,
    STALE_SECONDS,
    SignIn,
)
from reflexio_mcp.http.refusal import Refusal
from reflexio_mcp.settings import ConfigurationError, Settings
from tests.support.issuer import AUDIENCE, Issuer, issuing, key, public
from tests.support.serving import modern_call, serving, until

pytestmark = pytest.mark.anyio


@pytest.fixture
def issuer() -> Iterator[Issuer]:
    with issuing() as issuer:
        yield issuer


def signing_in(issuer: Issuer, **more: Any) -> Settings:
    options: dict[str, Any] = {"oauth_issuer": issuer.url, "oauth_audience": AUDIENCE}
    return Settings(**options | more)


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


def asking(issuer: Issuer, clock: Clock) -> Any:
    return checking(issuer, clock, oauth_client_id="us", oauth_client_secret="secret")


async def status_of(sign_in: SignIn, token: str) -> int:
    try:
        await sign_in.caller(token)
    except Refusal as refused:
        return refused.status_code
    return 200


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
    "an end beyond any float": lambda i: i.token(exp=10**400),
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
    headers, body = modern_call("list_requests", {})
    async with serving(signing_in(issuer), tokens=()) as served, httpx.AsyncClient(timeout=60) as http:
        for name, forge in {"none of these": Issuer.token, **FORGED}.items():
            token = forge(issuer)
            sent = [*headers.items(), ("authorization", f"Bearer {token}".encode("latin-1"))]
            reply = await http.post(f"{served.url}/mcp", json=body, headers=sent)  # type: ignore[arg-type]
            assert reply.status_code == (200 if name == "none of these" else 401), (name, reply.text)
            assert name == "none of these" or reply.headers["www-authenticate"].startswith("Bearer error="), (
                name
            )
            assert token not in reply.text + caplog.text, name


@pytest.mark.parametrize("kind", ["RSA", "EC", "OKP"])
async def test_each_kind_of_key_is_taken(issuer: Issuer, kind: str) -> None:
    issuer.keys = [public(kind, kind), public("one")]
    async with checking(issuer, Clock()) as sign_in:
        assert await status_of(sign_in, issuer.token(kid=kind, kind=kind)) == 200


async def test_an_e_mail_address_that_nobody_verified_names_no_user(issuer: Issuer) -> None:
    async with checking(issuer, Clock(), oauth_user_claim="email") as sign_in:
        for verified, status in (
            (True, 200),
            (None, 200),
            ("true", 200),
            (False, 401),
            ("no", 401),
            (0, 401),
            (1, 401),
        ):
            token = issuer.token("0815", email="ann@example.org", email_verified=verified)
            assert await status_of(sign_in, token) == status, verified
        assert await status_of(sign_in, issuer.token("0815")) == 401


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
    "moved": {"status": 302, "headers": {"location": "https://elsewhere.example"}},
}


@pytest.mark.parametrize("lie", LIES)
async def test_an_issuer_that_answers_oddly_lets_nobody_in(issuer: Issuer, lie: str) -> None:
    for name, value in LIES[lie].items():
        setattr(issuer, name, value)
    if issuer.metadata.get("jwks_uri"):
        issuer.metadata = {"jwks_uri": issuer.metadata["jwks_uri"].format(issuer.url)}
    async with checking(issuer, Clock()) as sign_in:
        assert await status_of(sign_in, issuer.token()) == 503
        assert await sign_in.trouble()


@pytest.mark.parametrize(
    "keys", [[], [{}], [{"kty": "RSA", "kid": "one"}], ["one"], [{"kty": "oct", "k": "AA", "kid": "one"}]]
)
async def test_keys_that_are_none_let_nobody_in(issuer: Issuer, keys: list[Any]) -> None:
    issuer.keys = keys
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
    async with asking(issuer, Clock()) as sign_in:
        assert await status_of(sign_in, "opaque") == status
        assert await status_of(sign_in, "another") == 401


async def test_a_revoked_token_works_no_longer_than_an_answer_is_remembered(issuer: Issuer) -> None:
    clock = Clock()
    issuer.tokens["opaque"] = {"active": True, **issuer.claims("ann")}
    async with asking(issuer, clock) as sign_in:
        assert await status_of(sign_in, "opaque") == 200
        del issuer.tokens["opaque"]
        assert await status_of(sign_in, "opaque") == 200
        assert issuer.asked["/ask"] == 1
        clock.now += REMEMBER_SECONDS
        assert await status_of(sign_in, "opaque") == 401
        issuer.status = 500
        clock.now += REMEMBER_SECONDS
        assert await status_of(sign_in, "opaque") == 503, "what cannot be checked is not let in"


async def test_a_refused_token_is_remembered_for_a_short_time(issuer: Issuer) -> None:
    clock = Clock()
    async with asking(issuer, clock) as sign_in:
        for _ in range(20):
            assert await status_of(sign_in, "made-up") == 401
        assert issuer.asked["/ask"] == 1
        issuer.tokens["made-up"] = {"active": True, **issuer.claims("ann")}
        clock.now += REMEMBER_SECONDS
        assert await status_of(sign_in, "made-up") == 200


async def test_made_up_tokens_from_one_address_lock_out_nobody_else(issuer: Issuer) -> None:
    issuer.tokens["good"] = {"active": True, **issuer.claims("ann")}
    async with asking(issuer, Clock()) as sign_in:
        await status_of(sign_in, "first")  # metadata and keys are known from now on
        issuer.hold.clear()
        told: list[int] = []

        async def knock(address: str, token: str) -> None:
            peer.set(address)
            told.append(await status_of(sign_in, token))

        async with anyio.create_task_group() as tasks:
            for number in range(90):
                tasks.start_soon(knock, "192.0.2.1", f"junk-{number}")
            await until(lambda: len(told) == 90 - PEER_SHARE)
            assert told == [503] * (90 - PEER_SHARE)
            told.clear()
            tasks.start_soon(knock, "192.0.2.2", "good")
            issuer.hold.set()
        assert sorted(told) == [200, *[401] * PEER_SHARE]


async def test_somebody_who_was_accepted_does_not_wait_behind_made_up_tokens_from_the_same_address(
    issuer: Issuer,
) -> None:
    clock = Clock()
    issuer.tokens["good"] = {"active": True, **issuer.claims("ann")}
    async with asking(issuer, clock) as sign_in:
        assert await status_of(sign_in, "good") == 200
        clock.now += REMEMBER_SECONDS
        issuer.hold.clear()
        told: list[int] = []

        async def knock(token: str) -> None:
            told.append(await status_of(sign_in, token))

        async with anyio.create_task_group() as tasks:
            for number in range(90):
                tasks.start_soon(knock, f"junk-{number}")
            await until(lambda: len(told) == 90 - PEER_SHARE)
            told.clear()
            tasks.start_soon(knock, "good")
            issuer.hold.set()
        assert sorted(told) == [200, *[401] * PEER_SHARE]


async def statuses_at_once(sign_in: SignIn, issuer: Issuer, token: str, calls: int) -> list[int]:
    """Begin all calls before the issuer answers one."""
    asked = issuer.asked["/ask"]
    issuer.hold.clear()
    told: list[int] = []

    async def call() -> None:
        told.append(await status_of(sign_in, token))

    async with anyio.create_task_group() as tasks:
        for _ in range(calls):
            tasks.start_soon(call)
        await until(lambda: issuer.asked["/ask"] > asked)
        issuer.hold.set()
    return told


async def test_parallel_calls_with_one_token_share_one_question(issuer: Issuer) -> None:
    clock = Clock()
    issuer.tokens["opaque"] = {"active": True, **issuer.claims("ann")}
    async with asking(issuer, clock) as sign_in:
        assert await status_of(sign_in, "opaque") == 200
        clock.now += REMEMBER_SECONDS
        assert await statuses_at_once(sign_in, issuer, "opaque", 20) == [200] * 20
        assert issuer.asked["/ask"] == 2
        del issuer.tokens["opaque"]
        clock.now += REMEMBER_SECONDS
        assert await statuses_at_once(sign_in, issuer, "opaque", 20) == [401] * 20
        assert issuer.asked["/ask"] == 3


async def test_the_first_calls_with_a_token_may_be_parallel(issuer: Issuer) -> None:
    issuer.tokens["opaque"] = {"active": True, **issuer.claims("ann")}
    async with asking(issuer, Clock()) as sign_in:
        assert await status_of(sign_in, "another") == 401  # metadata and keys are known from now on
        assert await statuses_at_once(sign_in, issuer, "opaque", 20) == [200] * 20
        assert issuer.asked["/ask"] == 2


async def test_parallel_calls_are_not_let_in_if_the_one_question_fails(issuer: Issuer) -> None:
    clock = Clock()
    issuer.tokens["opaque"] = {"active": True, **issuer.claims("ann")}
    async with asking(issuer, clock) as sign_in:
        assert await status_of(sign_in, "opaque") == 200
        clock.now += REMEMBER_SECONDS
        issuer.status = 500
        assert await statuses_at_once(sign_in, issuer, "opaque", 20) == [503] * 20
        assert issuer.asked["/ask"] == 2


async def test_calls_go_on_if_the_call_that_asked_about_their_token_is_given_up(issuer: Issuer) -> None:
    issuer.tokens["opaque"] = {"active": True, **issuer.claims("ann")}
    async with asking(issuer, Clock()) as sign_in:
        await status_of(sign_in, "another")  # metadata and keys are known from now on
        issuer.hold.clear()
        told: list[int] = []

        async def call(giving_up: anyio.CancelScope) -> None:
            with giving_up:
                told.append(await status_of(sign_in, "opaque"))

        first = anyio.CancelScope()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(call, first)
            await until(lambda: issuer.asked["/ask"] == 2)
            for _ in range(5):
                tasks.start_soon(call, anyio.CancelScope())
            await anyio.wait_all_tasks_blocked()
            first.cancel()
            await until(lambda: issuer.asked["/ask"] == 3)
            issuer.hold.set()
        assert told == [200] * 5
        assert issuer.asked["/ask"] == 3


async def test_a_token_that_nobody_knows_holds_few_calls(issuer: Issuer) -> None:
    async with asking(issuer, Clock()) as sign_in:
        await status_of(sign_in, "another")  # metadata and keys are known from now on
        told = await statuses_at_once(sign_in, issuer, "made-up", 100)
        assert told == [503] * (100 - 1 - MOST_WAITING) + [401] * (1 + MOST_WAITING)


async def test_an_open_stream_ends_soon_after_its_token_is_revoked(
    issuer: Issuer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(app, "WATCH_SECONDS", 0.1)
    monkeypatch.setattr(oauth, "REMEMBER_SECONDS", 0.1)
    issuer.tokens["opaque"] = {"active": True, **issuer.claims("ann")}
    client = {"oauth_client_id": "us", "oauth_client_secret": "secret"}
    async with (
        serving(signing_in(issuer, **client), tokens=()) as served,
        httpx.AsyncClient(timeout=60) as http,
    ):
        headers = {"authorization": "Bearer opaque"}
        with anyio.fail_after(60):
            async with http.stream("GET", f"{served.url}/sse", headers=headers) as stream:
                chunks = stream.aiter_bytes()
                assert await anext(chunks)
                del issuer.tokens["opaque"]
                assert [chunk async for chunk in chunks] == []


async def test_a_token_without_a_kind_and_a_scope_with_a_foreign_space_are_not_taken(issuer: Issuer) -> None:
    async with checking(issuer, Clock()) as sign_in:
        claims = {**issuer.claims("ann"), "token_use": None}
        token = jwt.encode(claims, key("one", "RSA"), algorithm="RS256", headers={"kid": "one"})
        assert await status_of(sign_in, token) == 401
        assert await status_of(sign_in, issuer.token(scope="memory:read\u00a0memory:delete")) == 403


async def test_keys_that_are_too_long_are_the_fault_of_the_issuer(
    issuer: Issuer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(oauth, "MOST_DOCUMENT_BYTES", 100)
    async with checking(issuer, Clock()) as sign_in:
        assert await status_of(sign_in, issuer.token()) == 503


async def test_an_open_stream_ends_with_its_token(issuer: Issuer) -> None:
    async with serving(signing_in(issuer), tokens=()) as served, httpx.AsyncClient(timeout=60) as http:
        # The leeway for clocks lets a token in that has just ended; a stream is not kept open on it.
        headers = {"authorization": f"Bearer {issuer.token(exp=int(time.time()) + 2)}"}
        with anyio.fail_after(60):
            async with http.stream("GET", f"{served.url}/sse", headers=headers) as stream:
                assert [chunk async for chunk in stream.aiter_bytes()]


CONTRADICTIONS: dict[str, dict[str, Any]] = {
    "no audience": {"oauth_audience": ""},
    "an issuer without encryption": {"oauth_issuer": "http://id.example"},
    "an audience without encryption": {"oauth_audience": "http://memory.example/mcp"},
    "a client without its secret": {"oauth_client_id": "us"},
    "a secret without its client": {"oauth_client_secret": "secret"},
    "no authentication": {"unsafe_no_auth": True},
    "one user for all": {"user_id": "ann"},
}


@pytest.mark.parametrize("case", CONTRADICTIONS)
def test_settings_that_contradict_a_sign_in_stop_the_start(issuer: Issuer, case: str) -> None:
    with pytest.raises(ConfigurationError):
        SignIn(signing_in(issuer, **CONTRADICTIONS[case]), {})
