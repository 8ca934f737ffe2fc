"""Secrets in stored text, covered where a person has not asked to see them.

The line that seems to hold a secret is replaced by what kind it is; where only several lines together seem to hold
one, as a private key does, the whole text is.
"""

from reflexio_mcp.rest.models import RequestWithInteractions
from reflexio_mcp.traffic.rules.secrets import available, secret_kinds

__all__ = ["covered_text", "covering"]


def covered_text(text: str) -> tuple[str, bool]:
    """The text without its secrets, and whether there was one."""
    if not text or not available() or not (kind := secret_kinds(text)):
        return text, False
    lines = text.split("\n")
    kept = [f"[covered: {found}]" if (found := secret_kinds(line)) else line for line in lines]
    together = "\n".join(kept)
    if kept == lines or secret_kinds(together):
        return f"[covered: {kind}]", True
    return together, True


def covering(item: RequestWithInteractions) -> RequestWithInteractions:
    """A request whose texts have no secrets; the request itself where there are none."""
    turns = [
        turn.model_copy(
            update={
                name: covered_text(getattr(turn, name))[0]
                for name in ("content", "user_action_description", "shadow_content", "expert_content")
            }
        )
        for turn in item.interactions
    ]
    return item.model_copy(update={"interactions": turns})
