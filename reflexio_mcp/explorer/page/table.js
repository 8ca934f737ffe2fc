/** The table: sessions and their requests. Only visible lines are drawn. */

import { byId, el, renew, set, stored, withChips } from "./dom.js";
import { counted, number, ruleWords, shortened } from "./format.js";

/** @typedef {import("./rows.js").Row} Row */
/** @typedef {import("./rows.js").Session} Session */
/** @typedef {{kind: "session", key: string, session: Session} | {kind: "request", key: string, row: Row}} Line */

const OVERSCAN = 8;
/** Maximum number of characters in the badges of a row. */
const BADGE_CHARS = 16;

export class Table {
  /** @param {import("./main.js").Page} page */
  constructor(page) {
    this.page = page;
    this.scroller = byId("grid");
    this.body = byId("body");
    /** @type {Line[]} */
    this.lines = [];
    /** Index of each line in `lines`. @type {Map<string, number>} */
    this.at = new Map();
    /** @type {Set<string>} */
    this.open = new Set();
    /** @type {Map<string, HTMLElement>} */
    this.drawn = new Map();
    /** The line that has the focus, or gets it next. */
    this.current = "";
    /** The line whose box was clicked last: a click with Shift selects from there. */
    this.anchor = "";
    this.rowHeight = 36;
    let due = 0;
    this.scroller.addEventListener("scroll", () => {
      due ||= requestAnimationFrame(() => {
        due = 0;
        this.draw();
      });
    }, { passive: true });
    new ResizeObserver(() => this.resized()).observe(this.scroller);
    this.body.addEventListener("keydown", (event) => this.key(event));
    this.body.addEventListener("click", (event) => this.click(event));
    this.body.addEventListener("focusin", (event) => {
      const line = lineOf(event.target);
      if (line) this.focusLine(line, false);
    });
  }

  /** Make the lines again and draw the visible lines. */
  relay() {
    this.lines = [];
    for (const session of this.page.matched.sessions) {
      const key = `s ${session.id}`;
      this.lines.push({ kind: "session", key, session });
      if (!this.open.has(key)) continue;
      // A conversation reads from the oldest request down.
      for (const row of session.rows.toReversed()) this.lines.push({ kind: "request", key: `r ${row.id}`, row });
    }
    this.at = new Map(this.lines.map((line, at) => [line.key, at]));
    if (!this.at.has(this.current)) this.current = this.lines[0]?.key ?? "";
    this.place();
    const had = this.body.contains(document.activeElement);
    this.refresh();
    this.draw();
    // The row that had the focus may be gone.
    if (had && !this.body.contains(document.activeElement)) this.drawn.get(this.current)?.focus({ preventScroll: true });
  }

  place() {
    this.body.style.height = `${this.lines.length * this.rowHeight}px`;
    this.scroller.setAttribute("aria-rowcount", String(this.lines.length + 1));
  }

  /** Update the drawn rows. */
  refresh() {
    for (const [key, one] of this.drawn) {
      const line = this.lineOf(key);
      if (line) this.fill(one, line);
    }
  }

  /** @param {string} [key] @returns {Line | undefined} */
  lineOf(key = "") {
    return this.lines[this.at.get(key) ?? -1];
  }

  draw() {
    const { scrollTop, clientHeight } = this.scroller;
    const first = Math.max(0, Math.min(this.lines.length, Math.floor(scrollTop / this.rowHeight)) - OVERSCAN);
    const last = Math.min(this.lines.length, Math.ceil((scrollTop + clientHeight) / this.rowHeight) + OVERSCAN);
    /** @type {Set<string>} */
    const wanted = new Set();
    for (let at = first; at < last; at += 1) wanted.add(this.lines[at].key);
    // The focused row stays in the document however far it is scrolled away.
    const focused = this.at.get(this.current) ?? -1;
    if (focused >= 0) wanted.add(this.current);
    for (const [key, one] of this.drawn) {
      if (wanted.has(key)) continue;
      one.remove();
      this.drawn.delete(key);
    }
    // The elements have the order of the lines, for screen readers.
    /** @type {Element | null} */
    let next = this.body.firstElementChild;
    /** @param {number} at */
    const draw = (at) => {
      const one = this.drawLine(at);
      if (one === next) next = one.nextElementSibling;
      else this.body.insertBefore(one, next);
    };
    if (focused >= 0 && focused < first) draw(focused);
    for (let at = first; at < last; at += 1) draw(at);
    if (focused >= last) draw(focused);
  }

