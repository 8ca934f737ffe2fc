/** The sheet: what would be deleted, the person's yes, the receipt; and the text of an export. */

import { el, fill, stored } from "./dom.js";
import { counted, number, shortened } from "./format.js";

/** @typedef {import("./rows.js").Row} Row */
/** @typedef {import("./host.js").ToolResult} ToolResult */
/**
 * @typedef {object} Deleting what the sheet asks of the page
 * @property {(rows: Row[], learnings: boolean) => Promise<any>} plan the server's plan
 * @property {(rows: Row[], plan: any, onprogress: (message: string) => void) => Promise<ToolResult>} act
 * @property {(rows: Row[], receipt: any) => Promise<void>} done told once the receipt is there
 * @property {((copy: string) => Promise<string>) | null} undo puts a recovery copy back and says what came of it
 * @property {(until?: number) => string} kept whether there is a way back, in a sentence
 * @property {(text: string) => void} say
 */

const LISTED = 10;

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
    let plan;
    try {
      plan = await page.plan(rows, learnings);
    } catch (error) {
      if (turn === this.turn) this.failed(title, error);
      return;
    }
    if (turn !== this.turn) return;
    if (!plan.requests) {
      this.put("Nothing to delete", [el("p", {}, "None of these requests is stored any more.")], [this.closing("Close")]);
      await page.done(rows, { status: "complete", deleted: 0, counts: {} });
      return;
    }
    this.ask(rows, plan, page, learnings);
  }

  /** @param {Row[]} rows @param {any} plan @param {Deleting} page @param {boolean} learnings */
  ask(rows, plan, page, learnings) {
    const title = `Delete ${counted(plan.requests, "request")}`;
    const act = el("button", { class: "final", type: "button", onclick: () => void this.act(rows, plan, page) }, title);
    const keep = this.closing("Keep them");
    /** @type {HTMLElement | null} */
    let typed = null;
    if (plan.type !== null && plan.type !== undefined) {
      const input = el("input", { type: "text", inputmode: "numeric", autocomplete: "off", "aria-label": `Type ${plan.type} to delete` });
      act.disabled = true;
      input.addEventListener("input", () => {
        act.disabled = input.value.replace(/[,.\s]/g, "") !== String(plan.type);
      });
      typed = el("label", { class: "typed" }, `Type ${number(plan.type)} to delete`, input);
    }
    /** @param {boolean} on */
    const planAgain = (on) => {
      // The button acts on the plan that is shown, which is not what was just asked for.
      act.disabled = true;
      const input = typed?.querySelector("input");
      if (input) input.disabled = true;
      void this.remove(rows, page, on);
    };
    const gone = plan.not_found
      ? el("p", { class: "quiet" }, `${counted(plan.not_found, "request")} of your selection is not stored any more.`)
      : null;
    this.put(
      title,
      [listed(rows), gone, ...learned(plan, learnings, planAgain), el("p", { class: "truth" }, page.kept())],
      [typed, keep, act],
    );
    keep.focus();
  }

  /** @param {Row[]} rows @param {any} plan @param {Deleting} page */
  async act(rows, plan, page) {
    const turn = this.turn;
    const bar = el("progress", { max: plan.requests, "aria-label": "Progress" });
    const said = el("p", { role: "status" }, `Deleting ${counted(plan.requests, "request")}.`);
    this.put(
      `Deleting ${counted(plan.requests, "request")}`,
      [said, bar, el("p", { class: "quiet" }, "You can close this: the deletion goes on, and its receipt will be in the status.")],
      [this.closing("Close")],
    );
    let result;
    try {
      result = await page.act(rows, plan, (message) => {
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
    const receipt = result.structuredContent;
    if (result.isError || !receipt) {
      // Its words say whether anything was deleted.
      if (turn === this.turn) this.failed("The deletion failed", new Error(textOf(result)));
      await page.done(rows, null);
      page.say(textOf(result));
      return;
    }
    const finished = receipt.status === "complete" || receipt.status === "incomplete";
    if (finished) await page.done(rows, receipt);
    page.say(finished ? `${counted(receipt.deleted, "request")} deleted.` : "Nothing was deleted.");
    if (turn !== this.turn) return;
    if (finished) this.receipt(receipt, page);
    else this.refused(rows, receipt, result, page);
  }

  /** @param {any} receipt @param {Deleting} page */
  receipt(receipt, page) {
    const counts = receipt.counts ?? {};
    const checked = counts.unknown ? "" : ", checked by reading again";
    const [back, said] = this.undo(receipt, page);
    const others = Object.entries(WORDS).filter(([name]) => counts[name]);
    const close = this.closing("Close");
    this.put(
      `${number(receipt.deleted)} deleted${checked}`,
      [
        others.length > 0 && el("div", {}, ...others.map(([name, words]) =>
          el("div", {}, el("h3", {}, `${number(counts[name])} ${words}`),
            el("ul", {}, ...(receipt.outcomes?.[name] ?? []).slice(0, LISTED).map((/** @type {string} */ id) => el("li", {}, stored(id, "mono"))))))),
        receipt.failure && el("p", { class: "note" }, `It stopped: ${receipt.failure}`),
        receipt.survives && el("p", {}, receipt.survives),
        receipt.copy_kept_until && el("p", {}, page.kept(Date.parse(receipt.copy_kept_until))),
        ...(receipt.problems ?? []).map((/** @type {string} */ one) => el("p", { class: "note" }, one)),
        receipt.next && el("p", { class: "note" }, receipt.next),
        said,
      ],
      [back, close],
    );
    close.focus();
  }

  /**
   * A button that puts a recovery copy back, where there is one, and what came of it.
   * @param {any} receipt
   * @param {Pick<Deleting, "undo">} page
   * @returns {[HTMLButtonElement | null, HTMLElement]}
   */
  undo(receipt, { undo }) {
    const said = el("p", { role: "status", class: "quiet" });
    if (!receipt.copy_id || !undo) return [null, said];
    const back = el("button", { class: "plain", type: "button" }, "Undo");
    back.addEventListener("click", async () => {
      back.disabled = true;
      said.textContent = "Putting it back.";
      try {
        said.textContent = await undo(receipt.copy_id);
      } catch (error) {
        said.textContent = messageOf(error);
        back.disabled = false;
      }
    });
    return [back, said];
  }

  /** @param {Row[]} rows @param {any} receipt @param {ToolResult} result @param {Deleting} page */
  refused(rows, receipt, result, page) {
    const lead = textOf(result).split("\n")[0].replace(/ This would have gone:$| Now this would go:$| This would go:$/, "");
    const again = receipt.status === "changed";
    this.put(
      "Nothing was deleted",
      [el("p", {}, lead)],
      [this.closing("Close"), again && el("button", { class: "plain", type: "button", onclick: () => void this.remove(rows, page) }, "Look again")],
    );
  }

  /**
   * Take back one learning.
   * @param {import("./learned.js").Learning} learning
   * @param {Pick<Deleting, "undo" | "kept" | "say"> & {act: () => Promise<ToolResult>, done: (deleted: number) => Promise<void>}} page
   */
  async takeBack(learning, page) {
    const turn = ++this.turn;
    const act = el("button", {
      class: "final", type: "button",
      onclick: async () => {
        this.put("Taking it back", [el("progress", { "aria-label": "Progress" })], [this.closing("Close")]);
        try {
          const result = await page.act();
          const receipt = result.structuredContent ?? {};
          const [head] = textOf(result).split("\n");
          if (receipt.status === "complete" || receipt.status === "incomplete") await page.done(receipt.deleted ?? 0);
          page.say(head ?? "");
          if (turn !== this.turn) return;
          if (result.isError) {
            this.failed("Taking it back failed", new Error(textOf(result)));
            return;
          }
          const [back, said] = this.undo(receipt, page);
          this.put(receipt.deleted ? "Taken back" : "Nothing was taken back", [
            el("p", {}, head), receipt.survives && el("p", { class: "quiet" }, receipt.survives),
            receipt.failure && el("p", { class: "note" }, `It stopped: ${receipt.failure}`),
            receipt.copy_kept_until && el("p", {}, page.kept(Date.parse(receipt.copy_kept_until))),
            receipt.next && el("p", { class: "note" }, receipt.next), said,
          ], [back, this.closing("Close")]);
        } catch (error) {
          if (turn === this.turn) this.failed("Not known whether it was taken back", error);
        }
      },
    }, "Take it back");
    const keep = this.closing("Keep it");
    this.put(
      "Take back what was learned",
      [el("p", { class: "text", dir: "auto" }, learning.content ?? learning.learning_id),
        el("p", {}, "The requests stay. While they are stored it can be learned from them again."),
        el("p", { class: "truth" }, page.kept())],
      [keep, act],
    );
    keep.focus();
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

/** What became of requests that were not deleted. @type {Record<string, string>} */
const WORDS = {
  still_present: "still stored",
  not_allowed: "not allowed by the service",
  changed: "changed since, left alone",
  unknown: "not known, because reading again failed",
  not_found: "already gone",
};

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
 * @param {any} plan
 * @param {boolean} chosen
 * @param {(on: boolean) => void} onchange
 * @returns {HTMLElement[]}
 */
function learned(plan, chosen, onchange) {
  const heading = el("h3", {}, "What was learned");
  if (!plan.can_take_back && !chosen) return [el("div", {}, heading, el("p", {}, plan.survives))];
  const box = el("input", { type: "checkbox", ".checked": chosen, onchange: () => onchange(box.checked) });
  return [el("div", {}, heading, el("label", { class: "option" }, box, el("span", {}, `Also take back ${taken(plan.learned ?? {})}`)), el("p", { class: "quiet" }, plan.survives))];
}

/** @param {{profiles?: number, user_playbooks?: number}} learned */
function taken(learned) {
  const parts = [
    learned.profiles && counted(learned.profiles, "profile"),
    learned.user_playbooks && counted(learned.user_playbooks, "playbook"),
  ];
  return parts.filter(Boolean).join(" and ") || "what was learned";
}

/** @param {ToolResult} result */
export function textOf(result) {
  return (result.content ?? []).map((part) => part.text ?? "").join("\n").trim();
}

/** @param {unknown} error */
export function messageOf(error) {
  return error instanceof Error ? error.message : String(error);
}
