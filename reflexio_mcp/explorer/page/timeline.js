/** A bar chart of messages by day or hour, on the store's own axis. Its handles set the period. */

import { changeFilter } from "./actions.js";
import { counted, DAY_MS, HOUR_MS } from "./format.js";
import { state } from "./state.js";
import { html, View } from "./view.js";

/** @typedef {import("./rows.js").Row} Row */
/** @typedef {import("./format.js").Clock} Clock */
/** @typedef {{start: number, end: number, total: number}} Bar times in milliseconds, `end` exclusive */

const HEIGHT = 64;
const MOST_BARS = 120;
/** Minimum number of bars of an hour: a single wide bar would say nothing. */
const FEWEST_HOURS = 24;

/** @extends {View<{all: Row[], rows: Row[], filter: import("./rows.js").Filter}, {from: number, to: number, pointed: number}>} */
export class Timeline extends View {
  /** @param {any} props */
  constructor(props) {
    super(props);
    this.bars = barsOf(props.all, props.rows, state.clock);
    this.state = { ...this.chosen(), pointed: -1 };
    /** Whether a pointer is dragged along the bars, not down the page. */
    this.stroking = false;
  }

  componentDidMount() {
    // Otherwise the browser treats a quick stroke as a fling and swallows the next tap.
    this.element?.querySelector(".area")?.addEventListener("touchmove", (event) => {
      if (this.stroking) event.preventDefault();
    }, { passive: false });
  }

  /** @param {any} before */
  componentDidUpdate(before) {
    if (before.filter === this.props.filter && before.rows === this.props.rows) return;
    this.bars = barsOf(this.props.all, this.props.rows, state.clock);
    this.setState(this.chosen());
  }

  /** Indexes of the first and last bar inside the period. */
  chosen() {
    const { start, end } = this.props.filter;
    const indexOf = (/** @type {number} */ at) => this.bars.findLastIndex((bar) => bar.start <= at);
    const from = start === null ? 0 : Math.max(0, indexOf(start));
    return { from, to: end === null ? this.bars.length - 1 : Math.max(from, indexOf(end)) };
  }

  hourly() {
    return this.bars[0].end - this.bars[0].start <= HOUR_MS;
  }

  /** `Tue 24 Nov: 39 messages`. @param {number} index */
  words(index) {
    const bar = this.bars[index];
    const time = this.hourly() ? ` ${state.clock.time.format(bar.start)}` : "";
    return `${state.clock.fullDay.format(bar.start)}${time}: ${counted(bar.total, "message")}`;
  }

  render() {
    const { bars } = this;
    const { from, to, pointed } = this.state;
    const most = Math.max(...bars.map((bar) => bar.total), 1);
    const highest = bars.findIndex((bar) => bar.total === most);
    const share = 100 / bars.length;
    const named = (/** @type {number} */ at) => (this.hourly() ? state.clock.moment(at) : state.clock.day(at));
    const gap = bars.length > 60 ? 0.1 : 0.16;
    return html`<figure class="chart" ref=${this.hold}>
      <div class="area" onPointerDown=${(/** @type {PointerEvent} */ event) => this.drag(event)}
        onPointerMove=${(/** @type {PointerEvent} */ event) => this.setState({ pointed: this.barAt(event.clientX) })} onPointerLeave=${() => this.setState({ pointed: -1 })}>
        <svg viewBox=${`0 0 ${bars.length} ${HEIGHT}`} preserveAspectRatio="none" aria-hidden="true">${bars.map((bar, index) => {
          const height = bar.total && Math.max((bar.total / most) * (HEIGHT - 2), 1);
          return html`<rect key=${index} class=${index >= from && index <= to ? "in" : ""} x=${index + gap / 2} y=${HEIGHT - height} width=${1 - gap} height=${height} />`;
        })}</svg>
        ${[from, to + 1].map((edge, which) => html`<span key=${which} class="handle" role="slider" tabindex="0" aria-label=${which ? "To" : "From"}
          style=${{ insetInlineStart: `${edge * share}%` }} aria-valuemin=${which ? from : 0} aria-valuemax=${which ? bars.length - 1 : to}
          aria-valuenow=${which ? to : from} aria-valuetext=${this.words(which ? to : from)} data-edge=${which}
          onFocus=${() => this.setState({ pointed: which ? this.state.to : this.state.from })} onBlur=${() => this.setState({ pointed: -1 })}
          onKeyDown=${(/** @type {KeyboardEvent} */ event) => this.key(event, which === 0)}></span>`)}
      </div>
      <div class="under"><span>${named(bars[0].start)}</span><span class="said">${this.words(pointed >= 0 ? pointed : highest)}</span><span>${named(bars[bars.length - 1].start)}</span></div>
    </figure>`;
  }

