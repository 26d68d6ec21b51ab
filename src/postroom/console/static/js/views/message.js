// The life of one message: each recipient with its state and why it waits, what happened, what
// failed attempts heard, and its content.
import { askVerb } from "../bulk.js";
import { wrong } from "../dialog.js";
import { h } from "../dom.js";
import * as format from "../format.js";
import { failed } from "../notices.js";
import { empty, pageHead, panel, state } from "../parts.js";
import { Poll } from "../poll.js";
import { to } from "../router.js";
import { Problem } from "../server.js";
import { table } from "../table.js";
import { VERBS } from "../verbs.js";
import { loading } from "./overview.js";

const RECIPIENTS_SHOWN = 200;
const EVENTS_SHOWN = 500;

export const messageView = {
  open(page) {
    const id = page.where.parts[0] ?? "";
    const poll = new Poll((signal) => page.server.message(id, signal), page.redraw, 5_000);
    const why = new Poll((signal) => page.server.why(id, signal), page.redraw, 5_000);
    const events = new Poll((signal) => page.server.events(id, EVENTS_SHOWN, signal), page.redraw, 5_000);
    const polls = [poll, why, events];
    let transcript = null;
    const readTranscript = async () => {
      try {
        transcript = await page.server.transcript(id);
        page.redraw();
      } catch (error) {
        if (!(error instanceof Problem)) throw error;
        failed("The transcript cannot be read", error);
      }
    };
    const act = async (verb) => {
      const queues = (page.feed.overview?.queues ?? []).map((one) => one.queue).filter((one) => one !== poll.value?.queue);
      if ((await askVerb(page, verb, id, queues)) === undefined) return;
      await Promise.all([...polls.map((one) => one.now()), page.refresh()]);
    };
    return {
      title: `Message ${id}`,
      close: () => polls.forEach((one) => one.close()),
      render() {
        const message = poll.value;
        const isGone = poll.problem?.status === 404;
        return [
          pageHead(h("span", null, "Message ", h("span", { class: "mono" }, id)), h("a", { href: to("messages") }, "All messages")),
          poll.problem && !isGone && wrong(poll.problem),
          isGone && h("section", { class: "panel", key: "gone" }, h("div", { class: "empty" }, empty("It is in no queue.", "It was delivered, bounced or deleted; what is known of it is in the event log."))),
          !message && !poll.problem && loading(),
          message && !isGone && [verbs(page, act), facts(message, page), recipients(message, whyOf(why.value))],
          timeline(events),
          message && !isGone && [heard(page, transcript, readTranscript), content(page, message)],
        ];
      },
    };
  },
};

function verbs(page, act) {
  if (!page.isOperator) return null;
  return h("div", { class: "buttons spaced", key: "verbs", role: "group", "aria-label": "Do something to it" }, VERBS.map((verb) => h("button", { class: `button little ${verb.isHarm ? "harm" : ""}`, type: "button", on: { click: () => act(verb) } }, `${verb.label} …`)));
}

function facts(message, page) {
  const now = page.feed.overview?.at ?? Date.now() / 1000;
  const from = message.provenance ?? {};
  const shown = [
    ["State", [state(message.state), message.hold && ` ${message.hold}`]],
    ["Queue", `queue${message.queue}`],
    ["Arrived", [format.time(message.arrived_at, { full: true }), h("span", { class: "under" }, format.distance(message.arrived_at, now))]],
    message.scheduled_until > 0 && ["Begins", format.time(message.scheduled_until, { full: true })],
    ["Sender", message.sender || "<> (the null reverse-path)"],
    message.subject && ["Subject", message.subject],
    ["Size", format.size(message.size_octets)],
    ["Came by", [from.protocol, from.client || from.user || from.listener].filter(Boolean).join(" from ")],
    message.envid && ["ENVID", message.envid],
    message.priority ? ["Priority", message.priority] : null,
    message.crashes ? ["Crashes", message.crashes] : null,
  ].filter(Boolean);
  return panel("State", h("dl", { class: "facts body" }, shown.map(([name, value]) => h("div", null, h("dt", null, name), h("dd", null, value)))), { key: "state" });
}

