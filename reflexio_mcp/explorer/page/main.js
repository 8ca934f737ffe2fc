/** The page: what is there, what was made of it, is it gone. */

import { Conversation } from "./conversation.js";
import { byId, el, fill, renew, set, stored } from "./dom.js";
import { Clock, counted, DAY_MS, number, placeOf, shortened } from "./format.js";
import { Host } from "./host.js";
import { Index, NO_FILTER, rowsOf } from "./rows.js";
import { messageOf, Sheet, textOf, wordsFor } from "./sheet.js";
import { Table } from "./table.js";
import { HUES, Timeline } from "./timeline.js";

/** @typedef {import("./rows.js").Row} Row */
/** @typedef {import("./rows.js").Filter} Filter */
/** @typedef {import("./rows.js").SortKey} SortKey */
/** @typedef {import("./table.js").Detail} Detail */
/**
 * @typedef {{whose: string, where: string, keeper: string, masked: boolean, recovery_days: number, tools: string[], rules: Record<string, {why: string, grave: boolean}>,
 *   filter: {user_id: string, session_id: string, source: string, agent_version: string, start: number | null, end: number | null}}} ServerState
 */

const FIRST_PAGE = 200;
const PAGE = 1_000;
/** Requests that are loaded before the page asks whether to go on. */
const STRETCH = 10_000;
/** What of the tool's arguments the server narrows by; words and findings are looked for among the rest. */
const BASE = ["user_id", "session_id", "source", "agent_version", "start_time", "end_time"];
/** Choices a list offers; whoever is beyond them is found by words. */
const CHOICES = 200;
/** Ids in one question about requests by id. */
const IDS_AT_ONCE = 500;
const INLINE_HEIGHT = 680;
/** Findings that the strip on top names; the list of findings has them all. */
const IN_STRIP = 5;
/** Findings arrive a page at a time, and are drawn no more often than this. */
const REDRAW_MS = 1_000;
/** How long after the last change the place is stored. */
const KEEP_MS = 300;
/** Requests whose selection is stored with the place. */
const MOST_KEPT = 2_000;
/** How long rows are on the screen before the page asks where their learning stands. */
const SETTLED_MS = 200;
/** Requests in one such question, and how many a minute: half of what the service answers. */
const LEARNING_AT_ONCE = 20;
const LEARNING_A_MINUTE = 60;
const MINUTE_MS = 60_000;

/** @type {[string, number | null][]} */
const PERIODS = [["24 hours", DAY_MS], ["7 days", 7 * DAY_MS], ["30 days", 30 * DAY_MS], ["All", null]];

class Page {
  constructor() {
    this.host = new Host();
    this.clock = new Clock();
    this.index = new Index();
    /** @type {Filter} */
    this.filter = { ...NO_FILTER };
    /** The chip that is pressed, in milliseconds; `null` for all or a brushed period. @type {number | null} */
    this.period = null;
    /** @type {import("./rows.js").Sort} */
    this.sort = { key: "when", down: true };
    /** @type {Set<string>} */
    this.selected = new Set();
    /** @type {Set<string>} */
    this.lit = new Set();
    /** @type {Map<string, Detail>} */
    this.details = new Map();
    /** @type {ServerState | null} */
    this.server = null;
    this.uncovered = false;
    /** @type {"first" | "more" | ""} */
    this.loading = "first";
    /** Whether the server looks for the words. */
    this.searching = false;
    this.problem = "";
    /** What was done last, until the next thing is. */
    this.said = "";
    /** Undoes what `said` tells. @type {(() => void) | undefined} */
    this.undoing = undefined;
    this.cursor = "";
    /** Grows with each new reading, so that answers to an earlier one are dropped. */
    this.reading = 0;
    this.budget = STRETCH;
    /** @type {string[]} */
    this.sources = [];
    this.checkpointKey = "";
    /** Whether the person has done anything yet. */
    this.touched = false;
    this.keeping = 0;
    /** @type {Row[]} */
    this.onScreen = [];
    this.settling = 0;
    /** When the page asked about a request's learning, in the last minute. @type {number[]} */
    this.askedLearning = [];
    this.matched = this.index.match(this.filter, this.sort);
    this.sheet = new Sheet(/** @type {HTMLDialogElement} */ (byId("sheet")));
    this.table = new Table(byId("grid"), byId("body"), {
      clock: () => this.clock,
      selected: this.selected,
      selectable: true,
      lit: this.lit,
      select: (rows, on) => this.select(rows, on),
      detail: (row) => this.detail(row),
      more: (row) => void this.readOn(row),
      marks: () => this.filter.words.toLowerCase().split(/\s+/).map((word) => word.replaceAll('"', "")).filter((word) => word && word !== "or"),
      ruleWords: (rule) => this.ruleWords(rule),
      grave: (rule) => this.server?.rules[rule]?.grave ?? false,
      copy: (text) => void this.copy(text),
      moved: () => this.checkpoint(),
      seen: (rows) => this.seen(rows),
      opened: (line) => void (line.kind === "session" ? this.conversation.show(line.session.id) : this.conversation.show(line.row.session, line.row.id)),
    });
    this.conversation = new Conversation(byId("conversation"), {
      rows: (session) => this.index.ofSession(session),
      detail: (row) => this.detail(row),
      more: (row) => void this.readOn(row),
      whole: (row, turn) => this.whole(row, turn),
      list: null,
      takeBack: null,
      remove: null,
      removeTurn: null,
      rule: (rule) => ({ words: this.ruleWords(rule), ...(this.server?.rules[rule] ?? { why: "", grave: false }) }),
      light: (ids) => {
        this.lit.clear();
        for (const id of ids) this.lit.add(id);
        this.table.refresh();
      },
      day: (at) => this.clock.day(at),
      moment: (at) => this.clock.moment(at),
    });
    this.timeline = new Timeline(byId("timeline"), (start, end) => {
      this.period = null;
      this.change({ start, end });
    });
    // One button, not a new one at every drawing: it may be under a finger.
    this.brush = el("button", { type: "button", class: "brush", "aria-pressed": "true",
      onclick: () => this.change({ start: null, end: null }) });
    this.listen();
    this.render();
    performance.mark("explorer-ready");
  }

