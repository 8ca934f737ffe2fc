"""Tells which stored learnings are those in a recovery copy.

A profile keeps its id. A playbook gets another id whenever it is stored, so it is known by what it says, its state and
its sources. Several can say the same, so each stored one stands for one copy alone.
"""

from collections import defaultdict
from collections.abc import Callable, Collection, Hashable, Iterable, Mapping
from dataclasses import dataclass, field

from reflexio_mcp.state.records import Copied
from reflexio_mcp.traffic.learnings.records import Learning, learning_of

__all__: list[str] = []


@dataclass(frozen=True)
class Renumbered:
    """The ids that restored interactions have now, by the ids that they had."""

    now: Mapping[int, int]

    def sources(self, learning: Learning) -> frozenset[int]:
        """Return the interactions that a learning lists, whichever of their ids it lists."""
        return frozenset(self.now.get(id_, id_) for id_ in learning.interaction_ids)

    def old_ids(self, learning: Learning) -> frozenset[int]:
        """Return the ids that a learning lists and that its interactions do not have any more."""
        return frozenset(id_ for id_ in learning.interaction_ids if self.now.get(id_, id_) != id_)

    def relisted(self, learnings: Iterable[Learning]) -> list[Learning]:
        """Return learnings that list their interactions by the ids that these have now."""
        relisted: list[Learning] = []
        for learning in learnings:
            if learning.row:
                ids = [self.now.get(id_, id_) for id_ in learning.row.source_interaction_ids]
                row = learning.row.model_copy(update={"source_interaction_ids": ids})
                relisted.append(learning_of(row))
        return relisted


@dataclass(frozen=True)
class Compared:
    """What the store has of copied learnings, by their ids in the copy.

    Args:
        same: they are stored with the copied text.
        corrected: copied by a correction, and stored with the text that it gave them.
        revived: copied as replaced, and current again because of the deletion. The replaced ones may be stored, too.
        taken: something else is stored under the id, or a text of a later correction.
        missing: they are not stored.
    """

    same: dict[str, Learning] = field(default_factory=dict[str, Learning])
    corrected: dict[str, Learning] = field(default_factory=dict[str, Learning])
    revived: dict[str, Learning] = field(default_factory=dict[str, Learning])
    taken: dict[str, Learning] = field(default_factory=dict[str, Learning])
    missing: dict[str, Learning] = field(default_factory=dict[str, Learning])


class Comparison:
    """Finds copied learnings among the stored ones of their user.

    Args:
        back: the ids of the replaced learnings that the deletion was to make current again.
        later_texts: the texts that corrections have given to playbooks since, by the copied text; all as digests.
    """

    def __init__(
        self,
        copied: Mapping[str, Learning],
        copies: Mapping[str, Copied],
        stored: Mapping[str, Learning],
        renumbered: Renumbered,
        back: Collection[str],
        later_texts: Mapping[str, Collection[str]],
    ) -> None:
        self._copied = copied
        self._later_texts = later_texts
        # The copy of a correction names the text from before and the one that the correction wrote. Each of these
        # sets has one text, or none.
        self._new_texts = {
            key: {name.id for name in copies[key].names if name.kind == "text"} - {learning.digest}
            for key, learning in copied.items()
        }
        self._renumbered = renumbered
        self._made_current = {key: copied[key] for key in copied.keys() & back if copied[key].is_replaced}
        self._unmatched = dict(stored)
        self._found = Compared(missing=dict(copied))

    def compare(self) -> Compared:
        self._find_by_id()
        self._find_playbooks()
        return self._found

    def _find_by_id(self) -> None:
        for key, learning in self._copied.items():
            if there := self._unmatched.get(key):
                self._note(self._place_of(key, learning, there), key, there)

    def _place_of(self, key: str, learning: Learning, there: Learning) -> dict[str, Learning]:
        """Return the field of `Compared` that a stored learning with the id of a copy belongs to."""
        if there.digest in self._new_texts[key]:
            return self._found.corrected
        if there.digest != learning.digest:
            return self._found.taken
        is_revived = key in self._made_current and there.state == "current"
        return self._found.revived if is_revived else self._found.same

    def _find_playbooks(self) -> None:
        """Find playbooks under other ids, those first that have most in common with a copy."""
        found = self._found
        corrected = {
            key: self._facts(learning, text=text)
            for key, learning in self._missing_playbooks
            for text in self._new_texts[key]
        }
        self._pair(found.corrected, corrected, self._facts)
        same = {key: self._facts(learning) for key, learning in self._missing_playbooks}
        self._pair(found.same, same, self._facts)
        # A playbook that was made current again keeps the time of its beginning. One that was learned since does not.
        revived = {
            key: (self._facts(learning, state="current"), learning.changed_at)
            for key, learning in self._made_current.items()
            if key not in found.revived
        }
        self._pair(found.revived, revived, lambda there: (self._facts(there), there.changed_at))
        # The interactions may have other ids since another restore, so text and state have to do.
        said = {key: _said(learning) for key, learning in self._missing_playbooks}
        self._pair(found.same, said, _said)
        corrected = {
            key: (text, learning.state)
            for key, learning in self._missing_playbooks
            for text in self._new_texts[key]
        }
        self._pair(found.corrected, corrected, _said)
        # Another call may have corrected the playbook since.
        for key, learning in self._missing_playbooks:
            for text in self._later_texts.get(learning.digest, ()):
                self._pair(found.taken, {key: (text, learning.state)}, _said)

    @property
    def _missing_playbooks(self) -> list[tuple[str, Learning]]:
        return [
            (key, missing) for key, missing in self._found.missing.items() if missing.kind == "user_playbook"
        ]

    def _facts(self, learning: Learning, *, text: str = "", state: str = "") -> Hashable:
        return text or learning.digest, state or learning.state, self._renumbered.sources(learning)

    def _pair(
        self,
        place: dict[str, Learning],
        wanted: Mapping[str, Hashable],
        facts_of: Callable[[Learning], Hashable],
    ) -> None:
        playbooks = [there for there in self._unmatched.values() if there.kind == "user_playbook"]
        for key, there in paired(wanted, playbooks, facts_of).items():
            self._note(place, key, there)

    def _note(self, place: dict[str, Learning], key: str, there: Learning) -> None:
        place[key] = there
        del self._unmatched[there.learning_id]
        self._found.missing.pop(key, None)


def _said(learning: Learning) -> Hashable:
    return learning.digest, learning.state


def paired(
    wanted: Mapping[str, Hashable], stored: Iterable[Learning], facts_of: Callable[[Learning], Hashable]
) -> dict[str, Learning]:
    """Pair each key with the first stored learning of its facts. No learning is taken twice."""
    candidates: defaultdict[Hashable, list[Learning]] = defaultdict(list)
    for learning in stored:
        candidates[facts_of(learning)].append(learning)
    found: dict[str, Learning] = {}
    for key, facts in wanted.items():
        if alike := candidates[facts]:
            found[key] = alike.pop(0)
    return found