/** Return what each address waits for, of the queue that has the message. */
function whyOf(value) {
  const answer = (value?.items ?? []).find((one) => one.message);
  return new Map((answer?.message.recipients ?? []).map((one) => [one.address, one]));
}

function recipients(message, why) {
  const rows = message.recipients.slice(0, RECIPIENTS_SHOWN);
  const rest = message.recipients.length - rows.length;
  return panel(
    "Recipients",
    [
      table({
        isWide: true,
        caption: "Recipients with state and last reply",
        rows,
        key: (row) => row.address,
        empty: empty("No recipient is left."),
        columns: [
          { label: "Recipient", isHead: true, cell: (row) => row.address },
          { label: "State", cell: (row) => state(row.state) },
          { label: "Tries", num: true, cell: (row) => format.number(row.attempts) },
          { label: "Next try", cell: (row) => (row.state === "waiting" ? format.time(row.due_at) : "–") },
          { label: "Waits for", wide: true, cell: (row) => why.get(row.address)?.waits_for },
          { label: "Last reply", wide: true, cell: (row) => row.reply && [h("span", { class: "mono small" }, row.reply), row.host && h("span", { class: "under" }, row.host)] },
        ],
      }),
      rest > 0 && h("div", { class: "table-foot" }, `and ${format.count(rest, "recipient")} more: postroom mail show ${message.id}`),
    ],
    { key: "recipients", note: format.count(message.recipients.length, "recipient") },
  );
}

function timeline(events) {
  if (events.problem?.status === 404 && !events.value) return null;
  const rows = events.value?.items ?? [];
  return panel(
    "What happened",
    rows.length
      ? h("ol", { class: "timeline", tabindex: "0", "aria-label": "Events, the oldest first" }, rows.map((one, index) => h("li", { key: index }, format.time(Date.parse(one.time) / 1000, { full: true }), h("div", null, h("strong", null, one.event), " ", details(one)))))
      : h("div", { class: "empty" }, empty(events.problem ? events.problem.message : "Nothing is on record.")),
    { key: "events" },
  );
}

const TOLD = new Set(["time", "event", "event_id", "id", "queue", "reply"]);

/** What an event says beside its name: its fields, times as times, the reply last. */
function details(event) {
  const fields = Object.entries(event).filter(([name]) => !TOLD.has(name));
  return [
    h("span", { class: "quiet small" }, event.queue, fields.map(([name, value]) => [", ", name.replace(/_/g, " ").replace(/ (at|s|octets)$/, ""), " ", shownAs(name, value)])),
    event.reply && h("div", { class: "mono small" }, event.reply),
  ];
}

function shownAs(name, value) {
  if (typeof value !== "number") return typeof value === "object" ? JSON.stringify(value) : String(value);
  if (/_at$|^until$/.test(name)) return format.moment(value);
  if (/_s$/.test(name)) return format.span(value);
  return /_octets$/.test(name) ? format.size(value) : String(value);
}

function heard(page, transcript, read) {
  if (!page.isOperator) return null;
  return panel(
    "Transcript of failed attempts",
    h(
      "div",
      { class: "body" },
      transcript === null
        ? h("button", { class: "button", type: "button", on: { click: read } }, "Show it")
        : transcript
          ? h("pre", { class: "octets", tabindex: "0", "aria-label": "Transcript" }, transcript)
          : h("p", { class: "quiet" }, "No attempt has failed, or nothing was kept of it."),
    ),
    { key: "transcript" },
  );
}

function content(page, message) {
  if (!page.isOperator) return null;
  return panel(
    "Content",
    h(
      "div",
      { class: "body buttons" },
      h("a", { class: "button", href: page.server.contentAddress(message.id), download: `${message.id}.eml` }, `Download ${format.size(message.size_octets)}`),
      h("span", { class: "small quiet" }, "What others wrote: open it with care."),
    ),
    { key: "content" },
  );
}
