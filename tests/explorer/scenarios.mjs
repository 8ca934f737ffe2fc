// What a person does in the explorer, and what must come of it. `drive.mjs` runs one of these by its name.

import assert from "node:assert/strict";

import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { connect as dial, createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { axe, command, connect, explore, PATIENCE_MS, settled } from "./host.mjs";

const summary = (view) => view.locator("#summary").textContent();
const rows = (view) => view.locator(".row[data-session]");
const row = (view, words) => rows(view).filter({ hasText: words });
const sheet = (view) => view.locator("#sheet");
const button = (view, text) => view.locator("#sheet button", { hasText: text });
const turn = (view, text) => view.locator("#conversation .turn[data-interaction]", text ? { hasText: text } : {});
const toast = (view, text) => view.locator("#toast", { hasText: text });
const inToast = (view, text) => view.locator("#toast button", { hasText: text });
const part = (view, name) => view.locator(`.tab[data-part=${name}]`);
const finding = (view, words) => view.locator(".find", { hasText: words });
const closed = (view) => view.waitForFunction(() => !document.getElementById("sheet"));

/** See a row by words of it: the list draws only what is near the part that is shown, and opening another moves it. */
async function seek(view, words) {
  if (!await row(view, words).count()) await view.locator("#list").evaluate((list) => { list.scrollTop = 0; });
}

/** Open a conversation by words of its row. */
async function open(view, words) {
  await seek(view, words);
  await row(view, words).first().locator(".title").click();
  await turn(view).first().waitFor();
}

/** Close the conversation, beside the list or in its place. */
const close = (view) => view.locator('#conversation [aria-label="Close the conversation"]:visible, #conversation [aria-label="Back to the list"]:visible').click();

async function choose(view, words) {
  await seek(view, words);
  await row(view, words).first().locator("input").click();
  await view.locator(".picked-bar").waitFor();
}

/** Begin a deletion of what is selected, and type the number if one is asked for. */
async function askToDelete(view) {
  await view.locator(".picked-bar .delete").click();
  await view.locator("#sheet .final").waitFor();
}

async function typeNumber(view) {
  const field = view.locator(".typed input");
  if (await field.count()) await field.fill(/[\d,]+/.exec(await field.getAttribute("aria-label"))[0]);
}

async function deleteSelected(view) {
  await askToDelete(view);
  await typeNumber(view);
  await view.locator("#sheet .final").click();
}

async function menu(view, label) {
  await view.locator(`.drop > button[aria-label="${label}"]:visible`).click();
}

/** Choose a value of a filter. */
async function filterBy(view, label, value) {
  await menu(view, label);
  await view.locator(".menu .mi", { hasText: value }).first().click();
}

const clear = (view) => view.locator(".reset").click();

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
    ([source]) => new RegExp(source).test(document.getElementById("summary")?.textContent ?? ""), [pattern.source],
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
  await menu(view, "More");
  await view.locator(".menu .mi", { hasText: "Export" }).click();
  await button(view, /^Export$/).click();
  await view.locator("#sheet-title", { hasText: /exported$/ }).waitFor();
  const archive = await view.locator("#sheet .file").textContent();
  assert.match(await sheet(view).textContent(), /What looks like a secret was replaced by its kind/);
  await button(view, "Close").click();
  const [python] = JSON.parse(process.env.SERVER);
  const read = "import sys, zipfile; sys.stdout.buffer.write(zipfile.ZipFile(sys.argv[1]).read('requests.jsonl'))";
  return execFileSync(python, ["-c", read, archive], { encoding: "utf8" }).trim().split("\n").map((line) => JSON.parse(line));
}

export async function looksDeletesAndUndoes(browser) {
  const it = await opened(browser);
  const { view, client } = it;
  assert.equal(await summary(view), "99 conversations, 796 messages");
  assert.equal(await view.locator("h1").textContent(), "Memory of 6 people");

  await open(view, "Notes of the stand-up");
  const conversation = view.locator("#conversation");
  assert.match(await conversation.locator("header").textContent(), /Notes of the stand-up.*maria\.keller, jonas.*8 messages.*slack/s);
  await turn(view).nth(7).waitFor();
  assert.deepEqual(
    await conversation.locator(".turn .who b").allTextContents(),
    ["maria.keller", "Assistant", "jonas", "Assistant", "maria.keller", "Assistant", "maria.keller", "Assistant"], "from the first to the last, with who it was",
  );
  await it.looked();
  await conversation.locator("header .found", { hasText: "Several people" }).waitFor();
  assert.equal(await conversation.locator(".found").count(), 1, "what all have in common is said once");
  assert.doesNotMatch(await conversation.locator(":not(details)").first().evaluate((one) => one.innerText), /standup-5f0c2a9be1d4/, "ids are details for support");

  await conversation.locator(".delete").click();
  await view.locator("#sheet .final").waitFor();
  assert.equal(await view.locator("#sheet-title").textContent(), "Delete 8 messages");
  assert.match(await sheet(view).textContent(), /Notes of the stand-up.*8 messages: 6 maria\.keller, 2 jonas/);
  await button(view, "Cancel").click();
  await closed(view);

  await choose(view, "Notes of the stand-up");
  assert.equal(await view.locator("#selected").textContent(), "1 conversation selected 8 messages, 2 people");
  await askToDelete(view);
  assert.match(await sheet(view).textContent(), /A copy is kept at least until (8 \w+|\d)/);
  assert.doesNotMatch(await sheet(view).textContent(), /=true|_requests|request/);
  assert.equal(await view.evaluate(() => document.activeElement.textContent), "Cancel");
  const final = view.locator("#sheet .final");
  assert.equal(await final.textContent(), "Delete 8 messages", "headline, button and number are the same");
  assert.ok(await final.isDisabled());
  await view.locator(".typed input").fill("4");
  assert.ok(await final.isDisabled());
  await view.locator(".typed input").fill("8");
  await final.click();
  await toast(view, "8 messages deleted, checked by reading again.").waitFor();
  assert.match(await toast(view).textContent(), /A copy is kept at least until \d/);
  assert.equal(await row(view, "Notes of the stand-up").count(), 0);
  const stored = async () => (await client.callTool({ name: "list_requests", arguments: { session_id: "standup-5f0c2a9be1d4" } }));
  assert.equal((await stored()).structuredContent.returned, 0);
  await comesTo(() => assert.deepEqual(it.messages, ["In the explorer, the person deleted 8 messages."]));
  assert.notEqual(await view.evaluate(() => document.activeElement.tagName), "BODY", "the focus is on a row");

  await inToast(view, "Undo").click();
  await toast(view, "8 messages are back.").waitFor();
  assert.equal((await stored()).structuredContent.returned, 4);
  await until(view, /^99 conversations, 796 messages$/);
  await comesTo(() => assert.equal(it.messages.at(-1), "In the explorer, the person put back 8 messages."));
  assert.equal(await inToast(view, "Show").count(), 0, "it is in sight");
  await close(view);
  await inToast(view, "Show").click();
  await turn(view, "Noted.").first().waitFor();
  assert.equal(await turn(view).locator(".back").count(), 8, "what came back is marked");
  const other = await explore(browser, client);
  await settled(other.view);
  await open(other.view, "Notes of the stand-up");
  await comesTo(async () => assert.equal(await turn(other.view).locator(".back").count(), 8, "in another window, too"));
  await other.context.close();
  await view.locator('[aria-label="Close this notice"]').click();
  await toast(view).waitFor({ state: "detached" });
  await it.done();
}

/** A message is deleted, and comes back where it was said, marked. Warnings that come meanwhile move nothing. */
export async function putsAMessageBackWhereItWasSaid(browser) {
  const later = Promise.withResolvers();
  const intercept = async (params) => { if (params.arguments.view === "findings") await later.promise; };
  const it = await opened(browser, { intercept });
  const { view } = it;
  await open(view, "Notes of the stand-up");
  await turn(view).nth(7).waitFor();
  const said = () => view.locator("#conversation .turn .text").allTextContents();
  const before = await said();
  const names = await view.locator("#conversation .tool").evaluateAll((those) => those.map((one) => one.ariaLabel));
  assert.equal(new Set(names).size, names.length, "no two buttons have one name");
  await view.evaluate(() => { document.getElementById("conversation").scrollTop = 40; });
  await turn(view, "Noted. So the job").hover();
  await turn(view, "Noted. So the job").locator(".tool").click();
  // The browser scrolls a message into sight before it is clicked; the deletion scrolls nothing.
  const scrolled = () => view.evaluate(() => [
    document.getElementById("conversation").scrollTop, document.querySelector("#conversation .turn").getBoundingClientRect().y,
  ]);
  const place = await scrolled();
  assert.equal(await view.locator("#sheet-title").textContent(), "Delete 1 message");
  assert.match(await sheet(view).textContent(), /Keep a copy at least until.*Keep no copy.*It comes back at its place and is marked “put back”/s);
  await view.locator("#sheet .final").click();
  await toast(view, "1 message deleted, checked by reading again.").waitFor();
  await comesTo(async () => assert.deepEqual(await said(), before.filter((one) => !one.startsWith("Noted. So"))));
  assert.deepEqual(await scrolled(), place, "nothing scrolls");
  later.resolve();
  await view.locator("#conversation header .found", { hasText: "Several people" }).waitFor();
  assert.deepEqual(await scrolled(), place, "a warning moves nothing");
  await inToast(view, "Undo").click();
  await toast(view, "1 message is back.").waitFor();
  await comesTo(async () => assert.deepEqual(await said(), before));
  assert.ok(await turn(view, "Noted. So the job").locator(".back").isVisible());
  await until(view, /^99 conversations, 796 messages$/);
  // After a new start the mark is there, too: it does not depend on this window.
  const again = await explore(browser, it.client);
  await settled(again.view);
  await open(again.view, "Notes of the stand-up");
  await comesTo(async () => assert.deepEqual(await again.view.locator("#conversation .turn:has(.back) .text").allTextContents(), before.filter((one) => one.startsWith("Noted. So"))));
  await again.context.close();
  // Without a copy it is gone for good, and no way back is offered.
  await turn(view, "Noted. So the job").hover();
  await turn(view, "Noted. So the job").locator(".tool").click();
  await view.locator(".pick", { hasText: "Keep no copy" }).locator("input").check();
  await button(view, "Delete 1 message for good").click();
  await toast(view, "1 message deleted, checked by reading again.").waitFor();
  assert.match(await toast(view).textContent(), /No copy is kept/);
  assert.equal(await inToast(view, "Undo").count(), 0);
  await it.done();
}

/** An undo is reported as soon as it is done, however long it takes to read again. */
export async function reportsAnUndoBeforeItReadsAgain(browser) {
  const later = Promise.withResolvers();
  let slow = false;
  const intercept = async ({ name, arguments: { deletion } }, forward) => {
    if (slow && name !== "restore_requests") await later.promise;
    slow ||= deletion !== undefined;
    if (name !== "restore_requests" || deletion !== undefined) return undefined;
    // It lists fifty deletions.
    const result = await forward();
    result.structuredContent.facts.push({ code: "more_to_restore", number: 12, names: ["3-17"] });
    return result;
  };
  const it = await opened(browser, { intercept });
  const { view } = it;
  await choose(view, "Notes of the stand-up");
  await deleteSelected(view);
  await toast(view, "8 messages deleted, checked by reading again.").waitFor();
  await view.locator(".past").first().click();
  await view.locator("#sheet", { hasText: "12 older deletions can be put back too and are not listed. Tell your assistant or operator their numbers (3-17)." }).waitFor();
  await view.locator("#sheet li", { hasText: "4 questions" }).locator("button").click();
  await toast(view, "8 messages are back.").waitFor();
  assert.equal(await row(view, "Notes of the stand-up").count(), 0, "nothing was read again so far");
  later.resolve();
  await row(view, "Notes of the stand-up").waitFor();
  await until(view, /^99 conversations, 796 messages$/);
  await it.done();
}

/** Requests of one second are in the order in which they came, whatever their ids. */
export async function readsOneSecondInItsOrder(browser) {
  const it = await opened(browser);
  const { view } = it;
  await open(view, "question 1 of one second");
  await turn(view).nth(11).waitFor();
  assert.deepEqual(
    await view.locator("#conversation .turn .text").allTextContents(),
    Array.from({ length: 6 }, (_, at) => [`question ${at + 1} of one second`, `answer ${at + 1}`]).flat(),
  );
  assert.match(await row(view, "question 1 of one second").locator(".second").textContent(), /answer 6/);
  await it.done();
}

