/** What a person does with stored data: delete, take back, correct, undo, export. */

import { el } from "./dom.js";
import { counted, DAY_MS, number } from "./format.js";
import { Failure, messageOf, saidBy } from "./host.js";
import { asked } from "./reading.js";
import { countedIn } from "./sheet.js";
import { finished, told, wordsFor } from "./words.js";

/** @typedef {import("./dom.js").Child} Child */
/** @typedef {import("./rows.js").Row} Row */
/** @typedef {import("./conversation.js").Learning} Learning */
export class Doing {
  /** @param {import("./main.js").Page} page */
  constructor(page) {
    this.page = page;
  }

  /** What the server would delete. @param {Row[]} rows @param {{erase: boolean}} choice */
  async plan(rows, { erase }) {
    return (await this.page.reading.ask("plan", { request_ids: idsOf(rows), erase })).plan;
  }

  /**
   * Delete what the person has agreed to.
   * @param {Row[]} rows @param {any} found the plan @param {import("./sheet.js").Choice} choice
   * @param {(message: string) => void} onprogress
   * @returns {Promise<import("./sheet.js").Done>}
   */
  async act(rows, found, choice, onprogress) {
    const { host } = this.page;
    const chosen = found.learned.filter((/** @type {any} */ one) => choice.learned.has(one.learning_id));
    // All chosen learnings are part of one deletion, so that an undo restores them linked to their requests.
    const every = chosen.length > 0 && chosen.length === found.current;
    const given = { request_ids: idsOf(rows), ...(every ? { include_learnings: true } : {}), ...(choice.erase ? { erase: true } : {}) };
    let { confirm } = found.plan;
    let result = every || !confirm ? await host.call("delete_requests", given, onprogress) : null;
    const { plan } = result?.structuredContent ?? {};
    // If the plan differs from the plan that the person agreed to, nothing is deleted.
    if (every) confirm = plan?.selected.requests === found.plan.selected.requests && plan?.selected.learnings === found.learnings ? plan.confirm : "";
    if (confirm) result = await host.call("delete_requests", { ...given, confirm }, onprogress);
    if (!result) throw new Error("The deletion was not asked for.");
    const { receipt } = result.structuredContent ?? {};
    const rest = every || !receipt || !finished(receipt) ? [] : chosen;
    return { result, receipts: [receipt, ...await this.deleteLearnings(rest, choice.erase)] };
  }

  /** Show what is left after a deletion. @param {Row[]} rows @param {any} receipt */
  async done(rows, receipt) {
    const { conversation, host, reading } = this.page;
    if (receipt && finished(receipt) && receipt.deleted.requests === rows.length) reading.index.remove(idsOf(rows));
    else {
      await reading.refresh(idsOf(rows)).catch((error) => {
        reading.problem = messageOf(error);
      });
    }
    this.page.forgetGone();
    void conversation.reload();
    this.page.render();
    const deleted = receipt?.deleted.requests ?? 0;
    if (deleted) host.tell(`In the explorer, the person deleted ${counted(deleted, "request")}.`);
  }

  /** Count the requests that are still stored. @param {Row[]} rows */
  async look(rows) {
    const { reading } = this.page;
    await reading.refresh(idsOf(rows));
    this.page.forgetGone();
    this.page.render();
    return rows.filter((row) => reading.index.rows.has(row.id)).length;
  }

  /** Delete learnings whose requests are deleted already. @param {{learning_id: string, user_id: string}[]} chosen @param {boolean} erase */
  async deleteLearnings(chosen, erase) {
    const receipts = [];
    for (const user of new Set(chosen.map((one) => one.user_id))) {
      const learning_ids = chosen.filter((one) => one.user_id === user).map((one) => one.learning_id);
      const given = { learning_ids, ...ofUser(user), ...(erase ? { erase } : {}) };
      const failed = { deleted: {}, not_deleted: [{ why: "still_present", count: learning_ids.length, ids: learning_ids }] };
      try {
        const result = await this.agreed("delete_learnings", given);
        receipts.push(result.structuredContent?.receipt ?? { ...failed, failure: new Failure(result) });
      } catch (error) {
        receipts.push({ deleted: {}, not_deleted: [{ ...failed.not_deleted[0], why: "unknown" }], failure: error });
      }
    }
    return receipts;
  }

