/** The requests that the page has read, and which of them match. This module touches no element. */

/**
 * @typedef {{id: string, session: string, user: string, at: number, source: string, version: string, interactions: number,
 *   words: string, passage: string, evaluation: boolean, secret: boolean, findings: Map<string, number[]>}} Row
 *   `passage` is the text around the searched words; `findings` are rules with the ids of interactions
 * @typedef {{words: string, user: string, session: string, source: string, version: string, finding: string,
 *   start: number | null, end: number | null}} Filter times in milliseconds, both inclusive
 * @typedef {{id: string, rows: Row[], total: number, users: string[], sources: string[], last: number}} Session `rows` match, newest first; `total` counts all its requests
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
    /** Number of requests that were read of each source. @type {Map<string, number>} */
    this.sources = new Map();
    /** The filter with which all rows were read. @type {Filter} */
    this.base = { ...NO_FILTER };
    this.complete = false;
    /** Requests that match the words, or `null` without words. @type {Set<string> | null} */
    this.found = null;
  }

  /** @param {Row[]} rows */
  add(rows) {
    for (const row of rows) {
      const known = this.rows.get(row.id);
      if (!known) this.tally(row, 1);
      else {
        row.findings = known.findings;
        row.passage ||= known.passage;
      }
      this.rows.set(row.id, row);
    }
    return rows;
  }

  /** Keep a rule's findings; returns the requests for which they are new. @param {string} rule @param {Record<string, number[]>} places by request */
  note(rule, places) {
    const fresh = Object.keys(places).filter((id) => this.rows.get(id)?.findings.has(rule) === false);
    for (const id of fresh) this.rows.get(id)?.findings.set(rule, places[id]);
    return fresh;
  }

  /** The requests of a session, newest first. @param {string} session */
  ofSession(session) {
    return [...this.rows.values()].filter((row) => row.session === session).sort(newestFirst);
  }

  /** @param {Iterable<string>} ids */
  remove(ids) {
    for (const id of ids) {
      const row = this.rows.get(id);
      if (!row) continue;
      this.rows.delete(id);
      this.tally(row, -1);
    }
  }

  /** @param {Row} row @param {number} by */
  tally({ session, source }, by) {
    this.totals.set(session, (this.totals.get(session) ?? 0) + by);
    this.sources.set(source, (this.sources.get(source) ?? 0) + by);
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
   * @param {Filter} filter
   */
  match(filter) {
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
        session = { id: row.session, rows: [], total: 0, users: [], sources: [], last: row.at };
        sessions.set(row.session, session);
      }
      session.rows.push(row);
      session.last = Math.max(session.last, row.at);
      if (!session.users.includes(row.user)) session.users.push(row.user);
      if (row.source && !session.sources.includes(row.source)) session.sources.push(row.source);
    }
    for (const session of sessions.values()) {
      session.total = this.totals.get(session.id) ?? session.rows.length;
      session.rows.sort(newestFirst);
    }
    const list = [...sessions.values()].sort((a, b) => b.last - a.last || (a.id < b.id ? 1 : -1));
    return { sessions: list, rows: matching, anyTime, counts };
  }
}

/** @param {Row} a @param {Row} b */
function newestFirst(a, b) {
  return b.at - a.at || (a.id < b.id ? 1 : -1);
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
    for (const one of session.requests) {
      rows.push({
        id: one.request_id, session: session.session_id, user: one.user_id ?? "", at: Date.parse(one.created_at),
        source: one.source ?? "", version: one.agent_version ?? "", interactions: one.interaction_count ?? 0,
        words: one.first_words ?? "", passage: one.found ?? "", evaluation: one.evaluation_only === true,
        secret: one.redacted === true, findings: new Map(),
      });
    }
  }
  return rows;
}