  /** @param {number} at @returns {HTMLElement} */
  drawLine(at) {
    const line = this.lines[at];
    let one = this.drawn.get(line.key);
    if (!one) {
      one = el("div", { class: `line ${line.kind}`, role: "row" });
      one.dataset.key = line.key;
      this.fill(one, line);
      this.drawn.set(line.key, one);
    }
    one.style.top = `${at * this.rowHeight}px`;
    one.tabIndex = line.key === this.current ? 0 : -1;
    one.setAttribute("aria-rowindex", String(at + 2));
    return one;
  }

  /** The box of a line. @param {HTMLElement} row @param {Row[]} rows @param {string} name */
  box(row, rows, name) {
    const chosen = rows.filter((one) => this.page.selected.has(one.id)).length;
    if (this.page.selectable) row.setAttribute("aria-selected", String(chosen === rows.length));
    row.classList.toggle("chosen", chosen > 0);
    const check = row.querySelector(".check") ?? el("div", { role: "gridcell", class: "check" },
      el("input", { type: "checkbox", tabindex: -1, "aria-label": `Select ${name}` }));
    const box = /** @type {HTMLInputElement} */ (check.firstElementChild);
    set(box, { ".checked": chosen === rows.length, ".indeterminate": chosen > 0 && chosen < rows.length, hidden: !this.page.selectable });
    return check;
  }

  /** @param {HTMLElement} row @param {Line} line */
  fill(row, line) {
    const { clock, lit } = this.page;
    const session = line.kind === "session" ? line.session : null;
    const rows = rowsIn(line);
    const first = rows[rows.length - 1];
    const at = session ? session.last : first.at;
    const users = session && session.users.length > 1 ? counted(session.users.length, "user") : "";
    const badges = this.badges(rows, session);
    const box = this.box(row, rows, session ? `session ${session.id}` : `request ${first.id}`);
    const fold = el("span", { class: "fold", "aria-hidden": "true" });
    set(row, { "aria-level": session ? 1 : 2, "aria-expanded": session ? String(this.open.has(line.key)) : null });
    row.classList.toggle("lit", !session && lit.has(first.id));
    spoken(row, clock.when(at), users || first.user, first.words, counted(session ? rows.length : first.interactions, session ? "request" : "interaction"), badges);
    renew(
      row, ...(session ? [box, fold] : [fold, box]),
      el("div", { role: "gridcell", class: "when", title: clock.exact(at) }, clock.when(at)),
      el("div", { role: "gridcell", class: "user" }, users ? el("span", { class: "note" }, users) : idOf(first.user)),
      wordsOf(rows.find((one) => one.passage) ?? first, this.page.searchedWords()),
      session
        ? el("div", { role: "gridcell", class: "count" }, number(rows.length), el("span", { class: "unit" }, rows.length === 1 ? " request" : " requests"))
        : el("div", { role: "gridcell", class: "count interactions" }, counted(first.interactions, "interaction")),
      el("div", { role: "gridcell", class: "source" }, stored(session ? session.sources[0] ?? "" : first.source),
        session && session.sources.length > 1 && ` +${session.sources.length - 1}`),
      el("div", { role: "gridcell", class: "badges" }, ...badges),
    );
  }