  /** Say whether the deletion can be undone. */
  kept(erase = false) {
    const { keeper = "", recovery_days = 0 } = this.page.reading.server ?? {};
    if (!recovery_days || erase) return "This cannot be undone.";
    return `A copy is kept on ${keeper} until ${this.page.clock.day(Date.now() + recovery_days * DAY_MS)}.`;
  }

  /**
   * Undo deletions. One call restores as much as its time allows, so it is repeated until nothing is left.
   * @param {number[]} numbers of the deletions @param {Row[]} rows that were deleted, as far as they are known
   * @param {(text: string) => void} onprogress
   * @returns {Promise<import("./sheet.js").Undone>}
   */
  async undo(numbers, rows, onprogress) {
    const { host } = this.page;
    const back = { requests: 0, learnings: 0 };
    let total = 0;
    /** @type {any[]} */
    const ended = [];
    /** @type {Child[]} */
    let problem = [];
    const report = (now = "") => {
      const [, running = "0"] = /: ([\d,]+)/.exec(now) ?? [];
      if (total) onprogress(`${number(back.requests + Number(running.replaceAll(",", "")))} of ${counted(total, "request")} are back.`);
    };
    for (const deletion of numbers) {
      const before = back.requests;
      try {
        for (let more = true; more; report()) {
          let result = await host.call("restore_requests", { deletion });
          const { planned: { requests: most = 0 } = {}, confirm } = result.structuredContent ?? {};
          total ||= most;
          // The person has just seen what was deleted.
          if (confirm) result = await host.call("restore_requests", { deletion, confirm }, report);
          if (result.isError) throw new Failure(result);
          const done = result.structuredContent ?? {};
          const { requests = 0, learnings = 0 } = done.restored ?? {};
          // Requests that an earlier call restored count too.
          const there = (done.not_restored ?? []).find((/** @type {any} */ one) => one.why === "already_there")?.count ?? 0;
          back.requests = before + Math.min(most, requests + there);
          back.learnings += learnings;
          more = requests > 0 && (done.not_restored ?? []).some((/** @type {any} */ one) => one.why === "left");
          if (!more) ended.push(done);
        }
      } catch (error) {
        problem = saidBy(error);
        break;
      }
    }
    await this.afterUndo(rows);
    if (back.requests || back.learnings) host.tell(`In the explorer, the person restored ${countedIn(back)}.`);
    /** @type {{why: string, count: number}[]} */
    const left = ended.flatMap((done) => done.not_restored ?? []).filter((one) => one.why !== "already_there");
    const whole = !problem.length && !left.length;
    const what = countedIn(back);
    return {
      title: whole ? `${what} ${back.requests + back.learnings === 1 ? "is" : "are"} back` : `${number(back.requests)} of ${counted(total, "request")} are back`,
      notes: [problem, ...left.map((one) => [`${number(one.count)} ${wordsFor(one.why)}.`]), ...told(ended.flatMap((done) => done.facts ?? []))].filter((said) => said.length),
      again: problem.length > 0 || left.some((one) => one.why === "left"),
    };
  }

  /** Read again what an undo may have brought back: rows, findings, and what was learned. @param {Row[]} rows */
  async afterUndo(rows) {
    const { reading } = this.page;
    try {
      if (rows.length) await reading.refresh(idsOf(rows));
      else await reading.read();
      await reading.lookForFindings();
    } catch (error) {
      reading.problem = messageOf(error);
    }
    void this.page.conversation.reload();
    this.page.render();
  }

