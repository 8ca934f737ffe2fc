/** Sheets: what is asked before anything changes, and what can still come back. */

import {
  carryOut, askDeletion, changeSheet, chooseCopy, chooseFate, chosenIn, closeSheet, forgottenIn, undo, showExport,
} from "./actions.js";
import { LearnedText } from "./conversation.js";
import { hasSecret } from "./findings.js";
import { counted, inMarks, number, shortened } from "./format.js";
import { goesWithRequests, keptUntil, learnedGoing } from "./jobs.js";
import { described } from "./list.js";
import { goesByItself, rulesRestingOn } from "./memory.js";
import { goingWords, ruleWords } from "./names.js";
import { messagesIn } from "./rows.js";
import { can, state } from "./state.js";
import { Button, Facts, html, Icon, Problem, Text, View } from "./view.js";

/** @typedef {import("./rows.js").Row} Row */
/** @typedef {import("./memory.js").Fate} Fate */
/** @typedef {import("./memory.js").Learning} Learning */

/** Conversations that are listed in a sheet. */
const LISTED = 10;
/** Messages or learned things above which their number is typed, and the same for several people's. */
const TYPED_ABOVE = 25;

/** @extends {View<{}>} The dialogue of the page. It is the browser's own: it keeps the focus inside, and gives it back. */
export class Sheet extends View {
  componentDidMount() {
    const dialog = /** @type {HTMLDialogElement} */ (this.element);
    dialog.showModal();
    this.focus();
  }

  componentWillUnmount() {
    // A closed dialogue gives the focus back to what opened it.
    /** @type {HTMLDialogElement} */ (this.element).close();
  }

  componentDidUpdate() {
    // The focus stays on what a person uses; it moves when another question is asked.
    if (this.step !== this.asks()) this.focus();
  }

  asks() {
    const { sheet } = state;
    return `${sheet?.kind} ${Boolean(sheet?.plan || sheet?.found || sheet?.deletions)} ${Boolean(sheet?.problem)}`;
  }

  /** The focus is on Cancel; in a low window on the title, so that what goes is read first. */
  focus() {
    const dialog = /** @type {HTMLElement} */ (this.element);
    const first = dialog.querySelector("textarea") ?? dialog.querySelector(".keep");
    this.step = this.asks();
    const low = window.innerHeight < 420;
    /** @type {HTMLElement | null} */ (low ? dialog.querySelector("h2") : first)?.focus();
    if (low) dialog.scrollTop = 0;
  }

  render() {
    const { sheet } = state;
    /** @type {Record<string, any>} */
    const kinds = { delete: Deletion, message: MessageSheet, forget: ForgetSheet, correct: CorrectSheet, past: PastSheet, export: ExportSheet, keys: KeysSheet };
    return html`<dialog ref=${this.hold} id="sheet" class=${`sheet ${sheet.kind === "delete" ? "" : "slim"}`} aria-labelledby="sheet-title"
      onCancel=${(/** @type {Event} */ event) => { event.preventDefault(); closeSheet(); }} onKeyDown=${(/** @type {KeyboardEvent} */ event) => event.stopPropagation()}
      onClick=${(/** @type {MouseEvent} */ event) => event.target === event.currentTarget && closeSheet()}><${kinds[sheet.kind]} sheet=${sheet} /></dialog>`;
  }
}

/** @param {{title: any, children?: any, said?: any, buttons?: any}} given */
function Frame({ title, children, said, buttons = html`<${Cancel} words="Close" />` }) {
  return html`<div class="sheet-frame"><header><h2 class="big" id="sheet-title" tabindex="-1">${title}</h2></header><div class="inside">${children}</div><footer><p aria-live="polite" class="said">${said}</p><div class="buttons">${buttons}</div></footer></div>`;
}

function Cancel({ words = "Cancel" }) {
  return html`<${Button} class="keep" onClick=${closeSheet}>${words}<//>`;
}

