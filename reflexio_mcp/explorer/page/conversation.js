/** A session read from top to bottom: what was said, what is found in it, and what was learned from it. */

import { aroundSecrets, byId, el, fill, stored, withChips } from "./dom.js";
import { counted, number, ruleWords, shortened } from "./format.js";
import { messageOf } from "./host.js";

/** @typedef {import("./rows.js").Row} Row */
/** @typedef {import("./reading.js").Interaction} Interaction */
/**
 * @typedef {{learning_id: string, state?: string, changed_at?: string, user_id?: string, content?: string, characters?: number,
 *   trigger?: string, evidence?: {request_id: string, interaction_id: number, quote?: string}[],
 *   from_requests?: {request_id: string, interaction_ids: number[]}[], more_requests?: number}} Learning
 *   as `list_learnings` returns it: `characters` if the content is hidden
 */

/** Requests shown until the person asks for more. */
const SHOWN = 10;
const FOLD_LINES = 12;
const FOLD_CHARS = 900;

export class Conversation {
  /** @param {import("./main.js").Page} page */
  constructor(page) {
    this.page = page;
    this.place = byId("conversation");
    this.session = "";
    /** The opened request, to which the page scrolls. */
    this.request = "";
    this.shown = SHOWN;
    /** Whether the session has several users. */
    this.several = false;
    /** Findings that every request of the session has: they are shown once. @type {Set<string>} */
    this.shared = new Set();
    this.common = el("div");
    /** @type {Learning[]} */
    this.learnings = [];
    this.cursor = "";
    this.remark = "";
    this.failed = false;
    this.asked = 0;
    /** Ids of interactions whose long text is shown in full. @type {Set<number>} */
    this.unfolded = new Set();
    this.draw();
  }

  /** Show a session, and scroll to a request if its id is given. @param {string} session @param {string} [request] */
  async show(session, request = "") {
    this.request = request;
    if (session !== this.session) {
      this.session = session;
      this.shown = SHOWN;
      this.place.scrollTop = 0;
      await this.reload();
    } else this.draw();
    this.goTo();
  }

  close() {
    if (!this.session) return;
    this.session = this.request = "";
    this.asked += 1;
    this.learnings = [];
    this.draw();
    this.page.light([]);
    this.page.closed();
  }

  /** Read the learnings again and draw the session. */
  async reload() {
    this.learnings = [];
    this.cursor = "";
    this.remark = this.session && this.page.reading.can("list_learnings") ? "Looking for what was learned." : "";
    this.draw();
    if (this.session) await this.more();
  }

  async more() {
    const generation = ++this.asked;
    const { session } = this;
    const { reading, host } = this.page;
    if (!reading.can("list_learnings") || !session) return;
    try {
      const answer = await host.ask("list_learnings", { session_id: session, limit: 50, ...(this.cursor ? { cursor: this.cursor } : {}) });
      if (generation !== this.asked) return;
      this.learnings.push(...(answer.learnings ?? []));
      this.cursor = answer.cursor ?? "";
      this.remark = remarkOn(answer, this.learnings.length);
      this.failed = false;
      this.page.light(this.learnings.flatMap((one) => requestsOf(one)));
    } catch (error) {
      if (generation !== this.asked) return;
      this.remark = `What was learned is not known. ${messageOf(error)}`;
      this.failed = true;
    }
    this.draw();
  }

  /** Draw a request again if it is shown. @param {string} id */
  refresh(id) {
    const before = this.part(id);
    const rows = before ? this.page.reading.index.ofSession(this.session) : [];
    const row = rows.find((one) => one.id === id);
    this.share(rows);
    if (before && row) before.replaceWith(this.said(row));
  }

  /** @param {string} id @returns {Element | undefined} */
  part(id) {
    return [...this.place.querySelectorAll(".said-in")].find((one) => one.getAttribute("data-id") === id);
  }

  /** Draw the session if it was opened before its rows were read. */
  fillIn() {
    if (this.session && !this.place.querySelector(".said-in")) this.draw();
  }

