/** What a person can do on the page, by name. Views call these; these change the state. */

import { host, messageOf } from "./host.js";
import { hasSecret } from "./findings.js";
import { busy, correct, deleteMessage, deleteRequests, exported, forget, going, goingToo, judge, planDeletion, putBack } from "./jobs.js";
import { lookAgain, lookForWords, readAll, readAnew, readLearnings, readWhole, toQuery, uncover } from "./reading.js";
import { hiddenIn } from "./passages.js";
import { exchangesOf, NO_FILTER } from "./rows.js";
import { can, dropSelection, rematch, state, update } from "./state.js";

/** @typedef {import("./rows.js").Row} Row */
/** @typedef {import("./rows.js").Filter} Filter */
/** @typedef {import("./rows.js").Session} Session */
/** @typedef {import("./state.js").Part} Part */
/** @typedef {import("./memory.js").Learning} Learning */

/** Requests of a conversation that are shown at first, and at each request for more. */
export const SHOWN = 12;
/** Requests shown before the one that a conversation opens at. */
const BEFORE = 2;

/** The tool's arguments that limit which requests the page reads. */
const BASE = ["user_id", "session_id", "source", "agent_version", "start_time", "end_time"];

/** Whether the part was chosen by a person, or by what the page was opened with. */
let partChosen = false;
let begun = false;

/** Show what the page was opened with. @param {Record<string, any>} given the arguments of the tool */
export async function openPage(given) {
  state.filter = { ...NO_FILTER, words: String(given.contains ?? ""), finding: String(given.finding ?? "") };
  partChosen = Object.keys(given).length > 0;
  await readAll(begin, Object.fromEntries(Object.entries(given).filter(([name]) => BASE.includes(name))));
  // What was learned is what most people open a memory for.
  if (!partChosen && [...state.memory.list.values()].length) showPart("learned", false);
}

/** Apply the server's state, which comes with the first rows. */
function begin() {
  if (!begun) {
    begun = true;
    state.filter = { ...state.index.base, words: state.filter.words, finding: state.filter.finding };
    state.opening = state.filter;
    if (host.context.place) goTo(host.context.place);
  }
  // The view in the address may need requests that were not read.
  if (!state.index.covers(state.filter)) void readAll(begin, toQuery(state.filter));
  else if (state.filter.words) void lookForWords();
}

/** @param {Part} part @param {boolean} [remembered] */
export function showPart(part, remembered = true) {
  partChosen ||= remembered;
  update({ part, menu: "" });
  if (remembered) remember();
}

/** @param {Partial<Filter>} part @param {number | null} [period] the length of the chosen period */
export function changeFilter(part, period = null) {
  const before = state.filter;
  state.filter = { ...before, ...part };
  if ("start" in part) state.period = period;
  partChosen = true;
  applyFilter(before);
  remember();
}

export function clearFilter() {
  changeFilter({ ...NO_FILTER });
}

/** @param {Filter} before */
function applyFilter(before) {
  const { filter, index } = state;
  const narrows = /** @type {const} */ (["user", "session", "source", "version", "start", "end"]).some((name) => filter[name] !== before[name]);
  // If not all matching requests were read, ask the server again with the filter.
  if (!(index.complete && index.covers(filter)) && state.server && narrows) void readAll(begin, toQuery(filter));
  else if (filter.words !== before.words) void lookForWords();
  rematch();
}

/** @param {import("./rows.js").Order} order */
export function sortBy(order) {
  update({ order, menu: "" });
  rematch();
}

/** Look again, because the person asks for it. */
export async function refresh() {
  if (state.problem || !state.index.rows.size) return readAll(begin);
  update({ spoken: "Looking again." });
  await lookAgain(inSight(), true);
  if (state.opened) for (const row of shownRows()) void readAnew(row.id);
  void readLearnings();
  update({ spoken: state.problem || "This is what is stored now." });
}

/** Look again because some time has passed, or the window was somewhere else. */
export async function lookQuietly() {
  if (busy() || state.sheet) return;
  await lookAgain(inSight());
  await readLearnings();
}

/** Ids of requests that a person sees at the moment. */
function inSight() {
  return [...(state.opened ? state.index.ofSession(state.opened.session) : []), ...state.matched.sessions.slice(0, 50).flatMap((one) => one.rows)]
    .slice(0, 500).map((row) => row.id);
}

/* Conversations */

/**
 * Read a conversation, from its beginning or at one of its requests.
 * @param {string} session @param {{request?: string, words?: string, remembered?: boolean}} [at] `words` are what taught something
 */
