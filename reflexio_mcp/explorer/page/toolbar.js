/** The two bands above the list: parts of the memory and whose it is; search, filters and a count. */

import { changeFilter, changeLearned, clearFilter, refresh, showExport, showKeys, showPart, showPast, toggleFullscreen } from "./actions.js";
import { findingsHere } from "./findings.js";
import { counted, DAY_MS, number, shortened } from "./format.js";
import { host } from "./host.js";
import { inUse } from "./memory.js";
import { ruleWords } from "./names.js";
import { stopReading } from "./reading.js";
import { messagesIn, NO_FILTER } from "./rows.js";
import { can, state } from "./state.js";
import { Timeline } from "./timeline.js";
import { Button, Choice, html, Icon, IconButton, Menu } from "./view.js";

/** Choices of a filter that are listed. */
const CHOICES = 100;

/** @type {[string, number | null][]} */
const PERIODS = [["24 hours", DAY_MS], ["7 days", 7 * DAY_MS], ["30 days", 30 * DAY_MS], ["All", null]];

/** Whose memory is shown, in a heading. */
function heading() {
  const { server, filter, index } = state;
  if (server?.whose || filter.user) return html`Memory of <bdi>${shortened(server?.whose || filter.user)}</bdi>`;
  const people = peopleIn(index).length;
  return people > 1 ? `Memory of ${counted(people, "person")}` : "Your memory";
}

/** The people of all rows with the number of their conversations. @param {import("./rows.js").Index} index @returns {[string, number][]} */
function peopleIn(index) {
  /** @type {Map<string, Set<string>>} */
  const people = new Map();
  for (const row of index.rows.values()) {
    const of = people.get(row.user) ?? new Set();
    people.set(row.user, of.add(row.session));
  }
  return [...people].map(([name, sessions]) => /** @type {[string, number]} */ ([name, sessions.size])).sort((a, b) => b[1] - a[1]);
}

