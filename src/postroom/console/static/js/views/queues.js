// Queues and disks: the state of each queue, its load, what it has, the room on its disks.
import { ask } from "../dialog.js";
import { h } from "../dom.js";
import * as format from "../format.js";
import { acts, empty, meter, pageHead, panel, spark } from "../parts.js";
import { table } from "../table.js";
import { loading, queueState } from "./overview.js";

const VERBS = [
  ["enable", "Enable", "takes mail and delivers it", ["held", "draining", "offline"]],
  ["hold", "Hold", "takes mail and attempts nothing", ["enabled", "draining"]],
  ["drain", "Drain", "takes nothing new, and what waits moves to other queues", ["enabled", "held"]],
  ["offline", "Take offline", "is closed, and stays closed; mail in it waits", ["enabled", "held", "draining"]],
];
const DONE = { enable: "enabled", hold: "held", drain: "draining", offline: "offline" };

export const queuesView = {
  open(page) {
    return {
      title: "Queues and disks",
      render() {
        const { overview, rates } = page.feed;
        const head = pageHead("Queues and disks", "A queue is one spool directory with its own worker. Their load decides how many there are.", page.isOperator && overview && delivery(page, overview));
        if (overview === null) return [head, loading()];
        return [head, scaling(overview), list(page, overview, rates)];
      },
    };
  },
};

function delivery(page, overview) {
  const isOff = overview.delivery === "suspended";
  return isOff
    ? acts("Resume delivery", { isLittle: false, run: async () => (await page.server.delivery("resume")) ?? null, said: "Delivery is resumed", after: page.refresh })
    : h("button", { class: "button", type: "button", on: { click: () => suspend(page) } }, "Suspend delivery");
}

async function suspend(page) {
  await ask({
    title: "Suspend delivery in all queues?",
    body: () => h("p", null, "Mail is taken and kept as before, and none is tried until delivery is resumed, also over a restart."),
    yes: "Suspend delivery",
    run: () => page.server.delivery("suspend"),
  });
  await page.refresh();
}

function scaling(overview) {
  const facts = [
    ["Queues", `${overview.queues.length}`],
    ["As configured", `${overview.queues_count} to ${overview.queues_max}`],
    ["More are made above load", overview.is_growing ? format.percent(overview.load_mark) : "never: their number is fixed"],
    ["Delivery", overview.delivery],
  ];
  return h("section", { class: "panel", key: "scaling", "aria-label": "Scaling" }, h("dl", { class: "facts body" }, facts.map(([name, value]) => h("div", null, h("dt", null, name), h("dd", null, value)))));
}

function list(page, overview, rates) {
  return panel(
    "Queues",
    table({
      isWide: true,
      caption: "Queues with state, load, mail and room",
      rows: overview.queues,
      key: (row) => row.queue,
      empty: empty("There is no queue.", "Make one: postroom queue add"),
      columns: [
        { label: "Queue", isHead: true, cell: (row) => [`queue${row.queue}`, row.status.is_grown && h("span", { class: "under" }, "made by growth")] },
        { label: "State", cell: (row) => [queueState(row, overview), notes(row, overview)] },
        { label: "Load", num: true, cell: (row) => [format.percent(row.load), meter(row.load, 1, `load ${format.percent(row.load)}`), row.busiest && h("span", { class: "under" }, `by ${row.busiest}`)] },
        { label: "Messages", num: true, cell: (row) => [format.number(row.status.messages), h("span", { class: "under" }, format.size(row.status.octets))] },
        { label: "Waiting", num: true, cell: (row) => [format.number(row.stored.waiting), h("span", { class: "under" }, `${format.number(row.stored.deferred)} deferred`), row.stored.held > 0 && h("span", { class: "under" }, `${format.number(row.stored.held)} held`)] },
        { label: "In flight", num: true, cell: (row) => `${format.number(row.status.in_flight)} / ${format.number(row.status.concurrency)}` },
        { label: "Out/s", num: true, cell: (row) => [format.rate(rates.of("queue", row.queue).out), spark(rates.series("queue", row.queue).map((one) => one.out), "out, the last minutes", true)] },
        { label: "Room", num: true, cell: (row) => (row.status.pid ? format.size(row.status.room) : "–") },
        page.isOperator && { label: "", cell: (row) => h("div", { class: "buttons" }, VERBS.filter(([, , , from]) => from.includes(row.status.queue_state)).map((verb) => button(page, row, verb))) },
      ].filter(Boolean),
    }),
  );
}

function notes({ status }, overview) {
  const said = status.detail || status.error;
  const again = status.starts_at > overview.at ? `; starts again ${format.distance(status.starts_at, overview.at)}` : "";
  const restarts = status.restarts ? format.count(status.restarts, "restart") : "";
  return [said && h("span", { class: "under" }, said + again), restarts && h("span", { class: "under" }, restarts)];
}

function button(page, row, [verb, label, means]) {
  const name = `queue${row.queue}`;
  const said = `${name} is ${DONE[verb]}`;
  const run = async () => (await page.server.queue(row.queue, verb)) ?? null;
  if (verb === "enable") return acts(label, { name: `${label} ${name}`, run, said, after: page.refresh });
  const sure = async () =>
    ask({
      title: `${label}: ${name}?`,
      body: () => [h("p", null, `${name} ${means}.`), h("p", { class: "quiet" }, `It has ${format.count(row.status.messages, "message")}. This holds over restarts, until it is enabled again.`)],
      yes: `${label} ${name}`,
      run,
    });
  return acts(label, { name: `${label} ${name}`, run: sure, said, after: page.refresh });
}