  /** Find out what the requests have in common. @param {Row[]} rows */
  share(rows) {
    const [first] = rows;
    if (!first) return;
    this.several = rows.some((row) => row.user !== first.user);
    this.shared = new Set([...first.findings.keys()].filter((rule) => rows.every((row) => row.findings.get(rule)?.length === 0)));
    fill(this.common, ...this.findings(first, (_, rule) => this.shared.has(rule)));
  }

  goTo() {
    if (this.request) this.part(this.request)?.scrollIntoView({ block: "nearest" });
  }

  draw() {
    this.place.hidden = !this.session;
    byId("page").classList.toggle("reading", Boolean(this.session));
    if (!this.session) {
      fill(this.place);
      return;
    }
    const rows = this.page.reading.index.ofSession(this.session).reverse();
    const shown = rows.slice(0, Math.max(this.shown, rows.findIndex((row) => row.id === this.request) + 1));
    const known = new Set(shown.map((row) => row.id));
    // Learnings of other requests come last.
    const others = this.learnings.filter((one) => !requestsOf(one).some((id) => known.has(id)));
    this.share(rows);
    const left = rows.length - shown.length;
    fill(
      this.place,
      this.head(rows),
      rows.length === 0 && el("p", { class: "quiet" }, "Nothing of this session is stored any more."),
      ...shown.map((row) => this.said(row)),
      left > 0 && el("button", { class: "link", type: "button", onclick: () => {
        this.shown += SHOWN;
        this.draw();
      } }, `Show ${counted(Math.min(left, SHOWN), "more request")} of ${number(left)}`),
      others.length > 0 && el("h3", { class: "quiet" }, "Also learned"),
      ...others.map((one) => this.card(one)),
      this.remark && el("p", { class: "quiet", role: "status" }, this.remark),
      this.failed && el("button", { class: "link", type: "button", onclick: () => void this.more() }, "Try again"),
      !this.failed && this.cursor && el("button", { class: "link", type: "button", onclick: () => void this.more() }, "Show more that was learned"),
    );
  }

  /** The session's name, users and buttons. @param {Row[]} rows oldest first */
  head(rows) {
    const { doing, reading, sheet } = this.page;
    const users = [...new Set(rows.map((row) => row.user))];
    return el("header", { class: "topline" },
      el("div", { class: "title" },
        el("h2", { dir: "auto" }, ...withChips(rows.find((row) => row.words)?.words ?? "Conversation")),
        el("p", { class: "facts" },
          ...users.slice(0, 3).flatMap((user, at) => [at > 0 && ", ", stored(shortened(user))]), users.length > 3 && ` and ${users.length - 3} more`,
          ` · ${counted(rows.length, "request")} · session `, stored(shortened(this.session, 28), "mono"),
          el("button", { class: "link small", type: "button", onclick: () => void doing.copy(this.session) }, "Copy session id")),
        this.common),
      el("div", { class: "buttons" },
        rows.length > 0 && reading.can("delete_requests") && el("button", { class: "plain", type: "button", onclick: () => void sheet.remove(rows) }, "Delete…"),
        el("button", { class: "quiet-button", type: "button", onclick: () => this.close() }, "Close")));
  }

