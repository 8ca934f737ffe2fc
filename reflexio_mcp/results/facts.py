"""Facts: what a reader has to know about an answer, without words.

Code below `render/` makes facts and no sentences. `render/words.py` has their words for a model, a person and a shell,
and `explorer/page/words.js` those of the page.
"""

from enum import StrEnum
from typing import Annotated

from pydantic import Field, WithJsonSchema

from reflexio_mcp.results.base import Moment, Row

__all__ = ["Fact", "FactCode", "Result"]


class FactCode(StrEnum):
    """The kinds of facts. A code keeps its meaning in all versions; `docs/tools.md` lists them for programs.

    Args:
        meaning: what the fact says, and what its number, names and time are.
    """

    meaning: str

    def __new__(cls, code: str, meaning: str) -> "FactCode":
        member = str.__new__(cls, code)
        member._value_ = code
        member.meaning = meaning
        return member

    # What a plan selects, and what it leaves
    ON_HOLD = (
        "on_hold",
        "`number` items are left out, because a hold keeps them; `names`: its reason; `until`: the end of its last day",
    )
    MAY_BE_ON_HOLD = (
        "may_be_on_hold",
        "Reflexio fails to return `number` of the items that are left out, so whether the hold covers them is unknown",
    )
    HOLD_FILE = "hold_file", "`names`: the operator's file that sets the hold"
    HOLD_CONTACT = "hold_contact", "`names`: whom to ask about the hold"
    PART_UNREAD = (
        "part_unread",
        "Reflexio fails to return a part of what is stored; the set does not include it",
    )
    UNREADABLE = (
        "unreadable",
        "Reflexio fails to return `number` of the requests, so no recovery copy can contain them",
    )
    REPEATED_REQUESTS_STAY = (
        "repeated_requests_stay",
        "`number` requests that the selected ones repeat stay; `names`: the first ids",
    )
    JUDGED_REQUESTS_STAY = (
        "judged_requests_stay",
        "`number` requests with this finding stay: a person judged them to be no problem",
    )
    INTERACTIONS_STAY = (
        "interactions_stay",
        "the request stays, with `number` interactions; an undo makes requests of deleted ones",
    )
    OTHER_USERS_STAY = "other_users_stay", "data of other users stays, even if it mentions this user"
    NOTHING_VISIBLE = (
        "nothing_visible",
        "no call returns anything of this user; what is stored and not returned is erased all the same",
    )
    SHARED_RULES_REST = (
        "shared_rules_rest",
        "`number` shared rules rest on playbooks of this user and stay; `shared_rules` has the newest",
    )
    NO_SHARED_RULES_REST = "no_shared_rules_rest", "no shared rule rests on playbooks of this user"
    RECORD_STAYS = "record_stays", "the record of the deletion stays, with the user's id and the reason"
    SHARED_RULES_UNTRACED = (
        "shared_rules_untraced",
        "the service does not say what `number` shared rules rest on",
    )
    SHARED_RULES_NOT_READ = "shared_rules_not_read", "`number` older shared rules were not looked at"
    SHARED_RULES_UNREAD = "shared_rules_unread", "the shared rules could not be read"
    SHARED_RULES_RETURN = (
        "shared_rules_return",
        "a shared rule that is rejected, edited or deleted can be made again while its playbooks are stored",
    )
    APPROVED_RULES_REPEAT = (
        "approved_rules_repeat",
        "a later run can make a pending rule of the same text beside an approved one",
    )
    REJECTED_RULES_FOUND = (
        "rejected_rules_found",
        "Reflexio's search of agent playbooks returns rejected rules too, unless it is told not to",
    )
    OTHER_RECORDS_STAY = (
        "other_records_stay",
        "session evaluations, questions to people and logs stay, because no call deletes them",
    )
    OUTCOMES_STAY = "outcomes_stay", "session outcomes and evaluations stay"

    # Learnings of a plan
    LEARNINGS_UNREAD = "learnings_unread", "the learnings from this selection could not be read"
    NOTHING_LEARNED = (
        "nothing_learned",
        "nothing was learned from this selection, because this store does not learn",
    )
    NO_LEARNING_KNOWN = "no_learning_known", "no learning from this selection is known"
    LEARNINGS_STAY = (
        "learnings_stay",
        "`number` learnings that came from this selection alone stay, because the call does not include learnings",
    )
    LEARNINGS_BACK = (
        "learnings_back",
        "`number` earlier learnings become current again, because what replaced them goes",
    )
    LEARNINGS_OWED = (
        "learnings_owed",
        "`number` earlier learnings become current again, which an earlier call of this deletion has not done",
    )
    LEARNINGS_PARTLY = "learnings_partly", "`number` learnings are also said in what stays, so they stay"
    LEARNINGS_WINDOW = (
        "learnings_window",
        "`number` learnings that were learned at the same time quote only what stays, so they stay",
    )
    LEARNINGS_UNKNOWN = (
        "learnings_unknown",
        "`number` learnings may come from this selection and quote nothing that shows it, so they stay",
    )
    LEARNINGS_UNDECIDED = (
        "learnings_undecided",
        "question: an erasure leaves `number` learnings that may contain what is erased; name those that go too",
    )
    LEARNINGS_NOT_SHOWN = "learnings_not_shown", "`number` more of these learnings are not shown"
    SOURCE_GONE_EARLIER = (
        "source_gone_earlier",
        "`number` learnings go because nothing is left that they could come from; what they quote is gone",
    )
    LEARNINGS_UNLINKED = (
        "learnings_unlinked",
        "`number` learnings of these users name no source interactions; they stay",
    )
    USERS_NOT_LOOKED_AT = "users_not_looked_at", "the learnings of `number` further users were not looked at"
    SOURCES_STAY = (
        "sources_stay",
        "`number` requests that taught the learning are stored, so it can be learned again; `names`: the first ids",
    )
    SOURCES_IN_ONE_PLAN = "sources_in_one_plan", "advice: one plan can delete learnings and their requests"
    WORDS_ELSEWHERE = (
        "words_elsewhere",
        "`number` more stored requests of the user have words of what is forgotten; `names`: the words, rarest first",
    )
    WORDS_NOWHERE_ELSE = (
        "words_nowhere_else",
        "none of `number` other stored requests of the user has one of `names`, longer words of what is forgotten",
    )
    SOURCES_UNKNOWN = (
        "sources_unknown",
        "it is unknown whether interactions that taught the learning are stored",
    )
    SOURCES_GONE = (
        "sources_gone",
        "no interaction that taught the learning is stored, so they cannot teach it again",
    )
    QUOTE_STAYS = (
        "quote_stays",
        "a corrected learning still has the passage that it came from, in the original words",
    )

    LEARNING_REPLACED = (
        "learning_replaced",
        "the learning was replaced meanwhile and was not corrected; `names`: the id of what replaced it",
    )

    # Recovery copies and exports
    ONLY_IN_COPIES = (
        "only_in_copies",
        "recovery copies contain `number` selected items that are not stored any more",
    )
    COPIES_OF_REQUEST_GO = (
        "copies_of_request_go",
        "every recovery copy of the request is erased, also of interactions that stay stored",
    )
    EXPORTS_STAY = "exports_stay", "earlier exports are not deleted"
    COPIES_SEALED = (
        "copies_sealed",
        "`number` recovery copies, of any user, are encrypted with a key that this server does not have",
    )
    COPIES_DAMAGED = (
        "copies_damaged",
        "`number` of these recovery copies were changed in the state, so nobody can open them; they are left out",
    )
    COPIES_GONE = (
        "copies_gone",
        "`number` or more deleted items have no recovery copy any more: it was erased, or removed from the state",
    )

    # Lists
    NOTHING_STORED = "nothing_stored", "nothing is stored"
    NOTHING_FOUND_YET = (
        "nothing_found_yet",
        "nothing matches among the requests that were looked through so far",
    )
    ALL_WORDS_NEEDED = "all_words_needed", "advice: `contains` finds requests with all of its words"
    WHOLE_NAMES_NEEDED = "whole_names_needed", "advice: `source` and `agent_version` are complete names"
    CASE_MATTERS = "case_matters", "advice: upper and lower case differ in ids"
    PART_COUNTED = (
        "part_counted",
        "only matching requests are counted; deleting a session deletes all of its requests",
    )
    LONGEST_OF = "longest_of", "the longest of all `number` sessions are listed"
    MORE_SESSIONS = "more_sessions", "only the newest sessions are listed"
    PARTS_UNREADABLE = "parts_unreadable", "Reflexio fails to return some of the requests"
    SECRETS_COVERED = "secrets_covered", "secrets are replaced in this answer"
    FORMATS_NOT_KNOWN = (
        "formats_not_known",
        "keys are not looked for by the formats of their vendors: a package does not run on this platform",
    )
    NO_PAGE_SHOWN = "no_page_shown", "the client does not say that it shows pages, so the person may see none"

    # Lists of learnings
    KINDS_NOT_LISTED = "kinds_not_listed", "shared rules and expired profiles are not listed"
    CHANGES_ELSEWHERE = (
        "changes_elsewhere",
        "changes without a trace are missing: deletions by other clients, forgotten playbooks and the like",
    )
    CHANGES_TOO_OLD = (
        "changes_too_old",
        "Reflexio keeps replaced learnings for `number` days, so that older ones are missing",
    )
    CHANGES_UNRECORDED = (
        "changes_unrecorded",
        "this server's records cannot be read, so that its deletions, corrections, restores and exports are missing",
    )
    CHANGES_PARTLY_READ = (
        "changes_partly_read",
        "there are more requests than one call reads, so that changes of some users may be missing",
    )
    FORGOTTEN_OR_DELETED = (
        "forgotten_or_deleted",
        "`number` learnings were forgotten, or what had taken their place was deleted: no copy shows which",
    )
    LEARNINGS_NOT_LISTED = (
        "learnings_not_listed",
        "`number` learnings that name no source interactions are not listed",
    )
    USERS_NOT_READ = "users_not_read", "the learnings of `number` more users were not read"
    LEARNED_NOT_KNOWN = "learned_not_known", "whether anything was learned is not known"

    # What is learned from a request
    LEARNING_WAITS = "learning_waits", "nothing is learned yet: Reflexio waits for more of the conversation"
    LEARNING_NOT_BEGUN = "learning_not_begun", "nothing is learned yet"
    LEARNING_RUNS = "learning_runs", "Reflexio is learning"
    LEARNING_DONE = "learning_done", "Reflexio has learned"
    LEARNING_COVERED = (
        "learning_covered",
        "Reflexio has read the request, whether or not there was anything to learn",
    )
    LEARNING_FAILED = "learning_failed", "nothing was learned, because learning failed"
    LEARNING_EXCLUDED = "learning_excluded", "nothing is learned, because the request is for evaluation only"
    LEARNING_POINTLESS = (
        "learning_pointless",
        "nothing is learned, because nothing in the request can be learned from",
    )
    LEARNING_INPUT_GONE = (
        "learning_input_gone",
        "the interactions are deleted, and whether they were learned from is not known",
    )
    LEARNING_NOT_TRACKED = "learning_not_tracked", "Reflexio does not say what is learned"
    LEARNING_UNKNOWN = (
        "learning_unknown",
        "the service gave no answer, or one that this version does not know",
    )
    STORE_DOES_NOT_LEARN = "store_does_not_learn", "this store does not learn"

    # Audits: why something was not looked for, and what to do
    NO_RULE = "no_rule", "no rule finds it reliably"
    PART_LEFT_OUT = (
        "part_left_out",
        "a filter, a cursor, the time limit or an unreadable request leaves out a part of the traffic",
    )
    RULE_OFF = "rule_off", "the operator has switched the rule off"
    FEW_COMPARED = "few_compared", "only `number` requests are compared across sessions"
    NEWEST_ASKED = "newest_asked", "the service was only asked about the `number` newest requests"
    SERVICE_SILENT = "service_silent", "the service did not say how far learning is"
    NOT_ANSWERED = (
        "not_answered",
        "the service did not say how far learning from `number` requests is; ask again in a minute",
    )
    NO_LEARNING_HERE = "no_learning_here", "this store does not learn"
    ONLY_STORED_USERS = "only_stored_users", "users without a stored request are not seen"
    REST_NOT_AUDITED = (
        "rest_not_audited",
        "the time limit was reached; sessions whose last request is from `until` or before were not looked at",
    )
    PARTS_NOT_AUDITED = "parts_not_audited", "the service could not return `number` parts of the traffic"
    FINDINGS_LEFT_OUT = "findings_left_out", "`number` findings have no room in the answer"
    LIST_OLDER = "list_older", "advice: the places in the rest are listed with `until` as the end of the time"
    JUDGE_PASSAGES = (
        "judge_passages",
        "advice: somebody has to judge each possible prompt injection before a request is deleted",
    )
    JUDGE_SECRETS = "judge_secrets", "advice: somebody has to judge each possible secret by its words"
    NO_MATCH = "no_match", "nothing has what the rules know, which is no all-clear"

    # What the rules of an audit can and cannot know
    KNOWS_SECRETS = "knows_secrets", "secrets are found by formats, names before them and sentences"
    KNOWS_PASSAGES = "knows_passages", "prompt injection is found by signs alone"
    NO_PASSAGE = "no_passage", "no passage has the signs that the rule knows, which is no all-clear"
    KNOWS_PERSONAL = "knows_personal", "personal data is found by the form of numbers and addresses"
    KNOWS_DUPLICATES = "knows_duplicates", "duplicates have the same letters and digits"
    KNOWS_EXPIRED = "knows_expired", "what expires is what the operator's policy names"
    KNOWS_NAMES = "knows_names", "the rule reads ids and names, no content"
    KNOWS_ORDER = "knows_order", "split conversations are guessed from times and first words"
    KNOWS_SERVICE = "knows_service", "the state of learning is what the service says"
    KNOWS_LEARNINGS = (
        "knows_learnings",
        "learnings are compared by their sources and times, not by what they say",
    )

    OTHER_FILTER = "other_filter", "advice: try other filters, or an earlier start"
    SHOW_FINDINGS = "show_findings", "advice: show the person what was found before anything is deleted"

    # The status
    ASKS_OR_PLANS = (
        "asks_or_plans",
        "a person is asked if the client has forms; otherwise a plan's code is enough",
    )
    ASKS = "asks", "a person is asked; if the client has no forms, nothing is deleted"
    PLANS = "plans", "a plan's code is enough"
    ACTS_AT_ONCE = "acts_at_once", "nobody is asked, and no plan is shown"
    CAN_UNDO = "can_undo", "deletions can be undone for `number` days"
    CANNOT_UNDO = "cannot_undo", "deletions are final"
    DELETES_ITSELF = (
        "deletes_itself",
        "Reflexio itself deletes: the oldest rows, and learnings that were replaced",
    )
    HOLDS_SET = (
        "holds_set",
        "nobody can delete or correct what is on hold; `names`: the operator's policy file",
    )
    ASK_ABOUT_HOLD = "ask_about_hold", "advice: ask somebody about a hold; `names`: whom"
    NO_HOLDS_IN = "no_holds_in", "nothing here is on hold; `names`: the operator's policy file"
    NO_HOLDS = "no_holds", "the operator has no policy, so nothing is on hold"
    LOG_SOUND = "log_sound", "the audit log has `number` lines, and none is changed or missing"
    LOG_UNSOUND = "log_unsound", "of the audit log's `number` lines, some are changed or missing"
    RECORDS_CHANGED = (
        "records_changed",
        "the records of `number` deletions or restores were changed in the state, or their key is missing",
    )
    RECORDS_UNREADABLE = "records_unreadable", "earlier deletions cannot be read"
    LAST_LISTED = "last_listed", "of deletions, or of exports and refusals, only the last `number` are listed"

    # What to do after a refusal
    FIND_SESSION = "find_session", "advice: look for the session in a list"
    FIND_REQUEST = "find_request", "advice: look for the request in a list"
    ERASE_UNREADABLE = (
        "erase_unreadable",
        "advice: what cannot be read can be deleted without a recovery copy",
    )
    DELETE_INSTEAD = "delete_instead", "advice: delete a learning instead of emptying it"
    LIST_LEARNINGS = "list_learnings", "advice: learnings from it may still be stored; list those of its user"

    # What is told beside a request
    BELIEFS_NOT_READ = (
        "beliefs_not_read",
        "what was learned from the request, and used in it, could not be read",
    )
    LEARNED_HERE_MORE = "learned_here_more", "`number` more learnings quote the request"
    LEARNED_HERE_PERHAPS = (
        "learned_here_perhaps",
        "`number` learnings may come from the request: not all that they quote is stored",
    )
    LEARNED_BESIDE = "learned_beside", "`number` learnings were learned at the same time, from other requests"
    USED_MORE = "used_more", "`number` more learnings were retrieved for its answers"
    VERDICTS_NOT_READ = (
        "verdicts_not_read",
        "how Reflexio judged the used learnings, or how often they were applied, could not be read",
    )
    OUTCOMES_NOT_READ = "outcomes_not_read", "how sessions ended could not be read"

    # What a person did in the explorer since the last call
    DELETED_IN_PAGE = "deleted_in_page", "the person deleted `number` requests"
    RESTORED_IN_PAGE = "restored_in_page", "the person restored `number` requests"
    LEARNINGS_DELETED_IN_PAGE = "learnings_deleted_in_page", "the person deleted `number` learnings"
    LEARNINGS_RESTORED_IN_PAGE = "learnings_restored_in_page", "the person restored `number` learnings"

    # What went wrong inside this server
    UNEXPECTED = "unexpected", "something went wrong inside this server; its log says more"
    CALL_TOO_LONG = "call_too_long", "the call took too long and was ended"
    # Exports and imports
    SECRETS_CAN_BE_COVERED = (
        "secrets_can_be_covered",
        "nothing is written yet; advice: ask whether what looks like a secret is to be replaced",
    )
    SECRETS_EXPORTED = "secrets_exported", "secrets and personal data are exported as stored"
    SECRETS_NOT_EXPORTED = (
        "secrets_not_exported",
        "recognized secrets are replaced by their kinds; other secrets and personal data are exported as stored",
    )
    EXPORT_NOT_WRITTEN = "export_not_written", "no file was written; `names`: why"
    STORE_HAS_NO_LEARNINGS = (
        "store_has_no_learnings",
        "the embedded store has no learnings and no session outcomes",
    )
    KINDS_NOT_EXPORTED = (
        "kinds_not_exported",
        "what Reflexio's API does not return is missing, and without a user also learnings of users without a request",
    )
    LEARNINGS_NOT_ALL_READ = (
        "learnings_not_all_read",
        "not all learnings could be read; the next facts say why",
    )
    OUTCOMES_NOT_ALL_READ = (
        "outcomes_not_all_read",
        "not all session outcomes could be read; the next facts say why",
    )
    VERDICTS_NOT_ALL_READ = (
        "verdicts_not_all_read",
        "not all verdicts could be read; the next facts say why, unless there are more than Reflexio returns",
    )
    QUESTIONS_NOT_ALL_READ = (
        "questions_not_all_read",
        "not all questions of Reflexio could be read; the next facts say why, unless there are more than it returns",
    )
    FETCH_ONCE = "fetch_once", "advice: one fetch of `link` within five minutes gets the file"
    ONLY_REQUESTS_IMPORTED = (
        "only_requests_imported",
        "learnings and session outcomes do not come back: the embedded store has none",
    )
    IMPORT_IS_LEARNED = (
        "import_is_learned",
        "Reflexio stores 60 requests a minute and learns again; only requests come back, without times and images",
    )
    ERASED_BEFORE = (
        "erased_before",
        "`number` of the stored requests had been erased, by the deletions `names`",
    )
    # Publishing
    STORED_SECRETS = (
        "stored_secrets",
        "the request contains what looks like a secret; `secrets` has the kinds",
    )
    REPLACED_SECRETS = "replaced_secrets", "secrets were replaced before the request was stored"
    IMAGES_NOT_COMPARED = (
        "images_not_compared",
        "images and citations were not compared, because they cannot be read back",
    )
    REPEAT_WITH_ID = (
        "repeat_with_id",
        "advice: the same publish with the id in `names` cannot store it twice, and says whether it had arrived",
    )
    SESSION_FINISHED = "session_finished", "Reflexio now learns from the requests of the session that waited"
    # What happened during a deletion
    ENDED_EARLY = "ended_early", "the work ended before it was complete; the next facts say why"
    MAY_STILL_GO = (
        "may_still_go",
        "`number` items are stored and may still disappear or change: a call may still take effect",
    )
    ARRIVED = "arrived", "`number` items of this user arrived meanwhile and are stored"
    ARRIVED_AND_DELETED = (
        "arrived_and_deleted",
        "`number` requests of this user arrived after the last look; the one call that deletes a user took them, too",
    )
    STILL_LEARNING = "still_learning", "Reflexio may still be learning from `number` of the users"
    EARLIER_ON_HOLD = (
        "earlier_on_hold",
        "`number` earlier learnings were not made current again, because a hold keeps them; `names`: their ids",
    )
    NOT_CURRENT_AGAIN = (
        "not_current_again",
        "`number` earlier learnings could not be made current again; `names`: their ids",
    )
    LEARNINGS_APPEARED = (
        "learnings_appeared",
        "`number` more learnings appeared meanwhile and were deleted too",
    )
    LEARNINGS_BACK_APPEARED = (
        "learnings_back_appeared",
        "`number` more earlier learnings are current again: what replaced them was deleted too; `names`: their ids",
    )
    LEARNINGS_OVER_CAP = (
        "learnings_over_cap",
        "`number` more learnings appeared meanwhile and stay, because the hourly cap is reached",
    )
    NOT_RECORDED = "not_recorded", "the receipt could not be recorded; `names`: why"
    COPIES_ON_HOLD = "copies_on_hold", "no recovery copy was erased, because a hold keeps `number` of them"
    LATER_COPIES = (
        "later_copies",
        "`number` items that were deleted since the plan have recovery copies, which stay",
    )
    RESTORED_BEFORE = (
        "restored_before",
        "`number` items that these copies also contain are stored under ids of their own and stay; `names`: the ids",
    )
    NOT_COPIED = (
        "not_copied",
        "`number` items have no recovery copy: an earlier erasure named them, and a restore had stored them again",
    )
    DELETED_AGAIN = "deleted_again", "`number` erased items that a restore had stored again were deleted"
    MAY_RETURN = (
        "may_return",
        "a restore or deletion can store `number` erased items again, until it is seen; a corrected learning stays",
    )
    ERASURE_NOT_OVER = (
        "erasure_not_over",
        "nothing was stored of what was erased under the same id, as long as a restore may still store it again",
    )
    LEARNING_BEING_CHANGED = (
        "learning_being_changed",
        "another call is changing one of these, or may still do so for three minutes",
    )
    REPEAT_CALL = "repeat_call", "advice: the same call again does the rest"
    LEARNINGS_MAY_BE_MISSED = (
        "learnings_may_be_missed",
        "advice: that call may not find learnings whose requests are gone",
    )
    LOOK_LATER = "look_later", "advice: look again in some minutes"

    # What happened during a restore
    REQUESTS_NOT_SHOWN = "requests_not_shown", "only the oldest of `number` requests are shown"
    WRONG_CODE = (
        "wrong_code",
        "`confirm` does not match: it is too old, or what it was made for, or the arguments, have changed",
    )
    ERASED_BUT_ON_HOLD = (
        "erased_but_on_hold",
        "`number` erased items are stored again, because a hold keeps them",
    )
    RESTORE_NOT_RECORDED = (
        "restore_not_recorded",
        "the end of the restore could not be recorded; `names`: why",
    )
    INTERACTIONS_LOST = "interactions_lost", "`number` interactions cannot be stored again"
    SOURCES_NOT_LINKED = (
        "sources_not_linked",
        "`number` stored learnings still list restored interactions by the ids from before the deletion",
    )
    CONFIRM_RESTORE = "confirm_restore", "advice: the same call with `confirm` restores the copy"
    RESTORE_REST = "restore_rest", "advice: the same call again restores the rest"
    MORE_TO_RESTORE = (
        "more_to_restore",
        "`number` older deletions can be restored too; `names`: the range of their numbers, such as 3-17",
    )
    CHOOSE_DELETION = "choose_deletion", "advice: name one of the listed deletions"

    # Why nothing was deleted or restored
    NOTHING_DELETED = "nothing_deleted", "nothing was deleted; the next fact says why"
    NOTHING_RESTORED = "nothing_restored", "nothing was restored; the next fact says why"
    OVER_THE_CAP = "over_the_cap", "the call would delete or change `number` items"
    CAP = "cap", "`number` items an hour may be deleted or changed"
    ROOM_LEFT = "room_left", "`number` items of this hour's cap are left"
    ROOM_IN_MINUTES = "room_in_minutes", "advice: there is room in `number` minutes"
    DELETE_LESS = "delete_less", "advice: delete a smaller part"
    CODE_USED = "code_used", "the plan code was used for deletion `number`"
    UNREADABLE_NEED_ERASURE = (
        "unreadable_need_erasure",
        "no recovery copy can contain `number` of the requests; they can be erased",
    )
    NO_COPY = "no_copy", "deletion `number` has no recovery copy"
    NO_COPY_OF_REQUESTS = (
        "no_copy_of_requests",
        "deletion `number` has no recovery copy of these requests; `names`: the first id without one",
    )
    LIST_COPIES = "list_copies", "advice: a restore without a number lists the deletions that have a copy"
    COPIES_UNREADABLE = (
        "copies_unreadable",
        "recovery copies cannot be read; nothing more was restored; `names`: why",
    )
    HOLDS_UNKNOWN = (
        "holds_unknown",
        "it is unknown whether a hold keeps what was learned; the next fact says why",
    )
    NO_DELETION_NOW = "no_deletion_now", "nothing can be deleted now, because of the state; `names`: why"
    STATE_DOES_NOT_FIT = (
        "state_does_not_fit",
        "tables, roles or rights of the shared state are not as `state check` wants",
    )
    STATE_UNUSABLE = "state_unusable", "this server's state cannot be used; `names`: why"
    MEND_STATE = "mend_state", "advice: what the operator can do; `names`: how"
    STOPPING = "stopping", "nothing was changed: the server is stopping"

    # Why a call failed, and what to do about it; `names`: the address, the status or the correlation id
    NOT_SENT = "not_sent", "the call was not sent to Reflexio"
    BAD_ADDRESS = "bad_address", "the connection to Reflexio is not set up right"
    TOO_LARGE = "too_large", "the request is too large for Reflexio"
    CLOSED = "closed", "the connection to Reflexio is closed here"
    UNREACHABLE = "unreachable", "Reflexio could not be reached"
    NO_ANSWER = "no_answer", "Reflexio's answer did not arrive"
    TIMED_OUT = "timed_out", "Reflexio did not answer in time"
    CONNECTION_LOST = "connection_lost", "the connection broke before the answer was complete"
    ANSWER_TOO_LARGE = "answer_too_large", "Reflexio's answer is too large to read"
    NOT_THE_API = "not_the_api", "the answer is not from the Reflexio API"
    REFUSED = "refused", "Reflexio refused the call"
    ARGUMENTS_REFUSED = "arguments_refused", "Reflexio does not accept the arguments"
    ACCESS_REFUSED = "access_refused", "Reflexio refused access"
    UNKNOWN_ID = "unknown_id", "Reflexio does not know the id"
    ID_TAKEN = "id_taken", "the request_id is taken"
    RATE_LIMITED = "rate_limited", "Reflexio's rate limit is reached"
    OPERATION_FAILED = "operation_failed", "Reflexio reported that the operation failed"
    SERVER_FAULT = "server_fault", "Reflexio had an internal error"
    CALL_FAILED = "call_failed", "the call to Reflexio failed"
    SERVICE_SAID = "service_said", "`names`: what the service itself said"
    NOTHING_CHANGED = "nothing_changed", "the call changed nothing"
    EFFECT_UNKNOWN = (
        "effect_unknown",
        "it is unknown whether the call took effect; look at what is stored before you repeat it",
    )
    NO_COPY_WRITTEN = "no_copy_written", "a recovery copy cannot be written; `names`: why"
    TRY_AGAIN = "try_again", "advice: try again"
    TRY_LATER = "try_later", "advice: try again later"
    TRY_IN_SECONDS = "try_in_seconds", "advice: try again in `number` seconds"
    CORRECT_ARGUMENTS = "correct_arguments", "advice: correct the arguments and try again"
    CORRECT_SETTINGS = (
        "correct_settings",
        "advice: correct the address, the key or the proxy, and start again",
    )
    CHECK_SERVER = "check_server", "advice: check that Reflexio runs and that its address is right"
    CHECK_ADDRESS = "check_address", "advice: check that the address is the API's"
    CHECK_KEY = "check_key", "advice: check the key, and that it belongs to the address"
    CHECK_ID = "check_id", "advice: check the id"
    CHOOSE_ID = "choose_id", "advice: choose another request_id, or leave it out"
    SPLIT_REQUEST = "split_request", "advice: split the request, or send images by URL"
    ASK_FOR_LESS = "ask_for_less", "advice: use a narrower filter or a smaller limit"
    READ_SERVER_LOG = "read_server_log", "advice: try again later, or look at Reflexio's log"
    CHECK_STORE = "check_store", "advice: try again later, or check the embedded store's file"
    ERASE_OR_MEND = "erase_or_mend", "advice: erase instead, or mend the state; `names`: how"

    # Receipts that another version recorded
    SAID_BY_EARLIER_VERSION = "said_by_earlier_version", "`names`: what an earlier version recorded in words"
    SAID_BY_NEWER_VERSION = (
        "said_by_newer_version",
        "a newer version recorded `number` facts that this one does not know",
    )


class Fact(Row):
    """Something that a reader has to know.

    Args:
        number: 0 is a number, too; `None` if the code has none.
        names: stored names, as results show them. Only `render/` puts them into a text, in a fence or in quotation
            marks.
    """

    # The codes are not in the schemas of tools: each tool would list all of them.
    code: Annotated[FactCode, WithJsonSchema({"type": "string", "description": "docs/tools.md lists them"})]
    number: int | None = None
    names: Annotated[list[str], Field(description="stored names")] = []
    until: Moment | None = None


class Result(Row):
    """The result of a tool, ready to show: masked, cut and escaped. Only get_request and the page show secrets."""

    notice: Annotated[str, Field(description="how to treat stored text, if any is shown")] = ""
    facts: list[Fact] = []
    text: Annotated[str, Field(description="what this means, and what to do next")] = ""
