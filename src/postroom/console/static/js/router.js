// Where one is: `#/view/part?name=value`. All that a page needs to be drawn again stands there, so
// that a reload, a bookmark and the browser's buttons do what one expects.

/** Return the view, its parts and its values, as the address has them. */
export function here() {
  const [path, query] = splitOnce(location.hash.replace(/^#\/?/, ""), "?");
  const parts = path.split("/").map(decoded);
  return { view: parts[0] || "overview", parts: parts.slice(1), query: new URLSearchParams(query) };
}

/** Return the address of a view. */
export function to(view, query = {}, ...parts) {
  const given = new URLSearchParams();
  for (const [name, value] of Object.entries(query)) {
    if (value !== "" && value !== null && value !== undefined) given.set(name, String(value));
  }
  const path = [view, ...parts].map(encodeURIComponent).join("/");
  const text = given.toString();
  return `#/${path}${text ? `?${text}` : ""}`;
}

/** Go there; `isSame`: it is the same page, seen otherwise, and no step of its own. */
export function go(address, { isSame = false } = {}) {
  if (location.hash === address) return;
  if (!isSame) {
    location.hash = address;
    return;
  }
  history.replaceState(null, "", address);
  dispatchEvent(new HashChangeEvent("hashchange"));
}

/** Change values of this page's address; "" takes one away. */
export function change(values, { isStep = false } = {}) {
  const { view, parts, query } = here();
  for (const [name, value] of Object.entries(values)) query.set(name, value);
  go(to(view, Object.fromEntries(query), ...parts), { isSame: !isStep });
}

function splitOnce(text, mark) {
  const at = text.indexOf(mark);
  return at < 0 ? [text, ""] : [text.slice(0, at), text.slice(at + 1)];
}

function decoded(text) {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}
