// Signing in with a token. The token goes to the server once and is kept nowhere.
import { wrong } from "../dialog.js";
import { draw, h } from "../dom.js";
import { field } from "../parts.js";
import { Problem } from "../server.js";
import { logo } from "../shell.js";

const USELESS = "A token of this role sends mail and sees nothing. These pages need one of a viewer or an operator: postroom token create NAME --role viewer";

export function openSignIn(place, server, signedIn, reason) {
  let [problem, isBusy] = [null, false];
  const input = h("input", {
    type: "password", name: "token", autocomplete: "current-password", required: true, spellcheck: "false", autocapitalize: "none",
  });
  const submitted = async (event) => {
    event.preventDefault();
    const token = input.value.trim();
    if (isBusy || !token) return;
    [isBusy, problem] = [true, null];
    show();
    try {
      const who = await server.signIn(token);
      if (who.role === "injector") {
        await server.signOut();
        throw new Problem(403, { detail: `${who.name} is the token of an injector`, remedy: USELESS });
      }
      input.value = "";
      draw(place);
      signedIn(who);
      return;
    } catch (error) {
      if (!(error instanceof Problem)) throw error;
      problem = error;
      isBusy = false;
      show();
      input.select();
      input.focus();
    }
  };
  const show = () =>
    draw(
      place,
      h(
        "main",
        { class: "sign-in", key: "sign-in", id: "main" },
        h(
          "div",
          { class: "card" },
          h("div", { class: "brand" }, logo(), h("h1", null, "Postroom")),
          h("p", { class: "quiet", role: "status" }, reason),
          h("div", { role: "alert" }, problem && wrong(problem)),
          h(
            "form",
            { on: { submit: submitted } },
            // What keeps passwords asks for a name beside each.
            h("input", { type: "text", name: "username", value: "postroom", autocomplete: "username", hidden: true }),
            field({ id: "token", label: "Token", help: "Make one: postroom token create NAME --role operator", input }),
            h("button", { class: "button main-one", type: "submit", disabled: isBusy }, isBusy ? "Signing in …" : "Sign in"),
          ),
        ),
      ),
    );
  show();
  document.getElementById("token").focus();
}
