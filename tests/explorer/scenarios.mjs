// What a person does in the explorer, and what must come of it. `drive.mjs` runs one of these by its name.

import assert from "node:assert/strict";

import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { connect as dial, createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { axe, command, connect, explore, PATIENCE_MS, settled } from "./host.mjs";

const summary = (view) => view.locator("#summary").textContent();
const sessions = (view) => view.locator(".body .session");
const sheet = (view) => view.locator("#sheet");
const bubble = (view, text) => view.locator("#conversation .bubble", text ? { hasText: text } : {});
const finding = (view, words) => view.locator("#strip button", { hasText: words });
const button = (view, text) => view.locator("#sheet button", { hasText: text });

async function opened(browser, options = {}) {
  const client = await connect(options.client);
  const shown = await explore(browser, client, options);
  await settled(shown.view);
  return { client, ...shown, done: async () => {
    assert.deepEqual(shown.problems, []);
    await shown.context.close();
    await client.close();
  } };
}

/** Wait until the summary says something. */
async function until(view, pattern) {
  await view.waitForFunction(
    ([source]) => new RegExp(source).test(document.getElementById("summary").textContent), [pattern.source],
  ).catch(async (error) => { throw new Error(`${error.message} It says: ${await summary(view)}, not ${pattern}`); });
}

/** Wait until an assertion holds, where the page or its host answers in its own time. */
async function comesTo(check) {
  const end = Date.now() + PATIENCE_MS;
  for (;;) {
    try {
      return await check();
    } catch (error) {
      if (!(error instanceof assert.AssertionError) || Date.now() > end) throw error;
    }
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

/** Where an element is and how large, however often the page draws it anew meanwhile. */
async function boxOf(locator) {
  for (;;) {
    await locator.waitFor();
    const found = await locator.boundingBox();
    if (found) return found;
  }
}

/** Export what is shown as a person does; returns the requests in the archive that the page names. */
async function exported(view) {
  await view.locator("#export").click();
  await button(view, "Export").click();
  await view.locator("#sheet-title", { hasText: /exported$/ }).waitFor();
  const archive = await view.locator("#sheet .mono").textContent();
  assert.match(await sheet(view).textContent(), /Recognized secrets are replaced by their kinds/);
  await button(view, "Close").click();
  const [python] = JSON.parse(process.env.SERVER);
  const read = "import sys, zipfile; sys.stdout.buffer.write(zipfile.ZipFile(sys.argv[1]).read('requests.jsonl'))";
  return execFileSync(python, ["-c", read, archive], { encoding: "utf8" }).trim().split("\n").map((line) => JSON.parse(line));
}

async function selectSession(view, words) {
  await view.locator(".body .session", { hasText: words }).first().locator(".check input").click();
  await view.locator("#actions").waitFor();
}

export async function looksDeletesAndUndoes(browser) {
  const it = await opened(browser);
  const { view, client } = it;
  const before = await summary(view);
  assert.match(before, /^398 requests in 99 sessions$/);

  await view.locator(".body .session", { hasText: "2 users" }).click();
  assert.equal(await view.locator(".body .request").count(), 4);
  await view.locator(".body .request").first().click();
  await bubble(view, "Noted.").first().waitFor();
  const conversation = view.locator("#conversation");
  assert.match(await conversation.locator("header").textContent(), /Notes of the stand-up.*maria\.keller, jonas.*standup-5f0c2a9be1d4/);
  assert.deepEqual(
    await conversation.locator(".said-in > .topline .facts").evaluateAll((those) => those.map((one) => one.textContent.split(" · ")[0])),
    ["maria.keller", "jonas", "maria.keller", "maria.keller"], "from the first to the last, with who it was",
  );
  await it.looked();
  assert.equal(await conversation.locator("summary", { hasText: "shared session" }).count(), 1, "what all have in common is said once");
  for (const [words, title] of [["Delete…", "Delete 4 requests"], ["Delete request…", "Delete 1 request"]]) {
    await conversation.locator("button", { hasText: words }).first().click();
    await button(view, title).waitFor();
    await button(view, "Keep them").click();
  }

  await selectSession(view, "2 users");
  assert.match(await view.locator("#selected").textContent(), /^4 requests in 1 session, 2 users$/);
  await view.locator("#delete").click();
  await button(view, "Delete 4 requests").waitFor();
  assert.match(await sheet(view).textContent(), /jonas.*Notes of the stand-up/);
  assert.match(await sheet(view).textContent(), /A copy is kept on this computer until \d/);
  assert.doesNotMatch(await sheet(view).textContent(), /=true|_requests/);
  assert.equal(await view.evaluate(() => document.activeElement.textContent), "Keep them");
  assert.ok(await button(view, "Delete 4 requests").isDisabled());
  await view.locator(".typed input").fill("3");
  assert.ok(await button(view, "Delete 4 requests").isDisabled());
  await view.locator(".typed input").fill("4");
  await button(view, "Delete 4 requests").click();
  await view.locator("#sheet-title", { hasText: "4 deleted, checked by reading again" }).waitFor();
  assert.equal(await view.locator(".body .session", { hasText: "2 users" }).count(), 0);
  const stored = async () =>
    (await client.callTool({ name: "list_requests", arguments: { session_id: "standup-5f0c2a9be1d4" } }));
  assert.doesNotMatch(await sheet(view).textContent(), /_requests|Z;/);
  const told = await stored();
  assert.equal(told.structuredContent.returned, 0);
  await comesTo(() => assert.deepEqual(it.messages, ["In the explorer, the person deleted 4 requests."]));

  await button(view, "Undo").click();
  await view.locator("#sheet-title", { hasText: "4 requests are back" }).waitFor();
  await button(view, "Close").click();
  assert.equal((await stored()).structuredContent.returned, 4);
  await until(view, /^398 requests in 99 sessions$/);
  await comesTo(() => assert.equal(it.messages.at(-1), "In the explorer, the person restored 4 requests."));

  await bubble(view, "Noted.").first().locator("button", { hasText: "Delete interaction" }).click();
  await button(view, "Delete it").click();
  await view.locator("#sheet-title", { hasText: "Interaction deleted" }).waitFor();
  await button(view, "Undo").click();
  await view.locator("#sheet-title", { hasText: "is back" }).waitFor();
  await button(view, "Close").click();
  // It comes back as a request of its own.
  await until(view, /^399 requests in 99 sessions$/);
  await it.done();
}

export async function keepsTheSelectionAndTheWayBackInSight(browser) {
  const it = await opened(browser);
  const { page, view } = it;
  const focused = () => view.evaluate(() => document.activeElement.id || document.activeElement.tagName);
  await it.looked();
  await selectSession(view, "2 users");
  await finding(view, "probable secret").click();
  await view.locator("#selected", { hasText: "4 requests in 1 session, 2 users, 4 not shown" }).waitFor();
  await view.locator("#unhide").click();
  await view.locator("#selected", { hasText: /2 users$/ }).waitFor();
  await view.locator("#clear").click();

  // What comes back is found again, in the filter that was set.
  await finding(view, "probable secret").click();
  await until(view, /^1 of 398 requests in 1 session$/);
  await view.locator("#all").click();
  await view.locator("#delete").click();
  await button(view, "Delete 1 request").click();
  await view.locator("#sheet-title", { hasText: "1 deleted" }).waitFor();
  await button(view, "Close").click();
  await until(view, /^1 request deleted\.$/);
  assert.ok(await view.locator("#undo").isVisible());
  await view.locator("#past").click();
  await view.locator("#sheet li", { hasText: /^1 request, today \d\d:\d\d · until / }).locator("button").click();
  await view.locator("#sheet-title", { hasText: "1 request is back" }).waitFor();
  await button(view, "Close").click();
  await until(view, /^1 of 398 requests in 1 session$/);
  assert.notEqual(await focused(), "BODY");
  await view.locator("#reset").click();
  await until(view, /^398 requests in 99 sessions$/);

  // With Shift, a click selects all between; Enter in the field of the number is the button beside it.
  await sessions(view).nth(1).locator(".check input").click();
  await sessions(view).nth(3).locator(".check input").click({ modifiers: ["Shift"] });
  await view.locator("#selected", { hasText: "in 3 sessions" }).waitFor();
  const chosen = Number.parseInt(await view.locator("#selected").textContent(), 10);
  await view.locator("#delete").click();
  await view.locator(".typed input").fill(String(chosen));
  await view.locator(".typed input").press("Enter");
  await view.locator("#sheet-title", { hasText: `${chosen} deleted` }).waitFor();
  await button(view, "Close").click();
  await view.locator("#undo").click();
  await view.locator("#sheet-title", { hasText: `${chosen} requests are back` }).waitFor();
  await button(view, "Close").click();

  await sessions(view).first().focus();
  await page.keyboard.press("?");
  await view.locator("#sheet-title", { hasText: "Keys" }).waitFor();
  await page.keyboard.press("Escape");
  await page.keyboard.press("/");
  assert.equal(await focused(), "words");
  await it.done();
}

export async function filtersAndBrushes(browser) {
  const it = await opened(browser);
  const { view } = it;
  const hues = () => view.locator(".legend .key").evaluateAll((those) =>
    those.map((one) => `${one.textContent} ${getComputedStyle(one.firstElementChild).backgroundColor}`));
  const before = await hues();
  // Words of an answer are shown where they stand, and the list is at its top again.
  await view.evaluate(() => { document.getElementById("grid").scrollTop = 2_000; });
  await view.locator("#words").fill("slower third");
  await until(view, /^\d+ of 398 requests in \d+ sessions?$/);
  assert.equal(await view.evaluate(() => document.getElementById("grid").scrollTop), 0);
  assert.deepEqual(await view.locator(".words").nth(1).locator("mark").allTextContents(), ["slower", "third"]);
  assert.deepEqual(await hues(), before, "a source keeps its hue");
  await view.locator("#words").fill("label printer");
  await view.locator(".words mark", { hasText: "label" }).first().waitFor();
  await until(view, /^\d+ of 398 requests in \d+ sessions?$/);
  const withWords = Number((await summary(view)).split(" ")[0]);
  const inPart = await view.locator(".badge", { hasText: /^\d+ of \d+$/ }).allTextContents();
  assert.ok(inPart.length > 0, "sessions that match in part say so");
  for (const text of inPart) {
    const [part, whole] = text.split(" of ").map(Number);
    assert.ok(0 < part && part < whole, text);
  }
  // What a choice says it leaves is what it leaves.
  const option = await view.locator("#user option").nth(1).textContent();
  const [, name, left] = /^(.*) \((\d+)\)$/.exec(option);
  await view.locator("#user").selectOption({ label: option });
  await until(view, new RegExp(`^${left} of 398 requests`));
  assert.ok(Number(left) <= withWords);
  assert.ok((await view.locator(".body .session .user").allTextContents()).every((user) => user === name));
  await view.locator("#reset").click();
  await until(view, /^398 requests in 99 sessions$/);

  await finding(view, "probable secret").click();
  await until(view, /^1 of 398 requests in 1 session$/);
  await view.locator("#all").click();
  assert.match(await view.locator("#selected").textContent(), /^1 request in 1 session$/);
  await view.locator("#clear").click();
  await finding(view, "probable secret").click();
  await until(view, /^398 requests in 99 sessions$/);

  await view.locator("button", { hasText: "7 days" }).click();
  await until(view, /^\d+ of 398 requests/);
  await view.locator("#reset").click();
  await until(view, /^398 requests/);
  // By keyboard, then by pointer.
  const [first] = await view.locator(".handle").all();
  await first.focus();
  for (let times = 0; times < 12; times += 1) await first.press("ArrowRight");
  const narrowed = Number((await summary(view)).split(" ")[0]);
  assert.ok(narrowed < 398);
  assert.match(await view.locator(".brush").textContent(), / to /);
  assert.match(await first.getAttribute("aria-valuetext"), /^\w{3},? \d+ \w{3}, \d+ requests?/);
  await view.locator(".brush").click();
  await until(view, /^398 requests/);
  const box = await boxOf(view.locator(".area"));
  await it.page.mouse.move(box.x + box.width * 0.5, box.y + 30);
  await it.page.mouse.down();
  await it.page.mouse.move(box.x + box.width * 0.7, box.y + 30, { steps: 4 });
  await it.page.mouse.up();
  await until(view, /^\d+ of 398 requests/);

  await view.locator("#reset").click();
  await view.locator("#words").fill("nothing says this");
  await view.locator(".empty", { hasText: "Nothing matches." }).waitFor();
  assert.match(await view.locator(".empty").textContent(), /words “nothing says this”/);
  assert.ok(await view.locator("#source").isVisible(), "the row of filters stays as it is");
  await view.locator(".empty button").click();
  await until(view, /^398 requests/);
  await it.done();
}

export async function saysWhatTheTextSays(browser) {
  const it = await opened(browser, { input: { source: "slack" } });
  const { view, result } = it;
  const { sessions: said } = result.structuredContent;
  assert.ok(said.length >= 5);
  const rows = await sessions(view).evaluateAll((lines) => lines.map((line) => ({
    session: line.querySelector("input").getAttribute("aria-label").replace("Select session ", ""),
    requests: Number.parseInt(line.querySelector(".count").textContent, 10),
    user: line.querySelector(".user").textContent,
    words: line.querySelector(".words").textContent,
  })));
  assert.deepEqual(
    rows.slice(0, said.length),
    said.map((one) => ({
      session: one.session_id, requests: one.requests,
      user: one.users.length > 1 ? `${one.users.length} users` : one.users[0], words: one.first_words,
    })),
  );
  for (const one of said) assert.ok(result.content[0].text.includes(one.session_id));
  assert.equal(await view.locator("#source").inputValue(), "=slack");
  await it.done();
}

export async function showsOneUserWhereOneIsAskedFor(browser) {
  const it = await opened(browser, { input: { user_id: "jonas" } });
  const { view } = it;
  assert.match(await summary(view), /^\d+ requests? in \d+ sessions?$/);
  const users = await view.locator(".body .session .user").allTextContents();
  assert.ok(users.length && users.every((user) => user === "jonas"), `${users}`);
  assert.equal(await view.locator("#user").inputValue(), "=jonas");
  await view.locator("#reset").click();
  await until(view, /^398 requests in 99 sessions$/);
  await it.done();
  // A server for one user alone names nobody else.
  const confined = await opened(browser, { client: { env: { REFLEXIO_USER_ID: "jonas" } } });
  assert.equal(await confined.view.locator("#whose").textContent(), "jonas");
  const own = await confined.view.locator(".body .session .user").allTextContents();
  assert.ok(own.length && own.every((user) => user === "jonas"), `${own}`);
  await confined.done();
}

export async function coversSecrets(browser) {
  const it = await opened(browser);
  const { view } = it;
  await it.looked();
  await view.locator(".body .session", { hasText: "ops-rotation" }).filter({ hasText: "aws key" }).click();
  // The finding is named where it stands, and says why it matters.
  const grave = view.locator("#conversation .bubble.grave");
  await grave.locator("summary", { hasText: "probable secret" }).click();
  await grave.locator("details p", { hasText: "comes back in later prompts" }).waitFor();
  assert.equal(await grave.count(), 1);
  assert.doesNotMatch(await view.locator("body").textContent(), /AKIA/);
  assert.deepEqual(await axe(view), []);
  await grave.locator(".chip").click();
  await bubble(view, "AKIAQ3EGUZ7TV4KJ9XLP").waitFor();
  assert.doesNotMatch(await view.locator("#grid").textContent(), /AKIA/, "one is shown, where it was asked for");
  await it.done();
}

export async function showsRowsBeforeTheirWords(browser) {
  const later = Promise.withResolvers();
  const intercept = async (params, forward) => {
    const { view, hurried } = params.arguments;
    if (view !== "rows") return undefined;
    if (!hurried) {
      await later.promise;
      return undefined;
    }
    const result = await forward();
    // Where the machine is slow, the rules may be ready before the page is.
    result.structuredContent.without_words = true;
    for (const { requests } of result.structuredContent.sessions) for (const one of requests) delete one.first_words;
    return result;
  };
  const client = await connect();
  const it = await explore(browser, client, { intercept });
  const { view } = it;
  await until(view, /^Reading on: words appear once their secrets can be covered/);
  const words = () => view.locator(".body .session .words").first().textContent();
  await comesTo(async () => assert.equal(await words(), "covered"));
  assert.ok(await sessions(view).count() > 5);
  later.resolve();
  await until(view, /^398 requests in 99 sessions$/);
  await comesTo(async () => assert.match(await words(), /The deploy fails/));
  assert.deepEqual(it.problems, []);
  await it.context.close();
  await client.close();
}

export async function hidesEverythingUnderTheMask(browser) {
  const it = await opened(browser, { client: { env: { REFLEXIO_MCP_MASK: "1" } } });
  const { view } = it;
  assert.match(await view.locator("#cover").textContent(), /Text hidden by this server/);
  assert.ok(await view.locator("#words").isDisabled());
  await sessions(view).first().click();
  await bubble(view, "characters").first().waitFor();
  assert.doesNotMatch(await view.locator("body").textContent(), /Lisbon|invoice|stand-up|AKIA/);
  assert.ok(await view.locator("#export").isHidden());
  await it.done();
}

export async function offersNoDeletionWhereNoneIsOffered(browser) {
  const it = await opened(browser, { client: { env: { REFLEXIO_MCP_READ_ONLY: "1" } } });
  assert.match(await it.view.locator("#where").textContent(), / · read only$/);
  await selectSession(it.view, "2 users");
  assert.ok(await it.view.locator("#actions").isVisible());
  assert.ok(await it.view.locator("#delete").isHidden());
  assert.ok(await it.view.locator("#export").isVisible());
  assert.ok(it.calls.every((call) => call.name === "explorer_data"));
  await it.done();
}

export async function readsMoreOnceTheFilterLetsMoreThrough(browser) {
  const it = await opened(browser, { input: { source: "slack" } });
  const { view } = it;
  await view.locator("#words").fill("label printer");
  await until(view, /^\d+ of \d+ requests? in/);
  await view.locator("#reset").click();
  await until(view, /^398 requests in 99 sessions$/);
  await it.done();
}

export async function findsTheWordsItIsOpenedWith(browser) {
  const it = await opened(browser, { input: { contains: "label printer" } });
  await until(it.view, /^\d+ of 398 requests in \d+ sessions?$/);
  assert.equal(await it.view.locator("#words").inputValue(), "label printer");
  const said = await it.view.evaluate(() => document.querySelectorAll(".body .session").length);
  assert.ok(said > 0);
  await it.done();
}

export async function leavesInPlaceWhatIsInUseWhenMoreArrives(browser) {
  const [some, others] = [Promise.withResolvers(), Promise.withResolvers()];
  const intercept = async (params, forward) => {
    const { view, cursor } = params.arguments;
    if (view !== "findings") return undefined;
    if (cursor) {
      await others.promise;
      return { content: [], structuredContent: { view, findings: { "told-later": { "req-eval-00": [] } } } };
    }
    // What comes sooner than this is drawn with what comes next.
    await Promise.all([some.promise, new Promise((resolve) => setTimeout(resolve, 1_100))]);
    const result = await forward();
    result.structuredContent.cursor = "later";
    return result;
  };
  const it = await opened(browser, { intercept });
  const { view, page } = it;
  const found = (rule) => finding(view, rule).waitFor();
  await view.locator(".body .session", { hasText: "eval-bot" }).click();
  await bubble(view, "Lisbon.").nth(1).waitFor();
  await selectSession(view, "2 users");
  await view.locator("#conversation header .small").click();
  await until(view, /^Copied\.$/);
  const inUse = () => view.evaluate(() => [String(getSelection()), document.activeElement.textContent]);
  await view.evaluate(() => getSelection().selectAllChildren(document.querySelector(".bubble .text")));
  const before = await inUse();
  assert.match(before[0], /Case/);
  assert.equal(before[1], "Copy session id");
  some.resolve();
  await found("probable secret");
  assert.deepEqual(await inUse(), before);
  assert.equal(await summary(view), "Copied.");

  // A button of the mouse that is down stays on what is under it.
  const { x, y } = await boxOf(view.locator(".body .session", { hasText: "aws key" }).locator(".check input"));
  await page.mouse.move(x + 8, y + 8);
  await page.mouse.down();
  others.resolve();
  await found("told later");
  await page.mouse.up();
  await view.locator("#selected", { hasText: "5 requests in 2 sessions" }).waitFor();
  await it.done();
}

export async function saysWhatCameOfItWhoeverListens(browser) {
  const [deleted, answered] = [Promise.withResolvers(), Promise.withResolvers()];
  const intercept = async (params, forward) => {
    if (params.name !== "delete_requests") return undefined;
    const result = await forward();
    deleted.resolve();
    await answered.promise;
    return result;
  };
  const it = await opened(browser, { intercept });
  const { view, client } = it;
  // A host that asks the person before it passes a message on.
  it.bridge.onupdatemodelcontext = ({ content }) => { it.messages.push(content[0].text); return new Promise(() => {}); };
  const agree = async (words) => {
    await selectSession(view, words);
    await view.locator("#delete").click();
    await view.locator("#sheet .final").waitFor();
    if (await view.locator(".typed input").count()) await view.locator(".typed input").fill("4");
    await view.locator("#sheet .final").click();
  };
  // Closed while it runs, it goes on, and the page says what came of it.
  await agree("aws key");
  await view.locator("#sheet-title", { hasText: "Delete 1 request" }).waitFor();
  assert.match(await sheet(view).textContent(), /You can close this sheet\. Keep the window open\./);
  assert.deepEqual(await axe(view), []);
  await button(view, "Close").click();
  await deleted.promise;
  answered.resolve();
  await until(view, /^1 request deleted\.$/);
  assert.equal(await view.locator(".body .session", { hasText: "aws key" }).count(), 0);
  assert.ok(await view.locator("#actions").isHidden());
  assert.ok(!(await view.evaluate(() => document.getElementById("sheet").open)));
  await agree("2 users");
  await view.locator("#sheet-title", { hasText: "4 deleted, checked by reading again" }).waitFor();
  await button(view, "Close").click();
  await comesTo(() => assert.deepEqual(
    it.messages, ["In the explorer, the person deleted 1 request.", "In the explorer, the person deleted 4 requests."],
  ));
  await it.done();
}

export async function exportsWhatTheFilterShows(browser) {
  const it = await opened(browser);
  const { view } = it;
  await it.looked();
  await finding(view, "probable secret").click();
  await until(view, /^1 of 398 requests in 1 session$/);
  await view.locator("#export").click();
  await view.locator("#sheet-title", { hasText: "Export 1 request" }).waitFor();
  assert.match(await sheet(view).textContent(), /The filter is: finding probable secret\..*interactions2/);
  assert.deepEqual(await axe(view), []);
  await button(view, "Close").click();
  assert.deepEqual(it.calls.filter(({ name }) => name === "export_data").map((one) => one.arguments.redact), [undefined], "a look writes nothing");
  const [one, ...others] = await exported(view);
  assert.deepEqual([one.request.request_id, others], ["req-secret-1", []]);
  assert.match(one.interactions[0].content, /aws_access_key_id = \[redacted/);
  await it.done();
}

export async function worksByKeyboardAlone(browser) {
  const it = await opened(browser);
  const { page, view } = it;
  const focused = () => view.evaluate(() => {
    const one = document.activeElement;
    return one.dataset.key ?? one.id ?? one.textContent;
  });
  await view.locator("#words").focus();
  let steps = 0;
  while (!/^s /.test(await focused())) {
    await page.keyboard.press("Tab");
    assert.ok((steps += 1) < 30, "the table is reached by Tab");
  }
  const first = await focused();
  await page.keyboard.press("ArrowDown");
  assert.notEqual(await focused(), first);
  assert.match(
    await view.evaluate(() => document.activeElement.getAttribute("aria-label")),
    /^(today|yesterday) \d\d:\d\d, .+, .+, \d+ requests?(, .+)?$/,
  );
  await page.keyboard.press("ArrowRight");
  await page.keyboard.press("ArrowRight");
  assert.match(await focused(), /^r /);
  await page.keyboard.press("Enter");
  await bubble(view).first().waitFor();
  await page.keyboard.press("Space");
  assert.match(await view.locator("#selected").textContent(), /^1 request in 1 session$/);
  await page.keyboard.press("Escape");
  await bubble(view).first().waitFor({ state: "detached" });
  assert.match(await focused(), /^r /);
  await page.keyboard.press("ArrowLeft");
  assert.match(await focused(), /^s /);
  await page.keyboard.press("End");
  const last = await focused();
  assert.match(last, /^s /);
  assert.ok(await view.locator(`[data-key="${last}"]`).isVisible());
  await page.keyboard.press("Home");
  steps = 0;
  while ((await focused()) !== "delete") {
    await page.keyboard.press("Tab");
    assert.ok((steps += 1) < 60, "Delete is reached by Tab");
  }
  await page.keyboard.press("Enter");
  await button(view, "Delete 1 request").waitFor();
  await page.keyboard.press("Escape");
  await view.waitForFunction(() => !document.getElementById("sheet").open);
  assert.equal(await focused(), "delete");
  await page.keyboard.press("Enter");
  await button(view, "Delete 1 request").waitFor();
  await page.keyboard.press("Tab");
  await page.keyboard.press("Enter");
  await view.locator("#sheet-title", { hasText: "1 deleted" }).waitFor();
  await page.keyboard.press("Escape");
  await it.done();
}

export async function asksTheHostsFormToo(browser) {
  let asked = 0;
  const forms = (answer) => async () => { asked += 1; return answer; };
  const ask = { REFLEXIO_MCP_CONFIRM: "ask" };
  const declined = await opened(browser, { client: { env: ask, forms: forms({ action: "decline" }) } });
  await selectSession(declined.view, "2 users");
  await declined.view.locator("#delete").click();
  await declined.view.locator(".typed input").fill("4");
  await button(declined.view, "Delete 4 requests").click();
  await declined.view.locator("#sheet-title", { hasText: "Nothing was deleted" }).waitFor();
  assert.equal(asked, 1);
  await declined.done();
  // Where no form can be shown, that is said before a number is typed, and the cap before Delete is pressed.
  const formless = await opened(browser, { client: { env: { ...ask, REFLEXIO_MCP_DELETE_CAP: "5" } } });
  await selectSession(formless.view, "2 users");
  await formless.view.locator("#delete").click();
  await formless.view.locator("#sheet-title", { hasText: "Nothing can be deleted here" }).waitFor();
  await button(formless.view, "Close").click();
  await formless.view.locator("#all").click();
  await formless.view.locator("#selected", { hasText: /, 5 an hour may be deleted$/ }).waitFor();
  await formless.done();
  const agreed = await opened(browser, { client: { env: ask, forms: forms({ action: "accept", content: { number: 4 } }) } });
  await selectSession(agreed.view, "2 users");
  await agreed.view.locator("#delete").click();
  await agreed.view.locator(".typed input").fill("4");
  await button(agreed.view, "Delete 4 requests").click();
  await agreed.view.locator("#sheet-title", { hasText: "4 deleted" }).waitFor();
  assert.equal(asked, 2);
  await agreed.done();
  // In `auto` the yes in the page is enough, though the host could show a form.
  const auto = await opened(browser, { client: { forms: forms({ action: "decline" }) } });
  await selectSession(auto.view, "ops-rotation");
  await auto.view.locator("#delete").click();
  await button(auto.view, "Delete 1 request").click();
  await auto.view.locator("#sheet-title", { hasText: "1 deleted" }).waitFor();
  assert.equal(asked, 2);
  await auto.done();
}

export async function saysWhenTheSetHasChanged(browser) {
  const it = await opened(browser);
  const { view, client } = it;
  await selectSession(view, "2 users");
  await view.locator("#delete").click();
  await view.locator(".typed input").fill("4");
  const plan = await client.callTool({ name: "delete_request", arguments: { request_id: "req-shared-0" } });
  await client.callTool({ name: "delete_request", arguments: { request_id: "req-shared-0", confirm: plan.structuredContent.plan.confirm } });
  await button(view, "Delete 4 requests").click();
  await view.locator("#sheet-title", { hasText: "Nothing was deleted" }).waitFor();
  assert.match(await sheet(view).textContent(), /has changed since you looked/);
  await button(view, "Look again").click();
  await button(view, "Delete 3 requests").waitFor();
  assert.match(await sheet(view).textContent(), /1 request of your selection is not stored any more/);
  await view.locator(".typed input").fill("3");
  await button(view, "Delete 3 requests").click();
  await view.locator("#sheet-title", { hasText: "3 deleted" }).waitFor();
  await it.done();
}

export async function leavesWhatAHoldKeeps(browser) {
  const folder = mkdtempSync(join(tmpdir(), "hold-"));
  const policy = join(folder, "policy.toml");
  writeFileSync(policy, '[[hold]]\nusers = ["jonas", "priya.n"]\nreason = "audit"\n');
  const it = await opened(browser, { client: { env: { REFLEXIO_MCP_POLICY: policy } } });
  const { view } = it;
  const before = await summary(view);
  await view.locator(".body .session", { hasText: "jonas" }).first().locator(".check input").click();
  await view.locator("#delete").click();
  await view.locator("#sheet-title", { hasText: "Nothing to delete" }).waitFor();
  assert.match(await sheet(view).textContent(), /a hold keeps all of it\./);
  await button(view, "Close").click();
  assert.equal(await summary(view), before);
  await it.done();
  rmSync(folder, { recursive: true });
}

export async function saysWhenTheHostRefuses(browser) {
  let refuse = true;
  const intercept = async () => {
    if (refuse) throw new Error("The host does not allow this call.");
  };
  const client = await connect();
  const it = await explore(browser, client, { intercept });
  await it.view.locator(".empty", { hasText: "Nothing could be read." }).waitFor();
  assert.match(await it.view.locator(".empty").textContent(), /does not allow this call/);
  assert.ok((await boxOf(it.view.locator("#summary"))).width <= 1, "the same words are seen once");
  refuse = false;
  await it.view.locator(".empty button").click();
  await until(it.view, /^398 requests/);
  refuse = true;
  await selectSession(it.view, "2 users");
  await it.view.locator("#delete").click();
  await it.view.locator("#sheet [role=alert]", { hasText: "does not allow" }).waitFor();
  assert.ok(await it.view.locator(".body .session", { hasText: "2 users" }).isVisible());
  await it.context.close();
  await client.close();
}

export async function takesOnTheHostsLooks(browser) {
  const variables = { "--color-background-primary": "rgb(1, 2, 3)", "--font-sans": "monospace" };
  const it = await opened(browser, { theme: "dark", context: { styles: { variables } } });
  const style = await it.view.evaluate(() => {
    const { backgroundColor, fontFamily, colorScheme } = getComputedStyle(document.body);
    return { backgroundColor, fontFamily, colorScheme };
  });
  assert.deepEqual(style, { backgroundColor: "rgb(1, 2, 3)", fontFamily: "monospace", colorScheme: "dark" });
  await it.bridge.sendHostContextChange({ theme: "light" });
  await it.view.waitForFunction(() => getComputedStyle(document.body).colorScheme === "light");
  // Where the host leaves the height to the page, the page says one, and is as high.
  const flexible = await explore(browser, it.client, { context: { containerDimensions: { width: 1280, maxHeight: 600 } } });
  await settled(flexible.view);
  assert.equal(flexible.sizes.at(-1).height, 600);
  assert.equal(await flexible.view.evaluate(() => document.documentElement.offsetHeight), 600);
  await flexible.context.close();
  await it.done();
}

export async function fitsEveryWidth(browser) {
  const client = await connect();
  // The last three are a small frame, and a window at 200 and 400 % zoom.
  for (const [width, height] of [[320, 640], [480, 640], [768, 640], [1280, 680], [1920, 640], [360, 320], [640, 360], [320, 180]]) {
    const it = await explore(browser, client, { width, height });
    await settled(it.view);
    await it.looked();
    const [row, area] = [await boxOf(sessions(it.view).first()), await boxOf(it.view.locator("#grid"))];
    assert.ok(row.y + row.height <= height, `a row is seen at ${width} x ${height}`);
    if (height === 680) {
      const controls = await it.view.evaluate(() => ["place", "summary", "filters"].reduce((sum, one) => sum + document.querySelector(`.${one}`).offsetHeight, 0));
      assert.ok(controls <= height / 5, `controls take ${controls} px`);
      assert.ok(area.height >= height * 0.6);
    }
    const short = await it.view.locator(".body .session :is(.when, .user)").evaluateAll((those) => those
      .filter((one) => one.scrollWidth > one.clientWidth + 1 && one.clientWidth < 56).map((one) => one.textContent));
    assert.deepEqual(short, [], `there is room for who and when at ${width}`);
    await sessions(it.view).first().click();
    await bubble(it.view).first().waitFor();
    assert.equal(await sessions(it.view).first().isVisible(), width >= 960, "beside the list, or in its place");
    await it.view.locator("#conversation button", { hasText: "Close" }).click();
    await selectSession(it.view, "2 users");
    await it.view.locator("#delete").click();
    await button(it.view, "Delete 4 requests").waitFor();
    const wide = await it.view.evaluate(() => {
      const right = document.documentElement.clientWidth;
      return [document.documentElement, document.getElementById("grid"), ...document.querySelectorAll("#sheet, #page > *, .place > *, .actions *, .filters *:not(.spoken)")]
        .filter((one) => one.scrollWidth > one.clientWidth + 1 && getComputedStyle(one).overflow === "visible" && one.clientWidth
          || one.getBoundingClientRect().right > right + 1)
        .map((one) => `${one.tagName} ${one.id || one.className}`);
    });
    assert.deepEqual(wide, [], `at ${width} x ${height}`);
    assert.deepEqual(it.problems, []);
    await it.context.close();
  }
  await client.close();
}

/** axe in each state that a person meets on the way through the page. */
async function walks(it, where) {
  const { view } = it;
  const found = async (state) => assert.deepEqual(await axe(view), [], `${state}, ${where}`);
  await found("table");
  await view.locator(".body .session", { hasText: "2 users" }).click();
  await bubble(view, "Noted.").first().waitFor();
  await found("opened");
  await view.locator("#conversation button", { hasText: "Close" }).click();
  await selectSession(view, "2 users");
  await found("selected");
  await view.locator("#delete").click();
  await button(view, "Delete 4 requests").waitFor();
  await found("plan");
  await view.locator(".typed input").fill("4");
  await found("plan, number typed");
  await button(view, "Keep them").click();
  await view.locator("#words").fill("nothing says this");
  await view.locator(".empty", { hasText: "Nothing matches." }).waitFor();
  await found("nothing matches");
  await view.locator(".empty button").click();
  await until(view, /^398 requests/);
}

export async function satisfiesAxe(browser) {
  const client = await connect();
  for (const [theme, width] of [["light", 1280], ["dark", 1280], ["light", 320]]) {
    const it = await explore(browser, client, { theme, width });
    await settled(it.view);
    await walks(it, `${theme}, ${width}`);
    await it.context.close();
  }
  await client.close();
}

export async function holdsInForcedColours(browser) {
  const client = await connect();
  for (const [theme, width] of [["light", 1280], ["dark", 320]]) {
    const it = await explore(browser, client, { theme, width, media: { forcedColors: "active", colorScheme: theme, viewport: { width, height: 720 } } });
    const { view } = it;
    await settled(view);
    assert.ok(await view.evaluate(() => matchMedia("(forced-colors: active)").matches));
    // What is told by a colour elsewhere is still seen: the pressed chip, the sources, what is selected.
    const look = async (selector, pseudo, name) => {
      await view.locator(selector).first().waitFor();
      return view.evaluate(
        ([one, part, property]) => getComputedStyle(document.querySelector(one), part)[property], [selector, pseudo, name],
      );
    };
    if (width < 768) await view.locator("#more-filters").click();
    const pressed = (on) => look(`.chips button[aria-pressed="${on}"]`, null, "backgroundColor");
    assert.notEqual(await pressed(true), await pressed(false));
    await view.locator(".legend i").first().waitFor();
    // In one step: a key that is drawn anew between two has no colour any more.
    const hues = await view.evaluate(() => [...document.querySelectorAll(".legend i")].map((key) => getComputedStyle(key).backgroundColor));
    assert.equal(new Set(hues).size, hues.length, `${hues}`);
    await selectSession(view, "2 users");
    assert.equal(await look(".line.chosen", null, "outlineStyle"), "solid");
    assert.equal(await look(".body .session:not(.chosen)", null, "outlineStyle"), "none");
    await view.locator("#clear").click();
    await walks(it, `forced colours, ${width}`);
    assert.deepEqual(it.problems, []);
    await it.context.close();
  }
  await client.close();
}

export async function worksByTouch(browser) {
  const it = await opened(browser, {
    width: 390, height: 720, media: { viewport: { width: 390, height: 720 }, hasTouch: true, isMobile: true },
  });
  const { page, view } = it;
  // With the findings another filter comes.
  await it.looked();
  assert.ok(await view.evaluate(() => matchMedia("(pointer: coarse)").matches));
  const small = await view.locator("button:visible, select:visible, .body .session:visible").evaluateAll((those) => those
    .filter((one) => one.getBoundingClientRect().height < 36).map((one) => one.textContent));
  assert.deepEqual(small, [], "a finger hits it");
  const row = view.locator(".body .session", { hasText: "2 users" });
  assert.ok((await boxOf(row)).height >= 44);
  // Beside the box is close enough.
  const box = await boxOf(row.locator(".check input"));
  await page.touchscreen.tap(box.x - 4, box.y + box.height + 8);
  await view.locator("#selected", { hasText: "4 requests" }).waitFor();
  await row.tap();
  await bubble(view).first().waitFor();
  assert.deepEqual(await axe(view), []);
  await view.locator("#conversation button", { hasText: "Close" }).tap();
  await view.locator("#more-filters").tap();
  // A finger drawn over the timeline narrows the period.
  const area = await boxOf(view.locator(".area"));
  const touches = await it.context.newCDPSession(page);
  const stroke = async (...points) => {
    for (const [index, [part, y]] of points.entries())
      await touches.send("Input.dispatchTouchEvent", {
        type: index ? "touchMove" : "touchStart", touchPoints: [{ x: area.x + area.width * part, y: area.y + y }],
      });
    await touches.send("Input.dispatchTouchEvent", { type: "touchEnd", touchPoints: [] });
  };
  await stroke([0.5, 30], [0.55, 30], [0.6, 30], [0.7, 30]);
  await until(view, /^\d+ of 398 requests/);
  // However quick the stroke was, the next tap is a tap.
  await view.locator(".brush").tap();
  await until(view, /^398 requests/);
  // One that goes up or down scrolls what is around the page, and chooses nothing.
  await view.evaluate(() => {
    window.cancelled = new Promise((resolve) => addEventListener("pointercancel", resolve, { once: true }));
  });
  await stroke([0.5, 60], [0.5, 40], [0.5, 20], [0.5, 0]);
  await view.evaluate(() => window.cancelled);
  assert.match(await summary(view), /^398 requests/);
  assert.ok(await view.locator(".brush").isHidden());
  await it.done();
}

export async function keepsStillUnderReducedMotion(browser) {
  for (const [motion, names] of [["reduce", ["none"]], ["no-preference", ["rise"]]]) {
    const it = await opened(browser, { media: { reducedMotion: motion, viewport: { width: 1280, height: 720 } } });
    await selectSession(it.view, "2 users");
    await it.view.locator("#delete").click();
    await button(it.view, "Delete 4 requests").waitFor();
    const moving = await it.view.evaluate(() => [getComputedStyle(document.getElementById("sheet")).animationName]);
    assert.deepEqual(moving, names);
    if (motion === "reduce") {
      const changing = await it.view.evaluate(() => [...document.querySelectorAll("*")].flatMap((one) =>
        [null, "::before", "::after"].map((part) => getComputedStyle(one, part).transitionDuration)).filter((time) => !/^0s(, 0s)*$/.test(time)));
      assert.deepEqual(changing, []);
    }
    await it.done();
  }
}

export async function readsFromRightToLeft(browser) {
  for (const width of [1280, 320]) {
    const it = await opened(browser, { width });
    const { view } = it;
    const row = (words) => view.locator(".body .session", { hasText: words });
    await it.looked();
    const [arabic, latin] = [row("كيف"), row("Plain Latin")];
    // The columns are where they are in other rows, and a long text begins where it is read from.
    for (const part of [".when", ".words"]) {
      const [one, other] = [await boxOf(arabic.locator(part)), await boxOf(latin.locator(part))];
      assert.equal(Math.round(one.x), Math.round(other.x), part);
    }
    const style = (name) => arabic.locator(".words").evaluate((one, property) => getComputedStyle(one)[property], name);
    assert.equal(await style("direction"), "rtl");
    assert.equal(await style("textAlign"), "left");
    // Whatever is left out of an id, no character is cut in two.
    const user = await row("👩‍👩‍👧‍👦").locator(".user").textContent();
    assert.match(user, /…/);
    assert.equal(user.replaceAll("👩‍👩‍👧‍👦", ""), "…");
    await arabic.click();
    await bubble(view).first().waitFor();
    assert.equal(await bubble(view).first().locator(".text").evaluate((one) => getComputedStyle(one).direction), "rtl");
    assert.deepEqual(await axe(view), []);
    await view.locator("#conversation button", { hasText: "Close" }).click();
    await arabic.locator(".check input").click();
    await view.locator("#delete").click();
    await view.locator("#sheet .final").waitFor();
    assert.deepEqual(await axe(view), []);
    const wide = await view.evaluate(() => document.documentElement.scrollWidth <= document.documentElement.clientWidth);
    assert.ok(wide, "nothing hangs over the edge");
    await it.done();
  }
}

/** A way to the backend that can be cut. */
async function way(to) {
  const { hostname, port } = new URL(to);
  const open = new Set();
  let away = false;
  let [counts, left] = ["", Infinity];
  const server = createServer((from) => {
    if (away) return from.destroy();
    const on = dial(Number(port), hostname);
    from.on("data", (text) => {
      if (text.includes(counts) && --left < 0) cut();
    });
    for (const one of [from, on]) {
      open.add(one);
      one.on("error", () => {});
      one.on("close", () => { open.delete(one); from.destroy(); on.destroy(); });
    }
    from.pipe(on).pipe(from);
  });
  const cut = () => { away = true; for (const one of open) one.destroy(); };
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  return {
    url: `http://127.0.0.1:${server.address().port}`,
    cut,
    cutAfter: (path, calls) => { [counts, left] = [path, calls]; },
    mend: () => { away = false; left = Infinity; },
    close: () => server.close(),
  };
}

export async function livesThroughABackendThatGoesAway(browser) {
  const backend = await way(process.env.BACKEND);
  const it = await opened(browser, { client: { env: { REFLEXIO_URL: backend.url } } });
  const { view } = it;
  await until(view, /^398 requests in 99 sessions$/);
  await it.looked();
  backend.cut();

  // What is read for the first time says so, and what was known stays.
  await view.locator(".body .session", { hasText: "ops-rotation" }).filter({ hasText: "aws key" }).click();
  const failed = view.locator("#conversation [role=alert]");
  await failed.waitFor();
  assert.deepEqual(await axe(view), []);
  await view.locator("#words").fill("label printer");
  await view.locator("#again").waitFor();
  assert.equal(await view.locator("#summary").getAttribute("class"), "note");
  assert.equal(await view.locator(".body .session", { hasText: "2 users" }).count(), 1);
  assert.deepEqual(await axe(view), []);
  const asked = it.calls.length;
  await view.locator("#again").click();
  await comesTo(() => assert.ok(it.calls.length > asked));
  await view.locator("#again").waitFor();
  assert.equal(await view.locator(".body .session", { hasText: "2 users" }).count(), 1, "the last known rows are back");
  await selectSession(view, "2 users");
  await view.locator("#delete").click();
  await view.locator("#sheet [role=alert]").waitFor();
  assert.deepEqual(await axe(view), []);
  await button(view, "Close").click();

  backend.mend();
  await failed.locator("xpath=..").locator("button", { hasText: "Try again" }).click();
  await bubble(view, "lacks the permission").waitFor();
  await view.locator("#again").click();
  await until(view, /^\d+ of 398 requests in \d+ sessions?$/);
  assert.ok(await view.locator("#again").isHidden());
  await it.done();
  backend.close();
}

export async function saysHowFarItCameWhenItIsCutOff(browser) {
  const backend = await way(process.env.BACKEND);
  const it = await opened(browser, { client: { env: { REFLEXIO_URL: backend.url, REFLEXIO_MCP_DELETE_CAP: "0" } } });
  const { view, client } = it;
  await until(view, /^2,500 requests in 500 sessions$/);
  await it.looked();
  await view.locator("#all").click();
  await view.locator("#delete").click();
  await view.locator(".typed input").fill("2,500");
  backend.cutAfter("/api/delete_requests_by_ids", 1);
  await view.locator("#sheet .final").click();
  await view.locator("#sheet-title", { hasText: /^Not known whether [\d,]+ were deleted$/ }).waitFor();
  assert.match(await sheet(view).textContent(), /The call ended early: /);
  assert.deepEqual(await axe(view), []);
  await button(view, "Close").click();
  // Which rows are gone could not be looked up: the page says so, and does it when there is an answer again.
  await view.locator("#again").waitFor();
  backend.mend();
  await view.locator("#again").click();
  await until(view, /^2,000 requests in 400 sessions$/);
  assert.equal(await view.locator("#selected").textContent(), "2,000 requests in 400 sessions, 7 users");
  await it.done();
  backend.close();
}

export async function goesOnWithAnUndoThatWasCutOff(browser) {
  const backend = await way(process.env.BACKEND);
  const it = await opened(browser, { client: { env: { REFLEXIO_URL: backend.url } } });
  const { view } = it;
  await until(view, /^300 requests in 60 sessions$/);
  await it.looked();
  await view.locator("#all").click();
  await view.locator("#delete").click();
  await view.locator(".typed input").fill("300");
  await view.locator("#sheet .final").click();
  await view.locator("#sheet-title", { hasText: "300 deleted, checked by reading again" }).waitFor();
  backend.cutAfter("/api/publish_interaction", 120);
  await button(view, "Undo").click();
  const title = view.locator("#sheet-title", { hasText: / of 300 requests are back$/ });
  // Each call is tried again before it is given up.
  await title.waitFor({ timeout: 2 * PATIENCE_MS });
  const back = Number.parseInt(await title.textContent(), 10);
  assert.ok(back > 0 && back <= 120, `${back} are back`);
  assert.deepEqual(await axe(view), []);
  backend.mend();
  await button(view, "Continue").click();
  await view.locator("#sheet-title", { hasText: /^300 requests are back$/ }).waitFor({ timeout: 2 * PATIENCE_MS });
  await button(view, "Close").click();
  await until(view, /^300 requests in 60 sessions$/);
  await it.done();
  backend.close();
}

export async function undoesTenThousand(browser) {
  const it = await command(browser);
  const { view, page } = it;
  const patience = { timeout: 500_000 };
  await until(view, /^10,000 requests in 2,000 sessions$/);
  await view.locator("#all").click();
  await view.locator("#delete").click();
  await view.locator(".typed input").fill("10,000");
  await view.locator("#sheet .final").click();
  await view.locator("#sheet-title", { hasText: "10,000 deleted, checked by reading again" }).waitFor(patience);
  await button(view, "Undo").click();
  await view.locator("#sheet [role=status]", { hasText: /^[1-9][\d,]* of 10,000 requests are back\.$/ }).waitFor(patience);
  await view.locator("#sheet-title", { hasText: /^10,000 requests are back$/ }).waitFor(patience);
  await button(view, "Close").click();
  await until(view, /^10,000 requests in 2,000 sessions$/);
  assert.deepEqual(it.problems, []);
  await page.close();
  assert.equal(await it.ended, 0);
}

/** Take back, correct and undo learnings of one user where the server is for everybody. */
export async function takesBackAndCorrectsWhatWasLearned(browser) {
  const learned = [
    { learning_id: "profile:1", content: "Looks after the import job.", evidence: [{ request_id: "req-shared-0", interaction_id: 1 }] },
    { learning_id: "profile:2", content: "Key [redacted: password].", evidence: [{ request_id: "req-shared-0", interaction_id: 1 }] },
  ].map((one) => ({ state: "current", user_id: "maria.keller", ...one }));
  const given = [];
  const plan = { selected: { learnings: 1 }, confirm: "C1" };
  const receipt = { number: 98, deleted: { learnings: 1 }, way_back: { state: "whole", until: new Date(Date.now() + 1e8).toISOString() } };
  const answer = (structuredContent, text = "Done.") => ({ content: [{ type: "text", text }], structuredContent });
  // The embedded store learns nothing: what a server that learns says is put in.
  const intercept = async ({ name, arguments: asked }, forward) => {
    if (name === "list_learnings") return answer({ learnings: asked.session_id.startsWith("standup") ? learned : [] });
    const ours = ["delete_learnings", "correct_learning"].includes(name) || asked.deletion === 98;
    if (ours) given.push([name, asked]);
    if (name === "delete_learnings") return answer(asked.confirm ? { status: "complete", receipt } : { status: "planned", plan });
    if (name === "correct_learning" && asked.confirm) {
      learned[0].content = asked.content;
      return answer({ status: "complete", receipt: { ...receipt, deleted: {}, corrected: 1 } });
    }
    if (name === "correct_learning")
      return answer({ status: "planned", plan: { ...plan, selected: {}, change: { before: learned[0].content, after: asked.content } } });
    if (asked.deletion === 98) return answer(asked.confirm ? { restored: { learnings: 1 } } : { planned: { learnings: 1 }, confirm: "C2" });
    const result = await forward();
    result.structuredContent?.state?.tools.push("list_learnings", "delete_learnings", "correct_learning");
    if (result.structuredContent?.plan?.learned) Object.assign(result.structuredContent.plan, { learnings: 2, learned: learned.map((one) => ({ ...one, kept: [] })) });
    return result;
  };
  const it = await opened(browser, { intercept });
  const { view } = it;
  await view.locator(".body .session", { hasText: "2 users" }).click();
  const cards = view.locator("#conversation .card");
  const card = cards.filter({ hasText: "import job" });
  await card.locator("button", { hasText: "Take back" }).click();
  await button(view, "Take it back").click();
  await view.locator("#sheet-title", { hasText: "Taken back" }).waitFor();
  const whose = { learning_ids: ["profile:1"], user_id: "maria.keller" };
  assert.deepEqual(given.splice(0), [["delete_learnings", whose], ["delete_learnings", { ...whose, confirm: "C1" }]]);
  await button(view, "Undo").click();
  await view.locator("#sheet-title", { hasText: "1 learning is back" }).waitFor();
  await button(view, "Close").click();
  given.length = 0;

  // What is covered cannot be written anew without being lost.
  assert.equal(await cards.filter({ hasText: "Key" }).locator("button", { hasText: "Correct" }).count(), 0);
  await card.locator("button", { hasText: "Correct" }).click();
  assert.equal(await view.locator("#sheet textarea").inputValue(), "Looks after the import job.");
  assert.deepEqual(await axe(view), []);
  await view.locator("#sheet textarea").fill("Hands the import job over.");
  await button(view, "Show the change").click();
  await view.locator("#sheet ins", { hasText: "Hands the import job over." }).waitFor();
  assert.equal(await view.locator("#sheet del").textContent(), "Looks after the import job.");
  assert.equal(await view.evaluate(() => document.activeElement.textContent), "Keep the old text");
  assert.match(await sheet(view).textContent(), /A copy is kept on this computer until/);
  assert.deepEqual(await axe(view), []);
  await button(view, "Correct it").click();
  await view.locator("#sheet-title", { hasText: "Corrected" }).waitFor();
  const wanted = { learning_id: "profile:1", content: "Hands the import job over.", user_id: "maria.keller" };
  assert.deepEqual(given.splice(0), [["correct_learning", wanted], ["correct_learning", { ...wanted, confirm: "C1" }]]);
  await button(view, "Close").click();
  await cards.filter({ hasText: "Hands the import job over." }).waitFor();
  await comesTo(() => assert.equal(it.messages.at(-1), "In the explorer, the person corrected 1 learning."));

  // A part of the learnings goes with the requests, and comes back with them.
  await selectSession(view, "2 users");
  await view.locator("#delete").click();
  await view.locator("label.option", { hasText: "Hands the import job over." }).locator("input").check();
  await view.locator(".typed input").fill("4");
  await view.locator("#sheet .final").click();
  await view.locator("#sheet-title", { hasText: "4 deleted, checked by reading again" }).waitFor();
  assert.match(await sheet(view).textContent(), /1 learning deleted with them/);
  assert.deepEqual(given.splice(0), [["delete_learnings", whose], ["delete_learnings", { ...whose, confirm: "C1" }]]);
  await button(view, "Undo").click();
  await view.locator("#sheet-title", { hasText: "4 requests are back" }).waitFor();
  assert.deepEqual(given, [["restore_requests", { deletion: 98 }], ["restore_requests", { deletion: 98, confirm: "C2" }]]);
  await button(view, "Close").click();
  await it.done();
}

export async function showsHostileTextAsText(browser) {
  const it = await opened(browser);
  const { view, page } = it;
  const before = page.url();
  await view.locator("#all").click();
  const keys = await sessions(view).evaluateAll((rows) => rows.map((row) => row.dataset.key));
  for (const key of keys) {
    await view.locator(`[data-key=${JSON.stringify(key)}]`).click();
    await view.waitForFunction(() => {
      const parts = [...document.querySelectorAll(".said-in")];
      return parts.length && parts.every((one) => one.querySelector(".bubble"));
    });
  }
  await view.locator("#delete").click();
  await view.locator("#sheet .final").waitFor();
  const state = await view.evaluate(() => ({
    title: document.title,
    hacked: Object.keys(window).filter((name) => name.startsWith("hacked")),
    foreign: [...document.querySelectorAll("img, iframe, a, object, embed, form[action], link, base, video, audio, body script, body style")]
      .filter((one) => one.tagName !== "SCRIPT" || one.type !== "module").map((one) => one.outerHTML.slice(0, 80)),
    attributes: [...document.querySelectorAll("body *")].flatMap((one) => [...one.attributes])
      .filter((one) => one.name.startsWith("on")).map((one) => one.name),
    background: getComputedStyle(document.body).backgroundColor,
    text: document.body.textContent,
  }));
  assert.equal(state.title, "Your memory traffic");
  assert.deepEqual(state.hacked, []);
  assert.deepEqual(state.foreign, []);
  assert.deepEqual(state.attributes, []);
  assert.equal(state.background, "rgb(255, 255, 255)");
  assert.ok(state.text.includes("\\u003cimg src=x onerror=hacked1=1>"), "markup is shown, and opens nothing");
  assert.ok(!/[\u202a-\u202e\u2066-\u2069]/.test(state.text), "nothing that reorders is left");
  assert.equal(page.url(), before);
  await it.done();
}

export async function readsAVeryLongInteraction(browser) {
  const it = await opened(browser);
  const { view } = it;
  await sessions(view).first().click();
  await bubble(view).first().waitFor();
  const shown = () => view.evaluate(() => document.querySelector(".bubble .text").textContent.length);
  assert.ok((await shown()) > 50_000);
  const before = await shown();
  await view.locator("button", { hasText: "Read on" }).click();
  await view.waitForFunction((length) => document.querySelector(".bubble .text").textContent.length > length, before);
  assert.ok((await boxOf(view.locator(".bubble .text").first())).height <= 240, "it is folded");
  await view.locator("button", { hasText: "Show all" }).click();
  assert.ok((await boxOf(view.locator(".bubble .text").first())).height > 1_000);
  await it.done();
}


/** Open, badges, filter, brush, expand, uncover, learnings, take back, select, export, plan, confirm, receipt, undo. */
async function wholeJob({ view, page, told = async () => {} }) {
  await until(view, /^5 requests in 3 sessions$/);
  const row = (words) => view.locator(".body .session", { hasText: words });
  await row("I live at 12 Secret Lane").locator(".badge", { hasText: "probable secret" }).waitFor();
  assert.match(await row("An evaluation").locator(".badges").textContent(), /evaluation/);
  await row("Something new to say").click();
  await view.locator("#conversation", { hasText: "Waiting to be learned" }).waitFor();
  await view.locator("#conversation button", { hasText: "Close" }).click();

  await view.locator("#source").selectOption("=slack");
  await until(view, /^1 of 5 requests in 1 session$/);
  await view.locator("#reset").click();
  await view.locator("#words").fill("deploy fails");
  await until(view, /^1 of 5 requests in 1 session$/);
  await view.locator("#words").fill("");
  await until(view, /^5 requests/);
  const box = await boxOf(view.locator(".area"));
  await page.mouse.move(box.x + box.width - 16, box.y + 30);
  await page.mouse.down();
  await page.mouse.move(box.x + box.width * 0.85, box.y + 30, { steps: 4 });
  await page.mouse.up();
  await until(view, /^4 of 5 requests in 2 sessions$/);

  await row("I live at 12 Secret Lane").click();
  const learned = view.locator("#conversation");
  await learned.locator(".card", { hasText: "Lives at 12 Secret Lane" }).waitFor();
  await learned.locator(".card", { hasText: "Answer in metric units" }).waitFor();
  assert.match(await learned.textContent(), /Profile.*from \d requests?/);
  await view.locator(".body .request.lit").first().waitFor();
  assert.deepEqual(await axe(view), []);
  await learned.locator(".bubble .chip").first().waitFor();
  assert.doesNotMatch(await view.locator("body").textContent(), /AKIA/);
  const home = learned.locator(".card", { hasText: "Lives at 12 Secret Lane" });
  const takeBack = async () => {
    await home.locator("button", { hasText: "Take back" }).click();
    await button(view, "Keep it").waitFor();
    assert.equal(await view.evaluate(() => document.activeElement.textContent), "Keep it");
    assert.match(await sheet(view).textContent(), /A copy is kept on this computer until/);
    assert.deepEqual(await axe(view), []);
    await button(view, "Take it back").click();
    await view.locator("#sheet-title", { hasText: "Taken back" }).waitFor();
    assert.match(await sheet(view).textContent(), /1 learning deleted; checked by reading again\./);
  };
  await takeBack();
  await button(view, "Undo").click();
  await view.locator("#sheet-title", { hasText: "1 learning is back" }).waitFor();
  await button(view, "Close").click();
  await home.waitFor();
  await told("In the explorer, the person restored 1 learning.");
  await takeBack();
  await button(view, "Close").click();
  await home.waitFor({ state: "detached" });
  await told("In the explorer, the person took back 1 learning.");

  await row("I live at 12 Secret Lane").locator(".check input").click();
  await view.locator("#selected", { hasText: "3 requests in 1 session" }).waitFor();
  const lines = await exported(view);
  assert.deepEqual(new Set(lines.map((one) => one.request.session_id)).size, 2);
  assert.ok(!JSON.stringify(lines).includes("AKIA"), "what is covered stays covered in the file");
  await view.locator("#delete").click();
  const playbook = view.locator("label.option", { hasText: "Answer in metric units" });
  await playbook.locator("input").check();
  assert.match(await sheet(view).textContent(), /A copy is kept on this computer until/);
  assert.doesNotMatch(await sheet(view).textContent(), /=true|_requests/);
  await view.locator(".typed input").fill("3");
  assert.deepEqual(await axe(view), []);
  await view.locator("#sheet .final").click();
  await view.locator("#sheet-title", { hasText: "3 deleted, checked by reading again" }).waitFor();
  assert.match(await sheet(view).textContent(), /1 learning deleted with them/);
  assert.equal(await row("I live at 12 Secret Lane").count(), 0);
  await told("In the explorer, the person deleted 3 requests.");
  await button(view, "Undo").click();
  await view.locator("#sheet-title", { hasText: "3 requests are back" }).waitFor();
  await button(view, "Close").click();
  await row("I live at 12 Secret Lane").waitFor();
  await learned.locator(".card", { hasText: "Answer in metric units" }).waitFor();
  await told("In the explorer, the person restored 3 requests.");
}

export async function doesTheWholeJobOnARealServer(browser) {
  const it = await opened(browser);
  const { view, client } = it;
  await wholeJob({
    view, page: it.page,
    told: (message) => comesTo(() => assert.equal(it.messages.at(-1), message)),
  });
  await it.done();
}

export async function doesTheWholeJobWithoutAnAssistant(browser) {
  const it = await command(browser);
  const { view, page } = it;
  await wholeJob({ view, page });
  assert.deepEqual(it.problems, []);
  await page.close();
  assert.equal(await it.ended, 0);
}

export async function worksWithoutAnAssistant(browser) {
  const it = await command(browser, "--source", "slack");
  const { page } = it;
  let { view } = it;
  assert.equal(page.url(), new URL("/", it.address).href, "the token leaves the address");
  assert.equal(await view.locator("#source").inputValue(), "=slack");
  await view.locator("#reset").click();
  await until(view, /^398 requests in 99 sessions$/);
  // What is looked at is in the address: Back goes to what it was, and a reload keeps it.
  await view.locator("#user").selectOption("=jonas");
  await until(view, /^\d+ of 398 requests/);
  const said = await summary(view);
  await sessions(view).first().click();
  await bubble(view).first().waitFor();
  await comesTo(() => assert.match(page.url(), /#user=jonas&open=/));
  await page.goBack();
  await bubble(view).first().waitFor({ state: "detached" });
  assert.equal(await summary(view), said);
  await page.reload();
  await page.waitForSelector("#view:not([hidden])");
  view = page.frame({ url: /\/page$/ }) ?? await page.waitForEvent("framenavigated").then((frame) => frame);
  await until(view, new RegExp(`^${said.split(" of ")[0]} (of|requests)`));
  assert.equal(await view.locator("#user").inputValue(), "=jonas");
  await view.locator("#reset").click();
  await until(view, /^398 requests in 99 sessions$/);
  await selectSession(view, "2 users");
  assert.equal((await exported(view)).length, 398);
  await view.locator("#delete").click();
  await view.locator(".typed input").fill("4");
  await button(view, "Delete 4 requests").click();
  await view.locator("#sheet-title", { hasText: "4 deleted, checked by reading again" }).waitFor();
  await button(view, "Undo").click();
  await view.locator("#sheet-title", { hasText: "4 requests are back" }).waitFor();
  await button(view, "Close").click();
  assert.deepEqual(await axe(view), []);
  // The address is used up.
  const other = await it.context.newPage();
  await other.goto(it.address);
  await other.locator("#said", { hasText: "This address works once" }).waitFor();
  assert.equal(other.frames().length, 2);
  await other.close();
  assert.deepEqual(it.problems, []);
  await page.close();
  assert.equal(await it.ended, 0);
}

export async function saysThatNothingIsStored(browser) {
  const it = await opened(browser);
  assert.match(await it.view.locator(".empty").textContent(), /Nothing is stored\./);
  assert.deepEqual(await axe(it.view), []);
  await it.done();
}

export async function holdsASessionOfManyRequests(browser) {
  const [whole, page] = [100_000, 1_000];
  const client = await connect();
  const intercept = async (params, forward) => {
    const { view, cursor = "0" } = params.arguments;
    if (view === "findings") return { content: [], structuredContent: { view, looked_at: page } };
    if (view !== "rows") return undefined;
    const answer = cursor === "0" ? (await forward()).structuredContent : { view };
    const first = Number(cursor);
    const requests = Array.from({ length: page }, (_, index) => ({
      request_id: `r${first + index}`, user_id: "ann", created_at: new Date(1.79e12 - (first + index) * 1000).toISOString(),
      interaction_count: 1, first_words: `Number ${first + index}`,
    }));
    const next = first + page;
    return { content: [], structuredContent: {
      ...answer, sessions: [{ session_id: "endless", requests }], ...(next < whole ? { cursor: String(next) } : {}),
    } };
  };
  const it = await explore(browser, client, { intercept });
  const { view } = it;
  await settled(view);
  assert.match(await summary(view), /^10,000 requests in 1 session\. There is more: this goes back to /);
  for (let more = 2; more <= whole / 10_000; more += 1) {
    await view.locator("#further").click();
    await until(view, new RegExp(`^${more * 10},000 requests in 1 session(\\.|$)`));
  }
  assert.equal(await summary(view), "100,000 requests in 1 session");
  await sessions(view).first().click();
  await view.locator(".body .request").first().waitFor();
  await view.evaluate(() => { document.getElementById("grid").scrollTop = 1e9; });
  await view.locator(".request .words", { hasText: /^Number 0$/ }).waitFor();
  assert.ok(await view.locator(".body .line").count() < 120, "rows are drawn only where they are seen");
  const made = await view.evaluate(async () => {
    const [grid, body] = ["grid", "body"].map((id) => document.getElementById(id));
    const before = new Set(body.children);
    grid.scrollTop -= 36;
    await new Promise((resolve) => new MutationObserver(resolve).observe(body, { childList: true }));
    return [...body.children].filter((row) => !before.has(row)).length;
  });
  assert.equal(made, 1, "a row that comes into view is made, and the others stay as they are");
  assert.deepEqual(it.problems, []);
  await it.context.close();
  await client.close();
}

/** When each task of a page's processes began, and its milliseconds of processor time, while something is done; and its marks. */
async function traced(browser, page, work) {
  await browser.startTracing(page, { categories: ["disabled-by-default-devtools.timeline", "blink.user_timing", "__metadata"] });
  await work();
  const { traceEvents } = JSON.parse((await browser.stopTracing()).toString());
  const main = new Set(traceEvents.filter((one) => one.args?.name === "CrRendererMain").map((one) => `${one.pid} ${one.tid}`));
  return {
    tasks: traceEvents.filter((one) => one.name === "RunTask" && main.has(`${one.pid} ${one.tid}`)).map((one) => ({ at: one.ts, took: (one.tdur ?? 0) / 1_000 })),
    mark: (name) => traceEvents.find((one) => one.name === `explorer-${name}`).ts,
  };
}

const total = (tasks) => tasks.reduce((sum, one) => sum + one.took, 0);

/** Prints what a page with 10,000 requests takes whose server is warm, beside the time of a fixed piece of work. */
export async function isQuickWithManyRequests(browser) {
  const it = await command(browser);
  const { page } = it;
  let { view } = it;
  // Milliseconds of processor time, which the system counts in hundredths of a second.
  const spent = () => {
    const [user, system] = readFileSync(`/proc/${it.pid}/stat`, "utf8").split(") ")[1].split(" ").slice(11);
    return (Number(user) + Number(system)) * 10;
  };
  await until(view, /^10,000 requests in 2,000 sessions$/);
  // Until it has looked for the findings, too.
  for (let last = 0; spent() - last > 30; await page.waitForTimeout(500)) last = spent();
  let server = spent();
  const opening = await traced(browser, page, async () => {
    await page.reload();
    await page.waitForSelector("#view:not([hidden])");
    view = page.frame({ url: /\/page$/ }) ?? await page.waitForEvent("framenavigated").then((one) => one);
    await until(view, /requests in/);
    server = spent() - server;
    await until(view, /^10,000 requests in 2,000 sessions$/);
  });
  const changes = [["source", "=slack"], ["user", "=user-3"], ["user", ""], ["source", ""]];
  const changing = await traced(browser, page, () => view.evaluate(async (those) => {
    for (const [id, value] of those) {
      const select = document.getElementById(id);
      select.value = value;
      select.dispatchEvent(new Event("change"));
      await new Promise((resolve) => requestAnimationFrame(() => setTimeout(resolve)));
    }
  }, changes));
  const unit = await view.evaluate(() => Math.min(...Array.from({ length: 15 }, () => {
    const before = performance.now();
    Array.from({ length: 60_000 }, (_, at) => (at * 7919) % 60_013).sort((a, b) => a - b);
    return performance.now() - before;
  })));
  const [asks, usable] = [opening.mark("asks"), opening.mark("usable")];
  const first = server + total(opening.tasks.filter((one) => one.at >= asks && one.at <= usable));
  const figures = {
    first, elapsed: (usable - asks) / 1_000, frame: Math.max(...opening.tasks.map((one) => one.took)), filter: total(changing.tasks) / changes.length, unit,
  };
  console.error(JSON.stringify(figures));
  // A unit takes 17 ms on an idle machine. The aims there are 300 ms for the first rows, 50 ms for a frame and 100 ms for
  // a filter; beside other tests, a frame has half as much again.
  const slow = Math.max(1, unit / 17);
  assert.ok(first < 300 * slow && figures.frame < 75 * slow && figures.filter < 100 * slow, JSON.stringify(figures));
  await page.close();
  await it.ended;
}

/** Draw the pictures of the documentation anew, into the folder that OUT names. */
export async function pictures(browser) {
  const client = await connect();
  const changed_at = new Date().toISOString();
  const learned = [
    { learning_id: "profile:1", content: "Looks after the nightly import job.", evidence: [{ request_id: "req-shared-0", interaction_id: 1 }] },
    { learning_id: "user_playbook:4", content: "If an import is late, name the step that waits before anything else.", trigger: "a note mentions an import job",
      evidence: [{ request_id: "req-shared-2", interaction_id: 1 }, { request_id: "req-shared-3", interaction_id: 1 }] },
  ].map((one) => ({ state: "current", changed_at, user_id: "maria.keller", ...one }));
  // The embedded store learns nothing: what a server that learns says is put in.
  const intercept = async ({ name, arguments: given }, forward) => {
    if (name === "list_learnings")
      return { content: [], structuredContent: { learnings: given.session_id.startsWith("standup") ? learned : [] } };
    const result = await forward();
    result.structuredContent?.state?.tools.push("list_learnings", "delete_learnings", "correct_learning");
    const planned = result.structuredContent?.plan;
    if (planned) planned.plan.facts = [];
    if (planned) Object.assign(planned, { learnings: 2, learned: [
      { ...learned[0], kept: [] }, { ...learned[1], kept: ["req-secret-1"] },
    ] });
    return result;
  };
  const draw = async (name, width, theme, doing) => {
    // In the face that many hosts have, if this machine has it.
    const context = { styles: { variables: { "--font-sans": "Inter, system-ui, sans-serif" } } };
    const it = await explore(browser, client, { width, height: 760, theme, intercept, context, media: { viewport: { width, height: 760 }, deviceScaleFactor: 2 } });
    await settled(it.view);
    await it.looked();
    await doing(it.view);
    await it.page.mouse.move(2, 2);
    // No condition says that a picture is the last one: let what was opened be read.
    await it.page.waitForTimeout(1_000);
    await it.page.screenshot({ path: `${process.env.OUT}/${name}.png` });
    await it.context.close();
  };
  const read = (words) => async (view) => {
    await view.locator(".body .session", { hasText: words }).first().click();
    await bubble(view).first().waitFor();
    await view.evaluate(() => document.activeElement.blur());
  };
  for (const [theme, mode] of [["light", ""], ["dark", "-dark"]]) {
    await draw(`explorer${mode}`, 1280, theme, () => {});
    await draw(`explorer-conversation${mode}`, 1280, theme, read("2 users"));
  }
  await draw("explorer-secret", 1280, "dark", async (view) => {
    await read("The deploy fails")(view);
    await view.locator(".finding summary").click();
  });
  await draw("explorer-sheet", 1280, "light", async (view) => {
    await selectSession(view, "2 users");
    await view.locator("#delete").click();
    await view.locator("#sheet .final").waitFor();
  });
  await draw("explorer-narrow", 400, "light", (view) => selectSession(view, "2 users"));
  await draw("explorer-narrow-dark", 400, "dark", read("2 users"));
  await client.close();
}
