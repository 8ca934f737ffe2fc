"""The checks, as one table: in the order in which they are made, each with those that must hold before it."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import Final

from reflexio_mcp.doctor import api, clients, configuration, network, store, writing
from reflexio_mcp.doctor.case import Case
from reflexio_mcp.doctor.report import Finding, Report, skipped

__all__ = ["CHECKS", "Check", "examine"]


@dataclass(frozen=True, slots=True)
class Check:
    """One check: what it is called, what it looks at, and which checks have to hold for it to make sense."""

    name: str
    looks_at: str
    run: Callable[[Case], Awaitable[list[Finding]]]
    after: tuple[str, ...] = ()


_THERE: Final = ("configuration", "key", "proxy", "dns", "connection", "tls")

CHECKS: Final[tuple[Check, ...]] = (
    Check("configuration", "every value, and where it came from", configuration.check_configuration),
    Check("key", "the key's form, and whether one is needed", configuration.check_key, ("configuration",)),
    Check("proxy", "which proxy is in the way", network.check_proxy, ("configuration",)),
    Check("dns", "whether the server's name exists", network.check_dns, ("configuration",)),
    Check("connection", "whether anybody listens there", network.check_connection, ("configuration", "dns")),
    Check(
        "tls",
        "whether the certificate is trusted, and how long",
        network.check_tls,
        ("configuration", "dns", "connection"),
    ),
    Check("api", "whether what answers is the API", api.check_api, _THERE),
    Check(
        "identity",
        "whether User-Agent and key are accepted, and as whom",
        api.check_identity,
        (*_THERE, "api"),
    ),
    Check("version", "the server's version", api.check_version, (*_THERE, "api", "identity")),
    Check("clock", "whether the clocks agree", api.check_clock, (*_THERE, "api", "identity")),
    Check("rate", "how much of the publishing limit is used", api.check_rate, (*_THERE, "api", "identity")),
    Check("store", "the embedded store's file and who can read it", store.check_store, ("configuration",)),
    Check(
        "written files",
        "audit log and recovery folder: can they be written",
        store.check_written_files,
        ("configuration",),
    ),
    Check("clients", "who has this server configured, and whether it starts", clients.check_clients),
    Check(
        "writing",
        "with --write: publish, list, delete, look again",
        writing.check_writing,
        (*_THERE, "api", "identity", "store"),
    ),
)


async def examine(case: Case) -> Report:
    """Make every check that makes sense."""
    failed: set[str] = set()
    for check in CHECKS:
        in_the_way = [name for name in check.after if name in failed]
        if in_the_way:
            found = [skipped(f"not looked at, because of {in_the_way[0]}")]
        else:
            found = await check.run(case)
        if any(finding.status == "failure" for finding in found):
            failed.add(check.name)
        case.report.findings += [
            replace(finding, check=check.name, name=finding.name or check.name) for finding in found
        ]
    return case.report
