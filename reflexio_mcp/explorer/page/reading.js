/** Reads what is stored: rows, findings, words, interactions, what was learned. */

import { counted } from "./format.js";
import { host, messageOf } from "./host.js";
import { learningOf, sharedRuleOf } from "./memory.js";
import { asWritten } from "./passages.js";
import { Index, NO_FILTER, rowsOf } from "./rows.js";
import { can, rematch, state, update } from "./state.js";

/** @typedef {import("./rows.js").Row} Row */
/** @typedef {import("./rows.js").Filter} Filter */
/** @typedef {import("./state.js").Detail} Detail */
/** @typedef {import("./state.js").Interaction} Interaction */
/** @typedef {import("./state.js").ServerState} ServerState */

const FIRST_PAGE = 100;
const PAGE = 1_000;
/** Requests loaded until the person asks for more. */
const STRETCH = 10_000;
/** Maximum number of ids in one call. */
export const IDS_AT_ONCE = 500;
/** Minimum time between two drawings while pages arrive. */
const REDRAW_MS = 1_000;
/** Rows that are all read again to see what changed; of more rows, the newest and those in sight. */
const REREAD = 2_000;
/** People whose learnings are read without being asked for. */
const USERS_AT_ONCE = 20;
const LEARNINGS_PAGE = 100;

/** Grows with each new reading, so that answers to an earlier reading are dropped. */
let generation = 0;
let budget = STRETCH;

/** Ask the server for data. @param {string} view @param {Record<string, any>} given @returns {Promise<any>} */
export async function askView(view, given) {
  const answer = await host.ask("explorer_data", { view, ...given });
  state.reached = Date.now();
  return answer;
}

/** Read everything anew under a filter. @param {(server: ServerState) => void} begun called with the server's state, once @param {Record<string, any>} given as a tool takes it */
export async function readAll(begun = () => {}, given = toQuery(state.index.base)) {
  const mine = ++generation;
  const before = state.index;
  budget = STRETCH;
  beyond.clear();
  state.details.clear();
  update({ index: new Index(), cursor: "", problem: "", loading: "first", searching: false, looked: { count: 0, complete: false } });
  rematch();
  await readPages(mine, given, true, begun);
  if (mine !== generation || !state.problem || state.index.rows.size) return;
  // Earlier rows are better than no rows.
  state.index = before;
  rematch();
}

/** Read further requests. */
export async function readFurther() {
  if (!state.cursor || state.loading) return;
  budget += STRETCH;
  update({ loading: "more", looked: { ...state.looked, complete: false } });
  await readPages(generation, {}, false, () => {});
}

/** Show what was read so far, and read no more. */
export function stopReading() {
  generation += 1;
  update({ loading: "", searching: false, unsearched: state.searching });
}

/** @param {number} mine @param {Record<string, any>} given @param {boolean} first @param {(server: ServerState) => void} begun */
async function readPages(mine, given, first, begun) {
  // At first, rows without words are better than no rows.
  let hurried = first && !state.server;
  let drawn = -REDRAW_MS;
  try {
    let started = first;
    while (started || state.cursor) {
      const answer = await askView("rows", {
        ...(state.cursor ? { cursor: state.cursor } : given), limit: started ? FIRST_PAGE : PAGE, ...(hurried ? { hurried } : {}),
      });
      if (mine !== generation) return;
      if (answer.state && (hurried || !state.index.rows.size)) takeState(answer.state, begun);
      // The view in the address may have started another reading.
      if (mine !== generation) return;
      for (const { id } of state.index.add(rowsOf(answer))) beyond.delete(id);
      hurried = false;
      if (answer.without_words) state.loading = "words";
      else {
        started = false;
        state.cursor = answer.cursor ?? "";
        state.loading = state.cursor ? "more" : "";
        state.index.complete = !state.cursor;
        if (state.index.rows.size >= budget) break;
      }
      if (performance.now() - drawn < REDRAW_MS) continue;
      if (state.loading !== "words") drawn = performance.now();
      rematch();
      performance.mark("explorer-usable");
    }
    state.loading = "";
    rematch();
    await Promise.all([lookForFindings(mine), readLearnings()]);
  } catch (error) {
    if (mine !== generation) return;
    update({ loading: "", problem: messageOf(error) });
    rematch();
  }
}

