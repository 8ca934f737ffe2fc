"""The learnings of a plan: each with its text and what the deletion means for it."""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from typing import Final

import anyio.to_thread

from reflexio_mcp.results.base import clip, visible
from reflexio_mcp.results.deletion import Earlier, LearningCase, TaughtLearning, few
from reflexio_mcp.results.facts import Fact, FactCode
from reflexio_mcp.traffic.deletion.targets import redacted
from reflexio_mcp.traffic.learnings.cases import Case, Only, Partly, Replace, Unknown, Window
from reflexio_mcp.traffic.learnings.find import Learned, LinkedLearning, words_in_others
from reflexio_mcp.traffic.learnings.records import Learning
from reflexio_mcp.traffic.scope import Scope

__all__ = ["case_of"]

SHOWN: Final = 20
"""Maximum number of learnings that a plan shows."""

TEXT_CHARS: Final = 300

MOST_FORGOTTEN: Final = 3
"""Maximum number of forgotten learnings whose words are looked for in other requests."""

WITH_WORDS: Final = frozenset((FactCode.WORDS_ELSEWHERE, FactCode.WORDS_NOWHERE_ELSE))
"""Facts that contain words of learnings. No receipt has them, because a later erasure could not remove them there."""

CASE_NAMES: Final[Mapping[type[Case], LearningCase]] = {
    Only: "only",
    Replace: "replace",
    Partly: "partly",
    Window: "window",
    Unknown: "unknown",
}


def case_of(linked: LinkedLearning) -> LearningCase | None:
    return CASE_NAMES[type(linked.case)] if linked.case else None


def in_plan_order(learned: Learned, going: Collection[str]) -> list[LinkedLearning]:
    """Return the learnings that a reader is told of, in the order of a plan.

    Replaced ones that stay are left out: they are not in use, and a plan names those that come back.

    Args:
        going: the ids of those that are deleted.
    """
    # The order of cases; those that go come before all others. `None`: selected as learnings, not by requests.
    order: list[LearningCase | None] = ["replace", "only", None, "partly", "unknown", "window"]
    shown = [
        linked
        for linked in learned.linked.values()
        if linked.learning.learning_id in going or linked.learning.state == "current"
    ]
    return sorted(
        shown,
        key=lambda linked: (
            linked.learning.learning_id not in going,
            order.index(case_of(linked)),
            linked.learning.is_replaced,
            -linked.learning.changed_at,
        ),
    )


async def learning_rows(
    scope: Scope, learned: Learned, going: Collection[str], *, with_texts: bool
) -> list[TaughtLearning]:
    """Return the first learnings of a plan.

    Args:
        with_texts: show their texts, with secrets redacted, unless the scope masks them.
    """
    back = learned.current_again_after(going)

    def shown(learning: Learning) -> str:
        if scope.masked or not with_texts:
            return ""
        return visible(clip(redacted(learning.content), TEXT_CHARS))

    def row(linked: LinkedLearning) -> TaughtLearning:
        learning = linked.learning
        goes = learning.learning_id in going
        inside = learned.inside.get(learning.user_id, {})
        quoted = linked.case.evidence.quoted_turns if linked.case else ()
        requests = dict.fromkeys(turn.request_id for turn in quoted if turn.interaction_id not in inside)
        return TaughtLearning(
            learning_id=scope.shown_id(learning.learning_id),
            user_id=scope.shown_id(learning.user_id),
            case=case_of(linked),
            goes=goes,
            content=shown(learning),
            quoted_in=few(list(requests), scope.shown_id),
            earlier=[
                Earlier(learning_id=scope.shown_id(before.learning_id), content=shown(before))
                for before in linked.earlier
                if goes and before.learning_id in back
            ],
        )

    def rows() -> list[TaughtLearning]:
        return [row(linked) for linked in in_plan_order(learned, going)[:SHOWN]]

    return await anyio.to_thread.run_sync(rows)


