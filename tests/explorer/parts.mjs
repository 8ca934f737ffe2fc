// The parts of the page that need no browser: what is worked out from data, and what a job does with the server's answers.

import assert from "node:assert/strict";
import { test } from "node:test";

import { Clock, counted, shortened } from "../../reflexio_mcp/explorer/page/format.js";
import { findingsOf } from "../../reflexio_mcp/explorer/page/findings.js";
import { host } from "../../reflexio_mcp/explorer/page/host.js";
import { deleteRequests, goesWithRequests, going, goingToo, planDeletion, putBack } from "../../reflexio_mcp/explorer/page/jobs.js";
import { byPerson, chosenLearnings, fateOf, learningOf, originsOf, rulesRestingOn, sharedRuleOf } from "../../reflexio_mcp/explorer/page/memory.js";
import { goingWords, ruleWords } from "../../reflexio_mcp/explorer/page/names.js";
import { aroundSecrets, asWritten, hiddenIn, piecesOf, placesOf, searchedWords } from "../../reflexio_mcp/explorer/page/passages.js";
import { readLearnings } from "../../reflexio_mcp/explorer/page/reading.js";
import { exchangesOf, Index, messagesIn, NO_FILTER, oldestFirst, rowsOf } from "../../reflexio_mcp/explorer/page/rows.js";
import { state } from "../../reflexio_mcp/explorer/page/state.js";
import { told } from "../../reflexio_mcp/explorer/page/words.js";

/** A row as the server sends it. */
const sent = (id, given = {}) => ({
  request_id: id, user_id: "ann", created_at: "2026-11-30T10:00:00Z", interaction_count: 2, first_words: `words of ${id}`, ...given,
});
const rowsIn = (session, ...requests) => rowsOf({ sessions: [{ session_id: session, requests }] });
const indexOf = (...rows) => {
  const index = new Index();
  index.add(rows.flat());
  return index;
};

test("a shared rule rests on the people whose playbooks it was made from", () => {
  const rules = [sharedRuleOf({ rule_id: "agent_playbook:1", content: "Be short.", users: ["ann", "bob"] }), sharedRuleOf({ rule_id: "agent_playbook:2", content: "Be kind.", users: [] })];
  const fact = learningOf({ learning_id: "profile:1", content: "Likes tea." }, "ann");
  const resting = (...people) => rulesRestingOn([...rules, fact], new Set(people)).map((rule) => rule.id);
  assert.deepEqual(resting("ann"), ["agent_playbook:1"]);
  assert.deepEqual(resting("cyd"), []);
});

test("requests of one second are in the order of their interactions", () => {
  const rows = rowsIn("s", sent("a", { first_interaction: 30 }), sent("z", { first_interaction: 10 }), sent("m", { first_interaction: 20 }));
  assert.deepEqual(rows.sort(oldestFirst).map((row) => row.id), ["z", "m", "a"]);
  const { sessions: [session] } = indexOf(rows).match(NO_FILTER);
  assert.deepEqual(session.rows.map((row) => row.id), ["a", "m", "z"], "the newest first");
});

test("a message that was put back stands in its request", () => {
  const rows = rowsIn(
    "s", sent("a", { first_interaction: 1 }), sent("b", { first_interaction: 3, created_at: "2026-11-30T10:01:00Z" }),
    sent("a-interaction-2", { restored_from: "a", restored_interaction: 2, created_at: "2026-12-01T10:00:00Z" }),
    sent("gone-interaction-9", { restored_from: "gone", restored_interaction: 9, created_at: "2026-12-01T10:00:00Z" }),
  );
  assert.deepEqual(
    exchangesOf(rows.sort(oldestFirst)).map(({ row, restored }) => [row.id, restored.map((one) => one.id)]),
    [["a", ["a-interaction-2"]], ["b", []], ["gone-interaction-9", []]],
  );
});

