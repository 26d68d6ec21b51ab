// Where the pages begin: who is it, the frame, and the page that the address names.
import { draw, h } from "./dom.js";
import { Feed } from "./feed.js";
import { say } from "./notices.js";
import { here, to } from "./router.js";
import { Problem, Server } from "./server.js";
import { shell } from "./shell.js";
import { openSignIn } from "./views/sign_in.js";
import { VIEWS } from "./views/all.js";

const app = document.getElementById("app");
const server = new Server();
const feed = new Feed(server);
let who = null;
let page = null;
let shown = "";
let isMenuOpen = false;

/** What a page gets: the server, the feed, who looks at it, and its address. */
function context(where) {
  return {
    server,
    feed,
    who,
    where,
    isOperator: who.role === "operator",
    redraw,
    refresh: () => feed.refresh(),
  };
}

function redraw() {
  if (who === null) return;
  const where = here();
  draw(
    app,
    shell({
      who,
      feed,
      current: where.view,
      isMenuOpen,
      onMenu: () => {
        isMenuOpen = !isMenuOpen;
        redraw();
      },
      onTheme: redraw,
      onSignOut: signOut,
      content: page.render(),
    }),
  );
}

/** Show the page of the address; the same page with other values keeps what it has. */
function turn() {
  if (who === null) return;
  const where = here();
  const view = VIEWS[where.view] ?? VIEWS.lost;
  const identity = [where.view, ...where.parts].join("/");
  if (identity === shown) {
    page.moved?.(where);
    redraw();
    return;
  }
  const isFirst = shown === "";
  leave();
  page = view.open(context(where));
  [shown, isMenuOpen] = [identity, false];
  document.title = `${page.title} - Postroom`;
  redraw();
  if (!isFirst) {
    scrollTo(0, 0);
    document.getElementById("main").focus({ preventScroll: true });
    say(page.title);
  }
}

function begin(whoever) {
  who = whoever;
  remember(true);
  feed.start();
  turn();
}

// A question that is open was about the page that is left.
function leave() {
  page?.close?.();
  for (const dialog of document.querySelectorAll("dialog[open]")) dialog.close();
}

function end(reason) {
  leave();
  feed.stop();
  remember(false);
  [who, page, shown] = [null, null, ""];
  document.title = "Sign in - Postroom";
  openSignIn(app, server, begin, reason);
}

async function signOut() {
  try {
    await server.signOut();
  } catch (error) {
    if (!(error instanceof Problem)) throw error;
  }
  end("You are signed out.");
}

// Whether there may be a session: without one there is nothing to ask for.
function remember(isSignedIn) {
  try {
    if (isSignedIn) localStorage.setItem("postroom-session", "1");
    else localStorage.removeItem("postroom-session");
  } catch {
    // Without storage one signs in again after a reload.
  }
}

function mayBeSignedIn() {
  try {
    return localStorage.getItem("postroom-session") !== null;
  } catch {
    return true;
  }
}

async function start() {
  if (!mayBeSignedIn()) {
    end("");
    return;
  }
  try {
    begin(await server.whoAmI());
  } catch (error) {
    if (!(error instanceof Problem)) throw error;
    end(error.status === 401 ? "" : `${error.message}. ${error.remedy}`);
  }
}

server.whenSignedOut(() => {
  if (who !== null) end("The session is over. Sign in again; you come back to the same page.");
});
feed.addEventListener("change", redraw);
feed.addEventListener("age", redraw);
addEventListener("hashchange", turn);
if (!location.hash) history.replaceState(null, "", to("overview"));
start();
