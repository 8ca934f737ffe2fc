"""One request with what it taught and which learnings its answers used."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final, NamedTuple

import anyio.to_thread

from reflexio_mcp.rest.errors import ReflexioError
from reflexio_mcp.rest.models import (
    AgentPlaybook,
    ApplicationStat,
    RequestWithInteractions,
    RetrievedLearningVerdict,
    embedded_learning_status,
)
from reflexio_mcp.results.answer_size import Room
from reflexio_mcp.results.base import Row, at, clip, shown_name
from reflexio_mcp.results.facts import Fact, FactCode
from reflexio_mcp.results.reading import LearnedHere, OneRequest, OtherLearning, UsedLearning, VerdictRow
from reflexio_mcp.traffic.learnings.evidence import evidence_of
from reflexio_mcp.traffic.learnings.find import LinkedLearning, learnings_of_user, linked_by_quotes, turns_of
from reflexio_mcp.traffic.learnings.records import Learning, Sources, how_recorded
from reflexio_mcp.traffic.learnings.showing import Background, LearningRows, backgrounds
from reflexio_mcp.traffic.reading.lookup import CONTENT_CHARS, learning_status, require_stored, show_request
from reflexio_mcp.traffic.reading.outcomes import outcomes_of
from reflexio_mcp.traffic.scope import Scope
from reflexio_mcp.traffic.tasks import both

__all__ = ["read_request"]

LEFT_FOR_WORDS: Final = 5_000
"""Characters of an answer that are left for the interactions of the request."""

STATS_DAYS: Final = 30
"""The days whose uses of learnings are counted."""

RULES_READ: Final = 3
"""Shared rules whose text is read: each costs a call, which a hosted service bills."""

VERDICT_OR_RULE_CHARS: Final = 300
"""Limit of a reason in a verdict, and of the text of a shared rule."""


class Retrieved(NamedTuple):
    """A learning that was retrieved for an interaction. The host that published it gave its kind and id."""

    interaction_id: int
    kind: str
    number: str

    @property
    def learning_id(self) -> str:
        return f"{self.kind}:{self.number}"


@dataclass
class Beliefs:
    """What is told beside a request."""

    learned: list[LearnedHere] = field(default_factory=list[LearnedHere])
    used: list[UsedLearning] = field(default_factory=list[UsedLearning])
    facts: list[Fact] = field(default_factory=list[Fact])

    def count(self, code: FactCode, number: int) -> None:
        if number:
            self.facts.append(Fact(code=code, number=number))


async def read_request(
    scope: Scope,
    request_id: str,
    cursor: str = "",
    *,
    detail: str = "full",
    covered: bool = False,
    room: Room | None = None,
    content_chars: int = CONTENT_CHARS,
    learned: bool = True,
) -> OneRequest:
    """Return a request as it is shown, the first part with its learnings and the outcome of its session.

    Args:
        cursor: from the previous part.
        detail: `masked` shows roles and lengths instead of content.
        covered: replace secrets.
        learned: also find what was learned from it.

    Raises:
        InvalidInput: the id is blank, or the cursor belongs to another request.
        NotStored: nothing with that id is visible to this caller.
        Unreadable: the service fails to return it.
    """
    stored = await require_stored(scope, request_id)
    request, room = stored.request, room or Room()
    show = partial(
        show_request,
        scope,
        stored,
        cursor=cursor,
        detail=detail,
        covered=covered,
        room=room,
        content_chars=content_chars,
    )
    if not scope.learns:
        return await show(embedded_learning_status(evaluation_only=request.evaluation_only))
    if cursor:
        return await show(await learning_status(scope, request.request_id))
    (outcomes, outcome_facts), (told, learning) = await both(
        lambda: outcomes_of(scope, [request.session_id], request.user_id),
        lambda: both(
            lambda: _beliefs(scope, stored, masked=detail == "masked", learned=learned),
            lambda: learning_status(scope, request.request_id),
        ),
    )
    ended = outcomes.get(request.session_id, [])
    fitted = Beliefs(_fitted(room, told.learned), _fitted(room, told.used), [*outcome_facts, *told.facts])
    fitted.count(FactCode.LEARNED_HERE_MORE, len(told.learned) - len(fitted.learned))
    fitted.count(FactCode.USED_MORE, len(told.used) - len(fitted.used))
    found = await show(learning)
    return found.model_copy(
        update={
            "outcomes": ended,
            "learned": fitted.learned,
            "used": fitted.used,
            "facts": [*found.facts, *fitted.facts],
        }
    )


def _fitted(room: Room, rows: Sequence[Any]) -> list[Any]:
    """Return the first rows that leave room for the request's own words."""
    fitted: list[Row] = []
    for row in rows:
        if not room.reserve(row, leaving=LEFT_FOR_WORDS):
            break
        fitted.append(row)
    return fitted


