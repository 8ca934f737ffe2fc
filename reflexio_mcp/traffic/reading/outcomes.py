"""How sessions ended, as hosts have reported it."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Final

from reflexio_mcp.rest.client import MAX_SESSION_IDS
from reflexio_mcp.rest.errors import ReflexioError
from reflexio_mcp.rest.models import SessionOutcome
from reflexio_mcp.results.base import at, shown_name
from reflexio_mcp.results.facts import Fact, FactCode
from reflexio_mcp.results.reading import OutcomeRow, as_name
from reflexio_mcp.traffic.scope import Scope

__all__ = ["outcomes_of"]

OUTCOME_CHARS: Final = 40
LABEL_CHARS: Final = 60


async def outcomes_of(
    scope: Scope, session_ids: Sequence[str], user_id: str = ""
) -> tuple[Mapping[str, list[OutcomeRow]], list[Fact]]:
    """Return the outcomes of sessions by their ids, and what has to be said if they could not be read.

    Args:
        user_id: only this user's; empty for every user whom this caller may see.
    """
    found: dict[str, list[OutcomeRow]] = defaultdict(list)
    if not scope.learns or not session_ids:
        return found, []
    only_user = scope.user_id or user_id
    try:
        for start in range(0, len(session_ids), MAX_SESSION_IDS):
            batch = session_ids[start : start + MAX_SESSION_IDS]
            for outcome in await scope.client.get_session_outcomes(only_user, session_ids=batch):
                is_wanted = not only_user or outcome.user_id == only_user
                if is_wanted and outcome.session_id in batch:
                    found[outcome.session_id].append(_row(scope, outcome, names_user=not only_user))
    except ReflexioError:
        return found, [Fact(code=FactCode.OUTCOMES_NOT_READ)]
    return found, []


def _row(scope: Scope, outcome: SessionOutcome, *, names_user: bool) -> OutcomeRow:
    from reflexio_mcp.traffic.audit.rules.redaction import redact  # its patterns take a while to compile

    return OutcomeRow(
        outcome=shown_name(
            as_name(outcome.outcome) if scope.masked else redact(outcome.outcome), OUTCOME_CHARS
        ),
        label="" if scope.masked else shown_name(redact(outcome.label), LABEL_CHARS),
        value=None if scope.masked else outcome.value,
        inferred=outcome.is_inferred,
        occurred_at=at(outcome.occurred_at) if outcome.occurred_at else None,
        user_id=scope.shown_id(outcome.user_id) if names_user else "",
    )
