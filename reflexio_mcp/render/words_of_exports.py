"""The words of exports and imports."""

from typing import Final

from reflexio_mcp.render.topic_words import TopicWords
from reflexio_mcp.results.facts import FactCode

EXPORTS: Final = TopicWords(
    anybody={
        FactCode.SECRETS_CAN_BE_COVERED: (
            "Nothing is written yet. Secrets and personal data are exported as stored, unless recognized secrets are "
            "replaced."
        ),
        FactCode.EXPORT_NOT_WRITTEN: (
            "No file was written{names:known}. Make room on the server's disk and in its temporary folder."
        ),
        FactCode.SECRETS_EXPORTED: "Secrets and personal data are exported as stored: keep the file private.",
        FactCode.SECRETS_NOT_EXPORTED: (
            "Recognized secrets are replaced by their kinds. Other secrets and personal data are exported as stored."
        ),
        FactCode.STORE_HAS_NO_LEARNINGS: (
            "The embedded store does not learn: it has no learnings and no session outcomes."
        ),
        FactCode.KINDS_NOT_EXPORTED: (
            "Reflexio's API does not return images, citations and expired profiles. Run records and logs of Reflexio "
            "are not exported, nor, unless one user is selected, learnings of users without an exported request."
        ),
        FactCode.LEARNINGS_NOT_ALL_READ: "Not all learnings could be read.",
        FactCode.OUTCOMES_NOT_ALL_READ: "Not all session outcomes could be read.",
        FactCode.VERDICTS_NOT_ALL_READ: "Not all verdicts of Reflexio could be read.",
        FactCode.QUESTIONS_NOT_ALL_READ: "Not all questions that Reflexio asked people could be read.",
        FactCode.FETCH_ONCE: "The link works once, within five minutes.",
        FactCode.ONLY_REQUESTS_IMPORTED: (
            "Learnings and session outcomes do not come back: the embedded store has none."
        ),
        FactCode.IMPORT_IS_LEARNED: (
            "Reflexio stores 60 requests a minute, and learns from them again. Times, images, citations, learnings and "
            "session outcomes do not come back."
        ),
        FactCode.ERASED_BEFORE: (
            "{number:request} that {number:is|are} stored now had been erased before; the audit log says by which "
            "deletions."
        ),
    },
    model={
        FactCode.SECRETS_CAN_BE_COVERED: (
            "Nothing is written. Secrets and personal data are exported as stored; redact replaces recognized secrets. "
            "Show the person what would be in it, ask, and call again with the same filter, redact=true or false, and "
            "this code as confirm."
        ),
        FactCode.FETCH_ONCE: (
            "Within five minutes, one fetch with the Authorization of this connection gets the file: curl -OJ -H "
            "'Authorization: Bearer TOKEN' LINK"
        ),
    },
    in_shell={
        FactCode.SECRETS_CAN_BE_COVERED: (
            "Nothing is written yet. Secrets and personal data are exported as stored; --redact replaces recognized "
            "secrets."
        ),
        FactCode.ERASED_BEFORE: (
            "{number:request} that {number:is|are} stored now had been erased before, by deletion {names:plain}."
        ),
    },
)
