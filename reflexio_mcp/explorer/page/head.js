/** The parts around the table: the user, the findings, the filters, the summary, and the bar of actions. */

import { byId, el, fill, renew, stored } from "./dom.js";
import { counted, DAY_MS, number, ruleWords, shortened } from "./format.js";
import { NO_FILTER } from "./rows.js";

/** @typedef {import("./rows.js").Filter} Filter */
/** Maximum number of choices in a list. */
const CHOICES = 200;

/** @type {[string, number | null][]} */
const PERIODS = [["24 hours", DAY_MS], ["7 days", 7 * DAY_MS], ["30 days", 30 * DAY_MS], ["All", null]];

/** Plural names of findings that are counted by requests. @type {Record<string, string>} */
const PLURALS = {
  "probable-secret": "probable secrets", "possible-secret": "possible secrets", duplicate: "duplicates",
  "shared-session": "in shared sessions", "split-conversation": "in split conversations", "temporary-session": "in temporary sessions",
};

export class Head {
  /** @param {import("./main.js").Page} page */
  constructor(page) {
    this.page = page;
    // The buttons are made once: a finger may be on one while the page is drawn again.
    this.chips = PERIODS.map(([name, length]) => {
      const count = el("span", { class: "quiet" });
      const chip = el("button", { type: "button", onclick: () =>
        page.change({ start: length === null ? null : Date.now() - length, end: null }, length) }, name, " ", count);
      return { chip, count, length };
    });
    this.brush = el("button", { type: "button", class: "brush", "aria-pressed": "true", onclick: () => page.change({ start: null, end: null }) });
    fill(byId("periods"), ...this.chips.map(({ chip }) => chip), this.brush);
  }

  draw() {
    this.place();
    this.strip();
    this.filters();
    this.summary();
    this.empty();
    this.actions();
  }

  place() {
    const { reading, host } = this.page;
    const { server } = reading;
    fill(byId("whose"), server && (server.whose ? stored(shortened(server.whose, 28)) : el("span", { class: "everyone" }, "every user")));
    fill(byId("where"), server && server.where, server && !reading.can("delete_requests") && " · read only");
    byId("past").hidden = !reading.can("restore_requests");
    byId("cover").textContent = !server ? "" : server.masked ? "Text hidden by this server" : "Found secrets covered";
    const modes = host.context.availableDisplayModes ?? [];
    const full = host.context.displayMode === "fullscreen";
    byId("fullscreen").hidden = !modes.includes(full ? "inline" : "fullscreen");
    byId("fullscreen").textContent = full ? "Smaller" : "Full screen";
  }

  /** Draw a button for each finding, gravest first. */
  strip() {
    const { matched, reading, filter } = this.page;
    const counts = [...matched.counts.finding].filter(([rule, times]) => times > 0 || rule === filter.finding);
    if (filter.finding && !matched.counts.finding.has(filter.finding)) counts.push([filter.finding, 0]);
    counts.sort((a, b) => Number(reading.rule(b[0]).grave) - Number(reading.rule(a[0]).grave) || b[1] - a[1]);
    byId("strip").hidden = counts.length === 0;
    fill(byId("strip"), ...counts.map(([rule, times]) =>
      el("button", {
        type: "button", class: `badge${reading.rule(rule).grave ? " warn" : ""}`, "aria-pressed": String(filter.finding === rule), title: reading.rule(rule).why,
        onclick: () => this.page.change({ finding: filter.finding === rule ? "" : rule }),
      }, `${number(times)} ${times === 1 ? ruleWords(rule) : (PLURALS[rule] ?? ruleWords(rule))}`)));
  }

  filters() {
    const { filter, matched, reading, period } = this.page;
    const lists = /** @type {const} */ ([["user", "Every user"], ["source", "Every source"], ["version", "Every version"]]);
    for (const [name, all] of lists) {
      const select = /** @type {HTMLSelectElement} */ (byId(name));
      const counts = [...matched.counts[name]].sort((a, b) => b[1] - a[1] || (a[0] < b[0] ? -1 : 1)).slice(0, CHOICES);
      const value = filter[name];
      if (value && !counts.some(([one]) => one === value)) counts.unshift([value, 0]);
      renew(
        select, el("option", { value: "" }, all),
        ...counts.filter(([one]) => one).map(([one, times]) =>
          el("option", { value: `=${one}` }, `${shortened(one, 32)} (${number(times)})`)),
      );
      select.value = value && `=${value}`;
      select.classList.toggle("set", Boolean(value));
      // A list that was shown stays, so that the row does not move with each choice.
      const pinned = name === "user" && Boolean(reading.server?.whose);
      if (value || (counts.length && !pinned)) /** @type {HTMLElement} */ (select.parentElement).hidden = false;
    }
    const words = /** @type {HTMLInputElement} */ (byId("words"));
    words.disabled = reading.server?.masked ?? false;
    if (words.disabled) words.placeholder = "Not while text is hidden";
    const { start, end } = filter;
    const brushed = (start !== null || end !== null) && period === null;
    for (const { chip, count, length } of this.chips) {
      const from = length ? Date.now() - length : -Infinity;
      count.textContent = number(matched.anyTime.reduce((sum, row) => sum + Number(row.at >= from), 0));
      chip.setAttribute("aria-pressed", String(!brushed && length === period));
    }
    const { clock } = this.page;
    this.brush.hidden = !brushed;
    this.brush.textContent = `${start === null ? "the beginning" : clock.moment(start)} to ${end === null ? "now" : clock.moment(end)}`;
    const set_ = Object.entries(NO_FILTER).filter(([name, value]) => filter[/** @type {keyof Filter} */ (name)] !== value).length;
    byId("reset").hidden = !set_;
    byId("more-filters").textContent = set_ ? `Filters (${set_})` : "Filters";
  }

