"""Makes rows of learnings: the words that taught each, what it replaced, and what replaced it.

Looking for secrets takes time, so the rows are made in a worker thread.
"""

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from reflexio_mcp.results.base import at, clip, shown_name
from reflexio_mcp.results.reading import EvidenceRow, FromRequest, Held, LearningRow, OtherLearning, as_name
from reflexio_mcp.traffic.learnings.evidence import Evidence, Passage, Turn, Turns, evidence_of
from reflexio_mcp.traffic.learnings.find import LinkedLearning, find_sources
from reflexio_mcp.traffic.learnings.lineage import Lineage
from reflexio_mcp.traffic.learnings.records import Learning
from reflexio_mcp.traffic.scope import Scope
from reflexio_mcp.traffic.showing import held_row

__all__ = ["LearningRows", "backgrounds", "known_since", "replacement"]

CONTENT_CHARS: Final = 1_000
QUOTE_CHARS: Final = 300

EVIDENCE_SHOWN: Final = 6
REQUESTS_NAMED: Final = 5
NOT_FOUND_SHOWN: Final = 3
REPLACED_SHOWN: Final = 3


@dataclass(frozen=True)
class Background:
    """What is needed to show learnings of one user: all learnings of the user, and the interactions of those shown."""

    lineage: Lineage
    turns: Turns


async def backgrounds(
    scope: Scope, shown: Iterable[Learning], everything: Iterable[Learning]
) -> Mapping[str, Background]:
    """Read what is needed to show learnings, by user.

    Args:
        shown: their interactions are looked up.
        everything: all learnings of these users.
    """
    of_users = defaultdict[str, list[Learning]](list)
    for learning in everything:
        of_users[learning.user_id].append(learning)
    wanted = defaultdict[str, list[Learning]](list)
    for learning in shown:
        wanted[learning.user_id].append(learning)
    return {
        user_id: Background(Lineage(of_users[user_id]), await find_sources(scope, user_id, learnings))
        for user_id, learnings in wanted.items()
    }


class LearningRows:
    """How the learnings of one answer are shown.

    Args:
        names_user: the call names the user, so that rows do not.
        masked: the call asks for no content, although the scope shows it.
        said_once: the ids of learnings whose words are in no other stored request.
    """

    def __init__(
        self,
        scope: Scope,
        backgrounds: Mapping[str, Background],
        *,
        names_user: bool = False,
        masked: bool = False,
        said_once: Collection[str] = (),
    ) -> None:
        self._scope = scope
        self._backgrounds = backgrounds
        self._names_user = names_user
        self._said_once = said_once
        self.masked = masked or scope.masked

    def row(self, item: LinkedLearning) -> LearningRow:
        learning, scope = item.learning, self._scope
        background = self._backgrounds[learning.user_id]
        evidence = evidence_of(learning, background.turns)
        quoted = list(self.evidence(evidence))
        # Complete evidence already names the requests.
        from_requests = [] if evidence.is_complete else self._from_requests(evidence.sources)
        since = known_since(learning, background)
        replaced = background.lineage.predecessors(learning)
        became = replacement(learning, background.lineage)
        return LearningRow(
            learning_id=scope.shown_id(learning.learning_id),
            state=shown_name(learning.state),
            held=self._hold(learning, evidence.possible_turns),
            known_since=at(since) if since else None,
            changed_at=at(learning.changed_at) if learning.changed_at else None,
            user_id=None if self._names_user else scope.shown_id(learning.user_id),
            content=self.text(learning.content, CONTENT_CHARS),
            characters=len(learning.content) if self.masked else None,
            trigger=self.text(learning.trigger, QUOTE_CHARS),
            evidence=quoted[:EVIDENCE_SHOWN],
            more_evidence=max(0, len(quoted) - EVIDENCE_SHOWN),
            quotes_not_found=self._not_found(evidence.unresolved[:NOT_FOUND_SHOWN]),
            window_only=len(evidence.window_only),
            words_nowhere_else=learning.learning_id in self._said_once,
            from_requests=from_requests[:REQUESTS_NAMED],
            more_requests=max(0, len(from_requests) - REQUESTS_NAMED),
            source=item.how,
            interactions_deleted=len(evidence.gone),
            interactions_not_looked_up=len(evidence.unread),
            last_request="" if learning.interaction_ids else scope.shown_id(learning.last_request_id),
            replaced_by=self.other(became) if became else None,
            replaced=[self.other(other) for other in replaced[:REPLACED_SHOWN]],
            more_replaced=max(0, len(replaced) - REPLACED_SHOWN),
        )

    def other(self, learning: Learning) -> OtherLearning:
        return OtherLearning(
            learning_id=self._scope.shown_id(learning.learning_id),
            state=shown_name(learning.state),
            content=self.text(learning.content, QUOTE_CHARS),
            changed_at=at(learning.changed_at) if learning.changed_at else None,
        )

    def evidence(self, evidence: Evidence) -> Iterator[EvidenceRow]:
        from reflexio_mcp.traffic.audit.rules.redaction import (
            without_key,  # its patterns take a while to compile
        )

        for passage in evidence.passages:
            words = self.text(passage.words, QUOTE_CHARS)
            for turn in passage.turns:
                role = as_name(turn.role) if self.masked else turn.role
                yield EvidenceRow(
                    quote=words,
                    near=passage.near,
                    request_id=self._scope.shown_id(turn.request_id),
                    interaction_id=turn.interaction_id,
                    role=shown_name(without_key(role)),
                    said_at=at(turn.said_at or turn.request.created_at),
                )

    def _from_requests(self, turns: Sequence[Turn]) -> list[FromRequest]:
        interactions = defaultdict[str, list[int]](list)
        for turn in turns:
            interactions[turn.request_id].append(turn.interaction_id)
        return [
            FromRequest(request_id=self._scope.shown_id(name), interaction_ids=ids)
            for name, ids in interactions.items()
        ]

    def _not_found(self, passages: Sequence[Passage]) -> list[str]:
        if self.masked:
            return []
        return [self.text(passage.words, QUOTE_CHARS) for passage in passages]

    def _hold(self, learning: Learning, turns: Sequence[Turn]) -> Held | None:
        policy = self._scope.policy.now()
        holds = (policy.hold_on(turn.request) for turn in turns)
        hold = policy.held_by(learning.user_id) or next(filter(None, holds), None)
        return held_row(hold) if hold else None

    def text(self, text: str, chars: int) -> str:
        """Return a text as it is shown: secrets replaced, cut, empty if content is hidden."""
        from reflexio_mcp.traffic.audit.rules.redaction import redact  # its patterns take a while to compile

        return "" if self.masked else clip(redact(text), chars)


def replacement(learning: Learning, lineage: Lineage) -> Learning | None:
    """Return what a replaced learning has become: a current learning, or else what replaced it."""
    if not learning.is_replaced:
        return None
    candidates = lineage.current_successors(learning) or lineage.successors(learning)
    return candidates[0] if candidates else None


def known_since(learning: Learning, background: Background) -> int:
    """Return when a learning or the first one that it replaced was learned, in epoch seconds; 0 if that is not known.

    Each playbook of a chain has the time at which it was learned. A profile only has the time of its last change, so
    the arrival of the request that it was learned from is taken.
    """
    chain = [learning, *background.lineage.predecessors(learning)]
    if learning.kind == "user_playbook":
        return min(link.changed_at for link in chain)
    arrived = {turn.request_id: turn.request.created_at for turn in background.turns.by_id.values()}
    return min(
        (arrived[link.last_request_id] for link in chain if link.last_request_id in arrived), default=0
    )
