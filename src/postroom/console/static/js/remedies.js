// What helps with a trouble: the command that the server names, as a button or a link where these
// pages can do the same.
import { h } from "./dom.js";
import { acts } from "./parts.js";
import { to } from "./router.js";

/** Return a button or a link for a command; null where it has to be typed. */
export function remedy(page, trouble) {
  const words = trouble.command.split(" ");
  const [verb, name] = [words.slice(1, 3).join(" "), words[3] ?? ""];
  const button = (label, run, said) =>
    page.isOperator ? acts(label, { run: async () => (await run()) ?? null, said, after: page.refresh, name: `${label}: ${name || "the server"}` }) : null;
  const link = (label, address) => h("a", { class: "button little", href: address }, label);
  switch (verb) {
    case "delivery resume":
      return button("Resume delivery", () => page.server.delivery("resume"), "Delivery is resumed");
    case "queue enable":
      return button("Enable", () => page.server.queue(name.replace("queue", ""), "enable"), `${name} is enabled`);
    case "channel resume":
      return button("Resume", () => page.server.channel(name, "resume"), `Channel ${name} is resumed`);
    case "channel set":
    case "what-if channel":
      return link("Limits", to("channel", {}, name));
    case "site purge":
      return button("Try now", () => page.server.purgeSite(name), `${name} is tried now`);
    case "site resume":
      return button("Resume", () => page.server.liftLessons(name), `${name} is resumed`);
    case "relay purge":
      return button("Try now", () => page.server.purgeRelay(name), `${name} is tried now`);
    case "source resume":
      return button("Resume", () => page.server.resumeSource(name, words[5] ?? ""), `Source ${name} is resumed`);
    case "mail list":
    case "mail release":
    case "mail reroute":
      return link("Show messages", to("messages", { q: words.slice(3).join(" ") }));
    default:
      if (words[1] === "why") return link("Show", to("sites", { text: words[2] }));
      if (trouble.kind === "queue") return link("Show", to("queues"));
      return null;
  }
}
