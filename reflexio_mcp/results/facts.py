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

    # What a plan selects
    ON_HOLD = (
        "on_hold",
        "`number` items are left out, because a hold keeps them; `names`: its reason; `until`: the end of its last day",
    )
    HOLD_FILE = "hold_file", "`names`: the operator's file that sets the hold"
    HOLD_CONTACT = "hold_contact", "`names`: whom to ask about the hold"
    UNREADABLE = (
        "unreadable",
        "Reflexio fails to return `number` of the requests, so no recovery copy can contain them",
    )

    # Recovery copies and exports
    COPY_HAS_SECRETS = (
        "copy_has_secrets",
        "the recovery copy contains secrets and personal data of what is deleted",
    )
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
        "`number` recovery copies, of any user, are sealed with a key that this server does not have",
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
    KINDS_NOT_LISTED = "kinds_not_listed", "agent playbooks and expired profiles are not listed"
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
    NOT_ANSWERED = "not_answered", "the service did not say how far learning from `number` requests is"
    NO_LEARNING_HERE = "no_learning_here", "this store does not learn"
    ONLY_STORED_USERS = "only_stored_users", "users without a stored request are not seen"
    REST_NOT_AUDITED = (
        "rest_not_audited",
        "the time limit was reached; sessions whose last request is from `until` or before were not looked at",
    )
    PARTS_NOT_AUDITED = "parts_not_audited", "the service could not return `number` parts of the traffic"
    FINDINGS_LEFT_OUT = "findings_left_out", "`number` findings have no room in the answer"
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
    NO_HOLDS = "no_holds", "the operator has no policy, so nothing is on hold"
    RECORDS_UNREADABLE = "records_unreadable", "earlier deletions cannot be read"

    # What to do after a refusal
    FIND_SESSION = "find_session", "advice: look for the session in a list"
    FIND_REQUEST = "find_request", "advice: look for the request in a list"
    ERASE_UNREADABLE = (
        "erase_unreadable",
        "advice: what cannot be read can be deleted without a recovery copy",
    )
    LIST_LEARNINGS = "list_learnings", "advice: learnings from it may still be stored; list those of its user"

    # What a person did in the explorer since the last call
    DELETED_IN_PAGE = "deleted_in_page", "the person deleted `number` requests"
    RESTORED_IN_PAGE = "restored_in_page", "the person restored `number` requests"
    LEARNINGS_DELETED_IN_PAGE = "learnings_deleted_in_page", "the person deleted `number` learnings"
    LEARNINGS_RESTORED_IN_PAGE = "learnings_restored_in_page", "the person restored `number` learnings"

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
    SESSION_FINISHED = "session_finished", "Reflexio now learns from the requests of the session that waited"


class Fact(Row):
    """Something that a reader has to know.

    Args:
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