  /** @param {number} x */
  barAt(x) {
    const area = /** @type {HTMLElement} */ (this.element?.querySelector(".area"));
    const box = area.getBoundingClientRect();
    const part = (x - box.left) / Math.max(box.width, 1);
    const along = getComputedStyle(area).direction === "rtl" ? 1 - part : part;
    return Math.max(0, Math.min(this.bars.length - 1, Math.floor(along * this.bars.length)));
  }

  /** @param {PointerEvent} event */
  drag(event) {
    if (event.button !== 0 || !event.isPrimary) return;
    const { from, to } = this.state;
    const area = /** @type {HTMLElement} */ (event.currentTarget);
    const on = /** @type {HTMLElement} */ (event.target).dataset.edge;
    const anchor = on === "0" ? to : on === "1" ? from : this.barAt(event.clientX);
    area.setPointerCapture(event.pointerId);
    const ended = new AbortController();
    /** @param {(next: PointerEvent) => void} then */
    const ending = (then) => (/** @type {PointerEvent} */ next) => {
      ended.abort();
      then(next);
      this.stroking = false;
    };
    area.addEventListener("pointermove", (next) => {
      const along = Math.abs(next.clientX - event.clientX);
      if (along > 3 && along > Math.abs(next.clientY - event.clientY)) this.stroking = true;
      if (!this.stroking) return;
      const here = this.barAt(next.clientX);
      this.setState({ from: Math.min(anchor, here), to: Math.max(anchor, here) });
    }, ended);
    area.addEventListener("pointerup", ending(() => {
      if (this.stroking) this.apply(this.state.from, this.state.to);
      else if (on === undefined) this.apply(anchor, anchor);
    }), ended);
    // The finger scrolls the host instead.
    area.addEventListener("pointercancel", ending(() => this.setState({ from, to })), ended);
  }

  /** @param {KeyboardEvent} event @param {boolean} isFirst */
  key(event, isFirst) {
    const last = this.bars.length - 1;
    let { from, to } = this.state;
    /** @type {Record<string, number>} */
    const steps = { ArrowLeft: -1, ArrowDown: -1, ArrowRight: 1, ArrowUp: 1, PageDown: -7, PageUp: 7, Home: -Infinity, End: Infinity };
    const step = steps[event.key];
    if (step === undefined) return;
    event.preventDefault();
    if (isFirst) from = Math.max(0, Math.min(from + step, to));
    else to = Math.min(last, Math.max(to + step, from));
    this.setState({ from, to, pointed: isFirst ? from : to });
    this.apply(from, to);
  }

  /** @param {number} from @param {number} to */
  apply(from, to) {
    const whole = from === 0 && to === this.bars.length - 1;
    changeFilter(whole ? { start: null, end: null } : { start: this.bars[from].start, end: this.bars[to].end - 1000 });
  }
}

/** The bars of rows, on the axis of all rows, which are one at least. @param {Row[]} all @param {Row[]} rows @param {Clock} clock @returns {Bar[]} */
function barsOf(all, rows, clock) {
  const low = all.reduce((least, row) => Math.min(least, row.at), Infinity);
  const high = all.reduce((most, row) => Math.max(most, row.at), -Infinity);
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
  const bars = starts.map((start, index) => ({ start, end: starts[index + 1] ?? start + step, total: 0 }));
  for (const row of rows) {
    let at = Math.min(bars.length - 1, Math.max(0, Math.floor((row.at - bars[0].start) / step)));
    while (at > 0 && row.at < bars[at].start) at -= 1;
    while (at < bars.length - 1 && row.at >= bars[at].end) at += 1;
    bars[at].total += row.interactions;
  }
  return bars;
}