async def _beliefs(scope: Scope, item: RequestWithInteractions, *, masked: bool, learned: bool) -> Beliefs:
    user_id = item.request.user_id
    here = frozenset(interaction.interaction_id for interaction in item.interactions)
    retrieved = list(dict.fromkeys(_retrieved(item)))
    if not (retrieved or learned):
        return Beliefs()
    try:
        everything = await learnings_of_user(scope, user_id)
        linked = await _linked(scope, item, everything) if learned else []
        ids = {retrieval.learning_id for retrieval in retrieved}
        used = {learning.learning_id: learning for learning in everything if learning.learning_id in ids}
        background_of = await backgrounds(scope, [*linked, *used.values()], everything)
    except ReflexioError:
        return Beliefs(facts=[Fact(code=FactCode.BELIEFS_NOT_READ)])
    if not (linked or retrieved):
        return Beliefs()
    rows = LearningRows(scope, background_of, names_user=True, masked=masked)
    told = Beliefs()
    if linked:
        await anyio.to_thread.run_sync(_learned_here, told, rows, background_of[user_id], linked, here)
    if retrieved:
        await _used(scope, told, rows, item, retrieved, used)
    return told


async def _linked(
    scope: Scope, item: RequestWithInteractions, everything: Sequence[Learning]
) -> list[Learning]:
    """Return the learnings that list interactions of a request, or quote it under ids that it does not have now."""
    turns = turns_of([item])
    # The request's id is left out: by it, a learning that lists nothing would be linked if this is its last request.
    sources = Sources(request_ids=frozenset(), interaction_ids=frozenset(turns))
    quoting = await linked_by_quotes(scope, item.request.user_id, everything, sources, known=turns)
    return [
        learning for learning in everything if sources.link_of(learning) or learning.learning_id in quoting
    ]


def _learned_here(
    told: Beliefs,
    rows: LearningRows,
    background: Background,
    linked: Sequence[Learning],
    here: frozenset[int],
) -> None:
    """Tell which learnings quote the request, without replaced ones that a current learning has taken in."""
    without_successor = [
        learning for learning in linked if not background.lineage.current_successors(learning)
    ]
    without_successor.sort(key=lambda learning: learning.state != "current")
    not_quoting = Counter[FactCode]()
    for learning in without_successor:
        evidence = evidence_of(learning, background.turns)
        if evidence.quoted_ids.isdisjoint(here):
            # The learning lists the request and does not quote it. Complete evidence shows that it comes from others.
            code = FactCode.LEARNED_BESIDE if evidence.is_complete else FactCode.LEARNED_HERE_PERHAPS
            not_quoting[code] += 1
            continue
        other = rows.other(learning)
        told.learned += [
            LearnedHere(
                learning_id=other.learning_id,
                state=other.state,
                content=other.content,
                quote=said.quote,
                near=said.near,
                interaction_id=said.interaction_id,
            )
            for said in rows.evidence(evidence)
            if said.interaction_id in here
        ]
    for code, number in not_quoting.items():
        told.count(code, number)


def _retrieved(item: RequestWithInteractions) -> Iterator[Retrieved]:
    for interaction in item.interactions:
        for each in interaction.retrieved_learnings:
            kind, number = str(each.get("kind", "")), str(each.get("learning_id", ""))
            if kind and number:
                yield Retrieved(interaction.interaction_id, kind, number)