/** A hit is shown in the row, opened at, marked, and the next one follows, also in the next conversation. */
export async function reachesEveryHit(browser) {
  const it = await opened(browser);
  const { view, page } = it;
  await view.locator("#words").fill("harbour");
  await until(view, /^2 conversations, 3 hits$/);
  assert.equal(await row(view, "harbour").first().locator("mark").first().textContent(), "harbour");
  await row(view, "2 hits").locator(".title").click();
  const hit = view.locator("#conversation .exchange.hit mark").first();
  await hit.waitFor();
  const inSight = () => comesTo(async () => {
    const box = await hit.boundingBox();
    const pane = await view.locator("#conversation").boundingBox();
    assert.ok(box && box.y > pane.y && box.y + box.height < pane.y + pane.height, "the hit is in sight");
  });
  await inSight();
  assert.equal((await view.locator(".hits").textContent()).trim().slice(0, 10), "Hit 1 of 2");
  assert.equal(await view.locator("#conversation button", { hasText: "earlier question" }).count(), 1);
  await view.locator('[aria-label="Next hit"]').click();
  await view.locator(".hits", { hasText: "Hit 2 of 2" }).waitFor();
  await view.locator("#conversation .exchange.hit", { hasText: "question 38" }).waitFor();
  await inSight();
  await view.locator("#conversation").focus();
  await page.keyboard.press("n");
  await view.locator("#conversation header", { hasText: "Another harbour" }).waitFor();
  await page.keyboard.press("p");
  await view.locator(".hits", { hasText: "Hit 2 of 2" }).waitFor();
  await view.locator('[aria-label="Clear the search"]').click();
  await until(view, /^101 conversations/);
  await it.done();
}

/** A word is looked for in everything that is stored, also where nothing was read yet; the search can be stopped. */
export async function findsWhatIsNotLoaded(browser) {
  const later = Promise.withResolvers();
  const intercept = async ({ arguments: { contains, cursor } }) => {
    if (cursor && contains === undefined && stops) await later.promise;
  };
  let stops = false;
  const it = await opened(browser, { intercept });
  const { view } = it;
  await until(view, /^2,020 conversations, 20,200 messages, back to/);
  await part(view, "review").click();
  await view.locator(".list", { hasText: "The 20,200 messages that are loaded were looked through." }).waitFor();
  await part(view, "conversations").click();
  await view.locator("#words").fill('"Note 17:"');
  await until(view, /^1 conversation, 1 hit$/);
  await rows(view).first().locator(".title").click();
  await view.locator("#conversation .exchange.hit mark").first().waitFor();
  await turn(view, "Note 19:").waitFor();
  await comesTo(async () => assert.equal(await turn(view, /Note \d+:/).count(), 5, "the whole conversation is read, not its hits alone"));
  await close(view);
  await view.locator("#words").fill("nothing says this");
  await view.locator(".blank", { hasText: "All conversations were searched." }).waitFor();
  await view.locator('[aria-label="Clear the search"]').click();
  await until(view, /^2,020 conversations, 20,200 messages, back to/);
  // The hits that have come stay, and it is said that there may be more.
  stops = true;
  await view.locator("#words").fill("answers");
  await until(view, /^\d[\d,]* conversations, \d[\d,]* hits, searching on$/);
  await view.locator(".tools button", { hasText: "Stop" }).click();
  await until(view, /^\d[\d,]* conversations, \d[\d,]* hits, not everything was searched$/);
  later.resolve();
  await it.done();
}

export async function keepsTheSelectionAndTheWayBackInSight(browser) {
  const it = await opened(browser);
  const { page, view } = it;
  const focused = () => view.evaluate(() => document.activeElement.id || document.activeElement.tagName);
  await it.looked();
  await choose(view, "Notes of the stand-up");
  await filterBy(view, "Warning", "Key or password");
  await view.locator("#selected", { hasText: "8 messages, 2 people, 4 of them not shown" }).waitFor();
  await view.locator(".picked-bar button", { hasText: "Show them" }).click();
  await view.locator("#selected", { hasText: /2 people$/ }).waitFor();
  await view.locator(".picked-bar button", { hasText: "Deselect" }).click();

  // The way back stays, whatever is redrawn, and is in Recently deleted.
  await filterBy(view, "Warning", "Key or password");
  await until(view, /^1 of 99 conversations, 2 messages$/);
  await choose(view, "The deploy fails");
  await askToDelete(view);
  assert.match(await sheet(view).textContent(), /The key or password would stay readable in the copy/);
  assert.equal(await view.locator("#sheet .final").textContent(), "Delete 2 messages for good", "no copy of a secret is kept");
  await view.locator(".pick", { hasText: "Keep a copy" }).locator("input").check();
  await view.locator("#sheet .final:enabled", { hasText: /^Delete 2 messages$/ }).click();
  await toast(view, "2 messages deleted").waitFor();
  await clear(view);
  await view.locator("#words").fill("label printer");
  await until(view, /hits?$/);
  await view.locator("#words").fill("");
  await until(view, /^98 conversations/);
  assert.ok(await inToast(view, "Undo").isVisible());
  await view.locator('[aria-label="Close this notice"]').click();
  await view.locator(".past").first().click();
  await view.locator("#sheet li", { hasText: /^1 question with its answers.*today \d\d:\d\d, can be put back until/ }).locator("button").click();
  await toast(view, "2 messages are back.").waitFor();
  await until(view, /^99 conversations, 796 messages$/);
  assert.notEqual(await focused(), "BODY");

  // With Shift, a click selects all between; Enter in the field of the number is the button beside it.
  await rows(view).nth(1).locator("input").click();
  await rows(view).nth(3).locator("input").click({ modifiers: ["Shift"] });
  await view.locator("#selected", { hasText: "3 conversations" }).waitFor();
  const chosen = /(\d+) messages/.exec(await view.locator("#selected").textContent())[1];
  await askToDelete(view);
  await view.locator(".typed input").fill(chosen);
  await view.locator(".typed input").press("Enter");
  await toast(view, `${chosen} messages deleted`).waitFor();
  await inToast(view, "Undo").click();
  await toast(view, `${chosen} messages are back.`).waitFor();

  await rows(view).first().locator(".title").focus();
  await page.keyboard.press("?");
  await view.locator("#sheet-title", { hasText: "Keys" }).waitFor();
  await page.keyboard.press("Escape");
  await closed(view);
  await page.keyboard.press("/");
  assert.equal(await focused(), "words");
  await it.done();
}

export async function filtersAndBrushes(browser) {
  const it = await opened(browser);
  const { view } = it;
  // Words of an answer are shown where they stand.
  await view.locator("#words").fill("slower third");
  await until(view, /^\d+ conversations?, \d+ hits?$/);
  await comesTo(async () => assert.deepEqual((await rows(view).first().locator("mark").allTextContents()).slice(0, 2), ["slower", "third"]));
  await view.locator("#words").fill("");
  await until(view, /^99 conversations, 796 messages$/);
  // What a choice says it leaves is what it leaves.
  await menu(view, "App");
  const slack = view.locator(".menu .mi", { hasText: "slack" });
  const left = Number(await slack.locator(".n").textContent());
  await slack.click();
  await until(view, /^\d+ of 99 conversations/);
  assert.equal(Number(/(\d+) messages/.exec(await summary(view))[1]), 2 * left);
  await it.looked();
  await view.locator(".chip.set", { hasText: "App: slack" }).click();
  await until(view, /^99 conversations, 796 messages$/);
  await menu(view, "Everyone (6). Whose memory is shown");
  await view.locator(".menu .mi", { hasText: "jonas" }).click();
  await until(view, /^\d+ of 99 conversations/);
  assert.equal(await view.locator("h1").textContent(), "Memory of jonas");
  assert.ok((await rows(view).locator("> .who").allTextContents()).every((who) => who.includes("jonas")));
  await clear(view);
  await until(view, /^99 conversations, 796 messages$/);

  // By length, by keyboard, by pointer.
  await menu(view, "When");
  await view.locator(".menu .chip", { hasText: "7 days" }).click();
  await until(view, /^\d+ of 99 conversations/);
  await view.locator('[aria-label="Remove the filter When"]').click();
  await until(view, /^99 conversations/);
  await menu(view, "When");
  const first = view.locator(".handle").first();
  await first.focus();
  for (let times = 0; times < 12; times += 1) await first.press("ArrowRight");
  await until(view, /^\d+ of 99 conversations/);
  await it.done();
}

/** Sorted by newest, longest, person; a click opens, nothing expands, and the next one is a button away. */
export async function sortsAndStepsThroughConversations(browser) {
  const it = await opened(browser);
  const { view } = it;
  const shown = (of) => rows(view).locator(of).allTextContents();
  const sortBy = async (words) => {
    await view.locator(".sort").click();
    await view.locator(".menu .mi", { hasText: words }).click();
    await view.locator(".sort", { hasText: words }).waitFor();
  };
  assert.deepEqual(await view.locator(".day h2").first().textContent(), "Today");
  await sortBy("Longest first");
  const lengths = (await shown(".len")).map(Number);
  assert.ok(lengths.length > 10 && lengths[0] === 28);
  assert.deepEqual(lengths, lengths.toSorted((a, b) => b - a));
  await sortBy("By person");
  const people = (await shown(":scope > .who")).map((who) => who.split(", ")[0]);
  assert.deepEqual(people, people.toSorted((a, b) => a.localeCompare(b)));
  assert.equal(await view.locator(".day h2").first().textContent(), people[0]);
  await sortBy("Newest first");

  const titles = await shown(".title");
  const before = await rows(view).count();
  await rows(view).nth(1).locator(".title").click();
  const heading = view.locator("#conversation h2", { hasText: titles[1] });
  await heading.waitFor();
  assert.equal(await rows(view).count(), before, "no row expands");
  assert.ok(await view.locator('[data-session].on[aria-posinset="2"]').isVisible(), "the open one is lit");
  await view.locator('[aria-label="Conversation below"]').click();
  await view.locator('[data-session].on[aria-posinset="3"]').waitFor();
  await view.locator('[aria-label="Conversation above"]').click();
  await view.locator('[aria-label="Conversation above"]').click();
  await view.locator('[data-session].on[aria-posinset="1"]').waitFor();
  await view.locator("#conversation h2", { hasText: "The deploy fails" }).waitFor();
  assert.ok(await view.locator('[aria-label="Conversation above"]').isDisabled());
  await it.done();
}

export async function saysWhatTheTextSays(browser) {
  const it = await opened(browser, { input: { source: "slack" } });
  const { view, result } = it;
  const { sessions: said } = result.structuredContent;
  assert.ok(said.length >= 5);
  const found = await rows(view).evaluateAll((lines) => lines.map((line) => ({
    session: line.dataset.session, words: line.querySelector(".title").textContent, user: line.querySelector(":scope > .who").textContent,
  })));
  assert.deepEqual(
    found.slice(0, said.length),
    said.map((one) => ({ session: one.session_id, words: one.first_words, user: one.users.join(", ") })),
  );
  assert.ok(await view.locator(".chip.set", { hasText: "App: slack" }).isVisible());
  await it.done();
}

export async function showsOneUserWhereOneIsAskedFor(browser) {
  const it = await opened(browser, { input: { user_id: "jonas" } });
  const { view } = it;
  assert.match(await summary(view), /^\d+ conversations, \d+ messages$/);
  const users = await rows(view).locator("> .who").allTextContents();
  assert.ok(users.length && users.every((user) => user === "jonas"), `${users}`);
  await clear(view);
  await until(view, /^99 conversations, 796 messages$/);
  await it.done();
  // A server for one user alone names nobody else.
  const confined = await opened(browser, { client: { env: { REFLEXIO_USER_ID: "jonas" } } });
  assert.equal(await confined.view.locator("h1").textContent(), "Memory of jonas");
  assert.ok(await rows(confined.view).count() > 3);
  await menu(confined.view, "Only jonas. Whose memory is shown");
  assert.match(await confined.view.locator(".menu").textContent(), /this server is for one person/);
  assert.doesNotMatch(await confined.view.locator("body").textContent(), /maria|priya/);
  await confined.done();
}