  /** @param {Row[]} rows @param {Session | null} session */
  badges(rows, session) {
    /** @type {HTMLElement[]} */
    const made = [];
    /** @param {string} text @param {string} [class_] @param {string} [title] */
    const badge = (text, class_ = "", title = "") =>
      made.push(el("span", { class: `badge ${class_}`, title: title || false }, text));
    const grave = (/** @type {string} */ rule) => this.page.reading.rule(rule).grave;
    /** How many requests a rule finds. @type {Map<string, number>} */
    const found = new Map();
    for (const row of rows) for (const rule of row.findings.keys()) found.set(rule, (found.get(rule) ?? 0) + 1);
    if (session && session.rows.length < session.total)
      badge(`${number(session.rows.length)} of ${number(session.total)}`, "", "Only these match the filter.");
    /** @param {string[]} rules */
    const counts = (rules) => rules.map((rule) => `${ruleWords(rule)}: ${number(found.get(rule) ?? 0)}`).join("\n");
    const rules = [...found.keys()].sort((a, b) => Number(grave(b)) - Number(grave(a)));
    // A grave finding is always named.
    const named = rules.length === 1 || grave(rules[0]) ? rules.splice(0, 1) : [];
    for (const rule of named) badge(ruleWords(rule), grave(rule) ? "warn" : "", counts([rule]));
    if (rules.length) badge(counted(rules.length, named.length ? "other finding" : "finding"), "", counts(rules));
    const evaluation = rows.filter((row) => row.evaluation).length;
    if (evaluation) badge(evaluation === rows.length ? "evaluation" : `${number(evaluation)} evaluation`);
    // Grave badges come first. If there is no room, the others are counted.
    made.sort((a, b) => Number(b.classList.contains("warn")) - Number(a.classList.contains("warn")));
    const said = made.map((one) => one.textContent ?? "");
    if (said.join("").length <= BADGE_CHARS || made.length < 2) return made;
    const rest = el("span", { class: "badge", title: made.slice(1).map((one) => one.title || one.textContent).join("\n") },
      el("span", { "aria-hidden": "true" }, `+${made.length - 1}`), el("span", { class: "spoken" }, said.slice(1).join(", ")));
    return [made[0], rest];
  }

  resized() {
    const height = Number.parseFloat(getComputedStyle(this.body).getPropertyValue("--row")) || 36;
    if (height !== this.rowHeight) {
      this.rowHeight = height;
      this.place();
    }
    this.draw();
  }

  /** Open or close a session. @param {string} key @param {boolean} [open] */
  toggle(key, open = !this.open.has(key)) {
    if (open) this.open.add(key);
    else this.open.delete(key);
    this.current = key;
    this.relay();
  }

  /** Show the conversation of a line; a click on an open session closes it. @param {Line} line */
  enter(line) {
    const open = line.kind === "session" && this.open.has(line.key);
    if (line.kind === "session") this.toggle(line.key, !open);
    if (!open) this.page.open(line.kind === "session" ? line.session.id : line.row.session, line.kind === "session" ? "" : line.row.id);
  }

  /** Take the focus. */
  focus() {
    this.goTo(this.at.get(this.current) ?? 0);
  }

  /** @param {HTMLElement} line @param {boolean} focus */
  focusLine(line, focus) {
    const key = line.dataset.key ?? "";
    const before = this.drawn.get(this.current);
    if (before && before !== line) before.tabIndex = -1;
    line.tabIndex = 0;
    this.current = key;
    if (focus) line.focus({ preventScroll: true });
  }

  /** @param {number} at */
  goTo(at) {
    const index = Math.max(0, Math.min(this.lines.length - 1, at));
    const line = this.lines[index];
    if (!line) return;
    const top = index * this.rowHeight;
    const bottom = top + this.rowHeight;
    const { scrollTop, clientHeight } = this.scroller;
    const head = this.body.offsetTop;
    if (top < scrollTop) this.scroller.scrollTop = top;
    else if (bottom + head > scrollTop + clientHeight)
      this.scroller.scrollTop = Math.min(top, bottom + head - clientHeight);
    this.draw();
    const one = this.drawn.get(line.key);
    if (one) this.focusLine(one, true);
  }

