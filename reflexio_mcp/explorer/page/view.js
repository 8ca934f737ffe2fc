/** What all views are made of. Stored text is given as a child, never as markup: it becomes text and nothing else; `<bdi>` isolates its direction. */

import htm from "./vendor/htm.js";
import { Component, h } from "./vendor/preact.js";
import { copy, toggleMenu } from "./actions.js";
import { piecesOf } from "./passages.js";
import { state, update } from "./state.js";
import { told } from "./words.js";

export const html = htm.bind(h);

/** A part of the page that needs its own element, for the focus or its place. @template P, [S={}] @extends {Component<P, S>} */
export class View extends Component {
  /** @type {HTMLElement | null} */
  element = null;

  /** Given to the outermost element as `ref`. @param {HTMLElement | null} element */
  hold = (element) => {
    this.element = element;
  };
}

/** Paths of icons on a grid of 16 by 16. @type {Record<string, string[]>} */
const ICONS = {
  search: ["M11.5 7a4.5 4.5 0 1 1-9 0a4.5 4.5 0 0 1 9 0", "m10.5 10.5 3 3"],
  close: ["m4 4 8 8M12 4l-8 8"], down: ["m4 6 4 4 4-4"], up: ["m4 10 4-4 4 4"], right: ["m6 4 4 4-4 4"], back: ["M13 8H3m4-4L3 8l4 4"],
  more: ["M3 8h.01M8 8h.01M13 8h.01"], again: ["M13 3v3.5H9.5", "M13 6.5A5.5 5.5 0 1 0 13.4 9"],
  people: ["M8.5 5.5a2.5 2.5 0 1 1-5 0a2.5 2.5 0 0 1 5 0", "M1.5 13c0-2.5 2-4 4.5-4s4.5 1.5 4.5 4M10.5 3.200a2.5 2.5 0 0 1 0 4.600M12 9.4c1.600.5 2.5 1.800 2.5 3.600"],
  bin: ["M3 4.5h10M6.5 4.5V3h3v1.5M4.5 4.5l.5 8.5h6l.5-8.5"], full: ["M9.5 3H13v3.5M6.5 13H3V9.5M13 3 9 7M3 13l4-4"],
  filter: ["M2.5 4.5h11M4.5 8h7M6.5 11.5h3"], warn: ["M8 2.5 14 13H2zM8 6.5v3M8 11.300v.01"], check: ["m3.5 8.5 3 3 6-7"],
  undo: ["M6 3 3 6l3 3M3 6h6a4 4 0 0 1 0 8H7"], out: ["M8 10V2.5M5 5l3-3 3 3M3 9v4h10V9"], keys: ["M2 4.5h12v7H2zM5 9.5h6M4.5 7h.01M8 7h.01M11.5 7h.01"],
};

/** @param {{name: string}} given */
export function Icon({ name }) {
  return html`<svg viewBox="0 0 16 16" aria-hidden="true" class="icon-${name}">${ICONS[name].map((d) => html`<path d=${d} />`)}</svg>`;
}

/** A button that shows an icon. @param {{icon: string, label: string, onClick: () => void, class?: string, disabled?: boolean}} given */
export function IconButton({ icon, label, onClick, class: more = "", disabled = false }) {
  return html`<button type="button" class="icon ${more}" aria-label=${label} title=${label} disabled=${disabled} onClick=${onClick}><${Icon} name=${icon} /></button>`;
}

/** @param {{onClick: () => void, class?: string, label?: string, disabled?: boolean, children?: any}} given */
export function Button({ onClick, class: more = "", label, disabled = false, children }) {
  return html`<button type="button" class="btn ${more}" aria-label=${label} disabled=${disabled} onClick=${onClick}>${children}</button>`;
}

/** What went wrong, in one line. @param {{text: string}} given */
export function Problem({ text }) {
  return html`<p class="problem" role="alert">${text.split("\n")[0]}</p>`;
}

/** An id that can be copied. @param {{id: string, what: string}} given */
export function CopiedId({ id, what }) {
  return html`<dd class="mono"><bdi>${id}</bdi> <${Button} class="little" label=${`Copy ${what}`} onClick=${() => copy(id)}>Copy<//></dd>`;
}

/** What facts say, a paragraph each. @param {{facts: import("./words.js").Fact[]}} given */
export function Facts({ facts }) {
  return told(facts).map((parts, at) => html`<p class="soft small" key=${at}>${parts.map((part) => (typeof part === "string" ? part : html`<bdi>${part.name}</bdi>`))}</p>`);
}

/**
 * Stored text, with chips for hidden secrets and marks for what was searched, what taught something, and what may be an order.
 * @param {{text: string, words?: string[], passages?: string[], orders?: string[], revealed?: (at: number) => string | undefined, onSecret?: (at: number) => void}} given
 *   `onSecret` shows the secret of a number, `revealed` returns it once it may be seen
 */
