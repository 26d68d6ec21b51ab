// One question asked again and again while its page is shown; the newest answer counts.
import { Problem } from "./server.js";

export class Poll {
  value = null;
  problem = null;
  isAsking = false;
  #ask;
  #changed;
  #everyMs;
  #timer = 0;
  #abort = null;
  #isClosed = false;

  /** `ask(signal)` answers with a promise; `everyMs` 0 asks once. */
  constructor(ask, changed, everyMs = 3_000) {
    this.#ask = ask;
    this.#changed = changed;
    this.#everyMs = everyMs;
    document.addEventListener("visibilitychange", this.#look);
    this.now();
  }

  close() {
    this.#isClosed = true;
    clearTimeout(this.#timer);
    this.#abort?.abort();
    document.removeEventListener("visibilitychange", this.#look);
  }

  /** Ask at once; an older question is not waited for. */
  async now() {
    clearTimeout(this.#timer);
    this.#abort?.abort();
    const abort = new AbortController();
    this.#abort = abort;
    this.isAsking = true;
    try {
      const value = await this.#ask(abort.signal);
      if (abort.signal.aborted) return;
      [this.value, this.problem] = [value, null];
    } catch (error) {
      if (abort.signal.aborted) return;
      if (!(error instanceof Problem)) throw error;
      this.problem = error;
    }
    this.isAsking = false;
    this.#changed();
    if (this.#everyMs && !this.#isClosed && document.visibilityState !== "hidden") {
      this.#timer = setTimeout(() => this.now(), this.#everyMs);
    }
  }

  #look = () => {
    clearTimeout(this.#timer);
    if (this.#everyMs && document.visibilityState !== "hidden") this.now();
  };
}
