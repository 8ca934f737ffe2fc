/** What a person does with the memory: delete, forget, correct, put back, export. One job at a time, told in one notice. */

import { counted, DAY_MS, number } from "./format.js";
import { Failure, host, messageOf } from "./host.js";
import { fateOf, fatesOfAll, goesByItself } from "./memory.js";
import { goingWords } from "./names.js";
import { askView, IDS_AT_ONCE, lookAgain, lookForFindings, ofUser, readAnew, readLearnings, readRows, toQuery } from "./reading.js";
import { messagesIn } from "./rows.js";
import { dropSelection, rematch, state, update } from "./state.js";
import { finished, gaveNoAnswer, plain, refusedBecause, stepWords, told, wordsFor } from "./words.js";

/** @typedef {import("./rows.js").Row} Row */
/** @typedef {import("./memory.js").Learning} Learning */
/** @typedef {import("./memory.js").Fate} Fate */
/** @typedef {import("./words.js").Fact} Fact */
/**
 * @typedef {{phase: "running" | "done" | "half" | "failed", title: string, notes: string[], facts: Fact[], done: number, total: number,
 *   step: string, stopping: boolean | null, numbers: number[], rows: Row[], goOn: (() => void) | null, undo: string, back: string}} Job
 *   `done` and `total` are questions; `stopping` is null if the job cannot be stopped; `numbers` are deletions that `undo`, a button, takes back; `back` is the session to show
 */
/** @typedef {{rows: Row[], confirm: string, requests: number, unread: boolean}} DeletionPart `unread`: which of the rows are left is not known */
/**
 * @typedef {{parts: DeletionPart[], requests: number, messages: number, notFound: number, fates: Fate[], unused: Fate[], facts: Fact[],
 *   back: string, status: string}} DeletionPlan `fates` of learnings in use; `unused` are others that go with their words; `back` is the state of the way back; `status` why nothing can be deleted
 */

/** Requests of one deletion: it can be stopped between two of them. The server takes 10,000 at once. */
const PART = 2_500;

const STOPPED_ANSWERING = "The memory stopped answering.";

/** Facts about what one call changed. The notice says what the whole job has done. */
const OF_ONE_CALL = ["nothing_changed", "effect_unknown"];

/** @param {Partial<Job> & {title: string}} given @returns {Job} */
function jobOf(given) {
  return {
    phase: "running", notes: [], facts: [], done: 0, total: 0, step: "", stopping: null, numbers: [], rows: [], goOn: null, undo: "Undo", back: "", ...given,
  };
}

/** @param {Job} job @param {Partial<Job>} [part] */
function show(job, part = {}) {
  Object.assign(job, part);
  if (state.job === job) update();
}

/** Show how far a call of a job is. @param {Job} job @param {import("./host.js").Progress} progress @param {number} before what earlier calls did */
function showStep(job, { step, done = 0 }, before) {
  const counts = step === "items_deleted" || step === "requests_restored";
  show(job, { step: stepWords(step), ...(counts ? { done: Math.min(job.total, before + done) } : {}) });
}

/** Begin a job and show its notice. @param {Job} job */
function showJob(job) {
  update({ job, sheet: null });
  return job;
}

/** Whether a job is running, which must end first. */
export function busy() {
  return state.job?.phase === "running";
}

/** Until when a copy is kept; empty if none is kept. @param {boolean} erase */
export function keptUntil(erase) {
  const days = state.server?.recovery_days ?? 0;
  return days && !erase ? state.clock.day(Date.now() + days * DAY_MS) : "";
}

