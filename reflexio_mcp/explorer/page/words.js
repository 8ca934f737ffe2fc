/** The words of facts for the person at the page. Stored names become elements, never part of a sentence. */

import { counted, number } from "./format.js";

/** @typedef {string | {name: string}} Said a part of a paragraph: our words, or a stored name */
/** @typedef {{code: string, number?: number, names?: string[], until?: string}} Fact as in `results/facts.py` */
/** @typedef {(fact: {count: number, names: Said[], until?: string}) => Said[]} Say `names` are empty or begin with a space, in brackets */

const lastDay = new Intl.DateTimeFormat("en-GB", { dateStyle: "medium", timeZone: "UTC" });

/** @param {number} count @param {string} one @param {string} more */
const agree = (count, one, more) => (count === 1 ? one : more);

/** What the page says of a fact. For the others it has a control or a view. @type {Record<string, Say>} */
const FACTS = {
  on_hold: ({ count, names, until }) => [`${counted(count, "item")} on hold ${agree(count, "stays", "stay")}`, ...names, until ? `, through ${lastDay.format(Date.parse(until))} UTC.` : "."],
  may_be_on_hold: ({ count }) => [`Reflexio cannot show ${number(count)} of them, so a hold may cover ${agree(count, "it", "them")}.`],
  hold_file: ({ names }) => ["Your operator sets holds in a file", ...names, "."],
  hold_contact: ({ names }) => ["About the hold, you can ask", ...names, "."],
  part_unread: () => ["A part of what is stored cannot be read, and is not included."],
  unreadable: ({ count }) => [`${counted(count, "question")} cannot be read, so no copy can contain ${agree(count, "it", "them")}. Choose “Keep no copy” to delete ${agree(count, "it", "them")}.`],
  outcomes_stay: () => ["Session outcomes and evaluations stay."],
  learnings_unread: () => ["What was learned from it could not be read."],
  learnings_owed: ({ count }) => [`${counted(count, "earlier fact")} ${agree(count, "becomes", "become")} current again, which an interrupted deletion has not done.`],
  source_gone_earlier: ({ count }) => [`${counted(count, "learned thing")} ${agree(count, "goes", "go")} because nothing else is left that ${agree(count, "it", "they")} could come from.`],
  earlier_on_hold: ({ count }) => [`${counted(count, "earlier learned thing")} ${agree(count, "was", "were")} not made current again, because a hold keeps ${agree(count, "it as it is", "them as they are")}.`],
  not_current_again: ({ count }) => [`${counted(count, "earlier learned thing")} could not be made current again. An undo brings back what replaced ${agree(count, "it", "them")}.`],
  learnings_unlinked: ({ count }) => [`${counted(count, "learned thing")} may be from it or not, and ${agree(count, "stays", "stay")}.`],
  users_not_looked_at: ({ count }) => [`What was learned about ${counted(count, "more user")} was not looked at.`],
  sources_stay: ({ count, names }) => [`It was learned from ${counted(count, "question")} that ${agree(count, "stays", "stay")}`, ...names, `, so Reflexio can learn it again. To prevent that, delete ${agree(count, "it", "them")} too.`],
  words_elsewhere: ({ count, names }) => [`${counted(count, "more question")} ${agree(count, "has", "have")} words of it:`, ...names, "."],
  words_nowhere_else: ({ names }) => ["No other question has one of these words of it:", ...names, "."],
  sources_unknown: () => ["It is unknown whether what it was learned from is stored. If so, Reflexio can learn it again."],
  sources_gone: () => ["What it was learned from is gone, so Reflexio cannot learn it from there again."],
  learning_replaced: () => ["Reflexio replaced it with something else meanwhile. What is known now was not corrected."],
  quote_stays: () => ["The quote below it keeps the original words."],
  only_in_copies: ({ count }) => [`Earlier copies still contain ${counted(count, "item")} that ${agree(count, "is", "are")} not stored any more.`],
  copies_of_request_go: () => ["All earlier copies of this question are erased, also of messages that stay."],
  exports_stay: () => ["Earlier exports are not deleted."],
  later_copies: ({ count }) => [`${counted(count, "item")} ${agree(count, "was", "were")} deleted elsewhere meanwhile, and the ${agree(count, "copy stays", "copies stay")}.`],
  restored_before: ({ count, names }) => [`${counted(count, "item")} that ${agree(count, "was", "were")} restored from these copies earlier ${agree(count, "stays", "stay")}:`, ...names, "."],
  not_copied: ({ count }) => [`${counted(count, "item")} ${agree(count, "has", "have")} no recovery copy: ${agree(count, "it", "they")} had been erased for good, and a restore had stored ${agree(count, "it", "them")} again.`],
  copies_gone: ({ count }) => [`${counted(count, "deleted item")} or more ${agree(count, "has", "have")} no recovery copy any more: it was erased, or removed from the server's records.`],
  copies_damaged: ({ count }) => [`${counted(count, "item")} in recovery copies ${agree(count, "was", "were")} changed there and cannot be read.`],
  copies_sealed: ({ count }) => [`${counted(count, "item")} in recovery copies cannot be read with the key of this server, and stay there.`],
  ended_early: () => ["It ended early."],
  may_still_go: ({ count }) => [`${counted(count, "item")} may still disappear or change. Look again before you rely on ${agree(count, "it", "them")}.`],
  still_learning: () => ["Reflexio may still be learning from it; something new can contain the old text."],
  arrived_and_deleted: ({ count }) => [`${counted(count, "more question")} of this person came at the last moment and ${agree(count, "was", "were")} deleted, too, without a copy.`],
  learnings_over_cap: ({ count }) => [`${counted(count, "more learned thing")} appeared meanwhile and ${agree(count, "stays", "stay")}: no more may be deleted in this hour.`],
  learnings_appeared: ({ count }) => [`${counted(count, "more learned thing")} appeared meanwhile and ${agree(count, "was", "were")} deleted too.`],
  learnings_back_appeared: ({ count }) => [`${counted(count, "more earlier learned thing")} ${agree(count, "is", "are")} current again, because what replaced ${agree(count, "it", "them")} was deleted too.`],
  export_not_written: ({ names }) => ["No file was written", ...names, ". Make room on the disk."],
  not_recorded: ({ names }) => ["The receipt could not be recorded", ...names, "."],
  copies_on_hold: ({ count }) => [`No copy was erased, because a hold keeps ${number(count)} of them.`],
  deleted_again: ({ count }) => [`${counted(count, "item")} that came back by an undo ${agree(count, "was", "were")} deleted again.`],
  may_return: ({ count }) => [`An undo or another deletion can bring ${counted(count, "item")} back; ${agree(count, "it is", "they are")} deleted as soon as that is seen. A corrected learning has to be corrected again.`],
  learning_being_changed: () => ["Another call is changing this learning, or may still do so for three minutes. It was left as it is."],
  repeat_call: () => ["This is not finished: look again in some minutes."],
  learnings_may_be_missed: () => ["Something that was learned from it may be left."],
  look_later: () => ["This is not finished: look again in some minutes."],
  erased_but_on_hold: ({ count }) => [`${counted(count, "item")} ${agree(count, "is", "are")} stored again although erased for good, because a hold keeps ${agree(count, "it", "them")}.`],
  restore_not_recorded: ({ names }) => ["The end of this undo could not be recorded", ...names, "."],
  sources_not_linked: ({ count }) => [`${counted(count, "learned thing")} that came back earlier cannot show all that ${agree(count, "it", "they")} came from.`],
  more_to_restore: ({ count, names }) => [`${counted(count, "older deletion")} can be put back too and ${agree(count, "is", "are")} not listed. Tell your assistant or operator ${agree(count, "its number", "their numbers")}`, ...names, "."],
  interactions_lost: ({ count }) => [`${counted(count, "message")} cannot come back: only an image or a citation, or too long.`],
  nothing_deleted: () => ["Nothing was deleted."],
  nothing_restored: () => ["Nothing was put back."],
  over_the_cap: ({ count }) => [`This would delete or change ${counted(count, "item")}.`],
  cap: ({ count }) => [`${number(count)} an hour are allowed.`],
  room_left: ({ count }) => [`${number(count)} ${agree(count, "is", "are")} left now.`],
  room_in_minutes: ({ count }) => [`There is room in ${counted(count, "minute")}.`],
  delete_less: () => ["Select fewer, or ask your operator for a higher limit."],
  code_used: ({ count }) => [`This was done already, as deletion ${number(count)}.`],
  unreadable_need_erasure: ({ count }) => [`${counted(count, "question")} cannot be read, so no copy can contain ${agree(count, "it", "them")}. Choose “Keep no copy”.`],
  no_copy: () => ["There is no copy that can be put back."],
  no_copy_of_requests: ({ names }) => ["There is no copy of these questions", ...names, "."],
  copies_unreadable: ({ names }) => ["The copies cannot be read now", ...names, "; nothing more was put back."],
  holds_unknown: () => ["It is unknown whether a hold keeps what was learned from it."],
  no_deletion_now: ({ names }) => ["Nothing can be deleted now", ...names, "."],
  state_unusable: ({ names }) => ["The server cannot use its records now", ...names, "."],
  mend_state: ({ names }) => ["What your operator can do", ...names, "."],
  stopping: () => ["The server is stopping; nothing was changed."],
  not_sent: ({ names }) => ["The server did not ask Reflexio", ...names, "."],
  bad_address: ({ names }) => ["The server's connection to Reflexio is not set up right", ...names, "."],
  too_large: ({ names }) => ["The request is too large for Reflexio", ...names, "."],
  closed: () => ["The server's connection to Reflexio is closed."],
  unreachable: ({ names }) => ["The server cannot reach Reflexio", ...names, "."],
  no_answer: ({ names }) => ["Reflexio's answer did not arrive", ...names, "."],
  timed_out: ({ names }) => ["Reflexio did not answer in time", ...names, "."],
  connection_lost: ({ names }) => ["The connection to Reflexio broke", ...names, "."],
  answer_too_large: ({ names }) => ["Reflexio's answer is too large to read", ...names, "."],
  not_the_api: ({ names }) => ["The answer is not from Reflexio", ...names, "."],
  refused: ({ names }) => ["Reflexio refused the call", ...names, "."],
  arguments_refused: ({ names }) => ["Reflexio does not accept this", ...names, "."],
  access_refused: ({ names }) => ["Reflexio refused access", ...names, "."],
  unknown_id: ({ names }) => ["Reflexio does not know this", ...names, "."],
  id_taken: ({ names }) => ["This id is taken", ...names, "."],
  rate_limited: ({ names }) => ["Reflexio's rate limit is reached", ...names, "."],
  operation_failed: ({ names }) => ["Reflexio reported that it failed", ...names, "."],
  server_fault: ({ names }) => ["Reflexio had an internal error", ...names, "."],
  call_failed: ({ names }) => ["The call to Reflexio failed", ...names, "."],
  service_said: ({ names }) => ["Reflexio said", ...names, "."],
  nothing_changed: () => ["Nothing was changed."],
  effect_unknown: () => ["Whether this took effect is not known. Look again before you repeat it."],
  unexpected: () => ["Something went wrong on the server."],
  call_too_long: () => ["This took too long and was ended."],
  no_copy_written: ({ names }) => ["A copy cannot be written", ...names, "."],
  try_again: () => ["Try again."],
  try_later: () => ["Try again later."],
  try_in_seconds: ({ count }) => [`Try again in ${counted(count, "second")}.`],
  correct_settings: () => ["Your operator can correct that."],
  check_server: () => ["Check that Reflexio is running, then try again."],
  check_address: () => ["Your operator can correct the address."],
  check_key: () => ["Your operator can correct the key."],
  ask_for_less: () => ["Narrow the filter."],
  read_server_log: () => ["Try again later."],
  check_store: () => ["Try again later."],
  erase_or_mend: ({ names }) => ["Choose “Keep no copy”, or ask your operator", ...names, "."],
};