export function openConversation(session, { request = "", words = "", remembered = true } = {}) {
  const exchanges = exchangesOf(state.index.ofSession(session));
  const hits = exchanges.findIndex(isHit);
  const named = exchanges.findIndex(({ row, restored }) => [row, ...restored].some((one) => one.id === request));
  const at = Math.max(0, named >= 0 ? named : hits);
  const reach = exchanges[at]?.row.id ?? "";
  const first = named >= 0 || hits >= 0;
  update({
    part: "conversations", menu: "", sheet: null,
    opened: { session, from: Math.max(0, at - BEFORE), to: Math.max(0, at - BEFORE) + SHOWN, reach: first ? reach : "", hit: first && !words ? reach : "" },
  });
  if (remembered) remember();
  void readWhole(session).then((more) => {
    if (more && state.opened?.session === session) openConversation(session, { request: reach, words, remembered: false });
  }, (error) => update({ problem: messageOf(error) }));
}

export function closeConversation() {
  update({ opened: null });
  remember();
}

/** Show more requests of the open conversation. @param {{before?: number, after?: number}} more */
export function showMore({ before = 0, after = 0 }) {
  const { opened } = state;
  if (opened) update({ opened: { ...opened, from: Math.max(0, opened.from - before), to: opened.to + after, reach: "" } });
}

/** The exchanges with searched words in the open conversation. */
export function hitsHere() {
  return exchangesHere().filter(isHit).map(({ row }) => row.id);
}

/** The exchanges of the open conversation. */
function exchangesHere() {
  return state.opened ? exchangesOf(state.index.ofSession(state.opened.session)) : [];
}

/** Whether an exchange has searched words. @param {{row: Row, restored: Row[]}} exchange */
function isHit({ row, restored }) {
  return [row, ...restored].some(({ id }) => state.index.found?.has(id));
}

/** Go to the next hit, or the one before; behind the last one, the next conversation begins. @param {1 | -1} step */
export function toHit(step) {
  const { opened } = state;
  if (!opened) return;
  const hits = hitsHere();
  const next = hits[hits.indexOf(opened.hit) + step];
  if (next) reachRequest(next);
  else toConversation(step, true);
}

/** @param {string} id */
function reachRequest(id) {
  const { opened } = state;
  if (!opened) return;
  const at = exchangesHere().findIndex(({ row }) => row.id === id);
  const from = at < opened.from ? Math.max(0, at - BEFORE) : opened.from;
  update({ opened: { ...opened, from, to: Math.max(opened.to, at + SHOWN), reach: id, hit: id } });
}

/** Open the conversation above or below in the list. @param {1 | -1} step @param {boolean} [last] open it at its last hit when going up */
export function toConversation(step, last = false) {
  const { sessions } = state.matched;
  const next = sessions[sessions.findIndex((one) => one.id === state.opened?.session) + step];
  if (!next || !state.opened) return;
  openConversation(next.id);
  if (last && step < 0) reachRequest(hitsHere().at(-1) ?? "");
}

/** The conversation has been scrolled to where it was opened. */
export function reached() {
  if (state.opened) state.opened.reach = "";
}

/** The rows of the open conversation that are shown. */
function shownRows() {
  const { opened } = state;
  return exchangesHere().slice(opened?.from, opened?.to).flatMap(({ row, restored }) => [row, ...restored]);
}

/** Show one hidden secret of a message. @param {Row} row @param {import("./state.js").Interaction} interaction @param {number} at its number in the text */
async function showSecret(row, interaction, at) {
  try {
    state.uncovered.set(`${row.id} ${interaction.id} ${at}`, hiddenIn(interaction.text, at, await uncover(row.id, interaction)));
    update();
  } catch (error) {
    update({ spoken: messageOf(error) });
  }
}

/** How the hidden secrets of a message are shown. @param {Row} row @param {import("./state.js").Interaction} interaction */
export function secretsOf(row, interaction) {
  return {
    revealed: (/** @type {number} */ at) => state.uncovered.get(`${row.id} ${interaction.id} ${at}`),
    onSecret: (/** @type {number} */ at) => showSecret(row, interaction, at),
  };
}

/** @param {number} interaction */
export function toggleFold(interaction) {
  if (!state.unfolded.delete(interaction)) state.unfolded.add(interaction);
  update();
}

/* Selection */

/** @param {Row[]} rows @param {boolean} on */
export function select(rows, on) {
  for (const row of rows) {
    if (on) state.selected.add(row.id);
    else state.selected.delete(row.id);
  }
  update();
}

export function clearSelection() {
  dropSelection([...state.selected]);
  update();
}

/** @returns {Row[]} */
export function selectedRows() {
  return [...state.selected].flatMap((id) => state.index.rows.get(id) ?? []);
}

/* What was learned */

/** @param {Partial<import("./state.js").State["learned"]>} part */
export function changeLearned(part) {
  const opens = "open" in part;
  update({ learned: { ...state.learned, ...part }, menu: "" });
  if (opens) remember();
}

