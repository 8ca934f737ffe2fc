"""The question a person is asked before something is deleted."""

from collections.abc import Sequence
from typing import Final

from reflexio_mcp.render import turn_deletion, user_deletion
from reflexio_mcp.render.deletion import finality
from reflexio_mcp.render.learned import what_goes, what_stays
from reflexio_mcp.render.learning_deletion import feeding
from reflexio_mcp.render.result import counted
from reflexio_mcp.render.stored_text import visible
from reflexio_mcp.traffic.deletion.learning_plan import LearningPlan
from reflexio_mcp.traffic.deletion.plan import Plan
from reflexio_mcp.traffic.deletion.turn_plan import TurnPlan
from reflexio_mcp.traffic.deletion.user_plan import UserPlan
from reflexio_mcp.traffic.times import iso

__all__ = ["question_text"]

NAMED: Final = 5
QUESTION_NAME_CHARS: Final = 60
WORDS_SHOWN: Final = 3
WORDS_CHARS: Final = 80


def _short(text: str, chars: int) -> str:
    # One line, nothing hidden, and no closing quote of its own that would let it go on as our words.
    flat = visible(" ".join(text[: chars * 4].split())).replace("”", "'").replace("“", "'")
    return flat if len(flat) <= chars else flat[: chars - 1] + "…"


def _quoted(name: str) -> str:
    return f"“{_short(name, QUESTION_NAME_CHARS)}”"


def _names(counts: list[tuple[str, int]]) -> str:
    named = [f"{_quoted(name)} ({count:,})" for name, count in counts[:NAMED]]
    if len(counts) > NAMED:
        named.append(f"{len(counts) - NAMED:,} more")
    return ", ".join(named)


def _span(plan: Plan) -> str:
    if plan.first is None or plan.last is None:
        return "a time that is not known"
    return iso(plan.first) if plan.first == plan.last else f"{iso(plan.first)} to {iso(plan.last)}"


def question_text(plan: Plan, *, number: int | None, masked: bool = False) -> str:
    """Write the question from the plan alone, so that the same set always asks the same.

    Some clients show only its first three lines: they say how much, whether it is final, and whose.

    Args:
        plan: what would go.
        number: what has to be typed, or `None` for a yes.
        masked: leave stored words out.
    """
    if isinstance(plan, LearningPlan):
        return _learnings_question(plan, number)
    if isinstance(plan, TurnPlan):
        return _turns_question(plan, number, masked)
    if isinstance(plan, UserPlan):
        return _user_question(plan, number)
    users = plan.count_by("user_id")
    size = f"{counted(len(plan.goes), 'request')} ({counted(plan.interactions, 'interaction')})"
    all_of_it = "EVERYTHING that is stored here: " if plan.everything else ""
    lines = _opening(plan, f"{all_of_it}{size} {_whose(users)}", number)
    lines.append(f"From {_span(plan)}. Sessions: {_names(plan.count_by('session_id'))}")
    if len(users) > 1:
        lines.append(f"Users: {_names(users)}")
    if plan.kept:
        lines.append(f"Only in recovery copies: {len(plan.kept):,}; they go from there.")
    if plan.unreadable:
        lines.append(
            f"Reflexio fails to return {len(plan.unreadable):,} of them: what these hold is not known."
        )
    lines += _begin([] if masked else [item.first_words for item in plan.goes], plan.size)
    if any(item.copy_of for item in plan.goes):
        lines.append("What they repeat stays.")
    lines.append(_learned(plan))
    if plan.learned is None or plan.learned.learns:
        lines.append("Session outcomes and evaluations stay.")
    lines.append(f"Set {plan.fingerprint}")
    return "\n".join(line for line in lines if line)


def _opening(plan: Plan, what: str, number: int | None) -> list[str]:
    lines = [f"Delete {what}? {finality(plan)}"]
    return lines if number is None else [*lines, f"To delete, type the number of {plan.noun}s: {number}"]


def _whose(users: list[tuple[str, int]]) -> str:
    return f"of user {_quoted(users[0][0])}" if len(users) == 1 else f"of {len(users):,} USERS"


def _begin(first_words: Sequence[str], size: int) -> list[str]:
    """The line with how the first of so many begin, or none."""
    shown = [f"“{_short(words, WORDS_CHARS)}”" for words in first_words if words][:WORDS_SHOWN]
    of_them = f", {len(shown)} of {size:,}" if len(shown) < size else ""
    return [f"They begin (stored text{of_them}): {', '.join(shown)}"] if shown else []


def _learned(plan: Plan) -> str:
    told = what_goes if plan.include_learnings else what_stays
    return told(plan.learned, short=True)


def _user_question(plan: UserPlan, number: int | None) -> str:
    learned = plan.learned.count if plan.learned else 0
    parts = (
        counted(len(plan.goes), "request"),
        counted(learned + len(plan.kept_learnings), "learning"),
        counted(len(plan.outcomes), "session outcome"),
    )
    lines = _opening(plan, f"EVERYTHING of user {_quoted(plan.user_id)} ({', '.join(parts)})", number)
    if plan.goes:
        lines.append(f"From {_span(plan)}. Sessions: {_names(plan.count_by('session_id'))}")
    lines += [user_deletion.what_goes(plan), f"Set {plan.fingerprint}"]
    return "\n".join(lines)


def _turns_question(plan: TurnPlan, number: int | None, masked: bool) -> str:
    request = plan.requests[0]
    whose = f"of a request of user {_quoted(request.user_id)}"
    lines = _opening(plan, f"{counted(plan.size, 'interaction')} {whose}", number)
    lines.append(
        f"Request {_quoted(request.request_id)} of {iso(request.created_at)}, session {_quoted(request.session_id)}. "
        f"{turn_deletion.what_the_request_keeps(plan)}"
    )
    lines += _begin([] if masked else [turn.first_words for turn in plan.turns], plan.size)
    lines += [_learned(plan), f"Set {plan.fingerprint}"]
    return "\n".join(line for line in lines if line)


def _learnings_question(plan: LearningPlan, number: int | None) -> str:
    users = plan.count_by("user_id")
    lines = _opening(plan, f"{counted(plan.size, 'learning')} {_whose(users)}", number)
    if len(users) > 1:
        lines.append(f"Users: {_names(users)}")
    if plan.kept_learnings:
        lines.append(f"Only in recovery copies: {len(plan.kept_learnings):,}; they go from there.")
    if plan.living:
        lines.append(feeding(plan, plan.chosen, plan.living, plan.saying, plan.silent))
    lines.append(f"Set {plan.fingerprint}")
    return "\n".join(lines)
