// The page for an address that has none.
import { h } from "../dom.js";
import { empty, pageHead } from "../parts.js";
import { to } from "../router.js";

export const lostView = {
  open: () => ({
    title: "No such page",
    render: () => [
      pageHead("No such page"),
      h("section", { class: "panel" }, h("div", { class: "empty" }, empty("There is nothing at this address.", h("a", { href: to("overview") }, "To the overview")))),
    ],
  }),
};
