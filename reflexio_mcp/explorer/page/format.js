/** Numbers, times and ids in words. */

const grouped = new Intl.NumberFormat("en");
const graphemes = new Intl.Segmenter("en", { granularity: "grapheme" });

/** @param {number} value */
export function number(value) {
  return grouped.format(value);
}

/** `1 message`, `2,000 messages`, `2 people`. @param {number} value @param {string} noun */
export function counted(value, noun) {
  return `${number(value)} ${value === 1 ? noun : `${noun}s`.replace(/persons$/, "people")}`;
}

export const DAY_MS = 86_400_000;
export const HOUR_MS = 3_600_000;

/** Shows times in the person's zone. All times are milliseconds since the epoch. */
export class Clock {
  /** @param {string} [timeZone] IANA name; the browser's zone if left out */
  constructor(timeZone) {
    this.timeZone = timeZone;
    /** @param {Intl.DateTimeFormatOptions} options */
    const style = (options) => {
      try {
        return new Intl.DateTimeFormat("en-GB", { timeZone, ...options });
      } catch {
        return new Intl.DateTimeFormat("en-GB", options);
      }
    };
    this.parts = style({ year: "numeric", month: "numeric", day: "numeric", hour: "numeric", hourCycle: "h23" });
    this.time = style({ hour: "2-digit", minute: "2-digit" });
    this.weekday = style({ weekday: "short" });
    this.dayOfYear = style({ day: "numeric", month: "short" });
    this.fullDay = style({ weekday: "short", day: "numeric", month: "short" });
    this.longDay = style({ weekday: "long", day: "numeric", month: "long" });
    this.withYear = style({ day: "numeric", month: "short", year: "numeric" });
    this.whole = style({ dateStyle: "full", timeStyle: "long" });
    /** Offset from UTC in each hour since the epoch. @type {Map<number, number>} */
    this.offsets = new Map();
    this.today = this.dayStart(Date.now());
  }

  /** How far local time is ahead of UTC at a moment. @param {number} at */
  offset(at) {
    const hour = Math.floor(at / HOUR_MS);
    let known = this.offsets.get(hour);
    if (known === undefined) {
      /** @type {Record<string, number>} */
      const part = {};
      for (const { type, value } of this.parts.formatToParts(at)) part[type] = Number(value);
      const local = Date.UTC(part.year, part.month - 1, part.day, part.hour);
      known = Math.round((local - hour * HOUR_MS) / 900_000) * 900_000;
      this.offsets.set(hour, known);
    }
    return known;
  }

  /** When the local day of a moment begins. @param {number} at */
  dayStart(at) {
    const offset = this.offset(at);
    return Math.floor((at + offset) / DAY_MS) * DAY_MS - offset;
  }

  /** Local days between a moment and today. @param {number} at */
  daysAgo(at) {
    return Math.round((this.today - this.dayStart(at)) / DAY_MS);
  }

  /** `yesterday 14:02`. @param {number} at */
  when(at) {
    const time = this.time.format(at);
    const days = this.daysAgo(at);
    if (days === 0) return `today ${time}`;
    if (days === 1) return `yesterday ${time}`;
    if (days > 1 && days < 7) return `${this.weekday.format(at)} ${time}`;
    return days < 330 ? `${this.dayOfYear.format(at)} ${time}` : this.withYear.format(at);
  }

  /** The heading over the rows of a day: `Today`, `Sunday, 29 November`. @param {number} at */
  heading(at) {
    const days = this.daysAgo(at);
    if (days === 0) return "Today";
    if (days === 1) return "Yesterday";
    return days < 330 ? this.longDay.format(at) : this.withYear.format(at);
  }

  /** `24 Nov`, or `today`. @param {number} at */
  day(at) {
    const days = this.daysAgo(at);
    if (days === 0) return "today";
    return days < 330 ? this.dayOfYear.format(at) : this.withYear.format(at);
  }

  /** `3 Nov 09:10`. @param {number} at */
  moment(at) {
    return `${this.day(at)} ${this.time.format(at)}`;
  }

  /** The whole date and time. @param {number} at */
  exact(at) {
    return this.whole.format(at);
  }
}

/** An id, without its middle if it is long. No user-visible character is split.
 * @param {string} id @param {number} [most] characters */
export function shortened(id, most = 20) {
  if (id.length <= most) return id;
  const letters = Array.from(graphemes.segment(id), (one) => one.segment);
  if (letters.length <= most) return id;
  const tail = Math.floor(most / 3);
  return `${letters.slice(0, most - tail - 1).join("")}…${letters.slice(-tail).join("")}`;
}

/** Characters that can be taken for a quotation mark: double ones, and two single ones. */
const MARKS = new RegExp(
  "[\"\u02ba\u02dd\u02ee\u02f5\u02f6\u05f4\u1cd3\u201c-\u201f\u2033\u2034\u2036\u2037\u2057\u275d\u275e\u2760\u2e42\u3003\u301d-\u301f\uff02\u{1f676}-\u{1f678}]" +
    "|['`\u00b4\u02b9-\u02bf\u02c8\u02ca\u02cb\u02f4\u2018-\u201b\u2032\u2035\u275b\u275c\uff07]{2,}",
  "gu",
);

/** Stored text for our quotation marks: nothing in it looks as if it ended them. @param {string} text */
export function inMarks(text) {
  return text.replace(MARKS, "'");
}
