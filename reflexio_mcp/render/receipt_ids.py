"""All ids of a receipt, page by page. The receipt itself names the first of them."""

import json
from itertools import groupby
from operator import itemgetter
from typing import TypedDict

from reflexio_mcp.render.result import BUDGET, Rendered, Unlisted, counted
from reflexio_mcp.render.stored_text import NOTICE, fence, shown_id, shown_name
from reflexio_mcp.state.job_records import KeptIds
from reflexio_mcp.traffic.deletion.execute import OUTCOMES, Receipt
from reflexio_mcp.traffic.deletion.learning_plan import LearningPlan
from reflexio_mcp.traffic.times import iso

__all__ = ["IdsFacts", "ids_of", "page_of_ids", "written"]


class IdsFacts(TypedDict, total=False):
    """A page of the ids of a receipt."""

    notice: Unlisted[str]
    deletion: Unlisted[int]
    began: Unlisted[str]
    what: Unlisted[str]
    ids: dict[str, list[str]]
    first: Unlisted[int]
    last: Unlisted[int]
    of: Unlisted[int]
    next: Unlisted[str]


def ids_of(done: Receipt) -> dict[str, list[str]]:
    """What became of each id of a deletion, of learnings that went with requests too: the ids under each outcome."""
    if isinstance(done.plan, LearningPlan):
        left = done.learned_left
        ids: dict[str, list[str]] = {
            "deleted": list(done.learned_gone.fed),
            "still_present": list(left.fed) if left else [],
            "changed": sorted(left.changed) if left else [],
            "not_found": list(done.plan.not_found),
        }
    else:
        ids = {outcome: done.ids(outcome) for outcome in OUTCOMES}
        ids["learnings_deleted"] = list(done.learned_gone.fed)
        if done.plan.include_learnings and done.learned_left:
            ids["learnings_still_there"] = list(done.learned_left.fed)
            ids["learnings_changed"] = sorted(done.learned_left.changed)
    return {outcome: those for outcome, those in ids.items() if those}


def written(done: Receipt) -> str:
    """All ids of a receipt as text, for its record; empty where it has none."""
    ids = ids_of(done)
    return json.dumps(ids) if ids else ""


def page_of_ids(number: int, kept: KeptIds, start: int) -> Rendered | None:
    """The ids of a receipt from one of them on, as many as an answer has room for.

    Args:
        number: the deletion's.
        kept: its record.
        start: the place of the first, from 1 on.

    Returns:
        The page; `None` where there are not so many.
    """
    named: dict[str, list[str]] = json.loads(kept.ids)
    every = [(outcome, one) for outcome, those in named.items() for one in those]
    what = shown_name(" ".join(kept.what.split()))
    if start > len(every):
        return None
    # For what stands around the ids, and the outcomes.
    room = BUDGET - len(what) - 500
    page: list[tuple[str, str]] = []
    for outcome, one in every[start - 1 :]:
        shown = shown_id(one)
        # As JSON has it: quotes, a comma and its own escapes.
        room -= len(json.dumps(shown, ensure_ascii=False)) + 2
        if page and room < 0:
            break
        page.append((outcome, shown))
    last = start + len(page) - 1
    facts: IdsFacts = {
        "notice": NOTICE,
        "deletion": number,
        "began": iso(kept.began),
        "what": what,
        "ids": {outcome: [one for _, one in those] for outcome, those in groupby(page, itemgetter(0))},
        "of": len(every),
    }
    head = f"Deletion {number}, {facts['began']}: {counted(len(every), 'id')}"
    if len(page) < len(every):
        facts |= {"first": start, "last": last}
        head += f"; here are {start:,} to {last:,}"
    lines = [
        what,
        *(f"{outcome.replace('_', ' ')}: {', '.join(those)}" for outcome, those in facts["ids"].items()),
    ]
    text = [f"{head}.", fence("\n".join(lines))]
    if last < len(every):
        facts["next"] = f"get_status receipt={number}:{last + 1}"
        text.append(f"Go on with {facts['next']}")
    return Rendered("\n".join(text), facts)
