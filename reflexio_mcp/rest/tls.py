"""Whom the client trusts, for those who look at a server's certificate without sending a call."""

import ssl

__all__ = ["trust"]


def trust() -> ssl.SSLContext:
    """The context that calls are made with: `SSL_CERT_FILE` and `SSL_CERT_DIR` are heeded."""
    import httpx

    return httpx.create_ssl_context()
