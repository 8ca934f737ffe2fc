/** The sheet: what would be deleted, the person's yes, the receipt. */

import { byId, el, fill, stored, withChips } from "./dom.js";
import { counted, number, shortened } from "./format.js";
import { Failure, saidBy } from "./host.js";
import { refusedBecause, told, wordsFor } from "./words.js";

/** @typedef {import("./rows.js").Row} Row */
/** @typedef {import("./host.js").ToolResult} ToolResult */
/** @typedef {import("./dom.js").Child} Child */
/** @typedef {import("./words.js").Fact} Fact */
/** @typedef {{learning_id: string, user_id: string, content: string, kept: string[], back: string[]}} Linked `kept`: requests that stay and quote it; `back`: what becomes current again */
/** @typedef {{erase: boolean, learned: Set<string>}} Choice `learned` are ids of learnings to delete too */
/** @typedef {{title: string, notes: Child[][], again: boolean}} Undone `again` says whether another try may bring more */
/** @typedef {{result: ToolResult, receipts: any[]}} Done a receipt for the requests, and receipts for the chosen learnings */
/** @typedef {{title: string, words: string, note: string, keep: string, final: string, done: string, after?: string}} Small `after` is the new text, `words` the old */

const LISTED = 10;
const STAY = "You can close this sheet. Keep the window open.";
/** Findings that a copy would keep. */
const SECRETS = ["probable-secret", "possible-secret"];

export class Sheet {
  /** @param {import("./main.js").Page} page */
  constructor(page) {
    this.page = page;
    const dialog = /** @type {HTMLDialogElement} */ (byId("sheet"));
    this.dialog = dialog;
    /** Grows with each opening, so that an answer to an earlier opening is not shown. */
    this.generation = 0;
    dialog.addEventListener("close", () => {
      // The sheet may be open again.
      if (!dialog.open) this.generation += 1;
    });
  }

  /** @param {string} title @param {Child[]} inside @param {Child[]} feet */
  put(title, inside, feet) {
    fill(
      this.dialog,
      el("h2", { id: "sheet-title", tabindex: -1 }, title),
      el("div", { class: "inside" }, ...inside),
      el("div", { class: "feet" }, ...feet),
    );
    if (!this.dialog.open) this.dialog.showModal();
  }

  /** @param {string} text */
  closing(text) {
    return this.button(text, () => this.dialog.close());
  }

  /** @param {string} text @param {() => void} onclick */
  button(text, onclick) {
    return el("button", { class: "plain", type: "button", onclick }, text);
  }

  /**
   * Wait for an answer. Returns nothing if the call failed or the sheet shows something else now.
   * @template T @param {string} title @param {Promise<T>} asked @returns {Promise<T | undefined>}
   */
  async answer(title, asked) {
    const generation = ++this.generation;
    const answer = await asked.catch((error) => {
      if (generation === this.generation) this.failed(title, error);
    });
    return generation === this.generation ? answer ?? undefined : undefined;
  }

  /** Plan, ask, act and show the receipt. @param {Row[]} rows */
  async remove(rows, /** @type {Choice} */ choice = { erase: false, learned: new Set() }) {
    const title = `Delete ${counted(rows.length, "request")}`;
    if (!this.dialog.open)
      this.put(title, [el("p", { class: "quiet", role: "status" }, "Looking up what would be deleted.")], [this.closing("Keep them")]);
    const found = await this.answer(title, this.page.doing.plan(rows, choice));
    if (!found) return;
    if (!found.plan.selected.requests) {
      const gone = found.plan.not_found_count === rows.length;
      this.put("Nothing to delete", [el("p", {}, gone ? "None of these requests is stored any more." : refusedBecause(found.status)), ...this.told(found.plan.facts)], [this.closing("Close")]);
      await this.page.doing.done(rows, null);
      return;
    }
    if (found.refused) {
      this.put("Nothing can be deleted here", [el("p", {}, refusedBecause(found.status))], [this.closing("Close")]);
      return;
    }
    this.ask(rows, found, choice);
  }

