/** What was learned: a list by person, and beside it one learned thing with the words that taught it and how it changed. */

import { askForget, changeLearned, openConversation, pickLearned } from "./actions.js";
import { canForget, LearnedActions, LearnedText, LearningsUnread } from "./conversation.js";
import { learningsHere } from "./findings.js";
import { counted, inMarks, number, shortened } from "./format.js";
import { byPerson, inUse } from "./memory.js";
import { KIND_NAMES, kindWords } from "./names.js";
import { searchedWords } from "./passages.js";
import { readLearnings, usersByRecency } from "./reading.js";
import { can, state } from "./state.js";
import { Button, CopiedId, goesByArrows, html, Icon, IconButton, PickedBar, Text, View } from "./view.js";

/** @typedef {import("./memory.js").Learning} Learning */

/** Learned things of one person that are listed until more are asked for. */
const AT_FIRST = 50;

/** @extends {View<{}, {more: Set<string>}>} */
export class Learned extends View {
  /** @param {any} props */
  constructor(props) {
    super(props);
    this.state = { more: new Set() };
  }

  render() {
    const { learned, memory } = state;
    const words = searchedWords(learned.words);
    const chosen = learningsHere();
    const open = memory.list.get(learned.open);
    return html`<main class=${`main split learned ${open ? "open" : ""}`}>
      <nav class=${`list ${can("delete_learnings") ? "boxed" : ""}`} aria-label="What was learned" onKeyDown=${goesByArrows}>
        ${byPerson(chosen).map(([user, all]) => html`<section key=${user}>
          <h2 class="group"><b>${user ? html`About <bdi>${shortened(user, 40)}</bdi>` : "For everyone"}</b><span>${number(all.length)}</span></h2>
          ${(this.state.more.has(user) ? all : all.slice(0, AT_FIRST)).map((one) => html`<${Fact} key=${one.id} learning=${one} open=${open?.id === one.id} words=${words} />`)}
          ${!this.state.more.has(user) && all.length > AT_FIRST && html`<p class="more"><${Button} class="little" onClick=${() => this.setState({ more: new Set(this.state.more).add(user) })}>Show ${number(all.length - AT_FIRST)} more<//></p>`}
        </section>`)}
        <${Rest} none=${chosen.length === 0} />
      </nav>
      ${open ? html`<${One} learning=${open} />` : html`<section class="pane none" aria-label="One thing that was learned"><div class="body"><p class="soft">${chosen.length ? "Choose one to see the words that taught it." : ""}</p></div></section>`}
    </main>`;
  }
}

/** What is behind the list: what is not read or not known. @param {{none: boolean}} given */
function Rest({ none }) {
  const { memory, learned, filter } = state;
  if (memory.state === "failed") return html`<${LearningsUnread} />`;
  if (memory.state !== "ready") return html`<p class="more" role="status">Reading what was learned.</p>`;
  const read = usersByRecency().length - memory.usersLeft;
  return html`${none && html`<div class="blank"><h2 class="big">${learned.words || learned.kind || filter.user ? "Nothing that was learned matches" : "Nothing was learned yet"}</h2>
      <p class="soft">${learned.words || learned.kind || filter.user ? "" : "What your assistant learns from conversations appears here."}</p>
      ${(learned.words || learned.kind) && html`<${Button} onClick=${() => changeLearned({ kind: "", words: "" })}>Show all<//>`}</div>`}
    ${memory.usersLeft > 0 && html`<p class="more">What was learned about ${counted(memory.usersLeft, "more person")} is not read yet. <${Button} class="little" onClick=${() => void readLearnings(read + 20)}>Read it<//></p>`}
    ${memory.rulesUnread && html`<p class="more">The shared rules could not be read.</p>`}
    ${memory.unlinked > 0 && html`<p class="more">${counted(memory.unlinked, "learned thing")} ${memory.unlinked === 1 ? "does" : "do"} not name what it was learned from.</p>`}`;
}

/** One row of the list. @param {{learning: Learning, open: boolean, words: string[]}} given */
function Fact({ learning: one, open, words }) {
  const quote = one.evidence[0]?.words || one.unfound[0] || "";
  const places = one.evidence.length;
  const picked = state.learned.picked.has(one.id);
  return html`<div class=${`fact ${open ? "on" : ""} ${picked ? "picked" : ""} ${inUse(one) ? "" : "gone"}`}>
    ${canForget(one) && html`<input type="checkbox" tabindex="-1" aria-label=${`Select “${inMarks(one.text)}”`} checked=${picked} onChange=${() => pickLearned([one], !picked)} />`}
    <button type="button" class="title" dir="auto" aria-current=${open ? "true" : undefined} onClick=${() => changeLearned({ open: one.id })}>${one.text ? html`<${Text} text=${one.text} words=${words} />` : html`<${LearnedText} learning=${one} />`}</button>
    <span class="since">${inUse(one) ? one.since > 0 && `since ${state.clock.day(one.since)}` : one.at > 0 && `until ${state.clock.day(one.at)}`}</span>
    <span class="q clip">${quote ? html`“<bdi><${Text} text=${inMarks(quote)} words=${words} /></bdi>”` : one.kind === "rule" ? "" : "The words that taught it are not on record"}${places > 1 && ` and ${places - 1} more`}${one.replaced.length > 0 && html` · Replaced “<bdi>${inMarks(one.replaced[0].text)}</bdi>”`}</span>
    <span class="kind">${inUse(one) ? KIND_NAMES[one.kind] : "Replaced"}</span>
  </div>`;
}

/** What can be done with the selected learnings. */
export function LearnedSelection() {
  const { learned, memory, part } = state;
  const picked = [...learned.picked].flatMap((id) => memory.list.get(id) ?? []);
  if (!picked.length || part !== "learned") return null;
  const listed = learningsHere().filter(canForget);
  const unseen = picked.filter((one) => !listed.includes(one)).length;
  const people = new Set(picked.map((one) => one.user)).size;
  const words = [people > 1 && `about ${counted(people, "person")}`, unseen > 0 && `${number(unseen)} of them not shown`].filter(Boolean).join(", ");
  return html`<${PickedBar} said=${html`${counted(picked.length, "learned thing")} selected <span class="soft">${words}</span>`}>
    ${picked.length - unseen < listed.length && html`<${Button} class="quiet" onClick=${() => pickLearned(listed, true)}>Select all ${number(listed.length)}<//>`}
    <${Button} class="quiet" onClick=${() => changeLearned({ picked: new Set() })}>Deselect<//>
    <${Button} onClick=${() => askForget(picked)}>Forget…<//>
  <//>`;
}

