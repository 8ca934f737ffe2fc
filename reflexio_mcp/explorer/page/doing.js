/** What a person does with what is stored: delete it, take it back, undo that, save it. */

import { el } from "./dom.js";
import { counted, DAY_MS, number } from "./format.js";
import { messageOf, textOf } from "./host.js";
import { IDS_AT_ONCE } from "./reading.js";
import { wordsFor } from "./sheet.js";

/** @typedef {import("./rows.js").Row} Row */
export class Doing {
  /** @param {import("./main.js").Page} page */
  constructor(page) {
    this.page = page;
  }

  /** @param {Row[]} rows */
  async delete(rows) {
    const { host, reading, sheet, selected, conversation } = this.page;
    if (!rows.length) return;
    const ids = (/** @type {Row[]} */ some) => some.map((row) => row.id);
    await sheet.remove(rows, {
      plan: async (some, { erase }) => (await reading.ask("plan", { request_ids: ids(some), erase })).plan,
      act: async (some, found, choice, onprogress) => {
        const chosen = found.learned.filter((/** @type {any} */ one) => choice.learned.has(one.learning_id));
        // All of it goes in one deletion, so that an undo brings it back linked to its requests.
        const every = chosen.length > 0 && chosen.length === found.learnings;
        const given = { request_ids: ids(some), ...(every ? { include_learnings: true } : {}), ...(choice.erase ? { erase: true } : {}) };
        let { confirm } = found.plan;
        let result = every || !confirm ? await host.call("delete_requests", given, onprogress) : null;
        const { plan } = result?.structuredContent ?? {};
        // What is planned with it is what the person has agreed to, or nothing is deleted.
        if (every) confirm = plan?.goes.requests === found.plan.goes.requests && plan?.goes.learnings === found.learnings ? plan.confirm : "";
        if (confirm) result = await host.call("delete_requests", { ...given, confirm }, onprogress);
        if (!result) throw new Error("The deletion was not asked for.");
        const { receipt } = result.structuredContent ?? {};
        const rest = every || !receipt || receipt.next ? [] : chosen;
        return { result, receipts: [receipt, ...await this.deleteLearnings(rest, choice.erase)] };
      },
      done: async (some, receipt) => {
        if (receipt && !receipt.next) reading.index.remove(ids(some));
        else await reading.tryRefresh(ids(some));
        for (const id of ids(some)) if (!reading.index.rows.has(id)) selected.delete(id);
        void conversation.reload();
        this.page.render();
        const deleted = receipt?.deleted.requests ?? 0;
        if (deleted) void host.tell(`In the explorer, the person deleted ${counted(deleted, "request")}.`);
      },
      look: async (some) => {
        await reading.refresh(ids(some));
        for (const id of ids(some)) if (!reading.index.rows.has(id)) selected.delete(id);
        this.page.render();
        return some.filter((row) => reading.index.rows.has(row.id)).length;
      },
      wordsOf: (id) => reading.index.rows.get(id)?.words ?? "",
      days: reading.server?.recovery_days ?? 0,
      learns: reading.can("list_learnings"),
      ...this.shared(ids(rows)),
    });
  }

  /** What every sheet that deletes needs. @param {string[]} ids of requests that an undo may bring back */
  shared(ids) {
    return {
      undo: this.page.reading.can("restore_requests")
        ? (/** @type {number[]} */ numbers, /** @type {(text: string) => void} */ onprogress) => this.undo(numbers, ids, onprogress)
        : null,
      kept: (erase = false) => this.kept(erase),
      say: (/** @type {string} */ text, /** @type {(() => void) | undefined} */ undo) => this.page.say(text, undo),
    };
  }

