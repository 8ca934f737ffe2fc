/** The conversations, by day: only the rows in sight are drawn, however many there are. */

import { askDeletion, changeFilter, clearFilter, clearSelection, openConversation, select, selectedRows, sortBy } from "./actions.js";
import { counted, inMarks, number, shortened } from "./format.js";
import { originsHere } from "./findings.js";
import { peopleWords, ruleWords, TO_REVIEW } from "./names.js";
import { searchedWords } from "./passages.js";
import { readAll, readFurther } from "./reading.js";
import { messagesIn } from "./rows.js";
import { can, state, update } from "./state.js";
import { Button, Choice, html, Icon, Menu, PickedBar, Text, View } from "./view.js";

/** @typedef {import("./rows.js").Row} Row */
/** @typedef {import("./rows.js").Session} Session */
/** @typedef {{heading: string, session: Session | null, top: number}} Item a heading, or a row */

const HEADING = 32;
/** Rows drawn above and below those in sight. */
const MARGIN = 8;

/** @type {Record<import("./rows.js").Order, string>} */
const ORDERED = { newest: "Newest first", longest: "Longest first", person: "By person" };

/** The row that Tab reaches. */
let current = "";

/** Where the last click without Shift was. */
let anchor = "";

/** @extends {View<{open: boolean}, {top: number, height: number}>} */
export class List extends View {
  /** @param {any} props */
  constructor(props) {
    super(props);
    this.state = { top: 0, height: 900 };
    /** @type {Item[]} */
    this.items = [];
    this.total = 0;
    /** The list that the items were made of. @type {Session[] | null} */
    this.made = null;
    /** The rows are as high as the style says. */
    this.row = 52;
    /** The open conversation that is in sight. @type {string | undefined} */
    this.shown = undefined;
  }

  componentDidMount() {
    const base = /** @type {HTMLElement} */ (this.element);
    this.sized = new ResizeObserver(() => this.measure());
    this.sized.observe(base);
  }

  componentWillUnmount() {
    this.sized?.disconnect();
  }

  measure() {
    const base = /** @type {HTMLElement} */ (this.element);
    const row = Number.parseFloat(getComputedStyle(base).getPropertyValue("--row")) || 52;
    if (row !== this.row) this.made = null;
    this.row = row;
    if (base.clientHeight !== this.state.height || row !== this.row) this.setState({ height: base.clientHeight });
  }

  componentDidUpdate() {
    const { opened } = state;
    if (opened && opened.session !== this.shown) this.reveal(opened.session);
    this.shown = opened?.session;
  }

  /** Lay the rows out, each day under its heading. */
  lay() {
    const { clock, matched, order } = state;
    if (this.made === matched.sessions) return;
    this.made = matched.sessions;
    this.items = [];
    let [day, top] = ["", 0];
    for (const session of matched.sessions) {
      const heading = order === "newest" ? clock.heading(session.last) : order === "person" ? session.users[0] : ORDERED[order];
      if (heading !== day || top === 0) {
        this.items.push({ heading, session: null, top });
        top += HEADING;
        day = heading;
      }
      this.items.push({ heading, session, top });
      top += this.row;
    }
    this.total = top;
  }

