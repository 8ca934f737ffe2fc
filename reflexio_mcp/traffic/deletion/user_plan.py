"""What the deletion of everything of one user would take: requests, learnings, session outcomes."""

import json
from dataclasses import dataclass, fields
from functools import cached_property
from typing import Any, ClassVar, Final

from reflexio_mcp.rest.errors import ReflexioError
from reflexio_mcp.rest.models import AgentPlaybook, SessionOutcome
from reflexio_mcp.traffic.deletion.plan import Plan
from reflexio_mcp.traffic.learnings.find import Learned, learnings_of_user
from reflexio_mcp.traffic.learnings.records import Learning
from reflexio_mcp.traffic.learnings.select import unselected
from reflexio_mcp.traffic.scope import Scope
from reflexio_mcp.traffic.tasks import for_each

__all__ = ["AgentPlaybooks", "UserPlan", "plan_user"]

PLAYBOOKS_ASKED: Final = 100
"""Agent playbooks whose sources a plan asks for; the API allows so many calls a minute."""

AT_ONCE: Final = 4


@dataclass(frozen=True, slots=True)
class AgentPlaybooks:
    """The agent playbooks of the service, which stay.

    Args:
        made_from: ids of those that name playbooks of the user as their source.
        not_known: how many do not say what they were made from, or were not asked; `None` when there may be any number.
    """

    made_from: tuple[int, ...] = ()
    not_known: int | None = 0


@dataclass(frozen=True)
class UserPlan(Plan):
    """Everything of one user. Unlike any other plan it also takes what arrives until it is carried out.

    Args:
        user_id: whose data.
        outcomes: the outcomes of this user's sessions.
        agent_playbooks: what stays of this user's playbooks in those that were made from many users'.
    """

    user_id: str = ""
    outcomes: tuple[SessionOutcome, ...] = ()
    agent_playbooks: AgentPlaybooks = AgentPlaybooks()

    noun: ClassVar[str] = "record"

    @property
    def learnings_to_go(self) -> int:
        return 0  # they are in `size`

    @property
    def size(self) -> int:
        learnings = (self.learned.count if self.learned else 0) + len(self.kept_learnings)
        return len(self.goes) + learnings + len(self.outcomes)

    @property
    def users(self) -> int:
        return 1

    @cached_property
    def marks(self) -> dict[str, str]:
        outcomes = {
            f"session outcome {one.outcome_id or one.session_id}": json.dumps(
                [one.session_id, one.outcome, one.occurred_at]
            )
            for one in self.outcomes
        }
        kept = {f"kept {one.learning_id}": one.digest for one in self.kept_learnings}
        return super().marks | outcomes | kept

    def chooses(self, learning: Learning) -> bool:
        """Whether a learning that a recovery copy holds goes too."""
        return learning.user_id == self.user_id


async def plan_user(scope: Scope, requests: Plan, user_id: str) -> UserPlan:
    """Add to the plan of a user's requests whatever else of this user the API can delete."""
    own: dict[str, Any] = {one.name: getattr(requests, one.name) for one in fields(Plan)}
    learned = unselected(await learnings_of_user(scope, user_id))
    own["what"], own["learned"] = f"everything of user {user_id}", learned
    outcomes = await scope.client.get_session_outcomes(user_id)
    return UserPlan(
        **own,
        user_id=user_id,
        outcomes=tuple(one for one in outcomes if one.user_id == user_id),
        agent_playbooks=await _agent_playbooks(scope, user_id, learned),
    )


async def _agent_playbooks(scope: Scope, user_id: str, learned: Learned) -> AgentPlaybooks:
    if not any(one.kind == "user_playbook" for one in learned.learnings):
        # They are made from playbooks, and what was made from deleted ones cannot be told any more.
        return AgentPlaybooks((), None)
    try:
        there = await scope.client.get_agent_playbooks()
    except ReflexioError:
        return AgentPlaybooks((), None)
    asked = there[:PLAYBOOKS_ASKED]
    made_from: list[int] = []
    not_known = len(there) - len(asked)

    async def ask(one: AgentPlaybook) -> None:
        nonlocal not_known
        try:
            sources = await scope.client.agent_playbook_sources(one.agent_playbook_id)
        except ReflexioError:
            not_known += 1
            return
        if user_id in sources.users:
            made_from.append(one.agent_playbook_id)
        elif not sources.users or sources.provenance_status != "exact":
            not_known += 1

    await for_each(asked, ask, at_once=AT_ONCE)
    return AgentPlaybooks(tuple(sorted(made_from)), not_known)