  /** Delete learnings with requests that are gone by now. @param {{learning_id: string, user_id: string}[]} chosen @param {boolean} erase */
  async deleteLearnings(chosen, erase) {
    const receipts = [];
    for (const user of new Set(chosen.map((one) => one.user_id))) {
      const learning_ids = chosen.filter((one) => one.user_id === user).map((one) => one.learning_id);
      const given = { learning_ids, ...(user ? { user_id: user } : {}), ...(erase ? { erase } : {}) };
      const failed = { deleted: {}, not_deleted: [{ why: "still_present", count: learning_ids.length, ids: learning_ids }] };
      try {
        const result = await this.agreed("delete_learnings", given);
        receipts.push(result.structuredContent?.receipt ?? { ...failed, remains: [textOf(result).split("\n")[0]] });
      } catch (error) {
        receipts.push({ deleted: {}, not_deleted: [{ ...failed.not_deleted[0], why: "unknown" }], remains: [messageOf(error)] });
      }
    }
    return receipts;
  }

  /** Whether there will be a way back, in a sentence. */
  kept(erase = false) {
    const { keeper = "", recovery_days = 0 } = this.page.reading.server ?? {};
    if (!recovery_days || erase) return "This cannot be undone.";
    return `A copy is kept on ${keeper} until ${this.page.clock.day(Date.now() + recovery_days * DAY_MS)}.`;
  }

  /**
   * Put back what deletions took. One call puts back as much as its time allows, so it is called until nothing is left.
   * @param {number[]} numbers of the deletions
   * @param {string[]} ids of the requests that were deleted, as far as they are known
   * @param {(text: string) => void} onprogress
   * @returns {Promise<import("./sheet.js").Undone>}
   */
  async undo(numbers, ids, onprogress) {
    const { host } = this.page;
    let [requests, learnings, total] = [0, 0, 0];
    /** @type {any[]} */
    const ended = [];
    let problem = "";
    for (const deletion of numbers) {
      try {
        for (let more = true; more; ) {
          let result = await host.call("restore_requests", { deletion });
          total ||= result.structuredContent?.planned?.requests ?? 0;
          // The person has just seen what was deleted.
          const confirm = result.structuredContent?.confirm;
          const told = () => onprogress(`${number(requests)} of ${counted(total, "request")} are back.`);
          if (confirm) result = await host.call("restore_requests", { deletion, confirm }, total ? told : undefined);
          if (result.isError) throw new Error(textOf(result));
          const done = result.structuredContent ?? {};
          const { requests: restored = 0, learnings: relearned = 0 } = done.restored ?? {};
          requests += restored;
          learnings += relearned;
          more = restored > 0 && (done.not_restored ?? []).some((/** @type {any} */ one) => one.why === "left");
          if (!more) ended.push(done);
        }
      } catch (error) {
        problem = messageOf(error);
        break;
      }
    }
    await this.afterUndo(ids);
    const what = requests || !learnings ? counted(requests, "request") : counted(learnings, "learning");
    if (requests || learnings) void host.tell(`In the explorer, the person restored ${what}.`);
    /** @type {{why: string, count: number}[]} */
    const left = ended.flatMap((done) => done.not_restored ?? []);
    const whole = !problem && !left.length;
    return {
      title: whole ? `${what} ${requests + learnings === 1 ? "is" : "are"} back` : `${number(requests)} of ${counted(total, "request")} are back`,
      notes: [problem, ...left.map((one) => `${number(one.count)} ${wordsFor(one.why)}.`), ...ended.flatMap((done) => done.remains ?? [])].filter(Boolean),
      again: Boolean(problem) || left.some((one) => one.why === "left"),
    };
  }

  /** Read again what an undo may have brought back: rows, findings, and what was learned. @param {string[]} ids */
  async afterUndo(ids) {
    const { reading } = this.page;
    try {
      if (ids.length) await reading.refresh(ids);
      else await reading.read(reading.baseAsked());
      await reading.lookForFindings();
    } catch (error) {
      reading.problem = messageOf(error);
    }
    void this.page.conversation.reload();
    this.page.render();
  }