/** Why nothing was deleted, by the status of a plan. @type {Record<string, string>} */
const STATUSES = {
  planned: "",
  scheduled: "",
  changed: "What is stored has changed since you looked.",
  not_found: "It is not stored any more.",
  held: "Nothing was deleted: a hold keeps all of it.",
  declined: "The question was declined or could not be shown.",
  unanswered: "Nobody answered the question within ten minutes.",
  wrong_number: "The number that was typed is not the number in the question.",
  cannot_ask: "A person must agree, and this window cannot show the question. Your operator can allow it.",
};

/** Why items were not deleted, or not put back. @type {Record<string, string>} */
const OUTCOMES = {
  still_present: "still there",
  changed: "changed meanwhile, so left alone",
  unknown: "not certain, because the memory stopped answering",
  gone_before: "gone already",
  held: "kept, because the operator's policy says so",
  not_found: "not found",
  already_there: "there already",
  id_taken: "not put back, because something else has its place",
  not_restorable: "cannot be put back",
  erased: "not put back, because it was deleted for good meanwhile",
  left: "not put back yet",
};

/** What a job does just now, by the step of its call; nothing where the title of the job says it. @type {Record<string, string>} */
const STEPS = {
  looking_through: "Looking up what is there.",
  looking_up: "Looking up what is there.",
  reading: "Looking up what is there.",
  waiting_for_answer: "Waiting for your answer to the question that your assistant's app shows.",
  requests_looked_up: "Looking up what is there.",
  requests_audited: "Looking up what is there.",
  users_learned: "Waiting until nothing is being learned from it.",
};