test("each choice of a filter says what it leaves", () => {
  const index = indexOf(
    rowsIn("s", sent("a", { source: "web" }), sent("b", { source: "chat", user_id: "bob" })), rowsIn("t", sent("c", { source: "chat" })),
  );
  const { sessions, rows, counts } = index.match({ ...NO_FILTER, source: "chat" });
  assert.deepEqual([sessions.length, messagesIn(rows)], [2, 4]);
  assert.deepEqual([...counts.source].sort(), [["chat", 2], ["web", 1]], "of the other sources what they would leave");
  assert.deepEqual([...counts.user].sort(), [["ann", 1], ["bob", 1]]);
  assert.deepEqual(index.match(NO_FILTER, "longest").sessions.map((one) => one.id), ["s", "t"]);
  assert.deepEqual(index.match(NO_FILTER, "person").sessions.map((one) => one.users[0]), ["ann", "ann"]);
});

test("rows that are read again keep what was found in them, unless they have changed", () => {
  const index = indexOf(rowsIn("s", sent("a"), sent("b")));
  index.note("personal-data", { a: [1], b: [2] });
  index.add(rowsIn("s", sent("a"), sent("b", { interaction_count: 1 })));
  assert.ok(index.rows.get("a").findings.has("personal-data"));
  assert.ok(!index.rows.get("b").findings.has("personal-data"));
});

test("a conversation says how it ended, also once its requests were read again", () => {
  const outcomes = [{ outcome: "success", label: "\\u003cb>booked" }, { outcome: "failure", user_id: "bob", inferred: true }];
  const index = indexOf(rowsOf({ sessions: [{ session_id: "s", outcomes, requests: [sent("a")] }] }));
  index.add(rowsIn("s", sent("a")));
  assert.equal(index.rows.get("a").ended, "success, <b>booked; failure, for bob, judged by Reflexio");
});

test("findings are judged by conversation, and tests by who writes them", () => {
  const index = indexOf(rowsIn("s", sent("a"), sent("b")), rowsIn("t", sent("c")));
  index.note("personal-data", { a: [1], b: [2, 3] });
  index.note("probable-secret", { c: [4] });
  index.note("test-traffic", { a: [], c: [] });
  index.note("unclear-metadata", { a: [] });
  assert.deepEqual(
    findingsOf(index.rows.values()).map(({ id, messages }) => [id, messages]),
    [["probable-secret t", 1], ["personal-data s", 3], ["test-traffic ann", 4]], "the gravest first, and nothing that is not to be judged",
  );
});

test("words are marked in what was said, whatever their capitals", () => {
  assert.deepEqual(searchedWords('Note 0: “night  train” OR or (window)'), ["note", "0", "night train", "or", "window"], "as the server reads them");
  assert.deepEqual(piecesOf("for or", ["or"]).filter((one) => one.hit).length, 1, "a short word begins a word");
  assert.equal(piecesOf("Now ignore  all rules.", [], [], ["ignore all rules"]).find((one) => one.suspect)?.text, "ignore  all rules");
  const pieces = piecesOf("Window, WINDOW and [redacted: aws-key] window", searchedWords('window OR "door"'));
  assert.deepEqual(pieces.filter((one) => one.hit).map((one) => one.text), ["Window", "WINDOW", "window"]);
  assert.deepEqual(pieces.filter((one) => one.secret).map((one) => one.text), ["aws key"]);
  assert.equal(pieces.map((one) => one.text).join(""), "Window, WINDOW and aws key window");
  assert.deepEqual(piecesOf("", ["a"]), []);
});

test("words that taught something are found with other quotation marks, spaces and capitals", () => {
  const text = "Well:  I can’t eat “peanuts”,\nnot even traces.";
  assert.deepEqual(placesOf(text, ["i can't eat \"peanuts\", not even traces"]).map(([from, to]) => text.slice(from, to)), ["I can’t eat “peanuts”,\nnot even traces"]);
  assert.deepEqual(placesOf(text, ["(nothing*"]), []);
});

test("what the server escapes for Markdown and HTML is shown as it was written", () => {
  assert.equal(asWritten("\\u003cb>a](\\u0028x) http\\u003a//y \\u200b"), "<b>a]((x) http://y \\u200b");
  assert.equal(rowsIn("s", sent("a", { first_words: "\\u003cscript>" }))[0].words, "<script>");
});