/** @param {{sheet: any}} given */
function Deletion({ sheet }) {
  const { plan, rows, problem } = sheet;
  const sessions = new Set(rows.map((/** @type {Row} */ row) => row.session)).size;
  if (problem) return html`<${Frame} title="Nothing was deleted" buttons=${html`<${Cancel} words="Close" /><${Button} onClick=${() => askDeletion(rows, sheet)}>Try again<//>`}><${Problem} text=${problem} /><//>`;
  if (!plan) {
    const text = rows.length > 2_500 ? `Looking up what would be deleted: ${number(sheet.looked)} of ${counted(rows.length, "question")}.` : "Looking up what would be deleted.";
    return html`<${Frame} title=${`Delete ${counted(messagesIn(rows), "message")}`} buttons=${html`<${Cancel} />`}><p class="soft" role="status">${text}</p><//>`;
  }
  if (plan.status === "not_found" || plan.status === "held") {
    const why = plan.status === "held" ? "The operator's policy says that all of this is kept for now." : "None of this is stored any more.";
    return html`<${Frame} title="Nothing to delete"><p>${why}</p><${Facts} facts=${plan.facts} /><//>`;
  }
  if (plan.status === "cannot_ask") {
    return html`<${Frame} title="Nothing can be deleted here"><p>The operator wants your assistant's app to ask you, and this app cannot show the question.</p><//>`;
  }
  const choice = chosenIn(sheet);
  const undecided = plan.fates.filter((/** @type {Fate} */ fate) => mustDecide(sheet, fate));
  const all = goingWords(plan.messages, learnedGoing(plan, choice));
  const mustType = mustTypeNumber(rows) || plan.messages > TYPED_ABOVE;
  const ready = !sheet.replanning && !undecided.length && (!mustType || isTyped(sheet, plan.messages));
  return html`<${Frame} title=${`Delete ${all}`} said=${said(plan, choice, undecided.length)} buttons=${html`
    ${mustType && html`<${Typed} sheet=${sheet} count=${plan.messages} to="delete" ready=${ready} />`}
    <${Cancel} /><${Button} class="final" disabled=${!ready} onClick=${carryOut}>Delete ${all}${sheet.erase ? " for good" : ""}<//>`}>
    <section class="block"><h3>What goes</h3><div><${Goes} rows=${rows} />
      ${plan.notFound > 0 && html`<p class="soft small">${counted(plan.notFound, "question")} of your selection ${plan.notFound === 1 ? "is" : "are"} not stored any more.</p>`}<${Facts} facts=${plan.facts} /></div></section>
    <section class="block"><h3>What was learned from ${sessions === 1 ? "it" : "them"}</h3><${Fates} sheet=${sheet} /></section>
    <${RulesThatStay} rows=${rows} />
    <section class="block"><h3>Can I have it back?</h3><${Copy} sheet=${sheet} secret=${hasSecret(rows)} whole=${plan.back !== "words"} what=${choice.learned.length ? "the messages and what was learned" : "the messages"} /></section>
  <//>`;
}

/** Whether a number is typed before so many go, or several people's. @param {{user: string}[]} going */
function mustTypeNumber(going) {
  return going.length > TYPED_ABOVE || new Set(going.map(({ user }) => user)).size > 1;
}

/** @param {any} sheet @param {number} count */
function isTyped(sheet, count) {
  return sheet.typed.replace(/[,.\s]/g, "") === String(count);
}

/** The field for the number of what goes. @param {{sheet: any, count: number, to: string, ready: boolean}} given */
function Typed({ sheet, count, to, ready }) {
  return html`<label class="typed">Type ${number(count)} <input type="text" inputmode="numeric" autocomplete="off" aria-label=${`Type ${number(count)} to ${to}`} value=${sheet.typed}
    onInput=${(/** @type {Event} */ event) => changeSheet(sheet.id, { typed: /** @type {HTMLInputElement} */ (event.target).value })}
    onKeyDown=${(/** @type {KeyboardEvent} */ event) => {
      if (event.key !== "Enter") return;
      // Otherwise the key would press the button that has the focus next.
      event.preventDefault();
      if (ready) carryOut();
    }} /></label>`;
}

/** Whether a person has to say what becomes of a learning: it may have the secret of which no copy is kept. @param {any} sheet @param {Fate} fate */
function mustDecide({ rows, erase, chosen }, fate) {
  return erase && fate.case === "unknown" && !chosen.has(fate.id) && hasSecret(rows);
}

/** One line that says what stays, what returns, and the copy. @param {any} plan @param {import("./jobs.js").Choice} choice @param {number} undecided */
function said(plan, choice, undecided) {
  const { learned, older, erase } = choice;
  const stay = plan.fates.length - learned.length;
  const back = goesWithRequests(plan, learned) ? learned.flatMap((fate) => fate.older).length - older.length : 0;
  return [
    undecided > 0 && `Decide about ${counted(undecided, "learned thing")} first.`,
    stay > 0 && `${counted(stay, "learned thing")} ${stay === 1 ? "stays" : "stay"}.`, back > 0 && `${counted(back, "older one")} ${back === 1 ? "is" : "are"} used again.`,
    copySaid(erase),
  ].filter(Boolean).join(" ");
}