export function TopBand() {
  const { index, memory, server, looked } = state;
  const full = host.context.displayMode === "fullscreen";
  const canFill = (host.context.availableDisplayModes ?? []).includes(full ? "inline" : "fullscreen");
  const open = findingsHere().open.length;
  const learns = can("list_learnings");
  return html`<header class="bar">
    <h1 class=${full ? "" : "spoken"}>${heading()}</h1>
    <nav class="tabs" aria-label="Parts of the memory">
      <${Tab} name="conversations" long="Conversations" short="Chats" count=${server ? number(index.totals.size) : ""} />
      ${learns && html`<${Tab} name="learned" long="What was learned" short="Learned" count=${memory.state === "ready" ? number([...memory.list.values()].filter(inUse).length) : ""} />`}
      <${Tab} name="review" long="To review" short="Review" warn=${true} count=${looked.complete ? open && number(open) : "…"} hint=${looked.complete ? "" : lookedWords()} />
    </nav>
    <div class="side">
      ${can("restore_requests") && html`<${Button} class="quiet past" onClick=${showPast}>Recently deleted<//>`}
      <${Scope} />
      <${IconButton} icon="again" class="spare" label="Look again" onClick=${refresh} />
      ${canFill && html`<${IconButton} icon="full" class="spare" label=${full ? "Smaller" : "Full screen"} onClick=${toggleFullscreen} />`}
      <${Menu} name="more" title="More" chip="icon" end=${true} label=${html`<${Icon} name="more" />`}>
        <button type="button" class="mi short" onClick=${refresh}><${Icon} name="again" />Look again</button>
        ${canFill && html`<button type="button" class="mi short" onClick=${toggleFullscreen}><${Icon} name="full" />${full ? "Smaller" : "Full screen"}</button>`}
        ${can("restore_requests") && html`<button type="button" class="mi" onClick=${showPast}><${Icon} name="undo" />Recently deleted</button>`}
        ${can("export_data") && index.rows.size > 0 && html`<button type="button" class="mi" onClick=${() => showExport()}><${Icon} name="out" />Export what is shown…</button>`}
        <button type="button" class="mi" onClick=${showKeys}><${Icon} name="keys" />Keys</button>
      <//>
    </div>
  </header>`;
}

/** @param {{name: import("./state.js").Part, long: string, short: string, count: string, warn?: boolean, hint?: string}} given */
function Tab({ name, long, short, count, warn = false, hint = "" }) {
  return html`<button type="button" class="tab" data-part=${name} title=${hint} aria-current=${state.part === name ? "page" : undefined} onClick=${() => showPart(name)}>
    <span class="long">${long}</span><span class="short">${short}</span> ${count && html`<span class="n ${warn ? "warn" : ""}">${count}</span>`}
  </button>`;
}

/** Whose memory is shown, where it is kept, and what this server allows. */
function Scope() {
  const { server, filter, index } = state;
  const people = peopleIn(index);
  const kept = server ? `Kept on ${server.where}` : "";
  const words = server?.whose || filter.user ? `Only ${shortened(server?.whose || filter.user)}` : `Everyone (${number(people.length)})`;
  const label = html`<${Icon} name="people" /><span class="people"><bdi>${words}</bdi></span><${Icon} name="down" />`;
  return html`<span class="kept">${kept}</span>
    <${Menu} name="scope" class="scope" end=${true} title=${`${words}. Whose memory is shown`} chip=${`chip ${filter.user ? "set" : ""}`} label=${label}>
      <p class="label">Whose</p>
      ${!server?.whose && html`<${Choice} on=${!filter.user} count=${counted(index.totals.size, "conversation")} onClick=${() => changeFilter({ user: "" })}>Everyone<//>`}
      ${server?.whose ? html`<p class="line">Only <bdi>${server.whose}</bdi>: this server is for one person.</p>`
        : people.slice(0, CHOICES).map(([name, count]) => html`<${Choice} key=${name} on=${filter.user === name} count=${number(count)} onClick=${() => changeFilter({ user: name })}><bdi class="clip">${shortened(name, 32)}</bdi><//>`)}
      <hr />
      <p class="label">${kept || "Not reached yet"}.</p>
      <p class="label">${server?.masked ? "This server hides all text." : "Keys and passwords are hidden until you show one."}</p>
      <p class="label">${server?.whose ? "Nobody else's memory is shown here." : `Whoever opens this page can see what all ${counted(people.length, "person")} said.`}</p>
      ${server && !can("delete_requests") && html`<p class="label">Read only: nothing can be deleted here.</p>`}
    <//>`;
}