  /** One request: its interactions, what is found in it, what was learned from it. @param {Row} row */
  said(row) {
    const { clock, doing, reading, sheet } = this.page;
    const detail = reading.detail(row);
    const more = (/** @type {string} */ text) => el("button", { class: "link", type: "button", onclick: () => void reading.readOn(row) }, text);
    const learned = this.learnings.filter((one) => requestsOf(one)[0] === row.id);
    const shown = new Set();
    const bubbles = detail.interactions.flatMap((interaction) => {
      const here = learned.filter((one) => lastInteraction(one, row.id) === interaction.id);
      for (const one of here) shown.add(one);
      return [this.bubble(row, interaction), ...here.map((one) => this.card(one))];
    });
    const placed = new Set(detail.interactions.map((interaction) => interaction.id));
    return el(
      "div", { role: "group", class: `said-in${row.id === this.request ? " opened" : ""}`, "data-id": row.id, "aria-label": `Request of ${clock.moment(row.at)}` },
      el("div", { class: "topline" },
        el("p", { class: "facts", title: clock.exact(row.at) }, this.several && stored(shortened(row.user)), this.several && " · ", [clock.moment(row.at), row.source, row.version].filter(Boolean).join(" · ")),
        el("span", { class: "buttons" },
          el("button", { class: "link small", type: "button", title: row.id, onclick: () => void doing.copy(row.id) }, "Copy request id"),
          reading.can("delete_requests") && el("button", { class: "link small", type: "button", onclick: () => void sheet.remove([row]) }, "Delete request…"))),
      // Other findings are about the request, or about an interaction that is not loaded yet.
      ...this.findings(row, (ids, rule) => !ids.some((id) => placed.has(id)) && !this.shared.has(rule)),
      detail.state === "loading" && el("p", { class: "quiet" }, row.words || "Reading."),
      detail.state === "failed" && el("p", { class: "note", role: "alert" }, detail.note),
      detail.state === "failed" && more("Try again"),
      ...bubbles,
      detail.cursor && detail.state === "ready" && more("Read on"),
      ...learned.filter((one) => !shown.has(one)).map((one) => this.card(one)),
      detail.state === "ready" && detail.note && el("p", { class: "facts" }, detail.note),
    );
  }

  /** Findings by name, each opening to its reason. @param {Row} row @param {(ids: number[], rule: string) => boolean} wanted */
  findings(row, wanted) {
    return [...row.findings].filter(([rule, ids]) => wanted(ids, rule)).map(([rule]) => {
      const { why, grave } = this.page.reading.rule(rule);
      return el("details", { class: `finding${grave ? " warn" : ""}` }, el("summary", {}, ruleWords(rule)), el("p", {}, why));
    });
  }

  /** @param {Row} row @param {Interaction} interaction */
  bubble(row, interaction) {
    const { doing, reading } = this.page;
    const removable = interaction.id > 0 && reading.can("delete_request") && !reading.server?.masked;
    const own = interaction.role.toLowerCase() === "user";
    const found = this.findings(row, (ids) => ids.includes(interaction.id));
    const grave = found.some((one) => one.classList.contains("warn"));
    const text = el("div", { class: "text", dir: "auto" }, ...this.chipped(row, interaction));
    return el(
      "div", { class: `bubble${own ? " own" : ""}${grave ? " grave" : ""}` },
      el("p", { class: "facts" }, stored(interaction.role),
        removable && el("button", { class: "link small", type: "button", onclick: () => void doing.deleteInteraction(row, interaction) }, "Delete interaction…")),
      text, this.fold(interaction, text),
      ...interaction.extra.map(([name, value]) => el("p", { class: "facts" }, `${name} `, stored(value))),
      ...found,
    );
  }

  /** A button that shows a long text in full. @param {Interaction} interaction @param {HTMLElement} text */
  fold(interaction, text) {
    if (interaction.text.length <= FOLD_CHARS && interaction.text.split("\n", FOLD_LINES + 1).length <= FOLD_LINES) return null;
    const button = el("button", { class: "link small", type: "button", onclick: () => {
      if (!this.unfolded.delete(interaction.id)) this.unfolded.add(interaction.id);
      fold();
    } });
    const fold = () => {
      const whole = this.unfolded.has(interaction.id);
      text.classList.toggle("folded", !whole);
      button.textContent = whole ? "Show less" : "Show all";
      button.setAttribute("aria-expanded", String(whole));
    };
    fold();
    return button;
  }

