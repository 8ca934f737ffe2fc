/** Findings, one at a time: the passage, why it is shown, what else to do. */

import { askDeletion, decide, decideLater, openConversation, openFinding, secretsOf } from "./actions.js";
import { BY_POLICY, findingsHere, originsHere } from "./findings.js";
import { counted, number, shortened } from "./format.js";
import { ruleWords } from "./names.js";
import { detailOf } from "./reading.js";
import { can, state } from "./state.js";
import { lookedWords } from "./toolbar.js";
import { Button, goesByArrows, html, Icon, IconButton, Problem, Text } from "./view.js";

/** @typedef {import("./findings.js").Finding} Finding */

/** Requests of a finding whose messages are shown. */
const SHOWN_REQUESTS = 4;

export function Review() {
  const { open: findings, decided } = findingsHere();
  const { review } = state;
  const open = [...findings, ...decided].find((one) => one.id === review.open);
  return html`<main class=${`main split review ${open ? "open" : ""}`}>
    <nav class="list" aria-label="To review" onKeyDown=${goesByArrows}>
      <h2 class="group"><b>To review</b><span>${findings.length ? `${number(findings.length)} to go` : ""}</span></h2>
      ${findings.map((one) => html`<${Find} key=${one.id} finding=${one} open=${one === open} />`)}
      ${findings.length === 0 && state.looked.complete && html`<div class="blank"><h2 class="big">Nothing to review</h2></div>`}
      <p class="more" role="status">${lookedWords()}</p>
      ${decided.length > 0 && html`<h2 class="group"><b>Not a problem</b><span>${number(decided.length)} decided</span></h2>`}
      ${decided.map((one) => html`<${Find} key=${one.id} finding=${one} open=${one === open} />`)}
    </nav>
    ${open ? html`<${OneFinding} finding=${open} findings=${open.noProblem ? decided : findings} />` : html`<section class="pane none" aria-label="Finding"><div class="body"><p class="soft">${findings.length ? "Choose one to see why it is shown." : ""}</p></div></section>`}
  </main>`;
}

/** One row of the list. @param {{finding: Finding, open: boolean}} given */
function Find({ finding: { id, rule, rows: [newest], messages }, open }) {
  return html`<div class=${`find ${open ? "on" : ""}`}>
    <button type="button" class="title" aria-current=${open ? "true" : undefined} onClick=${() => openFinding(id)}>${ruleWords(rule).name}</button>
    <span class="soft small">in ${counted(messages, "message")}</span>
    <span class="soft small"><bdi>${shortened(newest.user)}</bdi>, ${state.clock.when(newest.at)}${state.review.later.has(id) ? ", later" : ""}</span></div>`;
}

/** @param {{finding: Finding, findings: Finding[]}} given */
function OneFinding({ finding, findings }) {
  const { clock, review, server } = state;
  const { noProblem } = finding;
  const words = ruleWords(finding.rule);
  const at = findings.indexOf(finding);
  const sessions = [...new Set(finding.rows.map((row) => row.session))];
  const [newest] = finding.rows;
  const going = finding.rows.reduce((sum, row) => sum + row.interactions, 0);
  const learned = new Set(sessions.flatMap((session) => originsHere().taught.get(session) ?? [])).size;
  const go = (/** @type {number} */ step) => openFinding(findings[at + step]?.id ?? finding.id);
  return html`<section class="pane" tabindex="-1" aria-label="Finding"><div class="body" key=${finding.id}>
    <${IconButton} icon="back" class="narrow-back" label="Back to the list" onClick=${() => openFinding("")} />
    <h2 class="big">${words.title}</h2>
    <p class="soft">${sessions.length === 1 ? "Conversation" : counted(sessions.length, "conversation")} of <bdi>${shortened(newest.user)}</bdi>, ${clock.when(newest.at)}${newest.source && html`, in <bdi>${shortened(newest.source, 32)}</bdi>`}</p>
    ${finding.rows.slice(0, SHOWN_REQUESTS).map((row) => html`<${Passages} key=${row.id} row=${row} ids=${(noProblem ? row.noProblem : row.findings).get(finding.rule) ?? []} />`)}
    ${finding.rows.length > SHOWN_REQUESTS && html`<p class="soft small">and ${counted(finding.rows.length - SHOWN_REQUESTS, "more question")}</p>`}
    <div class="judge">
      ${can("delete_requests") && html`<${Button} class=${words.certain ? "strong" : ""} onClick=${() => askDeletion(finding.rows)}>Delete ${counted(going, "message")}…<//>`}
      <${Button} onClick=${() => openConversation(newest.session, { request: newest.id })}>Open conversation<${Icon} name="right" /><//>
      ${can("judge_finding") && finding.rule !== BY_POLICY && html`<${Button} onClick=${() => decide(finding, !noProblem, findings[at + 1]?.id ?? "")}>${noProblem ? "Review it again" : "Not a problem"}<//>`}
      ${!noProblem && html`<${Button} onClick=${() => decideLater(finding.id, findings[at + 1]?.id ?? "")}>Decide later<//>`}
      <span class="of">${number(at + 1)} of ${number(findings.length)}
        <${IconButton} icon="up" label="Finding before" disabled=${at === 0} onClick=${() => go(-1)} /><${IconButton} icon="down" label="Next finding" disabled=${at === findings.length - 1} onClick=${() => go(1)} /></span>
    </div>
    ${can("delete_requests") && going > finding.messages && html`<p class="soft small">A question is deleted with its answer.</p>`}
    ${review.problem && html`<${Problem} text=${review.problem} />`}
    ${noProblem && html`<p>Somebody decided that this is not a problem.</p>`}
    <h3 class="label">Why it is shown</h3>
    <p>${server?.rules[finding.rule]?.why}</p>
    ${!words.certain && html`<p>This is possible, not certain.</p>`}
    ${can("list_learnings") && state.memory.state === "ready" && html`<p>${learned ? `${counted(learned, "thing")} ${learned === 1 ? "was" : "were"} learned from ${sessions.length === 1 ? "this conversation" : "these conversations"}.` : "Nothing was learned from it."}</p>`}
    ${words.outside && html`<h3 class="label">Good to know</h3><p>${words.outside}</p>`}
  </div></section>`;
}

/** The messages of one request that have a finding. @param {{row: import("./rows.js").Row, ids: number[]}} given */
function Passages({ row, ids }) {
  const detail = detailOf(row);
  if (detail.problem) return html`<${Problem} text=${detail.problem} />`;
  if (detail.loading && !detail.interactions.length) return html`<div class="passage"><p class="who">Reading.</p></div>`;
  const meant = detail.interactions.filter((one) => !ids.length || ids.includes(one.id));
  return meant.map((interaction) => html`<div class="passage" key=${interaction.id}><p class="who"><bdi>${interaction.role.toLowerCase() === "user" ? shortened(row.user) : interaction.role}</bdi>, ${state.clock.when(row.at)}</p>
    <div class="text" dir="auto"><${Text} text=${interaction.text.slice(0, 2_000)} orders=${row.orders} ...${secretsOf(row, interaction)} /></div></div>`);
}
