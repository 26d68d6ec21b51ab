// The overview: what is stuck, why, and what can be done; then how fast mail goes, what waits, and
// how the queues are.
import { h } from "../dom.js";
import * as format from "../format.js";
import { command, empty, meter, pageHead, panel, spark, stacked, state, tag } from "../parts.js";
import { remedy } from "../remedies.js";
import { to } from "../router.js";
import { table } from "../table.js";

export const PARTS = ["waiting", "deferred", "scheduled", "held", "quarantined"];
const SITES_SHOWN = 6;

export const overviewView = {
  open(page) {
    return {
      title: "Overview",
      render() {
        const { overview, rates } = page.feed;
        if (overview === null) return [pageHead("Overview"), loading()];
        return [
          pageHead("Overview", serverLine(overview)),
          troubles(page, overview),
          figures(overview, rates),
          backlog(overview),
          h("div", { class: "grid", key: "grid" }, channels(overview, rates), sites(overview)),
          queues(overview, rates),
        ];
      },
    };
  },
};

export function loading() {
  return h("section", { class: "panel", key: "loading" }, h("div", { class: "empty" }, "Asking the server …"));
}

function serverLine(overview) {
  const up = format.span(Math.max(0, overview.at - overview.started_at));
  return [`Postroom ${overview.version} on ${overview.hostname}, up ${up}; as of `, format.time(overview.at), "."];
}

function troubles(page, { troubles: found }) {
  if (!found.length) {
    return panel("Nothing is stuck", h("div", { class: "calm" }, tick(), h("p", null, "Mail goes out as it comes in, or waits for the time it was told to wait for.")), { key: "troubles" });
  }
  const bad = found.filter((one) => one.severity !== "notice").length;
  const title = bad ? `${format.count(bad, "thing")} ${bad === 1 ? "is" : "are"} stuck` : "Nothing is stuck";
  const more = found.length - bad;
  const note = more ? `${bad ? "and " : ""}${format.count(more, "thing")} worth knowing` : "";
  return panel(title, h("ul", { class: "troubles" }, found.map((one) => trouble(page, one))), { key: "troubles", note });
}

const SEVERITIES = { critical: "Critical", warning: "Warning", notice: "Notice" };

function trouble(page, one) {
  const name = one.kind === "queue" || one.kind === "server" || one.kind === "mail" ? one.name || "The server" : `${one.kind} ${one.name}`;
  return h(
    "li",
    { key: `${one.kind} ${one.name} ${one.command}` },
    h("div", null, tag(SEVERITIES[one.severity] ?? one.severity, one.severity)),
    h(
      "div",
      null,
      h("h3", { class: "what" }, name.charAt(0).toUpperCase() + name.slice(1)),
      h("p", { class: "reason" }, reasonOf(one)),
      one.command && h("div", { class: "help" }, command(one.command)),
    ),
    h(
      "div",
      { class: "side-of" },
      one.mail > 0 && h("span", { class: "nowrap" }, format.count(one.mail, "recipient"), h("span", { class: "quiet" }, " wait")),
      one.command && remedy(page, one),
    ),
  );
}

// The command stands below; what only names it again is left out.
function reasonOf({ reason, command: told }) {
  const text = told && reason.endsWith(`: ${told}`) ? reason.slice(0, -told.length - 2) : reason;
  return text.charAt(0).toUpperCase() + text.slice(1);
}

function figures(overview, rates) {
  const series = rates.series("server");
  const now = rates.of("server");
  const sum = (read) => overview.queues.reduce((total, one) => total + read(one), 0);
  const oldest = Math.max(0, ...overview.queues.map((one) => one.oldest_s));
  const isKnown = series.length > 0;
  return h(
    "section",
    { class: "figures", key: "figures", "aria-label": "Rates" },
    figure("Accepted", isKnown ? format.rate(now.into) : "–", "messages/s", series.map((one) => one.into)),
    figure("Out", isKnown ? format.rate(now.out) : "–", "recipients/s", series.map((one) => one.out)),
    figure("Put off", isKnown ? format.rate(now.deferred) : "–", "recipients/s", series.map((one) => one.deferred)),
    figure("In flight", format.number(sum((one) => one.status.in_flight)), "attempts"),
    figure("Longest wait", oldest ? format.span(oldest) : "–", "for its turn"),
  );
}

function figure(name, value, unit, series) {
  return h(
    "div",
    { class: "figure" },
    h("h2", { class: "name" }, name, " ", h("small", null, unit)),
    h("p", { class: "value" }, value),
    series && spark(series, `${name}, the last minutes: now ${value} ${unit}`),
  );
}

