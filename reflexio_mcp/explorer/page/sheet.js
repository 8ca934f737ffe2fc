/** The sheet: what would be deleted, the person's yes, the receipt; and the text of an export. */

import { el, fill, stored, withChips } from "./dom.js";
import { counted, forPeople, number, shortened } from "./format.js";
import { messageOf, textOf } from "./host.js";

/** @typedef {import("./rows.js").Row} Row */
/** @typedef {import("./host.js").ToolResult} ToolResult */
/** @typedef {import("./dom.js").Child} Child */
/** @typedef {{learning_id: string, user_id: string, content: string, kept: string[]}} Fed `kept`: requests that stay and fed it too */
/** @typedef {{erase: boolean, learned: Set<string>}} Choice `learned` are ids of learnings that go too */
/** @typedef {{title: string, notes: string[], again: boolean}} Undone `again` says whether another try may bring more */
/** @typedef {(numbers: number[], onprogress: (text: string) => void) => Promise<Undone>} Undo */
/** @typedef {{result: ToolResult, receipts: any[]}} Done one receipt for the requests, and those of learnings that were chosen */
/**
 * @typedef {object} Deleting what the sheet asks of the page
 * @property {(rows: Row[], choice: Choice) => Promise<any>} plan the server's plan
 * @property {(rows: Row[], found: any, choice: Choice, onprogress: (message: string) => void) => Promise<Done>} act
 * @property {(rows: Row[], receipt: any) => Promise<void>} done told once the receipt is there
 * @property {(rows: Row[]) => Promise<number>} look how many are stored now
 * @property {(id: string) => string} wordsOf the first words of a request, if they are known
 * @property {number} days how long a copy is kept
 * @property {boolean} learns whether anything is learned here
 * @property {Undo | null} undo undoes deletions and says what came of it
 * @property {(erase?: boolean) => string} kept whether there will be a way back, in a sentence
 * @property {(text: string, undo?: () => void) => void} say in the summary line, with a way back beside it
 */

const LISTED = 10;
const STAY = "You can close this sheet. Keep the window open.";
/** Findings that a copy would keep. */
const SECRETS = ["probable-secret", "possible-secret"];

export class Sheet {
  /** @param {HTMLDialogElement} dialog */
  constructor(dialog) {
    this.dialog = dialog;
    /** Grows with each opening, so that an answer to an earlier one is not shown in a later one. */
    this.turn = 0;
    dialog.addEventListener("close", () => {
      // It may be open again by now.
      if (!dialog.open) this.turn += 1;
    });
  }

  close() {
    this.dialog.close();
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
    return this.button(text, () => this.close());
  }

  /** @param {string} text @param {() => void} onclick */
  button(text, onclick) {
    return el("button", { class: "plain", type: "button", onclick }, text);
  }

  /** Plan, ask, act and show the receipt. @param {Row[]} rows @param {Deleting} page */
  async remove(rows, page, /** @type {Choice} */ choice = { erase: false, learned: new Set() }) {
    const turn = ++this.turn;
    const title = `Delete ${counted(rows.length, "request")}`;
    if (!this.dialog.open)
      this.put(title, [el("p", { class: "quiet", role: "status" }, "Looking up what would go.")], [this.closing("Keep them")]);
    let found;
    try {
      found = await page.plan(rows, choice);
    } catch (error) {
      if (turn === this.turn) this.failed(title, error);
      return;
    }
    if (turn !== this.turn) return;
    if (!found.plan.goes.requests) {
      this.put("Nothing to delete", [el("p", {}, "None of these requests is stored any more.")], [this.closing("Close")]);
      await page.done(rows, { deleted: {} });
      return;
    }
    if (found.refused) {
      this.put("Nothing can be deleted here", [el("p", {}, lead(found.plan.why)), el("p", {}, found.plan.next)], [this.closing("Close")]);
      return;
    }
    this.ask(rows, found, page, choice);
  }