  /** The item at a height. @param {number} height */
  at(height) {
    let [low, high] = [0, this.items.length - 1];
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if (this.items[middle].top <= height) low = middle;
      else high = middle - 1;
    }
    return low;
  }

  /** Scroll as little as a row needs to be seen. @param {string} session */
  reveal(session) {
    this.lay();
    const item = this.items.find((one) => one.session?.id === session);
    const base = /** @type {HTMLElement} */ (this.element);
    if (!item || !base.clientHeight) return;
    if (item.top - HEADING < base.scrollTop) base.scrollTop = item.top - HEADING;
    else if (item.top + this.row > base.scrollTop + base.clientHeight - 72) base.scrollTop = item.top + this.row - base.clientHeight + 72;
  }

  /** Give a row the focus, and draw it first if it is out of sight. @param {number} at */
  focus(at) {
    const session = state.matched.sessions[at];
    if (!session) return;
    current = session.id;
    this.reveal(session.id);
    this.setState({ top: /** @type {HTMLElement} */ (this.element).scrollTop });
    setTimeout(() => /** @type {HTMLElement | null} */ (this.element?.querySelector(`.title[tabindex="0"]`))?.focus({ preventScroll: true }));
  }

  /** @param {KeyboardEvent} event */
  key(event) {
    const target = /** @type {HTMLElement} */ (event.target);
    const { sessions } = state.matched;
    const at = sessions.findIndex((one) => one.id === target.closest(".row")?.getAttribute("data-session"));
    if (at < 0 || event.ctrlKey || event.metaKey || event.altKey) return;
    /** @type {Record<string, number>} */
    const steps = { ArrowDown: at + 1, ArrowUp: at - 1, Home: 0, End: sessions.length - 1, PageDown: Math.min(at + 10, sessions.length - 1), PageUp: Math.max(at - 10, 0) };
    if (event.key in steps) this.focus(steps[event.key]);
    else if (event.key === " " && target.classList.contains("title")) toggle(sessions[at], event.shiftKey);
    else return;
    event.preventDefault();
  }

  render() {
    this.lay();
    const { matched } = state;
    const { top, height } = this.state;
    const words = searchedWords(state.filter.words);
    const origins = originsHere();
    if (!matched.sessions.some((one) => one.id === current)) current = matched.sessions[0]?.id ?? "";
    const first = Math.max(0, this.at(top) - MARGIN);
    const last = Math.min(this.items.length - 1, this.at(top + height) + MARGIN);
    // The heading of the day in sight is drawn whatever its place, since it stays at the top.
    const over = this.items.slice(0, first + 1).findLastIndex((one) => !one.session);
    const drawn = this.items.slice(first, last + 1);
    const begin = over >= 0 && over < first ? [this.items[over]] : [];
    const space = (/** @type {number} */ pixels, /** @type {string} */ key) => html`<div key=${key} style=${{ blockSize: `${Math.max(0, pixels)}px` }}></div>`;
    const end = this.items[last];
    let before = this.items.slice(0, first).filter((one) => one.session).length;
    return html`<nav ref=${this.hold} class="list" id="list" aria-label="Conversations" onScroll=${(/** @type {Event} */ event) => this.scrolled(/** @type {HTMLElement} */ (event.target))} onKeyDown=${(/** @type {KeyboardEvent} */ event) => this.key(event)}>
      <div role="list" aria-label="Conversations">
      ${begin.length > 0 && space(begin[0].top, "over")}
      ${begin.map((one) => html`<${Heading} key=${`h ${one.heading}`} text=${one.heading} first=${over === 0} />`)}
      ${space((drawn[0]?.top ?? 0) - (begin.length ? begin[0].top + HEADING : 0), "before")}
      ${drawn.map((one, at) => one.session
        ? html`<${Line} key=${one.session.id} session=${one.session} place=${++before} words=${words} learned=${origins.taught.get(one.session.id) ?? []} />`
        : html`<${Heading} key=${`h ${one.heading}`} text=${one.heading} first=${at + first === 0} />`)}
      ${end && space(this.total - end.top - (end.session ? this.row : HEADING), "behind")}
      </div>
      <${Behind} />
    </nav>`;
  }

  /** @param {HTMLElement} list */
  scrolled(list) {
    this.setState({ top: list.scrollTop });
    // What is not loaded yet loads when its place comes into sight.
    if (state.cursor && !state.filter.words && !state.loading && list.scrollTop + list.clientHeight > this.total - 200) void readFurther();
  }
}

