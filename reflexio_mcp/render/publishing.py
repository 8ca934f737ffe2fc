"""What became of a publish."""

from typing import Final

from reflexio_mcp.render.text import (
    NAME_CHARS,
    NOTICE,
    Facts,
    Rendered,
    clip,
    counted,
    dense,
    fence,
    joined,
    label,
    shown_id,
)
from reflexio_mcp.rest.limits import DEFAULT_AGENT_VERSION
from reflexio_mcp.traffic.publishing import Published

__all__ = ["published"]

WARNING_CHARS: Final = 300
MOST_WARNINGS: Final = 10

_MEANS = {
    "deferred": "it is learned from later",
    "still_learning": "stored, still learning",
    "not_tracked": "this store does not learn",
}


def published(done: Published) -> Rendered:
    """A publish: what is stored under which id, and where its learning stands."""
    state = "already_stored" if done.already_stored else "stored"
    facts: Facts = dense(
        {
            "status": state,
            "request_id": shown_id(done.request_id),
            "session_id": shown_id(done.session_id),
            "user_id": shown_id(done.user_id),
            "interactions": done.interactions,
            "agent_version": clip(done.agent_version, NAME_CHARS),
            "read_back": done.read_back,
            "learning_status": label(done.learning_status),
            "learning_reason": label(done.learning_reason),
            "profiles_added": done.profiles_added or None,
            "playbooks_added": done.playbooks_added or None,
            "notice": NOTICE if done.warnings else "",
            "warnings": [clip(warning, WARNING_CHARS) for warning in done.warnings[:MOST_WARNINGS]],
            "more_warnings": max(0, len(done.warnings) - MOST_WARNINGS) or None,
        }
    )
    version = f"agent version {facts['agent_version']}" if "agent_version" in facts else ""
    if done.agent_version == DEFAULT_AGENT_VERSION:
        version += " (the default)"
    where = joined(
        (
            f"{counted(done.interactions, 'interaction')} of user {facts['user_id']} in session {facts['session_id']}",
            version,
        ),
    )
    lead = "Stored and read back" if done.read_back else "Stored"
    if done.already_stored:
        lead = "Already stored by an earlier call, nothing added"
    lines = [f"{lead}: {where}. request_id={facts['request_id']}"]
    if done.uncompared:
        lines.append("Images and citations cannot be read back and were not compared.")
    if done.learning_status:
        reason = f" ({facts['learning_reason']})" if "learning_reason" in facts else ""
        means = f": {_MEANS[done.learning_status]}" if done.learning_status in _MEANS else ""
        added = [
            counted(number, noun)
            for number, noun in ((done.profiles_added, "profile"), (done.playbooks_added, "playbook"))
            if number
        ]
        lines.append(
            f"Learning {facts['learning_status']}{reason}{means}."
            + (f" Added {', '.join(added)}." if added else "")
        )
    if warnings := facts.get("warnings"):
        more = f"\n… and {facts['more_warnings']:,} more" if "more_warnings" in facts else ""
        lines.append(f"The service warns:\n{fence(chr(10).join(warnings) + more)}")
    if done.learning_status == "still_learning":
        facts["next"] = "See how the learning went with get_request."
        lines.append(facts["next"])
    return Rendered("\n".join(lines), facts)
