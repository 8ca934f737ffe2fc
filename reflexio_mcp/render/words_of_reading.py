"""The words of lists, learnings and publishing."""

from typing import Final

from reflexio_mcp.render.topic_words import TopicWords
from reflexio_mcp.results.facts import FactCode

READING: Final = TopicWords(
    anybody={
        FactCode.NOTHING_STORED: "Nothing is stored.",
        FactCode.NOTHING_FOUND_YET: "Nothing matches among the requests that were looked through so far.",
        FactCode.ALL_WORDS_NEEDED: (
            "A search finds requests with all of its words in their texts and ids; put OR between alternatives. It "
            "does not look into sources and versions, which are filters of their own."
        ),
        FactCode.WHOLE_NAMES_NEEDED: "Sources and versions match complete names.",
        FactCode.CASE_MATTERS: "Ids are case-sensitive.",
        FactCode.PART_COUNTED: "Only matching requests are counted; deleting a session deletes all of its requests.",
        FactCode.LONGEST_OF: "These are the longest of all {number:session}, by characters of text.",
        FactCode.MORE_SESSIONS: "These are the newest sessions; there are older ones.",
        FactCode.PARTS_UNREADABLE: (
            "Some requests could not be read. The other requests of their sessions can be listed by session."
        ),
        FactCode.SECRETS_COVERED: "Secrets are replaced here.",
        FactCode.FORMATS_NOT_KNOWN: (
            "Keys are not looked for by the formats of their vendors: the package kingfisher-secret-scanner does not "
            "run on this platform. Passwords and keys with a name before them are still looked for."
        ),
        FactCode.NO_PAGE_SHOWN: "The client does not say that it shows pages.",
        FactCode.KINDS_NOT_LISTED: (
            "Shared rules (agent playbooks) and expired profiles are not listed here. A merged or superseded learning "
            "was replaced by another learning and is kept for a while."
        ),
        FactCode.CHANGES_ELSEWHERE: (
            "Some changes leave no trace: what other clients deleted, what they changed in playbooks, playbooks that "
            "Reflexio forgot, and expired profiles that it has removed."
        ),
        FactCode.CHANGES_TOO_OLD: (
            "Reflexio keeps replaced learnings for {number:day}, so older texts are missing."
        ),
        FactCode.CHANGES_UNRECORDED: (
            "The records of deletions, corrections, restores and exports cannot be read, so these are missing."
        ),
        FactCode.CHANGES_PARTLY_READ: (
            "There are more requests than one call reads, so changes of some users may be missing. A later time or a "
            "single user shows all."
        ),
        FactCode.FORGOTTEN_OR_DELETED: (
            "{number:learning} {number:was|were} forgotten, or what had taken {number:its|their} place was deleted: "
            "no recovery copy shows which."
        ),
        FactCode.LEARNINGS_NOT_LISTED: (
            "{number:learning} that {number:does|do} not name {number:its|their} source interactions "
            "{number:is|are} not listed."
        ),
        FactCode.USERS_NOT_READ: "The learnings of {number} more {number:user|users} were not read.",
        FactCode.LEARNED_NOT_KNOWN: "Whether anything was learned is not known.",
        FactCode.LEARNING_WAITS: (
            "Nothing is learned from it yet: Reflexio waits for more of the conversation, usually 10 interactions."
        ),
        FactCode.LEARNING_NOT_BEGUN: "Nothing is learned from it yet.",
        FactCode.LEARNING_RUNS: "Reflexio is still learning from it.",
        FactCode.LEARNING_DONE: "Reflexio has learned from it.",
        FactCode.LEARNING_COVERED: "Reflexio has read it, whether or not there was anything to learn.",
        FactCode.LEARNING_FAILED: "Nothing was learned from it: learning failed.",
        FactCode.LEARNING_EXCLUDED: "Nothing is learned from it: it is for evaluation only.",
        FactCode.LEARNING_POINTLESS: "Nothing is learned from it: nothing in it can be learned from.",
        FactCode.LEARNING_INPUT_GONE: (
            "Its interactions are deleted. Whether it was learned from is not known."
        ),
        FactCode.LEARNING_NOT_TRACKED: "Reflexio does not say what is learned from it.",
        FactCode.LEARNING_UNKNOWN: "What was learned from it is not known.",
        FactCode.STORE_DOES_NOT_LEARN: "This store does not learn; an assistant finds the request by searching.",
        FactCode.BELIEFS_NOT_READ: "What was learned from it, and which learnings its answers used, could not be read.",
        FactCode.LEARNED_HERE_MORE: "{number} more {number:learning quotes|learnings quote} it.",
        FactCode.LEARNED_HERE_PERHAPS: (
            "{number:learning} may also come from it: not all that {number:it quotes|they quote} is stored."
        ),
        FactCode.LEARNED_BESIDE: (
            "{number:learning} {number:was|were} learned at the same time and {number:quotes|quote} only other "
            "requests."
        ),
        FactCode.USED_MORE: "{number} more {number:learning was|learnings were} retrieved for its answers.",
        FactCode.VERDICTS_NOT_READ: (
            "How Reflexio judged the learnings behind its answers, or how often they were applied, could not be read."
        ),
        FactCode.OUTCOMES_NOT_READ: "How sessions ended could not be read.",
        FactCode.STORED_SECRETS: (
            "The request contains what looks like a secret, which can reappear in later prompts. Delete the request "
            "without a recovery copy, and change the secret."
        ),
        FactCode.REPEAT_WITH_ID: (
            "Repeat it with the same id{names:known} and content: it cannot be stored twice, and “already stored” then "
            "means that it had arrived."
        ),
        FactCode.REPLACED_SECRETS: "Secrets were replaced before the request was stored.",
        FactCode.IMAGES_NOT_COMPARED: "Images and citations cannot be read back and were not compared.",
        FactCode.SESSION_FINISHED: (
            "Reflexio now learns from the requests of the session that waited, if there is anything to learn."
        ),
        FactCode.DELETED_IN_PAGE: "{number:request} {number:was|were} deleted in the explorer since the last call.",
        FactCode.RESTORED_IN_PAGE: "{number:request} {number:was|were} restored in the explorer since the last call.",
        FactCode.LEARNINGS_DELETED_IN_PAGE: (
            "{number:learning} {number:was|were} deleted in the explorer since the last call."
        ),
        FactCode.LEARNINGS_RESTORED_IN_PAGE: (
            "{number:learning} {number:was|were} restored in the explorer since the last call."
        ),
    },
    model={
        FactCode.REPEAT_WITH_ID: (
            "Repeat the call with this request_id and the same content: it cannot be stored twice, and “already "
            "stored” then means that it had arrived."
        ),
        FactCode.ALL_WORDS_NEEDED: (
            "contains finds requests with all of these words in their texts and ids; put OR between alternatives. It "
            "does not search source and agent_version, which are filters of their own."
        ),
        FactCode.WHOLE_NAMES_NEEDED: "source and agent_version match complete names.",
        FactCode.NO_PAGE_SHOWN: (
            "This client does not say that it shows pages: the person sees only what you tell them."
        ),
    },
    with_tools={
        ("audit_traffic",): {
            FactCode.WHOLE_NAMES_NEEDED: (
                "source and agent_version match complete names; audit_traffic lists the names in use."
            ),
        },
        ("delete_session",): {
            FactCode.PART_COUNTED: "Only matching requests are counted; delete_session deletes the whole session.",
        },
        ("list_sessions",): {
            FactCode.MORE_SESSIONS: "These are the newest sessions; continue with list_sessions.",
        },
        ("get_request",): {
            FactCode.SECRETS_COVERED: "Secrets are replaced here; get_request shows a request as it is stored.",
            FactCode.LEARNING_RUNS: "Reflexio is still learning from it. get_request shows how it went.",
        },
        ("list_requests",): {
            FactCode.PARTS_UNREADABLE: (
                "Some requests could not be read. list_requests with the session_id shows the other requests of that "
                "session."
            ),
        },
        ("list_requests", "delete_request"): {
            FactCode.PARTS_UNREADABLE: (
                "Some requests could not be read. list_requests with the session_id shows the other requests of that "
                "session. delete_request with its id and erase deletes a request that cannot be shown."
            ),
        },
        ("finish_session",): {
            FactCode.LEARNING_WAITS: (
                "Nothing is learned from it yet: Reflexio waits for more of the conversation, usually 10 interactions. "
                "finish_session learns now."
            ),
        },
        ("delete_request",): {
            FactCode.STORED_SECRETS: (
                "The request contains what looks like a secret, which can reappear in later prompts. Delete it with "
                "delete_request, this request_id and erase=true, and change the secret."
            ),
        },
        ("list_learnings",): {
            FactCode.LEARNED_HERE_MORE: (
                "{number} more {number:learning quotes|learnings quote} it: list_learnings with its request_id."
            ),
            FactCode.LEARNED_HERE_PERHAPS: (
                "{number:learning} may also come from it: not all that {number:it quotes|they quote} is stored. "
                "list_learnings with its request_id shows {number:it|them}."
            ),
            FactCode.SESSION_FINISHED: (
                "Reflexio now learns from the requests of the session that waited, if there is anything to learn. In a "
                "moment, list_learnings with this session_id shows what was learned."
            ),
        },
    },
    in_shell={
        FactCode.WHOLE_NAMES_NEEDED: (
            "--source and --agent-version match complete names; `reflexio-mcp audit` lists the names in use."
        ),
        FactCode.ALL_WORDS_NEEDED: (
            "--contains finds requests with all of these words in their texts and ids; put OR between alternatives. It "
            "does not search sources and versions, which are filters of their own."
        ),
        FactCode.SECRETS_COVERED: "Secrets are replaced here; `reflexio-mcp show` shows a request as it is stored.",
        FactCode.PARTS_UNREADABLE: (
            "Some requests could not be read. `reflexio-mcp requests --session-id` shows the other requests of that "
            "session."
        ),
    },
)
