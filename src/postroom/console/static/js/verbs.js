// What can be done to messages: in words, and what each asks for.

/**
 * `label` on a button, `done` behind a number, `means` what follows; `isHarm`: it cannot be undone,
 * so that the number is to be typed; `needs`: a reason or a queue.
 */
export const VERBS = [
  { name: "run", label: "Try now", done: "due now", means: "They are tried as soon as limits allow." },
  { name: "hold", label: "Hold", done: "held", means: "They are kept and not tried until they are released.", needs: "reason" },
  { name: "release", label: "Release", done: "released", means: "What is held, also in quarantine, goes on as its schedule says." },
  { name: "reroute", label: "Reroute", done: "rerouted", means: "Channels and routes are chosen anew, by the rules in force." },
  { name: "move", label: "Move", done: "moved", means: "They go to another queue, and keep their state.", needs: "queue" },
  { name: "quarantine", label: "Quarantine", done: "quarantined", means: "They are held as harmful, until they are released.", needs: "reason", isHarm: false },
  { name: "bounce", label: "Bounce", done: "bounced", means: "They are given up for good, and their senders get a report (DSN).", isHarm: true },
  { name: "delete", label: "Delete", done: "deleted", means: "They are forgotten for good, and nobody gets a report.", isHarm: true },
];

export function verbNamed(name) {
  return VERBS.find((one) => one.name === name);
}
