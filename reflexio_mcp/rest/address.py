"""Checks of URLs and of the key, made before a call is sent."""

import contextlib
import ipaddress
from urllib.parse import urlsplit

from reflexio_mcp.rest import api_limits
from reflexio_mcp.rest.errors import BadAddress

__all__ = ["check_api_key", "check_base_url", "image_url_fault"]


def check_base_url(url: str) -> str:
    """Return the URL without a trailing slash; a path prefix is kept.

    Raises:
        BadAddress: it is not an http or https URL, or it holds credentials, a query or a fragment.
    """
    text = url.strip()
    try:
        parts = urlsplit(text)
        host, port = parts.hostname, parts.port
    except ValueError:
        host = port = parts = None
    # The text itself is not repeated: what was pasted here by mistake may be a key.
    if parts is None or parts.scheme not in {"http", "https"} or not host or port == 0:
        raise BadAddress(
            "REFLEXIO_URL must be a URL such as https://www.reflexio.ai or http://localhost:8061"
        )
    if "@" in parts.netloc:
        raise BadAddress("REFLEXIO_URL must not hold credentials; the key belongs in REFLEXIO_API_KEY")
    if parts.query or parts.fragment or "?" in text or "#" in text:
        raise BadAddress("REFLEXIO_URL must not hold a query or a fragment")
    if not text.isascii() or any(character <= " " or character in '\x7f"<>\\^`{|}' for character in text):
        raise BadAddress("REFLEXIO_URL holds characters that cannot stand in a URL")
    return text.rstrip("/")


def check_api_key(key: str | None) -> str | None:
    """Return the key without surrounding blanks, or `None` when there is none.

    Raises:
        BadAddress: it holds characters that cannot stand in a header.
    """
    text = (key or "").strip()
    if any(not "!" <= character <= "~" for character in text):
        raise BadAddress("REFLEXIO_API_KEY holds blanks or characters that cannot stand in a header")
    return text or None


def image_url_fault(url: str) -> str | None:
    """Say in a few words why the API refuses the URL of an image; `None` when it takes it."""
    try:
        parts = urlsplit(url)
        host = (parts.hostname or "").lower()
    except ValueError:
        return "is not a URL"
    if parts.scheme not in {"http", "https", "data"}:
        return "must be an http, https or data URL"
    with contextlib.suppress(ValueError):
        host = str(ipaddress.ip_address(host))
    if parts.scheme != "data" and host in api_limits.CLOUD_METADATA_HOSTS:
        return "must not point at a cloud metadata service"
    return None