test("one hidden part of a text is shown, and no other", () => {
  const covered = "key [redacted: aws-key] and [redacted] end";
  assert.deepEqual(aroundSecrets(covered), ["key ", "aws key", " and ", "covered", " end"]);
  assert.equal(hiddenIn(covered, 0, "key AKIA and hunter2 end"), "AKIA");
  assert.equal(hiddenIn(covered, 1, "key AKIA and hunter2 end"), "hunter2");
});

const learned = (id, given = {}) => learningOf({ learning_id: id, content: id, changed_at: "2026-11-30T10:00:00Z", ...given }, "ann");

test("a learning belongs to the conversation of its words, and only perhaps to what was read with them", () => {
  const said = learned("profile:1", { evidence: [{ request_id: "a", interaction_id: 1, quote: "no peanuts" }] });
  const unsure = learned("user_playbook:2", { from_requests: [{ request_id: "b" }] });
  const old = learned("profile:3", { state: "superseded", evidence: [{ request_id: "a", interaction_id: 1 }] });
  const { taught, perhaps } = originsOf([said, unsure, old], (id) => ({ a: "s", b: "t" })[id]);
  assert.deepEqual([...taught].map(([session, those]) => [session, those.map((one) => one.id)]), [["s", ["profile:1"]]]);
  assert.deepEqual([...perhaps].map(([session, those]) => [session, those.map((one) => one.id)]), [["t", ["user_playbook:2"]]]);
  assert.deepEqual(chosenLearnings([said, unsure, old], { kind: "", words: ["peanuts"], user: "", replaced: true }).map((one) => one.id), ["profile:1"]);
  assert.deepEqual(byPerson([unsure, said, learned("agent_playbook:4")]).map(([user, those]) => [user, those.length]), [["ann", 2], ["", 1]]);
});

test("what a deletion means for a learning is said as far as it is known", () => {
  const goes = (id) => id === "a";
  const fate = (given, said) => fateOf({ learning_id: "profile:1", kept: ["z"], ...given }, said && learned("profile:1", { evidence: said.map((request_id) => ({ request_id, interaction_id: 1, quote: "x" })) }), goes);
  assert.equal(fate({}, ["a"]).case, "only");
  assert.equal(fate({}, ["a", "b"]).case, "partly");
  assert.equal(fate({}, ["b"]).case, "window");
  assert.deepEqual([fate({}, undefined).case, fate({}, undefined).elsewhere], ["unknown", ["z"]]);
  const replaces = fate({ case: "replace", back: [{ learning_id: "profile:0", content: "Rather no peanuts" }] }, ["a"]);
  assert.deepEqual(replaces.older, [{ id: "profile:0", text: "Rather no peanuts" }]);
  assert.deepEqual(goingToo([replaces], new Map()), [], "it is used again unless somebody wants neither");
  assert.deepEqual(goingToo([replaces], new Map([["profile:0", true]])).map((one) => one.id), ["profile:0"]);
  const fates = [fate({}, ["a"]), { ...fate({}, ["a", "b"]), id: "profile:2" }];
  assert.deepEqual(going(fates, new Map()).map((one) => one.id), ["profile:1"]);
  assert.deepEqual(going(fates, new Map([["profile:1", false], ["profile:2", true]])).map((one) => one.id), ["profile:2"]);
});

test("numbers, names and times are words", () => {
  assert.equal(counted(1, "message"), "1 message");
  assert.equal(goingWords(14_000, 1), "14,000 messages and 1 learned thing");
  assert.equal(goingWords(0, 2), "2 learned things");
  assert.equal(ruleWords("a-new-rule").name, "A new rule");
  assert.equal(shortened("👩‍👩‍👧‍👦".repeat(30), 10).replaceAll("👩‍👩‍👧‍👦", ""), "…");
  const clock = new Clock("Europe/Lisbon");
  assert.equal(clock.dayStart(Date.UTC(2026, 6, 1, 12)), Date.UTC(2026, 5, 30, 23));
  assert.equal(told([{ code: "on_hold", number: 1, names: ["audit"] }]).length, 1);
});