/** Whether a copy is kept, and where the way back is. @param {boolean} erase */
function copySaid(erase) {
  const until = keptUntil(erase);
  return until ? `A copy is kept at least until ${until}; undo it under Recently deleted.` : "This cannot be undone.";
}

/** The conversations that go, with whose; other people's come first. @param {{rows: Row[]}} given */
function Goes({ rows }) {
  /** @type {Map<string, Row[]>} */
  const sessions = new Map();
  /** @type {Map<string, number>} */
  const people = new Map();
  for (const row of rows) {
    sessions.set(row.session, [...(sessions.get(row.session) ?? []), row]);
    people.set(row.user, (people.get(row.user) ?? 0) + row.interactions);
  }
  const [main] = [...people].sort((a, b) => b[1] - a[1])[0] ?? [""];
  const others = (/** @type {Row[]} */ those) => those.filter((row) => row.user !== main).length;
  const sorted = [...sessions].sort(([, a], [, b]) => others(b) - others(a));
  const left = sorted.slice(LISTED);
  return html`<ul class="goes">${sorted.slice(0, LISTED).map(([session, those]) => {
    const whole = messagesIn(state.index.ofSession(session));
    const messages = messagesIn(those);
    /** @type {Map<string, number>} */
    const by = new Map();
    for (const row of those) by.set(row.user, (by.get(row.user) ?? 0) + row.interactions);
    return html`<li key=${session}><bdi class="clip"><${Text} text=${state.index.titleOf(session)} /></bdi><span class="soft">${messages < whole ? `${number(messages)} of ${counted(whole, "message")}` : counted(messages, "message")}${by.size > 1 ? ": " : ", "}${[...by].slice(0, 4).map(([user, count], at) => html`${at > 0 && ", "}<span class=${user === main ? "" : "other"}>${by.size > 1 ? `${number(count)} ` : ""}<bdi>${shortened(user)}</bdi></span>`)}</span></li>`;
  })}${left.length > 0 && html`<li class="soft"><span>and ${counted(left.length, "more conversation")}</span><span>${counted(messagesIn(left.flatMap(([, those]) => those)), "message")}</span></li>`}</ul>`;
}

/** The shared rules that rest on somebody whose conversations all go. @param {{rows: Row[]}} given */
function RulesThatStay({ rows }) {
  const going = new Set(rows.map((row) => row.id));
  const leaving = new Set(rows.map((row) => row.user));
  for (const row of state.index.rows.values()) if (!going.has(row.id)) leaving.delete(row.user);
  const rules = rulesRestingOn(state.memory.list.values(), leaving);
  if (!rules.length) return null;
  return html`<section class="block"><h3>Shared rules made from it</h3><div>${rules.map((rule) => html`<p dir="auto" key=${rule.id}><${LearnedText} learning=${rule} /></p>`)}
    <p class="soft small">They stay in use for everyone. Reflexio can make them again until everything they were made from is forgotten.</p></div></section>`;
}

/** Each learned thing with what becomes of it, under its conversation if there are several; what is not affected stands apart. @param {{sheet: any}} given */
function Fates({ sheet }) {
  /** @type {{plan: import("./jobs.js").DeletionPlan}} */
  const { plan } = sheet;
  if (!can("list_learnings")) return html`<p class="soft">This memory does not learn from what is kept.</p>`;
  if (!plan.fates.length && !plan.unused.length) return html`<p class="soft">${state.memory.unlinked ? "Nothing that names these messages." : "Nothing was learned from these messages."}</p>`;
  const back = goesWithRequests(plan, chosenIn(sheet).learned);
  return html`<div>${groupsOf(plan.fates, sheet.rows).map(({ heading, fates }, at) => html`<section class="fates" key=${at}>
    ${heading && html`<h4 class="label clip" dir="auto"><${Text} text=${heading} /></h4>`}
    <ul>${fates.map((fate) => html`<${OneFate} key=${fate.id} sheet=${sheet} fate=${fate} back=${back} />`)}</ul></section>`)}
    ${plan.unused.length > 0 && html`<p class="soft small">${counted(plan.unused.length, "learned thing")} not used any more ${plan.unused.length === 1 ? "goes" : "go"}, too.</p>`}</div>`;
}

