// A verb done to many messages: first counted, with a sample; then confirmed by a button that names
// the number, and for what cannot be undone by typing it; then done, with its progress.
import { ask } from "./dialog.js";
import { h } from "./dom.js";
import * as format from "./format.js";
import { done } from "./notices.js";
import { field } from "./parts.js";
import { Problem } from "./server.js";

const LOOK_MS = 1000;
const MUCH = 1000;

/** Ask for a verb over a filter; resolves with how many it was done to, undefined on no. */
export async function askVerb(page, verb, filter, queues = []) {
  const dialog = new VerbDialog(page, verb, filter, queues);
  const count = await dialog.ask();
  if (count === undefined) return undefined;
  done(`${format.count(count, "message")} ${verb.done}`);
  return count;
}

class VerbDialog {
  #page;
  #verb;
  #filter;
  #queues;
  #count = null;
  #sample = [];
  #absent = [];
  #problem = null;
  #begunAt = 0;
  #done = 0;
  #redraw = () => {};
  #abort = new AbortController();
  #reason = h("input", { type: "text", maxlength: 300, "data-first": true });
  #typed = h("input", { type: "text", inputmode: "numeric", autocomplete: "off" });
  #target;

  constructor(page, verb, filter, queues) {
    [this.#page, this.#verb, this.#filter, this.#queues] = [page, verb, filter, queues];
    this.#target = h(
      "select",
      { "data-first": true, on: { change: () => this.#look() } },
      queues.map((number) => h("option", { value: number }, `queue${number}`)),
    );
    this.#typed.addEventListener("input", () => this.#redraw());
  }

  async ask() {
    const { label } = this.#verb;
    const shown = ask({
      title: `${label} messages`,
      isHarm: Boolean(this.#verb.isHarm),
      yes: () => (this.#count ? `${label} ${format.count(this.#count, "message")}` : label),
      isReady: () => this.#isReady(),
      body: (redraw) => {
        this.#redraw = redraw;
        return this.#body();
      },
      run: () => this.#run(),
    });
    this.#look();
    const result = await shown;
    this.#abort.abort();
    return result;
  }

  // The body of a request, without what only one of them has.
  #request(more) {
    const { needs } = this.#verb;
    return {
      filter: this.#filter,
      ...(needs === "reason" ? { reason: this.#reason.value.trim() } : {}),
      ...(needs === "queue" ? { to: Number(this.#target.value) } : {}),
      ...more,
    };
  }

  async #look() {
    this.#abort.abort();
    this.#abort = new AbortController();
    const { signal } = this.#abort;
    [this.#count, this.#problem] = [null, null];
    this.#redraw();
    try {
      const found = await this.#page.server.mail(this.#verb.name, this.#request({ dry_run: true }), signal);
      [this.#count, this.#sample, this.#absent] = [found.count, found.sample, found.absent];
    } catch (error) {
      if (signal.aborted) return;
      this.#problem = error;
    }
    this.#redraw();
  }

  #isReady() {
    const typed = Number(this.#typed.value.replace(/[\s,]/g, ""));
    return this.#count > 0 && !this.#begunAt && (!this.#verb.isHarm || typed === this.#count);
  }

  #body() {
    const verb = this.#verb;
    return [
      h("p", null, "Which: ", h("code", null, this.#filter)),
      verb.needs === "queue" && field({ id: "verb-queue", label: "To queue", input: this.#target }),
      h("div", { class: "counted", role: "status" }, this.#counted()),
      h("p", { class: "quiet" }, verb.means),
      verb.needs === "reason" && field({ id: "verb-reason", label: "Why", help: "Kept with the messages, and shown to others.", input: this.#reason }),
      verb.isHarm && this.#count > 0 && field({ id: "verb-typed", label: `Type ${this.#count} to confirm`, input: this.#typed }),
      this.#begunAt > 0 && progress((performance.now() - this.#begunAt) / 1000, this.#done, this.#count, verb),
    ];
  }

  #counted() {
    if (this.#problem) {
      return h("div", { class: "banner critical" }, h("strong", null, this.#problem.message), this.#problem.expected && h("span", { class: "remedy" }, `Expected: ${this.#problem.expected}`), this.#problem.remedy && h("span", { class: "remedy" }, this.#problem.remedy));
    }
    if (this.#count === null) return "Counting …";
    if (!this.#count) return h("strong", null, `No message would be ${this.#verb.done}.`);
    const more = this.#count - this.#sample.length;
    return [
      h("p", null, h("strong", null, format.count(this.#count, "message")), ` would be ${this.#verb.done}:`),
      h("ul", { class: "sample small" }, this.#sample.map((one) => h("li", { key: one.id }, h("code", null, one.id), ` ${one.sender || "<>"} to ${one.recipients[0]?.address ?? "nobody"}${one.live > 1 ? ` and ${format.number(one.live - 1)} more` : ""}`))),
      more > 0 && h("p", { class: "small quiet" }, `and ${format.number(more)} more`),
      this.#absent.length > 0 && h("p", { class: "warning" }, `Not asked, because they do not answer: ${this.#absent.map((one) => `queue${one}`).join(", ")}`),
    ];
  }

  async #run() {
    [this.#begunAt, this.#done] = [performance.now(), 0];
    const clock = setInterval(this.#redraw, LOOK_MS);
    this.#redraw();
    try {
      for (const filter of this.#parts()) {
        const part = await this.#page.server.mail(this.#verb.name, this.#request({ filter }));
        this.#done += part.count;
        this.#redraw();
      }
      return this.#done;
    } catch (error) {
      if (error instanceof Problem && this.#done) error.remedy = `${format.count(this.#done, "message")} ${this.#verb.done} before that. ${error.remedy}`;
      throw error;
    } finally {
      clearInterval(clock);
      this.#begunAt = 0;
    }
  }

  // What is much is done queue by queue, so that one sees how far it is.
  #parts() {
    const queues = (this.#page.feed.overview?.queues ?? []).map((one) => one.queue);
    const filter = this.#filter;
    if (this.#count <= MUCH || queues.length < 2 || /\bqueue=/.test(filter)) return [filter];
    return queues.map((number) => (filter === "all" ? `queue=${number}` : `${filter} queue=${number}`));
  }
}

// Within a queue nobody tells how far it is: then that it goes on is what can be shown.
function progress(seconds, done, whole, verb) {
  return h(
    "div",
    { role: "group", "aria-label": "Progress" },
    h("progress", { max: whole, value: done || null, "aria-label": `${verb.label}: how far it is` }),
    h("p", { class: "small quiet" }, `${format.number(done)} of ${format.number(whole)} ${verb.done}, for ${format.span(Math.round(seconds))}.`),
  );
}
