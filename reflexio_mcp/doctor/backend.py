"""The checks of one environment's backend, as one table: in order, each with those that must hold before it."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from typing import Final

from reflexio_mcp.doctor import api, configuration, network, store
from reflexio_mcp.doctor.case import Case
from reflexio_mcp.doctor.report import Finding, skipped

__all__ = ["BACKEND", "REACHED", "Check", "make"]


@dataclass(frozen=True, slots=True)
class Check:
    """One check: what it is called, what it looks at, and which checks must hold for it to make sense."""

    name: str
    looks_at: str
    run: Callable[[Case], Awaitable[list[Finding]]]
    after: tuple[str, ...] = ()


_THERE: Final = ("configuration", "key", "proxy", "dns", "connection", "tls")
REACHED: Final = (*_THERE, "api", "identity")

BACKEND: Final = (
    Check("configuration", "every value, and where it came from", configuration.check_configuration),
    Check("key", "the key's form, and whether one is needed", configuration.check_key, ("configuration",)),
    Check("proxy", "which proxy is in the way", network.check_proxy, ("configuration",)),
    Check("dns", "whether the server's name exists", network.check_dns, ("configuration",)),
    Check("connection", "whether anything listens there", network.check_connection, ("configuration", "dns")),
    Check("tls", "whether the certificate is trusted, and how long", network.check_tls, _THERE[:-1]),
    Check("api", "whether what answers is the API", api.check_api, _THERE),
    Check(
        "identity", "whether User-Agent and key are accepted, and as whom", api.check_identity, REACHED[:-1]
    ),
    Check("version", "the server's version", api.check_version, REACHED),
    Check("clock", "whether the clocks agree", api.check_clock, REACHED),
    Check("rate", "how much of the publishing limit is used", api.check_rate, REACHED),
    Check("store", "the embedded store's file and who can read it", store.check_store, ("configuration",)),
    Check(
        "written files",
        "audit log and recovery folder: whether they can be written",
        store.check_written_files,
        ("configuration",),
    ),
)


async def make(case: Case, checks: Sequence[Check]) -> None:
    """Make every check that makes sense and add what it finds to the case's report."""
    for check in checks:
        failed = {one.check for one in case.report.findings if one.status == "failure"}
        in_the_way = [name for name in check.after if name in failed]
        if in_the_way:
            found = [skipped(f"not checked, because of {in_the_way[0]}")]
        else:
            found = await check.run(case)
        case.report.add(replace(one, check=check.name, name=one.name or check.name) for one in found)
