/** The page: connects the client, the stored requests and the parts that show them. */

import { Conversation } from "./conversation.js";
import { Doing } from "./doing.js";
import { byId } from "./dom.js";
import { Clock } from "./format.js";
import { Head } from "./head.js";
import { Host, messageOf } from "./host.js";
import { asked, Reading } from "./reading.js";
import { NO_FILTER } from "./rows.js";
import { Sheet } from "./sheet.js";
import { Table } from "./table.js";
import { HUES, Timeline } from "./timeline.js";

/** @typedef {import("./rows.js").Row} Row */
/** @typedef {import("./rows.js").Filter} Filter */

/** The tool's arguments that limit which requests the page reads. */
const BASE = ["user_id", "session_id", "source", "agent_version", "start_time", "end_time"];
const INLINE_HEIGHT = 680;

export class Page {
  constructor() {
    this.host = new Host(this);
    this.clock = new Clock();
    /** @type {Filter} */
    this.filter = { ...NO_FILTER };
    /** The filter the page was opened with. @type {Filter} */
    this.opening = this.filter;
    /** The chip that is pressed, in milliseconds; `null` for all or a brushed period. @type {number | null} */
    this.period = null;
    /** Ids of requests. @type {Set<string>} */
    this.selected = new Set();
    /** Whether rows can be selected: only if something can be done with them. */
    this.selectable = true;
    /** Ids of requests that the shown learnings came from. @type {Set<string>} */
    this.lit = new Set();
    /** The message about the last action. */
    this.notice = "";
    /** Undoes what `notice` reports. @type {(() => void) | undefined} */
    this.undoing = undefined;
    /** Sources with their own hue, most frequent first. @type {string[]} */
    this.sources = [];
    this.begun = false;
    this.reading = new Reading(this);
    this.matched = this.reading.index.match(this.filter);
    this.sheet = new Sheet(this);
    this.doing = new Doing(this);
    this.table = new Table(this);
    this.conversation = new Conversation(this);
    this.timeline = new Timeline(this);
    this.head = new Head(this);
    this.listen();
    this.render();
  }

  async start() {
    try {
      await this.host.connect();
    } catch (error) {
      this.reading.loading = "";
      this.reading.problem = `${messageOf(error)} Open this page from an assistant, or with "reflexio-mcp explore".`;
      this.render();
      return;
    }
    // A host that shows an old conversation may have forgotten the arguments.
    const late = new Promise((resolve) => setTimeout(() => resolve({}), 1_000));
    const given = await Promise.race([this.host.input, /** @type {Promise<Record<string, any>>} */ (late)]);
    performance.mark("explorer-asks");
    this.filter.words = String(given.contains ?? "");
    this.filter.finding = String(given.finding ?? "");
    this.showWords();
    await this.reading.read(Object.fromEntries(Object.entries(given).filter(([name]) => BASE.includes(name))));
  }

  /** Apply the server's state, which comes with the first rows. */
  begin() {
    const { reading } = this;
    this.selectable = reading.can("delete_requests") || reading.can("list_requests");
    if (this.begun) {
      if (this.filter.words) void reading.lookForWords();
      return;
    }
    this.begun = true;
    this.filter = { ...reading.index.base, words: this.filter.words, finding: this.filter.finding };
    this.opening = this.filter;
    if (this.host.context.place) this.goTo(this.host.context.place);
    // The view in the address needs requests that were not read.
    if (!reading.index.covers(this.filter)) void reading.read(asked(this.filter));
    else if (this.filter.words) void reading.lookForWords();
  }

  /** @param {Partial<Filter>} part @param {number | null} [period] the chip it comes from */
  change(part, period) {
    const before = this.filter;
    this.filter = { ...before, ...part };
    if ("start" in part) this.period = period ?? null;
    this.table.scroller.scrollTop = 0;
    this.applied(before);
    this.remember();
  }

  /** Show the requests that match the filter. @param {Filter} before */
  applied(before) {
    const { reading, filter } = this;
    const narrows = /** @type {const} */ (["user", "session", "source", "version", "start", "end"]).some((name) => filter[name] !== before[name]);
    // If not all matching requests were read, ask the server again with the filter.
    if (!(reading.index.complete && reading.index.covers(filter)) && reading.server && narrows) void reading.read(asked(filter));
    else if (filter.words !== before.words) void reading.lookForWords();
    else this.render();
  }

  /** Read a session next to the list. @param {string} session @param {string} [request] */
  open(session, request = "") {
    void this.conversation.show(session, request);
    this.conversation.goTo();
    this.remember();
  }

  closed() {
    this.table.focus();
    this.remember();
  }

  /** Highlight the requests that learnings came from. @param {string[]} ids */
  light(ids) {
    this.lit = new Set(ids);
    this.table.refresh();
  }

  /** The searched words, in lower case. */
  searchedWords() {
    return this.filter.words.toLowerCase().split(/\s+/).map((word) => word.replaceAll('"', "")).filter((word) => word && word !== "or");
  }

