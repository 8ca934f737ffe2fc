from reflexio_mcp.render.blocks import Told, counted, lines, row, sentence
from reflexio_mcp.render.words import Words
from reflexio_mcp.results.facts import Fact
from reflexio_mcp.results.publishing import Finished, Stored
from reflexio_mcp.results.reading import LearningState

__all__ = ["finished", "stored"]


def stored(done: Stored, words: Words) -> Told:
    added = [
        counted(number, noun)
        for number, noun in ((done.profiles_added, "profile"), (done.playbooks_added, "playbook"))
        if number is not None
    ]
    return Told(
        f"{_lead(done)}: {counted(done.interactions, 'interaction')}.",
        [
            f"request_id={done.request_id}",
            row(f"user {done.user_id}", f"session {done.session_id}", f"agent version {done.agent_version}"),
            f"unusual roles: {', '.join(done.unusual_roles)}" if done.unusual_roles else "",
            *(f"the service warns: {warning}" for warning in done.warnings),
        ],
        lines(
            words.say(done.facts),
            f"Kinds of secrets: {', '.join(done.secrets)}." if done.secrets else "",
            "The usual roles are User and Assistant." if done.unusual_roles else "",
            sentence(
                learning_state(done.learning, words) if done.learning else "",
                f"Added {' and '.join(added)}." if added else "",
            ),
        ),
    )


def _lead(done: Stored) -> str:
    # Without a look at what is stored, the request was stored already by an earlier try of this same call.
    if done.status == "already_stored" and done.read_back:
        return "Already stored by an earlier call, nothing added"
    return "Stored and read back" if done.read_back else "Stored"


def learning_state(state: LearningState, words: Words) -> str:
    return f"Learning from this request: {words.of(Fact(code=state.means))}"


def finished(done: Finished, words: Words) -> Told:
    return Told("Finished.", f"session {done.session_id} of user {done.user_id}", words.say(done.facts))
