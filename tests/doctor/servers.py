"""Real servers on 127.0.0.1, each with one fault."""

import http.server
import json
import socket
import ssl
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

Route = tuple[int, Any]
"""A status and a body: JSON unless it is text."""

HEALTHY: dict[str, Route] = {
    "GET /health": (200, {"status": "healthy"}),
    "GET /api/whoami": (
        200,
        {"success": True, "org_id": "acme", "storage_type": "sqlite", "storage_configured": True},
    ),
    "GET /meta/version": (200, {"server_version": "0.2.32", "api_version": "1", "min_client_version": "0"}),
}


@contextmanager
def api(
    routes: Mapping[str, Route] | None = None,
    *,
    everywhere: Route | None = None,
    headers: Mapping[str, str] | None = None,
    tls: ssl.SSLContext | None = None,
    seen: list[str] | None = None,
) -> Iterator[str]:
    """A server that answers `HEALTHY`, changed by `routes`, or the same thing everywhere; yields its URL.

    Args:
        headers: added to every answer.
        seen: collects what was asked, with the Authorization header.
    """
    table = {**HEALTHY, **(routes or {})}

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def answer(self) -> None:
            length = int(self.headers.get("content-length") or 0)
            body = self.rfile.read(length)
            asked = f"{self.command} {self.path.split('?')[0]}"
            if seen is not None:
                seen.append(f"{asked} {self.headers.get('authorization', '')} {body.decode()}")
            status, said = everywhere or table.get(asked, (404, {"detail": "Not Found"}))
            sent = said.encode() if isinstance(said, str) else json.dumps(said).encode()
            self.send_response_only(status)
            kind = "text/html" if isinstance(said, str) else "application/json"
            self.send_header("content-type", kind)
            self.send_header("content-length", str(len(sent)))
            for name, value in (headers or {}).items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(sent)

        do_GET = do_POST = do_DELETE = answer  # noqa: N815 - the base class looks for these names

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class's name
            pass

    class Server(http.server.ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, request: Any, client_address: Any) -> None:
            pass  # a client that goes away is part of the tests

    with Server(("127.0.0.1", 0), Handler) as server:
        if tls is not None:
            server.socket = tls.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        thread.start()
        try:
            yield f"{'https' if tls else 'http'}://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join(5)


@contextmanager
def raw(speak: Callable[[socket.socket], None]) -> Iterator[str]:
    """A listener that does what it is told with each connection; yields its URL."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                with connection:
                    speak(connection)

        threading.Thread(target=serve, daemon=True).start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        listener.close()


def free_port() -> int:
    """A port on which nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


def certificate(
    folder: Path, *, address: str = "127.0.0.1", days: int = 90, begun: int = 30
) -> tuple[ssl.SSLContext, Path]:
    """A self-signed certificate for an address, ending in `days`; the server's context and the file."""
    import ipaddress

    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, address)])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=begun))
        .not_valid_after(now + timedelta(days=days))
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(address))]), critical=False
        )
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    file = folder / "server.pem"
    public = made.public_bytes(serialization.Encoding.PEM)
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    file.write_bytes(private + public)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(file)
    return context, file
