/** The requests that the page has read, and which of them match. This module touches no element. */

import { asWritten } from "./passages.js";

/**
 * @typedef {{id: string, session: string, user: string, at: number, order: number, source: string, version: string,
 *   interactions: number, words: string, last: string, lastRole: string, passage: string, matched: string, evaluation: boolean,
 *   secret: boolean, held: boolean, ended: string, restored: boolean, restoredFrom: string, findings: Map<string, number[]>,
 *   noProblem: Map<string, number[]>, orders: string[]}} Row
 *   `order` tells apart what came in one second; `last` are the last words of a session's newest request; `passage` is the text around the
 *   searched words, `orders` are words in it that may be orders to an assistant, `matched` the part that has them if it is no text; `restored` says that an undo of the last days stored it,
 *   `ended` says how its session ended, `restoredFrom` is the request whose interaction was put back as
 *   this one; `findings` are rules with the ids of interactions, and so is `noProblem`, which somebody judged
 * @typedef {{words: string, user: string, session: string, source: string, version: string, finding: string,
 *   start: number | null, end: number | null}} Filter times in milliseconds, both inclusive
 * @typedef {{id: string, rows: Row[], total: number, users: string[], sources: string[], last: number, messages: number}} Session
 *   `rows` match, newest first; `total` counts all its requests, `messages` those of `rows`
 * @typedef {"newest" | "longest" | "person"} Order
 */

/** @type {Readonly<Filter>} */
export const NO_FILTER = Object.freeze({
  words: "", user: "", session: "", source: "", version: "", finding: "", start: null, end: null,
});

/** Facets that can be counted here; words are looked for by the server. */
const FACETS = /** @type {const} */ (["user", "source", "version", "finding"]);

/** @typedef {Record<"user" | "source" | "version" | "finding", Map<string, number>>} Counts */

export class Index {
  constructor() {
    /** @type {Map<string, Row>} */
    this.rows = new Map();
    /** Number of requests that were read of each session. @type {Map<string, number>} */
    this.totals = new Map();
    /** The filter with which all rows were read. @type {Filter} */
    this.base = { ...NO_FILTER };
    this.complete = false;
    /** Requests that match the words, or `null` without words. @type {Set<string> | null} */
    this.found = null;
    /** Rows by session, made when they are asked for. @type {Map<string, Row[]> | null} */
    this.grouped = null;
  }

  /** @param {Row[]} rows */
  add(rows) {
    this.grouped = null;
    for (const row of rows) {
      const known = this.rows.get(row.id);
      if (!known) this.tally(row, 1);
      else {
        // What was found in other interactions is looked for anew.
        if (known.interactions === row.interactions) Object.assign(row, { findings: known.findings, noProblem: known.noProblem, orders: known.orders });
        row.passage ||= known.passage;
        row.last ||= known.last;
        row.ended ||= known.ended;
      }
      this.rows.set(row.id, row);
    }
    return rows;
  }

  /** Keep a rule's findings, or what somebody judged to be no problem. @param {string} rule @param {Record<string, number[]>} places by request @param {boolean} [noProblem] */
  note(rule, places, noProblem = false) {
    for (const [id, interactions] of Object.entries(places)) {
      const row = this.rows.get(id);
      (noProblem ? row?.noProblem : row?.findings)?.set(rule, interactions);
      (noProblem ? row?.findings : row?.noProblem)?.delete(rule);
    }
  }

  /** Keep the words that may be orders to an assistant. @param {Record<string, string[]>} orders by request */
  noteOrders(orders) {
    for (const [id, words] of Object.entries(orders)) {
      const row = this.rows.get(id);
      if (row) row.orders = words.map(asWritten);
    }
  }

  /** The requests of a session, oldest first. @param {string} session @returns {Row[]} */
  ofSession(session) {
    if (!this.grouped) {
      this.grouped = new Map();
      for (const row of this.rows.values()) {
        const group = this.grouped.get(row.session);
        if (group) group.push(row);
        else this.grouped.set(row.session, [row]);
      }
    }
    return (this.grouped.get(session) ?? []).sort(oldestFirst);
  }

  /** The first words of a conversation. @param {string} session */
  titleOf(session) {
    return this.ofSession(session).find((row) => row.words)?.words ?? "Conversation";
  }

  /** When the oldest request that was read was stored. */
  oldest() {
    let oldest = Infinity;
    for (const row of this.rows.values()) oldest = Math.min(oldest, row.at);
    return oldest;
  }

  /** @param {Iterable<string>} ids */
  remove(ids) {
    this.grouped = null;
    for (const id of ids) {
      const row = this.rows.get(id);
      if (!row) continue;
      this.rows.delete(id);
      this.tally(row, -1);
    }
  }

  /** @param {Row} row @param {number} by */
  tally({ session }, by) {
    const count = (this.totals.get(session) ?? 0) + by;
    if (count) this.totals.set(session, count);
    else this.totals.delete(session);
  }

  /** Whether the rows, once all were read, contain all matches of a filter. @param {Filter} filter */
  covers(filter) {
    const { base } = this;
    if (base.start !== null && (filter.start === null || filter.start < base.start)) return false;
    if (base.end !== null && (filter.end === null || filter.end > base.end)) return false;
    return /** @type {const} */ (["user", "session", "source", "version"]).every(
      (name) => !base[name] || base[name] === filter[name],
    );
  }