  summary() {
    const { reading, matched, notice, undoing, clock } = this.page;
    const { loading, problem } = reading;
    const all = reading.index.rows.size;
    let text = "";
    if (problem) text = problem;
    else if (loading === "first") text = "Reading what is stored.";
    else if (reading.searching) text = "Looking for the words.";
    else if (all) {
      const { rows, sessions } = matched;
      text = `${rows.length === all ? counted(all, "request") : `${number(rows.length)} of ${counted(all, "request")}`} in ${counted(sessions.length, "session")}`;
      if (loading === "more") text += ", reading on";
      if (loading === "words") text = "Reading on: words appear once their secrets can be covered.";
      if (!loading && reading.cursor) {
        let oldest = Infinity;
        for (const row of reading.index.rows.values()) oldest = Math.min(oldest, row.at);
        text += `. There is more: this goes back to ${clock.moment(oldest)}`;
      }
    }
    const summary = byId("summary");
    summary.textContent = notice || text;
    summary.classList.toggle("note", Boolean(problem));
    // Without rows, the list shows the same words.
    summary.classList.toggle("spoken", Boolean(problem) && !all && !notice);
    byId("again").hidden = !problem || !all;
    byId("undo").hidden = !notice || !undoing;
    byId("export").hidden = Boolean(problem) || !all || !reading.can("export_data");
    byId("further").hidden = !reading.cursor || loading !== "" || reading.searching || Boolean(problem);
  }

  empty() {
    const { reading, matched } = this.page;
    const empty = byId("empty");
    const none = matched.rows.length === 0;
    empty.hidden = !none;
    byId("grid").hidden = none;
    const waiting = reading.loading !== "" || reading.searching;
    empty.classList.toggle("waiting", waiting);
    if (!none) return;
    if (waiting) fill(empty, ...Array.from({ length: 12 }, () => el("div", { class: "ghost" })));
    else if (reading.problem)
      fill(empty, el("strong", {}, "Nothing could be read."), el("span", {}, reading.problem),
        el("button", { class: "plain", type: "button", onclick: () => void reading.read() }, "Try again"));
    else if (!reading.index.rows.size && !reading.cursor && byId("reset").hidden)
      fill(empty, el("strong", {}, `Nothing is stored${reading.server?.whose ? ` for user ${reading.server.whose}` : ""}.`), el("span", {}, "What your assistant sends to memory appears here."));
    else
      fill(empty, el("strong", {}, "Nothing matches."), el("span", {}, this.described()),
        el("button", { class: "plain", type: "button", onclick: () => byId("reset").click() }, "Reset the filter"));
  }

  /** The filter in words, or nothing. */
  described() {
    const { filter, clock } = this.page;
    const { words, user, session, source, version, finding } = filter;
    const parts = [
      words && `words “${words}”`,
      ...Object.entries({ user, session, source, version, finding: ruleWords(finding) }).map(([name, value]) => value && `${name} ${shortened(value)}`),
      filter.start !== null && `from ${clock.moment(filter.start)}`, filter.end !== null && `until ${clock.moment(filter.end)}`,
    ].filter(Boolean);
    return parts.length ? `The filter is: ${parts.join(", ")}.` : "";
  }

  actions() {
    const { matched, reading, selected } = this.page;
    const rows = this.page.chosen();
    const sessions = new Set(rows.map((row) => row.session)).size;
    const users = new Set(rows.map((row) => row.user)).size;
    byId("actions").hidden = rows.length === 0;
    const shown = rows.length > 0 ? new Set(matched.rows.map((row) => row.id)) : selected;
    const unseen = rows.filter((row) => !shown.has(row.id)).length;
    const cap = reading.server?.delete_cap ?? 0;
    byId("selected").textContent = [
      `${counted(rows.length, "request")} in ${counted(sessions, "session")}`,
      users > 1 && counted(users, "user"), unseen > 0 && `${number(unseen)} not shown`,
      cap > 0 && rows.length > cap && `${number(cap)} an hour may be deleted`,
    ].filter(Boolean).join(", ");
    byId("unhide").hidden = unseen === 0;
    byId("delete").hidden = !reading.can("delete_requests");
    const all = /** @type {HTMLInputElement} */ (byId("all"));
    const on = matched.rows.filter((row) => selected.has(row.id)).length;
    all.checked = on > 0 && on === matched.rows.length;
    all.indeterminate = on > 0 && on < matched.rows.length;
  }
}