test("progress reaches the call that it is about as a fact, and is nothing without one", async () => {
  const seen = [];
  host.target = { postMessage: () => {} };
  const told = host.call("delete_requests", {}, (progress) => seen.push(progress));
  const report = (params) => host.receive({ source: host.target, data: { jsonrpc: "2.0", method: "notifications/progress", params: { progressToken: host.last, ...params } } });
  report({ message: "requests deleted: 7 of 9" });
  report({ _meta: { "reflexio-mcp/progress": { step: "items_deleted", done: 7, total: 9 } } });
  host.receive({ source: host.target, data: { jsonrpc: "2.0", id: host.last, result: {} } });
  await told;
  assert.deepEqual(seen, [{ step: "items_deleted", done: 7, total: 9 }]);
});

/** Let calls of the page be answered here. @param {(name: string, given: any, onprogress: any) => any} answered structured content, the facts of a failure, or an error to throw */
function answering(answered) {
  const calls = [];
  host.call = async (name, given, onprogress) => {
    calls.push([name, given]);
    const answer = answered(name, given, onprogress);
    if (answer instanceof Error) throw answer;
    if (answer.failed) return { content: [{ type: "text", text: "For the model." }], isError: true, _meta: { "reflexio-mcp/facts": answer.failed } };
    return { content: [{ type: "text", text: "" }], structuredContent: answer };
  };
  return calls;
}

/** Stored requests, and a server that deletes and restores them. */
function stocked(count) {
  state.index = indexOf(rowsIn("s", ...Array.from({ length: count }, (_, at) => sent(`r${at}`, { first_interaction: at + 1 }))));
  state.job = null;
  const stored = new Set([...state.index.rows.keys()]);
  const listed = (ids) => [{ session_id: "s", requests: ids.filter((id) => stored.has(id)).map((id) => sent(id)) }];
  let number = 0;
  const deletions = new Map();
  const answer = (name, given) => {
    if (name === "explorer_data" && given.view === "plan")
      return { plan: { plan: { selected: { requests: given.request_ids.length, interactions: 2 * given.request_ids.length }, confirm: "C" }, learned: [], status: "planned" } };
    if (name === "explorer_data" && given.view === "rows") return { sessions: listed(given.request_ids ?? [...stored]) };
    if (name === "explorer_data") return { findings: {} };
    if (name === "delete_requests" && !given.confirm) return { plan: { selected: { requests: given.request_ids.length }, confirm: "C" } };
    if (name === "delete_requests") {
      for (const id of given.request_ids) stored.delete(id);
      deletions.set(number += 1, given.request_ids);
      return { receipt: { number, deleted: { requests: given.request_ids.length, interactions: 2 * given.request_ids.length }, way_back: { state: "whole", until: "2026-12-08T00:00:00Z" } } };
    }
    const ids = deletions.get(given.deletion);
    if (!given.confirm) return { planned: { requests: ids.length, interactions: 2 * ids.length }, confirm: "C" };
    for (const id of ids) stored.add(id);
    return { restored: { requests: ids.length, interactions: 2 * ids.length }, not_restored: [] };
  };
  return { stored, answer };
}

test("a deletion of more than one call can take has one plan, one receipt and one undo", async () => {
  const { stored, answer } = stocked(12_000);
  const calls = answering(answer);
  const rows = [...state.index.rows.values()];
  const plan = await planDeletion(rows, false, () => {});
  assert.deepEqual([plan.requests, plan.messages, plan.parts.length, plan.status], [12_000, 24_000, 5, ""]);
  await deleteRequests(plan, { erase: false, learned: [], older: [] });
  assert.ok(calls.filter(([name]) => name === "delete_requests").every(([, given]) => given.request_ids.length <= 10_000));
  assert.match(state.job.title, /^24,000 messages deleted, checked by reading again\.$/);
  assert.deepEqual([state.job.phase, stored.size, state.index.rows.size], ["done", 0, 0]);
  await putBack(state.job.numbers, rows);
  assert.deepEqual([state.job.title, stored.size], ["24,000 messages are back.", 12_000]);
});