  /** @param {Row[]} rows @param {any} found @param {Choice} choice */
  ask(rows, found, choice) {
    const { plan, type } = found;
    const title = `Delete ${counted(plan.selected.requests, "request")}`;
    const act = el("button", { class: "final", type: "button", onclick: () => void this.act(rows, found, choice) }, title);
    const keep = this.closing("Keep them");
    const input = el("input", { type: "text", inputmode: "numeric", autocomplete: "off", "aria-label": `Type ${type} to delete` });
    const typed = type === null || type === undefined ? null : el("label", { class: "typed" }, `Type ${number(type)} to delete`, input);
    if (typed) {
      act.disabled = true;
      input.addEventListener("input", () => {
        act.disabled = input.value.replace(/[,.\s]/g, "") !== String(type);
      });
      input.addEventListener("keydown", (event) => {
        if (event.key === "Enter") act.click();
      });
    }
    const planAgain = () => {
      // The button would act on the plan that is shown, but another plan was just asked for.
      act.disabled = true;
      input.disabled = true;
      void this.remove(rows, choice);
    };
    const gone = plan.not_found_count > 0
      && el("p", { class: "quiet" }, `${counted(plan.not_found_count, "request")} of your selection ${plan.not_found_count === 1 ? "is" : "are"} not stored any more.`);
    this.put(
      title,
      [listed(rows), gone, this.learned(found, choice), this.truth(rows, found, choice, planAgain)],
      [typed, keep, act],
    );
    keep.focus();
  }

  /** The learnings from the requests, each with a checkbox. @param {any} found @param {Choice} choice */
  learned(found, choice) {
    const { reading } = this.page;
    /** @type {{learned: Linked[]}} */
    const { learned } = found;
    const said = told(found.plan.facts ?? []);
    const more = found.current - learned.length;
    if (more > 0) said.unshift([`${counted(more, "more learning")} from it ${more === 1 ? "stays" : "stay"}.`]);
    if (reading.can("list_learnings") && !learned.length && !said.length) said.push(["Nothing was learned from it."]);
    const boxes = learned.map((one) => {
      const box = el("input", { type: "checkbox", ".checked": choice.learned.has(one.learning_id), onchange: () => {
        if (box.checked) choice.learned.add(one.learning_id);
        else choice.learned.delete(one.learning_id);
      } });
      const others = one.kept.slice(0, 3).map((id) => reading.index.rows.get(id)?.words ?? "").filter(Boolean);
      return el("label", { class: "option" }, box, el("span", {}, stored(one.content || one.learning_id),
        one.kept.length > 0 && el("span", { class: "facts" }, `Also said in ${counted(one.kept.length, "request")} that you keep`,
          ...others.flatMap((words, at) => [at ? ", “" : ": “", ...withChips(words), "”"]))));
    });
    return (boxes.length > 0 || said.length > 0) && el("div", { class: "learned" },
      boxes.length > 0 && el("h3", {}, "Also take back what was learned from it"), ...boxes, ...said.map((one) => el("p", { class: "quiet" }, ...one)));
  }

  /** Whether the deletion can be undone, and the choice to keep no copy. @param {Row[]} rows @param {any} found @param {Choice} choice @param {() => void} planAgain */
  truth(rows, found, choice, planAgain) {
    const secret = rows.some((row) => row.secret || SECRETS.some((rule) => row.findings.has(rule)));
    const box = el("input", { type: "checkbox", ".checked": choice.erase, onchange: () => {
      choice.erase = box.checked;
      planAgain();
    } });
    return el("div", {},
      el("p", { class: "truth" }, this.page.doing.kept(choice.erase),
        found.plan.way_back?.state === "words" && " Restored requests have a new time, and no images and citations."),
      (this.page.reading.server?.recovery_days ?? 0) > 0 && el("label", { class: "option" }, box, el("span", {}, "Keep no copy",
        secret && el("span", { class: "facts" }, "The requests contain a secret, and a copy would keep it."))));
  }

  /** @param {Row[]} rows @param {any} found @param {Choice} choice */
  async act(rows, found, choice) {
    const { generation } = this;
    const { doing } = this.page;
    const total = found.plan.selected.requests;
    const bar = el("progress", { max: total, "aria-label": "Progress" });
    const said = el("p", { role: "status" }, "Looking up what is stored now.");
    this.put(`Delete ${counted(total, "request")}`, [said, bar, el("p", { class: "quiet" }, STAY)], [this.closing("Close")]);
    let done;
    try {
      done = await doing.act(rows, found, choice, (message) => {
        said.textContent = message;
        const [, reached] = /([\d,]+) of [\d,]+/.exec(message) ?? [];
        if (reached) bar.value = Number(reached.replaceAll(",", ""));
      });
    } catch (error) {
      if (generation === this.generation) this.unknown(rows, saidBy(error));
      await doing.done(rows, null);
      this.page.say("The deletion was not answered.");
      return;
    }
    const { result, receipts } = done;
    const answer = result.structuredContent;
    if (result.isError || !answer) {
      // The answer says whether anything was deleted.
      if (generation === this.generation) this.failed("The deletion failed", new Failure(result));
      await doing.done(rows, null);
      this.page.say("The deletion failed.");
      return;
    }
    const { receipt, plan } = answer;
    if (receipt) await doing.done(rows, receipt);
    const back = receipt && this.wayBack(receipts, rows);
    this.page.say(
      !receipt ? "Nothing was deleted." : notKnown(receipt) ? "Not known whether all was deleted." : `${counted(receipt.deleted.requests ?? 0, "request")} deleted.`,
      back ? () => back.click() : undefined,
    );
    if (generation !== this.generation) return;
    if (receipt) this.receipt(rows, receipts);
    else this.refused(rows, answer.status, plan);
  }

