"""What the explorer's page asks for."""

from typing import Any

from reflexio_mcp.results.base import Result, Row
from reflexio_mcp.results.reading import OneRequest, SessionRequests

__all__ = ["ExplorerData", "ExplorerState", "RuleWords"]


class RuleWords(Row):
    """Why a finding matters, and whether it is a grave one."""

    why: str
    grave: bool


class ExplorerState(Row):
    """What the page has to know of this server before it draws.

    Args:
        whose: the user it is confined to.
        where, keeper: where requests are stored, and where recovery copies are, in words.
        rules: what the page says of each finding.
        filter: the filter that the page was opened with, its times in epoch seconds.
    """

    whose: str
    where: str
    keeper: str
    masked: bool
    recovery_days: float
    tools: list[str]
    rules: dict[str, RuleWords]
    filter: dict[str, str | int | None]


class ExplorerData(Result):
    """An answer to the page; each view fills some of the fields.

    Args:
        sessions: rows of requests.
        looked_at: requests that were read for the rows or findings.
        findings: ids of requests by the rule that finds them.
        learning: where the learning of requests stands, by id.
        requests: requests as they are stored, for a file.
        looked_up: how many of the ids were looked at before an export was large enough.
    """

    view: str
    state: ExplorerState | None = None
    sessions: list[SessionRequests] = []
    looked_at: int = 0
    cursor: str | None = None
    findings: dict[str, list[str]] = {}
    learning: dict[str, str] = {}
    one: OneRequest | None = None
    plan: dict[str, Any] | None = None
    requests: list[dict[str, Any]] = []
    looked_up: int = 0
