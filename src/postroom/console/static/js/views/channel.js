// One channel: what it uses of its limits, the limits themselves with a forecast before they are
// changed, and what waits.
import { ask, wrong } from "../dialog.js";
import { h } from "../dom.js";
import * as format from "../format.js";
import { done } from "../notices.js";
import { empty, field, meter, pageHead, panel, state } from "../parts.js";
import { Poll } from "../poll.js";
import { to } from "../router.js";
import { table } from "../table.js";
import { turn } from "./channels.js";
import { forecastTable } from "./forecast.js";
import { loading, partsOf } from "./overview.js";

const SLOTS = [
  ["concurrency", "Connections of the channel", "At once, over all queues. 0 holds it."],
  ["per_site.concurrency", "Connections to each site", "At once, over all queues. 0 holds it."],
];
const RATES = [
  ["rate", "Rate of the channel", "As in 1000/1m, or none. Only tried out here: rates are set in the configuration."],
  ["per_site.rate", "Rate of each site", "As in 600/1m, or none. Only tried out here."],
];

export const channelView = {
  open(page) {
    const name = page.where.parts[0] ?? "";
    const poll = new Poll(async (signal) => {
      const { items } = await page.server.channels(signal);
      return items.find((one) => one.channel.name === name)?.channel ?? null;
    }, page.redraw, 10_000);
    const form = limitsForm(page, name, poll);
    return {
      title: `Channel ${name}`,
      close: () => poll.close(),
      render() {
        const { overview } = page.feed;
        const head = (more, actions) => pageHead(`Channel ${name}`, more, actions);
        if (overview === null) return [head(), loading()];
        const row = overview.channels.find((one) => one.name === name);
        if (!row) return [head(), h("section", { class: "panel" }, h("div", { class: "empty" }, empty("There is no such channel.", h("a", { href: to("channels") }, "See all channels"))))];
        return [
          head([state(row.state), " ", row.reason], page.isOperator && turn(page, row)),
          facts(row, poll.value),
          poll.problem && wrong(poll.problem),
          uses(row),
          form.render(poll.value),
        ];
      },
    };
  },
};

function facts(row, status) {
  const rules = status?.rules ?? [];
  const shown = [
    ["In flight", `${format.number(row.in_flight)} of ${format.number(row.limit)}`],
    ["Each site", `at most ${format.number(row.site_limit)}`],
    ["Sites with mail", h("a", { href: to("sites", { channel: row.name }) }, format.number(row.sites))],
    ...partsOf(row.stored).map(([name, value]) => [name.charAt(0).toUpperCase() + name.slice(1), h("a", { href: to("messages", { q: `channel=${row.name} state=${name}` }) }, format.number(value))]),
    ["Oldest that is due", row.oldest_s ? format.span(row.oldest_s) : "–"],
    ["Done", `${format.number(row.done.delivered)} delivered, ${format.number(row.done.deferred)} put off, ${format.number(row.done.failed)} failed`],
    row.binds && ["What binds", `${row.binds}${row.binds_site ? ` (${row.binds_site})` : ""}`],
    ["Route", row.route || "–"],
    rules.length > 0 && ["Mail it takes", rules.join(", ")],
    status?.origin && ["Set in", status.origin],
  ].filter(Boolean);
  return panel("State", h("dl", { class: "facts body" }, shown.map(([name, value]) => h("div", null, h("dt", null, name), h("dd", null, value)))), { key: "state" });
}

function uses(row) {
  return panel(
    "What it uses of the limits it is under",
    table({
      caption: "Limits over all queues, and what is used of them",
      rows: row.uses,
      key: (one) => one.of,
      empty: empty("No limit is in use.", "Figures come as soon as mail of this channel is tried."),
      columns: [
        { label: "Limit of", isHead: true, cell: (one) => one.of },
        { label: "In flight", num: true, cell: (one) => [`${format.number(one.in_flight)} / ${one.limit === null ? "∞" : format.number(one.limit)}`, one.limit !== null && meter(one.in_flight, one.limit, `${one.in_flight} of ${one.limit}`)] },
        { label: "Kept open", num: true, cell: (one) => format.number(one.kept) },
        { label: "Lent to queues", num: true, cell: (one) => format.number(one.granted) },
        { label: "Rate", cell: (one) => one.rate || "–" },
        { label: "Tokens left", num: true, cell: (one) => (one.rate ? format.number(one.tokens) : "–") },
      ],
    }),
    { key: "uses" },
  );
}