/** @param {ServerState} server @param {(server: ServerState) => void} begun */
function takeState(server, begun) {
  const { filter } = server;
  state.index.base = {
    ...NO_FILTER, user: server.whose ? "" : filter.user_id, session: filter.session_id, source: filter.source,
    version: filter.agent_version, start: filter.start === null ? null : filter.start * 1000,
    end: filter.end === null ? null : filter.end * 1000 + 999,
  };
  update({ server });
  begun(server);
}

/** Read the findings of the requests that were read. */
export async function lookForFindings(mine = generation) {
  let cursor = "";
  let count = 0;
  let drawn = performance.now();
  do {
    const answer = await askView("findings", { ...(cursor ? { cursor } : toQuery(state.index.base)), limit: PAGE });
    if (mine !== generation) return;
    for (const [rule, places] of Object.entries(answer.findings ?? {})) state.index.note(rule, places);
    for (const [rule, places] of Object.entries(answer.no_problem ?? {})) state.index.note(rule, places, true);
    state.index.noteOrders(answer.passages ?? {});
    count += answer.looked_at ?? 0;
    // What is not loaded is not looked through either.
    cursor = count < state.index.rows.size ? answer.cursor ?? "" : "";
    update({ looked: { count, complete: !cursor } });
    if (cursor && performance.now() - drawn < REDRAW_MS) continue;
    drawn = performance.now();
    rematch();
  } while (cursor);
}

/** Hits among requests that were not read: they are in the list only as long as their words are looked for. @type {Set<string>} */
const beyond = new Set();

/** Sessions of which only hits were read. @type {Set<string>} */
const partlyRead = new Set();

/** Let the server look for the words, in everything that is stored. Hits are shown as they come. */
export async function lookForWords() {
  const mine = generation;
  const { words } = state.filter;
  state.index.remove(beyond);
  beyond.clear();
  partlyRead.clear();
  for (const row of state.index.rows.values()) row.passage = row.matched = "";
  if (!words) {
    state.index.found = null;
    update({ searching: false, unsearched: false });
    rematch();
    return;
  }
  const found = new Set();
  state.index.found = found;
  update({ searching: true, unsearched: false });
  rematch();
  const late = () => mine !== generation || words !== state.filter.words || !state.searching;
  try {
    let cursor = "";
    do {
      const answer = await askView("rows", { ...(cursor ? { cursor } : { ...toQuery(state.index.base), contains: words }), limit: PAGE });
      if (late()) return;
      const rows = rowsOf(answer);
      for (const { id, session } of rows) {
        if (!state.index.rows.has(id)) {
          beyond.add(id);
          partlyRead.add(session);
        }
        found.add(id);
      }
      state.index.add(rows);
      cursor = answer.cursor ?? "";
      rematch();
    } while (cursor && found.size < budget);
    Object.assign(state, { problem: "", unsearched: Boolean(cursor) });
  } catch (error) {
    if (late()) return;
    state.problem = messageOf(error);
  }
  update({ searching: false });
  rematch();
}

/** Read the rest of a conversation of which only hits were read; returns whether there was such a rest. @param {string} session */
export async function readWhole(session) {
  if (!partlyRead.delete(session)) return false;
  let cursor = "";
  do {
    const answer = await askView("rows", { ...(cursor ? { cursor } : { session_id: session }), limit: PAGE });
    const fresh = rowsOf(answer).filter((row) => !state.index.rows.has(row.id));
    for (const row of state.index.add(fresh)) beyond.add(row.id);
    cursor = answer.cursor ?? "";
  } while (cursor);
  rematch();
  return true;
}

/** Return the interactions of a request, and load them if necessary. @param {Row} row @returns {Detail} */
export function detailOf(row) {
  const known = state.details.get(row.id);
  if (known) return known;
  const detail = unread();
  state.details.set(row.id, detail);
  void readOn(row.id, detail);
  return detail;
}

/** @returns {Detail} */
function unread() {
  return { loading: true, problem: "", interactions: [], status: "", cursor: "" };
}