  /** @param {Row[]} rows @param {boolean} on */
  select(rows, on) {
    for (const row of rows) {
      if (on) this.selected.add(row.id);
      else this.selected.delete(row.id);
    }
    this.table.refresh();
    this.head.actions();
  }

  /** @returns {Row[]} */
  chosen() {
    return [...this.selected].flatMap((id) => this.reading.index.rows.get(id) ?? []);
  }

  /** Deselect requests that are not stored any more. */
  forgetGone() {
    for (const id of this.selected) if (!this.reading.index.rows.has(id)) this.selected.delete(id);
  }

  listen() {
    const { reading, host } = this;
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
      this.change({ ...NO_FILTER });
      words.focus();
    });
    for (const name of /** @type {const} */ (["user", "source", "version"])) {
      const select = /** @type {HTMLSelectElement} */ (byId(name));
      select.addEventListener("change", () => this.change({ [name]: select.value.slice(1) }));
    }
    const more = byId("more-filters");
    more.addEventListener("click", () => {
      const open = byId("page").classList.toggle("unfolded");
      more.setAttribute("aria-expanded", String(open));
    });
    byId("all").addEventListener("change", (event) => {
      this.select(this.matched.rows, /** @type {HTMLInputElement} */ (event.target).checked);
    });
    /** @type {[string, () => unknown][]} */
    const clicks = [
      ["undo", () => this.undoing?.()], ["past", () => this.sheet.past()], ["unhide", () => byId("reset").click()],
      ["again", () => reading.read()], ["clear", () => this.select(this.chosen(), false)],
      ["delete", () => this.sheet.remove(this.chosen())], ["export", () => this.sheet.export()],
      ["further", () => reading.further()],
    ];
    for (const [id, does] of clicks) byId(id).addEventListener("click", () => void does());
    byId("fullscreen").addEventListener("click", () => {
      const inline = host.context.displayMode !== "fullscreen";
      host.show(inline ? "fullscreen" : "inline").catch((error) => this.say(messageOf(error)));
    });
    document.addEventListener("keydown", (event) => {
      const typing = event.target instanceof HTMLInputElement && event.target.type !== "checkbox" || event.target instanceof HTMLSelectElement;
      if (typing || event.ctrlKey || event.metaKey || event.altKey || this.sheet.dialog.open) return;
      if (event.key === "/") words.focus();
      else if (event.key === "?") this.sheet.keys();
      else if (event.key === "Escape") this.conversation.close();
      else return;
      event.preventDefault();
    });
    this.sheet.dialog.addEventListener("close", () => {
      // The focused element may be gone, such as the bar of action after a deletion.
      if (!document.activeElement || document.activeElement === document.body) this.table.focus();
    });
  }

  /** Say something in the summary, which screen readers read out. @param {string} text @param {() => void} [undo] */
  say(text, undo) {
    this.notice = text;
    this.undoing = undo;
    this.head.summary();
  }

  /** @param {boolean} [keep] keep the notice, because nothing new was done */
  render(keep = false) {
    const { index } = this.reading;
    this.matched = index.match(this.filter);
    if (this.sources.length < HUES) {
      // A source keeps its hue when further rows arrive.
      const fresh = [...index.sources].sort((a, b) => b[1] - a[1] || (a[0] < b[0] ? -1 : 1)).map(([name]) => name).filter((name) => !this.sources.includes(name));
      this.sources = [...this.sources, ...fresh].slice(0, HUES);
    }
    if (!keep) this.notice = "";
    this.head.draw();
    this.timeline.show();
    this.table.relay();
    this.conversation.fillIn();
  }

  showWords() {
    /** @type {HTMLInputElement} */ (byId("words")).value = this.filter.words;
  }

  /** Apply the host's colours, fonts, zone and size. @param {import("./host.js").HostContext} context */
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
    if (height) this.host.notify("ui/notifications/size-changed", { width: root.clientWidth, height: Number.parseFloat(height) });
    this.render(true);
  }

  /** Keep the view in the address, if the host has an address. */
  remember() {
    const place = new URLSearchParams();
    for (const [name, value] of Object.entries(this.filter)) if (value) place.set(name, String(value));
    if (this.period) place.set("period", String(this.period));
    if (this.conversation.session) place.set("open", this.conversation.session);
    this.host.remember(String(place) || "all=1");
  }

  /** The address of the host has changed. @param {string} place */
  moveTo(place) {
    const before = this.filter;
    this.goTo(place);
    this.applied(before);
  }

  /** Show the view that an address names. An empty address names the first view. @param {string} text */
  goTo(text) {
    const place = new URLSearchParams(text);
    this.filter = text ? filterOf(place) : this.opening;
    this.period = Number(place.get("period")) || null;
    this.showWords();
    const session = place.get("open") ?? "";
    if (session && session !== this.conversation.session) void this.conversation.show(session);
    else if (!session) this.conversation.close();
  }
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

void new Page().start();