  /** @param {Row[]} rows @param {any} found @param {Deleting} page @param {Choice} choice */
  ask(rows, found, page, choice) {
    const { plan, type } = found;
    const title = `Delete ${counted(plan.goes.requests, "request")}`;
    const act = el("button", { class: "final", type: "button", onclick: () => void this.act(rows, found, page, choice) }, title);
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
      // The button acts on the plan that is shown, which is not what was just asked for.
      act.disabled = true;
      input.disabled = true;
      void this.remove(rows, page, choice);
    };
    const gone = plan.not_found_count > 0
      && el("p", { class: "quiet" }, `${counted(plan.not_found_count, "request")} of your selection ${plan.not_found_count === 1 ? "is" : "are"} not stored any more.`);
    this.put(
      title,
      [listed(rows), gone, this.learned(found, choice, page), this.truth(rows, found, choice, page, planAgain)],
      [typed, keep, act],
    );
    keep.focus();
  }

  /** What was learned, each with its own box. @param {any} found @param {Choice} choice @param {Deleting} page */
  learned(found, choice, page) {
    /** @type {{learned: Fed[]}} */
    const { learned } = found;
    /** @type {string[]} */
    const said = (found.plan.remains ?? []).map(forPeople).filter(Boolean);
    const more = found.learnings - learned.length;
    if (more > 0) said.unshift(`${number(more)} more that were learned from it stay.`);
    if (page.learns && !learned.length && !said.length) said.push("Nothing was learned from it.");
    const boxes = learned.map((one) => {
      const box = el("input", { type: "checkbox", ".checked": choice.learned.has(one.learning_id), onchange: () => {
        if (box.checked) choice.learned.add(one.learning_id);
        else choice.learned.delete(one.learning_id);
      } });
      const others = one.kept.slice(0, 3).map((id) => page.wordsOf(id)).filter(Boolean).map((words) => `“${shortened(words, 60)}”`);
      return el("label", { class: "option" }, box, el("span", {}, stored(one.content || one.learning_id),
        one.kept.length > 0 && el("span", { class: "facts" },
          `Also learned from ${counted(one.kept.length, "request")} that you keep${others.length ? `: ${others.join(", ")}` : ""}`)));
    });
    return (boxes.length > 0 || said.length > 0) && el("div", { class: "learned" },
      boxes.length > 0 && el("h3", {}, "Also take back what was learned from it"), ...boxes, ...said.map((one) => el("p", { class: "quiet" }, one)));
  }

  /**
   * Whether there is a way back, and the choice to have none.
   * @param {Row[]} rows @param {any} found @param {Choice} choice @param {Deleting} page @param {() => void} planAgain
   */
  truth(rows, found, choice, page, planAgain) {
    const secret = rows.some((row) => row.secret || SECRETS.some((rule) => row.findings.has(rule)));
    const box = el("input", { type: "checkbox", ".checked": choice.erase, onchange: () => {
      choice.erase = box.checked;
      planAgain();
    } });
    return el("div", {},
      el("p", { class: "truth" }, page.kept(choice.erase),
        found.plan.way_back?.state === "words" && " It comes back with a new time, and without images and citations."),
      page.days > 0 && el("label", { class: "option" }, box, el("span", {}, "Keep no copy",
        secret && el("span", { class: "facts" }, "There is a secret in this, and a copy would keep it."))));
  }

  /** @param {Row[]} rows @param {any} found @param {Deleting} page @param {Choice} choice */
  async act(rows, found, page, choice) {
    const { turn } = this;
    const total = found.plan.goes.requests;
    const bar = el("progress", { max: total, "aria-label": "Progress" });
    const said = el("p", { role: "status" }, "Looking up what is stored now.");
    this.put(`Deleting ${counted(total, "request")}`, [said, bar, el("p", { class: "quiet" }, STAY)], [this.closing("Close")]);
    let done;
    try {
      done = await page.act(rows, found, choice, (message) => {
        said.textContent = message;
        const [, reached] = /([\d,]+) of [\d,]+/.exec(message) ?? [];
        if (reached) bar.value = Number(reached.replaceAll(",", ""));
      });
    } catch (error) {
      if (turn === this.turn) this.unknown(rows, page, messageOf(error));
      await page.done(rows, null);
      page.say("The deletion was not answered.");
      return;
    }
    const { result, receipts } = done;
    const answer = result.structuredContent;
    if (result.isError || !answer) {
      // Its words say whether anything was deleted.
      if (turn === this.turn) this.failed("The deletion failed", new Error(textOf(result)));
      await page.done(rows, null);
      page.say(textOf(result));
      return;
    }
    const { receipt, plan } = answer;
    if (receipt) await page.done(rows, receipt);
    const back = receipt && this.wayBack(receipts, page);
    page.say(
      receipt ? `${counted(receipt.deleted.requests ?? 0, "request")} deleted.` : "Nothing was deleted.",
      back ? () => back.click() : undefined,
    );
    if (turn !== this.turn) return;
    if (receipt) this.receipt(rows, receipts, page);
    else this.refused(rows, answer.status, plan, page);
  }

  /** @param {Row[]} rows @param {any[]} receipts @param {Deleting} page */
  receipt(rows, receipts, page) {
    const [receipt] = receipts;
    /** @type {{why: string, count: number, ids?: string[]}[]} */
    const left = receipts.flatMap((one) => one.not_deleted ?? []);
    const learnings = receipts.reduce((sum, one) => sum + (one.deleted.learnings ?? 0), 0);
    const { requests: deleted = 0 } = receipt.deleted;
    const unknown = (receipt.not_deleted ?? []).find((/** @type {{why: string}} */ one) => one.why === "unknown")?.count ?? 0;
    const title = !deleted && unknown
      ? `Not known whether ${number(unknown)} ${unknown === 1 ? "was" : "were"} deleted`
      : `${number(deleted)} deleted${unknown ? "" : ", checked by reading again"}`;
    const close = this.closing("Close");
    this.put(
      title,
      [
        learnings > 0 && el("p", {}, `${counted(learnings, "learning")} deleted with ${deleted === 1 ? "it" : "them"}.`),
        left.length > 0 && el("div", {}, ...left.map((one) =>
          el("div", {}, el("h3", {}, `${number(one.count)} ${wordsFor(one.why)}`),
            el("ul", {}, ...(one.ids ?? []).slice(0, LISTED).map((id) => el("li", {}, stored(id, "mono"))))))),
        ...after(receipts, page),
      ],
      [unknown > 0 && this.button("Look again", () => void this.look(rows, page)), this.wayBack(receipts, page), close],
    );
    close.focus();
  }

  /** A button that puts recovery copies back, where there are any. @param {any[]} receipts @param {Pick<Deleting, "undo">} page */
  wayBack(receipts, { undo }) {
    const numbers = receipts.filter((one) => one.way_back?.until).map((one) => one.number);
    if (!numbers.length || !undo) return null;
    return this.button("Undo", () => void this.putBack(numbers, undo));
  }

  /** @param {Row[]} rows @param {Deleting} page @param {string} why */
  unknown(rows, page, why) {
    this.put(
      `Not known whether ${number(rows.length)} ${rows.length === 1 ? "was" : "were"} deleted`,
      [el("p", { class: "note", role: "alert" }, forPeople(why) || why)],
      [this.button("Look again", () => void this.look(rows, page)), this.closing("Close")],
    );
  }

  /** Say what is stored now. @param {Row[]} rows @param {Deleting} page */
  async look(rows, page) {
    const turn = ++this.turn;
    try {
      const there = await page.look(rows);
      if (turn !== this.turn) return;
      const again = there > 0 && this.button("Look again", () => void this.look(rows, page));
      this.put(
        there ? `${number(there)} of ${counted(rows.length, "request")} ${there === 1 ? "is" : "are"} still stored` : `${number(rows.length)} deleted`,
        [el("p", {}, there ? "A deletion that goes on may still take more." : "None of them is stored any more.")], [again, this.closing("Close")],
      );
    } catch (error) {
      if (turn === this.turn) this.unknown(rows, page, messageOf(error));
    }
  }

  /** Undo deletions before the person's eyes. @param {number[]} numbers @param {Undo} undo */
  async putBack(numbers, undo) {
    const turn = ++this.turn;
    const said = el("p", { role: "status" }, "Putting it back.");
    this.put("Putting it back", [said, el("progress", { "aria-label": "Progress" }), el("p", { class: "quiet" }, STAY)], [this.closing("Close")]);
    const done = await undo(numbers, (text) => {
      said.textContent = text;
    });
    if (turn !== this.turn) return;
    const close = this.closing("Close");
    this.put(done.title, done.notes.map((one) => el("p", {}, one)), [done.again && this.button("Go on", () => void this.putBack(numbers, undo)), close]);
    close.focus();
  }

  /**
   * The deletions that can still be undone.
   * @param {{list: () => Promise<any[]>, undo: Undo, moment: (at: number) => string, day: (at: number) => string}} page
   */
  async past(page) {
    const turn = ++this.turn;
    const title = "Recently deleted";
    this.put(title, [el("p", { class: "quiet", role: "status" }, "Looking for what can be put back.")], [this.closing("Close")]);
    let those;
    try {
      those = await page.list();
    } catch (error) {
      if (turn === this.turn) this.failed(title, error);
      return;
    }
    if (turn !== this.turn) return;
    const rows = those.map((one) => {
      const { requests = 0, learnings = 0 } = one.copied;
      const what = requests || !learnings ? counted(requests, "request") : counted(learnings, "learning");
      const until = one.until ? ` · until ${page.day(Date.parse(one.until))}` : "";
      return el("li", {}, el("span", {}, `${what}, ${page.moment(Date.parse(one.at))}${until}`),
        el("button", { class: "link", type: "button", onclick: () => void this.putBack([one.number], page.undo) }, "Undo"));
    });
    this.put(title, [rows.length ? el("ul", {}, ...rows) : el("p", {}, "Nothing that was deleted can be put back.")], [this.closing("Close")]);
  }

  /** @param {Row[]} rows @param {string} status @param {any} plan @param {Deleting} page */
  refused(rows, status, plan, page) {
    this.put(
      "Nothing was deleted",
      [el("p", {}, status === "changed" ? "What is stored has changed since you looked." : lead(plan.why))],
      [this.closing("Close"), status === "changed" && this.button("Look again", () => void this.remove(rows, page))],
    );
  }

  /**
   * Ask about one thing, act, and say what came of it.
   * @param {{title: string, words: string, note: string, keep: string, final: string, done: string}} asked
   * @param {Pick<Deleting, "undo" | "kept" | "say"> & {act: () => Promise<ToolResult>, acted: (deleted: number) => Promise<void>}} page
   */
  async small(asked, page) {
    const turn = ++this.turn;
    const act = el("button", { class: "final", type: "button", onclick: async () => {
      this.put(asked.title, [el("progress", { "aria-label": "Progress" }), el("p", { class: "quiet" }, STAY)], [this.closing("Close")]);
      try {
        const result = await page.act();
        const receipt = result.structuredContent?.receipt ?? {};
        const { learnings = 0, interactions = 0 } = receipt.deleted ?? {};
        const [head = ""] = textOf(result).split("\n");
        if (learnings || interactions) await page.acted(learnings || interactions);
        const back = this.wayBack([receipt], page);
        page.say(head, back ? () => back.click() : undefined);
        if (turn !== this.turn) return;
        if (result.isError) this.failed("It failed", new Error(textOf(result)));
        else
          this.put(learnings || interactions ? asked.done : "Nothing was deleted", [el("p", {}, head), ...after([receipt], page)], [back, this.closing("Close")]);
      } catch (error) {
        if (turn === this.turn) this.failed("Not known whether it was deleted", error);
      }
    } }, asked.final);
    const keep = this.closing(asked.keep);
    this.put(
      asked.title,
      [el("p", { class: "text", dir: "auto" }, asked.words), el("p", {}, asked.note), el("p", { class: "truth" }, page.kept())],
      [keep, act],
    );
    keep.focus();
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
    const said = messageOf(error);
    this.put(title, [el("p", { class: "note", role: "alert" }, forPeople(said) || said)], [this.closing("Close")]);
  }

  /** Text to copy, where the host saves no files. @param {string} text @param {number} count @param {() => void} copy */
  copy(text, count, copy) {
    this.turn += 1;
    const area = el("textarea", { readonly: true, "aria-label": "The export", ".value": text, spellcheck: "false" });
    this.put(
      `Export ${counted(count, "request")}`,
      [el("p", {}, "This host saves no files from a page. Copy the text: one request a line, as JSON."), area],
      [this.closing("Close"), this.button("Copy", copy)],
    );
    area.select();
  }
}