/** @param {Fate[]} fates @param {Row[]} rows that go @returns {{heading: string, fates: Fate[]}[]} */
function groupsOf(fates, rows) {
  const several = new Set(rows.map((row) => row.session)).size > 1;
  /** @type {Map<string, Fate[]>} */
  const bySession = new Map();
  for (const fate of fates.filter((one) => one.case !== "window")) {
    const session = several ? state.index.rows.get(fate.from)?.session ?? "" : "";
    bySession.set(session, [...(bySession.get(session) ?? []), fate]);
  }
  const headingOf = (/** @type {string} */ session) => (session ? state.index.titleOf(session) : several ? "From one of these conversations" : "");
  const groups = [...bySession].map(([session, those]) => ({ heading: headingOf(session), fates: those }));
  const unaffected = fates.filter((one) => one.case === "window");
  return unaffected.length ? [...groups, { heading: "Not affected", fates: unaffected }] : groups;
}

/** @param {{sheet: any, fate: Fate, back: boolean}} given `back` says whether what it replaced would be used again */
function OneFate({ sheet, fate, back }) {
  const goes = sheet.chosen.get(fate.id) ?? goesByItself(fate);
  return html`<li class="fate"><div class="what"><p dir="auto">${fate.text ? html`<${Text} text=${fate.text} />` : fate.id}</p><p class="why"><${Why} fate=${fate} /></p></div>
    ${fate.case === "window" ? html`<span class="out">Kept</span>` : html`<${Switch} learning=${fate} on=${mustDecide(sheet, fate) ? null : goes} words=${["Kept", "Will be forgotten"]} />`}
    ${goes && fate.older.map((older) => html`<${OlderOne} key=${older.id} sheet=${sheet} older=${older} stays=${back ? "Use it again" : "Leave it unused"} />`)}</li>`;
}

/** What a learned thing took the place of, and whether it goes too. @param {{sheet: any, older: import("./memory.js").Older, stays: string}} given `stays` is what becomes of it otherwise */
function OlderOne({ sheet, older, stays }) {
  return html`<div class="again"><p><${Icon} name="undo" /><span>It replaced “<bdi>${inMarks(older.text || older.id)}</bdi>”</span></p>
    <${Switch} learning=${older} on=${sheet.chosen.get(older.id) ?? false} words=${[stays, "Forget both"]} /></div>`;
}

/** Two choices about a learning: it stays, or it goes. @param {{learning: {id: string, text: string}, on: boolean | null, words: string[]}} given `words` of both, `on` if it goes, `null` before a choice */
function Switch({ learning, on, words }) {
  return html`<span class="seg" role="radiogroup" aria-label=${learning.text || learning.id}>${[false, true].map((goes) => html`<label key=${goes}>
    <input type="radio" name=${`fate ${learning.id}`} checked=${on === goes} onChange=${() => chooseFate(learning.id, goes)} />${words[Number(goes)]}</label>`)}</span>`;
}

/** What is known about where a learned thing comes from. @param {{fate: Fate}} given */
function Why({ fate }) {
  const quote = fate.words ? html`: “<bdi><${Text} text=${inMarks(fate.words)} /></bdi>”` : "";
  const titles = [...new Set(fate.elsewhere.flatMap((id) => state.index.rows.get(id)?.words ?? []))].slice(0, 2);
  const where = titles.map((title, at) => html`${at ? ", " : ", in "}“<bdi><${Text} text=${inMarks(title)} /></bdi>”`);
  switch (fate.case) {
    case "only": case "replace": return html`Said only here${quote}`;
    case "partly": return html`Said here and elsewhere${where}.`;
    case "window": return html`Learned at the same time, but from words elsewhere${where}.`;
    default: return html`<span class="other">Not certain.</span> The words that taught it are not on record, and may be here${fate.elsewhere.length ? html` or in ${counted(fate.elsewhere.length, "question")} that you keep${where}` : ""}.`;
  }
}