/** Look up what a deletion would delete. @param {Row[]} rows @param {boolean} erase @param {(done: number) => void} onprogress @returns {Promise<DeletionPlan>} */
export async function planDeletion(rows, erase, onprogress) {
  /** @type {DeletionPlan} */
  const whole = {
    parts: [], requests: 0, messages: 0, notFound: 0, fates: [], unused: [], facts: [], back: "", status: "",
  };
  const ids = new Set(rows.flatMap((row) => (row.held ? [] : row.id)));
  /** @type {Fate[]} */
  const fates = [];
  for (let at = 0; at < rows.length; at += PART) {
    const some = rows.slice(at, at + PART);
    onprogress(at);
    const { plan: found } = await askView("plan", { request_ids: idsOf(some), erase });
    const { plan } = found;
    whole.parts.push({ rows: some, confirm: plan.confirm ?? "", requests: plan.selected.requests ?? 0, unread: false });
    whole.requests += plan.selected.requests ?? 0;
    whole.messages += plan.selected.interactions ?? 0;
    whole.notFound += plan.not_found_count ?? 0;
    for (const one of found.learned) fates.push(fateOf(one, state.memory.list.get(one.learning_id), (id) => ids.has(id)));
    whole.facts.push(...(plan.facts ?? []));
    whole.back = plan.way_back?.state ?? whole.back;
    if (["cannot_ask", "held"].includes(found.status)) whole.status = found.status;
  }
  for (const fate of fatesOfAll(fates)) {
    if (fate.state === "current") whole.fates.push(fate);
    else if (goesByItself(fate)) whole.unused.push(fate);
  }
  whole.parts = whole.parts.filter((part) => part.requests);
  if (whole.requests && whole.status === "held") whole.status = "";
  if (!whole.requests && !whole.status) whole.status = "not_found";
  return whole;
}

/** Which learnings go, by a person's choice or by themselves. @param {Fate[]} fates @param {Map<string, boolean>} chosen */
export function going(fates, chosen) {
  return fates.filter((fate) => chosen.get(fate.id) ?? goesByItself(fate));
}

/** The older learnings that would be used again and that nobody wants back. @param {{user: string, older: import("./memory.js").Older[]}[]} learned what goes @param {Map<string, boolean>} chosen */
export function goingToo(learned, chosen) {
  return learned.flatMap(({ user, older }) => older.filter(({ id }) => chosen.get(id)).map(({ id }) => ({ id, user })));
}

/** Whether all goes that was said only in the requests. Then it is part of their deletion: what it replaced is used again, and an undo links it to them. @param {DeletionPlan} plan @param {Fate[]} learned what goes */
export function goesWithRequests({ parts, fates, unused }, learned) {
  return parts.length === 1 && learned.length + unused.length > 0 && fates.every((fate) => learned.includes(fate) || !goesByItself(fate));
}

/** @typedef {{erase: boolean, learned: Fate[], older: {id: string, user: string}[]}} Choice what a person chose in the sheet: `learned` and `older` are forgotten */

/** How many learned things go. @param {DeletionPlan} plan @param {Choice} choice */
export function learnedGoing({ unused }, { learned, older }) {
  return learned.length + older.length + unused.length;
}

/**
 * Delete what the person has agreed to, part by part, and go on where it stopped.
 * @param {DeletionPlan} plan @param {Choice} choice
 */
export async function deleteRequests(plan, choice) {
  const rows = plan.parts.flatMap((part) => part.rows);
  const job = showJob(jobOf({
    title: `Deleting ${goingWords(plan.messages, learnedGoing(plan, choice))}`, total: plan.requests, rows,
    stopping: plan.parts.length > 1 ? false : null,
  }));
  await runDeletion(job, plan, choice, { messages: 0, learned: 0, requests: 0, perhaps: 0, receipts: [] });
}

/** @typedef {{messages: number, learned: number, requests: number, perhaps: number, receipts: any[]}} Deleted `perhaps` are messages of a part that was cut off and not read again */

