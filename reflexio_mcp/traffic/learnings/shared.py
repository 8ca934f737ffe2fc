"""Shared rules: what Reflexio made from the playbooks of several users and serves to everybody."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from reflexio_mcp.rest.models import AgentPlaybook
from reflexio_mcp.traffic.scope import Scope
from reflexio_mcp.traffic.tasks import for_each

__all__ = ["read_shared_rules"]

MOST_TRACED: Final = 100
"""Maximum number of rules whose sources are read: the API limits calls per minute."""

AT_ONCE: Final = 4


@dataclass(frozen=True, slots=True)
class SharedRule:
    """A shared rule.

    Args:
        users: whose playbooks it was made from, as far as they are stored.
        playbooks: how many of these playbooks there are.
        traced: whether the service recorded what it was made from.
    """

    row: AgentPlaybook
    users: frozenset[str] = frozenset()
    playbooks: int = 0
    traced: bool = False

    @property
    def number(self) -> int:
        return self.row.agent_playbook_id


@dataclass(frozen=True, slots=True)
class SharedRules:
    """The current shared rules.

    Args:
        rules: those whose sources were read, the newest first.
        left_out: how many others there are.
    """

    rules: Sequence[SharedRule] = ()
    left_out: int = 0

    def of(self, user_id: str) -> list[SharedRule]:
        """Return the rules that rest on a user's playbooks."""
        return [rule for rule in self.rules if user_id in rule.users]

    @property
    def untraced(self) -> int:
        """How many rules the service does not say the sources of."""
        return sum(not rule.traced for rule in self.rules) + self.left_out


async def read_shared_rules(scope: Scope) -> SharedRules:
    """Read the current shared rules with their sources, whosoever they are: the caller shows only its own scope's."""
    if not scope.learns:
        return SharedRules()
    rows = sorted(await scope.client.get_agent_playbooks(), key=lambda rule: -rule.agent_playbook_id)
    traced: dict[int, SharedRule] = {}

    async def trace(row: AgentPlaybook) -> None:
        sources = await scope.client.agent_playbook_sources(row.agent_playbook_id)
        playbooks = [playbook.user_playbook for playbook in sources.source_user_playbooks]
        traced[row.agent_playbook_id] = SharedRule(
            row,
            frozenset(playbook.user_id for playbook in playbooks if playbook.user_id),
            len(playbooks),
            sources.provenance_status != "unavailable",
        )

    await for_each(rows[:MOST_TRACED], trace, at_once=AT_ONCE)
    rules = [traced[row.agent_playbook_id] for row in rows[:MOST_TRACED]]
    return SharedRules(rules, max(0, len(rows) - MOST_TRACED))
