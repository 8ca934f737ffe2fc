"""Shared rules: what Reflexio made from the playbooks of several users and serves to everybody."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from reflexio_mcp.rest.models import AgentPlaybook, SourcePlaybook
from reflexio_mcp.results.base import at, clip, visible
from reflexio_mcp.results.deletion import RuleSourceRow, SharedRuleRow, few
from reflexio_mcp.traffic.scope import Scope
from reflexio_mcp.traffic.tasks import for_each

__all__ = ["RuleSource", "SharedRule", "read_shared_rules", "rule_id", "rule_rows", "stored_rules", "trace"]

MOST_TRACED: Final = 500
"""Maximum number of rules whose sources are read to find those of one user: each costs a call."""

RULES_AT_ONCE: Final = 4

RULE_CHARS: Final = 1_000
USERS_SHOWN: Final = 10
SOURCES_SHOWN: Final = 10


@dataclass(frozen=True, slots=True)
class RuleSource:
    """A stored user playbook that a rule was made from.

    Args:
        source: the source of its last request.
        request_ids: the stored requests with the interactions that it cites.
    """

    learning_id: str
    user_id: str
    source: str
    request_ids: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class SharedRule:
    """A shared rule.

    Args:
        sources: what it was made from, as far as that is stored.
        traced: whether the service recorded what it was made from.
    """

    row: AgentPlaybook
    sources: tuple[RuleSource, ...] = ()
    traced: bool = False

    @property
    def number(self) -> int:
        return self.row.agent_playbook_id

    @property
    def users(self) -> frozenset[str]:
        return frozenset(source.user_id for source in self.sources if source.user_id)


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
        """The number of rules whose sources the service does not tell."""
        return sum(not rule.traced for rule in self.rules)


def rule_id(number: int) -> str:
    """Return the id of a rule as lists show it."""
    return f"agent_playbook:{number}"


async def stored_rules(scope: Scope) -> list[AgentPlaybook]:
    """Read the current shared rules, the newest first."""
    if not scope.learns:
        return []
    return sorted(await scope.client.get_agent_playbooks(), key=lambda rule: -rule.agent_playbook_id)


async def trace(scope: Scope, rows: Sequence[AgentPlaybook]) -> list[SharedRule]:
    """Read what rules were made from. The sources of every user are returned: leave out those outside the scope."""
    traced: dict[int, SharedRule] = {}

    async def read(row: AgentPlaybook) -> None:
        found = await scope.client.agent_playbook_sources(row.agent_playbook_id)
        traced[row.agent_playbook_id] = SharedRule(
            row, tuple(map(_source, found.source_user_playbooks)), found.provenance_status != "unavailable"
        )

    await for_each(rows, read, at_once=RULES_AT_ONCE)
    return [traced[row.agent_playbook_id] for row in rows]


async def read_shared_rules(scope: Scope) -> SharedRules:
    """Read the newest shared rules with their sources, to find those of one user."""
    rows = await stored_rules(scope)
    return SharedRules(await trace(scope, rows[:MOST_TRACED]), max(0, len(rows) - MOST_TRACED))


def _source(source: SourcePlaybook) -> RuleSource:
    playbook = source.user_playbook
    requests = dict.fromkeys(turn.request_id for turn in source.interactions if turn.request_id)
    return RuleSource(
        f"user_playbook:{playbook.user_playbook_id}",
        playbook.user_id or "",
        playbook.source or "",
        tuple(requests),
    )


def rule_rows(
    scope: Scope, rules: Sequence[SharedRule], uses: Mapping[str, int] | None = None
) -> Iterator[SharedRuleRow]:
    """Make the rows of rules. A scope of one user does not see on whom else they rest.

    Looking for secrets takes time, so take the rows in a worker thread.

    Args:
        uses: how often each was applied, by its number; `None` if that is not known.
    """

    def shown(text: str) -> str:
        from reflexio_mcp.traffic.audit.rules.redaction import redact  # its patterns take a while to compile

        return "" if scope.masked else visible(clip(redact(text), RULE_CHARS))

    def row(rule: SharedRule) -> SharedRuleRow:
        users = [] if scope.user_id else sorted(rule.users)
        sources = [source for source in rule.sources if scope.covers(source.user_id)]
        return SharedRuleRow(
            rule_id=rule_id(rule.number),
            content=shown(rule.row.content),
            trigger=shown(rule.row.trigger),
            approval=rule.row.playbook_status,
            made_at=at(rule.row.created_at) if rule.row.created_at else None,
            applied=None if uses is None else uses.get(str(rule.number), 0),
            playbooks=len(sources),
            users=[scope.shown_id(user) for user in users[:USERS_SHOWN]],
            more_users=max(0, len(users) - USERS_SHOWN),
            sources=[
                RuleSourceRow(
                    learning_id=scope.shown_id(source.learning_id),
                    user_id=scope.shown_id(source.user_id),
                    requests=few(source.request_ids, scope.shown_id),
                )
                for source in sources[:SOURCES_SHOWN]
            ],
            traced=rule.traced,
        )

    return map(row, rules)