  /**
   * Return matching sessions and rows, counts of each choice, and matching rows of any time for the timeline.
   * @param {Filter} filter @param {Order} [order]
   */
  match(filter, order = "newest") {
    /** @type {Counts} */
    const counts = { user: new Map(), source: new Map(), version: new Map(), finding: new Map() };
    /** @type {Map<string, Session>} */
    const sessions = new Map();
    /** @type {Row[]} */
    const anyTime = [];
    /** @type {Row[]} */
    const matching = [];
    for (const row of this.rows.values()) {
      if (this.found && !this.found.has(row.id)) continue;
      if (filter.session && row.session !== filter.session) continue;
      const inTime =
        (filter.start === null || row.at >= filter.start) && (filter.end === null || row.at <= filter.end);
      let misses = 0;
      let missed = "";
      for (const facet of FACETS) {
        if (!filter[facet] || has(row, facet, filter[facet])) continue;
        misses += 1;
        missed = facet;
      }
      if (misses === 0) anyTime.push(row);
      if (!inTime || misses > 1) continue;
      for (const facet of FACETS) if (misses === 0 || missed === facet) count(counts[facet], row, facet);
      if (misses) continue;
      matching.push(row);
      let session = sessions.get(row.session);
      if (!session) {
        session = { id: row.session, rows: [], total: 0, users: [], sources: [], last: row.at, messages: 0 };
        sessions.set(row.session, session);
      }
      session.rows.push(row);
      session.last = Math.max(session.last, row.at);
      session.messages += row.interactions;
      if (!session.users.includes(row.user)) session.users.push(row.user);
      if (row.source && !session.sources.includes(row.source)) session.sources.push(row.source);
    }
    for (const session of sessions.values()) {
      session.total = this.totals.get(session.id) ?? session.rows.length;
      session.rows.sort((a, b) => oldestFirst(b, a));
    }
    const list = [...sessions.values()].sort(ORDERS[order]);
    return { sessions: list, rows: matching, anyTime, counts };
  }
}

/** Requests of one second are in the order of their interactions' ids: the id of a request says nothing about its time. @param {Row} a @param {Row} b */
export function oldestFirst(a, b) {
  return a.at - b.at || a.order - b.order || (a.id < b.id ? -1 : 1);
}

/** @param {Session} a @param {Session} b */
function latestFirst(a, b) {
  return b.last - a.last || (b.rows[0]?.order ?? 0) - (a.rows[0]?.order ?? 0) || (a.id < b.id ? 1 : -1);
}

/** @type {Record<Order, (a: Session, b: Session) => number>} */
const ORDERS = {
  newest: latestFirst,
  longest: (a, b) => b.messages - a.messages || latestFirst(a, b),
  person: (a, b) => (a.users[0] ?? "").localeCompare(b.users[0] ?? "") || latestFirst(a, b),
};

/** Count the messages of requests. @param {Iterable<Row>} rows */
export function messagesIn(rows) {
  let sum = 0;
  for (const row of rows) sum += row.interactions;
  return sum;
}

/**
 * Put each interaction that was stored again as a request of its own beside the request that it was part of.
 * @param {Row[]} rows of one session, oldest first @returns {{row: Row, restored: Row[]}[]}
 */
export function exchangesOf(rows) {
  const there = new Set(rows.map((row) => row.id));
  /** @type {Map<string, Row[]>} */
  const restored = new Map();
  for (const row of rows) {
    if (there.has(row.restoredFrom)) restored.set(row.restoredFrom, [...(restored.get(row.restoredFrom) ?? []), row]);
  }
  return rows.filter((row) => !there.has(row.restoredFrom)).map((row) => ({ row, restored: restored.get(row.id) ?? [] }));
}

/** @param {Row} row @param {"user" | "source" | "version" | "finding"} facet @param {string} value */
function has(row, facet, value) {
  return facet === "finding" ? row.findings.has(value) : row[facet] === value;
}

/** @param {Map<string, number>} into @param {Row} row @param {"user" | "source" | "version" | "finding"} facet */
function count(into, row, facet) {
  const values = facet === "finding" ? row.findings.keys() : [row[facet]];
  for (const value of values) into.set(value, (into.get(value) ?? 0) + 1);
}

/** The rows of one page of the server's answer. @param {any} answer @returns {Row[]} */
export function rowsOf(answer) {
  /** @type {Row[]} */
  const rows = [];
  for (const session of answer.sessions ?? []) {
    const ended = (session.outcomes ?? []).map(endWords).join("; ");
    for (const one of session.requests) {
      rows.push({
        id: one.request_id, session: session.session_id, user: one.user_id ?? "", at: Date.parse(one.created_at),
        order: one.restored_interaction || one.first_interaction || 0, source: one.source ?? "", version: one.agent_version ?? "",
        interactions: one.interaction_count ?? 0, words: asWritten(one.first_words ?? ""), last: asWritten(one.last_words ?? ""), lastRole: one.last_role ?? "",
        passage: asWritten(one.found ?? ""), matched: one.matched ?? "", evaluation: one.evaluation_only === true,
        secret: one.redacted === true, held: Boolean(one.held), ended, restored: one.restored === true, restoredFrom: one.restored_from ?? "", findings: new Map(), noProblem: new Map(), orders: [],
      });
    }
  }
  return rows;
}

/** @param {{outcome: string, label?: string, user_id?: string, inferred?: boolean}} outcome of a session */
function endWords({ outcome, label, user_id: user, inferred }) {
  return [asWritten(outcome), asWritten(label ?? ""), user && `for ${user}`, inferred && "judged by Reflexio"].filter(Boolean).join(", ");
}