  async open() {
    this.host.oncontext = (context) => this.dress(context);
    /** @type {(input: Record<string, any>) => void} */
    let arrived = () => {};
    const input = new Promise((resolve) => {
      arrived = resolve;
    });
    this.host.oninput = (one) => arrived(one);
    this.host.onresult = (result) => {
      const id = result._meta?.viewUUID;
      if (typeof id !== "string") return;
      this.checkpointKey = `reflexio-mcp ${id}`;
      if (this.server && !this.touched) this.recall();
    };
    this.host.onteardown = () => this.keep();
    window.addEventListener("pagehide", () => this.keep());
    try {
      await this.host.connect();
    } catch (error) {
      this.loading = "";
      this.problem = `${messageOf(error)} Open this page from an assistant, or with "reflexio-mcp explore".`;
      this.render();
      return;
    }
    // A host that shows an old conversation may have forgotten the arguments.
    const arguments_ = await Promise.race([input, new Promise((resolve) => setTimeout(() => resolve({}), 1_000))]);
    performance.mark("explorer-asks");
    const given = /** @type {Record<string, any>} */ (arguments_);
    this.filter.words = String(given.contains ?? "");
    this.filter.finding = String(given.finding ?? "");
    /** @type {HTMLInputElement} */ (byId("words")).value = this.filter.words;
    await this.read(Object.fromEntries(Object.entries(given).filter(([name]) => BASE.includes(name))));
  }

  // ----- Reading -----

  /**
   * Ask the server for data.
   * @param {string} view
   * @param {Record<string, any>} given
   */
  async ask(view, given) {
    const result = await this.host.call("explorer_data", { view, ...given });
    if (result.isError) throw new Error(textOf(result) || "The server could not answer.");
    return result.structuredContent ?? {};
  }

  /** Read everything anew under a filter. @param {Record<string, any>} given as a tool takes it */
  async read(given) {
    const turn = ++this.reading;
    const before = this.index;
    this.index = new Index();
    this.cursor = "";
    this.budget = STRETCH;
    this.problem = "";
    this.loading = "first";
    this.searching = false;
    this.details.clear();
    this.render();
    await this.readPages(turn, given, true);
    if (turn !== this.reading || !this.problem || this.index.rows.size) return;
    // What was known before is better than nothing.
    this.index = before;
    this.render();
  }

  /** @param {number} turn @param {Record<string, any>} given @param {boolean} first */
  async readPages(turn, given, first) {
    try {
      let started = first;
      while (started || this.cursor) {
        const limit = started ? FIRST_PAGE : PAGE;
        const { uncovered } = this;
        const answer = await this.ask("rows", { ...(this.cursor ? { cursor: this.cursor } : given), limit, uncovered });
        if (turn !== this.reading) return;
        if (started) performance.mark("explorer-data");
        if (answer.state) this.begin(answer.state);
        // Where the page was last time may need other rows.
        if (turn !== this.reading) return;
        this.take(answer, uncovered);
        this.cursor = answer.cursor ?? "";
        started = false;
        this.loading = this.cursor ? "more" : "";
        this.index.complete = !this.cursor;
        if (this.index.rows.size >= this.budget) break;
        this.render();
        performance.mark("explorer-usable");
      }
      this.loading = "";
      this.render();
      await this.lookForFindings(turn);
    } catch (error) {
      if (turn !== this.reading) return;
      this.loading = "";
      this.problem = messageOf(error);
      this.render();
    }
  }

  /** What the server says of itself with the first page. @param {ServerState} state */
  begin(state) {
    const first = !this.server;
    this.server = state;
    const { filter } = state;
    const base = {
      ...NO_FILTER, user: state.whose ? "" : filter.user_id, session: filter.session_id, source: filter.source,
      version: filter.agent_version, start: filter.start === null ? null : filter.start * 1000,
      end: filter.end === null ? null : filter.end * 1000 + 999,
    };
    this.index.base = base;
    if (first) {
      this.filter = { ...base, words: this.filter.words, finding: this.filter.finding };
      this.recall();
    } else if (this.filter.words) void this.lookForWords();
    this.table.owner.selectable = this.can("delete_requests") || this.can("list_requests");
    const { owner } = this.conversation;
    if (this.can("list_learnings")) owner.list = (given) => this.learnings(given);
    if (this.can("delete_learnings")) owner.takeBack = (learning) => void this.takeBack(learning);
    if (this.can("delete_requests")) owner.remove = (rows) => void this.delete(rows);
    if (this.can("delete_request") && !state.masked) owner.removeTurn = (row, turn) => void this.deleteTurn(row, turn);
  }

  /** @param {Record<string, any>} given */
  async learnings(given) {
    const result = await this.host.call("list_learnings", given);
    if (result.isError) throw new Error(textOf(result));
    return result.structuredContent ?? {};
  }

  /** The findings of the requests that are here, after the table is drawn. @param {number} turn */
  async lookForFindings(turn) {
    let cursor = "";
    let seen = 0;
    let drawn = performance.now();
    do {
      const answer = await this.ask("findings", { ...(cursor ? { cursor } : this.baseAsked()), limit: PAGE });
      if (turn !== this.reading) return;
      this.note(answer.findings);
      seen += answer.looked_at ?? 0;
      cursor = answer.cursor ?? "";
      if (cursor && performance.now() - drawn < REDRAW_MS) continue;
      drawn = performance.now();
      this.render(this.said);
    } while (cursor && seen < this.budget);
  }