/** Whether a copy is kept, and what an undo can do with it. @param {{sheet: any, secret: boolean, whole: boolean, what: string}} given */
function Copy({ sheet, secret, whole, what }) {
  const { server } = state;
  const until = keptUntil(false);
  if (!until) return html`<p>No. This server keeps no copy, so this cannot be undone.</p>`;
  const lost = whole ? "" : "Pictures and citations do not come back, and the time is that of the undo.";
  return html`<div><label class="pick"><input type="radio" name="copy" checked=${!sheet.erase} onChange=${() => chooseCopy(false)} /><span>Keep a copy at least until ${until}
      <span class="small">On ${server?.keeper}. Undo puts ${what} back where ${what === "it" ? "it was" : "they were"}.</span>
      ${lost && html`<span class="small other">${lost}</span>`}${secret && html`<span class="small other">The key or password would stay readable in the copy.</span>`}</span></label>
    <label class="pick"><input type="radio" name="copy" checked=${sheet.erase} onChange=${() => chooseCopy(true)} /><span>Keep no copy
      <span class="small">Gone for good, also from older copies. ${secret ? "Chosen because there may be a key or password in it." : "Choose this for a password or something private."}</span></span></label></div>`;
}

/** @param {{sheet: any}} given */
function MessageSheet({ sheet }) {
  const { row, interaction, erase } = sheet;
  return html`<${Frame} title="Delete 1 message" said=${copySaid(erase)}
    buttons=${html`<${Cancel} /><${Button} class="final" onClick=${carryOut}>Delete 1 message${erase ? " for good" : ""}<//>`}>
    <div class="passage"><p class="who"><bdi>${shortened(row.user)}</bdi>, ${state.clock.when(row.at)}</p><p class="text" dir="auto"><${Text} text=${interaction.text.slice(0, 600)} /></p></div>
    <p class="soft small">The rest of the conversation stays, and so does what was learned.</p>
    <${Copy} sheet=${sheet} secret=${hasSecret([row])} whole=${true} what="it" />
    ${keptUntil(erase) && html`<p class="soft small">It comes back at its place and is marked “put back”.</p>`}
  <//>`;
}

/** @param {{sheet: any}} given */
function ForgetSheet({ sheet }) {
  /** @type {{learnings: Learning[], erase: boolean}} */
  const { learnings, erase } = sheet;
  const several = learnings.length > 1;
  const forgotten = forgottenIn(sheet);
  const what = goingWords(0, forgotten.length);
  const rows = [...new Set(learnings.flatMap(({ evidence }) => evidence.flatMap((each) => state.index.rows.get(each.request) ?? [])))];
  const mustType = mustTypeNumber(forgotten);
  const ready = !mustType || isTyped(sheet, forgotten.length);
  return html`<${Frame} title=${`Forget ${what}`} said=${copySaid(erase)}
    buttons=${html`${mustType && html`<${Typed} sheet=${sheet} count=${forgotten.length} to="forget" ready=${ready} />`}<${Cancel} />
      <${Button} class="final" disabled=${!ready} onClick=${carryOut}>Forget${several ? ` ${what}` : ""}${erase ? " for good" : ""}<//>`}>
    ${learnings.map((learning) => html`<section key=${learning.id}><p class="lead" dir="auto"><${LearnedText} learning=${learning} /></p>
      ${several && html`<p class="label"><bdi>${shortened(learning.user)}</bdi></p>`}
      ${learning.replaced.map((older) => html`<${OlderOne} key=${older.id} sheet=${sheet} older=${older} stays="Leave it unused" />`)}</section>`)}
    <p class="soft small">The conversations stay, so the same may be learned again.</p>
    ${rows.length > 0 && can("delete_requests") && html`<${Button} class="little" onClick=${() => askDeletion(rows, { chosen: new Map(learnings.map(({ id }) => [id, true])) })}>Delete the ${counted(messagesIn(rows), "message")} that taught ${several ? "them" : "it"}, too…<//>`}
    <${Copy} sheet=${sheet} secret=${false} whole=${true} what=${several ? "them" : "it"} />
  <//>`;
}

/** @param {{sheet: any}} given */
function CorrectSheet({ sheet }) {
  const { learning, text } = sheet;
  const changed = text.trim() && text !== learning.text;
  return html`<${Frame} title="Correct 1 learned thing" said=${keptUntil(false) ? `The old text is kept at least until ${keptUntil(false)}.` : "The old text is not kept."}
    buttons=${html`<${Cancel} /><${Button} class="strong" disabled=${!changed} onClick=${carryOut}>Save<//>`}>
    <label><span class="label">What the assistant should know${learning.user ? " about " : ""}<bdi>${shortened(learning.user)}</bdi></span>
      <textarea dir="auto" value=${text} onInput=${(/** @type {Event} */ event) => changeSheet(sheet.id, { text: /** @type {HTMLTextAreaElement} */ (event.target).value })}></textarea></label>
    <p class="soft small">Before: “<bdi>${inMarks(learning.text)}</bdi>”. The words it was learned from stay as they are.</p>
  <//>`;
}

