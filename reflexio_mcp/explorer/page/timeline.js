/** A bar chart of requests by day or hour and source. Selecting bars sets the period. */

import { byId, drawn, el, fill, set } from "./dom.js";
import { counted, DAY_MS, HOUR_MS, number } from "./format.js";

/** @typedef {import("./rows.js").Row} Row */
/** @typedef {import("./format.js").Clock} Clock */
/** @typedef {{start: number, end: number, total: number, by: number[]}} Bar times in milliseconds, `end` exclusive */

/** Sources that have a hue of their own; the rest is "other". */
export const HUES = 5;

const HEIGHT = 64;
const MOST_BARS = 120;
/** Minimum number of bars of an hour: a single wide bar would say nothing. */
const FEWEST_HOURS = 24;

export class Timeline {
  /** @param {import("./main.js").Page} page */
  constructor(page) {
    this.page = page;
    this.place = byId("timeline");
    /** @type {Bar[]} */
    this.bars = [];
    /** Indexes of the first and last bar inside the period. */
    this.from = 0;
    this.to = 0;
    /** Whether a pointer is dragged along the bars, not down the page. */
    this.stroking = false;
    this.plot = drawn("svg", { class: "plot", preserveAspectRatio: "none", "aria-hidden": "true" });
    this.shade = el("div", { class: "shade" });
    this.handles = [this.handle("Beginning of the period"), this.handle("End of the period")];
    this.area = el("div", { class: "area" }, this.plot, this.shade, ...this.handles);
    this.first = el("span");
    this.said = el("span", { class: "said" });
    this.last = el("span");
    this.legend = el("div", { class: "legend" });
    this.highest = el("span", { class: "highest" });
    fill(this.place, el("div", { class: "over" }, this.legend, this.highest), this.area,
      el("div", { class: "under" }, this.first, this.said, this.last));
    this.area.addEventListener("pointerdown", (event) => this.drag(event));
    this.area.addEventListener("pointermove", (event) => this.say(this.barAt(event.clientX)));
    this.area.addEventListener("pointerleave", () => this.say(-1));
    // Otherwise the browser treats a quick stroke as a fling and swallows the next tap.
    this.area.addEventListener("touchmove", (event) => {
      if (this.stroking) event.preventDefault();
    }, { passive: false });
  }

  /** @param {string} label */
  handle(label) {
    const made = el("div", { class: "handle", role: "slider", tabindex: 0, "aria-label": label });
    made.addEventListener("keydown", (event) => this.key(event, made));
    made.addEventListener("focus", () => this.say(made === this.handles[0] ? this.from : this.to));
    made.addEventListener("blur", () => this.say(-1));
    return made;
  }

  /** Show the requests that match, whatever the period. */
  show() {
    const { clock, sources } = this.page;
    const { start, end } = this.page.filter;
    const rows = this.page.matched.anyTime;
    this.place.hidden = rows.length === 0;
    this.bars = rows.length ? barsOf(rows, sources, clock) : [];
    if (!rows.length) return;
    const indexOf = (/** @type {number} */ at) => this.bars.findLastIndex((bar) => bar.start <= at);
    this.from = start === null ? 0 : Math.max(0, indexOf(start));
    this.to = end === null ? this.bars.length - 1 : Math.max(this.from, indexOf(end));
    this.draw();
  }

  draw() {
    const { bars } = this;
    const { clock } = this.page;
    const most = Math.max(...bars.map((bar) => bar.total), 1);
    set(this.plot, { viewBox: `0 0 ${bars.length} ${HEIGHT}` });
    const gap = bars.length > 60 ? 0.1 : 0.16;
    /** @type {SVGElement[]} */
    const made = [];
    bars.forEach((bar, index) => {
      let y = HEIGHT;
      bar.by.forEach((value, hue) => {
        if (!value) return;
        const height = Math.max((value / most) * (HEIGHT - 6), 1);
        y -= height;
        made.push(drawn("rect", { class: `hue${hue}`, x: index + gap / 2, y, width: 1 - gap, height }));
      });
    });
    this.plot.replaceChildren(...made);
    const named = (/** @type {number} */ at) => (this.hourly() ? clock.moment(at) : clock.day(at));
    this.first.textContent = named(bars[0].start);
    this.last.textContent = named(bars[bars.length - 1].start);
    const days = Math.round((bars[0].end - bars[0].start) / DAY_MS);
    this.highest.textContent = `at most ${number(most)} ${this.hourly() ? "an hour" : days > 1 ? `in ${days} days` : "a day"}`;
    const names = [...this.page.sources.map((name) => name || "no source")];
    if (bars.some((bar) => bar.by[HUES])) names.push("other");
    fill(this.legend, ...names.map((name, index) =>
      el("span", { class: "key" }, el("i", { class: `hue${name === "other" && index >= this.page.sources.length ? HUES : index}` }),
        el("bdi", {}, name))));
    this.brushed();
  }

  hourly() {
    return this.bars.length > 0 && this.bars[0].end - this.bars[0].start <= HOUR_MS;
  }

  brushed() {
    const share = 100 / this.bars.length;
    const whole = this.from === 0 && this.to === this.bars.length - 1;
    this.area.classList.toggle("brushed", !whole);
    this.shade.style.insetInlineStart = `${this.from * share}%`;
    this.shade.style.inlineSize = `${(this.to - this.from + 1) * share}%`;
    [this.from, this.to + 1].forEach((edge, which) => {
      const handle = this.handles[which];
      handle.style.insetInlineStart = `${edge * share}%`;
      const index = which ? this.to : this.from;
      set(handle, {
        "aria-valuemin": which ? this.from : 0, "aria-valuemax": which ? this.bars.length - 1 : this.to,
        "aria-valuenow": index, "aria-valuetext": this.words(index),
      });
    });
  }