/** @param {Job} job @param {DeletionPlan} plan @param {Choice} choice @param {Deleted} deleted */
async function runDeletion(job, plan, choice, deleted) {
  const { parts } = plan;
  let problem = "";
  let changed = false;
  const forgotten = [...choice.learned, ...choice.older, ...plan.unused];
  const more = [...choice.learned.filter((fate) => !goesByItself(fate)), ...choice.older].map(({ id }) => id);
  const together = goesWithRequests(plan, choice.learned) ? { learning_ids: more, learnings: forgotten.length } : null;
  while (parts.length && !job.stopping && !problem && !changed) {
    const [part] = parts;
    try {
      if (part.unread) await recount(part, deleted);
      if (!part.rows.length) {
        parts.shift();
        continue;
      }
      const result = await deletePart(part, { erase: choice.erase, together }, (progress) => showStep(job, progress, deleted.requests));
      const answer = result.structuredContent;
      const receipt = answer?.receipt;
      if (receipt) {
        deleted.receipts.push(receipt);
        deleted.learned += receipt.deleted.learnings ?? 0;
        if (receipt.way_back?.until || receipt.way_back?.state === "unknown") job.numbers.push(receipt.number);
      }
      if (result.isError || !answer) problem = whyStopped(new Failure(result));
      else if (!receipt) changed = true;
      else if (cutOff(receipt)) {
        problem = STOPPED_ANSWERING;
        deleted.perhaps = receipt.deleted.interactions ?? 0;
      } else {
        deleted.requests += receipt.deleted.requests ?? 0;
        deleted.messages += receipt.deleted.interactions ?? 0;
        await takeOut(part.rows, receipt);
        parts.shift();
      }
    } catch (error) {
      problem = whyStopped(error);
    }
    if (problem) {
      // What was deleted before the answer was lost is seen by reading again, now or before it goes on.
      Object.assign(part, { confirm: "", unread: true });
      await recount(part, deleted).catch(() => {});
      if (!part.rows.length) {
        parts.shift();
        problem = "";
      }
    }
    show(job, { done: deleted.requests });
  }
  if (!together && !problem && !changed && forgotten.length && deleted.receipts.length && !parts.length) {
    show(job, { step: "Forgetting what was learned." });
    for (const receipt of await forgetAll(forgotten, choice.erase)) {
      deleted.receipts.push(receipt);
      deleted.learned += receipt.deleted.learnings ?? 0;
      if (receipt.way_back?.until) job.numbers.push(receipt.number);
    }
  }
  const messages = deleted.messages + deleted.perhaps;
  const left = parts.reduce((sum, part) => sum + messagesIn(part.rows), 0) - deleted.perhaps;
  const done = goingWords(messages, deleted.learned);
  // What a receipt does not know of a part that was cut off was read again since, or is said in the title.
  const receipts = deleted.receipts.map((one) => (cutOff(one) ? { ...one, not_deleted: [] } : one));
  /** @type {Partial<Job>} */
  const facts = { notes: notesOn(receipts, choice.erase), facts: deleted.receipts.flatMap((one) => one.facts ?? []), step: "", stopping: null };
  const goOn = left ? () => {
    show(job, { phase: "running", notes: [], goOn: null, stopping: parts.length > 1 ? false : null, title: `Deleting ${counted(left, "message")}` });
    void runDeletion(job, plan, choice, deleted);
  } : null;
  if (problem && !messages && !deleted.receipts.length) {
    show(job, { phase: "failed", title: "Nothing was deleted.", ...facts, notes: [problem], goOn });
  } else if (changed && !deleted.receipts.length) {
    show(job, { phase: "failed", title: "Nothing was deleted: what is stored has changed since you looked.", ...facts, notes: [] });
  } else if (problem || left) {
    const why = problem || (changed ? "Something changed meanwhile." : "Stopped.");
    const sure = `${counted(messages, "message")} deleted`;
    const rest = messages ? `${number(left)} more` : counted(left, "message");
    const unsure = `${messages ? `${sure}. ` : ""}Whether ${rest} are deleted is not known yet.`;
    const title = `${why} ${parts[0]?.unread ? unsure : `${sure}, ${number(left)} still there.`}`;
    show(job, { phase: "half", title, ...facts, goOn, undo: messages ? `Undo the ${number(messages)}` : "Undo what is deleted" });
  } else {
    const checked = deleted.perhaps ? "" : ", checked by reading again";
    show(job, { phase: "done", title: messages || deleted.learned ? `${capital(done)} deleted${checked}.` : "Nothing was deleted.", ...facts, goOn: null, undo: "Undo" });
  }
  void readLearnings();
  if (messages || deleted.learned) host.tell(`In the explorer, the person deleted ${done}.`);
}

/** Read which rows of a part are left, and count the others as deleted. @param {DeletionPart} part @param {Deleted} deleted */
async function recount(part, deleted) {
  const before = messagesIn(part.rows);
  await readRows(idsOf(part.rows));
  const rows = part.rows.filter((row) => state.index.rows.has(row.id));
  deleted.messages += before - messagesIn(rows);
  deleted.requests += part.rows.length - rows.length;
  deleted.perhaps = 0;
  Object.assign(part, { rows, requests: rows.length, unread: false });
}