/** @param {{sheet: any}} given */
function PastSheet({ sheet }) {
  const { deletions, facts, problem } = sheet;
  const { clock } = state;
  return html`<${Frame} title="Recently deleted">
    ${problem && html`<${Problem} text=${problem} />`}
    ${!deletions && !problem && html`<p class="soft" role="status">Looking for what can come back.</p>`}
    ${deletions?.length === 0 && html`<p>Nothing that was deleted can come back.</p>`}
    ${deletions?.length > 0 && html`<ul class="goes past">${deletions.map((/** @type {any} */ one) => {
      const { interactions = 0, requests = 0, learnings = 0 } = one.copied;
      const answered = requests > 0 && `${counted(requests, "question")} with ${requests === 1 ? "its" : "their"} answers`;
      const what = [answered, (interactions || learnings) && goingWords(interactions, learnings)].filter(Boolean).join(" and ");
      return html`<li key=${one.number}><span><span>${what}</span><span class="label">${clock.when(Date.parse(one.at))}${one.until ? `, can be put back until ${clock.day(Date.parse(one.until))}` : ""}</span></span>
        <${Button} label=${`Put back ${what} of ${clock.when(Date.parse(one.at))}`} onClick=${() => undo([one.number])}>Put back<//></li>`;
    })}</ul>`}
    <${Facts} facts=${facts} />
  <//>`;
}

/** @param {{sheet: any}} given */
function ExportSheet({ sheet }) {
  const { found, problem, written, redact } = sheet;
  if (problem) return html`<${Frame} title="Export"><${Problem} text=${problem} /><//>`;
  if (!found) return html`<${Frame} title="Export"><p class="soft" role="status">${written ? "Writing the file." : "Looking up what is stored."}</p><//>`;
  const { archive: { counts, findings = {}, unreadable = [] }, file, link, confirm, facts = [] } = found;
  const what = goingWords(counts.interactions ?? counts.requests ?? 0, 0);
  const list = html`<ul class="goes">${Object.entries(counts).filter(([, count]) => count).map(([name, count]) => html`<li key=${name}><span>${name.replaceAll("_", " ")}</span><span>${number(Number(count))}</span></li>`)}</ul>
    ${unreadable.length > 0 && html`<p class="soft small">Some of it could not be read.</p>`}`;
  const warned = Object.entries(findings).filter(([, count]) => count);
  if (written) {
    return html`<${Frame} title=${`${what} exported`}><p class="mono file"><bdi>${file || link}</bdi></p><p class="soft small">${redact ? "What looks like a secret was replaced by its kind." : "Secrets are in the file."} Keep it private.</p>${list}<//>`;
  }
  return html`<${Frame} title=${`Export ${what}`} buttons=${html`<${Cancel} /><${Button} class="strong" onClick=${() => showExport({ redact, confirm })}>Export<//>`}>
    ${facts.some((/** @type {any} */ one) => one.code === "wrong_code") && html`<p class="problem" role="alert">What is stored has changed. This is what it is now.</p>`}
    <p>${described() || "Everything that is stored."}</p>
    ${warned.length > 0 && html`<p>An audit finds in it: ${warned.map(([name, count]) => `“${ruleWords(name).name}” in ${counted(Number(count), "question")}`).join(", ")}.</p>`}
    <label class="pick"><input type="checkbox" checked=${redact} onChange=${(/** @type {Event} */ event) => changeSheet(sheet.id, { redact: /** @type {HTMLInputElement} */ (event.target).checked })} /><span>Leave out what looks like a secret<span class="small">The file contains what people said in any case: keep it private.</span></span></label>${list}
  <//>`;
}

function KeysSheet() {
  const keys = [
    ["/", "search"], ["↑ ↓", "go up and down"], ["Enter", "open"], ["Space", "select"], ["Shift and click", "select all between"],
    ["n and p", "next hit, hit before"], ["Escape", "close what is open"], ["?", "show this"],
  ];
  return html`<${Frame} title="Keys"><ul class="goes">${keys.map(([key, does]) => html`<li key=${key}><span>${does}</span><kbd>${key}</kbd></li>`)}</ul><//>`;
}
