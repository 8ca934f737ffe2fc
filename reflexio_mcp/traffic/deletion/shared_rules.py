"""Decisions about shared rules. Nothing can undo a deletion of one: the API cannot add a rule."""

import re
from collections.abc import Awaitable, Container, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Final

from reflexio_mcp.rest.models import AgentPlaybook, Approval, DeleteReply
from reflexio_mcp.results.deletion import Decision
from reflexio_mcp.results.facts import Fact, FactCode
from reflexio_mcp.results.progress import Progress
from reflexio_mcp.traffic.deletion.items import Item, rule_item
from reflexio_mcp.traffic.deletion.targets import Selected, Target
from reflexio_mcp.traffic.errors import InvalidInput
from reflexio_mcp.traffic.learnings.find import Learned
from reflexio_mcp.traffic.learnings.shared import rule_id, stored_rules, trace
from reflexio_mcp.traffic.scope import Scope

__all__ = ["Rules"]

MOST: Final = 100
"""Maximum number of rules in a call: each is traced, and approved or rejected, by a call of its own."""

STATUS: Final[Mapping[Decision, Approval]] = {"approve": "approved", "reject": "rejected"}
"""The status of a rule after a decision. After `delete` there is none, so no stored rule counts as deleted already."""

AFTER_DECISION: Final[Mapping[Decision, tuple[FactCode, ...]]] = {
    "approve": (FactCode.APPROVED_RULES_REPEAT,),
    "reject": (FactCode.REJECTED_RULES_FOUND, FactCode.SHARED_RULES_RETURN),
    "delete": (FactCode.SHARED_RULES_RETURN,),
}
"""What Reflexio may still do with rules, or rules like them, after a decision."""

NOT_YOURS: Final = (
    "is for somebody who sees every user, because a shared rule is served to everybody. Nothing was changed."
)
NOT_AN_ID: Final = "takes 1 to 100 ids such as agent_playbook:3. Nothing was changed."
DECIDED: Final = "names rules that are {status} already: {ids}. Nothing was changed."

_ID: Final = re.compile(r"(?:agent_playbook:)?([1-9]\d{0,17})")


@dataclass(frozen=True)
class Rules(Target):
    """Shared rules, by their ids in the API."""

    numbers: tuple[int, ...] = ()
    decision: Decision = "delete"

    noun: ClassVar[str] = "shared rule"
    restorable: ClassVar[bool] = False

    @classmethod
    def of(cls, scope: Scope, rule_ids: Iterable[str], decision: Decision) -> "Rules":
        """Check the arguments of a call.

        Raises:
            InvalidInput: the ids cannot be used, or the scope is of one user.
        """
        if scope.user_id:
            raise InvalidInput("The call", NOT_YOURS)
        found = [_ID.fullmatch(rule.strip()) for rule in rule_ids]
        numbers = tuple(dict.fromkeys(int(match[1]) for match in found if match))
        if None in found or not 1 <= len(numbers) <= MOST:
            raise InvalidInput("rule_ids", NOT_AN_ID)
        return cls(numbers=numbers, decision=decision)

    def name(self, *, words: bool = True) -> str:
        if len(self.numbers) == 1:
            return f"{self.decision} shared rule {rule_id(self.numbers[0])}"
        return f"{self.decision} {len(self.numbers):,} shared rules"

    def asked_for(self) -> list[Any]:
        return [sorted(self.numbers), self.decision]

    async def select(self, scope: Scope, progress: Progress) -> Selected:
        rows = await self._stored(scope)
        if done := [row for row in rows if row.playbook_status == STATUS.get(self.decision)]:
            ids = ", ".join(rule_id(row.agent_playbook_id) for row in done)
            raise InvalidInput("rule_ids", DECIDED.format(status=STATUS[self.decision], ids=ids))
        there = {row.agent_playbook_id for row in rows}
        rules = await trace(scope, rows)
        return Selected(
            items=[rule_item(rule) for rule in rules],
            not_found=[rule_id(number) for number in self.numbers if number not in there],
            learned=Learned(),
            rules=rules,
            decision=self.decision,
            facts=[Fact(code=code) for code in AFTER_DECISION[self.decision]] if rules else [],
            copy_names=[],
        )

    async def undecided(self, scope: Scope, ids: Container[str], sent: Container[str]) -> list[Item]:
        """Read rules again, without those that are as decided because of an earlier try.

        Args:
            ids: the ids of the rules to read.
            sent: the ids of the rules for which an earlier try may have taken effect.
        """
        rows = [
            row
            for row in await self._stored(scope)
            if rule_id(row.agent_playbook_id) in ids
            and not (
                rule_id(row.agent_playbook_id) in sent and row.playbook_status == STATUS.get(self.decision)
            )
        ]
        return [rule_item(rule) for rule in await trace(scope, rows)]

    def batches(self, ids: Sequence[str]) -> list[Sequence[str]]:
        """Divide the ids of rules as the calls take them: one call deletes all, but approves or rejects only one."""
        if self.decision == "delete":
            return [ids] if ids else []
        return [[rule] for rule in ids]

    def call(self, scope: Scope, ids: Sequence[str]) -> Awaitable[DeleteReply]:
        """Make the call that does what was decided with the rules of one batch."""
        if self.decision == "delete":
            return scope.client.delete_agent_playbooks(list(map(_number, ids)))
        return scope.client.set_agent_playbook_status(_number(ids[0]), STATUS[self.decision])

    async def not_as_decided(self, scope: Scope, sent: set[str]) -> list[str]:
        """Return the ids of rules that are not as decided.

        It also removes from `sent` the rules that are not there any more: these were neither approved nor rejected.
        """
        rows = await self._stored(scope)
        if self.decision == "delete":
            return [rule_id(row.agent_playbook_id) for row in rows]
        sent.intersection_update(rule_id(row.agent_playbook_id) for row in rows)
        wanted = STATUS[self.decision]
        return [rule_id(row.agent_playbook_id) for row in rows if row.playbook_status != wanted]

    async def _stored(self, scope: Scope) -> list[AgentPlaybook]:
        return [row for row in await stored_rules(scope) if row.agent_playbook_id in self.numbers]


def _number(name: str) -> int:
    return int(name.rpartition(":")[2])
