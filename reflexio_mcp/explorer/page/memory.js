/** What was learned: profiles, playbooks, shared rules, and where each comes from. This module touches no element. */

import { asWritten } from "./passages.js";

/** @typedef {import("./names.js").Kind} Kind */
/** @typedef {{request: string, interaction: number, words: string, near: boolean}} Evidence words that taught something, and the message that says them, or nearly them */
/**
 * @typedef {{id: string, kind: Kind, user: string, state: string, text: string, hidden: number, trigger: string, passages: string[],
 *   unfound: string[], since: number, at: number, window: string[], evidence: Evidence[], gone: number, replaced: Older[], replacedBy: string,
 *   restsOn: {people: string[], more: number, known: boolean} | null, approved: boolean}} Learning
 *   `hidden` is the length of a text that is not shown; `passages` are the words that taught it, `unfound` those that are stored nowhere;
 *   `since` is when it was learned and `at` when it changed, 0 if that is not known; `window` are requests that it may come from; `gone`
 *   counts interactions that are not stored any more; `replaced` is what it took the place of, `replacedBy` what took its place;
 *   `restsOn` are the people whose playbooks a shared rule was made from, and `approved` says whether an operator wants it
 */

/** One learning as the server lists it. @param {any} one @param {string} user whose it is if the list does not say so @returns {Learning} */
export function learningOf(one, user) {
  const evidence = (one.evidence ?? []).map((/** @type {any} */ each) => ({
    request: each.request_id, interaction: each.interaction_id, words: asWritten(each.quote ?? ""), near: each.near === true,
  }));
  const at = one.changed_at ? Date.parse(one.changed_at) : 0;
  return {
    id: one.learning_id, kind: kindOf(one.learning_id), user: one.user_id ?? user, state: one.state ?? "current",
    text: asWritten(one.content ?? ""), hidden: one.characters ?? 0, trigger: asWritten(one.trigger ?? ""),
    passages: [...new Set(evidence.map((/** @type {Evidence} */ each) => each.words).filter(Boolean))],
    unfound: (one.quotes_not_found ?? []).map(asWritten), since: one.known_since ? Date.parse(one.known_since) : at, at,
    window: (one.from_requests ?? []).map((/** @type {any} */ each) => each.request_id), evidence, gone: one.interactions_deleted ?? 0,
    replaced: olderOf(one.replaced ?? []).filter(({ text }) => text),
    replacedBy: asWritten(one.replaced_by?.content ?? ""), restsOn: null, approved: false,
  };
}

/** A shared rule as the server lists it. @param {any} one @returns {Learning} */
export function sharedRuleOf(one) {
  const rule = learningOf({ learning_id: one.rule_id, content: one.content, trigger: one.trigger, changed_at: one.made_at }, "");
  return { ...rule, restsOn: { people: one.users ?? [], more: one.more_users ?? 0, known: one.traced !== false }, approved: one.approval === "approved" };
}

/** @param {string} id @returns {Kind} */
function kindOf(id) {
  if (id.startsWith("agent_playbook")) return "rule";
  return id.startsWith("profile") ? "fact" : "help";
}

/** @param {any[]} those as the server lists them @returns {Older[]} */
function olderOf(those) {
  return those.map((one) => ({ id: one.learning_id, text: asWritten(one.content ?? "") }));
}

/** Whether the assistant uses it. @param {Learning} one */
export function inUse(one) {
  return one.state === "current";
}

/** Where learnings come from, by session. @typedef {{taught: Map<string, Learning[]>, perhaps: Map<string, Learning[]>}} Origins */

/**
 * Find which learnings come from a session, and which may come from it because their words are not on record.
 * @param {Iterable<Learning>} learnings @param {(request: string) => string | undefined} sessionOf
 * @returns {Origins}
 */
export function originsOf(learnings, sessionOf) {
  /** @type {Origins} */
  const origins = { taught: new Map(), perhaps: new Map() };
  for (const one of learnings) {
    if (!inUse(one)) continue;
    const sure = one.evidence.length > 0;
    const sessions = new Set((sure ? one.evidence.map((each) => each.request) : one.window).map(sessionOf));
    for (const session of sessions) {
      if (session === undefined) continue;
      const into = sure ? origins.taught : origins.perhaps;
      into.set(session, [...(into.get(session) ?? []), one]);
    }
  }
  return origins;
}