/** Why nothing is deleted, without the last sentence, which announces a list. @param {string} why */
function lead(why) {
  return why.replace(/\. [^.]*:$/, ".").replace(/:$/, ".");
}

/** What became of what was not deleted, or not restored. @type {Record<string, string>} */
const WORDS = {
  still_present: "still stored",
  not_allowed: "not allowed by the service",
  changed: "changed since, left alone",
  unknown: "not known, because reading again failed",
  gone_before: "already gone",
  not_found: "not found",
  already_there: "stored already",
  id_taken: "not restored, because something else has its id",
  not_restorable: "cannot be stored again",
  left: "not restored yet",
};

/** @param {string} why */
export function wordsFor(why) {
  return WORDS[why] ?? why.replaceAll("_", " ");
}

/** What receipts say besides what was deleted. @param {any[]} receipts @param {Pick<Deleting, "kept">} page */
function after(receipts, page) {
  const said = new Set(receipts.flatMap((one) => (one.remains ?? []).map(forPeople).filter(Boolean)));
  const state = receipts[0]?.way_back?.state;
  return [
    ...[...said].map((one) => el("p", {}, one)),
    state === "unknown" ? el("p", { class: "note" }, "Earlier copies may still hold some of it.") : state && state !== "none" && el("p", {}, page.kept(state === "erased")),
    receipts.some((one) => one.next) && el("p", { class: "note" }, "It is not finished: delete the rest again."),
  ];
}

/** What goes, by session and user, somebody else's first. @param {Row[]} rows */
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