/** Whose playbooks a shared rule was made from. @param {{learning: Learning}} given */
function RestsOn({ learning: { restsOn, approved } }) {
  const { people, more, known } = restsOn ?? { people: [], more: 0, known: false };
  return html`<h3 class="label">Made from what was learned about</h3>
    <p>${people.map((one, at) => html`${at > 0 && ", "}<bdi>${shortened(one)}</bdi>`)}${more > 0 && ` and ${counted(more, "more person")}`}${people.length === 0 && (known ? "Nothing that is stored." : "Reflexio does not say what it was made from.")}</p>
    <p class="soft">${approved ? "An operator has approved it." : "No operator has approved it; it is used all the same."} It stays if one of these people deletes what was learned.</p>`;
}

/** @param {{learning: Learning}} given */
function One({ learning: one }) {
  const { clock, index } = state;
  const stored = (/** @type {string} */ id) => index.rows.get(id);
  const sessions = new Map(one.window.flatMap((id) => {
    const row = stored(id);
    return row ? [/** @type {[string, import("./rows.js").Row]} */ ([row.session, row])] : [];
  }));
  return html`<section class="pane" tabindex="-1" aria-label="One thing that was learned"><div class="body" key=${one.id}>
    <${IconButton} icon="back" class="narrow-back" label="Back to the list" onClick=${() => changeLearned({ open: "" })} />
    <p class="label">${kindWords(one.kind, shortened(one.user))}</p>
    <h2 class="big" dir="auto"><${LearnedText} learning=${one} /></h2>
    ${one.trigger && html`<p class="soft">Used when: <bdi><${Text} text=${one.trigger} /></bdi></p>`}
    <p class="soft">${inUse(one) ? one.since > 0 && `Known since ${clock.day(one.since)}. ` : one.at > 0 && `Replaced ${clock.day(one.at)}${one.replacedBy ? ` by “${inMarks(one.replacedBy)}”` : ""}. `}${inUse(one) ? "The assistant uses it now." : "The assistant does not use it any more."}</p>
    <${LearnedActions} learning=${one} />
    ${one.restsOn ? html`<${RestsOn} learning=${one} />` : html`<h3 class="label">Learned from these words</h3>`}
    ${one.evidence.map((each, at) => {
      const row = stored(each.request);
      return html`<blockquote class="quote" key=${at}><bdi>${each.words ? html`“<${Text} text=${inMarks(each.words)} />”` : row?.words}</bdi><footer>
        ${row && html`<span><bdi>${shortened(row.user)}</bdi>, ${clock.moment(row.at)}${each.near && ", said in nearly these words"}</span>`}
        ${row ? html`<${Button} class="little quiet" onClick=${() => openConversation(row.session, { request: row.id, words: each.words })}>Open conversation<${Icon} name="right" /><//>` : html`<span>not among the conversations that are loaded</span>`}
      </footer></blockquote>`;
    })}
    ${one.evidence.length === 0 && !one.restsOn && html`<p>${one.unfound.length ? html`“<bdi><${Text} text=${inMarks(one.unfound[0])} /></bdi>”. These words are not stored any more.` : "The words are not on record."}
      ${sessions.size > 0 && ` It was learned while ${sessions.size === 1 ? "this conversation was" : `these ${sessions.size} conversations were`} read, and may come from ${sessions.size === 1 ? "it" : "any of them"}.`}</p>
      <ul class="goes">${[...sessions].slice(0, 10).map(([session, row]) => html`<li key=${session}><${Button} class="little quiet flush" onClick=${() => openConversation(session, { request: row.id, words: " " })}><bdi class="clip"><${Text} text=${row.words || "Conversation"} /></bdi><${Icon} name="right" /><//><span class="soft">${clock.day(row.at)}</span></li>`)}</ul>`}
    ${one.gone > 0 && html`<p class="soft">${counted(one.gone, "message")} that it was learned from ${one.gone === 1 ? "is" : "are"} not stored any more.</p>`}
    ${one.replaced.length > 0 && html`<h3 class="label">How it changed</h3><ol class="chain"><li><p dir="auto">${one.text}</p><p class="label">used now</p></li>
      ${one.replaced.map(({ id, text }) => html`<li class="old" key=${id}><p class="soft" dir="auto"><${Text} text=${text} /></p><p class="label">not used any more</p></li>`)}</ol>`}
    <details class="support"><summary><${Icon} name="right" />Details for support</summary><dl class="facts">
      <dt>Id</dt><${CopiedId} id=${one.id} what="the id" />
      <dt>State</dt><dd><bdi>${one.state}</bdi></dd>
      ${one.window.length > 0 && html`<dt>Read together</dt><dd>${counted(one.window.length, "question")}</dd>`}
    </dl></details>
  </div></section>`;
}