/** Read a request's interactions again, and show the ones that are known meanwhile. @param {string} id */
export async function readAnew(id) {
  if (!state.details.has(id)) return;
  const fresh = unread();
  await readOn(id, fresh, () => state.details.set(id, fresh));
}

/** Read on in a request. @param {string} id @param {Detail} detail @param {() => void} [done] */
export async function readOn(id, detail, done = () => {}) {
  Object.assign(detail, { loading: true, problem: "" });
  update();
  try {
    const { one } = await askView("request", { request_id: id, ...(detail.cursor ? { cursor: detail.cursor } : {}) });
    for (const interaction of one.interactions ?? []) {
      const last = detail.interactions.at(-1);
      if (interaction.content_from && last) last.text += asWritten(interaction.content ?? "");
      else detail.interactions.push(interactionOf(interaction));
    }
    Object.assign(detail, { cursor: one.cursor ?? "", status: one.learning?.means ?? "" });
  } catch (error) {
    detail.problem = messageOf(error);
  }
  detail.loading = false;
  done();
  update();
}

/** The text of an interaction with its secrets. @param {string} request @param {Interaction} interaction */
export async function uncover(request, interaction) {
  let text = "";
  let cursor = "";
  do {
    const { one } = await askView("request", { request_id: request, uncovered: true, ...(cursor ? { cursor } : {}) });
    for (const part of one.interactions ?? []) if (part.interaction_id === interaction.id) text += asWritten(part.content ?? "");
    cursor = one.cursor ?? "";
  } while (cursor && text.length < interaction.text.length);
  return text;
}

/** Read requests again, and drop those that are gone. @param {string[]} ids */
export async function readRows(ids) {
  for (let at = 0; at < ids.length; at += IDS_AT_ONCE) {
    const some = ids.slice(at, at + IDS_AT_ONCE);
    const answer = await askView("rows", { request_ids: some });
    const there = new Set(state.index.add(rowsOf(answer)).map((row) => row.id));
    state.index.remove(some.filter((id) => !there.has(id)));
  }
  dropGone();
  rematch();
}

/** Deselect requests that are not stored any more. */
function dropGone() {
  for (const id of state.selected) if (!state.index.rows.has(id)) state.selected.delete(id);
}

/**
 * See what another window or the assistant has changed, without moving anything.
 * @param {string[]} inSight ids of requests that are looked at anyhow @param {boolean} [whole] read everything again, however much it is
 */
export async function lookAgain(inSight, whole = false) {
  if (state.loading || state.searching || !state.server) return;
  const mine = generation;
  const { index } = state;
  try {
    if (index.rows.size > REREAD && !whole) {
      index.add(rowsOf(await askView("rows", { ...toQuery(index.base), limit: FIRST_PAGE })));
      await readRows(inSight);
    } else {
      const rows = [];
      let cursor = "";
      do {
        const answer = await askView("rows", { ...(cursor ? { cursor } : toQuery(index.base)), limit: PAGE });
        rows.push(...rowsOf(answer));
        cursor = answer.cursor ?? "";
      } while (cursor && rows.length < Math.max(budget, REREAD + PAGE));
      if (mine !== generation || index !== state.index || state.loading || state.searching) return;
      const there = new Set(rows.map((row) => row.id));
      const gone = [...index.rows.keys()].filter((id) => !there.has(id));
      const changed = rows.filter((row) => index.rows.get(row.id)?.interactions !== row.interactions).map((row) => row.id);
      if (gone.length || changed.length) {
        index.add(rows);
        index.remove(gone);
        index.complete = !cursor;
        state.cursor = cursor;
        dropGone();
        rematch();
        for (const id of changed) void readAnew(id);
        if (changed.length) await lookForFindings();
        await readLearnings();
      }
    }
    if (state.problem) update({ problem: "" });
  } catch (error) {
    update({ problem: messageOf(error) });
  }
}

let learningsAsked = 0;

/** People whose learnings are read, as many as were asked for. */
let peopleAsked = USERS_AT_ONCE;