/** The band of search and filters; nothing in the part where findings are reviewed one at a time. */
export function ToolBand() {
  const { part, server, filter, searching } = state;
  if (part === "review") return null;
  if (part === "learned") return html`<${LearnedTools} />`;
  const set = Object.entries(NO_FILTER).filter(([name, value]) => name !== "words" && name !== "user" && filter[/** @type {keyof typeof filter} */ (name)] !== value).length;
  return html`<form class="tools" role="search" aria-label="Conversations" onSubmit=${(/** @type {Event} */ event) => event.preventDefault()}>
    ${!server?.masked && html`<${Search} key="conversations" value=${filter.words} label="Search all messages" onSearch=${(/** @type {string} */ words) => changeFilter({ words })} />`}
    ${searching && html`<${Button} class="little" onClick=${stopReading}>Stop<//>`}
    <div class="chips">
      <${WhenFilter} />
      <${FacetFilter} name="source" label="App" />
      <${FacetFilter} name="version" label="Assistant version" late=${true} />
      <${FacetFilter} name="finding" label="Warning" late=${true} />
    </div>
    <${Menu} name="filters" class="fold" chip=${`chip ${set ? "set" : ""}`} label=${html`<${Icon} name="filter" />Filters${set ? ` (${set})` : ""}`} end=${true}>
      <${WhenChoices} /><hr /><${FacetChoices} name="source" label="App" /><${FacetChoices} name="version" label="Assistant version" /><${FacetChoices} name="finding" label="Warning" />
    <//>
    ${(set > 0 || filter.user) && html`<${Button} class="quiet reset" onClick=${clearFilter}>Clear filters<//>`}
    <p class="count" id="summary" role="status">${summary()}</p>
  </form>`;
}

/** @param {{value: string, label: string, onSearch: (words: string) => void}} given */
function Search({ value, label, onSearch }) {
  /** @param {Event} event @param {number} wait */
  const later = (event, wait) => {
    const { value: typed } = /** @type {HTMLInputElement} */ (event.target);
    clearTimeout(searchDue);
    searchDue = setTimeout(() => onSearch(typed.trim()), wait);
  };
  return html`<div class="search"><${Icon} name="search" />
    <input type="search" id="words" autocomplete="off" spellcheck="false" aria-label=${label} placeholder=${label}
      value=${value} onInput=${(/** @type {Event} */ event) => later(event, /** @type {HTMLInputElement} */ (event.target).value ? 300 : 0)}
      onKeyDown=${(/** @type {KeyboardEvent} */ event) => event.key === "Enter" && later(event, 0)} />
    ${value && html`<${IconButton} icon="close" class="little" label="Clear the search" onClick=${() => {
      onSearch("");
      document.getElementById("words")?.focus();
    }} />`}
  </div>`;
}

let searchDue = 0;

function whenWords() {
  const { clock, filter: { start, end }, period } = state;
  if (start === null && end === null) return "";
  if (period) return `last ${PERIODS.find(([, length]) => length === period)?.[0] ?? ""}`;
  return `${start === null ? "the beginning" : clock.moment(start)} to ${end === null ? "now" : clock.moment(end)}`;
}

function WhenFilter() {
  const words = whenWords();
  return html`<${Menu} name="when" chip=${`chip ${words ? "set" : ""}`} label=${html`<span class="clip">When${words && `: ${words}`}</span><${Icon} name="down" />`} title=${`When${words && `: ${words}`}`}><${WhenChoices} /><//>
    ${words && html`<${IconButton} icon="close" label="Remove the filter When" onClick=${() => changeFilter({ start: null, end: null })} />`}`;
}

function WhenChoices() {
  const { filter, index, matched, period } = state;
  const brushed = (filter.start !== null || filter.end !== null) && period === null;
  return html`<p class="label">When</p><div class="row-of">${PERIODS.map(([name, length]) => {
    const from = length ? Date.now() - length : -Infinity;
    const left = matched.anyTime.reduce((sum, row) => sum + (row.at >= from ? row.interactions : 0), 0);
    return html`<button type="button" class="chip" key=${name} aria-pressed=${String(!brushed && length === period)}
      onClick=${() => changeFilter({ start: length ? Date.now() - length : null, end: null }, length)}>${name} <span class="n">${number(left)}</span></button>`;
  })}</div>
  ${index.rows.size > 0 && html`<${Timeline} all=${[...index.rows.values()]} rows=${matched.anyTime} filter=${filter} />`}`;
}

/** @typedef {"source" | "version" | "finding"} Facet */

/** @param {Facet} name @param {string} value */
function valueWords(name, value) {
  return name === "finding" ? ruleWords(value).name : shortened(value, 32);
}

/** @param {{name: Facet, label: string, late?: boolean}} given */
function FacetFilter({ name, label, late = false }) {
  const value = state.filter[name];
  if (value) return html`<${SetChip} label=${html`${label}: <bdi>${valueWords(name, value)}</bdi>`} onClear=${() => changeFilter({ [name]: "" })} />`;
  if (![...state.matched.counts[name].keys()].some(Boolean)) return null;
  return html`<${Menu} name=${name} class=${late ? "late" : ""} label=${html`${label}<${Icon} name="down" />`} title=${label}><${FacetChoices} name=${name} label=${label} /><//>`;
}

