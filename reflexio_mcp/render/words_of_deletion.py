"""The words of deletions and restores."""

from typing import Final

from reflexio_mcp.render.topic_words import TopicWords
from reflexio_mcp.results.facts import FactCode

_UNREADABLE: Final = (
    "Reflexio fails to return {{number}} of these requests. What they contain is unknown, and no recovery copy can "
    "contain them, so they can be deleted only with {}."
)
_UNREADABLE_STAY: Final = (
    "Reflexio fails to return {{number}} of these requests, so no recovery copy can contain them. {}"
)
DELETION: Final = TopicWords(
    anybody={
        # What a plan selects, and what it leaves
        FactCode.ON_HOLD: "{number:item} {number:is|are} left out, on hold: {names}{until:, through %Y-%m-%d UTC}.",
        FactCode.MAY_BE_ON_HOLD: (
            "Reflexio fails to return {number} of the items that are left out, so a hold may cover {number:it|them}."
        ),
        FactCode.HOLD_FILE: "The operator sets holds in the file {names}.",
        FactCode.HOLD_CONTACT: "About the hold, ask {names}.",
        FactCode.PART_UNREAD: (
            "Reflexio fails to return a part of what is stored. This set does not include that part."
        ),
        FactCode.UNREADABLE: (
            "Reflexio fails to return {number} of these requests. What they contain is unknown, and no recovery copy "
            "can contain them."
        ),
        FactCode.REPEATED_REQUESTS_STAY: "The selected requests repeat others, which stay: {names:total}.",
        FactCode.JUDGED_REQUESTS_STAY: (
            "{number:request} with this finding {number:stays|stay}: a person judged {number:it|them} to be no problem."
        ),
        FactCode.INTERACTIONS_STAY: (
            "The request stays, with {number:interaction}. An undo makes requests of deleted interactions."
        ),
        FactCode.OTHER_USERS_STAY: "Data of other users stays, even if it mentions this user.",
        FactCode.OTHER_RECORDS_STAY: (
            "Session evaluations, Reflexio's questions to people with their answers, and the logs of "
            "its runs stay: nothing here can delete them."
        ),
        FactCode.OUTCOMES_STAY: "Session outcomes and evaluations stay.",
        # Learnings of a plan
        FactCode.LEARNINGS_UNREAD: "What was learned from this selection could not be read.",
        FactCode.NOTHING_LEARNED: "Nothing was learned from this selection.",
        FactCode.NO_LEARNING_KNOWN: "No learning from this selection is known.",
        FactCode.LEARNINGS_UNLINKED: (
            "{number:learning} of users in this selection {number:names|name} no source interactions and "
            "{number:stays|stay}."
        ),
        FactCode.USERS_NOT_LOOKED_AT: "The learnings of {number:more user} were not looked at.",
        FactCode.SOURCES_STAY: (
            "Source interactions are still stored, in {number:request} ({names:total}), so Reflexio can learn the old "
            "text again. To prevent that, {number:this request has|these requests have} to be deleted too."
        ),
        FactCode.SOURCES_IN_ONE_PLAN: "",
        FactCode.WORDS_ELSEWHERE: (
            "{number:more stored request} of this user {number:has|have} words of what is forgotten: {names}."
        ),
        FactCode.WORDS_NOWHERE_ELSE: (
            "{number:other stored request} of this user {number:was|were} searched for longer words of what is "
            "forgotten ({names}): {number:it has|they have} none."
        ),
        FactCode.SOURCES_UNKNOWN: (
            "It is unknown whether source interactions are still stored. If so, Reflexio can learn the old text again."
        ),
        FactCode.SOURCES_GONE: (
            "No source interactions are stored any more, so Reflexio cannot learn the old text from them again."
        ),
        FactCode.QUOTE_STAYS: (
            "The words it came from still say the old: no correction changes what a learning quotes."
        ),
        FactCode.LEARNING_REPLACED: (
            "Another learning took the place of this one meanwhile: {names}. It was not corrected."
        ),
        # Recovery copies and exports
        FactCode.ONLY_IN_COPIES: (
            "Recovery copies still contain {number:item} that {number:is|are} not stored any more."
        ),
        FactCode.COPIES_OF_REQUEST_GO: (
            "Every recovery copy of this request is erased, also of interactions that stay stored."
        ),
        FactCode.EXPORTS_STAY: "Earlier exports are not deleted.",
        FactCode.COPIES_SEALED: (
            "{number} {number:recovery copy is|recovery copies are} encrypted with a key that this server "
            "does not have. {number:It was|They were} not looked at, and "
            "{number:stays until its|stay until their} days are over."
        ),
        FactCode.COPIES_DAMAGED: (
            "{number} {number:recovery copy was|recovery copies were} changed in the state and cannot be opened. "
            "{number:It is|They are} left out."
        ),
        FactCode.COPIES_GONE: (
            "{number:deleted item} or more {number:has|have} no recovery copy any more: it was erased, or removed from "
            "the state."
        ),
        # What happened during a deletion
        FactCode.ENDED_EARLY: "The work ended early.",
        FactCode.MAY_STILL_GO: (
            "{number:item} {number:is|are} still stored and may disappear or change, because a call may still take "
            "effect. Look again before you rely on {number:it|them}."
        ),
        FactCode.ARRIVED: "{number:more item} of this user arrived meanwhile and {number:is|are} stored.",
        FactCode.ARRIVED_AND_DELETED: (
            "{number:more request} of this user arrived at the last moment and {number:was|were} deleted, too, "
            "without a recovery copy."
        ),
        FactCode.STILL_LEARNING: (
            "Reflexio may still be learning from {number:user}; new learnings can contain the old text."
        ),
        FactCode.LEARNINGS_APPEARED: (
            "{number:more learning} appeared meanwhile and {number:was|were} deleted too."
        ),
        FactCode.LEARNINGS_BACK_APPEARED: (
            "{number:more earlier learning} {number:is|are} current again, because what replaced {number:it|them} was "
            "deleted too."
        ),
        FactCode.LEARNINGS_OVER_CAP: (
            "{number:more learning} appeared meanwhile and {number:stays|stay}, because no more may be deleted in this "
            "hour."
        ),
        FactCode.NOT_RECORDED: "The receipt could not be recorded{names:known}.",
        FactCode.COPIES_ON_HOLD: "No recovery copy was erased, because a hold keeps {number} of them.",
        FactCode.LATER_COPIES: (
            "{number:item} {number:was|were} deleted by another call since the plan, and the recovery "
            "{number:copy stays|copies stay}."
        ),
        FactCode.RESTORED_BEFORE: (
            "{number:item} that {number:was|were} restored from these copies earlier {number:stays|stay}: "
            "{names:total}."
        ),
        FactCode.NOT_COPIED: (
            "{number:item} {number:has|have} no recovery copy: {number:it|they} had been erased for good, and a "
            "restore had stored {number:it|them} again."
        ),
        FactCode.DELETED_AGAIN: (
            "{number:item} that {number:was|were} erased for good and that a restore had stored again "
            "{number:was|were} deleted."
        ),
        FactCode.MAY_RETURN: (
            "A restore or a deletion beside this is running or was interrupted, and can store {number:erased item} "
            "again. {number:It is|They are} deleted as soon as that is seen; a corrected learning is not, and has to "
            "be corrected again."
        ),
        FactCode.ERASURE_NOT_OVER: (
            "This was erased for good, and a restore of it is running or was interrupted. It is not stored under the "
            "same id until nothing can return, because it would be deleted."
        ),
        FactCode.LEARNING_BEING_CHANGED: (
            "Another call is changing one of these, or may still do so for three minutes. It was left as it is."
        ),
        FactCode.REPEAT_CALL: "This is not finished.",
        FactCode.LEARNINGS_MAY_BE_MISSED: "",
        FactCode.LOOK_LATER: "Look again in some minutes.",
        # What happened during a restore
        FactCode.REQUESTS_NOT_SHOWN: "The 50 oldest of {number:request} are shown.",
        FactCode.WRONG_CODE: "What was shown has changed.",
        FactCode.ERASED_BUT_ON_HOLD: (
            "{number:item} {number:is|are} stored again although erased for good, because a hold keeps "
            "{number:it|them}."
        ),
        FactCode.RESTORE_NOT_RECORDED: "The end of this restore could not be recorded{names:known}.",
        FactCode.INTERACTIONS_LOST: (
            "{number:interaction} cannot be stored again: {number:it contains|they contain} only an image or a "
            "citation, or too much."
        ),
        FactCode.SOURCES_NOT_LINKED: (
            "{number:learning} that {number:was|were} stored before {number:lists|list} restored interactions by the "
            "ids that they had before the deletion."
        ),
        FactCode.CONFIRM_RESTORE: "",
        FactCode.RESTORE_REST: "This is not finished.",
        FactCode.MORE_TO_RESTORE: (
            "{number:older deletion} can be restored by {number:its number|their numbers} and {number:is|are} not "
            "listed{names:known}."
        ),
        FactCode.CHOOSE_DELETION: "",
        # Why nothing was deleted or restored
        FactCode.NOTHING_DELETED: "Nothing was deleted.",
        FactCode.NOTHING_RESTORED: "Nothing was restored.",
        FactCode.OVER_THE_CAP: "This would delete or change {number:item}.",
        FactCode.CAP: "{number} an hour are allowed.",
        FactCode.ROOM_LEFT: "{number} {number:is|are} left now.",
        FactCode.ROOM_IN_MINUTES: "There is room in {number:minute}.",
        FactCode.DELETE_LESS: "",
        FactCode.CODE_USED: "This plan was carried out already, as deletion {number}.",
        FactCode.UNREADABLE_NEED_ERASURE: (
            "Reflexio fails to return {number} of these requests, so no recovery copy can contain them."
        ),
        FactCode.NO_COPY: "Deletion {number} has no recovery copy that you can restore.",
        FactCode.NO_COPY_OF_REQUESTS: (
            "Deletion {number} has no recovery copy of these requests that you can restore{names:known}."
        ),
        FactCode.LIST_COPIES: "",
        FactCode.COPIES_UNREADABLE: "Recovery copies cannot be read now{names:known}; nothing more was restored.",
        FactCode.HOLDS_UNKNOWN: "It is unknown whether a hold keeps these learnings.",
        FactCode.NO_DELETION_NOW: "Nothing can be deleted now{names:known}.",
        FactCode.STATE_DOES_NOT_FIT: (
            "The tables, roles or rights of the shared state are not as they should be. Ask the operator to check them."
        ),
        FactCode.STATE_UNUSABLE: "The state of this server cannot be used now{names:known}.",
        FactCode.MEND_STATE: "",
        FactCode.STOPPING: "This server is stopping; nothing was changed.",
        FactCode.NO_COPY_WRITTEN: "A recovery copy cannot be written{names:known}.",
        FactCode.ERASE_OR_MEND: "",
        # Receipts that another version recorded
        FactCode.SAID_BY_EARLIER_VERSION: "An earlier version of this program recorded{names:known}.",
        FactCode.SAID_BY_NEWER_VERSION: (
            "A newer version of this program recorded {number:fact} that this version does not know."
        ),
    },
    model={
        FactCode.ON_HOLD: "{number:item} {number:is|are} left out: a hold of the operator keeps {number:it|them}.",
        FactCode.HOLD_FILE: "",
        FactCode.HOLD_CONTACT: "",
        FactCode.UNREADABLE: _UNREADABLE.format("erase=true"),
        FactCode.REPEATED_REQUESTS_STAY: "The selected requests repeat {number:other}, which {number:stays|stay}.",
        FactCode.RESTORED_BEFORE: (
            "{number:item} that {number:was|were} restored from these copies earlier {number:stays|stay}."
        ),
        FactCode.LEARNING_REPLACED: (
            "Another learning took the place of this one meanwhile, so it was not corrected. Correct that one if it is "
            "wrong too."
        ),
        FactCode.SOURCES_STAY: (
            "Source interactions are still stored, in {number:request}, so Reflexio can learn the old text again. To "
            "prevent that, delete {number:this request|these requests} too."
        ),
        FactCode.WORDS_ELSEWHERE: (
            "{number:more stored request} of this user {number:has|have} words of what is forgotten. They may be about "
            "something else."
        ),
        FactCode.WORDS_NOWHERE_ELSE: (
            "{number:other stored request} of this user {number:was|were} searched for longer words of what is "
            "forgotten: {number:it has|they have} none. Short words were not looked for."
        ),
        FactCode.ONLY_IN_COPIES: (
            "Recovery copies still contain {number:item} that {number:is|are} not stored any more; erase=true removes "
            "{number:it|them}."
        ),
        FactCode.REPEAT_CALL: "Call again with the same arguments to finish.",
        FactCode.LEARNINGS_MAY_BE_MISSED: "That call may not find learnings whose requests are gone.",
        FactCode.ROOM_IN_MINUTES: "There is room in {number:minute}; do not retry before.",
        FactCode.DELETE_LESS: (
            "Delete a smaller part, or ask the operator to raise REFLEXIO_MCP_DELETE_CAP, or for expired requests the "
            "policy's cap."
        ),
        FactCode.CODE_USED: (
            "confirm was used already, for deletion {number}. Call without confirm for a new plan."
        ),
        FactCode.LIST_COPIES: "A restore without a number lists the deletions that have a copy.",
        FactCode.UNREADABLE_NEED_ERASURE: _UNREADABLE_STAY.format(
            "Delete them with erase, which keeps no copy."
        ),
        FactCode.MEND_STATE: "Ask the operator to mend it.",
        FactCode.STOPPING: "This server is stopping; nothing was changed. Try again in a moment.",
        FactCode.REQUESTS_NOT_SHOWN: (
            "The 50 oldest of {number:request} are shown. The audit log has the ids of all."
        ),
        FactCode.WRONG_CODE: "confirm does not match: it is too old, or what was shown or the arguments have changed.",
        FactCode.CONFIRM_RESTORE: "To restore the copy, call again with the same arguments and this code as confirm.",
        FactCode.RESTORE_REST: (
            "Call again with the same arguments to restore the rest; restored items stay."
        ),
        FactCode.CHOOSE_DELETION: (
            "The last deletions with a recovery copy are listed. Call again with deletion=NUMBER."
        ),
        FactCode.ERASE_OR_MEND: "Repeat the call with erase, or ask the operator to mend the state.",
        FactCode.SAID_BY_EARLIER_VERSION: "An earlier version of this program recorded more, in words.",
    },
    with_tools={
        ("restore_requests",): {
            FactCode.ONLY_IN_COPIES: (
                "Recovery copies still contain {number:item} that {number:is|are} not stored any more: "
                "restore_requests lists the deletions, erase=true removes {number:it|them}."
            ),
        },
        ("get_status",): {
            FactCode.CODE_USED: (
                "confirm was used already, for deletion {number}. get_status shows its receipt. Call without confirm "
                "for a new plan."
            ),
            FactCode.MAY_RETURN: (
                "A restore or a deletion beside this is running or was interrupted, and can store "
                "{number:erased item} again. {number:It is|They are} deleted as soon as that is seen; a corrected "
                "learning is not, and has to be corrected again. get_status says when nothing can return."
            ),
        },
        ("delete_requests",): {
            FactCode.SOURCES_IN_ONE_PLAN: (
                "To forget a learning for good, delete the requests that it quotes, too: delete_requests with "
                "request_ids and include_learnings=true deletes both in one plan, and says whether other requests have "
                "words of it."
            ),
        },
        ("list_learnings", "delete_learnings"): {
            FactCode.LEARNINGS_MAY_BE_MISSED: (
                "That call may not find learnings whose requests are gone: look with list_learnings in some minutes, "
                "and pass their ids to delete_learnings."
            ),
        },
    },
    in_shell={
        FactCode.UNREADABLE: _UNREADABLE.format("--erase"),
        FactCode.ONLY_IN_COPIES: (
            "Recovery copies still contain {number:item} that {number:is|are} not stored any more: `reflexio-mcp "
            "restore` lists the deletions, --erase removes {number:it|them}."
        ),
        FactCode.REPEAT_CALL: "The same command again does the rest.",
        FactCode.LEARNINGS_MAY_BE_MISSED: (
            "It may not find learnings whose requests are gone: `reflexio-mcp learned` lists them."
        ),
        FactCode.DELETE_LESS: (
            "Repeat the command with --delete-cap NUMBER, or --delete-cap 0 for no cap. With --finding expired, "
            "change `cap` in the policy file instead."
        ),
        FactCode.UNREADABLE_NEED_ERASURE: _UNREADABLE_STAY.format(
            "Delete them with --erase, which keeps no copy."
        ),
        FactCode.MEND_STATE: "To fix this, {names:plain}.",
        FactCode.STATE_DOES_NOT_FIT: (
            "The tables, roles or rights of the shared state are not as they should be: `reflexio-mcp state check` "
            "says what is wrong."
        ),
        FactCode.LIST_COPIES: "`reflexio-mcp restore` lists the deletions that have a copy.",
        FactCode.RESTORE_REST: "The same command again restores the rest; restored items stay.",
        FactCode.ERASE_OR_MEND: "Repeat it with --erase, or {names:plain}.",
    },
)