  /** @param {Record<string, string[]>} findings rule to ids of requests */
  note(findings = {}) {
    for (const [rule, ids] of Object.entries(findings)) {
      for (const id of ids) {
        const row = this.index.rows.get(id);
        if (row && !row.findings.includes(rule)) row.findings.push(rule);
      }
    }
  }

  /** Once the rows stay on the screen, ask where their learning stands. @param {Row[]} rows */
  seen(rows) {
    this.onScreen = rows;
    clearTimeout(this.settling);
    this.settling = setTimeout(() => void this.lookForLearning(), SETTLED_MS);
  }

  async lookForLearning() {
    if (!this.can("list_learnings")) return;
    const unknown = this.onScreen.filter((row) => !row.learning);
    const now = performance.now();
    this.askedLearning = this.askedLearning.filter((at) => now - at < MINUTE_MS);
    const left = LEARNING_A_MINUTE - this.askedLearning.length;
    if (unknown.length && left <= 0) this.settling = setTimeout(() => void this.lookForLearning(), MINUTE_MS / 4);
    const some = unknown.slice(0, Math.min(left, LEARNING_AT_ONCE));
    if (!some.length) return;
    this.askedLearning.push(...some.map(() => now));
    let told;
    try {
      told = (await this.ask("learning", { request_ids: some.map((row) => row.id) })).learning ?? {};
    } catch {
      // The badges are missing; the next rows on the screen ask again.
      return;
    }
    for (const row of some) row.learning = told[row.id] ?? "unknown";
    this.table.refresh();
    this.seen(this.onScreen);
  }

  baseAsked() {
    return asked(this.index.base);
  }

  /** Let the server look for the words. */
  async lookForWords() {
    const turn = this.reading;
    const { words } = this.filter;
    if (!words) {
      for (const row of this.index.rows.values()) row.passage = "";
      this.index.found = null;
      this.searching = false;
      this.render();
      return;
    }
    const found = new Set();
    for (const row of this.index.rows.values()) row.passage = "";
    // Until it is known, nothing is said to match; what was found for other words stays.
    this.index.found ??= found;
    this.searching = true;
    this.render();
    try {
      let cursor = "";
      let looked = 0;
      do {
        const { uncovered } = this;
        const answer = await this.ask("rows", {
          ...(cursor ? { cursor } : { ...this.baseAsked(), contains: words }), limit: PAGE, uncovered,
        });
        if (turn !== this.reading || words !== this.filter.words) return;
        for (const row of this.take(answer, uncovered)) found.add(row.id);
        cursor = answer.cursor ?? "";
        looked += answer.looked_at ?? 0;
      } while (cursor && looked < this.budget && found.size < this.budget);
      this.index.found = found;
      this.problem = "";
    } catch (error) {
      if (turn !== this.reading || words !== this.filter.words) return;
      if (this.index.found === found) this.index.found = null;
      this.problem = messageOf(error);
    }
    this.searching = false;
    this.render();
  }

  /** @param {Row} row @returns {Detail} */
  detail(row) {
    let detail = this.details.get(row.id);
    if (!detail) {
      detail = { state: "loading", turns: [], note: "", cursor: "" };
      this.details.set(row.id, detail);
      void this.readOn(row);
    }
    return detail;
  }

  /** @param {Row} row */
  async readOn(row) {
    const detail = this.details.get(row.id);
    if (!detail) return;
    if (detail.state === "failed") {
      detail.state = "loading";
      this.table.refreshDetail(row.id);
    }
    try {
      const answer = await this.ask("request", {
        request_id: row.id, ...(detail.cursor ? { cursor: detail.cursor } : {}), uncovered: this.uncovered,
      });
      if (this.details.get(row.id) !== detail) return;
      const { interactions, learning, cursor } = answer.one;
      for (const turn of interactions ?? []) {
        const last = detail.turns[detail.turns.length - 1];
        if (turn.content_from && last) last.text += turn.content ?? "";
        else detail.turns.push(turnOf(turn, row.at));
      }
      detail.cursor = cursor ?? "";
      detail.state = "ready";
      detail.note = noteOf(learning);
      // The rows may have been read again since it was opened.
      const known = this.index.rows.get(row.id);
      if (known && learning.status !== "unknown") known.learning = learning.status;
      this.table.refresh();
    } catch (error) {
      detail.state = "failed";
      detail.note = messageOf(error);
    }
    this.table.refreshDetail(row.id);
    this.conversation.refresh(row.id);
  }

  /** The text of an interaction with its secrets. @param {Row} row @param {import("./table.js").Turn} turn */
  async whole(row, turn) {
    let text = "";
    let cursor = "";
    do {
      const { one } = await this.ask("request", { request_id: row.id, uncovered: true, ...(cursor ? { cursor } : {}) });
      for (const part of one.interactions ?? []) if (part.interaction_id === turn.id) text += part.content ?? "";
      cursor = one.cursor ?? "";
    } while (cursor && text.length < turn.text.length);
    return text;
  }

  /** Read some requests again, and drop those that are gone. @param {string[]} ids */
  async refresh(ids) {
    for (let at = 0; at < ids.length; at += IDS_AT_ONCE) {
      const some = ids.slice(at, at + IDS_AT_ONCE);
      const { uncovered } = this;
      const answer = await this.ask("rows", { request_ids: some, uncovered });
      const there = new Set(this.take(answer, uncovered).map((row) => row.id));
      this.index.remove(some.filter((id) => !there.has(id)));
    }
  }

  /**
   * Keep the rows of an answer.
   * @param {any} answer
   * @param {boolean} uncovered whether it was asked for with its secrets
   */
  take(answer, uncovered) {
    const rows = rowsOf(answer);
    this.index.add(rows);
    // What was read uncovered may hold a secret; only a covered answer says which does.
    for (const row of rows) {
      if (uncovered) this.index.secret.add(row.id);
      else if (!row.secret) this.index.secret.delete(row.id);
    }
    // The person may have covered them since.
    if (uncovered && !this.uncovered) void this.cover(rows);
    return rows;
  }

