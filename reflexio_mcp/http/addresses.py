"""The hosts and origins that are answered, as the SDK's `TransportSecuritySettings` takes them."""

import ipaddress
import re
from collections.abc import Iterable
from contextvars import ContextVar
from typing import Final

from reflexio_mcp.settings import ConfigurationError, Settings

__all__ = ["allowed_hosts", "allowed_origins", "is_loopback", "peer"]

peer: Final[ContextVar[str]] = ContextVar("reflexio_mcp_peer", default="")
"""The address that the request which is being answered comes from."""

LOOPBACK: Final = ("127.0.0.1", "localhost", "[::1]")

_HOST: Final = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[^/\s@?#*:]+)(:\d+|:\*)?")
_ORIGIN: Final = re.compile(rf"[A-Za-z][A-Za-z0-9+.-]*://{_HOST.pattern}")


def allowed_hosts(settings: Settings, public: str = "") -> list[str]:
    """The values of `Host` that are answered.

    Args:
        public: the host at which clients reach this server, if a sign-in names it.

    Raises:
        ConfigurationError: a value that is no host, or none is named although others can reach the server.
    """
    _check(settings.allowed_hosts, _HOST, "hosts", "mcp.example or mcp.example:8443")
    named = [*settings.allowed_hosts, *([public] if public else [])]
    if not is_loopback(settings.host) and not named:
        raise ConfigurationError(
            "The address of --host / REFLEXIO_MCP_HOST can be reached from elsewhere: name the hosts that clients use "
            "with --allowed-hosts / REFLEXIO_MCP_ALLOWED_HOSTS, or bind 127.0.0.1."
        )
    return list(_with_ports([*_here(settings), *named]))


def allowed_origins(settings: Settings) -> list[str]:
    """The values of `Origin` that are answered: pages of this machine, and those that the operator names.

    Raises:
        ConfigurationError: a value that is no origin.
    """
    _check(settings.allowed_origins, _ORIGIN, "origins", "https://app.example")
    here = [f"{scheme}://{host}" for scheme in ("http", "https") for host in _here(settings)]
    return [*_with_ports(here), *(origin.lower() for origin in settings.allowed_origins)]


def is_loopback(host: str) -> bool:
    """Whether an address can be reached from this machine alone."""
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def _here(settings: Settings) -> list[str]:
    bound = f"[{settings.host.strip('[]')}]" if ":" in settings.host else settings.host.lower()
    return [*LOOPBACK, *([bound] if is_loopback(bound) else [])]


def _check(values: Iterable[str], pattern: re.Pattern[str], option: str, form: str) -> None:
    if not all(pattern.fullmatch(value) for value in values):
        raise ConfigurationError(
            f"--allowed-{option} / REFLEXIO_MCP_ALLOWED_{option.upper()} takes whole {option} as in {form}; only a "
            "port may be left open, as in name:*."
        )


def _with_ports(names: Iterable[str]) -> Iterable[str]:
    """Each name as it is; a name without a port also stands for every port of it, which is up to the proxy."""
    for name in names:
        yield name.lower()
        if ":" not in name.rpartition("]")[2].rpartition("//")[2]:
            yield f"{name.lower()}:*"
