// Channels: what each uses of its limits, how fast it is, what waits; suspend and resume.
import { h } from "../dom.js";
import * as format from "../format.js";
import { acts, empty, meter, pageHead, panel, spark, state } from "../parts.js";
import { change, to } from "../router.js";
import { orderOf, pressed, sorted, table } from "../table.js";
import { loading } from "./overview.js";

export const channelsView = {
  open(page) {
    let where = page.where;
    return {
      title: "Channels",
      moved(to) {
        where = to;
      },
      render() {
        const { overview, rates } = page.feed;
        const head = pageHead("Channels", "A channel is an operator's policy for a set of destination domains.");
        if (overview === null) return [head, loading()];
        const sort = orderOf(where.query.get("sort"), "-waiting");
        const columns = columnsOf(page, rates);
        return [
          head,
          panel(
            "Channels over all queues",
            table({
              isWide: true,
              caption: "Channels with their limits, rates and mail",
              columns,
              rows: sorted(overview.channels, columns, sort),
              key: (row) => row.name,
              sort,
              onSort: (name) => change({ sort: pressed(name, sort, name === "name" || name === "state") }),
              empty: empty("There is no channel.", "Every configuration has the channel default: ask again."),
            }),
            { note: format.count(overview.channels.length, "channel") },
          ),
        ];
      },
    };
  },
};

function columnsOf(page, rates) {
  const waiting = ({ stored }) => stored.waiting;
  return [
    { name: "name", label: "Channel", isHead: true, sorts: (row) => row.name, cell: (row) => [h("a", { href: to("channel", {}, row.name) }, row.name), row.route && h("span", { class: "under" }, `route ${row.route}`)] },
    { name: "state", label: "State", sorts: (row) => row.state, wide: true, cell: (row) => [state(row.state), (row.reason || row.binds) && h("span", { class: "under" }, row.reason || row.binds)] },
    { name: "flight", label: "In flight", num: true, sorts: (row) => row.in_flight, cell: (row) => [`${format.number(row.in_flight)} / ${format.number(row.limit)}`, meter(row.in_flight, row.limit, `${row.in_flight} of ${row.limit} in flight`)] },
    { name: "waiting", label: "Waiting", num: true, sorts: waiting, cell: (row) => format.number(waiting(row)) },
    { name: "deferred", label: "Deferred", num: true, sorts: (row) => row.stored.deferred, cell: (row) => format.number(row.stored.deferred) },
    { name: "held", label: "Held", num: true, sorts: (row) => row.stored.held, cell: (row) => format.number(row.stored.held) },
    { name: "oldest", label: "Oldest", num: true, sorts: (row) => row.oldest_s, cell: (row) => (row.oldest_s ? format.span(row.oldest_s) : "–") },
    { name: "out", label: "Out/s", num: true, sorts: (row) => rates.of("channel", row.name).out, cell: (row) => [format.rate(rates.of("channel", row.name).out), spark(rates.series("channel", row.name).map((one) => one.out), "out, the last minutes", true)] },
    page.isOperator && { label: "", cell: (row) => h("div", { class: "buttons" }, turn(page, row), h("a", { class: "button little", href: to("channel", {}, row.name) }, "Limits")) },
  ].filter(Boolean);
}

/** The button that suspends a channel, or resumes it. */
export function turn(page, row) {
  if (row.state === "gone") return null;
  const verb = row.state === "suspended" ? "resume" : "suspend";
  return acts(verb === "resume" ? "Resume" : "Suspend", {
    name: `${verb === "resume" ? "Resume" : "Suspend"} channel ${row.name}`,
    run: async () => (await page.server.channel(row.name, verb)) ?? null,
    said: `Channel ${row.name} is ${verb}${verb === "resume" ? "d" : "ed"}`,
    after: page.refresh,
  });
}