  // ----- Choosing -----

  /** @param {string} tool */
  can(tool) {
    return this.server?.tools.includes(tool) ?? false;
  }

  /** @param {Partial<Filter>} part */
  change(part) {
    const before = this.filter;
    this.filter = { ...before, ...part };
    this.table.scroller.scrollTop = 0;
    const all = this.index.complete && this.index.covers(this.filter);
    // What is not all here is asked of the server again, with the filter.
    if (!all && this.server && this.narrows(before)) void this.read(asked(this.filter));
    else if (this.filter.words !== before.words) void this.lookForWords();
    else this.render();
    this.checkpoint();
  }

  /** Whether the change is one that the server can answer better. @param {Filter} before */
  narrows(before) {
    return /** @type {const} */ (["user", "session", "source", "version", "start", "end"]).some(
      (name) => this.filter[name] !== before[name],
    );
  }

  /** @param {Row[]} rows @param {boolean} on */
  select(rows, on) {
    for (const row of rows) {
      if (on) this.selected.add(row.id);
      else this.selected.delete(row.id);
    }
    this.table.refresh();
    this.renderActions();
    this.checkpoint();
  }

  /** @returns {Row[]} */
  chosen() {
    /** @type {Row[]} */
    const rows = [];
    for (const id of this.selected) {
      const row = this.index.rows.get(id);
      if (row) rows.push(row);
    }
    return rows;
  }

  listen() {
    const words = /** @type {HTMLInputElement} */ (byId("words"));
    let due = 0;
    words.addEventListener("input", () => {
      clearTimeout(due);
      due = setTimeout(() => this.change({ words: words.value.trim() }), words.value ? 300 : 0);
    });
    byId("filters").addEventListener("submit", (event) => {
      event.preventDefault();
      this.change({ words: words.value.trim() });
    });
    byId("filters").addEventListener("reset", (event) => {
      event.preventDefault();
      words.value = "";
      this.period = null;
      this.change({ ...NO_FILTER });
      words.focus();
    });
    for (const name of /** @type {const} */ (["user", "source", "version", "finding"])) {
      const select = /** @type {HTMLSelectElement} */ (byId(name));
      select.addEventListener("change", () => {
        const [kind, value] = [select.value.slice(0, 1), select.value.slice(1)];
        this.change({ [name]: kind === "=" ? value : "" });
      });
    }
    const more = byId("more-filters");
    more.addEventListener("click", () => {
      const open = byId("choices").classList.toggle("open");
      more.setAttribute("aria-expanded", String(open));
    });
    fill(byId("periods"), ...PERIODS.map(([name, length]) =>
      el("button", { type: "button", "data-length": length ?? "", onclick: () => {
        this.period = length;
        this.change({ start: length === null ? null : Date.now() - length, end: null });
      } }, name)), this.brush);
    for (const [key, name] of /** @type {[SortKey, string][]} */ ([["when", "When"], ["user", "User"], ["requests", "Requests"], ["source", "Source"]])) {
      const head = document.querySelector(`[data-sort="${key}"]`);
      head?.append(el("button", { type: "button", onclick: () => {
        const down = this.sort.key === key ? !this.sort.down : key === "when" || key === "requests";
        this.sort = { key, down };
        this.render();
        this.checkpoint();
      } }, name));
    }
    byId("all").addEventListener("change", (event) => {
      this.select(this.matched.rows, /** @type {HTMLInputElement} */ (event.target).checked);
    });
    byId("undo").addEventListener("click", () => this.undoing?.());
    byId("past").addEventListener("click", () => void this.showDeleted());
    byId("unhide").addEventListener("click", () => byId("reset").click());
    byId("again").addEventListener("click", () => void this.read(this.baseAsked()));
    byId("clear").addEventListener("click", () => this.select(this.chosen(), false));
    byId("delete").addEventListener("click", () => void this.delete());
    byId("export").addEventListener("click", () => void this.export());
    byId("further").addEventListener("click", () => {
      this.budget += STRETCH;
      this.loading = "more";
      this.render();
      void this.readPages(this.reading, {}, false);
    });
    document.addEventListener("keydown", (event) => {
      const typing = event.target instanceof HTMLInputElement || event.target instanceof HTMLSelectElement;
      if (typing || event.ctrlKey || event.metaKey || event.altKey || this.sheet.dialog.open) return;
      if (event.key === "/") words.focus();
      else if (event.key === "?") this.sheet.keys();
      else return;
      event.preventDefault();
    });
    this.sheet.dialog.addEventListener("close", () => {
      // What had the focus may be gone, as the bar of action is after a deletion.
      if (!document.activeElement || document.activeElement === document.body) this.table.focus();
    });
    byId("cover").addEventListener("click", () => void this.uncover());
    byId("fullscreen").addEventListener("click", () => {
      const inline = this.host.context.displayMode !== "fullscreen";
      this.host.show(inline ? "fullscreen" : "inline").catch((error) => this.say(messageOf(error)));
    });
  }

  async uncover() {
    this.uncovered = !this.uncovered;
    set(byId("cover"), { "aria-checked": String(!this.uncovered) });
    this.details.clear();
    for (const row of this.index.rows.values()) row.passage = "";
    if (this.filter.words) void this.lookForWords();
    void this.conversation.reload();
    await this.cover([...this.index.secret].flatMap((id) => this.index.rows.get(id) ?? []));
  }

  /** Read some rows again as they are to be shown now. @param {Row[]} rows */
  async cover(rows) {
    // Covered at once, whether or not the server answers.
    for (const row of rows) row.words = "";
    this.render();
    try {
      await this.refresh(rows.map((row) => row.id));
    } catch (error) {
      this.problem = messageOf(error);
    }
    this.render();
  }