/** @param {DeletionPart} part @param {{erase: boolean, together: {learning_ids: string[], learnings: number} | null}} choice `together` are learnings that go in the same deletion @param {import("./host.js").OnProgress} onprogress */
async function deletePart(part, { erase, together }, onprogress) {
  const given = {
    request_ids: idsOf(part.rows), ...(erase ? { erase: true } : {}), ...(together ? { include_learnings: true } : {}),
    ...(together?.learning_ids.length ? { learning_ids: together.learning_ids } : {}),
  };
  let { confirm } = part;
  let result = null;
  if (together || !confirm) {
    result = await host.call("delete_requests", given, onprogress);
    const plan = result.structuredContent?.plan;
    const same = plan?.selected.requests === part.requests && (!together || (plan?.selected.learnings ?? 0) === together.learnings);
    // If the plan differs from the plan that the person agreed to, nothing is deleted.
    confirm = same ? plan.confirm ?? "" : "";
  }
  if (confirm) result = await host.call("delete_requests", { ...given, confirm }, onprogress);
  if (!result) throw new Error("The deletion was not asked for.");
  return result;
}

/** The calls that forget learnings, one for each person. @param {{id: string, user: string}[]} learned @param {boolean} erase */
function callsToForget(learned, erase) {
  return [...new Set(learned.map((one) => one.user))].map((user) => {
    const learning_ids = learned.filter((one) => one.user === user).map((one) => one.id);
    return { count: learning_ids.length, call: () => agreed("delete_learnings", { learning_ids, ...ofUser(user), ...(erase ? { erase } : {}) }) };
  });
}

/** Forget learnings whose messages were deleted just now. @param {{id: string, user: string}[]} learned @param {boolean} erase */
async function forgetAll(learned, erase) {
  const receipts = [];
  for (const { count, call } of callsToForget(learned, erase)) {
    const failed = (/** @type {string} */ why) => ({ deleted: {}, not_deleted: [{ why, count }] });
    try {
      const result = await call();
      receipts.push(result.structuredContent?.receipt ?? failed("still_present"));
    } catch {
      receipts.push(failed("unknown"));
    }
  }
  return receipts;
}

/** Take what is gone out of the list. @param {Row[]} rows @param {any} receipt */
async function takeOut(rows, receipt) {
  if (finished(receipt) && receipt.deleted.requests === rows.length) {
    state.index.remove(idsOf(rows));
    dropSelection(idsOf(rows));
    rematch();
  } else {
    await readRows(idsOf(rows)).catch((error) => update({ problem: messageOf(error) }));
  }
}

/** Delete one message. @param {Row} row @param {number} interaction @param {boolean} erase */
export async function deleteMessage(row, interaction, erase) {
  const given = { request_id: row.id, interaction_ids: [interaction], ...(erase ? { erase } : {}) };
  await act({
    job: { title: "Deleting 1 message", back: row.session, rows: [row] }, calls: [() => agreed("delete_request", given)], erase,
    done: (receipts) => receipts.some((one) => one.deleted?.interactions) ? ["1 message deleted", "deleted 1 message"] : null,
    readAgain: async () => {
      await readRows([row.id]);
      await readAnew(row.id);
      void readLearnings();
    },
  });
}

/** Forget learnings. @param {{id: string, user: string}[]} learned @param {boolean} erase */
export async function forget(learned, erase) {
  await act({
    job: { title: `Forgetting ${goingWords(0, learned.length)}` }, calls: callsToForget(learned, erase).map(({ call }) => call), erase,
    done: (receipts) => {
      const count = receipts.reduce((sum, one) => sum + (one.deleted?.learnings ?? 0), 0);
      return count ? [`${goingWords(0, count)} forgotten`, `had ${goingWords(0, count)} forgotten`] : null;
    },
    readAgain: () => readLearnings(),
  });
}

/** Store a new text of a learning. @param {Learning} one @param {string} content */
export async function correct(one, content) {
  const given = { learning_id: one.id, content, ...ofUser(one.user) };
  await act({
    job: { title: "Correcting 1 learned thing" }, calls: [() => agreed("correct_learning", given)], erase: false,
    done: ([receipt]) => receipt?.corrected ? ["1 learned thing corrected", "corrected 1 learned thing"] : null,
    readAgain: () => readLearnings(),
  });
}

/**
 * @typedef {{job: Partial<Job> & {title: string}, calls: (() => Promise<import("./host.js").ToolResult>)[],
 *   done: (receipts: any[]) => [string, string] | null, readAgain: () => Promise<void>, erase: boolean}} Act
 *   `done` says what was done, in words for the notice and for the assistant; `null` if nothing was
 */