async def _used(
    scope: Scope,
    told: Beliefs,
    rows: LearningRows,
    item: RequestWithInteractions,
    retrieved: Sequence[Retrieved],
    used: dict[str, Learning],
) -> None:
    judged, applied = await _judgments(scope, told, item)
    rules = await _rules(scope, retrieved)

    def row(retrieval: Retrieved) -> UsedLearning:
        learning = used.get(retrieval.learning_id)
        rule = rules.get(retrieval.number) if retrieval.kind == "agent_playbook" else None
        # Counts are of the whole organization, so a caller for one user gets only those of that user's learnings.
        may_see_uses = learning is not None or not scope.user_id
        # An id that names nothing can be any text that a client stored, so it is hidden like content.
        hidden = rows.masked and learning is None and rule is None
        return UsedLearning(
            interaction_id=retrieval.interaction_id,
            kind=shown_name(retrieval.kind),
            learning_id="" if hidden else scope.shown_id(retrieval.learning_id),
            learning=rows.row(LinkedLearning(learning, how_recorded(learning))) if learning else None,
            shared_rule=_shared_rule(rows, rule) if rule else None,
            verdict=_verdict(rows, judged[retrieval]) if retrieval in judged else None,
            applied=applied.get(retrieval.learning_id) if may_see_uses else None,
        )

    told.used = await anyio.to_thread.run_sync(lambda: [row(retrieval) for retrieval in retrieved])


async def _judgments(
    scope: Scope, told: Beliefs, item: RequestWithInteractions
) -> tuple[dict[Retrieved, RetrievedLearningVerdict], dict[str, int]]:
    """Return the newest verdict for each retrieved learning, and how often each learning was applied."""
    request = item.request
    try:
        verdicts, _ = await scope.client.get_verdicts(request.user_id, session_id=request.session_id)
        stats: list[ApplicationStat] = await scope.client.get_application_stats(days=STATS_DAYS)
    except ReflexioError:
        told.facts.append(Fact(code=FactCode.VERDICTS_NOT_READ))
        return {}, {}
    judged = {
        Retrieved(verdict.interaction_id, verdict.kind, verdict.learning_id): verdict
        for verdict in sorted(verdicts, key=lambda verdict: verdict.created_at)
        if verdict.interaction_id is not None and verdict.user_id == request.user_id
    }
    return judged, {f"{stat.kind}:{stat.real_id}": stat.applied_count for stat in stats}


async def _rules(scope: Scope, retrieved: Sequence[Retrieved]) -> dict[str, AgentPlaybook]:
    wanted = list(
        dict.fromkeys(retrieval.number for retrieval in retrieved if retrieval.kind == "agent_playbook")
    )
    found: dict[str, AgentPlaybook] = {}
    for number in wanted[:RULES_READ]:
        if number.isascii() and number.isdigit():
            try:
                rules = await scope.client.get_agent_playbooks(agent_playbook_id=int(number))
            except ReflexioError:
                break
            found.update((number, rule) for rule in rules if str(rule.agent_playbook_id) == number)
    return found


def _shared_rule(rows: LearningRows, rule: AgentPlaybook) -> OtherLearning:
    return OtherLearning(
        learning_id=f"agent_playbook:{rule.agent_playbook_id}",
        state=shown_name(rule.status or rule.playbook_status),
        content=rows.text(rule.content, VERDICT_OR_RULE_CHARS),
        changed_at=at(rule.created_at) if rule.created_at else None,
    )


def _verdict(rows: LearningRows, verdict: RetrievedLearningVerdict) -> VerdictRow:
    return VerdictRow(
        is_relevant=verdict.is_relevant,
        relevance_reason=rows.text(verdict.relevance_reason, VERDICT_OR_RULE_CHARS),
        impact=clip(shown_name(verdict.impact or ""), 60),
        impact_reason=rows.text(verdict.impact_reason, VERDICT_OR_RULE_CHARS),
    )
