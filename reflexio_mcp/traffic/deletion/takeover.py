"""What another process needs to go on with a deletion whose own process has ended.

An order names the exact requests that were agreed to, each with its mark, and holds nothing of what they say, nor the
words that were searched for. Whoever goes on reads them again first, so what changed meanwhile is left alone, as in
any deletion.
"""

import functools
from dataclasses import dataclass, replace

from pydantic import TypeAdapter

from reflexio_mcp.traffic.deletion.plan import Plan, PlannedRequest
from reflexio_mcp.traffic.deletion.safeguards import Origin
from reflexio_mcp.traffic.deletion.turn_plan import TurnPlan
from reflexio_mcp.traffic.reading.filters import WORDS_NOT_KEPT
from reflexio_mcp.traffic.scope import Scope

__all__ = ["Order", "order_of"]


@dataclass(frozen=True, slots=True)
class Order:
    """A deletion that was agreed to.

    Args:
        caller, user_id: the scope it was agreed to in.
        origin: for the audit log.
        requests, turns: the plan, one of the two.
    """

    caller: str
    user_id: str
    origin: Origin
    requests: Plan | None = None
    turns: TurnPlan | None = None

    @property
    def plan(self) -> Plan:
        plan = self.turns or self.requests
        assert plan
        return plan

    def written(self) -> str:
        """The order as text."""
        return _adapter().dump_json(self).decode()

    @staticmethod
    def read(text: str) -> "Order":
        """An order that was written by this version.

        Raises:
            ValueError: it was not.
        """
        return _adapter().validate_json(text)


@functools.cache
def _adapter() -> TypeAdapter[Order]:
    # Built for the first deletion: a server starts without it.
    return TypeAdapter(Order)


def order_of(scope: Scope, plan: Plan, origin: Origin) -> str:
    """The order of a deletion, or nothing where another process cannot go on with it.

    Everything of a user also means what arrives until it is done, so nobody begins it anew at a later time. Learnings
    are told apart by their words, which an order does not hold.
    """
    if type(plan) not in (Plan, TurnPlan):
        return ""
    wanted = plan.wanted
    if wanted and wanted.contains:
        # The set is fixed; as words that nobody wrote they would select nothing.
        wanted = replace(wanted, contains=WORDS_NOT_KEPT)
    plan = replace(
        plan,
        what=plan.on_record,
        wanted=wanted,
        requests=tuple(map(_without_words, plan.requests)),
        kept=tuple(map(_without_words, plan.kept)),
        learned=None,
        copies=(),
        unreadable_copies=(),
    )
    if isinstance(plan, TurnPlan):
        plan = replace(plan, turns=tuple(replace(turn, first_words="") for turn in plan.turns))
        return Order(scope.caller, scope.user_id, origin, turns=plan).written()
    return Order(scope.caller, scope.user_id, origin, requests=plan).written()


def _without_words(item: PlannedRequest) -> PlannedRequest:
    return replace(item, opening="", first_words="")