/** Make some calls and tell what came of them. @param {Act} act */
async function act({ job: given, calls, done, readAgain, erase }) {
  const job = showJob(jobOf(given));
  /** @type {any[]} */
  const receipts = [];
  let [problem, refused] = ["", ""];
  try {
    for (const call of calls) {
      const result = await call();
      if (result.isError) throw new Failure(result);
      const { receipt, plan, status } = result.structuredContent ?? {};
      if (receipt) receipts.push(receipt);
      else if (plan) refused = refusedBecause(status);
      if (receipt?.way_back?.until) job.numbers.push(receipt.number);
    }
  } catch (error) {
    problem = sentenceOf(messageOf(error));
  }
  const words = done(receipts);
  const notes = [problem, receipts.length ? refused : "", ...notesOn(receipts, erase)].filter(Boolean);
  const facts = receipts.flatMap((one) => one.facts ?? []);
  if (words) {
    await readAgain().catch((error) => update({ problem: messageOf(error) }));
    show(job, { phase: problem ? "half" : "done", title: `${words[0]}, checked by reading again.`, notes, facts });
    host.tell(`In the explorer, the person ${words[1]}.`);
  } else {
    const nothing = receipts.some(cutOff) ? "It is not certain whether it was done." : `Nothing was changed. ${refused}`.trim();
    show(job, { phase: "failed", title: problem && !receipts.length ? "It failed." : nothing, notes, facts });
  }
}

/** Undo deletions. One call puts back as much as its time allows, so it is repeated until nothing is left. @param {number[]} numbers @param {Row[]} rows that were deleted, as far as they are known */
export async function putBack(numbers, rows) {
  const job = showJob(jobOf({ title: "Putting back what was deleted", numbers, rows, stopping: false }));
  await runUndo(job, [...numbers], { requests: 0, messages: 0, learned: 0, of: 0, planned: new Set(), left: [], facts: [] });
}

/** @typedef {{requests: number, messages: number, learned: number, of: number, planned: Set<number>, left: {why: string, count: number}[], facts: Fact[]}} Restored */

/** @param {Job} job @param {number[]} numbers @param {Restored} back */
async function runUndo(job, numbers, back) {
  let problem = "";
  while (numbers.length && !job.stopping && !problem) {
    const [deletion] = numbers;
    try {
      let result = await host.call("restore_requests", { deletion });
      const { planned, confirm } = result.structuredContent ?? {};
      if (planned && !back.planned.has(deletion)) {
        back.of += planned.interactions || planned.requests || 0;
        back.planned.add(deletion);
        show(job, { total: job.total + (planned.requests ?? 0), title: `Putting back ${goingWords(back.of, 0) === "nothing" ? "what was learned" : goingWords(back.of, 0)}` });
      }
      // The person has just seen what was deleted.
      if (confirm) result = await host.call("restore_requests", { deletion, confirm }, (progress) => showStep(job, progress, back.requests));
      if (result.isError) throw new Failure(result);
      const done = result.structuredContent ?? {};
      back.requests += done.restored?.requests ?? 0;
      back.messages += done.restored?.interactions ?? 0;
      back.learned += done.restored?.learnings ?? 0;
      back.facts.push(...(done.facts ?? []));
      const left = /** @type {{why: string, count: number}[]} */ (done.not_restored ?? []).filter((one) => one.why !== "already_there");
      const goesOn = left.some((one) => one.why === "left" || one.why === "unknown");
      if (goesOn && !done.restored?.requests) problem = STOPPED_ANSWERING;
      if (!goesOn) {
        back.left.push(...left);
        numbers.shift();
      }
      show(job, { done: back.requests, step: "" });
    } catch (error) {
      problem = whyStopped(error);
    }
  }
  const back_ = goingWords(back.messages, back.learned);
  const goOn = numbers.length ? () => {
    show(job, { phase: "running", notes: [], goOn: null, stopping: false });
    void runUndo(job, numbers, back);
  } : null;
  const notes = back.left.map((one) => `${number(one.count)} ${wordsFor(one.why)}.`);
  if (goOn) show(job, { phase: "half", title: `${problem || "Stopped."} ${number(back.messages)} of ${counted(back.of, "message")} are back.`, notes, goOn, numbers: [], stopping: null });
  else {
    // An earlier try may have put back some of it.
    const all = back.left.length ? back_ : goingWords(Math.max(back.messages, back.of), back.learned);
    show(job, { phase: "done", title: `${capital(all)} ${all.startsWith("1 ") && !all.includes(" and ") ? "is" : "are"} back.`, notes, facts: back.facts, goOn: null, numbers: [], stopping: null, back: job.rows[0]?.session ?? "" });
  }
  if (back.messages || back.learned) host.tell(`In the explorer, the person put back ${back_}.`);
  await afterUndo(job.rows);
}

