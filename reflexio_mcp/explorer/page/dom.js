/** Elements, made without markup: stored content becomes text and nothing else. */

/**
 * @typedef {Node | string | number | false | null | undefined} Child
 */

/**
 * An element.
 * @template {keyof HTMLElementTagNameMap} K
 * @param {K} tag
 * @param {Record<string, any>} [given] attributes; `class`, `onclick` and other handlers, and properties after a dot
 * @param {...Child} children
 * @returns {HTMLElementTagNameMap[K]}
 */
export function el(tag, given = {}, ...children) {
  const made = document.createElement(tag);
  set(made, given);
  made.append(...kept(children));
  return made;
}

/** @param {Element} made @param {Record<string, any>} given */
export function set(made, given) {
  for (const [name, value] of Object.entries(given)) {
    if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else if (name.startsWith(".")) /** @type {any} */ (made)[name.slice(1)] = value;
    else if (value === false || value === null || value === undefined) made.removeAttribute(name);
    else made.setAttribute(name, value === true ? "" : String(value));
  }
}

/** Replace an element's children. @param {Element} parent @param {...Child} children */
export function fill(parent, ...children) {
  parent.replaceChildren(...kept(children));
}

/**
 * Replace an element's children, except equal ones: a finger may be on them, or they may be selected.
 * The children must have no handlers.
 * @param {Element} parent @param {...Child} children
 */
export function renew(parent, ...children) {
  const those = kept(children).map((one) => (one instanceof Node ? one : document.createTextNode(one)));
  those.forEach((one, at) => {
    const before = parent.childNodes[at];
    if (!before) parent.append(one);
    else if (before !== one && !before.isEqualNode(one)) before.replaceWith(one);
  });
  while (parent.childNodes.length > those.length) parent.lastChild?.remove();
}

/** @param {Child[]} children @returns {(Node | string)[]} */
function kept(children) {
  /** @type {(Node | string)[]} */
  const those = [];
  for (const one of children) {
    if (one === false || one === null || one === undefined || one === "") continue;
    those.push(one instanceof Node ? one : String(one));
  }
  return those;
}

/** Stored words or an id, isolated from the direction of the text around it.
 * @param {string} text @param {string} [class_] */
export function stored(text, class_) {
  return el("bdi", { class: class_ }, text);
}

const REDACTED = /\[redacted(?:: ([^\]\n]{1,60}))?\]/;

/** Split a text at covered secrets. Every second piece is the kind of a secret. @param {string} text */
export function aroundSecrets(text) {
  return text.split(REDACTED).map((piece, at) => (at % 2 ? (piece || "covered").replaceAll("-", " ") : piece));
}

/** A text with a chip for each covered secret. @param {string} text @param {(piece: string) => Child[]} [show] makes the other pieces */
export function withChips(text, show = (piece) => [piece]) {
  return aroundSecrets(text).flatMap((piece, at) => (at % 2 ? [el("span", { class: "chip" }, piece)] : show(piece)));
}

/** The element with an id. @param {string} id @returns {HTMLElement} */
export function byId(id) {
  const found = document.getElementById(id);
  if (!found) throw new Error(`no element ${id}`);
  return found;
}

const SVG = "http://www.w3.org/2000/svg";

/** @param {string} tag @param {Record<string, string | number>} given @returns {SVGElement} */
export function drawn(tag, given) {
  const made = /** @type {SVGElement} */ (document.createElementNS(SVG, tag));
  for (const [name, value] of Object.entries(given)) made.setAttribute(name, String(value));
  return made;
}
