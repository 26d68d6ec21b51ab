// Small parts of pages: tags, meters, sparklines, a panel, a command to copy, a button that acts.
import { h, kept } from "./dom.js";
import { done, failed, say } from "./notices.js";
import { Problem } from "./server.js";

/** The head of a page. */
export function pageHead(title, about, actions) {
  return h(
    "div",
    { class: "head", key: "head" },
    h("h1", null, title),
    actions && h("div", { class: "actions buttons" }, actions),
    about && h("p", { class: "about" }, about),
  );
}

export function panel(title, content, { more, key, note } = {}) {
  const id = `panel-${title.toLowerCase().replace(/[^a-z0-9]+/g, "-")}`;
  return h(
    "section",
    { class: "panel", "aria-labelledby": id, key: key ?? id },
    h("header", null, h("h2", { id }, title), note && h("span", { class: "quiet small" }, note), more && h("div", { class: "more" }, more)),
    content,
  );
}

export function tag(text, kind = "") {
  return h("span", { class: `tag ${kind}` }, text);
}

const KINDS = {
  running: "good", up: "good", enabled: "good", closed: "good", ready: "good", delivered: "good",
  full: "notice", draining: "notice", scheduled: "notice", "half-open": "notice", ramp: "notice",
  waiting: "notice", starting: "notice", stopping: "notice", due: "notice", "in flight": "good",
  suspended: "warning", held: "warning", resting: "warning", paused: "warning", deferred: "warning",
  offline: "warning", gone: "warning", expired: "critical",
  open: "critical", failed: "critical", down: "critical", silent: "critical", quarantined: "critical",
};

/** A state: its word, and its colour beside. */
export function state(word, shown = word) {
  return tag(shown, KINDS[word] ?? "");
}

/** How much of something is used: a bar, with its words for who does not see it. */
export function meter(used, most, words) {
  const part = most > 0 ? Math.min(1, used / most) : 0;
  const fill = part >= 1 ? "fill-full" : part >= 0.8 ? "fill-high" : "fill-use";
  return h(
    "svg",
    { class: "meter", viewBox: "0 0 100 1", preserveAspectRatio: "none", role: "img", "aria-label": words },
    h("rect", { class: fill, width: (100 * part).toFixed(2), height: 1 }),
  );
}

/** Parts of a whole as one bar: [[class, value], …]. */
export function stacked(parts, words) {
  const whole = parts.reduce((sum, [, value]) => sum + value, 0);
  let at = 0;
  return h(
    "svg",
    { class: "stacked", viewBox: "0 0 100 1", preserveAspectRatio: "none", role: "img", "aria-label": words },
    parts.map(([name, value]) => {
      const width = whole ? (100 * value) / whole : 0;
      const rect = h("rect", { class: `fill-${name}`, x: at.toFixed(3), width: width.toFixed(3), height: 1 });
      at += width;
      return rect;
    }),
  );
}

const SPARK_POINTS = 60;

/** The last values as a line; the words beside it say what it is. */
export function spark(values, words, isLittle = false) {
  const shown = values.slice(-SPARK_POINTS);
  const most = Math.max(...shown, 0.001);
  const left = SPARK_POINTS - shown.length;
  const points = shown.map((value, index) => `${left + index},${(19 - (18 * value) / most).toFixed(2)}`);
  const line = points.length > 1 ? `M${points.join("L")}` : "";
  return h(
    "svg",
    { class: `spark ${isLittle ? "little" : ""}`, viewBox: `0 0 ${SPARK_POINTS - 1} 20`, preserveAspectRatio: "none", role: "img", "aria-label": words },
    h("path", { class: "area", d: line && `${line}L${SPARK_POINTS - 1},20L${left},20Z` }),
    h("path", { class: "line", d: line }),
  );
}

/** A command to copy. */
export function command(text) {
  const copy = async () => {
    try {
      await navigator.clipboard.writeText(text);
      say("The command was copied");
    } catch {
      say("The browser does not let us copy; select the command");
    }
  };
  return h(
    "span",
    { class: "command" },
    h("code", null, text),
    h("button", { class: "button bare little", type: "button", "aria-label": `Copy: ${text}`, on: { click: copy } }, "Copy"),
  );
}

const BUSY = new WeakSet(); // buttons whose doing is not over

/**
 * A button that does something at once. `run()` does it, `said` (or what it returns) is shown
 * after it; `after()` brings the page up to date.
 */
export function acts(label, { run, said, after, name, isLittle = true, kind = "" }) {
  const pressed = async (event) => {
    const button = event.currentTarget;
    if (BUSY.has(button)) return;
    BUSY.add(button);
    button.setAttribute("aria-busy", "true");
    try {
      const result = await run();
      if (result === undefined) return;
      done(typeof said === "function" ? said(result) : said);
    } catch (error) {
      if (!(error instanceof Problem)) throw error;
      failed(`${label}: not done`, error);
    } finally {
      BUSY.delete(button);
      button.removeAttribute("aria-busy");
      await after?.();
    }
  };
  return h(
    "button",
    { class: `button ${isLittle ? "little" : ""} ${kind}`, type: "button", "aria-label": name ?? null, on: { click: pressed } },
    label,
  );
}

/** A field with its label, help and what is wrong with it; the input is kept over drawings. */
export function field({ id, label, help, wrong, input }) {
  const described = [help && `${id}-help`, wrong && `${id}-wrong`].filter(Boolean).join(" ");
  input.id = id;
  if (described) input.setAttribute("aria-describedby", described);
  if (wrong) input.setAttribute("aria-invalid", "true");
  return h(
    "div",
    { class: "field" },
    h("label", { for: id }, label),
    kept(input),
    help && h("span", { class: "help", id: `${id}-help` }, help),
    wrong && h("span", { class: "wrong", id: `${id}-wrong` }, wrong),
  );
}

/** Nothing to show: what that means, and what to do. */
export function empty(title, more) {
  return [h("strong", null, title), more];
}

/** An address, which may be broken where it is read best: before its domain. */
export function address(text) {
  const at = text.lastIndexOf("@");
  if (at < 0) return text || "<>";
  return h("span", { class: "address" }, text.slice(0, at), h("wbr"), text.slice(at));
}