  /** `Tue 24 Nov, 39 requests: staging_eval 37, web_app 2`. @param {number} index */
  words(index) {
    const bar = this.bars[index];
    if (!bar) return "";
    const time = this.hourly() ? ` ${this.page.clock.time.format(bar.start)}` : "";
    const day = `${this.page.clock.fullDay.format(bar.start)}${time}`;
    const parts = bar.by
      .map((value, hue) => (value ? `${hue < this.page.sources.length ? this.page.sources[hue] || "no source" : "other"} ${number(value)}` : ""))
      .filter(Boolean);
    return `${day}, ${counted(bar.total, "request")}${parts.length ? `: ${parts.join(", ")}` : ""}`;
  }

  /** @param {number} index */
  say(index) {
    this.said.textContent = this.words(index);
    this.area.classList.toggle("pointed", index >= 0);
    this.area.style.setProperty("--at", `${((Math.max(index, 0) + 0.5) * 100) / this.bars.length}%`);
  }

  /** @param {number} x */
  barAt(x) {
    const box = this.area.getBoundingClientRect();
    const part = (x - box.left) / Math.max(box.width, 1);
    const along = getComputedStyle(this.area).direction === "rtl" ? 1 - part : part;
    return Math.max(0, Math.min(this.bars.length - 1, Math.floor(along * this.bars.length)));
  }

  /** @param {PointerEvent} event */
  drag(event) {
    if (event.button !== 0 || !event.isPrimary || !this.bars.length) return;
    const { from, to } = this;
    const on = this.handles.indexOf(/** @type {HTMLDivElement} */ (event.target));
    const anchor = on === 0 ? to : on === 1 ? from : this.barAt(event.clientX);
    this.area.setPointerCapture(event.pointerId);
    const ended = new AbortController();
    /** @param {(next: PointerEvent) => void} then */
    const ending = (then) => (/** @type {PointerEvent} */ next) => {
      ended.abort();
      then(next);
      this.stroking = false;
    };
    this.area.addEventListener("pointermove", (next) => {
      const along = Math.abs(next.clientX - event.clientX);
      if (along > 3 && along > Math.abs(next.clientY - event.clientY)) this.stroking = true;
      if (!this.stroking) return;
      const here = this.barAt(next.clientX);
      this.from = Math.min(anchor, here);
      this.to = Math.max(anchor, here);
      this.brushed();
    }, ended);
    this.area.addEventListener("pointerup", ending(() => {
      if (!this.stroking) {
        if (on >= 0) return;
        this.from = this.to = anchor;
      }
      this.apply();
    }), ended);
    // The finger scrolls the host instead.
    this.area.addEventListener("pointercancel", ending(() => {
      [this.from, this.to] = [from, to];
      this.brushed();
    }), ended);
  }

  /** @param {KeyboardEvent} event @param {HTMLElement} handle */
  key(event, handle) {
    const isFirst = handle === this.handles[0];
    const step = { ArrowLeft: -1, ArrowDown: -1, ArrowRight: 1, ArrowUp: 1, PageDown: -7, PageUp: 7 }[event.key];
    let index = isFirst ? this.from : this.to;
    if (step) index += step;
    else if (event.key === "Home") index = 0;
    else if (event.key === "End") index = this.bars.length - 1;
    else return;
    event.preventDefault();
    if (isFirst) this.from = Math.max(0, Math.min(index, this.to));
    else this.to = Math.min(this.bars.length - 1, Math.max(index, this.from));
    this.brushed();
    this.say(isFirst ? this.from : this.to);
    this.apply();
  }

  apply() {
    const whole = this.from === 0 && this.to === this.bars.length - 1;
    this.page.change(whole ? { start: null, end: null } : { start: this.bars[this.from].start, end: this.bars[this.to].end - 1000 });
  }
}

/** @param {Row[]} rows @param {string[]} sources @param {Clock} clock @returns {Bar[]} */
function barsOf(rows, sources, clock) {
  const low = rows.reduce((least, row) => Math.min(least, row.at), Infinity);
  const high = rows.reduce((most, row) => Math.max(most, row.at), -Infinity);
  const hourly = high - low <= 2 * DAY_MS;
  /** @type {number[]} */
  const starts = [];
  if (hourly) {
    const first = Math.min(low, high - (FEWEST_HOURS - 1) * HOUR_MS);
    for (let at = Math.floor(first / HOUR_MS) * HOUR_MS; at <= high; at += HOUR_MS) starts.push(at);
  } else {
    const days = Math.ceil((high - low) / DAY_MS) + 1;
    const width = Math.ceil(days / MOST_BARS);
    // From one local midnight to another: a day with a change of the clock has 23 or 25 hours.
    for (let at = clock.dayStart(low); at <= high; ) {
      starts.push(at);
      at = clock.dayStart(at + width * DAY_MS + DAY_MS / 2);
    }
  }
  const step = hourly ? HOUR_MS : starts.length > 1 ? starts[1] - starts[0] : DAY_MS;
  /** @type {Bar[]} */
  const bars = starts.map((start, index) => ({
    start, end: starts[index + 1] ?? start + step, total: 0, by: new Array(HUES + 1).fill(0),
  }));
  /** @type {Map<string, number>} */
  const hues = new Map(sources.map((name, index) => [name, index]));
  for (const row of rows) {
    let at = Math.min(bars.length - 1, Math.max(0, Math.floor((row.at - bars[0].start) / step)));
    while (at > 0 && row.at < bars[at].start) at -= 1;
    while (at < bars.length - 1 && row.at >= bars[at].end) at += 1;
    bars[at].total += 1;
    bars[at].by[hues.get(row.source) ?? HUES] += 1;
  }
  return bars;
}