  /** @param {Row[]} rows @param {any[]} receipts */
  receipt(rows, receipts) {
    const [receipt] = receipts;
    const learnings = receipts.reduce((sum, one) => sum + (one.deleted.learnings ?? 0), 0);
    const { requests: deleted = 0 } = receipt.deleted;
    const unknown = notKnown(receipt);
    const title = !deleted && unknown
      ? `Not known whether ${number(unknown)} ${unknown === 1 ? "was" : "were"} deleted`
      : `${number(deleted)} deleted${unknown ? "" : ", checked by reading again"}`;
    const close = this.closing("Close");
    this.put(
      title,
      [
        learnings > 0 && el("p", {}, `${counted(learnings, "learning")} deleted with ${deleted === 1 ? "it" : "them"}.`),
        ...this.left(receipts),
        ...this.after(receipts),
      ],
      [unknown > 0 && this.button("Look again", () => void this.look(rows)), this.wayBack(receipts, rows), close],
    );
    close.focus();
  }

  /** A button that restores recovery copies, if there are any. @param {any[]} receipts @param {Row[]} [rows] all that an undo may restore */
  wayBack(receipts, rows) {
    const numbers = receipts.filter((one) => one.way_back?.until).map((one) => one.number);
    if (!numbers.length || !this.page.reading.can("restore_requests")) return null;
    return this.button("Undo", () => void this.putBack(numbers, rows));
  }

  /** @param {Row[]} rows @param {Child[]} why */
  unknown(rows, why) {
    this.put(
      `Not known whether ${number(rows.length)} ${rows.length === 1 ? "was" : "were"} deleted`,
      [el("p", { class: "note", role: "alert" }, ...why)],
      [this.button("Look again", () => void this.look(rows)), this.closing("Close")],
    );
  }

  /** Say what is stored now. @param {Row[]} rows */
  async look(rows) {
    const generation = ++this.generation;
    try {
      const there = await this.page.doing.look(rows);
      if (generation !== this.generation) return;
      const again = there > 0 && this.button("Look again", () => void this.look(rows));
      this.put(
        there ? `${number(there)} of ${counted(rows.length, "request")} ${there === 1 ? "is" : "are"} still stored` : `${number(rows.length)} deleted`,
        [el("p", {}, there ? "A running deletion may still delete more." : "None of them is stored any more.")], [again, this.closing("Close")],
      );
    } catch (error) {
      if (generation === this.generation) this.unknown(rows, saidBy(error));
    }
  }

  /** Undo deletions and show the progress. @param {number[]} numbers @param {Row[]} [rows] that were deleted, if they are known */
  async putBack(numbers, rows = []) {
    const generation = ++this.generation;
    const said = el("p", { role: "status" }, "Putting it back.");
    this.put("Putting it back", [said, el("progress", { "aria-label": "Progress" }), el("p", { class: "quiet" }, STAY)], [this.closing("Close")]);
    const done = await this.page.doing.undo(numbers, rows, (text) => {
      said.textContent = text;
    });
    if (generation !== this.generation) return;
    const close = this.closing("Close");
    this.put(done.title, done.notes.map((said) => el("p", {}, ...said)), [done.again && this.button("Continue", () => void this.putBack(numbers, rows)), close]);
    close.focus();
  }

