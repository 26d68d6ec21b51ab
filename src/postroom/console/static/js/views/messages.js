// Messages: found by the filter language, a page at a time; verbs over those picked, or over all
// that match.
import { askVerb } from "../bulk.js";
import { h, kept } from "../dom.js";
import { filterHelp } from "../filter_help.js";
import * as format from "../format.js";
import { address, empty, pageHead, state } from "../parts.js";
import { Poll } from "../poll.js";
import { change, to } from "../router.js";
import { table } from "../table.js";
import { VERBS } from "../verbs.js";
import { loading } from "./overview.js";

const SHOWN = 50;
const QUICK = [
  ["Deferred", "state=deferred"],
  ["Held", "state=held"],
  ["Quarantined", "state=quarantined"],
  ["Older than 1 h", "age>1h"],
  ["Often tried", "attempts>3"],
  ["Null sender", "sender=<>"],
];

export const messagesView = {
  open(page) {
    let where = page.where;
    const picked = new Set();
    const asked = () => ({ q: where.query.get("q") ?? "", after: where.query.get("after") ?? "" });
    const poll = new Poll(
      (signal) => page.server.messages(asked().q, asked().after, SHOWN, signal),
      page.redraw,
      0,
    );
    const input = h("input", {
      type: "search", id: "q", name: "q", value: asked().q, placeholder: "state=deferred domain=a.example", autocomplete: "off", spellcheck: "false", autocapitalize: "none",
    });
    const search = (text) => {
      const before = asked();
      if (text === before.q && !before.after) poll.now();
      else change({ q: text, after: "" }, { isStep: true });
    };
    const toggle = (id, isOn) => {
      if (isOn) picked.add(id);
      else picked.delete(id);
      page.redraw();
    };
    const act = async (verb) => {
      const filter = picked.size ? [...picked].join(" ") : asked().q || "all";
      const queues = (page.feed.overview?.queues ?? []).map((one) => one.queue);
      const count = await askVerb(page, verb, filter, queues);
      if (count === undefined) return;
      picked.clear();
      await Promise.all([poll.now(), page.refresh()]);
    };
    return {
      title: "Messages",
      close: () => poll.close(),
      moved(place) {
        where = place;
        picked.clear();
        if (input.value !== asked().q) input.value = asked().q;
        poll.value = null;
        poll.now();
      },
      render() {
        const { q, after } = asked();
        const take = (word) => {
          input.value = word === "all" || !input.value ? word : `${input.value} ${word}`;
          input.focus();
        };
        return [
          pageHead("Messages", null, h("button", { class: "button", type: "button", on: { click: () => poll.now() } }, "Ask again")),
          h(
            "section",
            { class: "panel", key: "messages", "aria-label": "Messages that match" },
            h("header", null, searchForm(input, poll.problem, search), h("div", { class: "buttons" }, QUICK.map(([label, word]) => h("button", { class: "button little", type: "button", "aria-pressed": String(q === word), on: { click: () => search(q === word ? "" : word) } }, label))), filterHelp(take)),
            poll.problem ? h("div", { class: "empty", key: "none" }, empty("Nothing was searched.", "See what is wrong above.")) : poll.value ? found(page, poll.value, { q, after, picked, toggle }) : loading(),
            page.isOperator && poll.value?.items.length > 0 && !poll.problem && bulkBar(picked, q, act),
          ),
        ];
      },
    };
  },
};

function searchForm(input, problem, search) {
  const submitted = (event) => {
    event.preventDefault();
    search(input.value.trim());
  };
  if (problem) input.setAttribute("aria-invalid", "true");
  else input.removeAttribute("aria-invalid");
  input.setAttribute("aria-describedby", "q-wrong");
  return h(
    "form",
    { role: "search", class: "search", on: { submit: submitted } },
    h(
      "div",
      { class: "row" },
      h("div", { class: "field grow" }, h("label", { for: "q" }, "Filter"), kept(input)),
      h("button", { class: "button main-one", type: "submit" }, "Search"),
    ),
    h("div", { id: "q-wrong", role: "alert" }, problem && [h("p", { class: "critical" }, problem.message), problem.expected && h("p", { class: "small quiet" }, `Expected: ${problem.expected}`), problem.remedy && h("p", { class: "small quiet" }, problem.remedy)]),
  );
}

