from reflexio_mcp.render.blocks import counted, fenced, lines, sentence
from reflexio_mcp.results.publishing import Finished, Stored

__all__ = ["finished", "stored"]

LEADS = {
    ("stored", False): "Stored",
    ("stored", True): "Stored and read back",
    ("already_stored", True): "Already stored by an earlier call, nothing added",
    ("already_stored", False): "Stored",
}


def stored(done: Stored) -> str:
    added = [
        counted(number, noun)
        for number, noun in ((done.profiles_added, "profile"), (done.playbooks_added, "playbook"))
        if number is not None
    ]
    return lines(
        f"{LEADS[done.status, done.read_back]}: {counted(done.interactions, 'interaction')} of user {done.user_id} in "
        f"session {done.session_id}, agent version {done.agent_version}. request_id={done.request_id}",
        done.notes,
        f"Unusual roles; the usual ones are User and Assistant:\n{fenced(', '.join(done.unusual_roles))}"
        if done.unusual_roles
        else "",
        sentence(
            f"Learning from this request: {done.learning.means}" if done.learning else "",
            f"Added {' and '.join(added)}." if added else "",
        ),
        f"The service warns:\n{fenced(done.warnings)}" if done.warnings else "",
    )


def finished(done: Finished) -> str:
    return lines(
        "Finished: Reflexio now learns from the requests that waited, if there is anything to learn.",
        fenced(f"session {done.session_id} of user {done.user_id}"),
        "In a moment, list_learnings with this session_id shows what was learned.",
    )
