/** The one state of the page. Actions change it with `update`, and everything on the page is drawn from it. */

import { Clock } from "./format.js";
import { Index, NO_FILTER } from "./rows.js";

/** @typedef {import("./rows.js").Row} Row */
/** @typedef {import("./rows.js").Filter} Filter */
/** @typedef {import("./rows.js").Order} Order */
/** @typedef {import("./memory.js").Learning} Learning */
/** @typedef {import("./names.js").Kind} Kind */
/** @typedef {"conversations" | "learned" | "review"} Part */
/** @typedef {{id: number, role: string, text: string, extra: [string, string][]}} Interaction */
/** @typedef {{loading: boolean, problem: string, interactions: Interaction[], status: string, cursor: string}} Detail */
/**
 * @typedef {{whose: string, where: string, keeper: string, masked: boolean, recovery_days: number, delete_cap: number,
 *   tools: string[], rules: Record<string, {why: string, grave: boolean}>,
 *   filter: {user_id: string, session_id: string, source: string, agent_version: string, start: number | null, end: number | null}}} ServerState
 */
/** @typedef {{session: string, from: number, to: number, reach: string, hit: string}} Opened a conversation: which of its requests are shown, where it is scrolled to */
/** @typedef {{state: "no" | "reading" | "ready" | "failed", problem: string, list: Map<string, Learning>, usersLeft: number, unlinked: number, rulesUnread: boolean}} Memory */

export const state = {
  /** @type {Part} */
  part: "conversations",
  index: new Index(),
  /** @type {Filter} */
  filter: { ...NO_FILTER },
  /** The filter the page was opened with. @type {Filter} */
  opening: { ...NO_FILTER },
  /** The period that was chosen by its length, in milliseconds; `null` for all or another one. @type {number | null} */
  period: null,
  /** @type {Order} */
  order: "newest",
  /** What matches the filter. */
  matched: new Index().match(NO_FILTER),
  /** Ids of requests. @type {Set<string>} */
  selected: new Set(),
  /** @type {Opened | null} */
  opened: null,
  /** What was read of requests. @type {Map<string, Detail>} */
  details: new Map(),
  /** Texts with their secrets, by interaction: a person asked for them. @type {Map<string, string>} */
  uncovered: new Map(),
  /** Ids of interactions whose long text is shown in full. @type {Set<number>} */
  unfolded: new Set(),

  /** @type {Memory} */
  memory: { state: "no", problem: "", list: new Map(), usersLeft: 0, unlinked: 0, rulesUnread: false },
  /** `picked` are ids of learnings that are selected. @type {{kind: Kind | "", words: string, replaced: boolean, open: string, picked: Set<string>}} */
  learned: { kind: "", words: "", replaced: false, open: "", picked: new Set() },
  /** @type {{open: string, later: Set<string>, problem: string}} */
  review: { open: "", later: new Set(), problem: "" },
  /** How many requests were looked through for findings; `complete` once all that were read are. */
  looked: { count: 0, complete: false },

  /** @type {ServerState | null} */
  server: null,
  /** @type {"first" | "words" | "more" | ""} */
  loading: "first",
  /** Whether the server looks for the words. */
  searching: false,
  /** Whether the search ended before everything was searched. */
  unsearched: false,
  problem: "",
  cursor: "",
  /** When the memory was last reached. */
  reached: 0,

  /** The open menu. */
  menu: "",
  /** @type {any} */
  sheet: null,
  /** @type {import("./jobs.js").Job | null} */
  job: null,
  /** Said to screen readers. */
  spoken: "",
  clock: new Clock(),
};

/** @typedef {typeof state} State */

let draw = () => {};
let due = false;

/** Draw the page with this function after each change. @param {() => void} how */
export function drawWith(how) {
  draw = how;
}

/** Change the state; the page is drawn once for all changes of a moment. @param {Partial<State>} [part] */
export function update(part = {}) {
  Object.assign(state, part);
  if (due) return;
  due = true;
  queueMicrotask(() => {
    due = false;
    draw();
  });
}

/** Match the rows anew. Call it when rows or the filter have changed. */
export function rematch() {
  update({ matched: state.index.match(state.filter, state.order) });
}

/** Deselect requests. @param {Iterable<string>} ids */
export function dropSelection(ids) {
  for (const id of ids) state.selected.delete(id);
}

/** Whether a tool of the server can be called. @param {string} tool */
export function can(tool) {
  return state.server?.tools.includes(tool) ?? false;
}