export async function coversSecrets(browser) {
  const it = await opened(browser);
  const { view } = it;
  await it.looked();
  await open(view, "The deploy fails");
  // The finding is named where it stands, and says why it matters.
  const grave = view.locator("#conversation .turn.grave");
  await grave.locator("summary", { hasText: "Key or password" }).click();
  await grave.locator("details p", { hasText: "comes back in later prompts" }).waitFor();
  assert.equal(await grave.count(), 1);
  assert.doesNotMatch(await view.locator("body").textContent(), /AKIA/);
  assert.deepEqual(await axe(view), []);
  await grave.locator(".covered button").click();
  await turn(view, "AKIAQ3EGUZ7TV4KJ9XLP").waitFor();
  assert.doesNotMatch(await view.locator("#list").textContent(), /AKIA/, "one is shown, where it was asked for");
  // A message with a secret keeps no copy unless that is chosen.
  await grave.locator(".tool").click();
  assert.equal(await view.locator("#sheet .final").textContent(), "Delete 1 message for good");
  await button(view, "Cancel").click();
  await it.done();
}

/** One finding at a time, with its passage and why; how far was looked is said. */
export async function reviewsOneFindingAtATime(browser) {
  const intercept = async (params, forward) => {
    if (params.arguments.view !== "findings") return undefined;
    const result = await forward();
    result.structuredContent.findings["prompt-injection"] = { "req-shared-0": [] };
    result.structuredContent.passages = { "req-shared-0": ["the import job is late"] };
    return result;
  };
  const it = await opened(browser, { intercept });
  const { view } = it;
  await it.looked();
  await part(view, "review").click();
  await view.locator(".list", { hasText: "All 796 messages were looked through." }).waitFor();
  await finding(view, "Suspicious text").locator(".title").click();
  await view.locator(".passage .suspect", { hasText: /^the import job is late$/ }).waitFor();
  await view.locator(".pane .body button", { hasText: "Open conversation" }).click();
  await view.locator("#conversation .suspect", { hasText: /^the import job is late$/ }).waitFor();
  assert.deepEqual(await axe(view), []);
  await part(view, "review").click();
  await finding(view, "Key or password").locator(".title").click();
  await view.locator(".passage", { hasText: "What is wrong with it?" }).waitFor();
  const body = view.locator(".pane .body");
  assert.match(await body.textContent(), /A key or password, most likely.*comes back in later prompts.*Get a new one where you got it/s);
  assert.deepEqual(await axe(view), []);
  await body.locator("button", { hasText: "Decide later" }).click();
  await finding(view, "Key or password").filter({ hasText: "later" }).waitFor();
  await view.locator('[aria-label="Finding before"]').click();
  await body.locator("button", { hasText: "Delete 2 messages" }).click();
  await view.locator("#sheet .final").click();
  await toast(view, "2 messages deleted").waitFor();
  assert.equal(await finding(view, "Key or password").count(), 0);
  await it.done();
}

/** What a person judged to be no problem stays so in every window and for the audit, until it is taken back. */
export async function remembersWhatIsNoProblem(browser) {
  const it = await opened(browser);
  const { view, client } = it;
  const apart = async () => (await client.callTool({ name: "audit_traffic", arguments: {} })).structuredContent.no_problem ?? [];
  await it.looked();
  await part(view, "review").click();
  const before = Number(await part(view, "review").locator(".n").textContent());
  await finding(view, "Key or password").locator(".title").click();
  await view.locator(".judge button", { hasText: "Not a problem" }).click();
  await view.locator(".group", { hasText: "Not a problem1 decided" }).waitFor();
  assert.equal(Number(await part(view, "review").locator(".n").textContent()), before - 1);
  assert.deepEqual(await apart(), [{ name: "probable-secret", count: 1 }]);
  await part(view, "conversations").click();
  assert.equal(await row(view, "The deploy fails").locator(".badge.warn", { hasText: "Key or password" }).count(), 0);

  const again = await explore(browser, client);
  await settled(again.view);
  await again.looked();
  await part(again.view, "review").click();
  assert.equal(Number(await part(again.view, "review").locator(".n").textContent()), before - 1);
  await finding(again.view, "Key or password").locator(".title").click();
  assert.match(await again.view.locator(".pane .body").textContent(), /Somebody decided that this is not a problem\./);
  assert.deepEqual(await axe(again.view), []);
  await again.view.locator(".judge button", { hasText: "Review it again" }).click();
  await comesTo(async () => assert.equal(Number(await part(again.view, "review").locator(".n").textContent()), before));
  assert.deepEqual(await apart(), []);
  await again.context.close();
  await it.done();
}

/** What is not looked for yet is not said to be none. */
export async function saysHowFarItLooked(browser) {
  const later = Promise.withResolvers();
  const intercept = async (params, forward) => {
    if (params.arguments.view !== "findings") return undefined;
    if (!params.arguments.cursor) {
      const result = await forward();
      Object.assign(result.structuredContent, { looked_at: 100, cursor: "later" });
      return result;
    }
    await later.promise;
    return { content: [], structuredContent: { view: "findings", looked_at: 298 } };
  };
  const it = await opened(browser, { intercept });
  const { view } = it;
  await part(view, "review").click();
  await view.locator(".list", { hasText: "Still looking: 100 of 398" }).waitFor();
  const count = part(view, "review").locator(".n");
  assert.equal(await count.textContent(), "…", "no number before all was looked through, and not none either");
  later.resolve();
  await view.locator(".list", { hasText: "All 796 messages were looked through." }).waitFor();
  assert.match(await count.textContent(), /^\d+$/);
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
  await until(view, /^Reading on: words appear once secrets in them can be hidden/);
  const words = () => rows(view).first().locator(".title").textContent();
  await comesTo(async () => assert.equal(await words(), "…"));
  assert.ok(await rows(view).count() > 5);
  later.resolve();
  await until(view, /^99 conversations/);
  await comesTo(async () => assert.match(await words(), /The deploy fails/));
  assert.deepEqual(it.problems, []);
  await it.context.close();
  await client.close();
}

export async function hidesEverythingUnderTheMask(browser) {
  const it = await opened(browser, { client: { env: { REFLEXIO_MCP_MASK: "1" } } });
  const { view } = it;
  await view.locator(".scope button").click();
  assert.match(await view.locator(".menu").textContent(), /This server hides all text/);
  assert.equal(await view.locator("#words").count(), 0, "what cannot be searched has no search");
  await rows(view).first().locator(".title").click();
  await turn(view, "characters").first().waitFor();
  assert.doesNotMatch(await view.locator("body").textContent(), /Lisbon|invoice|stand-up|AKIA/);
  await it.done();
}

export async function offersNoDeletionWhereNoneIsOffered(browser) {
  const it = await opened(browser, { client: { env: { REFLEXIO_MCP_READ_ONLY: "1" } } });
  const { view } = it;
  await choose(view, "Notes of the stand-up");
  assert.equal(await view.locator(".picked-bar .delete").count(), 0);
  await open(view, "Notes of the stand-up");
  assert.equal(await view.locator("#conversation :is(.delete, .tool)").count(), 0);
  await view.locator(".scope button").click();
  assert.match(await view.locator(".menu").textContent(), /Read only/);
  assert.ok(it.calls.every((call) => call.name === "explorer_data"));
  await it.done();
}

export async function readsMoreOnceTheFilterLetsMoreThrough(browser) {
  const it = await opened(browser, { input: { source: "slack" } });
  const { view } = it;
  await view.locator("#words").fill("label printer");
  await until(view, /^\d+ conversations?, \d+ hits?$/);
  await clear(view);
  await until(view, /^99 conversations, 796 messages$/);
  await it.done();
}

export async function findsTheWordsItIsOpenedWith(browser) {
  const it = await opened(browser, { input: { contains: "label printer" } });
  await until(it.view, /^\d+ conversations, \d+ hits$/);
  assert.equal(await it.view.locator("#words").inputValue(), "label printer");
  assert.ok(await rows(it.view).count() > 0);
  await it.done();
}

export async function leavesInPlaceWhatIsInUseWhenMoreArrives(browser) {
  const [some, others] = [Promise.withResolvers(), Promise.withResolvers()];
  const intercept = async (params, forward) => {
    const { view, cursor } = params.arguments;
    if (view !== "findings") return undefined;
    if (cursor) {
      await others.promise;
      return { content: [], structuredContent: { view, findings: { "temporary-session": { "req-eval-00": [] } } } };
    }
    // What comes sooner than this is drawn with what comes next.
    await Promise.all([some.promise, new Promise((resolve) => setTimeout(resolve, 1_100))]);
    const result = await forward();
    result.structuredContent.cursor = "later";
    return result;
  };
  const it = await opened(browser, { intercept });
  const { view, page } = it;
  await open(view, "Notes of the stand-up");
  await turn(view).nth(7).waitFor();
  await choose(view, "Notes of the stand-up");
  await view.locator(".support summary").click();
  await view.locator('[aria-label="Copy the session id"]').click();
  const inUse = () => view.evaluate(() => [String(getSelection()), document.activeElement.ariaLabel]);
  await view.evaluate(() => getSelection().selectAllChildren(document.querySelector(".turn .text")));
  const before = await inUse();
  assert.match(before[0], /import job/);
  assert.equal(before[1], "Copy the session id");
  some.resolve();
  await row(view, "The deploy fails").locator(".badge.warn").waitFor();
  assert.deepEqual(await inUse(), before);

  // A button of the mouse that is down stays on what is under it.
  const { x, y } = await boxOf(row(view, "The deploy fails").locator("input"));
  await page.mouse.move(x + 8, y + 8);
  await page.mouse.down();
  others.resolve();
  await part(view, "review").locator(".n", { hasText: /\d/ }).waitFor();
  await page.mouse.up();
  await view.locator("#selected", { hasText: "2 conversations selected" }).waitFor();
  await it.done();
}

/** What another window deletes goes without a click, and nothing moves. */
export async function noticesWhatAnotherWindowDeletes(browser) {
  const it = await opened(browser, { ownClock: true });
  const { view, client } = it;
  await it.looked();
  await open(view, "Notes of the stand-up");
  const deletes = async (name, given) => {
    const { structuredContent: { plan } } = await client.callTool({ name, arguments: given });
    await client.callTool({ name, arguments: { ...given, confirm: plan.confirm } });
  };
  await deletes("delete_session", { session_id: "eval-nightly-0421" });
  assert.equal(await row(view, "name the capital").count(), 1);
  const scrolled = () => view.locator("#list").evaluate((list) => list.scrollTop);
  await view.locator("#list").evaluate((list) => { list.scrollTop = 100; });
  await it.page.clock.fastForward(60_000);
  await row(view, "name the capital").waitFor({ state: "detached" });
  await until(view, /^98 conversations, 768 messages$/);
  assert.equal(await scrolled(), 100);
  await view.locator("#list").evaluate((list) => { list.scrollTop = 0; });
  await deletes("delete_session", { session_id: "deploy-help-77aa01" });
  assert.equal(await row(view, "The deploy fails").count(), 1);
  await view.evaluate(() => window.dispatchEvent(new Event("focus")));
  await row(view, "The deploy fails").waitFor({ state: "detached" });
  await until(view, /^97 conversations, 766 messages$/);
  assert.ok(await turn(view, "Noted.").first().isVisible(), "what is open stays open");
  await deletes("delete_request", { request_id: "req-shared-3" });
  await view.locator('[aria-label="Look again"]').click();
  await turn(view, "Who looks after").waitFor({ state: "detached" });
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
  const { view } = it;
  // A host that asks the person before it passes a message on.
  it.bridge.onupdatemodelcontext = ({ content }) => { it.messages.push(content[0].text); return new Promise(() => {}); };
  await choose(view, "The deploy fails");
  await deleteSelected(view);
  await toast(view, "Deleting 2 messages").waitFor();
  assert.match(await toast(view).textContent(), /You can go on working\. Keep this window open\./);
  assert.deepEqual(await axe(view), []);
  // The page can be used meanwhile.
  await open(view, "Notes of the stand-up");
  await deleted.promise;
  answered.resolve();
  await toast(view, "2 messages deleted").waitFor();
  assert.equal(await row(view, "The deploy fails").count(), 0);
  assert.equal(await view.locator(".picked-bar").count(), 0);
  await choose(view, "Notes of the stand-up");
  await deleteSelected(view);
  await toast(view, "8 messages deleted").waitFor();
  await comesTo(() => assert.deepEqual(
    it.messages, ["In the explorer, the person deleted 2 messages.", "In the explorer, the person deleted 8 messages."],
  ));
  await it.done();
}

