// The frame around every page: the bar, the navigation, how fresh what is shown is.
import { h } from "./dom.js";
import { count, moment, span } from "./format.js";
import { tag } from "./parts.js";
import { to } from "./router.js";

const PAGES = [
  ["overview", "Overview"],
  ["messages", "Messages"],
  ["sites", "Sites"],
  ["channels", "Channels"],
  ["queues", "Queues and disks"],
  ["relays", "Relays and hosts"],
  ["sources", "Sources"],
];
const PART_OF = { message: "messages", channel: "channels" };

const STATES = {
  live: () => "Live",
  polling: () => "Every 2 s",
  late: (feed) => `${span(Math.round(feed.age))} old`,
  gone: () => "No answer",
  begin: () => "Loading",
};

export function shell({ who, feed, current, isMenuOpen, onMenu, onTheme, onSignOut, content }) {
  const page = PART_OF[current] ?? current;
  return h(
    "div",
    { class: "shell", key: "shell" },
    h("a", { class: "skip", href: "#main", on: { click: toMain } }, "Skip to the page"),
    h(
      "header",
      { class: "bar" },
      h("button", { class: "button menu", type: "button", "aria-expanded": isMenuOpen, "aria-controls": "side", on: { click: onMenu } }, "Menu"),
      h("a", { class: "brand", href: to("overview") }, logo(), "Postroom"),
      h("span", { class: "host" }, feed.overview?.hostname ?? ""),
      h(
        "div",
        { class: "end" },
        h("span", { class: "pulse", "data-state": feed.state }, h("i", { "aria-hidden": "true" }), STATES[feed.state](feed)),
        h("span", { class: "who" }, h("strong", { class: "name" }, who.name), " ", tag(who.role)),
        h("button", { class: "button little", type: "button", "aria-label": `Theme: ${theme()}`, on: { click: () => nextTheme(onTheme) } }, ["◐ ", THEMES[theme()]]),
        h("button", { class: "button little", type: "button", on: { click: onSignOut } }, "Sign out"),
      ),
    ),
    h(
      "div",
      { class: "side", id: "side", "data-open": isMenuOpen ? "yes" : "no" },
      h(
        "nav",
        { "aria-label": "Pages" },
        h("ul", null, PAGES.map(([name, label]) => h("li", null, link(name, label, page, feed)))),
      ),
    ),
    h("main", { class: "main", id: "main", tabindex: "-1" }, freshness(feed), content),
  );
}

function link(name, label, current, feed) {
  const stuck = name === "overview" ? worst(feed.overview) : 0;
  return h(
    "a",
    { href: to(name), "aria-current": name === current ? "page" : null },
    label,
    stuck > 0 && h("span", { class: "count" }, tag(stuck, "warning"), h("span", { class: "unseen" }, " things are stuck")),
  );
}

function worst(overview) {
  return (overview?.troubles ?? []).filter((one) => one.severity !== "notice").length;
}

/** Say where what is shown is not what is; in words that stay the same, for they are read out. */
function freshness(feed) {
  const { state, problem, overview, seenAt } = feed;
  let banner = null;
  if (state === "gone") {
    const old = overview ? `What you see is of ${moment(seenAt)}.` : "";
    banner = ["critical", `${sentence(problem.message)} ${old}`, problem.remedy];
  } else if (state === "late") {
    banner = ["warning", `Nothing new has come since ${moment(seenAt)}; what you see is of then.`, ""];
  } else if (problem) {
    banner = ["warning", sentence(problem.message), problem.remedy];
  } else if (overview?.silent?.length) {
    const which = overview.silent.map((one) => `queue${one}`).join(", ");
    banner = ["warning", `${count(overview.silent.length, "queue")} did not answer in time: ${which}. Figures of ${overview.silent.length > 1 ? "them are" : "it are"} the last known.`, ""];
  }
  // Always there, so that a screen reader hears what comes into it.
  return h(
    "div",
    { key: "freshness", role: "status" },
    banner && h("div", { class: `banner ${banner[0]}` }, h("strong", null, banner[1]), banner[2] && h("span", { class: "remedy" }, banner[2])),
  );
}

function sentence(text) {
  return `${text.charAt(0).toUpperCase()}${text.slice(1)}.`;
}

function toMain(event) {
  event.preventDefault();
  document.getElementById("main").focus();
}

// The theme: that of the system, or one that was chosen.

const THEMES = { system: "Auto", light: "Light", dark: "Dark" };

function theme() {
  return document.documentElement.dataset.theme ?? "system";
}

function nextTheme(changed) {
  const names = Object.keys(THEMES);
  const next = names[(names.indexOf(theme()) + 1) % names.length];
  if (next === "system") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = next;
  try {
    localStorage.setItem("postroom-theme", next);
  } catch {
    // Without storage it holds for this page.
  }
  changed();
}

export function logo() {
  return h(
    "svg",
    { viewBox: "0 0 32 32", "aria-hidden": "true" },
    h("rect", { width: 32, height: 32, rx: 7, fill: "#1d5bbf" }),
    h(
      "g",
      { fill: "none", stroke: "#fff", "stroke-width": 2.4, "stroke-linejoin": "round" },
      h("path", { d: "M7 12.5 16 18l9-5.5" }),
      h("rect", { x: 7, y: 9, width: 18, height: 14, rx: 2 }),
    ),
  );
}