  /** @param {KeyboardEvent} event */
  key(event) {
    if (event.altKey || event.ctrlKey || event.metaKey) return;
    const row = lineOf(event.target);
    if (!row || event.target !== row) return;
    const at = this.at.get(row.dataset.key ?? "") ?? -1;
    const line = this.lines[at];
    if (!line) return;
    const page = Math.max(1, Math.floor(this.scroller.clientHeight / this.rowHeight) - 2);
    const isOpen = this.open.has(line.key);
    switch (event.key) {
      case "ArrowDown": this.goTo(at + 1); break;
      case "ArrowUp": this.goTo(at - 1); break;
      case "PageDown": this.goTo(at + page); break;
      case "PageUp": this.goTo(at - page); break;
      case "Home": this.goTo(0); break;
      case "End": this.goTo(this.lines.length - 1); break;
      case "ArrowRight":
        if (line.kind === "session" && !isOpen) this.toggle(line.key, true);
        else this.goTo(at + 1);
        break;
      case "ArrowLeft":
        if (isOpen) this.toggle(line.key, false);
        else this.goTo(this.parentOf(at));
        break;
      case "Enter":
        this.enter(line);
        break;
      case " ":
        this.choose(line);
        break;
      default: return;
    }
    event.preventDefault();
  }

  /** @param {number} at */
  parentOf(at) {
    let above = at;
    while (above > 0 && this.lines[above].kind !== "session") above -= 1;
    return above;
  }

  /** Select or deselect a line. @param {Line} line */
  choose(line) {
    if (!this.page.selectable) return;
    const rows = rowsIn(line);
    this.page.select(rows, !rows.every((row) => this.page.selected.has(row.id)));
  }

  /** Select all lines between two. @param {number} from @param {Line} last */
  chooseFrom(from, last) {
    const to = this.at.get(last.key) ?? from;
    const lines = this.lines.slice(Math.min(from, to), Math.max(from, to) + 1);
    const rows = lines.flatMap(rowsIn);
    this.page.select(rows, true);
  }

  /** @param {MouseEvent} event */
  click(event) {
    const row = lineOf(event.target);
    const line = this.lineOf(row?.dataset.key);
    if (!row || !line) return;
    this.current = line.key;
    const target = /** @type {Element} */ (event.target);
    if (target.closest(".check")) {
      event.preventDefault();
      const from = event.shiftKey ? this.at.get(this.anchor) : undefined;
      this.anchor = line.key;
      // Later, because the browser resets the box after the click.
      setTimeout(() => (from === undefined ? this.choose(line) : this.chooseFrom(from, line)));
    } else if (!String(getSelection())) this.enter(line);
  }
}

/** @param {Line} line */
function rowsIn(line) {
  return line.kind === "session" ? line.session.rows : [line.row];
}

/** @param {EventTarget | null} target @returns {HTMLElement | null} */
function lineOf(target) {
  return target instanceof Element ? target.closest(".line") : null;
}

/**
 * Set what a screen reader says of a row. By default it would begin with the box and its long id.
 * @param {HTMLElement} row
 * @param {string} when @param {string} user @param {string} words @param {string} size @param {HTMLElement[]} badges
 */
function spoken(row, when, user, words, size, badges) {
  const notes = badges.map((one) => one.querySelector(".spoken")?.textContent ?? one.textContent);
  row.setAttribute("aria-label", [when, user, words, size, ...notes].filter(Boolean).join(", "));
}

/** @param {string} id */
function idOf(id) {
  const made = stored(shortened(id));
  if (id.length > 20) made.title = id;
  return made;
}

/** @param {Row} row @param {string[]} searched in lower case */
function wordsOf(row, searched) {
  const text = row.passage || row.words;
  // With its own direction, a right-to-left text is cut at its end too.
  if (text) return el("div", { role: "gridcell", class: "words", dir: "auto" }, ...withChips(text, (piece) => highlighted(piece, searched)));
  return el("div", { role: "gridcell", class: "words" }, el("span", { class: "quiet" }, row.interactions ? "covered" : "no text"));
}

/** A text with words highlighted. @param {string} text @param {string[]} words in lower case */
function highlighted(text, words) {
  if (!words.length) return [text];
  const pattern = words.map((word) => word.replace(/[.*+?^${}()|[\]\\]/g, "\\$&")).join("|");
  return text.split(new RegExp(`(${pattern})`, "gi")).map((part, at) => (at % 2 ? el("mark", {}, part) : part));
}
