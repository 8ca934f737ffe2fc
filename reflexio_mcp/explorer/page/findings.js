/** What the views need to know of what was read: findings to judge one at a time, and which conversation taught what, and what of it is listed. */

import { chosenLearnings, originsOf } from "./memory.js";
import { SECRETS, TO_REVIEW } from "./names.js";
import { searchedWords } from "./passages.js";
import { state } from "./state.js";

/** @typedef {import("./rows.js").Row} Row */
/** @typedef {{id: string, rule: string, rows: Row[], messages: number, noProblem: boolean}} Finding something to judge, or judged to be no problem; `rows` are its requests, newest first */

/** Findings that are about how somebody writes rather than about one conversation. */
const BY_PERSON = ["test-traffic", "duplicate", "expired"];

/** The operator's policy decides on it, not a person. */
export const BY_POLICY = "expired";

/** Findings of rows, gravest first, or what was judged to be no problem. @param {Iterable<Row>} rows @param {boolean} [noProblem] @returns {Finding[]} */
export function findingsOf(rows, noProblem = false) {
  /** @type {Map<string, Finding>} */
  const findings = new Map();
  for (const row of rows) {
    for (const [rule, interactions] of noProblem ? row.noProblem : row.findings) {
      if (!TO_REVIEW.includes(rule)) continue;
      const id = `${noProblem ? "decided " : ""}${rule} ${BY_PERSON.includes(rule) ? row.user : row.session}`;
      const finding = findings.get(id) ?? { id, rule, rows: [], messages: 0, noProblem };
      finding.rows.push(row);
      finding.messages += interactions.length || row.interactions;
      findings.set(id, finding);
    }
  }
  for (const one of findings.values()) one.rows.sort((a, b) => b.at - a.at);
  return [...findings.values()].sort((a, b) => TO_REVIEW.indexOf(a.rule) - TO_REVIEW.indexOf(b.rule) || b.rows[0].at - a.rows[0].at);
}

/** Whether a copy of the rows would keep a secret. @param {Row[]} rows */
export function hasSecret(rows) {
  return rows.some((row) => row.secret || SECRETS.some((rule) => row.findings.has(rule)));
}

/** @type {{of: unknown, open: Finding[], decided: Finding[]}} */
let known = { of: null, open: [], decided: [] };

/** The findings of the person whose memory is shown. Rows are matched anew whenever findings come. */
export function findingsHere() {
  if (known.of !== state.matched) {
    const { user } = state.filter;
    const rows = [...state.index.rows.values()].filter((row) => !user || row.user === user);
    known = { of: state.matched, open: findingsOf(rows), decided: findingsOf(rows, true) };
  }
  return known;
}

/** @type {{list: unknown, matched: unknown, origins: import("./memory.js").Origins}} */
let made = { list: null, matched: null, origins: { taught: new Map(), perhaps: new Map() } };

/** Which conversation taught what. */
export function originsHere() {
  const { memory: { list }, matched, index } = state;
  if (made.list !== list || made.matched !== matched) {
    made = { list, matched, origins: originsOf(list.values(), (request) => index.rows.get(request)?.session) };
  }
  return made.origins;
}

/** The learnings that the list shows. */
export function learningsHere() {
  const { learned: { kind, words, replaced }, memory, filter } = state;
  return chosenLearnings(memory.list.values(), { kind, words: searchedWords(words), user: filter.user, replaced });
}
