// Help for the filter language, with examples that can be taken over by a press.
import { h } from "./dom.js";

const WORDS = [
  ["state=deferred", "waiting, deferred, scheduled, held or quarantined; with != all others"],
  ["domain=a.example,b.example", "recipients' domains; .a.example is the domain and all below it"],
  ["recipient=*@a.example", "a recipient's address; * is anything"],
  ["sender=*@news.example", "the reverse-path; sender=<> is the null one"],
  ["channel=bulk", "the channel, by the rules in force; also site=, tenant=, class="],
  ["age>1h", "since it arrived; also age<10m"],
  ["due<10m", "until it may be tried next"],
  ["attempts>3", "how often a recipient was tried"],
  ["size>1MiB", "length of the content"],
  ['reply~"421 4.7"', "what the last reply has in it, a regular expression; !~ has not"],
  ["header:X-Campaign=spring*", "a field of the header; read last, for it costs most"],
  ["queue=2", "only this queue"],
  ["all", "every message"],
];

/** `take(text)` adds a condition to the filter. */
export function filterHelp(take) {
  return h(
    "details",
    { key: "help" },
    h("summary", null, "How to write a filter"),
    h("p", { class: "small quiet" }, "All conditions must hold; a list with commas means one of these; double quotes keep spaces and commas. An id alone is a filter, too."),
    h(
      "dl",
      { class: "help-list small" },
      WORDS.map(([word, means]) => [
        h("dt", null, h("button", { class: "button bare little mono", type: "button", "aria-label": `Add ${word}`, on: { click: () => take(word) } }, word)),
        h("dd", null, means),
      ]),
    ),
  );
}