/** @param {{name: Facet, label: string}} given */
function FacetChoices({ name, label }) {
  const { filter, matched, looked } = state;
  const counts = [...matched.counts[name]].filter(([value]) => value).sort((a, b) => b[1] - a[1] || (a[0] < b[0] ? -1 : 1)).slice(0, CHOICES);
  if (filter[name] && !matched.counts[name].has(filter[name])) counts.unshift([filter[name], 0]);
  if (!counts.length) return null;
  return html`<p class="label">${label}</p>
    <${Choice} on=${!filter[name]} onClick=${() => changeFilter({ [name]: "" })}>Any<//>
    ${counts.map(([value, count]) => html`<${Choice} key=${value} on=${filter[name] === value} count=${number(count)} onClick=${() => changeFilter({ [name]: value })}><bdi class="clip">${valueWords(name, value)}</bdi><//>`)}
    ${name === "finding" && !looked.complete && html`<p class="label">${lookedWords()}</p>`}`;
}

/** How far findings were looked for. */
export function lookedWords() {
  const { index, looked } = state;
  const all = counted(messagesIn(index.rows.values()), "message");
  if (looked.complete && index.complete) return `All ${all} were looked through.`;
  return looked.complete ? `The ${all} that are loaded were looked through.` : `Still looking: ${number(looked.count)} of ${counted(index.rows.size, "question")} with answers so far.`;
}

/** A filter that is set; a click removes it. @param {{label: any, onClear: () => void}} given */
function SetChip({ label, onClear }) {
  return html`<button type="button" class="chip set" title="Remove this filter" onClick=${onClear}><span class="clip">${label}</span><span class="spoken">. Remove this filter</span><${Icon} name="close" /></button>`;
}

/** What the list shows, in numbers. */
function summary() {
  const { index, matched, loading, searching, unsearched, problem, cursor, filter, clock } = state;
  if (problem) return problem;
  if (loading === "first") return "Reading the newest conversations.";
  const all = index.rows.size;
  if (!all) return searching ? "Searching." : "";
  const [shown, messages] = [matched.sessions.length, messagesIn(matched.rows)];
  const every = matched.rows.length === all;
  if (loading === "words") return "Reading on: words appear once secrets in them can be hidden.";
  let text = every ? `${counted(index.totals.size, "conversation")}, ${counted(messages, "message")}`
    : `${number(shown)} of ${counted(index.totals.size, "conversation")}, ${counted(messages, "message")}`;
  if (filter.words) text = `${counted(shown, "conversation")}, ${counted(matched.rows.length, "hit")}${searching ? ", searching on" : unsearched ? ", not everything was searched" : ""}`;
  if (loading === "more") text += ", reading on";
  else if (cursor && !filter.words) text += `, back to ${clock.moment(index.oldest())}`;
  return text;
}

function LearnedTools() {
  const { learned, memory, server } = state;
  const all = [...memory.list.values()].filter((one) => learned.replaced || inUse(one));
  const count = (/** @type {string} */ kind) => all.filter((one) => !kind || one.kind === kind).length;
  const old = [...memory.list.values()].some((one) => !inUse(one));
  return html`<form class="tools" role="search" aria-label="What was learned" onSubmit=${(/** @type {Event} */ event) => event.preventDefault()}>
    ${!server?.masked && html`<${Search} key="learned" value=${learned.words} label="Search what was learned" onSearch=${(/** @type {string} */ words) => changeLearned({ words })} />`}
    <div class="chips kinds">
      ${/** @type {[import("./names.js").Kind | "", string][]} */ ([["", "All"], ["fact", "Facts"], ["help", "How to help"], ["rule", "Shared rules"]]).map(([kind, name]) =>
        (!kind || count(kind) > 0) && html`<button type="button" class="chip" key=${kind} aria-pressed=${String(learned.kind === kind)} onClick=${() => changeLearned({ kind })}>${name} <span class="n">${number(count(kind))}</span></button>`)}
      ${old && html`<button type="button" class="chip late" aria-pressed=${String(learned.replaced)} onClick=${() => changeLearned({ replaced: !learned.replaced })}>With replaced ones</button>`}
    </div>
    <p class="count" id="summary" role="status">${memory.state === "reading" ? "Reading what was learned." : counted(count(learned.kind), "learned thing")}</p>
  </form>`;
}
