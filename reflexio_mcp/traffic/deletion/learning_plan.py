"""What a deletion of learnings alone would take. It goes the same way as one of requests: consent, act and receipt."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import ClassVar

from reflexio_mcp.traffic.deletion.plan import Plan
from reflexio_mcp.traffic.learnings.find import NOTHING, Learned
from reflexio_mcp.traffic.learnings.records import Learning, Sources
from reflexio_mcp.traffic.learnings.select import Selection, select_learnings
from reflexio_mcp.traffic.learnings.turns import with_other_requests
from reflexio_mcp.traffic.scope import Scope

__all__ = ["LearningPlan", "plan_learnings"]


@dataclass(frozen=True)
class LearningPlan(Plan):
    """Exactly which learnings would go. It has no requests.

    Args:
        fed_by: the requests that fed them, by user, where the learnings were chosen by them: what these fed until the
            deletion goes too. Without any, the chosen learnings go and no others.
        living: the stored requests that the chosen ones name as sources, as far as they were looked up.
        saying: those of them with a passage that the chosen ones quote; `None` where that is not known.
        silent: those of them from which nothing is learned again.
        both: the call that takes the living sources too, or empty.
        selection: what chose them, with the user whom it means.
        by: the requests that the selection went by, by user.
    """

    fed_by: Mapping[str, Sources] = field(default_factory=dict[str, Sources])
    living: frozenset[str] = frozenset()
    saying: frozenset[str] | None = None
    silent: frozenset[str] = frozenset()
    both: str = ""
    selection: Selection = field(default_factory=Selection)
    by: Mapping[str, Sources] = field(default_factory=dict[str, Sources])

    noun: ClassVar[str] = "learning"
    found_with: ClassVar[str] = "list_learnings"
    copied: ClassVar[bool] = False

    @property
    def chosen(self) -> Learned:
        return self.learned or NOTHING

    @property
    def learnings_to_go(self) -> int:
        return 0  # they are in `size`

    @property
    def stored(self) -> int:
        return self.chosen.count

    @property
    def counted(self) -> list[Learning]:
        return [*self.chosen.learnings, *self.kept_learnings]

    @property
    def arrivals(self) -> list[int]:
        return [one.changed_at for one in self.counted]

    @cached_property
    def marks(self) -> dict[str, str]:
        kept = {one.learning_id: f"kept {one.digest}" for one in self.kept_learnings}
        return {one.learning_id: one.digest for one in self.chosen.learnings} | kept

    def chooses(self, learning: Learning) -> bool:
        """Whether the selection means a learning that a recovery copy holds."""
        return self.selection.chooses(learning, self.by)

    def sources(self, taken: Collection[str] = ()) -> dict[str, Sources]:
        nobody = Sources(frozenset(), frozenset())
        return {one.user_id: nobody for one in self.chosen.learnings} | dict(self.fed_by)


async def plan_learnings(
    scope: Scope, selection: Selection, *, everything: bool = False, both: str = ""
) -> LearningPlan:
    """Look up the learnings that a selection means.

    Args:
        everything: the caller named nothing but the user it is confined to.
        both: the call that takes the requests of the selection too.

    Raises:
        InvalidInput, NotStored, Unreadable: as `select_learnings` raises them.
    """
    selected = await select_learnings(scope, selection)
    learned = await with_other_requests(scope, selected.learned)
    own = (selected.sources[one.user_id].which_fed(one) for one in learned.learnings if selected.sources)
    return LearningPlan(
        f"learnings of {selection.describe()}",
        (),
        not_found=selected.not_found,
        wanted=selection.wanted,
        everything=everything,
        include_learnings=True,
        learned=learned,
        # Words choose among what was fed, so nothing may be added to it later.
        fed_by={} if selection.words else selected.sources,
        living=learned.other_requests.union(*own),
        saying=None if selected.sources else learned.saying,
        silent=learned.silent.union(*(one.silent for one in selected.sources.values())),
        both=both,
        selection=replace(selection, user_id=scope.user(selection.user_id)),
        by=selected.sources,
        gaps=selected.gaps,
        unsaid=f"learnings of {selection.describe(words=False)}",
    )