export function Text({ text, words = [], passages = [], orders = [], revealed, onSecret }) {
  let secrets = 0;
  return piecesOf(text, words, passages, orders).map((piece) => {
    if (piece.secret) return html`<${Secret} kind=${piece.text} at=${secrets} seen=${revealed?.(secrets++)} onSecret=${onSecret} />`;
    const inner = piece.hit ? html`<mark>${piece.text}</mark>` : piece.text;
    if (piece.suspect) return html`<span class="suspect">${inner}</span>`;
    return piece.taught ? html`<span class="taught">${inner}</span>` : inner;
  });
}

/** @param {{kind: string, at: number, seen?: string, onSecret?: (at: number) => void}} given */
function Secret({ kind, at, seen, onSecret }) {
  if (seen !== undefined) return html`<span class="covered seen">${seen}</span>`;
  return html`<span class="covered">${kind}${onSecret && html`<button type="button" onClick=${() => onSecret(at)} aria-label=${`Show the hidden ${kind}`}>Show</button>`}</span>`;
}

/** A button with a panel below it. @param {{name: string, label: any, title?: string, class?: string, chip?: string, children?: any, end?: boolean}} given */
export function Menu({ name, label, title, class: more = "", chip = "chip", end = false, children }) {
  const open = state.menu === name;
  return html`<div class="drop ${more}">
    <button type="button" class=${chip} aria-haspopup="true" aria-expanded=${String(open)} aria-label=${title} title=${title} onClick=${() => toggleMenu(name)}>${label}</button>
    ${open && html`<${Panel} name=${title ?? name} end=${end}>${children}<//>`}
  </div>`;
}

/** The panel of a menu: it takes the focus, and a click elsewhere or Escape closes it. @extends {View<{name: string, end: boolean, children?: any}>} */
class Panel extends View {
  componentDidMount() {
    const base = /** @type {HTMLElement} */ (this.element);
    const reachable = this.inSight("button, input, [tabindex]");
    (reachable.find((each) => each.getAttribute("aria-checked") === "true") ?? reachable[0])?.focus();
    this.away = (/** @type {Event} */ event) => {
      if (!base.parentElement?.contains(/** @type {Node} */ (event.target))) update({ menu: "" });
    };
    document.addEventListener("pointerdown", this.away);
  }

  componentWillUnmount() {
    if (this.element?.contains(document.activeElement)) /** @type {HTMLElement | null} */ (this.element.parentElement?.querySelector("button"))?.focus();
    if (this.away) document.removeEventListener("pointerdown", this.away);
  }

  /** What the style does not hide at this width. @param {string} selector @returns {HTMLElement[]} */
  inSight(selector) {
    return /** @type {HTMLElement[]} */ ([...this.element?.querySelectorAll(selector) ?? []]).filter((each) => each.checkVisibility());
  }

  /** @param {KeyboardEvent} event */
  key(event) {
    const items = this.inSight(".mi");
    const at = items.indexOf(/** @type {HTMLElement} */ (document.activeElement));
    if (event.key === "Escape") {
      update({ menu: "" });
    } else if (event.key === "ArrowDown" && items.length) items[(at + 1) % items.length].focus();
    else if (event.key === "ArrowUp" && items.length) items[(at + items.length - 1) % items.length].focus();
    else return;
    event.preventDefault();
    event.stopPropagation();
  }

  render() {
    return html`<div ref=${this.hold} class="menu ${this.props.end ? "end" : ""}" role="group" aria-label=${this.props.name} onKeyDown=${(/** @type {KeyboardEvent} */ event) => this.key(event)}>${this.props.children}</div>`;
  }
}

/** Go up and down among the titles of a list with the arrow keys, and select with Space. @param {KeyboardEvent & {currentTarget: HTMLElement}} event */
export function goesByArrows(event) {
  const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
  const titles = /** @type {HTMLElement[]} */ ([...event.currentTarget.querySelectorAll(".title")]);
  const at = titles.indexOf(/** @type {HTMLElement} */ (event.target));
  if (at < 0) return;
  const box = titles[at].parentElement?.querySelector("input");
  if (step) titles[at + step]?.focus();
  else if (event.key === " " && box) box.click();
  else return;
  event.preventDefault();
}

/** What is selected, and what can be done with it. @param {{said: any, children?: any}} given */
export function PickedBar({ said, children }) {
  return html`<div class="picked-bar" role="region" aria-label="Selection"><p id="selected" role="status">${said}</p>${children}</div>`;
}

/** One of several choices in a menu. @param {{on: boolean, onClick: () => void, count?: string, children?: any}} given */
export function Choice({ on, onClick, count, children }) {
  return html`<button type="button" class="mi" role="radio" aria-checked=${String(on)} onClick=${() => { onClick(); update({ menu: "" }); }}><span class="dot"></span>${children}${count !== undefined && html`<span class="n">${count}</span>`}</button>`;
}