/** Add up what is stored; what is quarantined is a part of what is held. */
export function partsOf(stored) {
  return PARTS.map((name) => [name, name === "held" ? stored.held - stored.quarantined : stored[name]]);
}

function backlog(overview) {
  const whole = { waiting: 0, deferred: 0, scheduled: 0, held: 0, quarantined: 0 };
  for (const { stored } of overview.queues) for (const name of PARTS) whole[name] += stored[name];
  const parts = partsOf(whole);
  const total = parts.reduce((sum, [, value]) => sum + value, 0);
  const words = parts.map(([name, value]) => `${format.number(value)} ${name}`).join(", ");
  return panel(
    "Backlog",
    h(
      "div",
      { class: "body" },
      stacked(parts, `Recipients that wait: ${words}`),
      h(
        "ul",
        { class: "parts" },
        parts.map(([name, value]) =>
          h("li", null, h("i", { class: name, "aria-hidden": "true" }), h("a", { href: to("messages", { q: `state=${name}` }) }, name), h("b", null, format.number(value))),
        ),
      ),
    ),
    { key: "backlog", note: format.count(total, "recipient") },
  );
}

function channels(overview, rates) {
  const rows = [...overview.channels].sort((a, b) => backlogOf(b) - backlogOf(a) || b.in_flight - a.in_flight).slice(0, SITES_SHOWN);
  return panel(
    "Channels",
    table({
      caption: "The channels with the most mail",
      rows,
      key: (row) => row.name,
      empty: empty("There is no channel."),
      columns: [
        { label: "Channel", isHead: true, cell: (row) => h("a", { href: to("channel", {}, row.name) }, row.name) },
        { label: "State", cell: (row) => state(row.state) },
        { label: "In flight", num: true, cell: (row) => [`${format.number(row.in_flight)} / ${format.number(row.limit)}`, meter(row.in_flight, row.limit, `${row.in_flight} of ${row.limit} in flight`)] },
        { label: "Waiting", num: true, cell: (row) => format.number(backlogOf(row)) },
        { label: "Out/s", num: true, cell: (row) => format.rate(rates.of("channel", row.name).out) },
      ],
    }),
    { more: h("a", { href: to("channels") }, "All channels"), key: "channels" },
  );
}

function backlogOf({ stored }) {
  return stored.waiting + stored.deferred + stored.scheduled + stored.held;
}

function sites(overview) {
  return panel(
    "Sites",
    table({
      caption: "The sites that are worst off",
      rows: overview.sites.slice(0, SITES_SHOWN),
      key: (row) => `${row.channel} ${row.site}`,
      empty: empty("No site has mail.", "Nothing is being delivered now."),
      columns: [
        { label: "Site", isHead: true, cell: (row) => [h("a", { href: to("sites", { text: row.site }) }, row.site), (row.reply || row.binds) && h("span", { class: "under" }, row.reply || row.binds)] },
        { label: "State", cell: (row) => state(row.state) },
        { label: "Waiting", num: true, cell: (row) => format.number(Math.max(row.recipients, row.ready)) },
      ],
    }),
    { more: h("a", { href: to("sites") }, `All ${format.number(overview.sites_total)}`), key: "sites" },
  );
}

function queues(overview, rates) {
  return panel(
    "Queues",
    table({
      caption: "The queues: state, load and room",
      rows: overview.queues,
      key: (row) => row.queue,
      empty: empty("There is no queue."),
      columns: [
        { label: "Queue", isHead: true, cell: (row) => h("a", { href: to("queues") }, `queue${row.queue}`) },
        { label: "State", cell: (row) => queueState(row, overview) },
        { label: "Load", num: true, cell: (row) => [format.percent(row.load), meter(row.load, 1, `load ${format.percent(row.load)}`)] },
        { label: "Messages", num: true, cell: (row) => format.number(row.status.messages) },
        { label: "In flight", num: true, cell: (row) => format.number(row.status.in_flight) },
        { label: "Out/s", num: true, cell: (row) => format.rate(rates.of("queue", row.queue).out) },
        { label: "Room", num: true, cell: (row) => format.size(row.status.room) },
      ],
    }),
    { more: h("a", { href: to("queues") }, "Queues and disks"), key: "queues" },
  );
}

/** A queue is in the state that an operator gave it, unless its worker is in trouble. */
export function queueState(row, overview) {
  const { status } = row;
  if (overview.silent.includes(row.queue)) return state("silent", "no answer");
  if (status.queue_state !== "enabled") return state(status.queue_state);
  return state(status.state);
}

function tick() {
  return h("svg", { viewBox: "0 0 24 24", fill: "none", stroke: "currentColor", "stroke-width": 2.5, "aria-hidden": "true" }, h("path", { d: "M5 12.5l4.5 4.5L19 7.5" }));
}
