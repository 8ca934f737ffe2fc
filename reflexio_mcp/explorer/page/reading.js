/** The stored data that was read: rows, findings, interactions, and the state of learning. */

import { counted } from "./format.js";
import { messageOf } from "./host.js";
import { Index, rowsOf } from "./rows.js";

/** @typedef {import("./rows.js").Row} Row */
/** @typedef {import("./rows.js").Filter} Filter */
/** @typedef {{id: number, role: string, text: string, extra: [string, string][]}} Interaction */
/** @typedef {{state: "loading" | "ready" | "failed", interactions: Interaction[], note: string, cursor: string}} Detail */
/**
 * @typedef {{whose: string, where: string, keeper: string, masked: boolean, recovery_days: number, delete_cap: number,
 *   tools: string[], rules: Record<string, {why: string, grave: boolean}>,
 *   filter: {user_id: string, session_id: string, source: string, agent_version: string, start: number | null, end: number | null}}} ServerState
 */
const FIRST_PAGE = 100;
const PAGE = 1_000;
/** Requests loaded until the person asks for more. */
const STRETCH = 10_000;
/** Maximum number of ids in one call. */
const IDS_AT_ONCE = 500;
/** Minimum time between two drawings while pages arrive. */
const REDRAW_MS = 1_000;
export class Reading {
  /** @param {import("./main.js").Page} page */
  constructor(page) {
    this.page = page;
    this.index = new Index();
    /** @type {Map<string, Detail>} */
    this.details = new Map();
    /** @type {ServerState | null} */
    this.server = null;
    /** @type {"first" | "words" | "more" | ""} */
    this.loading = "first";
    /** Whether the server looks for the words. */
    this.searching = false;
    this.problem = "";
    this.cursor = "";
    /** Grows with each new reading, so that answers to an earlier reading are dropped. */
    this.generation = 0;
    this.budget = STRETCH;
  }

  /** @param {string} tool */
  can(tool) {
    return this.server?.tools.includes(tool) ?? false;
  }

  /** Why a finding matters, and whether it is grave. @param {string} name */
  rule(name) {
    return this.server?.rules[name] ?? { why: "", grave: false };
  }

  /** Ask the server for data. @param {string} view @param {Record<string, any>} given */
  ask(view, given) {
    return this.page.host.ask("explorer_data", { view, ...given });
  }

  /** Read everything anew under a filter. @param {Record<string, any>} given as a tool takes it */
  async read(given = asked(this.index.base)) {
    const generation = ++this.generation;
    const before = this.index;
    this.index = new Index();
    this.cursor = "";
    this.budget = STRETCH;
    this.problem = "";
    this.loading = "first";
    this.searching = false;
    this.details.clear();
    this.page.render();
    await this.readPages(generation, given, true);
    if (generation !== this.generation || !this.problem || this.index.rows.size) return;
    // Earlier rows are better than no rows.
    this.index = before;
    this.page.render();
  }

  /** Read further requests. */
  further() {
    this.budget += STRETCH;
    this.loading = "more";
    this.page.render();
    void this.readPages(this.generation, {}, false);
  }

  /** @param {number} generation @param {Record<string, any>} given @param {boolean} first */
  async readPages(generation, given, first) {
    // At first, rows without words are better than no rows.
    let hurried = first && !this.server;
    let drawn = -REDRAW_MS;
    try {
      let started = first;
      while (started || this.cursor) {
        const answer = await this.ask("rows", {
          ...(this.cursor ? { cursor: this.cursor } : given), limit: started ? FIRST_PAGE : PAGE, ...(hurried ? { hurried } : {}),
        });
        if (generation !== this.generation) return;
        if (answer.state && (hurried || !this.index.rows.size)) this.begin(answer.state);
        // The view in the address may have started another reading.
        if (generation !== this.generation) return;
        this.index.add(rowsOf(answer));
        hurried = false;
        if (answer.without_words) this.loading = "words";
        else {
          started = false;
          this.cursor = answer.cursor ?? "";
          this.loading = this.cursor ? "more" : "";
          this.index.complete = !this.cursor;
          if (this.index.rows.size >= this.budget) break;
        }
        if (performance.now() - drawn < REDRAW_MS) continue;
        if (this.loading !== "words") drawn = performance.now();
        this.page.render();
        performance.mark("explorer-usable");
      }
      this.loading = "";
      this.page.render();
      performance.mark("explorer-whole");
      await this.lookForFindings(generation);
    } catch (error) {
      if (generation !== this.generation) return;
      this.loading = "";
      this.problem = messageOf(error);
      this.page.render();
    }
  }

  /** @param {ServerState} state */
  begin(state) {
    this.server = state;
    const { filter } = state;
    this.index.base = {
      words: "", finding: "", user: state.whose ? "" : filter.user_id, session: filter.session_id, source: filter.source,
      version: filter.agent_version, start: filter.start === null ? null : filter.start * 1000,
      end: filter.end === null ? null : filter.end * 1000 + 999,
    };
    this.page.begin();
  }

