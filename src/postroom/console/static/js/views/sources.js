// Sources: the addresses that mail departs from, their warm-up, and what is paused.
import { ask } from "../dialog.js";
import { h } from "../dom.js";
import * as format from "../format.js";
import { acts, empty, field, pageHead, panel, state } from "../parts.js";
import { table } from "../table.js";
import { loading } from "./overview.js";

export const sourcesView = {
  open(page) {
    return {
      title: "Sources",
      render() {
        const { overview } = page.feed;
        const head = pageHead("Sources", "A source is an address of ours that mail departs from. A pause is as a whole, or towards one site.");
        if (overview === null) return [head, loading()];
        return [head, list(page, overview)];
      },
    };
  },
};

function list(page, overview) {
  return panel(
    "Sources",
    table({
      isWide: true,
      caption: "Sources with limits, warm-up and pauses",
      rows: overview.sources,
      key: (row) => row.name,
      empty: empty("No source is configured.", "Mail departs from the address that the system chooses. Sources are set in the configuration: [source.NAME]"),
      columns: [
        { label: "Source", isHead: true, cell: (row) => [row.name, h("span", { class: "under" }, row.status.address.join(", "))] },
        { label: "State", cell: (row) => state(row.status.state) },
        { label: "In flight", num: true, cell: (row) => `${format.number(row.in_flight)}${row.status.concurrency === null ? "" : ` / ${format.number(row.status.concurrency)}`}` },
        { label: "Weight", num: true, cell: (row) => format.number(row.status.weight) },
        { label: "Rate", cell: (row) => row.status.rate },
        { label: "Channels", wide: true, cell: (row) => row.status.channels.join(", ") },
        { label: "Warm-up", cell: (row) => warmup(row.status.warmup) },
        { label: "Pauses", wide: true, cell: (row) => row.status.pauses.map((one) => pause(page, row.name, one)) },
        page.isOperator && { label: "", cell: (row) => row.status.state !== "gone" && h("div", { class: "buttons" }, acts("Pause", { name: `Pause source ${row.name}`, run: () => askPause(page, row.name), said: `Source ${row.name} is paused`, after: page.refresh })) },
      ].filter(Boolean),
    }),
  );
}

function warmup(plan) {
  if (!plan) return "";
  const per = plan.per_day === null ? "without bound" : `${format.number(plan.per_day)} a day to each site`;
  return [`${plan.plan}, day ${plan.day} of ${plan.days}`, h("span", { class: "under" }, per)];
}

function pause(page, name, one) {
  const words = [one.site ? `towards ${one.site}` : "as a whole", one.reason].filter(Boolean).join(": ");
  return h(
    "div",
    { key: one.site },
    words,
    h("span", { class: "under" }, one.until ? ["until ", format.time(one.until)] : "until it is resumed"),
    page.isOperator && acts("Resume", { name: `Resume source ${name}${one.site ? ` towards ${one.site}` : ""}`, run: async () => (await page.server.resumeSource(name, one.site)) ?? null, said: `Source ${name} is resumed`, after: page.refresh }),
  );
}

function askPause(page, name) {
  const [site, hours, reason] = ["text", "number", "text"].map((type) => h("input", { type }));
  hours.min = "0";
  hours.step = "any";
  site.setAttribute("data-first", "");
  return ask({
    title: `Pause source ${name}?`,
    body: () => [
      h("p", null, "Mail that may depart from another source goes from there; other mail waits."),
      field({ id: "pause-site", label: "Towards one site only", help: "Leave it empty to pause the source as a whole.", input: site }),
      field({ id: "pause-hours", label: "For how many hours", help: "Leave it empty: until it is resumed.", input: hours }),
      field({ id: "pause-reason", label: "Why", help: "Shown to others, and written to the log.", input: reason }),
    ],
    yes: `Pause ${name}`,
    run: () => page.server.pauseSource(name, { site: site.value.trim(), for_s: 3600 * (Number(hours.value) || 0), reason: reason.value.trim() }),
  });
}
