"""Checks of what a client is configured with, made once at construction instead of failing at each call."""

from urllib.parse import urlsplit

from reflexio_mcp.rest import limits
from reflexio_mcp.rest.errors import BadAddress


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


def check_user_agent(agent: str) -> str:
    """Return the User-Agent without surrounding blanks.

    Raises:
        BadAddress: the server would answer 403 to it on every call, or it cannot stand in a header.
    """
    text = agent.strip()
    if not text:
        raise BadAddress("the User-Agent is empty, which Reflexio refuses")
    if any(not " " <= character <= "~" for character in text):
        raise BadAddress("the User-Agent holds characters that cannot stand in a header")
    for word in limits.REFUSED_AGENT_WORDS:
        if word in text.lower():
            raise BadAddress(f"the User-Agent contains '{word}', which Reflexio refuses")
    return text