/** @param {{text: string, first: boolean}} given */
function Heading({ text, first }) {
  return html`<div class="day cols" role="listitem">
    <h2 class="clip"><bdi>${text}</bdi></h2>
    ${first && html`<span class="c3">${can("list_learnings") && "What was learned"}</span><span class="c4">Who</span><span class="c5">Messages</span><span class="c6">App</span>
      <${Menu} name="order" class="c7" chip="sort" end=${true} title=${`Order: ${ORDERED[state.order]}`} label=${html`${ORDERED[state.order]}<${Icon} name="down" />`}>
        ${/** @type {import("./rows.js").Order[]} */ (Object.keys(ORDERED)).map((one) => html`<${Choice} key=${one} on=${state.order === one} onClick=${() => sortBy(one)}>${ORDERED[one]}<//>`)}
      <//>`}
  </div>`;
}

/** @param {Session} session @param {boolean} between whether all rows since the last click are meant */
function toggle(session, between) {
  const { sessions } = state.matched;
  const on = !session.rows.every((row) => state.selected.has(row.id));
  const [a, b] = [sessions.findIndex((one) => one.id === anchor), sessions.indexOf(session)];
  const meant = between && a >= 0 ? sessions.slice(Math.min(a, b), Math.max(a, b) + 1) : [session];
  select(meant.flatMap((one) => one.rows), on);
  anchor = session.id;
}

/** @param {{session: Session, place: number, words: string[], learned: import("./memory.js").Learning[]}} given */
function Line({ session, place, words, learned }) {
  const { clock, opened, order, selected } = state;
  const { rows, users } = session;
  const [newest] = rows;
  const title = plainTitle(session);
  const picked = rows.filter((row) => selected.has(row.id)).length;
  const hit = words.length > 0 ? rows.find((row) => row.passage) ?? rows[0] : null;
  const second = hit ? hit.passage || hit.words : newest.last;
  const who = peopleWords(users);
  const rule = TO_REVIEW.find((one) => rows.some((row) => row.findings.has(one)));
  const time = order === "newest" ? clock.time.format(session.last) : clock.when(session.last);
  const part = rows.length < session.total && !words.length ? `${number(rows.length)} of ${number(session.total)} match` : "";
  return html`<div class=${`row cols ${opened?.session === session.id ? "on" : ""} ${picked ? "picked" : ""}`} role="listitem" aria-posinset=${place} aria-setsize=${state.matched.sessions.length} data-session=${session.id}>
    <input type="checkbox" tabindex="-1" aria-label=${`Select “${inMarks(title)}”`} checked=${picked === rows.length} indeterminate=${picked > 0 && picked < rows.length}
      onClick=${(/** @type {MouseEvent} */ event) => toggle(session, event.shiftKey)} />
    <span class="tl"><button type="button" class="title clip" dir="auto" tabindex=${session.id === current ? 0 : -1} aria-current=${opened?.session === session.id ? "true" : undefined}
      onFocus=${() => { if (current !== session.id) { current = session.id; update(); } }} onClick=${() => openConversation(session.id)}><${Text} text=${title} words=${hit && !hit.passage ? words : []} /></button>
      ${words.length > 0 && html`<span class="badge">${counted(rows.length, "hit")}</span>`}
      ${rule && !words.length && html`<span class="badge warn">${ruleWords(rule).name}</span>`}
      ${part && html`<span class="badge">${part}</span>`}
      ${rows.some((row) => row.evaluation) && html`<span class="badge">Evaluation</span>`}
    </span>
    <span class="second clip"><bdi class="by">${who}</bdi><span class="by soft">${second || hit?.matched ? " · " : ""}</span>${hit
      ? second ? html`<bdi><${Text} text=${second} words=${words} /></bdi>` : `found in its ${hit.matched || "text"}`
      : second && html`<span class="spoken">${newest.lastRole}: </span><bdi>${newest.lastRole.toLowerCase() === "user" ? "" : "Assistant: "}<${Text} text=${second} /></bdi>`}</span>
    <span class="gist clip">${learned.length > 0 && html`<span class="full"><bdi>${learned[0].text}</bdi>${learned.length > 1 && html`<span class="n"> and ${learned.length - 1} more</span>`}</span><span class="short">${number(learned.length)} learned</span>`}</span>
    <span class="who clip"><bdi>${who}</bdi></span>
    <span class="len">${number(session.messages)}</span>
    <span class="from clip"><bdi>${session.sources.map((one) => shortened(one, 24)).join(", ")}</bdi></span>
    <time title=${clock.exact(session.last)} dateTime=${new Date(session.last).toISOString()}>${time}</time>
  </div>`;
}

/** The first words of a conversation. @param {Session} session */
function plainTitle({ rows }) {
  const words = rows.findLast((row) => row.words)?.words ?? "";
  return words || (state.loading === "words" ? "…" : state.server?.masked ? `${counted(messagesIn(rows), "message")}, text hidden` : "No words");
}

/** What follows the last row: that more is there, or that it is read. */
function Behind() {
  const { cursor, filter, index, loading, clock } = state;
  if (loading === "more" || loading === "words") return html`<p class="more">Reading on.</p>`;
  if (!cursor || filter.words) return null;
  return html`<p class="more">These go back to ${clock.moment(index.oldest())}. <${Button} class="little" onClick=${readFurther}>Read further<//></p>`;
}