  // ----- Doing -----

  /** @param {Row[]} rows */
  async delete(rows = this.chosen()) {
    if (!rows.length) return;
    await this.sheet.remove(rows, {
      plan: async (some, learnings) => (await this.ask("plan", {
        request_ids: some.map((row) => row.id), ...(learnings ? { include_learnings: true } : {}),
      })).plan,
      act: (some, found, onprogress) =>
        this.host.call("delete_requests", {
          request_ids: some.map((row) => row.id),
          ...(found.plan.confirm ? { confirm: found.plan.confirm } : {}),
          ...(found.include_learnings ? { include_learnings: true } : {}),
        }, onprogress),
      done: async (some, receipt) => {
        const ids = some.map((row) => row.id);
        if (receipt && !receipt.next) this.index.remove(ids);
        else {
          try {
            await this.refresh(ids);
          } catch (error) {
            this.problem = messageOf(error);
          }
        }
        for (const id of ids) if (!this.index.rows.has(id)) this.selected.delete(id);
        void this.conversation.reload();
        this.render();
        const deleted = receipt?.deleted.requests ?? 0;
        if (deleted) void this.host.tell(`In the explorer, the person deleted ${counted(deleted, "request")}.`);
      },
      undo: this.can("restore_requests") ? (number, onprogress) => this.undo(number, rows.map((row) => row.id), onprogress) : null,
      kept: () => this.kept(),
      say: (text, undo) => this.say(text, undo),
    });
  }

  /** Whether there will be a way back, in a sentence. */
  kept() {
    const { keeper = "", recovery_days = 0 } = this.server ?? {};
    if (!recovery_days) return "This cannot be undone.";
    return `A copy is kept on ${keeper} until ${this.clock.day(Date.now() + recovery_days * DAY_MS)}.`;
  }

  /**
   * Put back what a deletion took. One call puts back as much as its time allows, so it is called until nothing is left.
   * @param {number} deletion its number
   * @param {string[]} ids of the requests that were deleted, as far as they are known
   * @param {(text: string) => void} onprogress
   * @returns {Promise<import("./sheet.js").Undone>}
   */
  async undo(deletion, ids, onprogress) {
    let [requests, learnings, total] = [0, 0, 0];
    /** @type {any} */
    let done = {};
    let problem = "";
    for (let more = true; more && !problem; ) {
      try {
        let result = await this.host.call("restore_requests", { deletion });
        total ||= result.structuredContent?.planned?.requests ?? 0;
        // The person has just seen what was deleted.
        const confirm = result.structuredContent?.confirm;
        const told = () => onprogress(`${number(requests)} of ${counted(total, "request")} are back.`);
        if (confirm) result = await this.host.call("restore_requests", { deletion, confirm }, total ? told : undefined);
        if (result.isError) throw new Error(textOf(result));
        done = result.structuredContent ?? {};
      } catch (error) {
        problem = messageOf(error);
        break;
      }
      const { requests: restored = 0, learnings: relearned = 0 } = done.restored ?? {};
      requests += restored;
      learnings += relearned;
      more = restored > 0 && (done.not_restored ?? []).some((/** @type {any} */ one) => one.why === "left");
    }
    await this.afterUndo(ids);
    const what = requests || !learnings ? counted(requests, "request") : counted(learnings, "learning");
    if (requests || learnings) void this.host.tell(`In the explorer, the person restored ${what}.`);
    const left = (done.not_restored ?? []).map(
      (/** @type {{why: string, count: number}} */ one) => `${number(one.count)} ${wordsFor(one.why)}.`,
    );
    const whole = !problem && !left.length;
    return {
      title: whole ? `${what} ${requests + learnings === 1 ? "is" : "are"} back` : `${number(requests)} of ${counted(total, "request")} are back`,
      notes: [problem, ...left, ...(done.remains ?? []), done.next].filter(Boolean),
      again: !whole && (Boolean(problem) || left.some((/** @type {string} */ one) => one.includes(wordsFor("left")))),
    };
  }

  /** Read again what an undo may have brought back: rows, findings, and what was learned. @param {string[]} ids */
  async afterUndo(ids) {
    try {
      if (ids.length) await this.refresh(ids);
      else await this.read(this.baseAsked());
      this.render();
      await this.lookForFindings(this.reading);
    } catch (error) {
      this.problem = messageOf(error);
    }
    void this.conversation.reload();
    this.render();
  }

  /** The deletions that can still be undone, each with its way back. */
  async showDeleted() {
    await this.sheet.past({
      list: async () => {
        const result = await this.host.call("restore_requests", {});
        if (result.isError) throw new Error(textOf(result));
        return (result.structuredContent?.deletions ?? []).filter((/** @type {any} */ one) => one.copied);
      },
      undo: (number, onprogress) => this.undo(number, [], onprogress),
      moment: (at) => this.clock.moment(at),
      day: (at) => this.clock.day(at),
    });
  }

  /** @param {Row} row @param {import("./table.js").Turn} turn */
  async deleteTurn(row, turn) {
    const given = { request_id: row.id, interaction_ids: [turn.id] };
    await this.sheet.small({
      title: "Delete an interaction", words: turn.text, note: "The rest of its request stays.",
      keep: "Keep it", final: "Delete it", done: "Interaction deleted",
    }, {
      act: () => this.agreed("delete_request", given),
      undo: this.can("restore_requests") ? (number, onprogress) => this.undo(number, [row.id], onprogress) : null,
      kept: () => this.kept(),
      acted: async () => {
        this.details.delete(row.id);
        await this.refresh([row.id]);
        this.render();
        await this.conversation.reload();
        void this.host.tell("In the explorer, the person deleted 1 interaction.");
      },
      say: (text, undo) => this.say(text, undo),
    });
  }

