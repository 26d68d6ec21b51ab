// The overview as it goes on: by server-sent events, else asked for again and again.
//
// It is `live`, `polling`, `late` (nothing newer than LATE_S) or `gone` (the server does not
// answer); who looks is told in each case, and how old what is shown is. In a page that nobody
// looks at nothing is asked for.
import { Problem } from "./server.js";
import { Rates } from "./rates.js";

const EVERY_MS = 2_000;
const RETRY_MS = 3_000;
const STREAM_RETRY_MS = 15_000;
const LATE_S = 10;
const REMEDY = "is it running? postroom status";

export class Feed extends EventTarget {
  overview = null;
  problem = null;
  rates = new Rates();
  seenAt = 0; // when what we have came, by the clock of this browser
  #server;
  #at = 0;
  #timer = 0;
  #clock = 0;
  #stream = null;
  #streamAfter = 0;
  #asking = null;

  constructor(server) {
    super();
    this.#server = server;
  }

  start() {
    document.addEventListener("visibilitychange", this.#look);
    this.#clock = setInterval(this.#tick, 1000);
    this.#look();
  }

  stop() {
    document.removeEventListener("visibilitychange", this.#look);
    clearInterval(this.#clock);
    this.#clock = 0;
    this.#halt();
    [this.overview, this.problem, this.#at] = [null, null, 0];
    this.rates = new Rates();
  }

  /** How many seconds ago what we have was true. */
  get age() {
    return this.#at ? (performance.now() - this.#at) / 1000 : Infinity;
  }

  get state() {
    if (this.problem?.isGone) return "gone";
    if (this.overview === null) return this.problem ? "gone" : "begin";
    if (this.age > LATE_S) return "late";
    return this.#stream ? "live" : "polling";
  }

  /** Ask now: something was changed. */
  async refresh() {
    if (this.#asking) await this.#asking;
    await this.#ask();
  }

  // A stream that is silent is no better than none: something between us may hold it back.
  #tick = () => {
    if (this.#stream && this.age > LATE_S) this.#leave(this.#stream);
    this.#tell("age");
  };

  #look = () => {
    this.#halt();
    if (document.visibilityState === "hidden") return;
    this.#ask().then(() => this.#follow());
  };

  #halt() {
    clearTimeout(this.#timer);
    this.#stream?.close();
    this.#stream = null;
  }

  #follow() {
    clearTimeout(this.#timer);
    if (document.visibilityState === "hidden" || this.#clock === 0) return;
    if (!this.#stream && performance.now() >= this.#streamAfter) this.#listen();
    if (this.#stream) return;
    this.#timer = setTimeout(
      () => this.#ask().then(() => this.#follow()),
      this.problem ? RETRY_MS : EVERY_MS,
    );
  }

  #listen() {
    const stream = this.#server.stream();
    this.#stream = stream;
    stream.addEventListener("overview", (event) => this.#take(JSON.parse(event.data)));
    stream.addEventListener("trouble", (event) => {
      this.#refused(new Problem(0, { detail: JSON.parse(event.data).error, remedy: REMEDY }));
    });
    stream.addEventListener("error", () => this.#leave(stream));
  }

  // What an EventSource does by itself may be to give up: we ask, and come back to it later.
  #leave(stream) {
    stream.close();
    if (this.#stream !== stream) return;
    this.#stream = null;
    this.#streamAfter = performance.now() + STREAM_RETRY_MS;
    this.#ask().then(() => this.#follow());
  }

  #ask() {
    this.#asking ??= this.#askOnce().finally(() => {
      this.#asking = null;
    });
    return this.#asking;
  }

  async #askOnce() {
    try {
      this.#take(await this.#server.overview());
    } catch (error) {
      if (!(error instanceof Problem)) throw error;
      this.#refused(error);
    }
  }

  #refused(problem) {
    this.problem = problem;
    this.#tell("change");
  }

  #take({ overview, rates }) {
    if (this.overview && overview.at < this.overview.at) return;
    [this.overview, this.problem, this.#at] = [overview, null, performance.now()];
    this.seenAt = Date.now() / 1000;
    this.rates.add(overview, rates);
    this.#tell("change");
  }

  #tell(type) {
    this.dispatchEvent(new Event(type));
  }
}
