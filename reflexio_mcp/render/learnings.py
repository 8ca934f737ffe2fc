"""A page of learnings as text."""

from reflexio_mcp.render.blocks import counted, fenced, lines, more, row
from reflexio_mcp.render.reading import gap_lines, moment
from reflexio_mcp.results.reading import LearningPage, LearningRow

__all__ = ["learning_page"]

_SOURCES = {
    "recorded": "",
    "reconstructed": "source reconstructed from the last request of its window",
    "not_known": "source not known",
}


def learning_page(page: LearningPage) -> str:
    if page.total:
        found = f"{counted(page.total, 'learning')} of {page.of}, {page.returned:,} here:"
    else:
        unsure = page.unreadable or page.unlinked or page.users_not_read
        found = f"Learnings of {page.of}: not known." if unsure else f"No learning of {page.of}."
    return lines(
        fenced([found, *map(_learning, page.learnings)]),
        f"Learning from this request: {page.learning.means}" if page.learning else "",
        page.notes,
        gap_lines(page.unreadable),
        more(page.cursor),
    )


def _learning(one: LearningRow) -> str:
    sources = [f"{each.request_id} (interaction {_numbers(each.interactions)})" for each in one.from_requests]
    others = f" and {one.more_requests:,} more requests" if one.more_requests else ""
    gone, unread = one.interactions_deleted, one.interactions_not_looked_up
    return lines(
        row(
            one.learning_id,
            one.state,
            moment(one.changed_at) if one.changed_at else "",
            f"user {one.user_id}" if one.user_id else "",
            counted(one.characters, "character") if one.characters is not None else "",
        ),
        _below(one.content),
        _below(f"when: {one.trigger}" if one.trigger else ""),
        _below(f"quotes: “{one.quotes}”" if one.quotes else ""),
        _below(
            row(
                _SOURCES[one.source],
                f"from {'; '.join(sources)}{others}" if sources else "",
                f"the words quoted are in {', '.join(one.said_in)}" if one.said_in else "",
                f"{counted(gone, 'interaction')} it came from no longer stored" if gone else "",
                f"{counted(unread, 'interaction')} not looked up" if unread else "",
                f"names request {one.last_request}" if one.last_request else "",
            )
        ),
    )


def _numbers(places: list[int]) -> str:
    return ", ".join(map(str, places))


def _below(text: str) -> str:
    return "  " + text.replace("\n", "\n      ") if text else ""
