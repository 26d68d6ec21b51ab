// Rates: what the server says of them, with a ring of the last ones for sparklines.

const LENGTH = 120;
const NOTHING = Object.freeze({ into: 0, out: 0, deferred: 0 });

export class Rates {
  #rings = new Map();
  #at = 0;
  #startedAt = 0;

  /** Take the rates that came with an overview. */
  add(overview, rates) {
    if (overview.started_at !== this.#startedAt) this.#rings.clear(); // another master: all began anew
    this.#startedAt = overview.started_at;
    if (overview.at <= this.#at) return;
    this.#at = overview.at;
    const rings = new Map();
    for (const [key, rate] of keyed(rates)) {
      const ring = this.#rings.get(key) ?? [];
      ring.push(rate);
      if (ring.length > LENGTH) ring.shift();
      rings.set(key, ring);
    }
    this.#rings = rings;
  }

  of(kind, name = "") {
    return this.#rings.get(`${kind} ${name}`)?.at(-1) ?? NOTHING;
  }

  series(kind, name = "") {
    return this.#rings.get(`${kind} ${name}`) ?? [];
  }
}

function* keyed({ server, queues, channels }) {
  yield ["server ", server];
  for (const [name, rate] of Object.entries(queues)) yield [`queue ${name}`, rate];
  for (const [name, rate] of Object.entries(channels)) yield [`channel ${name}`, rate];
}
