/** A conversation read from top to bottom: what was said, and beside it what was learned from it. */

import {
  askCorrect, askDeletion, askForget, askMessage, closeConversation, hitsHere, openLearned, reached, showMore, SHOWN, secretsOf,
  toConversation, toggleFold, toHit,
} from "./actions.js";
import { originsHere } from "./findings.js";
import { counted, inMarks, number, shortened } from "./format.js";
import { inUse } from "./memory.js";
import { kindWords, learningWords, peopleWords, ruleWords, SECRETS } from "./names.js";
import { searchedWords } from "./passages.js";
import { detailOf, readLearnings, readOn } from "./reading.js";
import { exchangesOf, messagesIn } from "./rows.js";
import { can, state } from "./state.js";
import { Button, CopiedId, html, Icon, IconButton, Text, View } from "./view.js";

/** @typedef {import("./rows.js").Row} Row */
/** @typedef {import("./state.js").Interaction} Interaction */
/** @typedef {import("./memory.js").Learning} Learning */
/** @typedef {{row: Row, interaction: Interaction, place: number, restored: boolean}} Turn */

const FOLD_LINES = 12;
const FOLD_CHARS = 900;
/** Characters of a text that are drawn at once; the rest is drawn when it is asked for. */
const DRAWN_CHARS = 100_000;

/** @extends {View<{}>} */
export class Conversation extends View {
  /** The session that is drawn. @type {string | undefined} */
  shown = undefined;

  componentDidMount() {
    this.reach();
  }

  componentDidUpdate() {
    this.reach();
  }

  /** Scroll to where the conversation was opened, once that is drawn. */
  reach() {
    const { opened } = state;
    const base = /** @type {HTMLElement} */ (this.element);
    if (opened && opened.session !== this.shown && !opened.reach) base.scrollTop = 0;
    this.shown = opened?.session;
    if (!opened?.reach) return;
    const parts = [...base.querySelectorAll(".exchange")];
    const part = parts.find((one) => one.getAttribute("data-id") === opened.reach);
    if (!part) return;
    const mark = part.querySelector("mark, .taught");
    (mark ?? part).scrollIntoView({ block: mark ? "center" : "start" });
    // What is read above it moves it once more.
    if (!parts.some((one) => one.querySelector(".waiting"))) reached();
  }