  /** Read the findings of the requests that were read. */
  async lookForFindings(generation = this.generation) {
    let cursor = "";
    let seen = 0;
    let drawn = performance.now();
    do {
      const answer = await this.ask("findings", { ...(cursor ? { cursor } : asked(this.index.base)), limit: PAGE });
      if (generation !== this.generation) return;
      for (const [rule, places] of Object.entries(answer.findings ?? {})) {
        for (const id of this.index.note(rule, /** @type {Record<string, number[]>} */ (places))) this.page.conversation.refresh(id);
      }
      seen += answer.looked_at ?? 0;
      cursor = answer.cursor ?? "";
      if (cursor && performance.now() - drawn < REDRAW_MS) continue;
      drawn = performance.now();
      this.page.render(true);
    } while (cursor && seen < this.budget);
  }

  /** Let the server look for the words. */
  async lookForWords() {
    const { generation } = this;
    const { words } = this.page.filter;
    for (const row of this.index.rows.values()) row.passage = "";
    if (!words) {
      this.index.found = null;
      this.searching = false;
      this.page.render();
      return;
    }
    const found = new Set();
    // Until the answer comes, the matches of earlier words stay, or nothing matches.
    this.index.found ??= found;
    this.searching = true;
    this.page.render();
    const late = () => generation !== this.generation || words !== this.page.filter.words;
    try {
      let cursor = "";
      let looked = 0;
      do {
        const answer = await this.ask("rows", {
          ...(cursor ? { cursor } : { ...asked(this.index.base), contains: words }), limit: PAGE,
        });
        if (late()) return;
        for (const row of this.index.add(rowsOf(answer))) found.add(row.id);
        cursor = answer.cursor ?? "";
        looked += answer.looked_at ?? 0;
      } while (cursor && looked < this.budget && found.size < this.budget);
      this.index.found = found;
      this.problem = "";
    } catch (error) {
      if (late()) return;
      if (this.index.found === found) this.index.found = null;
      this.problem = messageOf(error);
    }
    this.searching = false;
    this.page.render();
  }

  /** Return the interactions of a request, and load them if necessary. @param {Row} row @returns {Detail} */
  detail(row) {
    let detail = this.details.get(row.id);
    if (!detail) {
      detail = { state: "loading", interactions: [], note: "", cursor: "" };
      this.details.set(row.id, detail);
      void this.readOn(row);
    }
    return detail;
  }

  /** @param {Row} row */
  async readOn(row) {
    const detail = this.details.get(row.id);
    // Another reading may have dropped the request meanwhile.
    if (!detail) return void this.detail(row);
    if (detail.state === "failed") {
      detail.state = "loading";
      this.page.conversation.refresh(row.id);
    }
    try {
      const answer = await this.ask("request", { request_id: row.id, ...(detail.cursor ? { cursor: detail.cursor } : {}) });
      if (this.details.get(row.id) !== detail) return;
      const { interactions, learning, cursor } = answer.one;
      for (const interaction of interactions ?? []) {
        const last = detail.interactions[detail.interactions.length - 1];
        if (interaction.content_from && last) last.text += interaction.content ?? "";
        else detail.interactions.push(interactionOf(interaction));
      }
      detail.cursor = cursor ?? "";
      detail.state = "ready";
      detail.note = noteOf(learning);
    } catch (error) {
      detail.state = "failed";
      detail.note = messageOf(error);
    }
    this.page.conversation.refresh(row.id);
  }

  /** The text of an interaction with its secrets. @param {Row} row @param {Interaction} interaction */
  async whole(row, interaction) {
    let text = "";
    let cursor = "";
    do {
      const { one } = await this.ask("request", { request_id: row.id, uncovered: true, ...(cursor ? { cursor } : {}) });
      for (const part of one.interactions ?? []) if (part.interaction_id === interaction.id) text += part.content ?? "";
      cursor = one.cursor ?? "";
    } while (cursor && text.length < interaction.text.length);
    return text;
  }

  /** Read requests again, and drop requests that are gone. @param {string[]} ids */
  async refresh(ids) {
    for (let at = 0; at < ids.length; at += IDS_AT_ONCE) {
      const some = ids.slice(at, at + IDS_AT_ONCE);
      const answer = await this.ask("rows", { request_ids: some });
      const there = new Set(this.index.add(rowsOf(answer)).map((row) => row.id));
      this.index.remove(some.filter((id) => !there.has(id)));
    }
    this.problem = "";
  }
}

/** A filter as the server's tools take it. @param {Filter} filter */
export function asked(filter) {
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
  ["shadow_content", "Shadow answer"], ["expert_content", "Expert answer"], ["tools_used", "Tool"],
  ["retrieved_learnings", "Recalled"],
];

/** @param {any} interaction @returns {Interaction} */
function interactionOf(interaction) {
  /** @type {[string, string][]} */
  const extra = [];
  for (const [key, name] of EXTRA) {
    for (const value of [interaction[key] ?? []].flat()) extra.push([name, String(value)]);
  }
  const text = interaction.content ?? (interaction.characters === undefined ? "" : counted(interaction.characters, "character"));
  return { id: Number(interaction.interaction_id ?? 0), role: String(interaction.role ?? "User"), text, extra };
}

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