/** Instead of the list, if there is nothing to list. */
export function Blank() {
  const { index, loading, problem, searching, unsearched, server, filter, reached, clock } = state;
  if (loading && !problem || searching) {
    return html`<div class="list" aria-busy="true">${[62, 48, 70, 38, 55, 66, 44, 59, 35, 50].map((width, at) => html`<div key=${at} class="row cols wait" aria-hidden="true"><span></span>
      <span class="bone" style=${{ gridColumn: 2, gridRow: 1, inlineSize: `${width}%` }}></span><span class="bone" style=${{ gridColumn: 2, gridRow: 2, inlineSize: `${width * 0.7}%` }}></span></div>`)}</div>`;
  }
  const set = Object.entries(filter).some(([name, value]) => value !== null && value !== "" && name !== "session" || name === "session" && value);
  let [title, text] = ["Nothing is stored yet", "Conversations appear here after your assistant has talked with somebody and kept it. What it learned from them appears beside them."];
  /** @type {any} */
  let button = html`<${Button} onClick=${() => readAll()}>Look again<//>`;
  if (problem) {
    const last = reached ? ` It was last reached at ${clock.time.format(reached)}.` : "";
    [title, text] = ["The memory does not answer", `${problem.split("\n")[0]}${last} Nothing was changed.`];
    button = html`<${Button} onClick=${() => readAll()}>Try again<//>`;
  } else if (filter.words && index.rows.size) {
    [title, text] = [`No conversation has “${filter.words}”`, `${unsearched ? "Not everything was" : "All conversations were"} searched. ${described()}`];
    button = html`<${Button} onClick=${() => changeFilter({ words: "" })}>Clear the search<//>`;
  } else if (set || index.rows.size) {
    [title, text] = ["Nothing matches", described()];
    button = html`<${Button} onClick=${clearFilter}>Clear filters<//>`;
  } else if (server?.whose) title = "Nothing is stored yet for this person";
  return html`<div class="list"><div class="blank" role="status"><h2 class="big"><bdi>${title}</bdi></h2><p class="soft"><bdi>${text}</bdi></p><div class="row-of">${button}</div></div></div>`;
}

/** The filter in words, or nothing. */
export function described() {
  const { filter, clock } = state;
  const { words, user, session, source, version, finding } = filter;
  const parts = [
    words && `the words “${words}”`, user && `only ${shortened(user)}`, source && `App ${shortened(source)}`, version && `assistant version ${shortened(version)}`,
    session && `one conversation`, finding && `Warning ${ruleWords(finding).name}`,
    filter.start !== null && `from ${clock.moment(filter.start)}`, filter.end !== null && `until ${clock.moment(filter.end)}`,
  ].filter(Boolean);
  return parts.length ? `The filter is: ${parts.join(", ")}.` : "";
}

/** What can be done with the selected conversations. */
export function Selection() {
  const rows = selectedRows();
  const { matched, server } = state;
  if (!rows.length || state.part !== "conversations") return null;
  const shown = new Set(matched.rows.map((row) => row.id));
  const unseen = rows.filter((row) => !shown.has(row.id)).length;
  const people = [...new Set(rows.map((row) => row.user))];
  const cap = server?.delete_cap ?? 0;
  const left = matched.rows.length - (rows.length - unseen);
  return html`<${PickedBar} said=${html`${counted(new Set(rows.map((row) => row.session)).size, "conversation")} selected <span class="soft">${[
      counted(messagesIn(rows), "message"), people.length > 1 && `${people.length} people`, unseen > 0 && `${number(unseen)} of them not shown`,
      cap > 0 && rows.length > cap && `only ${number(cap)} an hour may be deleted`,
    ].filter(Boolean).join(", ")}</span>`}>
    ${unseen > 0 && html`<${Button} class="quiet" onClick=${clearFilter}>Show them<//>`}
    ${left > 0 && html`<${Button} class="quiet spare" onClick=${() => select(matched.rows, true)}>Select all ${number(matched.sessions.length)}<//>`}
    <${Button} class="quiet" onClick=${clearSelection}>Deselect<//>
    ${can("delete_requests") && html`<${Button} class="delete" onClick=${() => askDeletion(rows)}>Delete…<//>`}
  <//>`;
}
