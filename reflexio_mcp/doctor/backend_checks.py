"""The checks of one environment's backend, as one table: in order, each with those that must hold before it."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from typing import Final, Literal

from reflexio_mcp.doctor import api, configuration, network, sign_in, store
from reflexio_mcp.doctor.environment import Environment
from reflexio_mcp.doctor.report import Finding, skipped
from reflexio_mcp.rest.errors import ReflexioError

__all__ = ["BACKEND", "REACHED", "Check", "make"]


@dataclass(frozen=True, slots=True)
class Check:
    """One check.

    Args:
        name: what it is called.
        looks_at: what it looks at, for the documentation.
        run: makes it, and finds nothing where nothing of the kind is set; a `ReflexioError` becomes a finding.
        after: the checks that must hold for it to make sense.
        needs: `network` where it does not apply to the embedded store, `key` where it also sends the key.
    """

    name: str
    looks_at: str
    run: Callable[[Environment], Awaitable[list[Finding]]]
    after: tuple[str, ...] = ()
    needs: Literal["", "network", "key"] = ""


_THERE: Final = ("configuration", "key", "proxy", "dns", "connection", "tls")
REACHED: Final = (*_THERE, "api", "identity")

# fmt: off
BACKEND: Final = (
    Check("configuration", "every value, and where it came from", configuration.check_configuration),
    Check("key", "the key's form, and whether one is needed", configuration.check_key, _THERE[:1], "key"),
    Check("proxy", "which proxy calls go through", network.check_proxy, _THERE[:1], "network"),
    Check("dns", "whether the server's name exists", network.check_dns, _THERE[:1], "network"),
    Check("connection", "whether anything listens", network.check_connection, ("configuration", "dns"), "network"),
    Check("tls", "whether the certificate is trusted, and how long", network.check_tls, _THERE[:-1], "network"),
    Check("api", "whether what answers is the API", api.check_api, _THERE, "network"),
    Check("identity", "whether User-Agent and key are accepted, and as whom", api.check_identity, REACHED[:-1], "key"),
    Check("version", "the server's version", api.check_version, REACHED, "key"),
    Check("clock", "whether the clocks agree", api.check_clock, REACHED, "key"),
    Check("rate", "how much of the publishing limit is used", api.check_rate, REACHED, "key"),
    Check("store", "the embedded store's file and who can read it", store.check_store, _THERE[:1]),
    Check("state", "the record of deletions: its file or database", store.check_state, ("configuration", "store")),
    Check("sign-in", "whether people can sign in, where they do", sign_in.check_sign_in, _THERE[:1]),
    Check("written files", "whether audit log and copies can be written", store.check_written_files, _THERE[:1]),
)
# fmt: on


async def make(environment: Environment, checks: Sequence[Check]) -> None:
    """Make every check that makes sense and add what it finds to the environment's report."""
    for check in checks:
        failed = {one.check for one in environment.report.findings if one.status == "failure"}
        in_the_way = [name for name in check.after if name in failed]
        if in_the_way:
            found = [skipped(f"not checked, because of {in_the_way[0]}")]
        elif check.needs and environment.settings.embedded:
            found = [skipped("the embedded store of this shell needs no network and no key")]
        elif check.needs == "key" and environment.key_unknown:
            found = [skipped("only the client knows the key")]
        else:
            try:
                found = await check.run(environment)
            except ReflexioError as error:
                found = [api.problem(environment, error)]
        environment.report.add(replace(one, check=check.name, name=one.name or check.name) for one in found)