  /** The deletions that can still be undone, each with its way back. */
  async showDeleted() {
    const { host, sheet, clock } = this.page;
    await sheet.past({
      list: async () => {
        const result = await host.call("restore_requests", {});
        if (result.isError) throw new Error(textOf(result));
        return (result.structuredContent?.deletions ?? []).filter((/** @type {any} */ one) => one.copied);
      },
      undo: (numbers, onprogress) => this.undo(numbers, [], onprogress),
      moment: (at) => clock.moment(at),
      day: (at) => clock.day(at),
    });
  }

  /** @param {Row} row @param {import("./reading.js").Turn} turn */
  async deleteTurn(row, turn) {
    const { host, reading, sheet, conversation } = this.page;
    await sheet.small({
      title: "Delete an interaction", words: turn.text, note: "The rest of its request stays.",
      keep: "Keep it", final: "Delete it", done: "Interaction deleted",
    }, {
      act: () => this.agreed("delete_request", { request_id: row.id, interaction_ids: [turn.id] }),
      acted: async () => {
        reading.details.delete(row.id);
        await reading.refresh([row.id]);
        this.page.render();
        await conversation.reload();
        void host.tell("In the explorer, the person deleted 1 interaction.");
      },
      ...this.shared([row.id]),
    });
  }

  /** @param {import("./conversation.js").Learning} learning */
  async takeBack(learning) {
    const { host, sheet, conversation } = this.page;
    await sheet.small({
      title: "Take back what was learned", words: learning.content ?? learning.learning_id,
      note: "The requests stay. While they are stored it can be learned from them again.",
      keep: "Keep it", final: "Take it back", done: "Taken back",
    }, {
      // Where the server is for one user, it names nobody.
      act: () => this.agreed("delete_learnings", {
        learning_ids: [learning.learning_id], ...(learning.user_id ? { user_id: learning.user_id } : {}),
      }),
      acted: async (deleted) => {
        await conversation.reload();
        void host.tell(`In the explorer, the person took back ${counted(deleted, "learning")}.`);
      },
      ...this.shared([]),
    });
  }

  /** Call a tool that deletes with what the person has just agreed to. @param {string} tool @param {Record<string, any>} given */
  async agreed(tool, given) {
    const shown = await this.page.host.call(tool, given);
    const confirm = shown.structuredContent?.plan?.confirm;
    return confirm ? this.page.host.call(tool, { ...given, confirm }) : shown;
  }

  /** @param {Row[]} rows */
  async export(rows) {
    const { host, reading, sheet } = this.page;
    const say = (/** @type {string} */ text) => this.page.say(text);
    /** @type {string[]} */
    const lines = [];
    try {
      for (let at = 0; at < rows.length; ) {
        const some = rows.slice(at, at + IDS_AT_ONCE).map((row) => row.id);
        const answer = await reading.ask("export", { request_ids: some });
        for (const one of answer.requests ?? []) lines.push(JSON.stringify(one));
        at += Math.max(answer.looked_up ?? some.length, 1);
        say(`Reading ${number(Math.min(at, rows.length))} of ${counted(rows.length, "request")}.`);
      }
      const text = `${lines.join("\n")}\n`;
      if (!host.capabilities.downloadFile) {
        say("");
        sheet.copy(text, lines.length, () => void this.copy(text));
      } else if (await host.save("requests.jsonl", "application/jsonl", text)) say(`${counted(lines.length, "request")} saved.`);
      else say("The file was not saved.");
    } catch (error) {
      say(messageOf(error));
    }
  }

  /** @param {string} text */
  async copy(text) {
    try {
      await navigator.clipboard.writeText(text);
    } catch {
      // Where the frame may not use the clipboard, the old way still works on a click; it has to stand in an open dialogue.
      const area = el("textarea", { ".value": text, class: "spoken" });
      const { dialog } = this.page.sheet;
      (dialog.open ? dialog : document.body).append(area);
      area.select();
      document.execCommand("copy");
      area.remove();
    }
    this.page.say("Copied.");
  }
}