/** Read what was learned, one person at a time. @param {number} [most] people */
export async function readLearnings(most = peopleAsked) {
  if (!can("list_learnings")) return;
  peopleAsked = most;
  const mine = ++learningsAsked;
  const users = usersByRecency();
  const first = state.memory.state !== "ready";
  /** @type {Map<string, import("./memory.js").Learning>} */
  const list = new Map();
  if (first) update({ memory: { ...state.memory, state: "reading", problem: "" } });
  let unlinked = 0;
  try {
    for (const user of users.slice(0, most)) {
      let cursor = "";
      do {
        const answer = await host.ask("list_learnings", { ...ofUser(user), limit: LEARNINGS_PAGE, ...(cursor ? { cursor } : {}) });
        if (mine !== learningsAsked) return;
        for (const one of answer.learnings ?? []) list.set(one.learning_id, learningOf(one, user));
        cursor = answer.cursor ?? "";
        if (!cursor) unlinked += answer.unlinked ?? 0;
      } while (cursor);
      // A list that was there stays until the new one is complete.
      if (first) update({ memory: { state: "reading", problem: "", list: new Map(list), usersLeft: users.length, unlinked, rulesUnread: false } });
    }
    const rules = await readSharedRules();
    if (mine !== learningsAsked) return;
    for (const rule of rules ?? []) list.set(rule.id, rule);
    update({ memory: { state: "ready", problem: "", list, usersLeft: Math.max(0, users.length - most), unlinked, rulesUnread: rules === null } });
  } catch (error) {
    if (mine === learningsAsked) update({ memory: { ...state.memory, state: "failed", problem: messageOf(error) } });
  }
}

/** The shared rules that are used, if this server is for everybody; `null` if they cannot be read. */
async function readSharedRules() {
  if (state.server?.whose) return [];
  const rules = [];
  let cursor = "";
  try {
    do {
      const answer = await host.ask("list_learnings", { shared: true, limit: LEARNINGS_PAGE, ...(cursor ? { cursor } : {}) });
      rules.push(...(answer.shared_rules ?? []));
      cursor = answer.cursor ?? "";
    } while (cursor);
  } catch {
    return null;
  }
  return rules.filter((one) => one.approval !== "rejected").map(sharedRuleOf);
}

/** The people whose conversations were read, who spoke last first. */
export function usersByRecency() {
  if (state.server?.whose) return [state.server.whose];
  /** @type {Map<string, number>} */
  const last = new Map();
  for (const row of state.index.rows.values()) last.set(row.user, Math.max(last.get(row.user) ?? 0, row.at));
  return [...last].sort((a, b) => b[1] - a[1]).map(([user]) => user).filter(Boolean);
}

/** The `user_id` argument of a tool; none if the server is for one user. @param {string} user */
export function ofUser(user) {
  return user && !state.server?.whose ? { user_id: user } : {};
}

/** A filter as the server's tools take it. @param {Filter} filter */
export function toQuery(filter) {
  /** @type {Record<string, string>} */
  const given = {};
  if (filter.user) given.user_id = filter.user;
  if (filter.session) given.session_id = filter.session;
  if (filter.source) given.source = filter.source;
  if (filter.version) given.agent_version = filter.version;
  if (filter.start !== null) given.start_time = new Date(filter.start).toISOString();
  if (filter.end !== null) given.end_time = new Date(filter.end).toISOString();
  return given;
}

/** @type {[string, string][]} */
const EXTRA = [
  ["user_action", "Action"], ["user_action_description", "What was done"], ["interacted_image_url", "Image"],
  ["shadow_content", "Another answer"], ["expert_content", "Expert's answer"], ["tools_used", "Tool"],
  ["retrieved_learnings", "Recalled"],
];

/** @param {any} interaction @returns {Interaction} */
function interactionOf(interaction) {
  /** @type {[string, string][]} */
  const extra = [];
  for (const [key, name] of EXTRA) {
    for (const value of [interaction[key] ?? []].flat()) extra.push([name, asWritten(String(value))]);
  }
  const text = interaction.content ?? (interaction.characters === undefined ? "" : counted(interaction.characters, "character"));
  return { id: Number(interaction.interaction_id ?? 0), role: String(interaction.role ?? "User"), text: asWritten(text), extra };
}