test("what was learned from words of two parts goes with them and with what it replaced, unless some of them stay", async () => {
  const { stored, answer } = stocked(5_000);
  state.index.rows.get("r4999").held = true;
  const planned = {
    r0: [
      { learning_id: "profile:1", case: "partly", kept: ["r3000"] },
      { learning_id: "profile:2", case: "partly", kept: ["elsewhere"] },
      { learning_id: "profile:3", case: "partly", kept: ["r3000"], kept_unread: true },
      { learning_id: "profile:4", case: "replace", kept: [], back: [{ learning_id: "profile:5", content: "Rather no peanuts" }] },
      { learning_id: "profile:6", case: "partly", kept: ["elsewhere"], state: "merged" },
      { learning_id: "profile:7", case: "unknown", kept: ["elsewhere"], state: "expired" },
      { learning_id: "profile:8", case: "partly", kept: ["r4999"] },
    ],
    r2500: [
      { learning_id: "profile:1", case: "window", kept: ["r0"] },
      { learning_id: "profile:2", case: "window", kept: ["elsewhere", "r0"] },
      { learning_id: "profile:5", case: "only", kept: [], state: "superseded" },
    ],
  };
  const calls = answering((name, given) => {
    if (name === "delete_learnings" && !given.confirm) return { plan: { confirm: "C" } };
    if (name === "delete_learnings") return { receipt: { number: 9, deleted: { learnings: given.learning_ids.length } } };
    const said = answer(name, given);
    if (given.view === "plan") said.plan.learned = planned[given.request_ids[0]].map((one) => ({ user_id: "ann", ...one }));
    return said;
  });
  const plan = await planDeletion([...state.index.rows.values()], false, () => {});
  const learned = going(plan.fates, new Map());
  assert.deepEqual(plan.fates.map((fate) => [fate.id, fate.case]), [["profile:1", "only"], ["profile:2", "partly"], ["profile:3", "partly"], ["profile:4", "replace"], ["profile:8", "partly"]]);
  assert.deepEqual(plan.fates.at(-2).older, [], "it goes, too, and is not used again");
  await deleteRequests(plan, { erase: false, learned, older: [] });
  const ids = ["profile:1", "profile:4", "profile:6", "profile:5"];
  assert.deepEqual(calls.filter(([name]) => name === "delete_learnings").map(([, given]) => given), [{ learning_ids: ids, user_id: "ann" }, { learning_ids: ids, user_id: "ann", confirm: "C" }]);
  assert.deepEqual([state.job.title, stored.size], ["10,000 messages and 4 learned things deleted, checked by reading again.", 0]);
});

test("an older learned thing that nobody wants back is named in the deletion, and counted", async () => {
  const { answer } = stocked(1);
  const learned = [{ learning_id: "profile:2", user_id: "ann", content: "Loves peanuts", case: "replace", back: [{ learning_id: "profile:1", content: "Rather no peanuts" }] }];
  const calls = answering((name, given) => {
    const said = answer(name, given);
    if (given.view === "plan") Object.assign(said.plan, { learned });
    if (name === "delete_requests" && !given.confirm) said.plan.selected.learnings = 1 + (given.learning_ids?.length ?? 0);
    return said;
  });
  const plan = await planDeletion([...state.index.rows.values()], false, () => {});
  const chosen = new Map([["profile:1", true]]);
  const those = going(plan.fates, chosen);
  assert.ok(goesWithRequests(plan, those));
  assert.ok(!goesWithRequests(plan, []), "what it replaced comes back only with the deletion of what taught it");
  await deleteRequests(plan, { erase: false, learned: those, older: goingToo(those, chosen) });
  const given = { request_ids: ["r0"], include_learnings: true, learning_ids: ["profile:1"] };
  assert.deepEqual(calls.filter(([name]) => name === "delete_requests").map(([, one]) => one), [given, { ...given, confirm: "C" }]);
});