def earlier_rows(scope: Scope, learnings: Sequence[Learning]) -> list[Earlier]:
    """Return replaced learnings that become current again. What replaced them was deleted earlier."""
    return [
        Earlier(
            learning_id=scope.shown_id(learning.learning_id),
            content="" if scope.masked else visible(clip(redacted(learning.content), TEXT_CHARS)),
        )
        for learning in learnings
    ]


def facts_about_cases(scope: Scope, learned: Learned, going: Collection[str], *, erases: bool) -> list[Fact]:
    """Return how many learnings stay and why, what becomes current again, and what can teach a deleted one again."""
    everything = in_plan_order(learned, going)
    leaving = [linked for linked in everything if linked.learning.learning_id in going]
    staying = [linked for linked in everything if linked.learning.learning_id not in going]
    by_case = Counter(case_of(linked) for linked in staying)
    codes: tuple[tuple[FactCode, int], ...] = (
        (FactCode.LEARNINGS_BACK, len(learned.current_again_after(going))),
        (FactCode.SOURCE_GONE_EARLIER, sum(map(_source_gone, leaving))),
        (FactCode.LEARNINGS_PARTLY, by_case["partly"]),
        (FactCode.LEARNINGS_WINDOW, by_case["window"]),
        (FactCode.LEARNINGS_UNKNOWN, by_case["unknown"]),
        (FactCode.LEARNINGS_UNDECIDED, by_case["partly"] + by_case["unknown"] if erases else 0),
        (FactCode.LEARNINGS_NOT_SHOWN, len(everything) - min(SHOWN, len(everything))),
    )
    facts = [Fact(code=code, number=number) for code, number in codes if number]
    if teaching := _teaching(learned, everything, going):
        facts.append(
            Fact(code=FactCode.SOURCES_STAY, number=len(teaching), names=few(teaching, scope.shown_id))
        )
    return facts


def _source_gone(linked: LinkedLearning) -> bool:
    """Whether a learning goes although something that it quotes is not stored: that was gone before this deletion."""
    return isinstance(linked.case, Only) and bool(
        linked.case.evidence.unresolved and linked.case.evidence.gone
    )


def _teaching(learned: Learned, everything: Sequence[LinkedLearning], going: Collection[str]) -> list[str]:
    """Return the requests that stay although a learning that is deleted for good quotes them."""
    quoted = (
        turn
        for linked in everything
        if linked.case and linked.learning.learning_id in going and not isinstance(linked.case, Replace)
        for turn in linked.case.evidence.quoted_turns
        if turn.interaction_id not in learned.inside.get(linked.learning.user_id, {})
    )
    return list(dict.fromkeys(turn.request_id for turn in quoted))


async def facts_about_words(
    scope: Scope, learned: Learned, going: Collection[str], inside: Collection[int]
) -> list[Fact]:
    """Return whether other requests of a user have words of the learnings in use that are deleted, the forgotten ones.

    The requests that these quote are named elsewhere. Nothing is returned if there are more than `MOST_FORGOTTEN`, if
    they are of several users, if there are no other requests, or if not all of those can be read.

    Args:
        inside: the ids of the interactions that are deleted.
    """
    forgotten = [
        learning
        for learning in learned.learnings
        if learning.learning_id in going and learning.state == "current"
    ]
    users = {learning.user_id for learning in forgotten}
    if len(forgotten) > MOST_FORGOTTEN or len(users) != 1:
        return []
    teaching = _teaching(learned, list(learned.linked.values()), going)
    found = await words_in_others(
        scope, users.pop(), {"forgotten": forgotten}, inside=inside, teaching=teaching
    )
    elsewhere = found.get("forgotten")
    if elsewhere is None or not elsewhere.requests:
        return []
    if elsewhere.with_words:
        rarest_first = [word for word, _ in reversed(elsewhere.requests_with.most_common())]
        return [
            Fact(code=FactCode.WORDS_ELSEWHERE, number=elsewhere.with_words, names=few(rarest_first, visible))
        ]
    looked_for = few(elsewhere.looked_for, visible)
    return [Fact(code=FactCode.WORDS_NOWHERE_ELSE, number=elsewhere.requests, names=looked_for)]