export async function exportsWhatTheFilterShows(browser) {
  const it = await opened(browser);
  const { view } = it;
  await it.looked();
  await filterBy(view, "Warning", "Key or password");
  await until(view, /^1 of 99 conversations/);
  await menu(view, "More");
  await view.locator(".menu .mi", { hasText: "Export" }).click();
  await view.locator("#sheet-title", { hasText: "Export 2 messages" }).waitFor();
  assert.match(await sheet(view).textContent(), /The filter is: Warning Key or password\..*interactions2/);
  assert.deepEqual(await axe(view), []);
  await button(view, "Cancel").click();
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
    return one.closest(".row")?.dataset.session ?? one.id ?? one.textContent;
  });
  const tabTo = async (what, test) => {
    for (let steps = 0; !(await view.evaluate(test)); steps += 1) {
      assert.ok(steps < 40, `${what} is reached by Tab`);
      await page.keyboard.press("Tab");
    }
  };
  await view.locator("#words").focus();
  await tabTo("the list", () => Boolean(document.activeElement.closest(".row")));
  const first = await focused();
  await page.keyboard.press("ArrowDown");
  await comesTo(async () => assert.notEqual(await focused(), first));
  const second = await focused();
  await page.keyboard.press("Space");
  assert.match(await view.locator("#selected").textContent(), /^1 conversation selected/);
  await page.keyboard.press("Enter");
  await turn(view).first().waitFor();
  assert.equal(await focused(), second);
  await page.keyboard.press("Escape");
  await turn(view).first().waitFor({ state: "detached" });
  assert.equal(await focused(), second);
  await page.keyboard.press("End");
  await comesTo(async () => assert.equal(await view.evaluate(() => document.activeElement.closest(".row")?.getAttribute("aria-posinset")), "99"));
  await page.keyboard.press("Home");
  await comesTo(async () => assert.equal(await focused(), first));
  await tabTo("Delete", () => document.activeElement.classList.contains("delete"));
  await page.keyboard.press("Enter");
  await view.locator("#sheet .final").waitFor();
  await page.keyboard.press("Escape");
  await closed(view);
  assert.ok(await view.evaluate(() => document.activeElement.classList.contains("delete")), "the focus is where it was");
  await page.keyboard.press("Enter");
  await view.locator("#sheet .final").waitFor();
  await tabTo("the number or the button", () => document.activeElement.matches(".typed input, .final"));
  if (await view.locator(".typed input").count()) {
    await page.keyboard.type(/\d+/.exec(await view.locator(".typed input").getAttribute("aria-label"))[0]);
    await tabTo("the button", () => document.activeElement.matches(".final"));
  }
  await page.keyboard.press("Enter");
  await toast(view, "deleted, checked by reading again").waitFor();
  await comesTo(async () => assert.notEqual(await view.evaluate(() => document.activeElement.tagName), "BODY"));
  await it.done();
}

export async function asksTheHostsFormToo(browser) {
  let asked = 0;
  const forms = (answer) => async () => { asked += 1; return answer; };
  const ask = { REFLEXIO_MCP_CONFIRM: "ask" };
  const declined = await opened(browser, { client: { env: ask, forms: forms({ action: "decline" }) } });
  await choose(declined.view, "Notes of the stand-up");
  await deleteSelected(declined.view);
  await toast(declined.view, "Nothing was deleted").waitFor();
  assert.equal(asked, 1);
  await declined.done();
  // Where no form can be shown, that is said before a number is typed, and the cap before Delete is pressed.
  const formless = await opened(browser, { client: { env: { ...ask, REFLEXIO_MCP_DELETE_CAP: "5" } } });
  await choose(formless.view, "Notes of the stand-up");
  await formless.view.locator(".picked-bar .delete").click();
  await formless.view.locator("#sheet-title", { hasText: "Nothing can be deleted here" }).waitFor();
  await button(formless.view, "Close").click();
  await formless.view.locator(".picked-bar button", { hasText: "Select all 99" }).click();
  await formless.view.locator("#selected", { hasText: /, only 5 an hour may be deleted$/ }).waitFor();
  await formless.done();
  const agreed = await opened(browser, { client: { env: ask, forms: forms({ action: "accept", content: { number: 4 } }) } });
  await choose(agreed.view, "Notes of the stand-up");
  await deleteSelected(agreed.view);
  await toast(agreed.view, "8 messages deleted").waitFor();
  assert.equal(asked, 2);
  await agreed.done();
  // In `auto` the yes in the page is enough, though the host could show a form.
  const auto = await opened(browser, { client: { forms: forms({ action: "decline" }) } });
  await choose(auto.view, "The deploy fails");
  await deleteSelected(auto.view);
  await toast(auto.view, "2 messages deleted").waitFor();
  assert.equal(asked, 2);
  await auto.done();
}

export async function saysWhenTheSetHasChanged(browser) {
  const it = await opened(browser);
  const { view, client } = it;
  await choose(view, "Notes of the stand-up");
  await askToDelete(view);
  await typeNumber(view);
  const plan = await client.callTool({ name: "delete_request", arguments: { request_id: "req-shared-0" } });
  await client.callTool({ name: "delete_request", arguments: { request_id: "req-shared-0", confirm: plan.structuredContent.plan.confirm } });
  await view.locator("#sheet .final").click();
  await toast(view, "Nothing was deleted: what is stored has changed since you looked.").waitFor();
  await view.locator(".picked-bar .delete").click();
  await view.locator("#sheet .final", { hasText: "Delete 6 messages" }).waitFor();
  await typeNumber(view);
  await view.locator("#sheet .final").click();
  await toast(view, "6 messages deleted").waitFor();
  await it.done();
}

