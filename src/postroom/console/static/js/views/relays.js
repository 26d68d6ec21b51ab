// Relays of routes, and hosts that are down: states of their breakers, shares of the mail.
import { h } from "../dom.js";
import * as format from "../format.js";
import { acts, empty, pageHead, panel, state } from "../parts.js";
import { table } from "../table.js";
import { loading } from "./overview.js";

const WORDS = { closed: "works", open: "down", "half-open": "being tried", ramp: "spared" };

export const relaysView = {
  open(page) {
    return {
      title: "Relays and hosts",
      render() {
        const { overview } = page.feed;
        const head = pageHead("Relays and hosts", "Hosts that are down are passed over and probed now and then; Try now forgets that one is down.");
        if (overview === null) return [head, loading()];
        const routes = new Map();
        for (const host of overview.hosts) {
          if (!routes.has(host.route)) routes.set(host.route, []);
          routes.get(host.route).push(host);
        }
        if (!routes.size) return [head, h("section", { class: "panel" }, h("div", { class: "empty" }, empty("No route has relays, and no host is down.", "Relays are set in the configuration: [route.NAME] type = \"relay\"")))];
        return [head, [...routes].map(([route, hosts]) => pool(page, overview, route, hosts))];
      },
    };
  },
};

function pool(page, overview, route, hosts) {
  const rows = [...hosts].sort((a, b) => a.tier - b.tier || b.weight - a.weight);
  const title = route ? `Route ${route}` : "Other hosts that are down";
  return panel(
    title,
    table({
      isWide: true,
      caption: title,
      rows,
      key: (row) => row.host,
      empty: empty("No hosts."),
      columns: [
        { label: "Host", isHead: true, cell: (row) => [row.host, route && h("span", { class: "under" }, `tier ${row.tier}, weight ${row.weight}`)] },
        { label: "Breaker", cell: (row) => [state(row.state, WORDS[row.state] ?? row.state), row.since > 0 && row.state !== "closed" && h("span", { class: "under" }, "since ", format.time(row.since)), row.next_at > overview.at && h("span", { class: "under" }, "next probe ", format.distance(row.next_at, overview.at))] },
        route && { label: "Share", num: true, cell: (row) => [format.percent(row.real), h("span", { class: "under" }, `of ${format.percent(row.share)} meant`)] },
        { label: "Delivered", num: true, cell: (row) => [format.number(row.delivered), h("span", { class: "under" }, `${format.number(row.deferred)} put off, ${format.number(row.failed)} failed`)] },
        { label: "Connections", num: true, cell: (row) => format.number(row.connections) },
        { label: "Last error", wide: true, cell: (row) => row.error && h("span", { class: "mono small" }, row.error) },
        page.isOperator && { label: "", cell: (row) => (row.state === "open" || row.state === "half-open" ? h("div", { class: "buttons" }, acts("Try now", { name: `Try ${row.host} now`, run: async () => (await page.server.purgeRelay(row.host)) ?? null, said: `${row.host} is tried now`, after: page.refresh })) : null) },
      ].filter(Boolean),
    }),
    { note: rows[0].policy, key: `route ${route}` },
  );
}