/** Select learnings, or deselect them. @param {Learning[]} learnings @param {boolean} on */
export function pickLearned(learnings, on) {
  const picked = new Set(state.learned.picked);
  for (const { id } of learnings) {
    if (on) picked.add(id);
    else picked.delete(id);
  }
  changeLearned({ picked });
}

/** Open one learned thing in its own part. @param {Learning} one */
export function openLearned(one) {
  partChosen = true;
  update({ part: "learned", sheet: null, learned: { ...state.learned, kind: "", words: "", open: one.id } });
  remember();
}

/* To review */

/** @param {string} open */
export function openFinding(open) {
  partChosen = true;
  update({ part: "review", review: { ...state.review, open, problem: "" } });
  remember();
}

/** @param {string} id @param {string} next */
export function decideLater(id, next) {
  state.review.later.add(id);
  openFinding(next);
}

/** Judge a finding, and open the next one. @param {import("./findings.js").Finding} finding @param {boolean} noProblem @param {string} next */
export async function decide(finding, noProblem, next) {
  try {
    await judge(finding, noProblem);
    openFinding(next);
    update({ spoken: noProblem ? "It counts as no problem." : "It is to review again." });
  } catch (error) {
    update({ review: { ...state.review, problem: messageOf(error) } });
  }
}

/* Sheets and menus */

/** @param {string} menu */
export function toggleMenu(menu) {
  update({ menu: state.menu === menu ? "" : menu });
}

/** Counts the sheets, so that an answer to an earlier one is not shown. */
let sheets = 0;

/** @param {any} sheet */
function openSheet(sheet) {
  sheets += 1;
  const first = !state.sheet;
  update({ sheet: { ...sheet, id: sheets }, menu: "" });
  if (first && host.keepsPlaces()) remember();
}

/** Change the open sheet if it is still the same one. @param {number} id @param {Record<string, any>} part */
export function changeSheet(id, part) {
  if (state.sheet?.id === id) update({ sheet: { ...state.sheet, ...part } });
}

export function closeSheet() {
  if (!state.sheet) return;
  update({ sheet: null });
  if (host.keepsPlaces()) host.goBack();
}

/** Ask before a deletion: look up what goes. No copy is kept of a secret unless that is chosen. @param {Row[]} rows @param {{erase?: boolean, chosen?: Map<string, boolean>, title?: string}} [given] */
export async function askDeletion(rows, { erase = hasSecret(rows), chosen = new Map(), title = "" } = {}) {
  const done = (/** @type {number} */ looked) => changeSheet(id, { looked });
  openSheet({ kind: "delete", rows, erase, chosen, title, typed: "", plan: null, looked: 0, problem: "" });
  const { id } = state.sheet;
  try {
    changeSheet(id, { plan: await planDeletion(rows, erase, done) });
  } catch (error) {
    changeSheet(id, { problem: messageOf(error) });
  }
}

/** Plan again, because a copy is kept or not. @param {boolean} erase */
export async function chooseCopy(erase) {
  const { id, rows, kind } = state.sheet;
  changeSheet(id, { erase, replanning: kind === "delete" });
  if (kind !== "delete") return;
  try {
    const plan = await planDeletion(rows, erase, () => {});
    if (state.sheet?.erase === erase) changeSheet(id, { plan, replanning: false });
  } catch (error) {
    changeSheet(id, { problem: messageOf(error), plan: null });
  }
}

/** @param {string} learning @param {boolean} goes */
export function chooseFate(learning, goes) {
  const { id, chosen } = state.sheet;
  changeSheet(id, { chosen: new Map(chosen).set(learning, goes) });
}

/** What is chosen in a sheet about a deletion. @param {any} sheet @returns {import("./jobs.js").Choice} */
export function chosenIn({ plan, erase, chosen }) {
  const learned = going(plan.fates, chosen);
  return { erase, learned, older: goingToo(learned, chosen) };
}

/** What a sheet about learnings forgets: these, and what they replaced if that is chosen. @param {any} sheet @returns {{id: string, user: string}[]} */
export function forgottenIn({ learnings, chosen }) {
  const replacing = learnings.map((/** @type {Learning} */ one) => ({ user: one.user, older: one.replaced }));
  return [...learnings.map((/** @type {Learning} */ { id, user }) => ({ id, user })), ...goingToo(replacing, chosen)];
}

/** Do what the open sheet asks. */
export function carryOut() {
  const { sheet } = state;
  if (host.keepsPlaces()) host.goBack();
  switch (sheet.kind) {
    case "delete":
      void deleteRequests(sheet.plan, chosenIn(sheet));
      return;
    case "message":
      void deleteMessage(sheet.row, sheet.interaction.id, sheet.erase);
      return;
    case "forget":
      void forget(forgottenIn(sheet), sheet.erase);
      return;
    case "correct":
      void correct(sheet.learning, sheet.text);
  }
}

