/** The sheet: what would be deleted, the person's yes, the receipt; and the text of an export. */

import { el, fill, stored } from "./dom.js";
import { counted, number, shortened } from "./format.js";

/** @typedef {import("./rows.js").Row} Row */
/** @typedef {import("./host.js").ToolResult} ToolResult */
/** @typedef {{title: string, notes: string[], again: boolean}} Undone `again` says whether another try may bring more */
/** @typedef {(number: number, onprogress: (text: string) => void) => Promise<Undone>} Undo */
/**
 * @typedef {object} Deleting what the sheet asks of the page
 * @property {(rows: Row[], learnings: boolean) => Promise<any>} plan the server's plan
 * @property {(rows: Row[], found: any, onprogress: (message: string) => void) => Promise<ToolResult>} act
 * @property {(rows: Row[], receipt: any) => Promise<void>} done told once the receipt is there
 * @property {Undo | null} undo undoes a deletion and says what came of it
 * @property {() => string} kept whether there will be a way back, in a sentence
 * @property {(text: string, undo?: () => void) => void} say in the summary line, with a way back beside it
 */

const LISTED = 10;
const STAY = "You can close this sheet. Keep the window open.";

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

  /** @param {string} title @param {import("./dom.js").Child[]} inside @param {import("./dom.js").Child[]} feet */
  put(title, inside, feet) {
    fill(
      this.dialog,
      el("h2", { id: "sheet-title", tabindex: -1 }, title),
      el("div", { class: "inside" }, ...inside),
      el("div", { class: "feet" }, ...feet),
    );
    if (!this.dialog.open) this.dialog.showModal();
  }

  /** @param {string} text @param {string} [class_] */
  closing(text, class_ = "plain") {
    return el("button", { class: class_, type: "button", onclick: () => this.close() }, text);
  }

  /** Plan, ask, act and show the receipt. @param {Row[]} rows @param {Deleting} page */
  async remove(rows, page, learnings = false) {
    const turn = ++this.turn;
    const title = `Delete ${counted(rows.length, "request")}`;
    if (!this.dialog.open)
      this.put(title, [el("p", { class: "quiet", role: "status" }, "Looking up what would go.")], [this.closing("Keep them")]);
    let found;
    try {
      found = await page.plan(rows, learnings);
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
    this.ask(rows, found, page, learnings);
  }

  /** @param {Row[]} rows @param {any} found @param {Deleting} page @param {boolean} learnings */
  ask(rows, found, page, learnings) {
    const { plan, type } = found;
    const title = `Delete ${counted(plan.goes.requests, "request")}`;
    const act = el("button", { class: "final", type: "button", onclick: () => void this.act(rows, found, page) }, title);
    const keep = this.closing("Keep them");
    /** @type {HTMLElement | null} */
    let typed = null;
    if (type !== null && type !== undefined) {
      const input = el("input", { type: "text", inputmode: "numeric", autocomplete: "off", "aria-label": `Type ${type} to delete` });
      act.disabled = true;
      input.addEventListener("input", () => {
        act.disabled = input.value.replace(/[,.\s]/g, "") !== String(type);
      });
      input.addEventListener("keydown", (event) => {
        if (event.key === "Enter") act.click();
      });
      typed = el("label", { class: "typed" }, `Type ${number(type)} to delete`, input);
    }
    /** @param {boolean} on */
    const planAgain = (on) => {
      // The button acts on the plan that is shown, which is not what was just asked for.
      act.disabled = true;
      const input = typed?.querySelector("input");
      if (input) input.disabled = true;
      void this.remove(rows, page, on);
    };
    const gone = plan.not_found_count
      ? el("p", { class: "quiet" }, `${counted(plan.not_found_count, "request")} of your selection is not stored any more.`)
      : null;
    this.put(
      title,
      [listed(rows), gone, ...learned(found, learnings, planAgain), el("p", { class: "truth" }, plan.way_back?.sentence ?? page.kept())],
      [typed, keep, act],
    );
    keep.focus();
  }

  /** @param {Row[]} rows @param {any} found @param {Deleting} page */
  async act(rows, found, page) {
    const turn = this.turn;
    const total = found.plan.goes.requests;
    const bar = el("progress", { max: total, "aria-label": "Progress" });
    const said = el("p", { role: "status" }, "Looking up what is stored now.");
    this.put(
      `Deleting ${counted(total, "request")}`,
      [said, bar, el("p", { class: "quiet" }, STAY)],
      [this.closing("Close")],
    );
    let result;
    try {
      result = await page.act(rows, found, (message) => {
        said.textContent = message;
        const [, done] = /([\d,]+) of [\d,]+/.exec(message) ?? [];
        if (done) bar.value = Number(done.replaceAll(",", ""));
      });
    } catch (error) {
      if (turn === this.turn) this.failed("Not known whether it was deleted", error);
      await page.done(rows, null);
      page.say("The deletion was not answered.");
      return;
    }
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
    const back = receipt && this.wayBack(receipt, page);
    page.say(
      receipt ? `${counted(receipt.deleted.requests ?? 0, "request")} deleted.` : "Nothing was deleted.",
      back ? () => back.click() : undefined,
    );
    if (turn !== this.turn) return;
    if (receipt) this.receipt(receipt, page);
    else this.refused(rows, answer.status, plan, page);
  }

  /** @param {any} receipt @param {Deleting} page */
  receipt(receipt, page) {
    /** @type {{why: string, count: number, ids?: string[]}[]} */
    const left = receipt.not_deleted ?? [];
    const { learnings = 0 } = receipt.deleted;
    const checked = left.some((one) => one.why === "unknown") ? "" : ", checked by reading again";
    const { requests: deleted = 0 } = receipt.deleted;
    const unknown = left.find((one) => one.why === "unknown")?.count ?? 0;
    const title = !deleted && unknown
      ? `Not known whether ${number(unknown)} ${unknown === 1 ? "was" : "were"} deleted`
      : `${number(deleted)} deleted${checked}`;
    const close = this.closing("Close");
    this.put(
      title,
      [
        learnings > 0 && el("p", {}, `${counted(learnings, "learning")} deleted with them.`),
        left.length > 0 && el("div", {}, ...left.map((one) =>
          el("div", {}, el("h3", {}, `${number(one.count)} ${wordsFor(one.why)}`),
            el("ul", {}, ...(one.ids ?? []).slice(0, LISTED).map((id) => el("li", {}, stored(id, "mono"))))))),
        ...after(receipt),
      ],
      [this.wayBack(receipt, page), close],
    );
    close.focus();
  }

  /** A button that puts a recovery copy back, where there is one. @param {any} receipt @param {Pick<Deleting, "undo">} page */
  wayBack(receipt, { undo }) {
    if (!receipt.way_back?.until || !undo) return null;
    return el("button", { class: "plain", type: "button", onclick: () => void this.putBack(receipt.number, undo) }, "Undo");
  }

  /** Undo a deletion before the person's eyes. @param {number} number @param {Undo} undo */
  async putBack(number, undo) {
    const turn = ++this.turn;
    const said = el("p", { role: "status" }, "Putting it back.");
    this.put("Putting it back", [said, el("progress", { "aria-label": "Progress" }), el("p", { class: "quiet" }, STAY)], [this.closing("Close")]);
    const done = await undo(number, (text) => {
      said.textContent = text;
    });
    if (turn !== this.turn) return;
    const close = this.closing("Close");
    this.put(done.title, done.notes.map((one) => el("p", {}, one)), [
      done.again && el("button", { class: "plain", type: "button", onclick: () => void this.putBack(number, undo) }, "Go on"),
      close,
    ]);
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
        el("button", { class: "link", type: "button", onclick: () => void this.putBack(one.number, page.undo) }, "Undo"));
    });
    this.put(title, [rows.length ? el("ul", {}, ...rows) : el("p", {}, "Nothing that was deleted can be put back.")], [this.closing("Close")]);
  }

  /** @param {Row[]} rows @param {string} status @param {any} plan @param {Deleting} page */
  refused(rows, status, plan, page) {
    const again = status === "changed";
    this.put(
      "Nothing was deleted",
      [el("p", {}, lead(plan.why))],
      [this.closing("Close"), again && el("button", { class: "plain", type: "button", onclick: () => void this.remove(rows, page) }, "Look again")],
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
        const back = this.wayBack(receipt, page);
        page.say(head, back ? () => back.click() : undefined);
        if (turn !== this.turn) return;
        if (result.isError) this.failed("It failed", new Error(textOf(result)));
        else
          this.put(learnings || interactions ? asked.done : "Nothing was deleted", [el("p", {}, head), ...after(receipt)], [back, this.closing("Close")]);
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
      ["/", "search"], ["↑ ↓", "go up and down"], ["→ ←", "open and close"], ["Space", "select"],
      ["Shift and click", "select all between"], ["?", "show this"],
    ];
    this.put("Keys", [el("ul", {}, ...keys.map(([key, does]) => el("li", {}, el("span", {}, does), el("kbd", {}, key))))], [this.closing("Close")]);
  }

  /** @param {string} title @param {unknown} error */
  failed(title, error) {
    this.put(title, [el("p", { class: "note", role: "alert" }, messageOf(error))], [this.closing("Close")]);
  }

  /** Text to copy, where the host saves no files. @param {string} text @param {number} count */
  copy(text, count) {
    this.turn += 1;
    const area = el("textarea", { readonly: true, "aria-label": "The export", ".value": text, spellcheck: "false" });
    this.put(
      `Export ${counted(count, "request")}`,
      [el("p", {}, "This host saves no files from a page. Copy the text: one request a line, as JSON."), area],
      [this.closing("Close"), el("button", {
        class: "plain", type: "button",
        onclick: async () => {
          area.select();
          try {
            await navigator.clipboard.writeText(text);
          } catch {
            document.execCommand("copy");
          }
        },
      }, "Copy")],
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

/** What a receipt says besides what was deleted. @param {any} receipt */
function after(receipt) {
  return [
    ...(receipt.remains ?? []).map((/** @type {string} */ one) => el("p", {}, one)),
    receipt.way_back && el("p", {}, receipt.way_back.sentence),
    receipt.next && el("p", { class: "note" }, receipt.next),
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
          group.words ? stored(group.words) : stored(shortened(group.session, 28), "mono")),
        el("span", {}, number(group.count)))),
    left > 0 && el("li", { class: "quiet" }, `and ${number(left)} more`),
  );
}

/**
 * @param {any} found
 * @param {boolean} chosen
 * @param {(on: boolean) => void} onchange
 * @returns {HTMLElement[]}
 */
function learned({ plan, learnings = 0 }, chosen, onchange) {
  const heading = el("h3", {}, "What was learned");
  const stays = (plan.remains ?? []).map((/** @type {string} */ one) => el("p", { class: "quiet" }, one));
  if (!learnings && !chosen) return stays.length ? [el("div", {}, ...stays)] : [];
  const box = el("input", { type: "checkbox", ".checked": chosen, onchange: () => onchange(box.checked) });
  return [el("div", {}, heading, el("label", { class: "option" }, box, el("span", {}, `Also delete what was learned from it (${counted(learnings, "learning")})`)), ...stays)];
}

/** @param {ToolResult} result */
export function textOf(result) {
  return (result.content ?? []).map((part) => part.text ?? "").join("\n").trim();
}

/** @param {unknown} error */
export function messageOf(error) {
  return error instanceof Error ? error.message : String(error);
}
