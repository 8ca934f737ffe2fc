"""Rules about learning: what the service says of requests, and what was learned. Declared here, asked in `asking`."""

from reflexio_mcp.traffic.audit.rules.base import Rule

__all__ = ["LearningFailed", "LearningWaiting", "OrphanedLearning", "StaleLearning"]


class LearningWaiting(Rule):
    """Requests that wait for more of their user's conversation before they are learned from."""

    name = "learning-waiting"
    severity = "low"
    why = "Nothing is learned from them until the window is full, the session is finished or six hours have passed."
    advice = "Call finish_session when a conversation is over."
    selects = False


class LearningFailed(Rule):
    """Requests whose learning failed."""

    name = "learning-failed"
    severity = "medium"
    why = "Nothing was learned from them, and nothing will be unless they are sent again."
    advice = (
        "See the reason with get_request; publish again with force_extraction=true once its cause is gone."
    )
    selects = False


class OrphanedLearning(Rule):
    """Current learnings none of whose source interactions is stored any more."""

    name = "orphaned-learning"
    severity = "medium"
    why = "What was deleted is still recalled, in the words that were learned from it."
    advice = "Delete with include_learnings=true."
    offers = "delete"
    selects = False


class StaleLearning(Rule):
    """Current learnings that nothing has changed for a year."""

    name = "stale-learning"
    severity = "low"
    why = "People change, and what was true of them long ago is still told to assistants as a fact."
    advice = "Delete what no longer holds; what still does is learned again."
    offers = "delete"
    selects = False
