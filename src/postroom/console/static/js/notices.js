// What was done, said once: a note in the corner, and the same for a screen reader.
import { h } from "./dom.js";

const SHOWN_MS = 8_000;

/** Say something without showing it. */
export function say(text) {
  document.getElementById("said").textContent = text;
}

/** Show that something was done. */
export function done(text, more = "") {
  show(text, more, "");
}

/** Show that something was not done; it stays until it is closed. */
export function failed(text, problem) {
  const more = [problem.message, problem.expected && `expected: ${problem.expected}`, problem.remedy];
  show(text, more.filter(Boolean).join("; "), "critical");
}

function show(text, more, kind) {
  const place = document.getElementById("notices");
  const close = () => note.remove();
  const note = h(
    "div",
    { class: `said ${kind}` },
    h("div", { class: "text" }, h("strong", null, text), more && h("p", null, more)),
    h("button", { class: "button bare little", type: "button", on: { click: close } }, "Close"),
  );
  place.append(note);
  while (place.children.length > 4) place.firstChild.remove();
  say(more ? `${text}. ${more}` : text);
  if (!kind) setTimeout(close, SHOWN_MS);
}
