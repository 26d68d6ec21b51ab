// The HTTP API: one function for each route that the pages use, and what goes wrong as a Problem.

const PREFIX = "/api/v1";
const DEADLINE_MS = 30_000;
const SEARCH_DEADLINE_MS = 120_000; // a rare word in a long queue
const VERB_DEADLINE_MS = 600_000;

/** What the server refused, or that it does not answer (status 0). */
export class Problem extends Error {
  constructor(status, body) {
    super(body.detail || body.title || "the server refused it");
    this.name = "Problem";
    this.status = status;
    this.field = body.field ?? "";
    this.expected = body.expected ?? "";
    this.remedy = body.remedy ?? "";
    this.body = body;
  }

  get isGone() {
    return this.status === 0;
  }
}

export class Server {
  #csrf = "";
  #onSignedOut = () => {};

  /** `listener` is told when the session is over. */
  whenSignedOut(listener) {
    this.#onSignedOut = listener;
  }

  async ask(method, path, { query, body, signal, deadline = DEADLINE_MS, isQuiet = false } = {}) {
    const headers = { Accept: "application/json" };
    if (this.#csrf && method !== "GET") headers["X-CSRF-Token"] = this.#csrf;
    if (body !== undefined) headers["Content-Type"] = "application/json";
    const late = AbortSignal.timeout(deadline);
    const stop = signal ? AbortSignal.any([signal, late]) : late;
    let response;
    try {
      response = await fetch(PREFIX + path + asQuery(query), {
        method,
        headers,
        body: body === undefined ? undefined : JSON.stringify(body),
        signal: stop,
        credentials: "same-origin",
        cache: "no-store",
        redirect: "error",
      });
    } catch (error) {
      if (signal?.aborted) throw error;
      const why = late.aborted ? `no answer within ${deadline / 1000} s` : "the server does not answer";
      throw new Problem(0, { detail: why, remedy: "is it running? postroom status" });
    }
    if (response.status === 204) return null;
    const isJson = /json/.test(response.headers.get("Content-Type") ?? "");
    const value = isJson ? await response.json().catch(() => ({})) : await response.text();
    if (response.ok) return value;
    const problem = new Problem(response.status, isJson ? value : { title: response.statusText });
    if (response.status === 401 && !isQuiet) this.#onSignedOut();
    throw problem;
  }

  get(path, query, options) {
    return this.ask("GET", path, { query, ...options });
  }

  post(path, body = {}, options) {
    return this.ask("POST", path, { body, ...options });
  }

  // Who we are.

  async signIn(token) {
    const who = await this.ask("POST", "/session", { body: { token }, isQuiet: true });
    this.#csrf = who.csrf;
    return who;
  }

  async whoAmI() {
    const who = await this.ask("GET", "/session", { isQuiet: true });
    this.#csrf = who.csrf;
    return who;
  }

  async signOut() {
    await this.ask("DELETE", "/session", { isQuiet: true });
    this.#csrf = "";
  }

  // What the server is like.

  /** The overview, and how fast its counters grow. */
  overview(signal) {
    return this.get("/overview", {}, { signal, deadline: 15_000 });
  }

  /** The first sites by an order. */
  sites(query, signal) {
    return this.get("/overview/sites", query, { signal, deadline: 15_000 });
  }

  /** The same as a stream of events. */
  stream() {
    return new EventSource(`${PREFIX}/stream`);
  }

  // Messages.

  /** A page of the messages that match: {items, next, absent}. */
  messages(filter, cursor, limit, signal) {
    return this.get("/messages", { filter, cursor, limit }, { signal, deadline: SEARCH_DEADLINE_MS });
  }

  message(id, signal) {
    return this.get(`/messages/${part(id)}`, {}, { signal });
  }

  why(what, signal) {
    return this.get("/why", { what }, { signal });
  }

  async transcript(id) {
    return (await this.get(`/messages/${part(id)}/transcript`)).transcript;
  }

  /** What the event stream has about a message: {items, next}. */
  events(id, limit, signal) {
    return this.get("/events", { id, limit }, { signal });
  }

  contentAddress(id) {
    return `${PREFIX}/messages/${part(id)}/content`;
  }

  /** Do a verb to messages, or (dry_run) count what it would be done to: {count, sample}. */
  mail(verb, body, signal) {
    return this.post(`/mail/${verb}`, body, { signal, deadline: VERB_DEADLINE_MS });
  }

  // What an operator does.

  delivery(verb) {
    return this.post(`/delivery/${verb}`);
  }

  queue(number, verb) {
    return this.post(`/queues/${number}/${verb}`);
  }

  channel(name, verb) {
    return this.post(`/channels/${part(name)}/${verb}`);
  }

  channels(signal) {
    return this.get("/channels", {}, { signal });
  }

  setChannel(name, limits) {
    return this.ask("PATCH", `/channels/${part(name)}`, { body: { limits } });
  }

  whatIf(channel, change, attempt_s) {
    return this.get("/what-if", { channel, change, attempt_s });
  }

  purgeSite(name) {
    return this.post("/sites/purge", { name });
  }

  liftLessons(site) {
    return this.post("/lessons/lift", { site });
  }

  purgeRelay(host) {
    return this.post("/relays/purge", { host });
  }

  pauseSource(name, body) {
    return this.post(`/sources/${part(name)}/pause`, body);
  }

  resumeSource(name, site = "") {
    return this.post(`/sources/${part(name)}/resume`, { site });
  }
}

function asQuery(query) {
  const given = new URLSearchParams();
  for (const [name, value] of Object.entries(query ?? {})) {
    if (value === undefined || value === null || value === "") continue;
    for (const one of Array.isArray(value) ? value : [value]) given.append(name, String(one));
  }
  const text = given.toString();
  return text ? `?${text}` : "";
}

/** A name as one part of a path. */
export function part(name) {
  return encodeURIComponent(name);
}