  /** Call a tool that deletes with what the person has just agreed to. @param {string} tool @param {Record<string, any>} given */
  async agreed(tool, given) {
    const shown = await this.host.call(tool, given);
    const confirm = shown.structuredContent?.plan?.confirm;
    return confirm ? this.host.call(tool, { ...given, confirm }) : shown;
  }

  /** @param {import("./conversation.js").Learning} learning */
  async takeBack(learning) {
    await this.sheet.small({
      title: "Take back what was learned", words: learning.content ?? learning.learning_id,
      note: "The requests stay. While they are stored it can be learned from them again.",
      keep: "Keep it", final: "Take it back", done: "Taken back",
    }, {
      // Where the server is for one user, it names nobody.
      act: () => this.agreed("delete_learnings", {
        learning_ids: [learning.learning_id], ...(learning.user_id ? { user_id: learning.user_id } : {}),
      }),
      undo: this.can("restore_requests") ? (number, onprogress) => this.undo(number, [], onprogress) : null,
      kept: () => this.kept(),
      acted: async (deleted) => {
        await this.conversation.reload();
        void this.host.tell(`In the explorer, the person took back ${counted(deleted, "learning")}.`);
      },
      say: (text, undo) => this.say(text, undo),
    });
  }

  async export() {
    const rows = this.chosen();
    /** @type {string[]} */
    const lines = [];
    try {
      for (let at = 0; at < rows.length; ) {
        const some = rows.slice(at, at + IDS_AT_ONCE).map((row) => row.id);
        const answer = await this.ask("export", { request_ids: some, uncovered: this.uncovered });
        for (const one of answer.requests ?? []) lines.push(JSON.stringify(one));
        at += Math.max(answer.looked_up ?? some.length, 1);
        this.say(`Reading ${number(Math.min(at, rows.length))} of ${counted(rows.length, "request")}.`);
      }
      const text = `${lines.join("\n")}\n`;
      if (!this.host.capabilities.downloadFile) {
        this.say("");
        this.sheet.copy(text, lines.length);
      } else if (await this.host.save("requests.jsonl", "application/jsonl", text)) this.say(`${counted(lines.length, "request")} saved.`);
      else this.say("The file was not saved.");
    } catch (error) {
      this.say(messageOf(error));
    }
  }

  /** @param {string} text */
  async copy(text) {
    try {
      await navigator.clipboard.writeText(text);
    } catch {
      // Where the frame may not use the clipboard, the old way still works on a click.
      const area = el("textarea", { ".value": text, class: "spoken" });
      document.body.append(area);
      area.select();
      document.execCommand("copy");
      area.remove();
    }
    this.say("Copied.");
  }

  /** Say something in the summary, which screen readers read out. @param {string} text @param {() => void} [undo] */
  say(text, undo) {
    this.said = text;
    this.undoing = undo;
    this.renderSummary();
  }

  // ----- Drawing -----

  /** @param {string} [said] what the summary goes on saying, where nothing new was done */
  render(said = "") {
    this.matched = this.index.match(this.filter, this.sort);
    const bySource = [...countBy(this.index.rows.values())].sort((a, b) => b[1] - a[1] || (a[0] < b[0] ? -1 : 1));
    // A source keeps its hue, whatever comes later.
    const fresh = bySource.map(([name]) => name).filter((name) => !this.sources.includes(name));
    this.sources = [...this.sources, ...fresh].slice(0, HUES);
    this.said = said;
    this.renderPlace();
    this.renderStrip();
    this.renderFilters();
    this.timeline.show(this.matched.anyTime, this.sources, this.clock, this.filter.start, this.filter.end);
    this.renderSummary();
    this.renderEmpty();
    this.table.show(this.matched.sessions);
    this.renderHeads();
    this.renderActions();
  }

  renderPlace() {
    const { server } = this;
    fill(byId("whose"), server && (server.whose ? stored(shortened(server.whose, 28)) : el("span", { class: "everyone" }, "every user")));
    fill(byId("where"), server && placeOf(server.where), server && !this.can("delete_requests") && " · read only");
    byId("past").hidden = !this.can("restore_requests");
    const cover = byId("cover");
    cover.hidden = !server;
    const [long, short] = server?.masked
      ? ["Text hidden by this server", "Text hidden"]
      : this.uncovered ? ["Found secrets shown", "Shown"] : ["Found secrets covered", "Covered"];
    fill(cover, el("span", { class: "long" }, long), el("span", { class: "short" }, short));
    set(cover, { "aria-label": long });
    if (server?.masked) {
      /** @type {HTMLButtonElement} */ (cover).disabled = true;
      cover.title = "The operator of this server hides stored text from everybody.";
    }
    const modes = this.host.context.availableDisplayModes ?? [];
    const full = this.host.context.displayMode === "fullscreen";
    byId("fullscreen").hidden = !modes.includes(full ? "inline" : "fullscreen");
    byId("fullscreen").textContent = full ? "Smaller" : "Full screen";
  }

  /** What was found, the gravest first, each a click away from its requests. */
  renderStrip() {
    const counts = [...this.matched.counts.finding].filter(([, times]) => times > 0);
    const grave = (/** @type {string} */ rule) => this.server?.rules[rule]?.grave ?? false;
    counts.sort((a, b) => Number(grave(b[0])) - Number(grave(a[0])) || b[1] - a[1]);
    byId("strip").hidden = counts.length === 0;
    const { finding } = this.filter;
    fill(byId("strip"), ...counts.slice(0, IN_STRIP).map(([rule, times]) =>
      el("button", {
        type: "button", class: `badge${grave(rule) ? " warn" : ""}`, "aria-pressed": String(finding === rule), title: this.server?.rules[rule]?.why,
        onclick: () => this.change({ finding: finding === rule ? "" : rule }),
      }, `${number(times)} ${this.ruleWords(rule)}`)));
  }

