"""The rules of an audit, one class each, and the filter `finding`.

The classes are light: patterns and libraries are imported when a rule first looks.
"""

from collections.abc import Sequence
from typing import Final

from reflexio_mcp.rest.models import RequestWithInteractions
from reflexio_mcp.results.facts import FactCode
from reflexio_mcp.traffic.audit.rules.base import Finding, Rule, Session, Severity
from reflexio_mcp.traffic.audit.rules.content import PersonalData, PromptInjection, Secret, passage_parts
from reflexio_mcp.traffic.audit.rules.duplicates import Duplicate
from reflexio_mcp.traffic.audit.rules.habits import (
    Expired,
    SharedSession,
    SplitConversation,
    TemporarySession,
    TestTraffic,
    UnclearMetadata,
)
from reflexio_mcp.traffic.audit.rules.learning import (
    NEWEST_ASKED,
    LearningFailed,
    LearningWaiting,
    OrphanedLearning,
    StaleLearning,
    StatusChecks,
)

__all__ = [
    "FINDINGS",
    "FINDINGS_FROM_SERVICE",
    "FINDINGS_NEEDING_NEWEST",
    "NEWEST_ASKED",
    "RULES",
    "Finding",
    "StatusChecks",
    "findings_in",
    "judgement_of",
    "offers_deletion",
    "passage_in",
    "passage_parts",
    "rule_of",
    "select",
    "severity_of",
]

RULES: Final[tuple[type[Rule], ...]] = (
    Secret,
    PromptInjection,
    PersonalData,
    Duplicate,
    Expired,
    SharedSession,
    TestTraffic,
    SplitConversation,
    LearningFailed,
    OrphanedLearning,
    TemporarySession,
    UnclearMetadata,
    LearningWaiting,
    StaleLearning,
)

_RULE_OF_FINDING: Final = {name: rule for rule in RULES for name in rule.names()}

FINDINGS: Final = tuple(name for name, rule in _RULE_OF_FINDING.items() if rule.selects)
"""The findings by which a filter can select."""

FINDINGS_FROM_SERVICE: Final = frozenset(name for name, rule in _RULE_OF_FINDING.items() if rule.from_service)
"""Findings that only the service knows. A pager has already filtered by them."""

FINDINGS_NEEDING_NEWEST: Final = frozenset(
    name for name, rule in _RULE_OF_FINDING.items() if rule.needs_newest
)
"""Findings for which the newest request of a session has to be read."""

Items = Sequence[RequestWithInteractions]


def rule_of(finding: str) -> type[Rule]:
    return _RULE_OF_FINDING[finding]


def findings_in(items: Items, rules: Sequence[type[Rule]]) -> list[Finding]:
    if not items:
        return []
    session = Session(items[0].request.session_id, items)
    return [found for rule in rules for found in rule().look(session)]


def passage_in(item: RequestWithInteractions, finding: str) -> str:
    """Return the first passage of a request with this finding; empty if there is none."""
    found = findings_in([item], [rule_of(finding)])
    return next((passage.around for passage in found if passage.name == finding), "")


def severity_of(finding: str) -> Severity:
    rule = rule_of(finding)
    return "medium" if finding == rule.possible else rule.severity


def judgement_of(finding: str) -> FactCode | None:
    """Return how somebody judges the requests with a finding; `None` if the rule is sure of it."""
    rule = rule_of(finding)
    return rule.judge if finding == rule.possible else None


def offers_deletion(finding: str) -> bool:
    """Whether an audit may offer to delete the requests with a finding.

    It may not if the rule only shows them, or if somebody has to judge each of them.
    """
    rule = rule_of(finding)
    return rule.offers == "delete" and judgement_of(finding) is None


def select(finding: str, items: Items) -> Items:
    """Return the requests of one session that have a finding, newest first."""
    if finding in FINDINGS_FROM_SERVICE:
        return items
    found = {hit.request.request_id for hit in findings_in(items, [rule_of(finding)]) if hit.name == finding}
    return [item for item in items if item.request.request_id in found]