/** Read again what an undo may have brought back. The notice does not wait for it. @param {Row[]} rows */
async function afterUndo(rows) {
  const ids = [...new Set(rows.flatMap((row) => [row.id, row.restoredFrom].filter(Boolean)))];
  try {
    if (rows.length > 0 && rows.length <= PART) await readRows(ids);
    // A single message comes back as a request of its own.
    if (rows.length <= 1 || rows.length > PART) await lookAgain([], true);
    await Promise.all([lookForFindings(), readLearnings()]);
  } catch (error) {
    update({ problem: messageOf(error) });
  }
}

/** Remember that a finding is no problem, or take that back. @param {import("./findings.js").Finding} finding @param {boolean} noProblem */
export async function judge({ rule, rows }, noProblem) {
  for (let at = 0; at < rows.length; at += IDS_AT_ONCE) {
    const some = rows.slice(at, at + IDS_AT_ONCE);
    await host.ask("judge_finding", { finding: rule, request_ids: idsOf(some), take_back: !noProblem });
    const places = some.map((row) => [row.id, (noProblem ? row.findings : row.noProblem).get(rule) ?? []]);
    state.index.note(rule, Object.fromEntries(places), noProblem);
  }
  rematch();
}

/** Export what the filter shows, or only count it without a code. @param {{redact?: boolean, confirm?: string}} chosen */
export async function exported(chosen) {
  const { words: contains, finding } = state.filter;
  const given = { ...toQuery(state.filter), ...(contains ? { contains } : {}), ...(finding ? { finding } : {}) };
  const result = await host.call("export_data", { ...given, ...chosen });
  if (result.isError) throw new Failure(result);
  return result.structuredContent;
}

/** Call a tool that changes something with what the person has just agreed to. @param {string} tool @param {Record<string, any>} given */
async function agreed(tool, given) {
  const shown = await host.call(tool, given);
  const confirm = shown.structuredContent?.plan?.confirm;
  return confirm ? host.call(tool, { ...given, confirm }) : shown;
}

/** What a receipt says besides its numbers. @param {any[]} receipts @param {boolean} erase */
function notesOn(receipts, erase) {
  /** @type {Map<string, number>} */
  const left = new Map();
  for (const { why, count } of receipts.flatMap((one) => one.not_deleted ?? [])) left.set(why, (left.get(why) ?? 0) + count);
  const until = receipts.map((one) => one.way_back?.until).find(Boolean);
  const states = receipts.map((one) => one.way_back?.state);
  return [
    ...[...left].map(([why, count]) => `${number(count)} ${wordsFor(why)}.`),
    until ? `A copy is kept at least until ${state.clock.day(Date.parse(until))}.`
      : states.includes("unknown") ? "An older copy may still have some of it."
        : erase && states.includes("erased") ? "No copy is kept, and older copies of it went too." : "",
  ].filter(Boolean);
}

/** Whether the memory stopped answering before a deletion was over, so some of it may be deleted or not. @param {any} receipt @returns {boolean} */
function cutOff(receipt) {
  return (receipt.not_deleted ?? []).some((/** @type {{why: string}} */ one) => one.why === "unknown");
}

/** Why a job ended early, without what one of its calls changed. @param {unknown} error */
function whyStopped(error) {
  if (!(error instanceof Failure)) return sentenceOf(messageOf(error));
  if (gaveNoAnswer(error.facts)) return STOPPED_ANSWERING;
  const said = told(error.facts.filter((fact) => !OF_ONE_CALL.includes(fact.code))).map(plain).join(" ");
  return sentenceOf(said || messageOf(error));
}

/** The first line of what a server or host says, with its full stop. @param {string} text */
function sentenceOf(text) {
  const line = text.split("\n")[0].trim();
  return /[.!?]$/.test(line) ? line : `${line}.`;
}

/** @param {string} text */
function capital(text) {
  return text.charAt(0).toUpperCase() + text.slice(1);
}

/** @param {Row[]} rows */
function idsOf(rows) {
  return rows.map((row) => row.id);
}
