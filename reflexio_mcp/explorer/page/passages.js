/** Words inside a text: covered secrets, what was searched for, what taught something, what may be an order. This module touches no element. */

/** @typedef {{text: string, secret: boolean, hit: boolean, taught: boolean, suspect: boolean}} Piece */

/**
 * A stored text as it was written. The server escapes what would open a tag or a link where a text is read as Markdown or HTML; on this
 * page it opens nothing.
 * @param {string} text
 */
export function asWritten(text) {
  return text.replace(/\\u(003c|0028|003a)/g, (_, code) => String.fromCharCode(Number.parseInt(code, 16)));
}

const REDACTED = /\[redacted(?:: ([^\]\n]{1,60}))?\]/;

/** Split a text at covered secrets. Every second piece is the kind of a secret. @param {string} text */
export function aroundSecrets(text) {
  return text.split(REDACTED).map((piece, at) => (at % 2 ? (piece || "covered").replaceAll("-", " ") : piece));
}

/**
 * Return a covered part of a text.
 * @param {string} covered the text with its secrets covered @param {number} at number of the covered part
 * @param {string} whole the text with nothing covered
 */
export function hiddenIn(covered, at, whole) {
  const parts = aroundSecrets(covered).filter((_, index) => index % 2 === 0);
  let begin = 0;
  for (const part of parts.slice(0, at + 1)) begin = whole.indexOf(part, begin) + part.length;
  const behind = parts[at + 1];
  return whole.slice(begin, behind ? whole.indexOf(behind, begin) : undefined);
}

/** What stands around a word and is no part of it, as in `matching/words.py`. */
const AROUND = /^[([{«„¿¡)\]}».,;:!?…。，、；：！？"]+|[([{«„¿¡)\]}».,;:!?…。，、；：！？"]+$/g;

/** The words and phrases of a search, in lower case. @param {string} query */
export function searchedWords(query) {
  const typed = [...query.replace(/[“”]/g, '"').matchAll(/"([^"]*)"|(\S+)/g)];
  const words = typed.map(([, phrase = "", word = ""]) => phrase.trim().replace(/\s+/g, " ") || word.replace(AROUND, "") || word);
  return words.filter((word) => word && word !== "OR").map((word) => word.toLowerCase());
}

/** A short word counts only where a word begins: the scripts of these letters have blanks between words. */
const SHORT = /^[\p{Script=Latin}\p{Script=Greek}\p{Script=Cyrillic}]{1,5}$/u;

/** Where passages stand in a text, whatever their quotation marks, capitals and spaces. @param {string} text @param {string[]} passages @returns {[number, number][]} */
export function placesOf(text, passages) {
  /** @type {[number, number][]} */
  const places = [];
  for (const passage of passages) {
    const found = patternOf(passage)?.exec(text);
    if (found) places.push([found.index, found.index + found[0].length]);
  }
  return places;
}

/** @param {string} passage */
function patternOf(passage) {
  const words = passage.split(/\s+/).filter(Boolean).map((word) =>
    word.replace(/[.*+?^${}()|[\]\\/-]/g, "\\$&").replace(/['‘’]/g, "['‘’]").replace(/["“”]/g, '["“”]').replace(/\\-|[‐-―]/g, "[-‐-―]"));
  return words.length ? new RegExp(words.join("\\s+"), "i") : null;
}

/** Where searched words stand. @param {string} text @param {string[]} words in lower case @returns {[number, number][]} */
function hitsOf(text, words) {
  const low = text.toLowerCase();
  // Some letters have another length in lower case; then a place there is none here.
  if (low.length !== text.length) return [];
  /** @type {[number, number][]} */
  const places = [];
  for (const word of words) {
    const begins = SHORT.test(word);
    for (let at = low.indexOf(word); at >= 0; at = low.indexOf(word, at + word.length)) {
      if (!begins || !/\p{L}/u.test(low[at - 1] ?? "")) places.push([at, at + word.length]);
    }
  }
  return places;
}

/**
 * Cut a text into pieces of one kind each.
 * @param {string} text @param {string[]} [words] searched words in lower case @param {string[]} [passages] words that taught something
 * @param {string[]} [orders] words that may be an order to an assistant
 * @returns {Piece[]}
 */
export function piecesOf(text, words = [], passages = [], orders = []) {
  /** @type {Piece[]} */
  const pieces = [];
  const taught = placesOf(text, passages);
  const suspect = placesOf(text, orders);
  let begin = 0;
  for (let index = 0, rest = text; ; index += 1) {
    const found = REDACTED.exec(rest);
    const end = found ? begin + found.index : text.length;
    pieces.push(...cut(text, begin, end, hitsOf(text.slice(begin, end), words).map(([a, b]) => [a + begin, b + begin]), taught, suspect));
    if (!found) return pieces;
    pieces.push({ text: (found[1] ?? "covered").replaceAll("-", " "), secret: true, hit: false, taught: false, suspect: false });
    begin = end + found[0].length;
    rest = text.slice(begin);
  }
}

/** @param {string} text @param {number} begin @param {number} end @param {number[][]} hits @param {number[][]} taught @param {number[][]} suspect @returns {Piece[]} */
function cut(text, begin, end, hits, taught, suspect) {
  const edges = [...new Set([begin, end, ...[...hits, ...taught, ...suspect].flat().filter((at) => at > begin && at < end)])].sort((a, b) => a - b);
  const inside = (/** @type {number[][]} */ places, /** @type {number} */ at) => places.some(([from, to]) => from <= at && at < to);
  return edges.slice(0, -1).map((at, index) => ({
    text: text.slice(at, edges[index + 1]), secret: false, hit: inside(hits, at), taught: inside(taught, at), suspect: inside(suspect, at),
  }));
}
