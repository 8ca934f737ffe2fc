"""The facts about a failed call to Reflexio: what happened, whether anything changed, and what to do."""

from typing import Final, Literal

from reflexio_mcp.rest import errors
from reflexio_mcp.results.base import SAID_CHARS, shown_name
from reflexio_mcp.results.facts import Fact, FactCode

__all__ = ["Action", "failure_facts"]

Action = Literal["read", "write"]

FAILURES: Final[dict[type[errors.ReflexioError], tuple[FactCode, FactCode]]] = {
    errors.ReflexioError: (FactCode.CALL_FAILED, FactCode.TRY_AGAIN),
    errors.NotSent: (FactCode.NOT_SENT, FactCode.CORRECT_ARGUMENTS),
    errors.BadAddress: (FactCode.BAD_ADDRESS, FactCode.CORRECT_SETTINGS),
    errors.BodyTooLarge: (FactCode.TOO_LARGE, FactCode.SPLIT_REQUEST),
    errors.Closed: (FactCode.CLOSED, FactCode.TRY_AGAIN),
    errors.Unreachable: (FactCode.UNREACHABLE, FactCode.CHECK_SERVER),
    errors.OutcomeUnknown: (FactCode.NO_ANSWER, FactCode.TRY_AGAIN),
    errors.TimedOut: (FactCode.TIMED_OUT, FactCode.TRY_LATER),
    errors.ConnectionLost: (FactCode.CONNECTION_LOST, FactCode.TRY_AGAIN),
    errors.ReplyTooLarge: (FactCode.ANSWER_TOO_LARGE, FactCode.ASK_FOR_LESS),
    errors.NotTheApi: (FactCode.NOT_THE_API, FactCode.CHECK_ADDRESS),
    errors.Refused: (FactCode.REFUSED, FactCode.CORRECT_ARGUMENTS),
    errors.InvalidBody: (FactCode.ARGUMENTS_REFUSED, FactCode.CORRECT_ARGUMENTS),
    errors.NotAuthorized: (FactCode.ACCESS_REFUSED, FactCode.CHECK_KEY),
    errors.NotFound: (FactCode.UNKNOWN_ID, FactCode.CHECK_ID),
    errors.AlreadyExists: (FactCode.ID_TAKEN, FactCode.CHOOSE_ID),
    errors.RateLimited: (FactCode.RATE_LIMITED, FactCode.TRY_LATER),
    errors.OperationFailed: (FactCode.OPERATION_FAILED, FactCode.READ_SERVER_LOG),
    errors.ServerFault: (FactCode.SERVER_FAULT, FactCode.READ_SERVER_LOG),
}
"""By kind of error: what happened, and what to do about it."""


def failure_facts(error: errors.ReflexioError, action: Action = "read") -> list[Fact]:
    """Return what happened, with what is known of it, and last what to do about it.

    Args:
        action: `write` adds a fact that says whether anything changed.
    """
    happened, advice = next(FAILURES[kind] for kind in type(error).__mro__ if kind in FAILURES)
    known = [shown_name(error.detail)] if error.detail else []
    if error.correlation_id:
        known.append(shown_name(f"correlation id {error.correlation_id}"))
    if advice is FactCode.READ_SERVER_LOG and error.from_embedded_store:
        advice = FactCode.CHECK_STORE
    next_step = Fact(code=advice)
    if isinstance(error, errors.RateLimited) and error.retry_after is not None:
        next_step = Fact(code=FactCode.TRY_IN_SECONDS, number=max(1, round(error.retry_after)))
    facts = [Fact(code=happened, names=known)]
    if error.said:
        facts.append(Fact(code=FactCode.SERVICE_SAID, names=[shown_name(error.said, SAID_CHARS)]))
    if action == "write":
        unchanged = error.effect == "none"
        facts.append(Fact(code=FactCode.NOTHING_CHANGED if unchanged else FactCode.EFFECT_UNKNOWN))
    return [*facts, next_step]