  /** A text in which each covered secret is a button that shows it. @param {Row} row @param {Interaction} interaction */
  chipped(row, interaction) {
    const pieces = aroundSecrets(interaction.text);
    const parts = pieces.filter((_, at) => at % 2 === 0);
    return pieces.map((piece, at) => {
      if (at % 2 === 0) return piece;
      const chip = el("button", { class: "chip", type: "button", title: "Show this secret", onclick: async () => {
        try {
          chip.textContent = hiddenIn(parts, (at - 1) / 2, await this.page.reading.whole(row, interaction));
          chip.disabled = true;
        } catch (error) {
          chip.title = messageOf(error);
        }
      } }, piece);
      return chip;
    });
  }

  /** @param {Learning} one */
  card(one) {
    const from = requestsOf(one).length + (one.more_requests ?? 0);
    const facts = [
      one.learning_id.startsWith("profile") ? "Profile" : "Playbook",
      one.state && one.state !== "current" && one.state,
      one.changed_at && this.page.clock.day(Date.parse(one.changed_at)),
      from > 0 && `from ${counted(from, "request")}`,
    ];
    const { doing, reading } = this.page;
    // A correction would lose covered or cut text.
    const whole = one.state === "current" && one.content && !/\[redacted|…$/.test(one.content);
    return el(
      "article", { class: "card" },
      el("div", { class: "topline" }, el("p", { class: "facts" }, "Learned · ", facts.filter(Boolean).join(" · ")),
        el("span", { class: "buttons" },
          whole && reading.can("correct_learning") && el("button", { class: "link small", type: "button", onclick: () => doing.correct(one) }, "Correct…"),
          reading.can("delete_learnings") && el("button", { class: "link small", type: "button", onclick: () => void doing.takeBack(one) }, "Take back…"))),
      el("p", { class: "text", dir: "auto" }, one.content ?? (one.characters ? `${number(one.characters)} characters` : "")),
      one.trigger && el("p", { class: "facts" }, "When: ", stored(one.trigger)),
      ...[...new Set((one.evidence ?? []).map((each) => each.quote))].map((quote) => quote && el("p", { class: "facts" }, "Quotes: ", stored(quote))),
    );
  }
}

/**
 * Return a covered part of a text.
 * @param {string[]} parts the texts around the covered parts, in order
 * @param {number} at number of the covered part
 * @param {string} whole the text with nothing covered
 */
function hiddenIn(parts, at, whole) {
  let begin = 0;
  for (const part of parts.slice(0, at + 1)) begin = whole.indexOf(part, begin) + part.length;
  const behind = parts[at + 1];
  return whole.slice(begin, behind ? whole.indexOf(behind, begin) : undefined);
}

/** @param {Learning} one @returns {string[]} */
function requestsOf(one) {
  const said = (one.evidence ?? []).map((each) => each.request_id);
  return [...new Set(said.length ? said : (one.from_requests ?? []).map((each) => each.request_id))];
}

/** The last interaction of a request that taught a learning. @param {Learning} one @param {string} request */
function lastInteraction(one, request) {
  const said = (one.evidence ?? []).flatMap((each) => each.request_id === request ? [each.interaction_id] : []);
  const read = (one.from_requests ?? []).flatMap((each) => each.request_id === request ? each.interaction_ids : []);
  return Math.max(...(said.length ? said : read));
}

/** @param {any} answer @param {number} count */
function remarkOn(answer, count) {
  const parts = [];
  const unsure = answer.unlinked || answer.users_not_read;
  if (!count) {
    parts.push(unsure ? "Whether anything was learned from it is not known." : "No profile or user playbook was learned from it.");
  }
  if (answer.learning) parts.push("More may be learned from it: learning is not finished yet.");
  if (answer.users_not_read) parts.push(`The learnings of ${counted(answer.users_not_read, "more user")} were not read.`);
  if (answer.unlinked) {
    const which = answer.unlinked === 1 ? "does not say what it was" : "do not say what they were";
    parts.push(`${counted(answer.unlinked, "more learning")} ${which} learned from.`);
  }
  return parts.join(" ");
}
