"""The rule about retention."""

from collections.abc import Iterator

from reflexio_mcp.traffic.audit.rules.base import Finding, Rule, Session
from reflexio_mcp.traffic.policy import current_policy

__all__ = ["Expired"]


class Expired(Rule):
    """Requests that the operator's policy lets go after a time."""

    name = "expired"
    severity = "medium"
    why = "The operator's policy says that these must go."
    advice = "reflexio-mcp delete --finding expired --yes in a timer does it regularly."
    offers = "delete"

    @classmethod
    def applies(cls) -> bool:
        return bool(current_policy().expire)

    def look(self, session: Session) -> Iterator[Finding]:
        policy = current_policy()
        for item in session.requests:
            if expiry := policy.expired(item.request, self.now):
                yield Finding(self.name, item.request, expiry.describe())