// The form. Nothing that is typed goes away when figures come.

function limitsForm(page, name, poll) {
  const inputs = Object.fromEntries(
    [...SLOTS, ...RATES].map(([key]) => [key, h("input", { type: "text", name: key, autocomplete: "off", spellcheck: "false", inputmode: key.endsWith("concurrency") ? "numeric" : "text", on: { input: () => page.redraw() } })]),
  );
  const attempt = h("input", { type: "text", inputmode: "decimal", autocomplete: "off" });
  let [cases, problem, isAsking, needsAttempt] = [null, null, false, false];

  const changes = () => Object.entries(inputs).map(([key, input]) => [key, input.value.trim()]).filter(([, value]) => value);
  const forecast = async (event) => {
    event?.preventDefault();
    [isAsking, problem] = [true, null];
    page.redraw();
    try {
      const words = changes().map(([key, value]) => `${key}=${value}`);
      cases = (await page.server.whatIf(name, words, attempt.value.trim())).items;
    } catch (error) {
      if (!error.status && error.name !== "Problem") throw error;
      [cases, problem] = [null, error];
      needsAttempt ||= error.field === "attempt_s";
    }
    isAsking = false;
    page.redraw();
  };
  const apply = async (limits) => {
    const words = Object.entries(limits).map(([key, value]) => `${labelOf(key)}: ${value === null ? "as the configuration says" : value}`);
    const result = await ask({
      title: `Change the limits of channel ${name}?`,
      body: () => [h("ul", null, words.map((word) => h("li", null, word))), h("p", { class: "quiet" }, "In force at once over all queues, and kept over restarts and reloads, until they are changed again.")],
      yes: "Change them",
      run: () => page.server.setChannel(name, limits),
    });
    if (result === undefined) return;
    done(`The limits of channel ${name} are changed`);
    for (const key of Object.keys(limits)) inputs[key].value = "";
    cases = null;
    await Promise.all([poll.now(), page.refresh()]);
  };
  const limitsNow = () => Object.fromEntries(changes().filter(([key]) => key.endsWith("concurrency")).map(([key, value]) => [key, Number(value)]));

  return {
    render(status) {
      const current = { concurrency: status?.concurrency, "per_site.concurrency": status?.site_concurrency };
      const set = SLOTS.filter(([key]) => overrideOf(status, key) !== null).map(([key]) => key);
      const asked = limitsNow();
      const isNumber = Object.values(asked).every((value) => Number.isInteger(value) && value >= 0);
      return panel(
        "Limits, and what if they were others",
        h(
          "form",
          { class: "body limits", on: { submit: forecast } },
          h("div", { class: "facts" }, [...SLOTS, ...RATES].map(([key, label, help]) => {
            inputs[key].placeholder = current[key] === undefined ? "as it is" : `now ${current[key]}`;
            const over = set.includes(key) ? ` The configuration says otherwise: ${overrideOf(status, key)} was set here.` : "";
            return field({ id: `limit-${key.replace(".", "-")}`, label, help: help + over, input: inputs[key] });
          })),
          needsAttempt && field({ id: "attempt", label: "Length of one attempt in seconds", help: "No attempt is on record yet: say how long one takes.", input: attempt }),
          h("div", { role: "alert" }, problem && wrong(problem)),
          h(
            "div",
            { class: "buttons" },
            h("button", { class: "button", type: "submit", disabled: isAsking }, isAsking ? "Reckoning …" : "Forecast"),
            page.isOperator && h("button", { class: "button main-one", type: "button", disabled: !Object.keys(asked).length || !isNumber, on: { click: () => apply(limitsNow()) } }, "Change the limits"),
            page.isOperator && set.length > 0 && h("button", { class: "button bare", type: "button", on: { click: () => apply(Object.fromEntries(set.map((key) => [key, null]))) } }, "Back to the configuration"),
          ),
          h("div", { role: "status" }, cases && forecastTable(cases)),
        ),
        { key: "limits" },
      );
    },
  };
}

function overrideOf(status, key) {
  return (key === "concurrency" ? status?.concurrency_override : status?.site_concurrency_override) ?? null;
}

function labelOf(key) {
  return SLOTS.find(([name]) => name === key)[1];
}
