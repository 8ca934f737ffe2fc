"""The words of what a deletion means for learnings."""

from typing import Final

from reflexio_mcp.render.topic_words import TopicWords
from reflexio_mcp.results.facts import FactCode

CASES: Final = TopicWords(
    anybody={
        FactCode.LEARNINGS_STAY: (
            "{number:learning} that came from this selection alone {number:stays|stay}."
        ),
        FactCode.LEARNINGS_BACK: (
            "{number:earlier learning} {number:becomes|become} current again, because what replaced "
            "{number:it|them} goes."
        ),
        FactCode.LEARNINGS_OWED: (
            "{number:earlier learning} {number:becomes|become} current again, because an earlier call of this deletion "
            "ended before it could do that."
        ),
        FactCode.LEARNINGS_PARTLY: (
            "{number:learning} {number:is|are} also said in what stays, and {number:stays|stay}."
        ),
        FactCode.LEARNINGS_WINDOW: (
            "{number:learning} of the same time {number:quotes|quote} only what stays, and {number:stays|stay}."
        ),
        FactCode.LEARNINGS_UNKNOWN: (
            "{number:learning} may come from this selection and {number:quotes|quote} nothing that shows it: "
            "{number:it stays|they stay}."
        ),
        FactCode.LEARNINGS_UNDECIDED: (
            "Somebody has to decide about {number:learning} that {number:stays|stay}: what is erased may be in "
            "{number:it|them}."
        ),
        FactCode.LEARNINGS_NOT_SHOWN: "{number:more learning} of this selection {number:is|are} not shown.",
        FactCode.SOURCE_GONE_EARLIER: (
            "{number:learning} {number:goes|go} because nothing else is left that {number:it|they} could come from. "
            "What {number:it quotes|they quote} may have been deleted earlier."
        ),
        FactCode.EARLIER_ON_HOLD: (
            "{number:earlier learning} {number:was|were} not made current again, because a hold keeps {number:it|them} "
            "as {number:it is|they are}."
        ),
        FactCode.NOT_CURRENT_AGAIN: (
            "{number:earlier learning} could not be made current again. An undo brings back what replaced "
            "{number:it|them}."
        ),
        FactCode.NOTHING_VISIBLE: (
            "Nothing of this user can be seen. What cannot be seen, such as an expired fact, is erased all the same."
        ),
        FactCode.SHARED_RULES_REST: (
            "{number:shared rule} that {number:is|are} served to everybody {number:rests|rest} on playbooks of this "
            "user and {number:stays|stay}."
        ),
        FactCode.NO_SHARED_RULES_REST: "No shared rule rests on playbooks of this user.",
        FactCode.RECORD_STAYS: "The record of this deletion stays, with the user's id and the reason.",
        FactCode.SHARED_RULES_UNTRACED: (
            "Reflexio does not say what {number:shared rule} {number:rests|rest} on."
        ),
        FactCode.SHARED_RULES_NOT_READ: "{number:older shared rule} {number:was|were} not looked at.",
        FactCode.APPROVED_RULES_REPEAT: (
            "A later run of Reflexio can make a pending rule of the same text beside an approved one."
        ),
        FactCode.REJECTED_RULES_FOUND: (
            "Reflexio's search for an answer leaves rejected rules out. Its search of agent playbooks still finds them."
        ),
        FactCode.SHARED_RULES_UNREAD: "The shared rules could not be read.",
        FactCode.SHARED_RULES_RETURN: (
            "Only the operator can remove shared rules. A later run of Reflexio can bring back a rule that was "
            "rejected, edited or deleted, unless the playbooks that it came from and their requests go too."
        ),
    },
    model={
        FactCode.NOTHING_VISIBLE: (
            "Nothing of this user can be seen; check the id. What is stored and cannot be seen, such as a profile that "
            "expired, is erased all the same."
        ),
        FactCode.LEARNINGS_STAY: (
            "{number:learning} that came from this selection alone {number:stays|stay}, unless this call includes "
            "{number:it|them}."
        ),
        FactCode.LEARNINGS_BACK: (
            "{number:earlier learning} {number:becomes|become} current again, because what replaced {number:it|them} "
            "goes. If the person wants neither, name {number:it|them} in learning_ids."
        ),
        FactCode.LEARNINGS_PARTLY: (
            "{number:learning} {number:is|are} also said in what stays, and {number:stays|stay}; learning_ids takes "
            "{number:it|them} too."
        ),
        FactCode.LEARNINGS_UNKNOWN: (
            "{number:learning} may come from this selection and {number:quotes|quote} nothing that shows it: "
            "{number:it stays|they stay}; learning_ids takes {number:it|them} too."
        ),
        FactCode.LEARNINGS_UNDECIDED: (
            "Ask the person about {number:learning} that {number:stays|stay}: what is erased may be in "
            "{number:it|them}. Name what goes too in learning_ids."
        ),
    },
    with_tools={
        ("decide_shared_rules",): {
            FactCode.SHARED_RULES_RETURN: (
                "decide_shared_rules approves, rejects or deletes shared rules. A later run of Reflexio can bring one "
                "back that was rejected or deleted, unless the playbooks that it came from and their requests go too."
            ),
        },
        ("list_learnings",): {
            FactCode.LEARNINGS_NOT_SHOWN: (
                "{number:more learning} of this selection {number:is|are} not shown: list_learnings with the same "
                "filter or user lists {number:it|them}, and with changed_since what was deleted."
            ),
        },
    },
    in_shell={
        FactCode.LEARNINGS_STAY: (
            "{number:learning} that came from this selection alone {number:stays|stay}; --include-learnings deletes "
            "{number:it|them}."
        ),
        FactCode.LEARNINGS_BACK: (
            "{number:earlier learning} {number:becomes|become} current again, because what replaced {number:it|them} "
            "goes. --learning ID deletes such a learning instead."
        ),
        FactCode.LEARNINGS_PARTLY: (
            "{number:learning} {number:is|are} also said in what stays, and {number:stays|stay}; --learning ID deletes "
            "such a learning too."
        ),
        FactCode.LEARNINGS_UNKNOWN: (
            "{number:learning} may come from this selection and {number:quotes|quote} nothing that shows it: "
            "{number:it stays|they stay}; --learning ID deletes such a learning too."
        ),
        FactCode.LEARNINGS_NOT_SHOWN: (
            "{number:more learning} of this selection {number:is|are} not shown: `reflexio-mcp learned` with the same "
            "filter or user lists {number:it|them}, and with --since what was deleted."
        ),
    },
)
