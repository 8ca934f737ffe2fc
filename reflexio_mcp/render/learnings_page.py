"""A page of learnings, each with the requests and turns that it came from."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Final, Required

from reflexio_mcp.render.gaps import gap_facts, gap_lines
from reflexio_mcp.render.result import BUDGET, Facts, GapFacts, Rendered, Unlisted, counted, dense, joined
from reflexio_mcp.render.stored_text import NOTICE, clip, fence, hanging, label, shown_id, shown_name
from reflexio_mcp.traffic.learnings.find import FedLearning, Learned
from reflexio_mcp.traffic.learnings.select import Selected
from reflexio_mcp.traffic.learnings.turns import FoundTurns
from reflexio_mcp.traffic.times import iso

__all__ = ["LearningsFacts", "learnings_page"]

NOT_LISTED: Final = "Agent playbooks and profiles past their time to live are not listed here."

REPLACED: Final = (
    "What is merged or superseded is kept for a while as it was: another learning took its place, or the person said "
    "otherwise."
)

REPLACED_STATES: Final = ("merged", "superseded")
"""States of a learning that is kept as it was before a merge, or before the person said otherwise."""

CONTENT_CHARS: Final = 1_000
QUOTE_CHARS: Final = 300
REQUESTS_NAMED: Final = 5


class LearningsFacts(GapFacts, total=False):
    """A page of `list_learnings`."""

    notice: Unlisted[str]
    returned: Required[int]
    learnings: Required[list[Facts]]
    total: int
    cursor: str
    not_found: Unlisted[list[str]]
    users_not_read: Unlisted[int | None]
    unlinked: Unlisted[int | None]
    learning_status: Unlisted[str]
    learning_reason: Unlisted[str]
    replaced: Unlisted[str]
    notes: Unlisted[list[str]]


def learnings_page(
    selected: Selected,
    page: Sequence[FedLearning],
    turns: Mapping[str, FoundTurns],
    *,
    what: str,
    total: int,
    cursor_of: Mapping[str, str],
    masked: bool,
) -> Rendered:
    """A page of learnings.

    Args:
        page: those that may be shown, in order; as many are as there is room for.
        turns: where the turns they list are stored, by user.
        what: the selection in words.
        total: how many there are in all.
        cursor_of: what a call passes to go on behind a learning, by `learning_id`; none for the very last one.
        masked: leave content and quotations out.
    """
    shown: list[Facts] = []
    lines: list[str] = []
    room = BUDGET - 800
    last = ""
    for item in page:
        one = _one(item, turns.get(item.learning.user_id, FoundTurns(whole=False)), masked)
        text = "\n".join(_lines(one))
        if shown and len(text) > room:
            break
        room -= len(text) + 1
        shown.append(one)
        lines.append(text)
        last = item.learning.learning_id
    following = cursor_of.get(last, "")
    learned = selected.learned
    not_found = [shown_id(one) for one in selected.not_found[:REQUESTS_NAMED]]
    facts: LearningsFacts = dense(
        {
            "notice": NOTICE if shown or not_found else "",
            "returned": len(shown),
            "total": total,
            "learnings": shown,
            "cursor": following,
            "not_found": not_found,
            "users_not_read": learned.users_left_out or None,
            "unlinked": learned.unlinked or None,
            **gap_facts(selected.gaps),
        }
    )
    facts["learnings"] = shown  # an empty list is an answer too
    asked = shown_name(" ".join(what.split()), 300)
    lead = f"{counted(total, 'learning')} of {asked}, {len(shown):,} here:"
    if not total:
        known = learned.status == "none" and not selected.gaps
        lead = (
            f"No learning of {asked}." if known else f"Whether there is a learning of {asked} is not known."
        )
    notes = [] if total else [lead]
    text = [fence("\n".join([lead, *lines]))]
    if selected.not_found:
        text.append(fence(f"not found: {', '.join(not_found)}"))
    status = selected.status
    if status is not None and status.status != "done":
        facts["learning_status"] = label(status.status)
        reason = f" ({label(status.reason)})" if status.reason else ""
        if status.reason:
            facts["learning_reason"] = label(status.reason)
        text.append(
            f"Learning from this request: {facts['learning_status']}{reason}. More may be learned from it."
        )
    if left := unread(learned):
        notes.append(left)
        text.append(left)
    text += gap_lines(selected.gaps)
    if any(one["state"] in REPLACED_STATES for one in shown):
        facts["replaced"] = REPLACED
        text.append(REPLACED)
    facts["notes"] = [*notes, NOT_LISTED]
    text.append(NOT_LISTED)
    if following:
        text.append(f"More follow: call again with the same arguments and cursor={following}")
    return Rendered("\n".join(text), facts)


def _one(item: FedLearning, found: FoundTurns, masked: bool) -> Facts:
    from reflexio_mcp.traffic.rules.secrets import redact  # its patterns take a while to compile

    learning = item.learning
    places: defaultdict[str, list[int]] = defaultdict(list)
    for one in sorted(learning.interaction_ids):
        if turn := found.turns.get(one):
            places[turn.request_id].append(turn.place)
    saying = sorted(found.saying(learning, learning.interaction_ids))
    missing = len(learning.interaction_ids) - sum(map(len, places.values()))
    content = "" if masked else clip(redact(learning.content), CONTENT_CHARS)
    return dense(
        {
            "learning_id": shown_id(learning.learning_id),
            "state": shown_name(learning.state),
            "changed_at": iso(learning.changed_at) if learning.changed_at else "",
            "user_id": shown_id(learning.user_id),
            "content": content,
            "content_chars": len(learning.content) if masked else None,
            "trigger": "" if masked else clip(redact(learning.trigger), QUOTE_CHARS),
            "quotes": "" if masked else clip(redact(learning.quote), QUOTE_CHARS),
            "source": item.how,
            "from_requests": [
                f"{shown_id(name)} (turn {', '.join(map(str, sorted(numbers)))})"
                for name, numbers in list(places.items())[:REQUESTS_NAMED]
            ],
            "said_in": [shown_id(name) for name in saying[:REQUESTS_NAMED]],
            "said_in_count": len(saying) if len(saying) > REQUESTS_NAMED else None,
            "requests": len(places) if len(places) > REQUESTS_NAMED else None,
            "turns_deleted": missing if missing and found.whole else None,
            "turns_not_looked_up": missing if missing and not found.whole else None,
            "last_request": "" if learning.interaction_ids else shown_id(learning.last_request_id),
        }
    )


_SOURCES: Final = {
    "recorded": "source recorded",
    "reconstructed": "source reconstructed from the last request of its window",
    "not_known": "source not_known",
}


def _lines(facts: Facts) -> list[str]:
    head = joined(
        (
            facts["learning_id"],
            facts["state"],
            facts.get("changed_at", ""),
            f"user {facts['user_id']}" if "user_id" in facts else "",
            f"{facts['content_chars']:,} characters" if "content_chars" in facts else "",
        )
    )
    lines = [head]
    if "content" in facts:
        lines.append(f"  {hanging(facts['content'])}")
    if "trigger" in facts:
        lines.append(f"  when: {hanging(facts['trigger'])}")
    if "quotes" in facts:
        lines.append(f"  quotes: “{hanging(facts['quotes'])}”")
    sources = list[str]()
    if "from_requests" in facts:
        more = f" … ({facts['requests']:,} requests)" if "requests" in facts else ""
        sources.append(f"from {'; '.join(facts['from_requests'])}{more}")
    if "said_in" in facts:
        more = f" … ({facts['said_in_count']:,})" if "said_in_count" in facts else ""
        sources.append(f"the words quoted stand in {', '.join(facts['said_in'])}{more}")
    if "turns_deleted" in facts:
        sources.append(f"{counted(facts['turns_deleted'], 'turn')} of it no longer stored")
    if "turns_not_looked_up" in facts:
        sources.append(f"{counted(facts['turns_not_looked_up'], 'turn')} not looked up")
    if "last_request" in facts:
        sources.append(f"names request {facts['last_request']}")
    lines.append("  " + joined((_SOURCES[facts["source"]], *sources)))
    return lines


def unread(learned: Learned) -> str:
    """What makes it not known whether there is more; empty if nothing does."""
    told: list[str] = []
    if learned.users_left_out:
        told.append(f"The learnings of {counted(learned.users_left_out, 'more user')} were not read.")
    if learned.unlinked:
        does = "does not say what it was" if learned.unlinked == 1 else "do not say what they were"
        told.append(f"{counted(learned.unlinked, 'more learning')} there {does} learned from.")
    return " ".join(told)
