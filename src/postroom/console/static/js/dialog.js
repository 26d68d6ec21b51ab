// A dialog that asks before something is done: it says what to, waits for a yes, shows how it goes.
import { draw, h } from "./dom.js";
import { Problem } from "./server.js";

let numbered = 0;

/**
 * Ask, and do it on a yes. `body()` gives what is shown, anew at each `redraw`; `yes` is the label
 * of the button, or a function that gives it; `isReady()` says whether it may be pressed.
 * `run(redraw)` does it, and what it throws as a Problem is shown. Resolves with what `run` returned; undefined on no.
 */
export function ask({ title, body, yes, run, isReady = () => true, isHarm = false, no = "Cancel" }) {
  return new Promise((resolve) => {
    const id = `dialog-${++numbered}`;
    let [problem, isBusy, result] = [null, false, undefined];
    const dialog = h("dialog", {
      "aria-labelledby": id,
      on: {
        close: () => {
          dialog.remove();
          resolve(result);
        },
        cancel: (event) => {
          if (isBusy) event.preventDefault();
        },
      },
    });
    const redraw = () => {
      const label = typeof yes === "function" ? yes() : yes;
      draw(
        dialog,
        h(
          "form",
          { method: "dialog", on: { submit: pressed }, novalidate: true },
          h("h2", { id }, title),
          h("div", null, body(redraw)),
          h("div", { role: "alert" }, problem && wrong(problem)),
          h(
            "footer",
            null,
            h("button", { class: "button", type: "button", disabled: isBusy, on: { click: () => dialog.close() } }, no),
            h(
              "button",
              { class: `button main-one ${isHarm ? "harm" : ""}`, type: "submit", disabled: isBusy || !isReady() },
              label,
            ),
          ),
        ),
      );
    };
    const pressed = async (event) => {
      event.preventDefault();
      if (isBusy || !isReady()) return;
      [isBusy, problem] = [true, null];
      redraw();
      try {
        result = (await run(redraw)) ?? null;
        dialog.close();
      } catch (error) {
        if (!(error instanceof Problem)) throw error;
        problem = error;
      } finally {
        isBusy = false;
        redraw();
      }
    };
    redraw();
    document.body.append(dialog);
    dialog.showModal();
    (dialog.querySelector("[data-first]") ?? dialog.querySelector("footer button")).focus();
  });
}

/** A problem as a banner: what was wrong, what was expected, what to do. */
export function wrong(problem, kind = "critical") {
  return h(
    "div",
    { class: `banner ${kind}` },
    h("strong", null, problem.message),
    problem.field && h("span", { class: "small" }, `in ${problem.field}`),
    problem.expected && h("span", { class: "remedy" }, `Expected: ${problem.expected}`),
    problem.remedy && h("span", { class: "remedy" }, `What to do: ${problem.remedy}`),
  );
}