  render() {
    const { opened, index } = state;
    if (!opened) return null;
    const rows = index.ofSession(opened.session);
    const exchanges = exchangesOf(rows);
    const shown = exchanges.slice(opened.from, opened.to);
    const origins = originsHere();
    const taught = origins.taught.get(opened.session) ?? [];
    const perhaps = origins.perhaps.get(opened.session) ?? [];
    const after = exchanges.length - opened.from - shown.length;
    return html`<section ref=${this.hold} class="pane" tabindex="-1" aria-label="Conversation" id="conversation">
      <${Top} rows=${rows} />
      ${rows.length === 0 && html`<p class="more">${state.loading ? "Reading." : "Nothing of this conversation is stored any more."}</p>`}
      ${rows.length > 0 && html`<div class="two heads"><p class="label">What was said</p><p class="label t">${taught.length > 0 && "What was learned from it"}</p></div>`}
      ${opened.from > 0 && html`<p class="more"><${Button} class="little" onClick=${() => showMore({ before: SHOWN })}>Show ${counted(opened.from, "earlier question")}<//></p>`}
      <div class="turns">${shown.map(({ row, restored }) => html`<${Exchange} key=${row.id} row=${row} restored=${restored}
        learned=${taught.filter((one) => placeOf(one, rows) === row.id)} passages=${passagesFor(taught, [row, ...restored])} />`)}</div>
      ${after > 0 && html`<p class="more"><${Button} class="little" onClick=${() => showMore({ after: SHOWN })}>Show ${counted(Math.min(after, SHOWN), "more question")} of ${number(after)}<//></p>`}
      <${Perhaps} learned=${perhaps} none=${taught.length + perhaps.length === 0} />
      ${rows.length > 0 && html`<${Support} rows=${rows} />`}
    </section>`;
  }
}

/** The last request of the conversation whose words taught something. @param {Learning} one @param {Row[]} rows */
function placeOf(one, rows) {
  const said = new Set(one.evidence.map((each) => each.request));
  const last = rows.findLast((row) => said.has(row.id));
  return last?.restoredFrom && rows.some((row) => row.id === last.restoredFrom) ? last.restoredFrom : last?.id;
}

/** The words in some requests that taught something. @param {Learning[]} learned @param {Row[]} rows */
function passagesFor(learned, rows) {
  return learned.flatMap((one) => {
    const here = one.evidence.filter((each) => rows.some((row) => row.id === each.request));
    return here.map((each) => each.words).filter(Boolean);
  });
}

/** @param {{rows: Row[]}} given */
function Top({ rows }) {
  const { clock, matched, opened, index } = state;
  const [first, last] = [rows[0], rows.at(-1)];
  const users = [...new Set(rows.map((row) => row.user))];
  const sources = [...new Set(rows.map((row) => row.source).filter(Boolean))];
  const ended = rows.find((row) => row.ended)?.ended;
  const hits = hitsHere();
  const at = matched.sessions.findIndex((one) => one.id === opened?.session);
  const shared = [...(first?.findings.keys() ?? [])].filter((rule) => rows.every((row) => row.findings.get(rule)?.length === 0));
  const same = first && last && clock.day(first.at) === clock.day(last.at);
  const times = !first || !last ? "" : first.at === last.at ? clock.when(first.at) : same
    ? `${clock.day(first.at)} ${clock.time.format(first.at)} to ${clock.time.format(last.at)}` : `${clock.moment(first.at)} to ${clock.moment(last.at)}`;
  return html`<header class="top"><div class="line">
    <${IconButton} icon="back" class="narrow-back" label="Back to the list" onClick=${closeConversation} />
    <h2 class="big" dir="auto"><${Text} text=${index.titleOf(opened?.session ?? "")} /></h2>
    <div class="acts">
      ${hits.length > 0 && index.found && html`<span class="hits" role="status">Hit ${number(Math.max(1, hits.indexOf(opened?.hit ?? "") + 1))} of ${number(hits.length)}
        <${IconButton} icon="up" class="little" label="Hit before" onClick=${() => toHit(-1)} /><${IconButton} icon="down" class="little" label="Next hit" onClick=${() => toHit(1)} /></span>`}
      ${!hits.length && html`<span class="wide steps"><${IconButton} icon="up" class="little" label="Conversation above" disabled=${at <= 0} onClick=${() => toConversation(-1)} />
        <${IconButton} icon="down" class="little" label="Conversation below" disabled=${at < 0 || at >= matched.sessions.length - 1} onClick=${() => toConversation(1)} /></span>`}
      ${rows.length > 0 && can("delete_requests") && html`<${Button} class="delete" label="Delete conversation…" onClick=${() => askDeletion(rows)}><span>Delete<span class="long"> conversation</span>…</span><//>`}
      <${IconButton} icon="close" class="wide" label="Close the conversation" onClick=${closeConversation} />
    </div></div>
    <p class="meta"><bdi>${peopleWords(users)}</bdi>
      <span>${counted(messagesIn(rows), "message")}</span><span title=${first ? clock.exact(first.at) : ""}>${times}</span>${sources.length > 0 && html`<bdi>${sources.slice(0, 3).map((one) => shortened(one, 32)).join(", ")}</bdi>`}
      ${ended && html`<span>Ended: <bdi>${shortened(ended, 80)}</bdi></span>`}
      ${rows.some((row) => row.held) && html`<span class="badge" title="The operator's policy says that this is kept for now">On hold</span>`}
      ${shared.map((rule) => html`<${Found} key=${rule} rule=${rule} />`)}</p>
  </header>`;
}

/** A finding that opens to its reason. @param {{rule: string}} given */
function Found({ rule }) {
  const { why, grave } = state.server?.rules[rule] ?? { why: "", grave: false };
  return html`<details class=${`found ${grave ? "grave" : ""}`}><summary class="badge warn">${ruleWords(rule).name}</summary><p class="small">${why}</p></details>`;
}

/** A question with its answers, and what was learned from them. @param {{row: Row, restored: Row[], learned: Learning[], passages: string[]}} given */
function Exchange({ row, restored, learned, passages }) {
  const { clock } = state;
  const parts = [row, ...restored].map((one) => ({ row: one, detail: detailOf(one) }));
  /** @type {Turn[]} */
  const turns = parts.flatMap(({ row: one, detail }) => detail.interactions.map((interaction) => ({
    row: one, interaction, place: one === row ? interaction.id : one.order, restored: one !== row || one.restored,
  })));
  turns.sort((a, b) => a.place - b.place);
  const { detail } = parts[0];
  const known = new Set(detail.interactions.map((one) => one.id));
  const session = state.index.ofSession(row.session);
  // Other findings are about the request, or about an interaction that is not loaded yet; those of the whole conversation stand above.
  const about = [...row.findings].filter(([rule, ids]) => !ids.some((id) => known.has(id)) && !session.every((one) => one.findings.get(rule)?.length === 0));
  const notes = html`<div class="notes">${learned.map((one) => html`<${Note} key=${one.id} learning=${one} />`)}</div>`;
  const status = learningWords(detail.status);
  return html`<div class=${`exchange two ${state.opened?.hit === row.id ? "hit" : ""}`} role="group" data-id=${row.id} aria-label=${`Question of ${clock.moment(row.at)}`}>
    ${about.length > 0 && html`<p class="turn">${about.map(([rule]) => html`<${Found} key=${rule} rule=${rule} />`)}</p>`}
    ${detail.loading && !turns.length && html`<div class="turn waiting"><p class="soft">${row.words || "Reading."}</p></div>`}
    ${turns.map((turn, at) => html`<${Said} key=${`${turn.row.id} ${turn.interaction.id}`} turn=${turn} number=${at + 1} passages=${passages} />${at === 0 && notes}`)}
    ${turns.length === 0 && notes}
    ${detail.problem && html`<p class="turn problem" role="alert">${detail.problem.split("\n")[0]} <${Button} class="little" onClick=${() => void readOn(row.id, detail)}>Try again<//></p>`}
    ${detail.cursor && !detail.loading && html`<p class="turn"><${Button} class="little" onClick=${() => void readOn(row.id, detail)}>Read on<//></p>`}
    ${status && html`<p class="turn label">${status}</p>`}
  </div>`;
}

/** One message. @param {{turn: Turn, number: number, passages: string[]}} given */
function Said({ turn: { row, interaction, restored }, number: place, passages }) {
  const { clock, filter, server } = state;
  const own = interaction.role.toLowerCase() === "user";
  const who = own ? shortened(row.user) : interaction.role;
  const rules = [...row.findings].filter(([, ids]) => ids.includes(interaction.id)).map(([rule]) => rule);
  const grave = rules.some((rule) => server?.rules[rule]?.grave);
  const time = clock.time.format(row.at);
  const long = interaction.text.length > FOLD_CHARS || interaction.text.split("\n", FOLD_LINES + 1).length > FOLD_LINES;
  const whole = state.unfolded.has(interaction.id);
  const drawn = long && !whole ? interaction.text.slice(0, FOLD_CHARS * 4) : interaction.text.slice(0, DRAWN_CHARS);
  const removable = interaction.id > 0 && can("delete_request") && !server?.masked;
  return html`<article class=${`turn ${own ? "user" : ""} ${grave ? "grave" : ""}`} data-interaction=${interaction.id}><div class="said">
    <p class="who"><b><bdi>${who}</bdi></b><time title=${clock.exact(row.at)}>${time}</time>${restored && html`<span class="badge back"><${Icon} name="undo" />put back</span>`}</p>
    <div class=${`text ${long && !whole ? "folded" : ""}`} dir="auto"><${Text} text=${drawn} words=${searchedWords(filter.words)} passages=${passages} orders=${row.orders}
      ...${secretsOf(row, interaction)} /></div>
    ${long && html`<${Button} class="little" onClick=${() => toggleFold(interaction.id)}>${whole ? "Show less" : "Show all"}<//>`}
    ${whole && interaction.text.length > DRAWN_CHARS && html`<p class="label">The first ${number(DRAWN_CHARS)} of ${number(interaction.text.length)} characters are shown.</p>`}
    ${interaction.extra.map(([name, value], at) => html`<p class="label" key=${at}>${name}: <bdi>${value}</bdi></p>`)}
    ${rules.map((rule) => html`<${Found} key=${rule} rule=${rule} />`)}
    ${removable && html`<${IconButton} icon="bin" class="tool little" label=${`Delete message ${place}, of ${who} at ${time}…`} onClick=${() => askMessage(row, interaction, rules.some((rule) => SECRETS.includes(rule)))} />`}
  </div></article>`;
}

/** A learned thing beside the words that taught it. @param {{learning: Learning}} given */
function Note({ learning: one }) {
  const { clock } = state;
  const elsewhere = new Set(one.evidence.map((each) => state.index.rows.get(each.request)?.session).filter((session) => session && session !== state.opened?.session)).size;
  const near = one.evidence.find((each) => each.near && each.words && state.index.rows.get(each.request)?.session === state.opened?.session);
  return html`<section class="note" aria-label=${`Learned: ${one.text}`}>
    <p class="label"><span class="narrow">Learned: </span>${kindWords(one.kind, shortened(one.user))}${one.since ? `, since ${clock.day(one.since)}` : ""}</p>
    <button type="button" class="text plain" dir="auto" onClick=${() => openLearned(one)}><${LearnedText} learning=${one} /></button>
    ${one.replaced.map(({ id, text }) => html`<p class="label" key=${id}>Replaced “<bdi>${inMarks(text)}</bdi>”</p>`)}
    ${near && html`<p class="label">Said in nearly these words: “<bdi>${inMarks(near.words)}</bdi>”</p>`}
    ${elsewhere > 0 && html`<p class="label">Also said in ${counted(elsewhere, "other conversation")}</p>`}
    <${LearnedActions} learning=${one} little=${true} />
  </section>`;
}

/** @param {{learning: Learning}} given */
export function LearnedText({ learning: one }) {
  return one.text ? html`<${Text} text=${one.text} />` : one.hidden ? `${counted(one.hidden, "character")}, hidden` : one.id;
}

/** Whether a person can have it forgotten here: shared rules are the operator's. @param {Learning} one */
export function canForget(one) {
  return can("delete_learnings") && one.kind !== "rule";
}

/** @param {{learning: Learning, little?: boolean}} given */
export function LearnedActions({ learning: one, little = false }) {
  // A correction would lose hidden or cut text.
  const whole = inUse(one) && one.text && !/\[redacted|…$/.test(one.text);
  const kind = little ? "little" : "";
  return html`<div class="do">${whole && can("correct_learning") && one.kind !== "rule" && html`<${Button} class=${kind} label=${`Correct “${inMarks(one.text)}”`} onClick=${() => askCorrect(one)}>Correct…<//>`}
    ${canForget(one) && html`<${Button} class=${kind} label=${`Forget “${inMarks(one.text)}”`} onClick=${() => askForget([one])}>Forget…<//>`}</div>`;
}

export function LearningsUnread() {
  return html`<p class="more" role="alert">What was learned could not be read. ${state.memory.problem.split("\n")[0]} <${Button} class="little" onClick=${() => void readLearnings()}>Try again<//></p>`;
}

/** What may have been learned from this conversation, and what is not known. @param {{learned: Learning[], none: boolean}} given */
function Perhaps({ learned, none }) {
  const { memory } = state;
  if (!can("list_learnings")) return null;
  if (memory.state === "failed") return html`<${LearningsUnread} />`;
  if (memory.state !== "ready") return html`<p class="more" role="status">Looking for what was learned.</p>`;
  const unsure = memory.unlinked + memory.usersLeft > 0;
  if (none) return html`<p class="more">${unsure ? "Whether anything was learned from it is not certain." : "Nothing was learned from it."}</p>`;
  return learned.length > 0 && html`<div class="perhaps"><h3 class="label">Perhaps learned here: from which words was not recorded</h3>${learned.map((one) => html`<${Note} key=${one.id} learning=${one} />`)}</div>`;
}

/** @param {{rows: Row[]}} given */
function Support({ rows }) {
  const versions = [...new Set(rows.map((row) => row.version).filter(Boolean))];
  return html`<details class="support"><summary><${Icon} name="right" />Details for support</summary><dl class="facts">
    <dt>Session id</dt><${CopiedId} id=${rows[0].session} what="the session id" />
    <dt>Requests</dt><dd>${number(rows.length)}, each a question with its answers</dd>
    ${rows.slice(0, 10).map((row) => html`<dt key=${row.id}>Request of ${state.clock.moment(row.at)}</dt><${CopiedId} id=${row.id} what=${`the request id ${row.id}`} />`)}
    ${versions.length > 0 && html`<dt>Assistant</dt><dd><bdi>${versions.map((one) => shortened(one, 60)).join(", ")}</bdi></dd>`}
  </dl></details>`;
}