  /** The deletions that can still be undone. */
  async past() {
    const title = "Recently deleted";
    this.put(title, [el("p", { class: "quiet", role: "status" }, "Looking for what can be put back.")], [this.closing("Close")]);
    const found = await this.answer(title, this.page.host.ask("restore_requests", {}));
    if (!found) return;
    const { clock } = this.page;
    const rows = (found.deletions ?? []).filter((/** @type {any} */ one) => one.copied).map((/** @type {any} */ one) => {
      const until = one.until ? ` · until ${clock.day(Date.parse(one.until))}` : "";
      return el("li", {}, el("span", {}, `${countedIn(one.copied)}, ${clock.moment(Date.parse(one.at))}${until}`),
        el("button", { class: "link", type: "button", onclick: () => void this.putBack([one.number]) }, "Undo"));
    });
    this.put(title, [rows.length ? el("ul", {}, ...rows) : el("p", {}, "Nothing that was deleted can be put back.")], [this.closing("Close")]);
  }

  /** Show what an export would contain, or write it and name the file. @param {boolean} [redact] */
  async export(redact) {
    const { doing, head } = this.page;
    const said = el("p", { class: "quiet", role: "status" }, "Looking up what is stored.");
    this.put("Export", [said], [this.closing("Close")]);
    const done = await this.answer("Export", doing.exported(redact, (message) => {
      said.textContent = message;
    }));
    if (!done) return;
    const { archive: { counts, unreadable = [], left_out = [], secrets }, file, link, next } = done;
    const what = counted(counts.requests ?? 0, "request");
    const extra = [
      el("ul", {}, ...Object.entries(counts).filter(([, count]) => count).map(([name, count]) => el("li", {}, el("span", {}, name), el("span", {}, number(count))))),
      ...[...(unreadable.length ? ["Some requests could not be read."] : []), ...left_out].map((text) => el("p", { class: "quiet" }, text)),
    ];
    const box = el("input", { type: "checkbox", ".checked": true });
    if (redact === undefined) {
      const option = el("label", { class: "option" }, box, el("span", {}, "Leave out what looks like a secret", el("span", { class: "facts" }, "The file contains personal data in any case: keep it private.")));
      const go = this.button("Export", () => void this.export(box.checked));
      this.put(`Export ${what}`, [el("p", {}, head.described() || "Everything that is stored."), option, ...extra], [this.closing("Close"), go]);
    } else this.put(`${what} exported`, [stored(file || link, "mono"), next && el("p", {}, next), el("p", {}, secrets), ...extra], [this.closing("Close")]);
  }

  /** @param {Row[]} rows @param {string} status @param {any} plan */
  refused(rows, status, plan) {
    this.put(
      "Nothing was deleted",
      [el("p", {}, refusedBecause(status)), ...this.told(plan.facts)],
      [this.closing("Close"), status === "changed" && this.button("Look again", () => void this.remove(rows))],
    );
  }

  /**
   * Ask about one item, act, and show the result.
   * @param {Small} asked @param {() => Promise<ToolResult>} act @param {(changed: number) => Promise<void>} acted
   */
  small(asked, act, acted) {
    const final = el("button", { class: "final", type: "button", onclick: () => void this.carryOut(asked, act, acted) }, asked.final);
    const keep = this.closing(asked.keep);
    const words = (/** @type {string} */ text) => el("p", { class: "text", dir: "auto" }, text);
    this.put(asked.title, [
      asked.after ? el("del", {}, words(asked.words)) : words(asked.words), asked.after && el("ins", {}, words(asked.after)),
      el("p", {}, asked.note), el("p", { class: "truth" }, this.page.doing.kept()),
    ], [keep, final]);
    keep.focus();
  }

  /** @param {Small} asked @param {() => Promise<ToolResult>} act @param {(changed: number) => Promise<void>} acted */
  async carryOut(asked, act, acted) {
    const generation = ++this.generation;
    this.put(asked.title, [el("progress", { "aria-label": "Progress" }), el("p", { class: "quiet" }, STAY)], [this.closing("Close")]);
    try {
      const result = await act();
      const receipt = result.structuredContent?.receipt ?? {};
      const changed = receipt.corrected || receipt.deleted?.learnings || receipt.deleted?.interactions || 0;
      const unknown = notKnown(receipt) ? "Not known whether it was done" : "Nothing was changed";
      const title = result.isError ? "It failed" : changed ? asked.done : unknown;
      if (changed) await acted(changed);
      const back = this.wayBack([receipt]);
      this.page.say(`${title}.`, back ? () => back.click() : undefined);
      if (generation !== this.generation) return;
      if (result.isError) this.failed(title, new Failure(result));
      else {
        const why = refusedBecause(result.structuredContent?.status ?? "");
        this.put(title, [why && el("p", {}, why), ...this.left([receipt]), ...this.after([receipt])], [back, this.closing("Close")]);
      }
    } catch (error) {
      if (generation === this.generation) this.failed("Not known whether it was done", error);
    }
  }