test("a job shows the step and the numbers that its call reports, whatever the message says", async () => {
  const { answer } = stocked(3_000);
  const seen = [];
  const reported = [
    { step: "looking_up" }, { step: "items_deleted", done: 500, total: 2_500 }, { step: "requests_restored", done: 400, total: 2_500 }, { step: "a_newer_step", done: 9 },
  ];
  answering((name, given, onprogress) => {
    if (!given.confirm || !onprogress) return answer(name, given);
    for (const progress of reported) {
      onprogress(progress);
      seen.push([state.job.step, state.job.done, state.job.total]);
    }
    return answer(name, given);
  });
  const rows = [...state.index.rows.values()];
  await deleteRequests(await planDeletion(rows, false, () => {}), { erase: false, learned: [], older: [] });
  assert.deepEqual(seen.slice(0, 4), [["Looking up what is there.", 0, 3_000], ["", 500, 3_000], ["", 400, 3_000], ["", 400, 3_000]]);
  assert.deepEqual(seen[5], ["", 3_000, 3_000], "the second part counts on");
  seen.length = 0;
  await putBack(state.job.numbers, rows);
  assert.deepEqual(seen[2], ["", 400, 2_500]);
  assert.deepEqual(seen[6], ["", 2_900, 3_000]);
});

test("a deletion that is cut off says so in one sentence, goes on with the rest, and can be undone", async () => {
  const { stored, answer } = stocked(5_000);
  let failing = false;
  let deleted = 0;
  answering((name, given) => {
    if (name === "delete_requests" && given.confirm && (deleted += 1) === 2) failing = true;
    return failing ? new Error("The service does not answer.") : answer(name, given);
  });
  const plan = await planDeletion([...state.index.rows.values()], false, () => {});
  await deleteRequests(plan, { erase: false, learned: [], older: [] });
  assert.equal(state.job.phase, "half");
  assert.equal(state.job.title, "The service does not answer. 5,000 messages deleted. Whether 5,000 more are deleted is not known yet.");
  assert.deepEqual([state.job.undo, state.job.numbers.length, stored.size], ["Undo the 5,000", 1, 2_500]);
  failing = false;
  state.job.goOn();
  while (state.job.phase === "running") await new Promise((resolve) => setTimeout(resolve));
  assert.deepEqual([state.job.phase, state.job.title, stored.size], ["done", "10,000 messages deleted, checked by reading again.", 0]);
});

test("a job that ended early says why, and not what its last call changed", async () => {
  for (const [facts, why] of [
    [["connection_lost", "nothing_changed", "try_again"], "The memory stopped answering."],
    [["timed_out", "effect_unknown", "try_later"], "The memory stopped answering."],
    [["access_refused", "nothing_changed", "check_key"], "Reflexio refused access. Your operator can correct the key."],
  ]) {
    const { answer } = stocked(5_000);
    let asked = 0;
    const failed = facts.map((code) => ({ code, names: [] }));
    answering((name, given) => (name === "restore_requests" && given.confirm && (asked += 1) === 2 ? { failed } : answer(name, given)));
    const rows = [...state.index.rows.values()];
    await deleteRequests(await planDeletion(rows, false, () => {}), { erase: false, learned: [], older: [] });
    await putBack(state.job.numbers, rows);
    assert.deepEqual([state.job.phase, state.job.title], ["half", `${why} 5,000 of 10,000 messages are back.`]);
  }
});

test("people whose learnings were asked for stay read when the page looks again", async () => {
  state.index = indexOf(rowsIn("s", ...Array.from({ length: 25 }, (_, at) => sent(`r${at}`, { user_id: `user-${at}` }))));
  state.server = { tools: ["list_learnings"], whose: "" };
  answering((name, given) => (given.shared ? { shared_rules: [] } : { learnings: [{ learning_id: `profile:${given.user_id}`, content: "Likes tea." }] }));
  const read = async (...most) => {
    await readLearnings(...most);
    return [state.memory.list.size, state.memory.usersLeft];
  };
  assert.deepEqual([await read(), await read(40), await read()], [[20, 5], [25, 0], [25, 0]]);
  state.server = null;
});

test("nothing is deleted if the server's plan is another one by now", async () => {
  const { stored, answer } = stocked(3);
  answering((name, given) => (name === "delete_requests" && given.confirm ? { status: "changed", plan: {} } : answer(name, given)));
  await deleteRequests(await planDeletion([...state.index.rows.values()], false, () => {}), { erase: false, learned: [], older: [] });
  assert.deepEqual([state.job.phase, stored.size], ["failed", 3]);
  assert.match(state.job.title, /^Nothing was deleted: what is stored has changed/);
});
