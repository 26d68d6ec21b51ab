// A forecast: how long the mail of a channel takes to drain, as it is and with other limits.
import { h } from "../dom.js";
import * as format from "../format.js";
import { table } from "../table.js";

export function forecastTable(cases) {
  const [first] = cases;
  if (!first.waiting) return h("p", { class: "quiet" }, "Nothing waits in this channel: there is nothing to reckon.", later(first));
  return [
    table({
      caption: "How long what waits takes to drain",
      rows: cases,
      key: (row) => row.case,
      empty: "",
      columns: [
        { label: "Case", isHead: true, cell: (row) => row.case.charAt(0).toUpperCase() + row.case.slice(1) },
        { label: "Channel", cell: (row) => limits(row.concurrency, row.rate) },
        { label: "Each site", cell: (row) => limits(row["per_site.concurrency"], row["per_site.rate"]) },
        { label: "Drained in", num: true, cell: (row) => h("strong", null, row.drain_s === null ? "never" : format.span(row.drain_s)) },
        { label: "Recipients/s", num: true, cell: (row) => (row.drain_s ? format.rate(row.waiting / row.drain_s) : "–") },
        { label: "What binds", wide: true, cell: (row) => row.bounds.length > 0 && h("span", { class: "small" }, `${row.bounds[0].of}: ${row.bounds[0].why}`) },
      ],
    }),
    h("p", { class: "small quiet" }, `${format.count(first.waiting, "recipient")} at ${format.count(first.sites, "site")}.`, later(first), first.record.attempts ? ` On record: ${format.count(first.record.attempts, "attempt")} of ${first.record.seconds.toFixed(3)} s.` : ""),
  ];
}

function later({ deferred, held }) {
  const parts = [deferred && `${format.number(deferred)} more are deferred`, held && `${format.number(held)} more are held`].filter(Boolean);
  return parts.length ? ` ${parts.join(", ")}.` : "";
}

function limits(slots, rate) {
  const words = [slots !== null && `${format.number(slots)} at once`, rate].filter(Boolean);
  return words.join(", ") || "no limit";
}
