// Values as people read them.
import { h } from "./dom.js";

const NUMBERS = new Intl.NumberFormat("en-US");

export function number(value) {
  return NUMBERS.format(Math.round(value ?? 0));
}

/** "1 message", "2,000 messages". */
export function count(value, noun, plural = `${noun}s`) {
  return `${number(value)} ${value === 1 ? noun : plural}`;
}

/** A rate by the second: few digits where it is fast, more where it is slow. */
export function rate(value) {
  if (!value) return "0";
  if (value >= 100) return number(value);
  return value >= 10 ? value.toFixed(1) : value.toFixed(2);
}

const UNITS = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"];

export function size(octets) {
  let [value, at] = [octets ?? 0, 0];
  while (value >= 1024 && at < UNITS.length - 1) [value, at] = [value / 1024, at + 1];
  return `${at && value < 100 ? value.toFixed(1) : Math.round(value)} ${UNITS[at]}`;
}

export function percent(part) {
  if (part === null || part === undefined) return "–";
  return `${(100 * part).toFixed(part > 0 && part < 0.1 ? 1 : 0)} %`;
}

/** A length of time by its two largest units: "3 h 20 min". */
export function span(seconds) {
  if (!Number.isFinite(seconds)) return "never";
  const whole = Math.round(seconds);
  if (whole < 60) return seconds > 0 && seconds < 10 ? `${seconds.toFixed(1)} s` : `${whole} s`;
  const [d, hours, min] = [Math.floor(whole / 86400), Math.floor(whole / 3600) % 24, Math.floor(whole / 60) % 60];
  if (d) return hours ? `${d} d ${hours} h` : `${d} d`;
  if (hours) return min ? `${hours} h ${min} min` : `${hours} h`;
  return whole % 60 ? `${min} min ${whole % 60} s` : `${min} min`;
}

function two(value) {
  return String(value).padStart(2, "0");
}

/** The offset of this browser's zone at a moment: "UTC+01:00". */
function zone(date) {
  const off = -date.getTimezoneOffset();
  if (!off) return "UTC";
  const abs = Math.abs(off);
  return `UTC${off < 0 ? "−" : "+"}${two(Math.floor(abs / 60))}:${two(abs % 60)}`;
}

/** A moment with its zone: the time of today, else the date, too. */
export function moment(seconds, { full = false } = {}) {
  const date = new Date(seconds * 1000);
  const time = `${two(date.getHours())}:${two(date.getMinutes())}:${two(date.getSeconds())}`;
  const day = `${date.getFullYear()}-${two(date.getMonth() + 1)}-${two(date.getDate())}`;
  const today = new Date().toDateString() === date.toDateString();
  return `${today && !full ? "" : `${day} `}${time} ${zone(date)}`;
}

/** A moment as an element: what is shown, and in UTC what it is. */
export function time(seconds, options) {
  if (!seconds || !Number.isFinite(seconds)) return h("span", { class: "quiet" }, "–");
  const iso = new Date(seconds * 1000).toISOString();
  return h("time", { datetime: iso, title: iso }, moment(seconds, options));
}

/** How long it is until a moment, or how long ago it was. */
export function distance(seconds, now) {
  if (!seconds) return "";
  const off = seconds - now;
  if (Math.abs(off) < 1) return "now";
  return off > 0 ? `in ${span(off)}` : `${span(-off)} ago`;
}