export async function leavesWhatAHoldKeeps(browser) {
  const folder = mkdtempSync(join(tmpdir(), "hold-"));
  const policy = join(folder, "policy.toml");
  writeFileSync(policy, '[[hold]]\nusers = ["jonas", "priya.n"]\nreason = "case_7 open=yes"\n');
  const it = await opened(browser, { client: { env: { REFLEXIO_MCP_POLICY: policy } } });
  const { view } = it;
  const before = await summary(view);
  await rows(view).filter({ has: view.locator("> .who", { hasText: /^jonas$/ }) }).first().locator("input").click();
  await view.locator(".picked-bar .delete").click();
  await view.locator("#sheet-title", { hasText: "Nothing to delete" }).waitFor();
  assert.match(await sheet(view).textContent(), /The operator's policy says that all of this is kept for now\..*case_7 open=yes/);
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
  await it.view.locator(".blank", { hasText: "The memory does not answer" }).waitFor();
  assert.match(await it.view.locator(".blank").textContent(), /does not allow this call/);
  refuse = false;
  await it.view.locator(".blank button").click();
  await until(it.view, /^99 conversations/);
  refuse = true;
  await choose(it.view, "Notes of the stand-up");
  await it.view.locator(".picked-bar .delete").click();
  await it.view.locator("#sheet [role=alert]", { hasText: "does not allow" }).waitFor();
  assert.ok(await row(it.view, "Notes of the stand-up").isVisible());
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
  // In the conversation of a host there is no title; where the page fills the window, it says whose memory it is.
  assert.ok((await boxOf(it.view.locator("h1"))).width <= 1);
  await it.bridge.sendHostContextChange({ displayMode: "fullscreen" });
  await comesTo(async () => assert.ok((await boxOf(it.view.locator("h1"))).width > 100));
  await menu(it.view, "Everyone (6). Whose memory is shown");
  assert.match(await it.view.locator(".menu").textContent(), /Kept on this computer\..*Whoever opens this page can see what all 6 people said\./);
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

/** Elements that hang over the edge of the window. */
const overhanging = (view) => view.evaluate(() => {
  const right = document.documentElement.clientWidth;
  const out = (one) => one.getBoundingClientRect().width > 1 && (one.getBoundingClientRect().right > right + 1 || one.getBoundingClientRect().left < -1);
  // What its own box cuts off, with an ellipsis, is no wider than the box.
  const cut = (one) => one && (getComputedStyle(one).overflowX !== "visible" && !out(one) && !one.matches(".app, .main, .list, .pane") || cut(one.parentElement));
  return [document.documentElement, ...document.querySelectorAll("body *:not(.spoken, .spoken *)")].filter((one) => out(one) && !cut(one.parentElement))
    .map((one) => `${one.tagName} ${one.id || one.className} ${one.textContent.slice(0, 30)}`);
});

/** Parts of the open menu that do not stand under the part before them. */
const besideAnother = (view) => view.evaluate(() => [...document.querySelectorAll(".menu > *")].flatMap((part, at, parts) => {
  const before = parts[at - 1]?.getBoundingClientRect();
  return before && part.getBoundingClientRect().top < before.bottom - 1 ? [part.textContent] : [];
}));

export async function fitsEveryWidth(browser) {
  const client = await connect();
  // The last three are a small frame, and a window at 200 and 400 % zoom.
  for (const [width, height] of [[320, 640], [480, 640], [768, 640], [1280, 680], [1440, 640], [360, 480], [640, 360], [320, 225]]) {
    const it = await explore(browser, client, { width, height });
    const { view } = it;
    await settled(view);
    await it.looked();
    const where = `at ${width} x ${height}`;
    const first = await boxOf(rows(view).first());
    assert.ok(first.y + first.height <= height, `a row is seen ${where}`);
    assert.deepEqual(await overhanging(view), [], `list ${where}`);
    for (const button of await view.locator(".drop > button:visible").all()) {
      await button.click();
      assert.deepEqual(await besideAnother(view), [], `menu ${where}`);
      assert.deepEqual(await overhanging(view), [], `menu ${where}`);
      await it.page.keyboard.press("Escape");
      await view.locator(".menu").waitFor({ state: "detached" });
    }
    await open(view, "Notes of the stand-up");
    assert.equal(await rows(view).first().isVisible(), width >= 960, "beside the list, or in its place");
    assert.deepEqual(await overhanging(view), [], `conversation ${where}`);
    await close(view);
    await choose(view, "Notes of the stand-up");
    assert.deepEqual(await overhanging(view), [], `selection ${where}`);
    await askToDelete(view);
    assert.deepEqual(await overhanging(view), [], `sheet ${where}`);
    const title = await boxOf(view.locator("#sheet-title"));
    assert.ok(title.y >= 0 && title.y + title.height < height, `the sheet begins with its title ${where}`);
    const goes = await boxOf(view.locator("#sheet .goes li").first());
    assert.ok(goes.y + goes.height <= height, `what goes is seen first ${where}`);
    const focused = await view.evaluate(() => document.activeElement.id || document.activeElement.textContent);
    assert.equal(focused, height < 420 ? "sheet-title" : "Cancel", `the focus ${where}`);
    await view.locator("#sheet .final").scrollIntoViewIfNeeded();
    await button(view, "Cancel").click();
    await part(view, "review").click();
    await finding(view, "Key or password").locator(".title").click();
    await view.locator(".judge").waitFor();
    assert.deepEqual(await overhanging(view), [], `review ${where}`);
    assert.deepEqual(it.problems, []);
    await it.context.close();
  }
  await client.close();
}

/** axe in each state that a person meets on the way through the page. */
async function walks(it, where) {
  const { view } = it;
  const found = async (state) => assert.deepEqual(await axe(view), [], `${state}, ${where}`);
  await found("list");
  await open(view, "Notes of the stand-up");
  await turn(view, "Noted.").first().waitFor();
  await found("opened");
  await close(view);
  await choose(view, "Notes of the stand-up");
  await found("selected");
  await askToDelete(view);
  await found("plan");
  await typeNumber(view);
  await found("plan, number typed");
  await button(view, "Cancel").click();
  await view.locator(".picked-bar button", { hasText: "Deselect" }).click();
  await view.locator(".scope button").click();
  await found("menu");
  await it.page.keyboard.press("Escape");
  await part(view, "review").click();
  await finding(view, "Key or password").locator(".title").click();
  await view.locator(".passage .text").first().waitFor();
  await found("review");
  await part(view, "conversations").click();
  await view.locator("#words").fill("nothing says this");
  await view.locator(".blank", { hasText: "No conversation has “nothing says this”" }).waitFor();
  await found("nothing matches");
  await view.locator(".blank button").click();
  await until(view, /^99 conversations/);
}

export async function satisfiesAxe(browser) {
  const client = await connect();
  for (const [theme, width] of [["light", 1280], ["dark", 1280], ["light", 320]]) {
    const it = await explore(browser, client, { theme, width });
    await settled(it.view);
    await it.looked();
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
    await it.looked();
    assert.ok(await view.evaluate(() => matchMedia("(forced-colors: active)").matches));
    // What is told by a colour elsewhere is still seen: the pressed chip, what is open, what is selected.
    const look = async (selector, name) => {
      await view.locator(selector).first().waitFor();
      return view.evaluate(([one, property]) => getComputedStyle(document.querySelector(one))[property], [selector, name]);
    };
    if (width < 768) await view.locator(".fold > button").click();
    else await menu(view, "When");
    const pressed = (on) => look(`.menu button[aria-pressed="${on}"]`, "backgroundColor");
    assert.notEqual(await pressed(true), await pressed(false));
    await it.page.keyboard.press("Escape");
    await choose(view, "Notes of the stand-up");
    assert.equal(await look(".row.picked", "outlineStyle"), "solid");
    assert.equal(await look(".row:not(.picked)", "outlineStyle"), "none");
    await view.locator(".picked-bar button", { hasText: "Deselect" }).click();
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
  await it.looked();
  assert.ok(await view.evaluate(() => matchMedia("(pointer: coarse)").matches));
  const small = await view.locator("button:visible:not(.title)").evaluateAll((those) => those
    .filter((one) => one.getBoundingClientRect().height < 36).map((one) => one.textContent || one.ariaLabel));
  assert.deepEqual(small, [], "a finger hits it");
  const meant = row(view, "Notes of the stand-up");
  assert.ok((await boxOf(meant)).height >= 44);
  // Beside the box is close enough.
  const box = await boxOf(meant.locator("input"));
  await page.touchscreen.tap(box.x - 4, box.y + box.height + 8);
  await view.locator("#selected", { hasText: "8 messages" }).waitFor();
  await meant.locator(".title").tap();
  await turn(view).first().waitFor();
  assert.deepEqual(await axe(view), []);
  await view.locator('[aria-label="Back to the list"]').tap();
  await view.locator(".fold > button").tap();
  // A finger drawn over the timeline narrows the period.
  const area = await boxOf(view.locator(".area"));
  const touches = await it.context.newCDPSession(page);
  const stroke = async (...points) => {
    for (const [index, [where, y]] of points.entries())
      await touches.send("Input.dispatchTouchEvent", {
        type: index ? "touchMove" : "touchStart", touchPoints: [{ x: area.x + area.width * where, y: area.y + y }],
      });
    await touches.send("Input.dispatchTouchEvent", { type: "touchEnd", touchPoints: [] });
  };
  await stroke([0.5, 30], [0.55, 30], [0.6, 30], [0.7, 30]);
  await until(view, /^\d+ of 99 conversations/);
  // However quick the stroke was, the next tap is a tap.
  await view.locator(".menu .chip", { hasText: "All" }).tap();
  await until(view, /^99 conversations/);
  await it.done();
}

export async function keepsStillUnderReducedMotion(browser) {
  for (const [motion, names] of [["reduce", ["none"]], ["no-preference", ["up"]]]) {
    const it = await opened(browser, { media: { reducedMotion: motion, viewport: { width: 1280, height: 720 } } });
    await choose(it.view, "Notes of the stand-up");
    await askToDelete(it.view);
    const moving = await it.view.evaluate(() => [getComputedStyle(document.getElementById("sheet")).animationName]);
    assert.deepEqual(moving, names);
    await it.done();
  }
}

export async function readsFromRightToLeft(browser) {
  for (const width of [1280, 320]) {
    const it = await opened(browser, { width });
    const { view } = it;
    await it.looked();
    const [arabic, latin] = [row(view, "كيف"), row(view, "Plain Latin")];
    // The columns are where they are in other rows, and a text is read in its own direction.
    for (const name of [".title", "time"]) {
      const [one, other] = [await boxOf(arabic.locator(name)), await boxOf(latin.locator(name))];
      assert.ok(Math.abs(name === "time" ? one.x + one.width - other.x - other.width : one.x - other.x) <= 1, name);
    }
    assert.equal(await arabic.locator(".title").evaluate((one) => getComputedStyle(one).direction), "rtl");
    // Whatever is left out of an id, no character is cut in two.
    const user = await row(view, "👩‍👩‍👧‍👦").locator(width > 760 ? "> .who" : ".by").first().textContent();
    assert.match(user, /…/);
    assert.equal(user.replaceAll("👩‍👩‍👧‍👦", ""), "…");
    await arabic.locator(".title").click();
    await turn(view).first().waitFor();
    assert.equal(await turn(view).first().locator(".text").evaluate((one) => getComputedStyle(one).direction), "rtl");
    assert.deepEqual(await axe(view), []);
    await close(view);
    await arabic.locator("input").click();
    await askToDelete(view);
    assert.deepEqual(await axe(view), []);
    assert.deepEqual(await overhanging(view), []);
    await it.done();
  }
  // A page that is read from right to left keeps to its window, too.
  const it = await opened(browser);
  await it.view.evaluate(() => { document.documentElement.dir = "rtl"; });
  await open(it.view, "Plain Latin");
  assert.deepEqual(await overhanging(it.view), []);
  await it.done();
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
  await until(view, /^99 conversations, 796 messages$/);
  await it.looked();
  backend.cut();

  // What is read for the first time says so, and what was known stays.
  await row(view, "The deploy fails").locator(".title").click();
  const failed = view.locator("#conversation .problem");
  await failed.waitFor();
  assert.deepEqual(await axe(view), []);
  await view.locator("#words").fill("label printer");
  await view.locator(".blank", { hasText: "The memory does not answer" }).waitFor();
  assert.match(await view.locator(".blank").textContent(), /It was last reached at \d\d:\d\d/);
  await view.locator("#words").fill("");
  await row(view, "Notes of the stand-up").waitFor();
  await choose(view, "Notes of the stand-up");
  await view.locator(".picked-bar .delete").click();
  await view.locator("#sheet [role=alert]").waitFor();
  assert.deepEqual(await axe(view), []);
  await button(view, "Close").click();

  backend.mend();
  await failed.locator("button", { hasText: "Try again" }).click();
  await turn(view, "lacks the permission").waitFor();
  await view.locator('[aria-label="Look again"]').click();
  await until(view, /^99 conversations, 796 messages$/);
  await it.done();
  backend.close();
}

export async function saysHowFarItCameWhenItIsCutOff(browser) {
  const backend = await way(process.env.BACKEND);
  const it = await opened(browser, { client: { env: { REFLEXIO_URL: backend.url, REFLEXIO_MCP_DELETE_CAP: "0" } } });
  const { view } = it;
  await until(view, /^240 conversations, 2,400 messages$/);
  await it.looked();
  await choose(view, "Note 1195");
  await view.locator(".picked-bar button", { hasText: "Select all 240" }).click();
  await askToDelete(view);
  await typeNumber(view);
  backend.cutAfter("/api/delete_requests_by_ids", 1);
  await view.locator("#sheet .final").click();
  await toast(view, "The memory stopped answering.").waitFor({ timeout: 2 * PATIENCE_MS });
  assert.doesNotMatch(await toast(view).textContent(), /[0-9a-f]{8}-|request-\d/, "no ids");
  assert.deepEqual(await axe(view), []);
  assert.match(await toast(view).textContent(), /Whether 2,400 messages are deleted is not known yet\./);
  assert.ok(await inToast(view, "Undo what is deleted").isVisible());
  backend.mend();
  await inToast(view, "Go on").click();
  await toast(view, /deleted, checked by reading again|All of it is deleted/).waitFor({ timeout: 2 * PATIENCE_MS });
  await view.locator('[aria-label="Look again"]').click();
  await view.locator(".blank", { hasText: "Nothing is stored yet" }).waitFor();
  await it.done();
  backend.close();
}

export async function goesOnWithAnUndoThatWasCutOff(browser) {
  const backend = await way(process.env.BACKEND);
  const it = await opened(browser, { client: { env: { REFLEXIO_URL: backend.url } } });
  const { view } = it;
  await until(view, /^60 conversations, 600 messages$/);
  await it.looked();
  await choose(view, "Note 295");
  await view.locator(".picked-bar button", { hasText: "Select all 60" }).click();
  await deleteSelected(view);
  await toast(view, "600 messages deleted, checked by reading again.").waitFor();
  backend.cutAfter("/api/publish_interaction", 120);
  await inToast(view, "Undo").click();
  // Each call is tried again before it is given up.
  await toast(view, / of 600 messages are back/).waitFor({ timeout: 2 * PATIENCE_MS });
  const said = await toast(view).textContent();
  assert.match(said, /^The memory stopped answering\. \d+ of 600 messages are back/);
  assert.deepEqual(await axe(view), []);
  backend.mend();
  await inToast(view, "Go on").click();
  await toast(view, "600 messages are back.").waitFor({ timeout: 2 * PATIENCE_MS });
  await until(view, /^60 conversations, 600 messages$/);
  // One second for all: a conversation is still read in its order.
  await rows(view).first().locator(".title").click();
  await turn(view).nth(9).waitFor();
  const notes = (await turn(view).locator(".text").allTextContents()).flatMap((one) => /^Note (\d+)/.exec(one)?.slice(1).map(Number) ?? []);
  assert.deepEqual(notes, Array.from({ length: 5 }, (_, at) => notes[0] + at));
  assert.equal(notes[0] % 5, 0);
  await it.done();
  backend.close();
}

/** All of it at once, in parts, with one consent and one receipt; stopped, gone on with, and undone. */
export async function deletesTwelveThousandInParts(browser) {
  const it = await command(browser);
  const { view, page } = it;
  const patience = { timeout: 500_000 };
  await until(view, /^2,020 conversations, 20,200 messages, back to/);
  await choose(view, "Note 11995");
  await view.locator("#list").evaluate((one) => { one.scrollTop = 1e9; });
  await until(view, /^2,400 conversations, 24,000 messages$/);
  await view.locator(".picked-bar button", { hasText: "Select all 2,400" }).click();
  await askToDelete(view);
  assert.equal(await view.locator("#sheet-title").textContent(), "Delete 24,000 messages");
  await typeNumber(view);
  await view.locator("#sheet .final").click();
  await inToast(view, "Stop").click();
  await toast(view, /^Stopped\. [\d,]+ messages deleted, [\d,]+ still there\./).waitFor(patience);
  assert.match(await inToast(view, "Undo").textContent(), /^Undo the [\d,]+$/);
  await inToast(view, "Go on").click();
  await toast(view, "24,000 messages deleted, checked by reading again.").waitFor(patience);
  await view.locator(".blank", { hasText: "Nothing is stored yet" }).waitFor();
  await inToast(view, "Undo").click();
  await toast(view, "24,000 messages are back.").waitFor(patience);
  await until(view, /^2,\d00 conversations, 2\d,000 messages/);
  assert.deepEqual(it.problems, []);
  await page.close();
  assert.equal(await it.ended, 0);
}

/** Forget, correct and undo learnings of one user where the server is for everybody. */
export async function forgetsAndCorrectsWhatWasLearned(browser) {
  const learned = [
    { learning_id: "profile:1", content: "Looks after the import job.", evidence: [{ request_id: "req-shared-0", interaction_id: 1, quote: "the import job is late again" }, { request_id: "req-shared-0", interaction_id: 1, quote: "its import is late", near: true }] },
    { learning_id: "profile:2", content: "Key [redacted: password].", from_requests: [{ request_id: "req-shared-0", interaction_ids: [1] }] },
    { learning_id: "profile:3", content: "Goes in another window." },
  ].map((one) => ({ state: "current", user_id: "maria.keller", ...one }));
  const rules = [
    { rule_id: "agent_playbook:5", content: "Name the late step first.", approval: "pending", playbooks: 2, users: ["maria.keller", "jonas", "eval-bot"], more_users: 1 },
    { rule_id: "agent_playbook:6", content: "Rejected by an operator.", approval: "rejected" },
  ];
  const given = [];
  const plan = { selected: { learnings: 1 }, confirm: "C1" };
  const receipt = { number: 98, deleted: { learnings: 1 }, way_back: { state: "whole", until: new Date(Date.now() + 1e8).toISOString() } };
  const answer = (structuredContent, text = "Done.") => ({ content: [{ type: "text", text }], structuredContent });
  // The embedded store learns nothing: what a server that learns says is put in.
  const intercept = async ({ name, arguments: asked }, forward) => {
    if (asked.shared) return answer({ shared_rules: rules });
    if (name === "list_learnings") return answer({ learnings: learned.filter((one) => one.user_id === asked.user_id) });
    const ours = ["delete_learnings", "correct_learning"].includes(name) || asked.deletion === 98;
    if (ours) given.push([name, asked]);
    if (name === "delete_learnings") {
      const made = { ...receipt, deleted: { learnings: asked.learning_ids.length }, ...(asked.erase ? { way_back: { state: "erased" } } : {}) };
      return answer(asked.confirm ? { status: "complete", receipt: made } : { status: "planned", plan });
    }
    if (name === "correct_learning" && asked.confirm) {
      learned[0].content = asked.content;
      return answer({ status: "complete", receipt: { ...receipt, deleted: {}, corrected: 1 } });
    }
    if (name === "correct_learning")
      return answer({ status: "planned", plan: { ...plan, selected: {}, change: { before: learned[0].content, after: asked.content } } });
    if (asked.deletion === 98) return answer(asked.confirm ? { restored: { learnings: 1 } } : { planned: { learnings: 1 }, confirm: "C2" });
    const result = await forward();
    result.structuredContent?.state?.tools.push("list_learnings", "delete_learnings", "correct_learning");
    if (result.structuredContent?.plan?.learned) Object.assign(result.structuredContent.plan, { learned: learned.map((one) => ({ ...one, kept: [] })) });
    return result;
  };
  const it = await opened(browser, { intercept });
  const { view } = it;
  // Where something was learned, the page opens on it.
  const fact = view.locator(".fact", { hasText: "import job" });
  await fact.waitFor();
  assert.equal(await part(view, "learned").getAttribute("aria-current"), "page");
  const elsewhere = view.locator(".fact", { hasText: "Goes in another window." });
  await elsewhere.waitFor();
  learned.pop();
  await view.evaluate(() => window.dispatchEvent(new Event("focus")));
  await elsewhere.waitFor({ state: "detached" });
  const pane = view.locator(".pane .body");
  await view.locator(".chip", { hasText: "Shared rules 1" }).click();
  await view.locator(".fact", { hasText: "Name the late step first." }).locator(".title").click();
  assert.match(await pane.textContent(), /Shared rule, used for everyone.*Made from what was learned about\s*maria\.keller, jonas, eval-bot and 1 more person\s*No operator has approved it/s);
  assert.equal(await pane.locator("button", { hasText: "Forget" }).count(), 0);
  assert.equal(await view.locator(".fact", { hasText: "Rejected" }).count(), 0, "a rejected rule is not used");
  assert.deepEqual(await axe(view), []);
  await view.locator(".chip", { hasText: /^All/ }).click();
  await fact.locator(".title").click();
  assert.match(await pane.textContent(), /Fact about maria\.keller.*The assistant uses it now.*“the import job is late again”.*“its import is late”.*said in nearly these words/s);
  assert.deepEqual(await axe(view), []);
  await pane.locator("button", { hasText: "Open conversation" }).first().click();
  const note = view.locator("#conversation .note", { hasText: "import job" });
  await note.waitFor();
  assert.equal(await view.locator("#conversation .taught").first().textContent(), "the import job is late again", "the words that taught it are marked");
  assert.match(await note.textContent(), /Said in nearly these words: “its import is late”/);
  assert.match(await row(view, "Notes of the stand-up").locator(".gist").textContent(), /1 learned/);
  await note.locator("button", { hasText: "Forget" }).click();
  assert.match(await sheet(view).textContent(), /Keep a copy at least until.*Keep no copy/s);
  await button(view, /^Forget$/).click();
  await toast(view, "1 learned thing forgotten, checked by reading again.").waitFor();
  const whose = { learning_ids: ["profile:1"], user_id: "maria.keller" };
  assert.deepEqual(given.splice(0), [["delete_learnings", whose], ["delete_learnings", { ...whose, confirm: "C1" }]]);
  await inToast(view, "Undo").click();
  await toast(view, "1 learned thing is back.").waitFor();
  given.length = 0;

  // Without a copy it is gone for good, and no way back is offered.
  await note.locator("button", { hasText: "Forget" }).click();
  await view.locator(".pick", { hasText: "Keep no copy" }).locator("input").check();
  assert.match(await view.locator("#sheet .said").textContent(), /This cannot be undone\./);
  await button(view, /^Forget for good$/).click();
  await toast(view, "1 learned thing forgotten, checked by reading again.").waitFor();
  assert.match(await toast(view).textContent(), /No copy is kept/);
  assert.equal(await inToast(view, "Undo").count(), 0);
  assert.deepEqual(given.splice(0), [["delete_learnings", { ...whose, erase: true }], ["delete_learnings", { ...whose, erase: true, confirm: "C1" }]]);

  // What is hidden cannot be written anew without being lost.
  assert.equal(await view.locator("#conversation .note", { hasText: "Key" }).locator("button", { hasText: "Correct" }).count(), 0);
  await note.locator("button", { hasText: "Correct" }).click();
  assert.equal(await view.locator("#sheet textarea").inputValue(), "Looks after the import job.");
  assert.deepEqual(await axe(view), []);
  await view.locator("#sheet textarea").fill("Hands the import job over.");
  await button(view, "Save").click();
  await toast(view, "1 learned thing corrected").waitFor();
  const wanted = { learning_id: "profile:1", content: "Hands the import job over.", user_id: "maria.keller" };
  assert.deepEqual(given.splice(0), [["correct_learning", wanted], ["correct_learning", { ...wanted, confirm: "C1" }]]);
  await view.locator("#conversation .note", { hasText: "Hands the import job over." }).waitFor();
  await comesTo(() => assert.equal(it.messages.at(-1), "In the explorer, the person corrected 1 learned thing."));

  // What was said only here goes with the words, what is not certain stays, and the button counts both.
  await view.locator("#conversation .delete").click();
  await view.locator("#sheet .final").waitFor();
  assert.equal(await view.locator("#sheet .final").textContent(), "Delete 8 messages and 1 learned thing");
  assert.match(await view.locator(".fate", { hasText: "Hands the import" }).textContent(), /Said only here: “the import job is late again”/);
  assert.match(await view.locator(".fate", { hasText: "Key" }).textContent(), /Not certain\./);
  assert.doesNotMatch(await sheet(view).textContent(), /Shared rules/, "both have other conversations");
  await view.locator(".fate", { hasText: "Key" }).locator("label", { hasText: "Will be forgotten" }).click();
  await view.locator("#sheet-title", { hasText: "Delete 8 messages and 2 learned things" }).waitFor();
  await view.locator(".fate", { hasText: "Hands the import" }).locator("label", { hasText: "Kept" }).click();
  assert.match(await view.locator("#sheet .said").last().textContent(), /1 learned thing stays\. A copy is kept at least until/);
  await typeNumber(view);
  await view.locator("#sheet .final").click();
  await toast(view, "8 messages and 1 learned thing deleted").waitFor();
  const other = { ...whose, learning_ids: ["profile:2"] };
  assert.deepEqual(given.splice(0), [["delete_learnings", other], ["delete_learnings", { ...other, confirm: "C1" }]]);
  await inToast(view, "Undo").click();
  await toast(view, "8 messages and 1 learned thing are back.").waitFor();
  assert.deepEqual(given, [["restore_requests", { deletion: 98 }], ["restore_requests", { deletion: 98, confirm: "C2" }]]);

  // All conversations of one person: what everyone is served from it stays.
  await row(view, "name the capital").locator(".title").click();
  await view.locator("#conversation .delete").click();
  await view.locator("#sheet .final").waitFor();
  assert.match(await sheet(view).textContent(), /Shared rules made from it\s*Name the late step first\..*stay in use for everyone/s);
  assert.deepEqual(await axe(view), []);
  await button(view, "Cancel").click();

  // A secret leaves no copy to correct a mistake from: what is not certain is decided first.
  await open(view, "The deploy fails");
  await view.locator("#conversation .delete").click();
  await view.locator("#sheet .said", { hasText: "Decide about 1 learned thing first." }).waitFor();
  assert.ok(await view.locator("#sheet .final").isDisabled());
  await view.locator(".fate", { hasText: "Key" }).locator("label", { hasText: "Kept" }).click();
  await view.locator("#sheet .final:enabled", { hasText: /^Delete 2 messages for good$/ }).waitFor();
  assert.deepEqual(await axe(view), []);
  await button(view, "Cancel").click();
  await close(view);
  assert.deepEqual(it.problems, []);
  given.length = 0;

  // Several at once, with what one of them replaced; two people's need their number.
  learned[0].replaced = [{ learning_id: "profile:0", content: "Watches the import job." }];
  learned.push({ learning_id: "profile:9", content: "Repairs the deploy.", state: "current", user_id: "jonas", evidence: [{ request_id: "req-secret-1", interaction_id: 1, quote: "The deploy fails" }] });
  await view.evaluate(() => window.dispatchEvent(new Event("focus")));
  await part(view, "learned").click();
  await view.locator(".fact", { hasText: "Repairs the deploy." }).locator(".title").focus();
  await it.page.keyboard.press("Space");
  await view.locator("#selected", { hasText: /^1 learned thing selected $/ }).waitFor();
  await view.locator(".chip", { hasText: "How to help" }).waitFor({ state: "detached" });
  await view.locator(".picked-bar button", { hasText: "Select all 3" }).click();
  await view.locator("#selected", { hasText: "3 learned things selected about 2 people" }).waitFor();
  await view.locator(".fact", { hasText: "Key" }).locator("input").click();
  await view.locator("#selected", { hasText: "2 learned things selected" }).waitFor();
  assert.deepEqual(await axe(view), []);
  await view.locator(".picked-bar button", { hasText: "Forget" }).click();
  await view.locator("#sheet-title", { hasText: "Forget 2 learned things" }).waitFor();
  await view.locator(".again", { hasText: "It replaced “Watches the import job.”" }).locator("label", { hasText: "Forget both" }).click();
  await view.locator("#sheet-title", { hasText: "Forget 3 learned things" }).waitFor();
  assert.deepEqual(await axe(view), []);
  assert.ok(await view.locator("#sheet .final").isDisabled());
  await typeNumber(view);
  await view.locator("#sheet .final:enabled", { hasText: /^Forget 3 learned things$/ }).click();
  await toast(view, "3 learned things forgotten, checked by reading again.").waitFor();
  const [hers, his] = [{ learning_ids: ["profile:1", "profile:0"], user_id: "maria.keller" }, { learning_ids: ["profile:9"], user_id: "jonas" }];
  assert.deepEqual(given.splice(0).map(([, asked]) => asked), [his, { ...his, confirm: "C1" }, hers, { ...hers, confirm: "C1" }]);

  // In a deletion each learned thing stands under its conversation, and what is not affected stands apart.
  await part(view, "conversations").click();
  const headings = () => view.locator(".fates").evaluateAll((groups) => groups.map((group) => [group.querySelector("h4")?.textContent, group.querySelectorAll(".fate").length]));
  await choose(view, "Notes of the stand-up");
  await askToDelete(view);
  assert.deepEqual(await headings(), [[undefined, 2], ["Not affected", 1]]);
  await button(view, "Cancel").click();
  await choose(view, "The deploy fails");
  await askToDelete(view);
  assert.deepEqual(await headings(), [["Notes of the stand-up: the import job is late again.", 2], ["The deploy fails. We use aws_access_key_id = aws key What is wrong …", 1]]);
  assert.deepEqual(await axe(view), []);
  await button(view, "Cancel").click();

  // A group counts what it has, and says how much of it is shown.
  learned.push(...Array.from({ length: 60 }, (_, at) => ({ learning_id: `profile:${100 + at}`, content: `Knows street ${at}.`, state: "current", user_id: "jonas" })));
  await view.evaluate(() => window.dispatchEvent(new Event("focus")));
  await part(view, "learned").click();
  await view.locator(".group", { hasText: "About jonas61" }).waitFor();
  await view.locator("button", { hasText: /^Show 11 more$/ }).click();
  assert.equal(await view.locator(".fact", { hasText: /^(Knows street|Repairs)/ }).count(), 61);
  await it.done();
}

export async function showsHostileTextAsText(browser) {
  // So high that all rows are drawn.
  const it = await opened(browser, { height: 1_600 });
  const { view, page } = it;
  const before = page.url();
  await it.looked();
  let read = "";
  for (const session of await rows(view).evaluateAll((those) => those.map((one) => one.dataset.session))) {
    await view.locator(`.row[data-session=${JSON.stringify(session)}] .title`).click();
    await view.waitForFunction(() => {
      const parts = [...document.querySelectorAll(".exchange")];
      return parts.length && parts.every((one) => one.querySelector(".turn[data-interaction]"));
    });
    for (const fold = view.locator("#conversation button", { hasText: "Show all" }).first(); await fold.count(); ) await fold.click();
    read += await view.locator("#conversation").textContent();
  }
  await view.locator("#words").fill("hacked");
  await until(view, /hits?/);
  await view.locator("#words").fill("");
  await until(view, /^20 conversations/);
  await rows(view).first().locator("input").click();
  await view.locator(".picked-bar button", { hasText: "Select all" }).click();
  await askToDelete(view);
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
  assert.equal(state.title, "Your memory");
  assert.deepEqual(state.hacked, []);
  assert.deepEqual(state.foreign, []);
  assert.deepEqual(state.attributes, []);
  assert.equal(state.background, "rgb(255, 255, 255)");
  assert.ok(read.includes("<img src=x onerror=hacked1=1>"), "markup is shown as it was written");
  assert.ok(!/[\u202a-\u202e\u2066-\u2069]/.test(state.text + read), "nothing that reorders is left");
  assert.deepEqual(await overhanging(view), []);
  assert.equal(page.url(), before);
  await it.done();
}

export async function readsAVeryLongInteraction(browser) {
  const it = await opened(browser);
  const { view } = it;
  await rows(view).first().locator(".title").click();
  await turn(view).first().waitFor();
  assert.ok((await boxOf(turn(view).locator(".text").first())).height <= 240, "it is folded");
  const shown = () => view.evaluate(() => document.querySelector(".turn .text").textContent.length);
  assert.ok((await shown()) < 10_000, "what is folded is not drawn");
  await view.locator("button", { hasText: "Show all" }).click();
  assert.ok((await shown()) > 50_000);
  await view.locator("button", { hasText: "Read on" }).click();
  await view.locator("#conversation", { hasText: /The first 100,000 of \d{3},\d{3} characters are shown/ }).waitFor();
  await it.done();
}

/** Read, filter, search, forget, select, export, delete, undo: on a server that learns. */
async function wholeJob({ view, told = async () => {} }) {
  await part(view, "learned").waitFor();
  await view.locator(".fact", { hasText: "Lives at 12 Secret Lane" }).waitFor();
  await part(view, "conversations").click();
  await until(view, /^3 conversations, \d+ messages$/);
  const messages = Number(/(\d+) messages/.exec(await summary(view))[1]);
  await row(view, "I live at 12 Secret Lane").locator(".badge", { hasText: "Key or password" }).waitFor();
  await row(view, "An evaluation").locator(".badge", { hasText: "Evaluation" }).waitFor();
  await open(view, "Something new to say");
  await view.locator("#conversation", { hasText: "Waiting to be learned" }).waitFor();
  await close(view);

  await filterBy(view, "App", "slack");
  await until(view, /^1 of 3 conversations/);
  await clear(view);
  await view.locator("#words").fill("deploy fails");
  await until(view, /^1 conversation, 1 hit$/);
  await view.locator("#words").fill("");
  await until(view, /^3 conversations/);

  await open(view, "I live at 12 Secret Lane");
  const learned = view.locator("#conversation");
  const home = learned.locator(".note", { hasText: "Lives at 12 Secret Lane" });
  await home.waitFor();
  await learned.locator(".note", { hasText: "Answer in metric units" }).waitFor();
  assert.match(await learned.locator(".taught").first().textContent(), /I live at 12 Secret Lane/);
  assert.deepEqual(await axe(view), []);
  await learned.locator(".turn .covered").first().waitFor();
  assert.doesNotMatch(await view.locator("body").textContent(), /AKIA/);
  const forgotten = async () => {
    await home.locator("button", { hasText: "Forget" }).click();
    await button(view, /^Forget$/).waitFor();
    assert.match(await sheet(view).textContent(), /A copy is kept at least until/);
    assert.deepEqual(await axe(view), []);
    await button(view, /^Forget$/).click();
    await toast(view, "1 learned thing forgotten, checked by reading again.").waitFor();
    await home.waitFor({ state: "detached" });
  };
  await forgotten();
  await inToast(view, "Undo").click();
  await toast(view, "1 learned thing is back.").waitFor();
  await home.waitFor();
  await told("In the explorer, the person put back 1 learned thing.");
  await forgotten();
  await told("In the explorer, the person had 1 learned thing forgotten.");

  await choose(view, "I live at 12 Secret Lane");
  const lines = await exported(view);
  assert.deepEqual(new Set(lines.map((one) => one.request.session_id)).size, 3);
  assert.ok(!JSON.stringify(lines).includes("AKIA"), "what is hidden stays hidden in the file");
  await askToDelete(view);
  const playbook = view.locator(".fate", { hasText: "Answer in metric units" });
  await playbook.locator("label", { hasText: "Will be forgotten" }).click();
  await view.locator("#sheet-title", { hasText: /^Delete \d+ messages and 1 learned thing$/ }).waitFor();
  // A key is in it, so no copy is kept unless that is chosen.
  await view.locator(".pick", { hasText: "Keep a copy" }).locator("input").check();
  await view.locator("#sheet .said", { hasText: "A copy is kept at least until" }).last().waitFor();
  const what = (await view.locator("#sheet-title").textContent()).replace("Delete ", "");
  assert.deepEqual(await axe(view), []);
  await typeNumber(view);
  await view.locator("#sheet .final").click();
  await toast(view, `${what} deleted, checked by reading again.`).waitFor();
  assert.equal(await row(view, "I live at 12 Secret Lane").count(), 0);
  await told(`In the explorer, the person deleted ${what}.`);
  await inToast(view, "Undo").click();
  await toast(view, `${what} are back.`).waitFor();
  await row(view, "I live at 12 Secret Lane").waitFor();
  await until(view, new RegExp(`^3 conversations, ${messages} messages$`));
  await learned.locator(".note", { hasText: "Answer in metric units" }).waitFor();
  // On a server of its own everything comes back in one second, in the order in which it was said.
  const said = await learned.locator(".turn.user .text").allTextContents();
  assert.match(said.join(" | "), /I live at 12 Secret Lane.*The deploy fails.*Thank you/s);
}

/** What was replaced comes back with the deletion of what replaced it, unless nobody wants it back. */
export async function forgetsBoth(browser) {
  const it = await opened(browser);
  const { view } = it;
  await part(view, "conversations").click();
  await open(view, "ping");
  await view.locator("#conversation .meta", { hasText: "Ended: success" }).waitFor();
  await view.locator("#conversation .note", { hasText: "Loves peanuts" }).waitFor();
  await view.locator("#conversation .delete").click();
  const again = view.locator(".fate", { hasText: "Loves peanuts" }).locator(".again", { hasText: "It replaced “Cannot eat peanuts”" });
  const headline = view.locator("#sheet-title");
  const learned = async () => Number(/(\d+) learned things?$/.exec(await headline.textContent())[1]);
  await again.waitFor();
  assert.ok(await again.locator("label", { hasText: "Use it again" }).locator("input").isChecked());
  assert.match(await view.locator("#sheet .said").last().textContent(), /1 older one is used again\./);
  const before = await learned();
  await again.locator("label", { hasText: "Forget both" }).click();
  await comesTo(async () => assert.equal(await learned(), before + 1));
  assert.doesNotMatch(await view.locator("#sheet .said").last().textContent(), /used again/);
  assert.deepEqual(await axe(view), []);
  // Where what it replaced would not be used again, nobody is told that it is.
  const colour = view.locator(".fate", { hasText: "Favourite colour" });
  await colour.locator("label", { hasText: "Kept" }).click();
  await again.locator("label", { hasText: "Leave it unused" }).waitFor();
  await colour.locator("label", { hasText: "Will be forgotten" }).click();
  await again.locator("label", { hasText: "Use it again" }).waitFor();
  const what = (await headline.textContent()).replace("Delete ", "");
  await typeNumber(view);
  await view.locator("#sheet .final").click();
  await toast(view, `${what} deleted, checked by reading again.`).waitFor();
  await it.done();
}

export async function doesTheWholeJobOnARealServer(browser) {
  const it = await opened(browser);
  const { view } = it;
  await wholeJob({ view, told: (message) => comesTo(() => assert.equal(it.messages.at(-1), message)) });
  await it.done();
}

export async function doesTheWholeJobWithoutAnAssistant(browser) {
  const it = await command(browser);
  const { view, page } = it;
  await wholeJob({ view });
  assert.deepEqual(it.problems, []);
  await page.close();
  assert.equal(await it.ended, 0);
}

export async function worksWithoutAnAssistant(browser) {
  const it = await command(browser, "--source", "slack");
  const { page } = it;
  let { view } = it;
  assert.equal(page.url(), new URL("/", it.address).href, "the token leaves the address");
  await clear(view);
  await until(view, /^99 conversations, 796 messages$/);
  // What is looked at is in the address: Back goes to what it was, and a reload keeps it.
  await menu(view, "Everyone (6). Whose memory is shown");
  await view.locator(".menu .mi", { hasText: "jonas" }).click();
  await until(view, /^\d+ of 99 conversations/);
  const said = await summary(view);
  await rows(view).first().locator(".title").click();
  await turn(view).first().waitFor();
  await comesTo(() => assert.match(page.url(), /#user=jonas&open=/));
  // Back closes a sheet, and the conversation stays; the next one closes the conversation.
  await view.locator("#conversation .delete").click();
  await view.locator("#sheet .final").waitFor();
  await page.goBack();
  await closed(view);
  assert.ok(await turn(view).first().isVisible());
  await page.goBack();
  await turn(view).first().waitFor({ state: "detached" });
  assert.equal(await summary(view), said);
  await page.reload();
  await page.waitForSelector("#view:not([hidden])");
  view = page.frame({ url: /\/page$/ }) ?? await page.waitForEvent("framenavigated").then((frame) => frame);
  await view.locator("h1", { hasText: "Memory of jonas" }).waitFor();
  await until(view, /conversations?, \d+ messages/);
  await clear(view);
  await until(view, /^99 conversations, 796 messages$/);
  assert.equal((await exported(view)).length, 398);
  await choose(view, "Notes of the stand-up");
  await deleteSelected(view);
  await toast(view, "8 messages deleted, checked by reading again.").waitFor();
  await inToast(view, "Undo").click();
  await toast(view, "8 messages are back.").waitFor();
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
  assert.match(await it.view.locator(".blank").textContent(), /Nothing is stored yet/);
  assert.deepEqual(await axe(it.view), []);
  await it.done();
}

export async function holdsAConversationOfManyRequests(browser) {
  const [whole, size] = [100_000, 1_000];
  const client = await connect();
  const intercept = async (params, forward) => {
    const { view, cursor = "0", request_id } = params.arguments;
    if (view === "findings") return { content: [], structuredContent: { view, looked_at: size } };
    if (view === "request") return { content: [], structuredContent: { view, one: { interactions: [{ interaction_id: 1, role: "User", content: `Said in ${request_id}` }], learning: { status: "done" } } } };
    if (view !== "rows") return undefined;
    const answer = cursor === "0" ? (await forward()).structuredContent : { view };
    const first = Number(cursor);
    const requests = Array.from({ length: size }, (_, index) => ({
      request_id: `r${first + index}`, user_id: "ann", created_at: new Date(1.79e12 - (first + index) * 1000).toISOString(),
      interaction_count: 1, first_words: `Number ${first + index}`,
    }));
    const next = first + size;
    return { content: [], structuredContent: {
      ...answer, sessions: [{ session_id: "endless", requests }], ...(next < whole ? { cursor: String(next) } : {}),
    } };
  };
  const it = await explore(browser, client, { intercept });
  const { view } = it;
  await settled(view);
  assert.match(await summary(view), /^1 conversation, 10,000 messages, back to /);
  for (let more = 2; more <= whole / 10_000; more += 1) {
    await view.locator("button", { hasText: "Read further" }).click();
    await until(view, new RegExp(`^1 conversation, ${more * 10},000 messages(,|$)`));
  }
  await rows(view).first().locator(".title").click();
  await turn(view, "Said in r99999").waitFor();
  assert.ok(await view.locator(".exchange").count() <= 12, "requests are drawn as they are asked for");
  assert.deepEqual(it.problems, []);
  await it.context.close();
  await client.close();
}

export async function drawsOnlyTheRowsInSight(browser) {
  const it = await opened(browser);
  const { view } = it;
  await until(view, /^2,000 conversations, 20,000 messages$/);
  assert.ok(await rows(view).count() < 60, "rows are drawn only where they are seen");
  await view.locator("#list").evaluate((one) => { one.scrollTop = 1e9; });
  await row(view, "Note 0:").waitFor();
  assert.ok(await rows(view).count() < 60);
  const made = await view.evaluate(async () => {
    const list = document.getElementById("list");
    const before = new Set(list.querySelectorAll(".row"));
    list.scrollTop -= 52;
    await new Promise((resolve) => new MutationObserver(resolve).observe(list, { childList: true, subtree: true, attributes: true }));
    return [...list.querySelectorAll(".row")].filter((one) => !before.has(one)).length;
  });
  assert.ok(made <= 2, `${made} rows were made: the others stay as they are`);
  await it.done();
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
const longest = (tasks) => Math.max(...tasks.map((one) => one.took));

/** Milliseconds of processor time of a fixed piece of work: 17 on an idle machine. */
const unitOf = (view) => view.evaluate(() => Math.min(...Array.from({ length: 15 }, () => {
  const before = performance.now();
  Array.from({ length: 60_000 }, (_, at) => (at * 7919) % 60_013).sort((a, b) => a - b);
  return performance.now() - before;
})));

/** Open the page of a command once more, now that its server is warm: in milliseconds, of processor time but `elapsed`. */
async function openedWarm(browser, it, whole) {
  const { page } = it;
  // The system counts it in hundredths of a second.
  const spent = () => {
    const [user, system] = readFileSync(`/proc/${it.pid}/stat`, "utf8").split(") ")[1].split(" ").slice(11);
    return (Number(user) + Number(system)) * 10;
  };
  await until(it.view, whole);
  // Until it has looked for the findings, too.
  for (let last = 0; spent() - last > 30; await page.waitForTimeout(500)) last = spent();
  let server = spent();
  let view;
  const opening = await traced(browser, page, async () => {
    await page.reload();
    await page.waitForSelector("#view:not([hidden])");
    view = page.frame({ url: /\/page$/ }) ?? await page.waitForEvent("framenavigated").then((one) => one);
    await until(view, /conversations/);
    server = spent() - server;
    await until(view, whole);
  });
  const [asks, usable] = [opening.mark("asks"), opening.mark("usable")];
  const first = server + total(opening.tasks.filter((one) => one.at >= asks && one.at <= usable));
  return { view, first, elapsed: (usable - asks) / 1_000, frame: longest(opening.tasks) };
}

/** Prints what a page with 10,000 requests takes whose server is warm, beside the time of a fixed piece of work. */
export async function isQuickWithManyRequests(browser) {
  const it = await command(browser);
  const { page } = it;
  const { view, ...opening } = await openedWarm(browser, it, /^2,000 conversations, 20,000 messages$/);
  await menu(view, "App");
  await view.locator(".menu .mi", { hasText: "slack" }).waitFor();
  const changing = await traced(browser, page, () => view.evaluate(async () => {
    for (let times = 0; times < 4; times += 1) {
      (document.querySelector(".menu .mi:nth-of-type(2)") ?? document.querySelector(".chips .chip.set")).click();
      await new Promise((resolve) => requestAnimationFrame(() => setTimeout(resolve)));
      if (!document.querySelector(".menu")) document.querySelector('.chips button[aria-label="App"]')?.click();
      await new Promise((resolve) => requestAnimationFrame(() => setTimeout(resolve)));
    }
  }));
  const unit = await unitOf(view);
  const figures = { ...opening, filter: total(changing.tasks) / 4, unit };
  console.error(JSON.stringify(figures));
  // A unit takes 17 ms on an idle machine. The aims there are 300 ms for the first rows, 100 ms for a task and 100 ms for
  // a filter; beside other tests, a task has half as much again.
  const slow = Math.max(1, unit / 17);
  assert.ok(figures.first < 300 * slow && figures.frame < 100 * slow && figures.filter < 100 * slow, JSON.stringify(figures));
  await page.close();
  await it.ended;
}

/** Write what a page of 50,000 requests takes into the file that FIGURES names, in milliseconds. */
export async function measuresFiftyThousand(browser) {
  const it = await command(browser);
  const { page } = it;
  const { view, ...opening } = await openedWarm(browser, it, /^2,0\d\d conversations, .* back to/);
  // What is not loaded is said, and loads on scroll.
  const scrolling = await traced(browser, page, async () => {
    for (const read of [/^4,0/, /^6,0/, /^8,0/, /^10,000 conversations, 100,000 messages$/]) {
      await view.locator("#list").evaluate((list) => { list.scrollTop = 1e9; });
      await until(view, read);
    }
  });
  let hits = 0;
  let began = Date.now();
  const searching = await traced(browser, page, async () => {
    await view.locator("#words").fill("Note 123");
    await until(view, /\d hits?/);
    hits = Date.now() - began;
    await until(view, /^\d+ conversations, [\d,]+ hits$/);
  });
  const searched = Date.now() - began;
  await view.locator("#words").fill("answers");
  await until(view, /searching on$/);
  began = Date.now();
  await view.locator("button", { hasText: "Stop" }).click();
  await until(view, /not everything was searched$/);
  const stopped = Date.now() - began;
  const figures = {
    ...opening, scroll: longest(scrolling.tasks), hits, searched, search: longest(searching.tasks), stopped, unit: await unitOf(view),
  };
  writeFileSync(process.env.FIGURES, JSON.stringify(figures));
  await page.close();
  await it.ended;
}

/**
 * Do the whole job with 50,000 requests, and write into the file that FIGURES names how long each step took, its longest
 * task, and the most memory that the page and its server had: in milliseconds and in MB.
 */
export async function doesTheWholeJobWithFiftyThousand(browser) {
  const it = await command(browser);
  const { view, page } = it;
  const patience = { timeout: 3_000_000 };
  const figures = { elapsed: {}, task: {}, heap: 0 };
  const step = async (name, work) => {
    const began = Date.now();
    const { tasks } = await traced(browser, page, work);
    figures.elapsed[name] = Date.now() - began;
    figures.task[name] = longest(tasks);
    figures.heap = Math.max(figures.heap, await view.evaluate(() => performance.memory.usedJSHeapSize / 1e6));
  };
  await until(view, /^2,0\d\d conversations, .* back to/);
  await step("scroll", async () => {
    for (const read of [/^4,0/, /^6,0/, /^8,0/, /^10,000 conversations, 100,000 messages$/]) {
      await view.locator("#list").evaluate((list) => { list.scrollTop = 1e9; });
      await until(view, read);
    }
  });
  await step("search", async () => {
    await view.locator("#words").fill('"Note 123:"');
    await until(view, /^1 conversation, 1 hit$/);
  });
  await step("hit", async () => {
    await rows(view).first().locator(".title").click();
    await view.locator("#conversation mark", { hasText: "Note 123" }).waitFor();
  });
  await close(view);
  await view.locator("#words").fill("");
  await until(view, /^10,000 conversations, 100,000 messages$/);
  await choose(view, "Note 49995:");
  await step("select", () => view.locator(".picked-bar button", { hasText: "Select all 10,000" }).click());
  await step("plan", async () => {
    await view.locator(".picked-bar .delete").click();
    await view.locator("#sheet .final").waitFor(patience);
  });
  assert.equal(await view.locator("#sheet-title").textContent(), "Delete 100,000 messages");
  assert.ok(await view.locator("#sheet .final").isDisabled(), "the number is typed first");
  await step("type", async () => {
    await typeNumber(view);
    await view.locator("#sheet .final:enabled").waitFor();
  });
  await step("stop", async () => {
    await view.locator("#sheet .final").click();
    await inToast(view, "Stop").click();
    await toast(view, /^Stopped\. [\d,]+ messages deleted, [\d,]+ still there\./).waitFor(patience);
  });
  await step("delete", async () => {
    await inToast(view, "Go on").click();
    await toast(view, "100,000 messages deleted, checked by reading again.").waitFor(patience);
  });
  await view.locator(".blank", { hasText: "Nothing is stored yet" }).waitFor();
  await step("undo", async () => {
    await inToast(view, "Undo").click();
    await toast(view, "100,000 messages are back.").waitFor(patience);
  });
  await step("back", () => until(view, /^10,000 conversations, 100,000 messages$/));
  await seek(view, "Note 49995:");
  await row(view, "Note 49995:").waitFor();
  const server = Number(/VmHWM:\s+(\d+) kB/.exec(readFileSync(`/proc/${it.pid}/status`, "utf8"))[1]) / 1_000;
  writeFileSync(process.env.FIGURES, JSON.stringify({ ...figures, server, unit: await unitOf(view) }));
  assert.deepEqual(it.problems, []);
  await page.close();
  assert.equal(await it.ended, 0);
}

/** Draw the pictures of the documentation anew, into the folder that OUT names. */
export async function pictures(browser) {
  const client = await connect();
  const changed_at = new Date().toISOString();
  const learned = [
    { learning_id: "profile:1", content: "Looks after the nightly import job.", evidence: [{ request_id: "req-shared-0", interaction_id: 1, quote: "the import job is late again" }] },
    { learning_id: "user_playbook:4", content: "If an import is late, name the step that waits before anything else.", trigger: "a note mentions an import job",
      evidence: [{ request_id: "req-shared-2", interaction_id: 1, quote: "When an import is late, tell me first which step is waiting." }] },
    { learning_id: "user_playbook:7", content: "Begin with the short answer.", from_requests: [{ request_id: "req-shared-3", interaction_ids: [1] }] },
  ].map((one) => ({ state: "current", changed_at, user_id: "maria.keller", ...one }));
  // The embedded store learns nothing: what a server that learns says is put in.
  const intercept = async ({ name, arguments: given }, forward) => {
    if (name === "list_learnings") return { content: [], structuredContent: { learnings: given.user_id === "maria.keller" ? learned : [] } };
    const result = await forward();
    result.structuredContent?.state?.tools.push("list_learnings", "delete_learnings", "correct_learning");
    const planned = result.structuredContent?.plan;
    if (planned) Object.assign(planned, { learnings: 2, learned: learned.map((one) => ({ ...one, kept: [] })) });
    return result;
  };
  const draw = async (name, theme, doing) => {
    // In the face that many hosts have, if this machine has it.
    const context = { displayMode: "fullscreen", styles: { variables: { "--font-sans": 'Inter, "Liberation Sans", system-ui, sans-serif' } } };
    const it = await explore(browser, client, { height: 760, theme, intercept, context, media: { viewport: { width: 1280, height: 760 }, deviceScaleFactor: 2 } });
    await settled(it.view);
    await it.looked();
    await part(it.view, "conversations").click();
    await doing(it.view);
    await it.page.mouse.move(2, 2);
    // No condition says that a picture is the last one: let what was opened be read.
    await it.page.waitForTimeout(1_000);
    await it.page.screenshot({ path: `${process.env.OUT}/${name}.png` });
    await it.context.close();
  };
  await draw("explorer", "light", () => {});
  await draw("explorer-conversation", "light", async (view) => {
    await open(view, "Notes of the stand-up");
    await view.evaluate(() => document.activeElement.blur());
  });
  await draw("explorer-review", "dark", async (view) => {
    await part(view, "review").click();
    await finding(view, "Key or password").locator(".title").click();
    await view.locator(".passage .text").waitFor();
    await view.evaluate(() => document.activeElement.blur());
  });
  await draw("explorer-sheet", "light", async (view) => {
    await choose(view, "Notes of the stand-up");
    await askToDelete(view);
  });
  await client.close();
}
