"""An authorization server reduced to what a resource server asks of it, so that a test can make it lie or go away."""

import base64
import json
import ssl
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote_plus

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm

SCOPES = "memory:read memory:publish memory:delete"
AUDIENCE = "http://127.0.0.1:9/mcp"


def key(kid: str, kind: str = "RSA") -> Any:
    """A private key; the same for the same name."""
    return _made(kid, kind)


@cache
def _made(_kid: str, kind: str) -> Any:
    if kind == "RSA":
        return rsa.generate_private_key(65537, 2048)
    return ec.generate_private_key(ec.SECP256R1()) if kind == "EC" else ed25519.Ed25519PrivateKey.generate()


def public(kid: str, kind: str = "RSA", **more: Any) -> dict[str, Any]:
    """The JWK of a key."""
    algorithm: Any = {"RSA": RSAAlgorithm, "EC": ECAlgorithm, "OKP": OKPAlgorithm}[kind]
    made: dict[str, Any] = json.loads(algorithm.to_jwk(key(kid, kind).public_key()))
    return {**made, "kid": kid, "use": "sig"} | more


@dataclass
class Issuer:
    """What it says.

    Args:
        url: where it listens, which is its name too.
        keys: its public keys.
        metadata: laid over its metadata.
        tokens: what introspection says of a token.
        client: whose id and secret introspection takes; without it, anybody's.
        status: of each answer; 200 is well.
        hold: while it is not set, no answer is given.
        asked: how often each path was asked for.
    """

    url: str = ""
    keys: list[dict[str, Any]] = field(default_factory=lambda: [public("one")])
    metadata: dict[str, Any] = field(default_factory=dict[str, Any])
    tokens: dict[str, dict[str, Any]] = field(default_factory=dict[str, dict[str, Any]])
    client: tuple[str, str] | None = None
    status: int = 200
    body: bytes | None = None
    headers: dict[str, str] = field(default_factory=dict[str, str])
    hold: threading.Event = field(default_factory=threading.Event)
    asked: Counter[str] = field(default_factory=Counter[str])

    def claims(
        self, subject: str, scope: str = "memory:read memory:publish memory:delete", **more: Any
    ) -> dict[str, Any]:
        """The claims of a token that is in order."""
        now = int(time.time())
        claims = {
            "iss": self.url,
            "aud": AUDIENCE,
            "sub": subject,
            "scope": scope,
            "iat": now,
            "exp": now + 600,
        }
        return {name: value for name, value in (claims | more).items() if value is not None}

    def token(self, subject: str = "ann", *, kid: str = "one", kind: str = "RSA", **more: Any) -> str:
        """A signed token; `headers` and `algorithm` among `more` are not claims."""
        headers = {"kid": kid} | more.pop("headers", {})
        algorithm = more.pop("algorithm", {"RSA": "RS256", "EC": "ES256", "OKP": "EdDSA"}[kind])
        return jwt.encode(self.claims(subject, **more), key(kid, kind), algorithm=algorithm, headers=headers)

    def answer(self, path: str, sent: bytes) -> dict[str, Any] | None:
        if path == "/.well-known/openid-configuration":
            told = {
                "issuer": self.url,
                "jwks_uri": f"{self.url.rstrip('/')}/keys",
                "introspection_endpoint": f"{self.url.rstrip('/')}/ask",
            }
            return told | self.metadata
        if path == "/keys":
            return {"keys": self.keys}
        if path == "/ask":
            return self.tokens.get(parse_qs(sent.decode())["token"][0], {"active": False})
        return None

    def knows(self, authorization: str) -> bool:
        """Whether this is the client's id and secret, encoded as RFC 6749 has it in 2.3.1."""
        name, _, secret = base64.b64decode(authorization.removeprefix("Basic ")).decode().partition(":")
        return self.client in (None, (unquote_plus(name), unquote_plus(secret)))


@contextmanager
def issuing(tls: ssl.SSLContext | None = None) -> Iterator[Issuer]:
    """Serve one on a free port of 127.0.0.1, with TLS where its context is given."""
    issuer = Issuer()
    issuer.hold.set()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            sent = self.rfile.read(int(self.headers.get("content-length", 0)))
            issuer.asked[self.path] += 1
            issuer.hold.wait(30)
            found = issuer.answer(self.path, sent)
            body = issuer.body if issuer.body is not None else json.dumps(found).encode()
            refused = self.path == "/ask" and not issuer.knows(self.headers.get("authorization", ""))
            self.send_response(401 if refused else issuer.status if found is not None else 404)
            for name, value in issuer.headers.items():
                self.send_header(name, value)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            with suppress(ConnectionError):  # nobody waits any more
                self.wfile.write(body)

        do_POST = do_GET  # noqa: N815 - the standard library's name

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the standard library's name
            pass

    class Server(ThreadingHTTPServer):
        request_queue_size = 128

    server = Server(("127.0.0.1", 0), Handler)
    if tls is not None:
        server.socket = tls.wrap_socket(server.socket, server_side=True)
    issuer.url = f"{'https' if tls else 'http'}://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield issuer
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