  /** @param {Row} row @param {import("./reading.js").Interaction} interaction */
  deleteInteraction(row, interaction) {
    const { host, reading, sheet, conversation } = this.page;
    sheet.small({
      title: "Delete an interaction", words: interaction.text, note: "The rest of its request stays.",
      keep: "Keep it", final: "Delete it", done: "Interaction deleted",
    }, () => this.agreed("delete_request", { request_id: row.id, interaction_ids: [interaction.id] }), async () => {
      reading.details.delete(row.id);
      await reading.refresh([row.id]);
      this.page.render();
      await conversation.reload();
      host.tell("In the explorer, the person deleted 1 interaction.");
    });
  }

  /** @param {Learning} learning */
  takeBack(learning) {
    const given = { learning_ids: [learning.learning_id], ...ofUser(learning.user_id) };
    this.page.sheet.small({
      title: "Take back what was learned", words: learning.content ?? learning.learning_id,
      note: "The requests stay, so Reflexio may learn the same from them again.",
      keep: "Keep it", final: "Take it back", done: "Taken back",
    }, () => this.agreed("delete_learnings", given), (deleted) => this.learnedAnew(`took back ${counted(deleted, "learning")}`));
  }

  /** Ask for a new text of a learning, show the difference, and store it. @param {Learning} learning */
  correct(learning) {
    const { host, sheet } = this.page;
    const title = "Correct what was learned";
    sheet.edit(title, learning.content ?? "", async (content) => {
      const given = { learning_id: learning.learning_id, content, ...ofUser(learning.user_id) };
      const planned = await host.call("correct_learning", given);
      const { plan, receipt } = planned.structuredContent ?? {};
      if (planned.isError || !(plan?.change || receipt)) throw new Failure(planned);
      const asked = {
        title, words: plan?.change.before ?? "", after: plan?.change.after, note: "The requests stay as they are.",
        keep: "Keep the old text", final: "Correct it", done: "Corrected",
      };
      const acted = () => this.learnedAnew("corrected 1 learning");
      // If the host's own form asked, the correction is done.
      if (!plan?.confirm) await sheet.carryOut(asked, async () => planned, acted);
      else sheet.small(asked, () => host.call("correct_learning", { ...given, confirm: plan.confirm }), acted);
    });
  }

  /** Read the learnings again, and tell the model what the person did. @param {string} did */
  async learnedAnew(did) {
    await this.page.conversation.reload();
    this.page.host.tell(`In the explorer, the person ${did}.`);
  }

  /** Call a tool that deletes with what the person has just agreed to. @param {string} tool @param {Record<string, any>} given */
  async agreed(tool, given) {
    const shown = await this.page.host.call(tool, given);
    const confirm = shown.structuredContent?.plan?.confirm;
    return confirm ? this.page.host.call(tool, { ...given, confirm }) : shown;
  }

  /** Export what the filter shows. @param {boolean | undefined} redact `undefined` only counts it @param {(message: string) => void} onprogress */
  async exported(redact, onprogress) {
    const { filter, host } = this.page;
    const { words: contains, finding } = filter;
    const given = { ...asked(filter), ...(contains ? { contains } : {}), ...(finding ? { finding } : {}) };
    const result = await host.call("export_data", redact === undefined ? given : { ...given, redact }, onprogress);
    if (result.isError) throw new Failure(result);
    return result.structuredContent;
  }

  /** @param {string} text */
  async copy(text) {
    try {
      await navigator.clipboard.writeText(text);
    } catch {
      // If the frame may not use the clipboard, the old way still works on a click.
      const button = /** @type {HTMLElement} */ (document.activeElement);
      const area = el("textarea", { ".value": text, class: "spoken" });
      document.body.append(area);
      area.select();
      document.execCommand("copy");
      area.remove();
      button.focus();
    }
    this.page.say("Copied.");
  }
}

/** @param {Row[]} rows */
function idsOf(rows) {
  return rows.map((row) => row.id);
}

/** The `user_id` argument of a tool; empty if the server is for one user. @param {string} [user] */
function ofUser(user) {
  return user ? { user_id: user } : {};
}
