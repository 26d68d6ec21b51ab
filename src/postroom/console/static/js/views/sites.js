// Sites: the bounded list of those worst off, or first by another order; what each is about.
import { wrong } from "../dialog.js";
import { h } from "../dom.js";
import * as format from "../format.js";
import { acts, empty, meter, pageHead, panel, state } from "../parts.js";
import { Poll } from "../poll.js";
import { change, to } from "../router.js";
import { table } from "../table.js";
import { loading } from "./overview.js";

const SHOWN = 100;
const ORDERS = [
  ["trouble", "Worst off first"],
  ["backlog", "Most mail first"],
  ["flight", "Most in flight first"],
  ["oldest", "Longest wait first"],
  ["done", "Most done first"],
];
const TYPING_MS = 300;

export const sitesView = {
  open(page) {
    let where = page.where;
    const asked = () => ({
      order: where.query.get("order") ?? "trouble",
      text: where.query.get("text") ?? "",
      channel: where.query.get("channel") ?? "",
    });
    const poll = new Poll(
      (signal) => page.server.sites({ ...asked(), limit: SHOWN }, signal),
      page.redraw,
      3_000,
    );
    const after = () => Promise.all([poll.now(), page.refresh()]);
    return {
      title: "Sites",
      close: () => poll.close(),
      moved(to) {
        where = to;
        poll.now();
      },
      render() {
        return [
          pageHead("Sites", "A site is what limits apply to: domains that share one MX set, or a relay."),
          h("section", { class: "panel", key: "sites", "aria-label": "The sites" }, controls(page, asked()), poll.problem && wrong(poll.problem), poll.value ? list(page, poll.value, asked(), after) : loading()),
        ];
      },
    };
  },
};

let typing = 0;

function controls(page, { order, text, channel }) {
  const later = (event) => {
    clearTimeout(typing);
    const value = event.target.value;
    typing = setTimeout(() => change({ text: value }), TYPING_MS);
  };
  const names = (page.feed.overview?.channels ?? []).map((one) => one.name);
  if (channel && !names.includes(channel)) names.push(channel);
  return h(
    "header",
    null,
    h(
      "form",
      { class: "row grow", role: "search", on: { submit: (event) => event.preventDefault() } },
      h("div", { class: "field grow" }, h("label", { for: "text" }, "Name contains"), h("input", { id: "text", type: "search", value: text, placeholder: "site or channel", on: { input: later } })),
      h("div", { class: "field" }, h("label", { for: "channel" }, "Channel"), select("channel", channel, [["", "Any"], ...names.map((one) => [one, one])])),
      h("div", { class: "field" }, h("label", { for: "order" }, "Order"), select("order", order, ORDERS)),
    ),
  );
}

function select(id, value, options) {
  return h(
    "select",
    { id, value, on: { change: (event) => change({ [id]: event.target.value }) } },
    options.map(([name, label]) => h("option", { value: name, selected: name === value }, label)),
  );
}

function list(page, seen, { text, channel }, after) {
  const rows = seen.sites;
  const isAll = rows.length >= seen.total;
  return [
    table({
      isWide: true,
      caption: "Sites with mail, or with something known of them",
      rows,
      key: (row) => `${row.channel} ${row.site}`,
      empty:
        text || channel
          ? empty("No site matches.", h("a", { href: to("sites") }, "Show all sites"))
          : empty("No site has mail.", "Sites come here as soon as mail for them is tried."),
      columns: [
        { label: "Site", isHead: true, cell: (row) => [row.site, h("span", { class: "under" }, "channel ", h("a", { href: to("channel", {}, row.channel) }, row.channel))] },
        { label: "State", cell: (row) => [state(row.state), row.next_at > 0 && h("span", { class: "under" }, "until ", format.time(row.next_at))] },
        { label: "In flight", num: true, cell: (row) => [`${format.number(row.in_flight)} / ${row.limit === null ? "∞" : format.number(row.limit)}`, row.limit !== null && meter(row.in_flight, row.limit, `${row.in_flight} of ${row.limit} in flight`), h("span", { class: "under" }, `window ${format.number(row.window)}`)] },
        { label: "Waiting", num: true, cell: (row) => h("a", { href: to("messages", { q: `site=${quoted(row.site)}` }) }, format.number(Math.max(row.recipients, row.ready))) },
        { label: "Oldest", num: true, cell: (row) => (row.oldest_s ? format.span(row.oldest_s) : "–") },
        { label: "Done", num: true, cell: (row) => [format.number(row.done.delivered), h("span", { class: "under" }, `${format.number(row.done.deferred)} put off, ${format.number(row.done.failed)} failed`)] },
        { label: "What it says", wide: true, cell: (row) => reasons(row, seen.at) },
        page.isOperator && { label: "", cell: (row) => buttons(page, row, after) },
      ].filter(Boolean),
    }),
    h("div", { class: "table-foot" }, isAll ? format.count(rows.length, "site") : `The first ${format.number(rows.length)} of ${format.count(seen.total, "site")}; to find others, filter by name or channel.`),
  ];
}

// A value that the filter language would read otherwise stands in quotes.
function quoted(value) {
  return /^[\w.:-]+$/.test(value) ? value : `"${value.replace(/(["\\])/g, "\\$1")}"`;
}

function reasons(row, now) {
  const said = row.reply || row.error?.reply;
  const down = row.hosts.filter((one) => one.state !== "closed");
  return [
    row.binds && h("div", null, row.binds),
    said && h("div", { class: "small" }, h("span", { class: "mono" }, said), row.error && h("span", { class: "quiet" }, ` ${row.error.host} ${format.distance(row.error.at, now)}`)),
    row.lessons.map((lesson) =>
      h("div", { class: "small" }, h("span", { class: "quiet" }, "Lesson "), `${lesson.action} by rule ${lesson.rule} until `, format.time(lesson.until)),
    ),
    down.length > 0 &&
      h(
        "details",
        null,
        h("summary", { class: "small" }, format.count(down.length, "host"), " in trouble"),
        h("ul", { class: "small" }, down.map((one) => h("li", null, state(one.state), " ", one.host, one.error && h("span", { class: "quiet" }, ` ${one.error}`)))),
      ),
  ].filter(Boolean);
}

function buttons(page, row, after) {
  const shown = [];
  if (row.state === "resting" || row.hosts.some((one) => one.state === "open")) {
    shown.push(acts("Try now", { name: `Try ${row.site} now`, run: async () => (await page.server.purgeSite(row.site)) ?? null, said: `${row.site} is tried now`, after }));
  }
  if (row.lessons.length) {
    shown.push(acts("Forget lessons", { name: `Forget the lessons about ${row.site}`, run: async () => (await page.server.liftLessons(row.site)) ?? null, said: `What replies said of ${row.site} is forgotten`, after }));
  }
  return shown.length ? h("div", { class: "buttons" }, shown) : null;
}
