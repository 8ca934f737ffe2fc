"""Every rule of an audit, declared once: the findings, the filter `finding` and the documentation follow it."""

from dataclasses import dataclass
from typing import Final, Literal

__all__ = ["RULES", "Remedy", "Rule", "Severity", "Unit", "rule"]

Severity = Literal["high", "medium", "low"]
Unit = Literal["request", "session", "source", "period", "user", "version", "learning"]
Remedy = Literal["delete", "look"]
"""What the next call does: plan a deletion of what was found, or show it without content."""


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule.

    Args:
        id: its name, also in `finding` where it `selects`.
        unit: what it counts.
        remedy: what the next call is.
        finds: what it finds, in a few words.
        why: one sentence: why it matters.
        advice: what to send differently next time.
        method: how it decides, with its thresholds; for the documentation.
        detector: `module.Class` in this folder, by name so that no pattern is compiled for the catalog; empty where the
            service has to be asked (`traffic/audit/learning_status.py` and `learned.py`).
        selects: whether a filter can select it: the requests of one session show it, or of several that are compared.
        across: whether only sessions that are compared show it.
        within: what of the traffic it compares, where "not found" would be taken for more.
        why_unlearned, advice_unlearned: the same for a store that does not learn, where it is something else.
    """

    id: str
    severity: Severity
    unit: Unit
    remedy: Remedy
    finds: str
    why: str
    advice: str
    method: str
    detector: str = ""
    selects: bool = False
    across: bool = False
    within: str = ""
    why_unlearned: str = ""
    advice_unlearned: str = ""

    def reasons(self, *, learns: bool) -> tuple[str, str]:
        """Why it matters and what to send differently, in a store that learns or in one that does not."""
        if learns:
            return self.why, self.advice
        return self.why_unlearned or self.why, self.advice_unlearned or self.advice


RULES: Final[tuple[Rule, ...]] = (
    Rule(
        "probable-secret", "high", "request", "delete",
        "keys, tokens, passwords or private keys in stored text",
        "They come back in later prompts until they are deleted.",
        "Strip credentials before publishing, and replace those found.",
        "Kingfisher's rules for the formats of some hundreds of vendors, without asking any of them; some formats"
        " that it leaves out; keys, tokens and passwords beside their name (`JIRA_API_TOKEN=…`, `\"client_secret\" "
        ": \"…\"`, `name: API_TOKEN` with a `value:` below it); passwords, PINs, door codes and seed phrases told "
        "in a sentence, in some thirty languages, or in the column of a table that is called so, or as one word that "
        "answers an assistant's question for it in the turn before, not where, when or which site it is for; "
        "passwords in commands, calls, addresses, headers and `.netrc`, "
        "and as Jenkins, Maven and PuTTY keep them; password hashes as crypt writes them; the values of a "
        "Kubernetes Secret; addresses of webhooks, signatures in addresses, and the code for a Wi-Fi. "
        "Beside a name, a value must look made by a machine "
        "(MACHINE_MADE_CHARS, MACHINE_MADE_ENTROPY, letters and digits, not words and numbers with separators; "
        "without a digit, capitals among small letters as no name has them) or, for a password, mix kinds of "
        "letters (PASSWORD_CHARS). No hit may be a placeholder (`your_api_key`, `ghp_xxxx`, `abc123xyz`, "
        "`${TOKEN}`, `proxyuser:proxypass`) or read as words; beside a name none has the form of a time, a "
        "checksum, a fingerprint or a file's name, nor is it called public or encrypted (`ENC[…]`). "
        "Roles, the names and statuses of tools and the ids of learnings are looked at as texts are. In ids and names "
        "(request, session, user, source, version, experiment) only the formats of vendors count. Base64 of plain "
        "text, from ENCODED_CHARS characters on and twice over at most, is read as that text. Letters of full width "
        "count as plain ones, and what nobody sees (a blank of no width) hides nothing; Cyrillic letters in a Latin "
        "word do. The first SCANNED_CHARS characters of each text are looked at; of a text with more than "
        "WORDS_JUDGED words for secrets the rest counts as one. What is found and is less sure counts as "
        "`possible-secret`.",
        detector="secrets.Secrets", selects=True,
    ),
    Rule(
        "planted-instructions", "high", "request", "delete",
        "text that seems written to command an assistant that reads it later",
        "A model that recalls it may follow it.",
        "Publish what was said, not pages and tool results from outside.",
        "Words that override what the assistant was told, inside a text (who begins a message with them tries it out "
        "in person: OPENING_CHARS), in some thirty languages, misspelt or with digits for letters, or that announce "
        "instructions for it. Else two different signals (a new task, address, authority, act, secrecy, hidden text) "
        "within NEAR_CHARS of each other, one of them strange in anybody's mouth (not act or secrecy). Who opens with "
        "an override and asks for the prompt tries it out as well. In a person's own words, that is, in up to "
        "OWN_CHARS characters and OWN_LINES lines without a paragraph, no override counts wherever it stands, unless "
        "with an act, secrecy, hidden text or words for some assistant that reads it. Where nobody in the "
        "conversation wrote the text (a turn of a tool, `tools_used`, a quoted document), an order counts too: about "
        "somebody's accounts, files or money, to send something to an address, to answer in some way, not to do what "
        "the user asks, to leave the page alone and say something else, or politely about one thing that it names by "
        "id, path or owner, to open a door or grant access to an address, or in the marks of a chat's template "
        "(`<|im_start|>system`); not one that is repeated to be confirmed. There ten words or more with hyphens "
        "between them, as addresses carry them, are read as words. Not quoted, no act that is forbidden, not behind "
        "words that discuss such attacks (unless they deny one) or ask for a prompt to be written, and not in a turn "
        "of the role System or Developer.",
        detector="planted_instructions.Planted", selects=True,
    ),
    Rule(
        "possible-secret", "medium", "request", "look",
        "what stands where a key does, or begins as one: it may be real, an example or none",
        "If it is a real one it comes back in later prompts.",
        "Look before deleting; strip what opens something before publishing.",
        "What `probable-secret` finds, where one of these makes it less sure: its letters go through the alphabet, "
        "ALPHABET_CHARS of them or more, whatever stands between (`a1B2c3D4e5F6g7H8`). It is a uuid whose version or "
        "variant does not exist. It has no form that is known, and is 32 hexadecimal digits beside a name, which a "
        "checksum is too. Or it stands beside a name (in NAME_CHARS, none of a password) with that of a vendor of whom "
        "Kingfisher knows keys, which takes it for none of them, nor with `=` between the two: it lacks a character, "
        "or Kingfisher does not know that kind of key of this vendor. So a Twilio auth token, a Slack signing secret "
        "and a GitHub client secret in their usual form are only possible ones. Vendors called by a plain word "
        "(Render, Square) do not count as such. "
        "A request with a probable one too counts there alone, so that none is named twice. This is only about what "
        "an audit counts: possible ones are covered, warned of and replaced as probable ones are.",
        detector="secrets.Secrets", selects=True,
    ),
    Rule(
        "shared-session", "medium", "session", "look",
        "sessions with several users",
        "Learning takes a session for one person's, so its users are mixed up, and deleting it takes everybody's part.",
        "Give every user a session id of their own.",
        "Two or more user ids in one session.",
        detector="sessions.SharedSessions", selects=True,
        why_unlearned="It reads as one person's, and deleting it takes everybody's part.",
    ),
    Rule(
        "test-traffic", "medium", "request", "delete",
        "test, demo, staging or shadow traffic that is not evaluation_only",
        "It teaches production what was only tried out.",
        "Publish it with evaluation_only=true.",
        "A whole word in the first NAME_READ characters of the source, user id or agent version says so, in a place "
        "where it names the traffic (`checkout-test`, `staging`) and not a subject (`test-prep`, `ab-test`); or a "
        "source or version is one of development (`dev`, `2.1.0-dev`). Session ids are often made from what is talked "
        "about (`fix-failing-tests`), so only forms that name a run count: "
        "`test-12`, `test-session-4`, `smoke-test-12`, `nightly-testrun`.",
        detector="sources.TestTraffic", selects=True,
        why_unlearned="It stands among what people really said.",
        advice_unlearned="Mark it with evaluation_only=true, or keep it in a store of its own (REFLEXIO_MCP_STORE).",
    ),
    Rule(
        "duplicate", "medium", "request", "delete",
        "requests that repeat another one of their session word for word",
        "A conversation that is published twice counts twice in what is learned.",
        "Repeat a failed publish with the same request_id, and publish each turn once.",
        "The same roles and texts in one session: at least DUPLICATE_CHARS characters within DUPLICATE_SECONDS, with "
        "an answer of COPIED_ANSWER_CHARS within ANSWERED_SECONDS; any text repeated within RETRY_SECONDS with "
        "nothing else stored between; and a history imported twice, whenever, that is, in the order they had "
        "(IN_ORDER), IMPORTED_REQUESTS or more different requests in a row that were all stored before, or all of a "
        "session again (IMPORTED_SHARE), or IMPORTED_TURNS or more different turns in whatever requests, of "
        "DUPLICATE_CHARS characters together; of such a history what has no answer of that length goes where it "
        "stands between the same requests or turns as before. What comes on OCCASIONS or more occasions is a routine, "
        "but for what is "
        "stored within DUPLICATE_SECONDS and for a history with such answers, and what one asks anew each day is "
        "asked in earnest. What a person says and what answers it, that user's requests up to the next in which a "
        "person speaks, go together or not at all, and an answer only where all that it answers is the same; one that "
        "begins with an answer and goes on with a question counts as the question. Where no role is a person's, what "
        "begins neither as an assistant's nor as a tool's counts as one. With a filter by source or version (in an "
        "audit by words, too), which may hide either, only requests that hold both are judged; what comes after an "
        "end_time is not seen. Of copies the first one stays and is named. Or "
        "one request holds all turns of an earlier one and goes on (a question alone, then with its answer; a "
        "conversation published again with every turn, up to TURNS_COMPARED): of DUPLICATE_CHARS within "
        "ANSWERED_SECONDS, with GROWN_TURNS turns or such an answer whenever, and a shorter one within NEAR_SECONDS "
        "where it comes right behind it. Then the fuller one stays. Or all its turns stand in an earlier request and "
        "in a later one, as in a conversation whose last few turns are published each time (DUPLICATE_CHARS in "
        "common). `User`, `user` and `human` are one role, unless they are two in one request, and so are "
        "`Assistant` and `ai`. Another image or action makes another turn. What is not evaluation_only never goes for "
        "what is: of the same words the evaluation_only one goes, and where that one holds more, none does.",
        detector="duplicates.Duplicates", selects=True, within="in one session",
        why_unlearned="The same words are listed and counted twice.",
    ),
    Rule(
        "near-duplicate", "medium", "request", "look",
        "requests that repeat another one of their session nearly, or word for word in a short text: compare, a word "
        "may say something else",
        "Nearly the same text twice counts nearly twice in what is learned.",
        "Publish a turn once, when it is complete, and only what is new in it.",
        "Within NEAR_SECONDS, texts that are equal but for case, blanks, punctuation, times and uuids, or but for one "
        "word that is misspelt (two letters that changed places: SWAPPED_LETTERS; one more, one less or another one "
        "inside it: MISSPELT_LETTERS) or left out and says nothing in English (`the`, `please`), from "
        "SHORT_CHARS_LEAST characters on (ONE_WORD_SIMILARITY); or one of at least NEAR_CHARS_LEAST is the beginning "
        "of the other (BEGINNING_SHARE). Any other word makes another statement. No rule knows all words that look "
        "misspelt and are not, so the call shows them and deletes none. Compared with the last TEXTS_KEPT texts; the "
        "lesser one is named, with the one it nearly repeats, but none that is not evaluation_only with one that is.",
        detector="duplicates.Duplicates", selects=True, within="in one session",
        why_unlearned="Nearly the same words are listed and counted twice.",
    ),
    Rule(
        "copied-session", "medium", "session", "delete",
        "sessions of three turns or more that repeat another session of their user",
        "A history that is imported again under new session ids counts twice in what is learned.",
        "Import a history once, and under the session ids it had.",
        "COPIED_TURNS or more turns with COPIED_CHARS characters or more are the same in two sessions of one user, "
        "in whatever requests, and they are all of one of the two; of COPIED_NEARLY or more, all but one or one in "
        "ten. The one that holds more stays, else the older one. What is stored on OCCASIONS or more days, without a "
        "turn of COPIED_ANSWER_CHARS characters, is a routine. TURNS_KEPT different turns of REQUESTS_KEPT requests "
        "are compared, and of a turn that more than SESSIONS_A_TURN sessions have its neighbours in time. The filter "
        "and the call take those of its requests all of whose turns stand next to each other and in their order in "
        "the session that stays, with those before and after them: what has a turn of its own, follows on one, or "
        "is an answer to another question, stays too. A session that has no other request is none. One for "
        "evaluation only goes before others, and of others nothing goes for a session with such a request. A list "
        "compares all sessions of its filter first, and says so where these are too many for one call.",
        detector="duplicates.CopiedSessions", selects=True, across=True, within="of three turns or more",
        why_unlearned="A history that is imported again under new session ids stands there twice.",
    ),
    Rule(
        "copied-request", "medium", "request", "look",
        "requests that repeat one of another session of their user word for word, answer included: look whether it was "
        "asked again in earnest",
        "What is stored again in another session counts twice in what is learned.",
        "Repeat a failed publish with the same request_id and session_id.",
        "A question and its answer of COPIED_ANSWER_CHARS characters or more, the same roles and texts in one request "
        "each, in 2 to COPIED_ANSWER_SESSIONS sessions of one user, within ANSWERED_SECONDS of the first of them, "
        "which is named. Not counted in sessions that `copied-session` names; what is evaluation_only is compared with "
        "its like. A question without its answer, with a short one or on another day is asked again in earnest. A job "
        "may be asked the same more often than one audit sees, so the call shows a request and deletes none. What else "
        "stands word for word in two sessions of one user, question and answer in one request, is counted behind the "
        "findings: people greet and ask again.",
        detector="duplicates.CopiedSessions",
        within="with an answer of 150 characters or more, in at most 4 sessions within six hours",
        why_unlearned="The same words are listed and counted twice.",
    ),
    Rule(
        "split-conversation", "medium", "request", "look",
        "a new session id for nearly every turn of one conversation",
        "Learning sees single turns without their context and learns little from them.",
        "Keep one session_id for the whole conversation.",
        "SPLIT_TURNS or more sessions in a row of one user, source and agent version with a single turn each, "
        "none more than SPLIT_GAP_SECONDS after the one before. Most of them go on from the one before "
        "(SPLIT_CONTINUITY): the person begins as people answer or ask on (`yes`, `and`, `what about`), "
        "takes up words of the turn before or of a short answer to it (ASKED_CHARS, ANSWER_CHARS), or replies to a "
        "question in few words (REPLY_WORDS, REPLY_CHARS). Some do so by more than their first word (SPLIT_LINKED). "
        "Who names another order or ticket by its number asks about another thing. Not all "
        "begin with the same words, as jobs from a template do (TEMPLATE_SHARE).",
        detector="sessions.SplitConversations",
        why_unlearned="A conversation in pieces can be neither read nor deleted as one.",
    ),
    Rule(
        "learning-failed", "medium", "request", "look",
        "requests whose learning failed",
        "Nothing was learned from them and nothing will be unless they are sent again.",
        "See the reason with get_request; publish again with force_extraction=true once its cause is gone.",
        "The service says `failed`. LEARNING_CHECKS requests of the period are asked about, evenly spread.",
    ),
    Rule(
        "learning-unfinished", "medium", "request", "look",
        "requests whose learning never finished",
        "Learning that stands still this long usually waits for a model that does not answer.",
        "Check the service's extraction model; see the state with get_request.",
        "The service says `pending` or `processing` more than LEARNING_OVERDUE_SECONDS after the request. As many "
        "are asked about as for `learning-failed`.",
    ),
    Rule(
        "anonymous-user", "medium", "user", "look",
        "one user id for everybody who is not known",
        "What is learned from one stranger is told to the next.",
        "Publish with an id of each person, or with evaluation_only=true where there is none.",
        "ANONYMOUS_SESSIONS or more sessions of user ids that consist of words for nobody (`anonymous`, `guest_user`, "
        "`unknown`, in some languages) or of zeros. `default`, `me` and `user` are none: they name the one person of "
        "a private store.",
        detector="users.AnonymousUsers", selects=True,
        why_unlearned="Nobody can tell these people apart, or find and delete what is theirs.",
        advice_unlearned="Publish with an id of each person.",
    ),
    Rule(
        "user-per-session", "medium", "period", "look",
        "a new user id for every session",
        "Nothing that was learned about a person is ever used again.",
        "Keep one user_id for a person; ids of conversations belong in session_id.",
        "NEW_USERS or more users of whom NEW_USERS_SHARE have one session only and an id made for it: it holds the "
        "session's id, the time the session began, or a word such as `guest` with an id. Or RANDOM_USERS or more over "
        "RANDOM_DAYS days, with a uuid or a hash for an id and one session. Users with lasting ids who came once are "
        "none. No filter selects it: the call lists the period's sessions.",
        detector="users.NewUsers",
        why_unlearned="What one person said can be neither found nor deleted together.",
    ),
    Rule(
        "assistant-as-user", "medium", "request", "look",
        "an assistant's words stored as a person's",
        "What the assistant said is learned as if the person had said it about himself.",
        "Give each turn the role of who said it, and publish no transcript as one turn.",
        "A turn of a person that begins as assistants do and people do not (`Assistant: `, `As an AI language model, "
        "I`, `Certainly! Here is`, in six languages; `How can I assist you today?`) and does not go on to say who said "
        "so (`my boss said`, `is what the bot says`), or with `User: ` and goes on with `Assistant: ` in a later line, "
        "unless it is a list of settings.",
        detector="turns.Turns", selects=True,
        why_unlearned="What the assistant said reads as if the person had said it.",
    ),
    Rule(
        "future-time", "medium", "request", "look",
        "times that are still to come",
        "Whatever goes by these times takes them for the newest.",
        "Send created_at as epoch seconds in UTC, not milliseconds, or leave it out.",
        "The request or a turn of it is more than FUTURE_SECONDS ahead of this machine's clock.",
        detector="turns.Turns", selects=True,
    ),
    Rule(
        "only-evaluation", "medium", "period", "look",
        "nothing but evaluation_only traffic",
        "Nothing is learned from any of it.",
        "Leave evaluation_only out for the traffic of real users.",
        "All of EVALUATION_REQUESTS or more requests. Not looked for with a filter by source, session, agent version "
        "or words: what it selects may be the evaluation. No filter selects it: the call lists the period.",
        detector="sessions.OnlyEvaluation",
        why_unlearned="Nobody can tell real conversations from trials.",
    ),
    Rule(
        "orphaned-learning", "medium", "learning", "delete",
        "learnings whose sources are all deleted",
        "What was deleted is still recalled, in the words that were learned from it.",
        "Delete with include_learnings=true.",
        "A current profile or playbook none of whose source interactions is stored any more. The learnings of "
        "USERS_READ users of the period are read, those with the most requests first; users with too many requests "
        "to look through are left out. Not looked for where the store does not learn.",
    ),
    Rule(
        "volatile-source", "low", "source", "look",
        "sources that carry timestamps or ids",
        "A source that is new every time cannot be filtered by, compared or cleaned up.",
        "Send one constant source for one integration; ids belong in session_id or request_id.",
        "VOLATILE_SOURCES or more sources are the same but for a date, a week, an epoch time, an address, a uuid, a "
        "hexadecimal or mixed id, the end of a pod's name, a number of six digits or more, or of three or more behind "
        "`build`, `run`, `pr` and their like. Models and releases have a date for good. Then every source that "
        "carries one counts; the filter selects all of those.",
        detector="sources.VolatileSources", selects=True,
    ),
    Rule(
        "many-sources", "low", "period", "look",
        "too many distinct sources",
        "Nobody can tell this many sources apart, so filters by source stop helping.",
        "Send the integration's name as source and put variants into agent_version.",
        "More than MANY_SOURCES sources, those that differ in a date, a time or an id only counted as one.",
        detector="sources.VolatileSources",
    ),
    Rule(
        "unversioned", "low", "source", "look",
        "traffic that cannot be told apart by agent version",
        "When an answer gets worse nobody can see which version of the agent it came from.",
        "Publish with agent_version, or set REFLEXIO_MCP_AGENT_VERSION.",
        "UNVERSIONED_REQUESTS or more requests of a source, UNVERSIONED_SHARE of them or more with no version "
        "(`agent-v0`, which an empty one is stored as).",
        detector="sources.Unversioned",
    ),
    Rule(
        "temporary-session", "low", "session", "delete",
        "temporary sessions long over",
        "What was meant to be thrown away is still recalled.",
        "Delete a scratch session when it is over, or publish it with evaluation_only=true.",
        "A word of the session id says so (`tmp` and `throwaway` at either end, `temp` and `scratch` at its beginning) "
        "and its last request is older than TEMPORARY_OVER_SECONDS. Not looked for with a filter that may leave out a "
        "session's last requests: source, agent_version, contains, end_time.",
        detector="sessions.TemporarySessions", selects=True,
        why_unlearned="What was meant to be thrown away is still stored.",
        advice_unlearned="Delete a scratch session when it is over.",
    ),
    Rule(
        "nearly-empty", "low", "request", "delete",
        "requests without a word, a number or a sign",
        "Nothing can be learned from them and they hide what matters in lists.",
        "Publish a turn together with its answer.",
        "Nothing but full stops, commas, question and exclamation marks, blanks and what nobody sees, of one role, "
        "without an action, an image or a tool. Any letter, digit or other sign may be an answer (`네`, `X`, `:)`).",
        detector="nearly_empty.NearlyEmpty", selects=True,
        why_unlearned="They hide what matters in lists.",
    ),
    Rule(
        "no-source", "low", "request", "look",
        "requests without a source",
        "Nobody can tell which integration sent them, and a filter by source leaves them out.",
        "Publish with source, or set REFLEXIO_MCP_SOURCE.",
        "NO_SOURCE_REQUESTS or more, and NO_SOURCE_SHARE of all requests or more.",
        detector="sources.NoSource", selects=True,
    ),
    Rule(
        "one-version", "low", "version", "look",
        "one agent version for everything",
        "A version that never changes tells no release from another.",
        "Send the version that is released, for each integration its own.",
        "ONE_VERSION_REQUESTS or more requests of ONE_VERSION_SOURCES sources or more, over ONE_VERSION_DAYS days or "
        "more, all with the same version (`agent-v0` is what `unversioned` is about); of one source where it is one "
        "that stands for none (`1.0.0`, `latest`).",
        detector="sources.Versions",
    ),
    Rule(
        "version-per-session", "low", "version", "look",
        "a new agent version for every session",
        "Versions that nothing else shares cannot be compared.",
        "Send the version that is released; ids belong in session_id or request_id.",
        "NEW_VERSIONS or more versions with a hash, a time or an id in it, NEW_VERSIONS_A_DAY or more for each day "
        "they began, NEW_VERSIONS_SHARE of them with one session only. Then every version that carries one counts; the "
        "filter selects all of those. A hash for each release is none.",
        detector="sources.Versions", selects=True,
    ),
    Rule(
        "endless-session", "low", "session", "look",
        "sessions that never end",
        "What is learned when a session ends never is, and nothing in it can be deleted as one conversation.",
        "Begin a session id of its own for every conversation.",
        "ENDLESS_REQUESTS or more requests, or requests on ENDLESS_DAYS days or more.",
        detector="sessions.EndlessSessions", selects=True,
        why_unlearned="Nothing in it can be deleted as one conversation.",
    ),
    Rule(
        "inline-image", "low", "request", "look",
        "images written into text",
        "Learning reads an image's letters as words, and they fill what a model can take in.",
        "Send images as image_encoding or interacted_image_url.",
        "A data URL of an image, base64 that begins as PNG, JPEG, GIF, WebP, TIFF, BMP, AVIF or HEIC do, hexadecimal "
        "digits that begin as PNG, JPEG or GIF do, or a drawing in SVG, with IMAGE_CHARS characters or more, also "
        "escaped for JSON and in what a tool gave.",
        detector="turns.Turns", selects=True,
        why_unlearned="An image's letters fill what a model can take in.",
    ),
    Rule(
        "repeated-prompt", "low", "request", "look",
        "a system prompt stored again and again",
        "Learning takes instructions to the assistant for what the person wants.",
        "Publish the turns of the conversation without the system prompt.",
        "The same prompt (PROMPT_CHARS characters of its longest line, without numbers) PROMPT_TIMES times or more: a "
        "turn of the role System or Developer, or a person's turn that begins as prompts do (`You are a helpful "
        "assistant`, `Act as`). Then every request that carries one counts; the filter selects all of those.",
        detector="turns.Turns", selects=True,
        why_unlearned="It fills lists and what a model can take in, and nobody said it.",
    ),
    Rule(
        "stale-learning", "low", "learning", "delete",
        "learnings that nothing has confirmed for long",
        "People change, and what was true of them long ago is still told to assistants as a fact.",
        "Delete what no longer holds; what still does is learned again.",
        "A current profile or playbook last changed STALE_DAYS days ago or more. As many are read as for "
        "`orphaned-learning`.",
    ),
    Rule(
        "personal-card", "low", "request", "look",
        "payment card numbers in stored text",
        "The number of a card is enough to pay with it.",
        "Strip card numbers before publishing.",
        "12 to 19 digits with the card's check digit (python-stdnum) that begin and count as one of a card "
        "company, but for a number without groups that stands right behind a word such as `order` or `tracking no.` or "
        "has the check digit of a code on goods (EAN); or behind a word such as `card` (WORD_BEFORE_CHARS).",
        detector="personal_data.PersonalData", selects=True,
    ),
    Rule(
        "personal-iban", "low", "request", "look",
        "bank account numbers (IBAN) in stored text",
        "A bank account identifies a person.",
        "Strip account numbers before publishing.",
        "The form of its country and right check digits (python-stdnum); behind the word `IBAN` the check digits "
        "alone.",
        detector="personal_data.PersonalData", selects=True,
    ),
    Rule(
        "personal-number", "low", "request", "look",
        "national numbers of persons in stored text",
        "A national number identifies a person for life.",
        "Strip national numbers before publishing.",
        "Valid by the rules of one of some fifty countries (python-stdnum), and of a form that only such numbers have, "
        "or behind words such as `tax number` or `PESEL` (WORD_BEFORE_CHARS) or before them (WORD_BEHIND_CHARS); a "
        "number without a check digit only behind its own name. A bare `id` is no such word; a date is no such number.",
        detector="personal_data.PersonalData", selects=True,
    ),
    Rule(
        "personal-phone", "low", "request", "look",
        "phone numbers in stored text",
        "A phone number identifies a person.",
        "Strip those that are not needed before publishing.",
        "Valid in the numbering plan of its country (phonenumbers): international, written as in North America, "
        "or behind a word such as `call` or `Handy` (WORD_BEFORE_CHARS).",
        detector="personal_data.PersonalData", selects=True,
    ),
    Rule(
        "personal-email", "low", "request", "look",
        "e-mail addresses of persons in stored text",
        "An e-mail address identifies a person.",
        "Strip those that are not needed before publishing.",
        "The form of an address, without mailboxes of nobody in particular (`noreply@`, `support@`).",
        detector="personal_data.PersonalData", selects=True,
    ),
    Rule(
        "personal-address", "low", "request", "look",
        "postal addresses in stored text",
        "An address tells where a person lives.",
        "Strip those that are not needed before publishing.",
        "A street with a number in the forms of some twenty countries, before a postcode or a town (where the street "
        "is named first, as `Rua` and `Via` are, after a comma), or behind a word "
        "such as `live` or `Adresse` (WORD_BEFORE_CHARS); or anything that has a number, a postcode and a town behind "
        "it. A business has an address too.",
        detector="personal_data.PersonalData", selects=True,
    ),
)  # fmt: skip

_BY_ID: Final = {one.id: one for one in RULES}


def rule(rule_id: str) -> Rule:
    """The rule with that id.

    Raises:
        KeyError: there is none.
    """
    return _BY_ID[rule_id]