  renderFilters() {
    const { filter, matched, server } = this;
    const lists = /** @type {const} */ ([["user", "Every user"], ["source", "Every source"], ["version", "Every version"], ["finding", "All requests"]]);
    for (const [name, all] of lists) {
      const select = /** @type {HTMLSelectElement} */ (byId(name));
      const counts = [...matched.counts[name]].sort((a, b) => b[1] - a[1] || (a[0] < b[0] ? -1 : 1)).slice(0, CHOICES);
      const value = filter[name];
      if (value && !counts.some(([one]) => one === value)) counts.unshift([value, 0]);
      renew(
        select, el("option", { value: "" }, all),
        ...counts.filter(([one]) => one).map(([one, times]) =>
          el("option", { value: `=${one}` },
            `${name === "finding" ? this.ruleWords(one) : shortened(one, 32)} (${number(times)})`)),
      );
      select.value = value && `=${value}`;
      select.classList.toggle("set", Boolean(value));
      // Once it is there it stays, or the row would move with each choice.
      const pinned = name === "user" && Boolean(server?.whose);
      if (value || (counts.length && !pinned)) /** @type {HTMLElement} */ (select.parentElement).hidden = false;
    }
    const words = /** @type {HTMLInputElement} */ (byId("words"));
    words.disabled = server?.masked ?? false;
    if (server?.masked) words.placeholder = "Not while text is hidden";
    const { start, end } = filter;
    const brushed = (start !== null || end !== null) && this.period === null;
    const chips = [...byId("periods").querySelectorAll("button[data-length]")];
    for (const chip of chips) {
      const length = chip.getAttribute("data-length");
      const from = length ? Date.now() - Number(length) : -Infinity;
      set(chip, { title: counted(matched.anyTime.filter((row) => row.at >= from).length, "request") });
      const on = brushed ? false : length === (this.period === null ? "" : String(this.period));
      chip.setAttribute("aria-pressed", String(on));
    }
    this.brush.hidden = !brushed;
    this.brush.textContent = `${start === null ? "the beginning" : this.clock.edge(start)} to ${end === null ? "now" : this.clock.edge(end, 1_000)}`;
    byId("reset").hidden = !Object.entries(NO_FILTER).some(([name, value]) => filter[/** @type {keyof Filter} */ (name)] !== value);
  }

  renderSummary() {
    const { rows, sessions } = this.matched;
    const all = this.index.rows.size;
    let text = "";
    if (this.problem) text = this.problem;
    else if (this.loading === "first") text = "Reading what is stored.";
    else if (this.searching) text = "Looking for the words.";
    else if (all) {
      const shown = `${rows.length === all ? counted(all, "request") : `${number(rows.length)} of ${counted(all, "request")}`} in ${counted(sessions.length, "session")}`;
      text = this.loading === "more" ? `${shown}, reading on` : shown;
      if (!this.loading && this.cursor) {
        let oldest = Infinity;
        for (const row of this.index.rows.values()) oldest = Math.min(oldest, row.at);
        text += `. There is more: this goes back to ${this.clock.moment(oldest)}`;
      }
    }
    const summary = byId("summary");
    summary.textContent = this.said ? this.said : text;
    summary.classList.toggle("note", Boolean(this.problem));
    // Where there is no row, the same words stand in their place.
    summary.classList.toggle("spoken", Boolean(this.problem) && !all && !this.said);
    byId("again").hidden = !this.problem || !all;
    byId("undo").hidden = !this.said || !this.undoing;
    byId("further").hidden = !this.cursor || this.loading !== "" || this.searching || Boolean(this.problem);
  }

  renderEmpty() {
    const empty = byId("empty");
    const none = this.matched.rows.length === 0;
    empty.hidden = !none;
    byId("grid").hidden = none;
    const waiting = this.loading !== "" || this.searching;
    empty.classList.toggle("waiting", waiting);
    if (!none) return;
    if (waiting) fill(empty, ...Array.from({ length: 12 }, () => el("div", { class: "ghost" })));
    else if (this.problem)
      fill(empty, el("strong", {}, "Nothing could be read."), el("span", {}, this.problem),
        el("button", { class: "plain", type: "button", onclick: () => void this.read(this.server ? this.baseAsked() : {}) }, "Try again"));
    else if (!this.index.rows.size && !this.cursor && byId("reset").hidden)
      fill(empty, el("strong", {}, `Nothing is stored${this.server?.whose ? ` for user ${this.server.whose}` : ""}.`), el("span", {}, "What your assistant sends to memory appears here."));
    else
      fill(empty, el("strong", {}, "Nothing matches."), el("span", {}, this.described()),
        el("button", { class: "plain", type: "button", onclick: () => byId("reset").click() }, "Reset the filter"));
  }

  /** @param {string} rule */
  ruleWords(rule) {
    return rule.replaceAll("-", " ");
  }

  /** The filter in words. */
  described() {
    const { filter } = this;
    const parts = [
      filter.words && `words “${filter.words}”`, filter.user && `user ${shortened(filter.user)}`,
      filter.session && `session ${shortened(filter.session)}`, filter.source && `source ${filter.source}`,
      filter.version && `version ${filter.version}`, filter.finding && `finding ${this.ruleWords(filter.finding)}`,
      filter.start !== null && `from ${this.clock.moment(filter.start)}`, filter.end !== null && `until ${this.clock.moment(filter.end)}`,
    ];
    return `The filter is: ${parts.filter(Boolean).join(", ")}.`;
  }