function found(page, { items, next, absent }, { q, after, picked, toggle }) {
  const now = page.feed.overview?.at ?? Date.now() / 1000;
  return [
    table({
      isWide: true,
      caption: "Messages that match",
      rows: items,
      key: (row) => row.id,
      pick: page.isOperator ? { picked, toggle, label: (row) => `Select ${row.id}` } : null,
      empty: q || after ? empty("No message matches.", h("a", { href: to("messages") }, "Show all messages")) : empty("No message waits.", "Mail that is delivered is gone from the queues; the event log knows of it."),
      columns: [
        { label: "Id", isHead: true, cell: (row) => [h("a", { class: "mono", href: to("message", {}, row.id) }, row.id), h("span", { class: "under" }, `queue${row.queue}, ${format.size(row.size_octets)}`)] },
        { label: "State", cell: (row) => state(row.state) },
        { label: "Age", num: true, cell: (row) => h("span", { title: format.moment(row.arrived_at, { full: true }) }, format.span(Math.max(0, now - row.arrived_at))) },
        { label: "Sender", wide: true, cell: (row) => address(row.sender) },
        { label: "Recipients", wide: true, cell: (row) => recipients(row) },
        { label: "Next try", cell: (row) => [nextTry(row, now), h("span", { class: "under" }, format.count(Math.max(0, ...row.recipients.map((one) => one.attempts)), "try", "tries"))] },
        { label: "Last reply", wide: true, cell: (row) => row.hold || lastReply(row) },
      ],
    }),
    items.length > 0 &&
      h(
        "nav",
        { class: "table-foot", "aria-label": "Parts of the listing" },
        h("span", null, `${format.count(items.length, "message")}${after || next ? " of more" : ""}`),
        absent?.length > 0 && h("span", { class: "warning" }, `Not asked, because they do not answer: ${absent.map((one) => `queue${one}`).join(", ")}`),
        after && h("a", { class: "button little", href: to("messages", { q }) }, "First part"),
        next && h("a", { class: "button little", href: to("messages", { q, after: next }) }, "Next part"),
      ),
  ];
}

function recipients(row) {
  const waiting = row.recipients.filter((one) => one.state === "waiting");
  const [first] = waiting.length ? waiting : row.recipients;
  const more = (waiting.length ? row.live : row.total) - 1;
  return [first ? address(first.address) : "–", more > 0 && h("span", { class: "under" }, `and ${format.number(more)} more`)];
}

function nextTry(row, now) {
  if (row.hold) return "when released";
  const due = Math.min(...row.recipients.filter((one) => one.state === "waiting").map((one) => one.due_at));
  if (!Number.isFinite(due)) return "–";
  return due <= now ? "due" : format.distance(due, now);
}

function lastReply(row) {
  const said = row.recipients.find((one) => one.reply);
  return said && h("span", { class: "mono small" }, said.reply);
}

function bulkBar(picked, q, act) {
  const which = picked.size ? `${format.count(picked.size, "message")} picked` : q && q !== "all" ? "All that match" : "All messages";
  return h(
    "div",
    { class: "bulk", role: "group", "aria-label": "Do something to them", key: "bulk" },
    h("strong", { role: "status" }, which),
    h("div", { class: "buttons" }, VERBS.map((verb) => h("button", { class: `button little ${verb.isHarm ? "harm" : ""}`, type: "button", on: { click: () => act(verb) } }, `${verb.label} …`))),
    h("span", { class: "small quiet" }, "Each is counted and confirmed first."),
  );
}
