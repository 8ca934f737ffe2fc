/** What was learned from what is opened or selected, and taking it back. */

import { el, fill, stored } from "./dom.js";
import { counted, number } from "./format.js";

/** @typedef {{session: string} | {request: string}} Target */
/**
 * @typedef {object} Learning as `list_learnings` gives it
 * @property {string} learning_id
 * @property {string} [state]
 * @property {string} [changed_at]
 * @property {string} [content]
 * @property {number} [characters] of the content, where it is hidden
 * @property {string} [trigger]
 * @property {string} [quotes]
 * @property {{request_id: string, interactions: number[]}[]} [from_requests]
 * @property {number} [more_requests]
 */
/**
 * @typedef {object} LearnedOwner
 * @property {(given: Record<string, any>) => Promise<any>} list
 * @property {((learning: Learning) => void) | null} takeBack
 * @property {(ids: Set<string>) => void} light
 * @property {(at: number) => string} day
 */

export class Learned {
  /** @param {HTMLElement} place @param {LearnedOwner} owner */
  constructor(place, owner) {
    this.place = place;
    this.owner = owner;
    /** @type {Target | null} */
    this.target = null;
    /** @type {Learning[]} */
    this.learnings = [];
    this.cursor = "";
    this.asked = 0;
  }

  /** Show what was learned from something else. @param {Target | null} target */
  async show(target) {
    if (JSON.stringify(target) === JSON.stringify(this.target)) return;
    this.target = target;
    await this.reload();
  }

  async reload() {
    this.learnings = [];
    this.cursor = "";
    if (!this.target) {
      this.draw("Open or select something to see what was learned from it.");
      return;
    }
    this.draw("Looking for what was learned.");
    await this.more();
  }

  async more() {
    const turn = ++this.asked;
    const { target } = this;
    if (!target) return;
    const given = "session" in target ? { session_id: target.session } : { request_id: target.request };
    try {
      const answer = await this.owner.list({ ...given, limit: 50, ...(this.cursor ? { cursor: this.cursor } : {}) });
      if (turn !== this.asked) return;
      this.learnings.push(...(answer.learnings ?? []));
      this.cursor = answer.cursor ?? "";
      this.draw(remarkOn(answer, this.learnings.length));
      this.owner.light(new Set(this.learnings.flatMap((one) => requestsOf(one))));
    } catch (error) {
      if (turn === this.asked) this.draw(`What was learned is not known. ${error instanceof Error ? error.message : ""}`, true);
    }
  }

  /** @param {string} note @param {boolean} [failed] */
  draw(note, failed = false) {
    this.place.classList.toggle("idle", !this.target);
    fill(
      this.place,
      el("h2", {}, "Learned from this"),
      ...this.learnings.map((one) => this.card(one)),
      note && el("p", { class: "quiet", role: "status" }, note),
      failed && el("button", { class: "link", type: "button", onclick: () => void this.more() }, "Try again"),
      !failed && this.cursor && el("button", { class: "link", type: "button", onclick: () => void this.more() }, "Show more"),
    );
  }

  /** @param {Learning} one */
  card(one) {
    const from = requestsOf(one).length;
    const facts = [
      one.learning_id.startsWith("profile") ? "Profile" : "Playbook",
      one.state && one.state !== "current" && one.state,
      one.changed_at && this.owner.day(Date.parse(one.changed_at)),
      from > 0 && `from ${counted(from + (one.more_requests ?? 0), "request")}`,
    ];
    const text = one.content ?? (one.characters ? `${number(one.characters)} characters` : "");
    const { takeBack } = this.owner;
    return el(
      "article", { class: "card" },
      el("p", { class: "text", dir: "auto" }, text),
      one.trigger && el("p", { class: "facts" }, "When: ", stored(one.trigger)),
      one.quotes && el("p", { class: "facts" }, "Quotes: ", stored(one.quotes)),
      el("p", { class: "facts" }, facts.filter(Boolean).join(" · ")),
      takeBack && el("button", { class: "link", type: "button", onclick: () => takeBack(one) }, "Take back…"),
    );
  }
}

/** @param {Learning} one @returns {string[]} */
function requestsOf(one) {
  return (one.from_requests ?? []).map((each) => each.request_id);
}

/** @param {any} answer @param {number} count */
function remarkOn(answer, count) {
  const parts = [];
  const unsure = answer.unlinked || answer.users_not_read;
  if (!count) {
    parts.push(unsure ? "Whether anything was learned from it is not known." : "No profile or user playbook was learned from it.");
  }
  if (answer.learning) parts.push("More may be learned from it: it is not through yet.");
  if (answer.users_not_read) parts.push(`The learnings of ${counted(answer.users_not_read, "more user")} were not read.`);
  if (answer.unlinked) {
    const which = answer.unlinked === 1 ? "does not say what it was" : "do not say what they were";
    parts.push(`${counted(answer.unlinked, "more learning")} there ${which} learned from.`);
  }
  return parts.join(" ");
}