/** Learnings of a search. @param {Iterable<Learning>} learnings @param {{kind: Kind | "", words: string[], user: string, replaced: boolean}} wanted */
export function chosenLearnings(learnings, { kind, words, user, replaced }) {
  return [...learnings].filter((one) => {
    if (kind && one.kind !== kind || user && one.user !== user && one.kind !== "rule") return false;
    if (!replaced && !inUse(one)) return false;
    const said = `${one.text} ${one.trigger} ${one.passages.join(" ")}`.toLowerCase();
    return words.every((word) => said.includes(word));
  });
}

/** The shared rules that rest on one of these people. @param {Iterable<Learning>} learnings @param {Set<string>} people */
export function rulesRestingOn(learnings, people) {
  return [...learnings].filter(({ restsOn }) => restsOn?.people.some((person) => people.has(person)));
}

/** Learnings by whose they are, the person with the newest first; shared rules come last. @param {Learning[]} learnings @returns {[string, Learning[]][]} */
export function byPerson(learnings) {
  /** @type {Map<string, Learning[]>} */
  const groups = new Map();
  for (const one of [...learnings].sort((a, b) => Number(a.kind === "rule") - Number(b.kind === "rule") || b.at - a.at)) {
    const whose = one.kind === "rule" ? "" : one.user;
    groups.set(whose, [...(groups.get(whose) ?? []), one]);
  }
  return [...groups];
}

/**
 * @typedef {"only" | "replace" | "partly" | "window" | "unknown"} Case what a deletion means for a learning: its words are said only in what
 *   goes; the same, and it took the place of an older one; also said elsewhere; said elsewhere and only read at the same time; not on record
 * @typedef {{id: string, user: string, text: string, kind: Kind, state: string, case: Case, words: string, from: string, older: Older[], elsewhere: string[]}} Fate
 *   `from` is the request of these words, or one that it may come from, if that is known; `older` can be used again; `elsewhere` are ids
 *   of requests that stay
 */

/** From what certainly goes to what certainly stays. @type {Case[]} */
const CASES = ["replace", "only", "partly", "unknown", "window"];

/** @typedef {{id: string, text: string}} Older an older learning, which another one took the place of */

/**
 * What a plan says about one learning. Without a case of the server, what is known is what else it was read with.
 * The server knows the requests of one part; what it may come from beside them can be in another part.
 * @param {any} one @param {Learning | undefined} known @param {(request: string) => boolean} goes whether a request is deleted, in whichever part @returns {Fate}
 */
export function fateOf(one, known, goes) {
  const evidence = known?.evidence ?? [];
  const here = evidence.filter((each) => goes(each.request));
  /** @type {string[]} */
  const kept = one.kept ?? [];
  const elsewhere = evidence.length ? evidence.filter((each) => !goes(each.request)).map((each) => each.request) : kept.filter((id) => !goes(id));
  /** @type {Case} */
  let is = "unknown";
  if (one.case && one.case !== "replace" && kept.length && kept.every(goes) && !one.kept_unread) is = "only";
  else if (one.case) is = one.case;
  else if (evidence.length) is = here.length === 0 ? "window" : elsewhere.length ? "partly" : "only";
  return {
    id: one.learning_id, user: one.user_id ?? "", text: asWritten(one.content || known?.text || ""), kind: kindOf(one.learning_id), state: one.state ?? "current", case: is,
    words: here[0]?.words ?? "", from: here[0]?.request ?? known?.window.find(goes) ?? "", elsewhere,
    older: olderOf(one.back ?? []),
  };
}

/** What a deletion in parts means for learnings. A part may take the words of one that is used again after another part. @param {Fate[]} fates of all parts @returns {Fate[]} */
export function fatesOfAll(fates) {
  /** @type {Map<string, Fate>} */
  const all = new Map();
  for (const fate of fates) {
    const other = all.get(fate.id);
    if (!other || CASES.indexOf(fate.case) < CASES.indexOf(other.case)) all.set(fate.id, fate);
  }
  const going = new Set([...all.values()].filter(goesByItself).map(({ id }) => id));
  return [...all.values()].map((fate) => {
    const older = fate.older.filter(({ id }) => !going.has(id));
    const stays = fate.older.length > 0 && !older.length && fate.elsewhere.length > 0;
    return { ...fate, older, case: stays ? "partly" : fate.case };
  });
}

/** Whether a learning goes if nobody chooses: what is said nowhere else, and what was replaced and is said here too. @param {Fate} fate */
export function goesByItself(fate) {
  switch (fate.case) {
    case "only": case "replace": return true;
    case "partly": return ["merged", "superseded"].includes(fate.state);
    default: return false;
  }
}