  renderActions() {
    const rows = this.chosen();
    const sessions = new Set(rows.map((row) => row.session)).size;
    const users = new Set(rows.map((row) => row.user)).size;
    byId("actions").hidden = rows.length === 0;
    const shown = new Set(this.matched.rows.map((row) => row.id));
    const unseen = rows.filter((row) => !shown.has(row.id)).length;
    byId("selected").textContent = [
      `${counted(rows.length, "request")} in ${counted(sessions, "session")}`,
      users > 1 && counted(users, "user"), unseen > 0 && `${number(unseen)} not shown`,
    ].filter(Boolean).join(", ");
    byId("unhide").hidden = unseen === 0;
    byId("delete").hidden = !this.can("delete_requests");
    byId("export").hidden = !this.can("list_requests") || (this.server?.masked ?? false);
    const all = /** @type {HTMLInputElement} */ (byId("all"));
    const matching = this.matched.rows;
    const on = matching.filter((row) => this.selected.has(row.id)).length;
    all.checked = on > 0 && on === matching.length;
    all.indeterminate = on > 0 && on < matching.length;
  }

  renderHeads() {
    for (const head of document.querySelectorAll("[data-sort]")) {
      const mine = head.getAttribute("data-sort") === this.sort.key;
      set(head, { "aria-sort": mine ? (this.sort.down ? "descending" : "ascending") : null });
      const button = head.querySelector("button");
      if (button) button.textContent = `${button.textContent?.replace(/ [↓↑]$/, "")}${mine ? (this.sort.down ? " ↓" : " ↑") : ""}`;
    }
  }

  /** Take on the host's colours, fonts, zone and size. @param {import("./host.js").HostContext} context */
  dress(context) {
    const root = document.documentElement;
    if (context.theme) root.dataset.theme = context.theme;
    for (const [name, value] of Object.entries(context.styles?.variables ?? {})) {
      if (name.startsWith("--") && value !== undefined) root.style.setProperty(name, value);
    }
    if (context.timeZone && context.timeZone !== this.clock.timeZone) this.clock = new Clock(context.timeZone);
    const insets = context.safeAreaInsets;
    if (insets) document.body.style.padding = `${insets.top}px ${insets.right}px ${insets.bottom}px ${insets.left}px`;
    const room = context.containerDimensions ?? {};
    const fills = room.height !== undefined || context.displayMode === "fullscreen";
    const height = fills ? "" : `${Math.min(INLINE_HEIGHT, room.maxHeight ?? INLINE_HEIGHT)}px`;
    // Some hosts read the document's height instead of the message.
    root.style.height = height;
    document.body.style.height = height;
    if (height) this.host.resized(root.clientWidth, Number.parseFloat(height));
    this.render(this.said);
  }

  // ----- Where it was -----

  checkpoint() {
    this.touched = true;
    // Not at every step of scrolling: storing takes its time.
    clearTimeout(this.keeping);
    this.keeping = setTimeout(() => this.keep(), KEEP_MS);
  }

  keep() {
    if (!this.checkpointKey || !this.server) return;
    const { filter, period, sort } = this;
    const place = {
      filter, period, sort, open: [...this.table.open].slice(0, 200), scroll: this.table.scroller.scrollTop,
      // Part of a selection would be another one.
      selected: this.selected.size > MOST_KEPT ? [] : [...this.selected],
    };
    try {
      localStorage.setItem(this.checkpointKey, JSON.stringify(place));
    } catch {
      // A sandbox without storage, or a full one: the page then opens at its beginning.
    }
  }

  recall() {
    try {
      const kept = this.checkpointKey && localStorage.getItem(this.checkpointKey);
      const place = kept ? JSON.parse(kept) : {};
      this.filter = { ...this.filter, ...place.filter };
      this.period = place.period ?? null;
      this.sort = place.sort ?? this.sort;
      for (const key of place.open ?? []) this.table.open.add(key);
      for (const id of place.selected ?? []) this.selected.add(id);
      /** @type {HTMLInputElement} */ (byId("words")).value = this.filter.words;
      requestAnimationFrame(() => {
        this.table.scroller.scrollTop = place.scroll ?? 0;
      });
    } catch {
      // As above.
    }
    // Less was read than is looked at now.
    if (!this.index.covers(this.filter)) void this.read(asked(this.filter));
    else if (this.filter.words) void this.lookForWords();
  }
}

/** A filter as the server's tools take it. @param {Filter} filter */
function asked(filter) {
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

/** @param {Iterable<Row>} rows */
function countBy(rows) {
  /** @type {Map<string, number>} */
  const counts = new Map();
  for (const row of rows) counts.set(row.source, (counts.get(row.source) ?? 0) + 1);
  return counts;
}

/** @param {any} turn @param {number} arrived when its request arrived */
function turnOf(turn, arrived) {
  /** @type {[string, string][]} */
  const beside = [];
  for (const [key, name] of BESIDE) {
    for (const value of [turn[key] ?? []].flat()) beside.push([name, String(value)]);
  }
  const text = turn.content ?? (turn.characters === undefined ? "" : counted(turn.characters, "character"));
  return {
    id: Number(turn.interaction_id ?? 0), role: String(turn.role ?? "User"), text, at: turn.created_at ? Date.parse(turn.created_at) : arrived,
    beside,
  };
}

/** @type {[string, string][]} */
const BESIDE = [
  ["user_action", "Action"], ["user_action_description", "What was done"], ["interacted_image_url", "Image"],
  ["shadow_content", "Shadow answer"], ["expert_content", "Expert answer"], ["tools_used", "Tool"],
  ["retrieved_learnings", "Recalled"],
];

/** @param {{status: string, reason?: string}} learning */
function noteOf(learning) {
  const why = learning.reason ? ` (${learning.reason.replaceAll("_", " ")})` : "";
  switch (learning.status) {
    case "done": return `Learning is done${why}.`;
    case "pending":
    case "processing": return `Waiting to be learned${why}.`;
    case "failed": return `Learning failed${why}.`;
    default: return "";
  }
}

void new Page().open();