/** Facts that say that a deletion has more to do. */
const UNFINISHED = ["repeat_call", "look_later", "may_return", "copies_sealed", "copies_damaged"];

/** Facts that say that the memory gave no answer. */
const SILENCES = ["unreachable", "no_answer", "timed_out", "connection_lost"];

/** Whether a call failed because the memory gave no answer. @param {Fact[]} facts */
export function gaveNoAnswer(facts) {
  return facts.some((fact) => SILENCES.includes(fact.code));
}

/** Whether there is nothing left to do. @param {{facts?: Fact[]}} receipt */
export function finished({ facts = [] }) {
  return !facts.some((fact) => UNFINISHED.includes(fact.code));
}

/** A paragraph as plain text. @param {Said[]} parts */
export function plain(parts) {
  return parts.map((part) => (typeof part === "string" ? part : part.name)).join("");
}

/** Paragraphs about facts, without those that the page shows in another way. What is said twice is said once.
 * @param {Fact[]} facts @returns {Said[][]} */
export function told(facts) {
  const once = new Map(facts.map((fact) => [JSON.stringify(fact), fact]));
  return [...once.values()].flatMap((fact) => {
    const say = FACTS[fact.code];
    return say ? [say({ count: fact.number ?? 0, names: named(fact.names ?? []), until: fact.until })] : [];
  });
}

/** Names in brackets. @param {string[]} names @returns {Said[]} */
function named(names) {
  return names.length ? [" (", ...names.flatMap((name, at) => (at ? [", ", { name }] : [{ name }])), ")"] : [];
}

/** @param {string} step of progress, as in `results/progress.py` */
export function stepWords(step) {
  return STEPS[step] ?? "";
}

/** @param {string} status */
export function refusedBecause(status) {
  return STATUSES[status] ?? "";
}

/** @param {string} why */
export function wordsFor(why) {
  return OUTCOMES[why] ?? "";
}