  /** Ask for a new text. @param {string} title @param {string} before @param {(after: string) => Promise<void>} then */
  edit(title, before, then) {
    const area = el("textarea", { "aria-label": "The new text", ".value": before });
    const go = this.button("Show the change", () => {
      go.disabled = true;
      void this.answer(title, then(area.value));
    });
    this.put(title, [area], [this.closing("Keep it"), go]);
    area.focus();
  }

  /** The keys of this page. */
  keys() {
    const keys = [
      ["/", "search"], ["↑ ↓", "go up and down"], ["→ ←", "open and close"], ["Enter", "read"], ["Space", "select"],
      ["Shift and click", "select all between"], ["Escape", "close the conversation"], ["?", "show this"],
    ];
    this.put("Keys", [el("ul", {}, ...keys.map(([key, does]) => el("li", {}, el("span", {}, does), el("kbd", {}, key))))], [this.closing("Close")]);
  }

  /** @param {string} title @param {unknown} error */
  failed(title, error) {
    this.put(title, [el("p", { class: "note", role: "alert" }, ...saidBy(error))], [this.closing("Close")]);
  }

  /** What else there is to know, as paragraphs. @param {Fact[]} [facts] */
  told(facts = []) {
    return told(facts).map((said) => el("p", {}, ...said));
  }

  /** What was not deleted, and why. @param {any[]} receipts */
  left(receipts) {
    /** @type {{why: string, count: number, ids?: string[]}[]} */
    const left = receipts.flatMap((one) => one.not_deleted ?? []);
    return left.map((one) =>
      el("div", {}, el("h3", {}, `${number(one.count)} ${wordsFor(one.why)}`),
        el("ul", {}, ...(one.ids ?? []).slice(0, LISTED).map((id) => el("li", {}, stored(id, "mono"))))));
  }

  /** What else there is to know of receipts. @param {any[]} receipts */
  after(receipts) {
    const state = receipts[0]?.way_back?.state;
    return [
      ...this.told(receipts.flatMap((one) => one.facts ?? [])),
      ...receipts.flatMap((one) => (one.failure ? [el("p", {}, ...saidBy(one.failure))] : [])),
      state === "unknown" ? el("p", { class: "note" }, "Earlier copies may still contain some of the deleted data.")
        : state && state !== "none" && el("p", {}, this.page.doing.kept(state === "erased")),
    ];
  }
}

/** How many items may be deleted or not, because reading again failed. @param {any} receipt @returns {number} */
function notKnown(receipt) {
  return (receipt.not_deleted ?? []).find((/** @type {{why: string}} */ one) => one.why === "unknown")?.count ?? 0;
}

/** Count the requests, or else the learnings or interactions. @param {{requests?: number, learnings?: number, interactions?: number}} counts */
export function countedIn({ requests = 0, learnings = 0, interactions = 0 }) {
  if (requests) return counted(requests, "request");
  return interactions ? counted(interactions, "interaction") : counted(learnings, "learning");
}

/** List requests to delete by session and user; the user with most of them comes last. @param {Row[]} rows */
function listed(rows) {
  /** @type {Map<string, {session: string, user: string, count: number, words: string}>} */
  const groups = new Map();
  /** @type {Map<string, number>} */
  const users = new Map();
  for (const row of rows) {
    const key = `${row.session}\n${row.user}`;
    const group = groups.get(key) ?? { session: row.session, user: row.user, count: 0, words: row.words };
    group.count += 1;
    group.words = row.words || group.words;
    groups.set(key, group);
    users.set(row.user, (users.get(row.user) ?? 0) + 1);
  }
  const [main] = [...users].sort((a, b) => b[1] - a[1])[0] ?? [""];
  const sorted = [...groups.values()].sort((a, b) => Number(a.user === main) - Number(b.user === main) || b.count - a.count);
  const several = users.size > 1;
  const left = sorted.length - LISTED;
  return el(
    "ul", {},
    ...sorted.slice(0, LISTED).map((group) =>
      el("li", { class: several && group.user !== main && "warn" },
        el("span", {}, several && stored(shortened(group.user)), several && ", ",
          group.words ? el("bdi", {}, ...withChips(group.words)) : stored(shortened(group.session, 28), "mono")),
        el("span", {}, number(group.count)))),
    left > 0 && el("li", { class: "quiet" }, `and ${number(left)} more`),
  );
}