/** @param {Row} row @param {import("./state.js").Interaction} interaction @param {boolean} secret */
export function askMessage(row, interaction, secret) {
  openSheet({ kind: "message", row, interaction, erase: secret });
}

/** @param {Learning[]} learnings */
export function askForget(learnings) {
  openSheet({ kind: "forget", learnings, erase: false, chosen: new Map(), typed: "" });
}

/** @param {Learning} learning */
export function askCorrect(learning) {
  openSheet({ kind: "correct", learning, text: learning.text });
}

export function showKeys() {
  openSheet({ kind: "keys" });
}

export async function showPast() {
  openSheet({ kind: "past", deletions: null, facts: [], problem: "" });
  const { id } = state.sheet;
  try {
    const { deletions = [], facts = [] } = await host.ask("restore_requests", {});
    changeSheet(id, { deletions: deletions.filter((/** @type {any} */ one) => one.copied), facts });
  } catch (error) {
    changeSheet(id, { problem: messageOf(error) });
  }
}

/** Show what an export would contain; with the code of that, write it and name the file, unless it has changed. @param {{redact?: boolean, confirm?: string}} [chosen] */
export async function showExport({ redact = true, confirm = "" } = {}) {
  openSheet({ kind: "export", found: null, redact, written: confirm !== "", problem: "" });
  const { id } = state.sheet;
  try {
    const found = await exported(confirm ? { redact, confirm } : {});
    changeSheet(id, { found, written: !found.confirm });
  } catch (error) {
    changeSheet(id, { problem: messageOf(error) });
  }
}

/* The notice */

/** Undo what the notice tells, or a deletion of the past. @param {number[]} numbers @param {Row[]} [rows] */
export function undo(numbers, rows = []) {
  if (state.sheet && host.keepsPlaces()) host.goBack();
  void putBack(numbers, rows);
}

export function stopJob() {
  if (state.job && state.job.stopping === false) update({ job: Object.assign(state.job, { stopping: true }) });
}

export function closeJob() {
  update({ job: null });
}

/** @param {string} text */
export async function copy(text) {
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    // If the frame may not use the clipboard, the old way still works on a click.
    const button = /** @type {HTMLElement} */ (document.activeElement);
    const area = document.createElement("textarea");
    area.value = text;
    area.className = "spoken";
    document.body.append(area);
    area.select();
    document.execCommand("copy");
    area.remove();
    button.focus();
  }
  update({ spoken: "Copied." });
}

export async function toggleFullscreen() {
  try {
    await host.show(host.context.displayMode === "fullscreen" ? "inline" : "fullscreen");
  } catch (error) {
    update({ spoken: messageOf(error) });
  }
}

/* The address */

/** Keep the view in the address, if the host has an address. */
function remember() {
  const place = new URLSearchParams();
  if (state.part !== "conversations") place.set("part", state.part);
  for (const [name, value] of Object.entries(state.filter)) if (value) place.set(name, String(value));
  if (state.period) place.set("period", String(state.period));
  if (state.opened) place.set("open", state.opened.session);
  if (state.learned.open) place.set("learned", state.learned.open);
  if (state.review.open) place.set("finding_open", state.review.open);
  if (state.sheet) place.set("sheet", state.sheet.kind);
  host.remember(String(place) || "all=1");
}

/** The address of the host has changed. A sheet that is open then is closed: it belongs to the view before. @param {string} place */
export function moveTo(place) {
  const before = state.filter;
  update({ sheet: null });
  goTo(place);
  applyFilter(before);
}

/** Show the view that an address names. An empty address names the first view. @param {string} text */
function goTo(text) {
  const place = new URLSearchParams(text);
  const part = place.get("part");
  if (text) partChosen = true;
  state.filter = text ? filterOf(place) : state.opening;
  state.period = Number(place.get("period")) || null;
  state.learned = { ...state.learned, open: place.get("learned") ?? "" };
  state.review = { ...state.review, open: place.get("finding_open") ?? "" };
  const session = place.get("open") ?? "";
  if (session && session !== state.opened?.session) openConversation(session, { remembered: false });
  else if (!session) state.opened = null;
  update({ part: part === "learned" && can("list_learnings") || part === "review" ? part : "conversations" });
}

/** @param {URLSearchParams} place @returns {Filter} */
function filterOf(place) {
  const text = (/** @type {string} */ name) => place.get(name) ?? "";
  const time = (/** @type {string} */ name) => Number(place.get(name)) || null;
  return {
    words: text("words"), user: text("user"), session: text("session"), source: text("source"), version: text("version"),
    finding: text("finding"), start: time("start"), end: time("end"),
  };
}
