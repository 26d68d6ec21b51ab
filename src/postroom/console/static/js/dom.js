// Elements from values, and a tree brought up to date without losing focus, selection or what
// somebody is typing.
//
// Text becomes text nodes, never markup: nothing here or elsewhere parses HTML. Attributes are
// set one by one; an attribute that could run something (on…) is refused.

const SVG = "http://www.w3.org/2000/svg";
const SVG_TAGS = new Set(["svg", "path", "rect", "g", "circle", "line", "title"]);
const STATES = new Set(["value", "checked"]); // properties that a user changes, too

/** Return an element. `props` are attributes; `on` are listeners, `key` tells siblings apart. */
export function h(tag, props, ...children) {
  const element = SVG_TAGS.has(tag)
    ? document.createElementNS(SVG, tag)
    : document.createElement(tag);
  element.listeners = {};
  element.given = {};
  for (const [name, value] of Object.entries(props ?? {})) {
    if (name === "on") listen(element, value);
    else if (name === "key") element.key = value;
    else if (STATES.has(name)) {
      element.given[name] = value;
      element[name] = value;
    } else if (value === true) element.setAttribute(name, "");
    else if (value !== false && value !== null && value !== undefined) {
      if (/^on/i.test(name) || name === "style") throw new Error(`no attribute ${name}`);
      element.setAttribute(name, String(value));
    }
  }
  append(element, children);
  return element;
}

/**
 * Keep an element over drawings: what is typed in it, its focus and selection are its own. It stands
 * in a new tree by a stub, and itself never leaves the page.
 */
export function kept(element) {
  element.isKept = true;
  return element;
}

function append(element, children) {
  for (const child of children.flat(Infinity)) {
    if (child === null || child === undefined || child === false || child === "") continue;
    if (!(child instanceof Node)) element.append(document.createTextNode(String(child)));
    else element.append(child.isKept ? stubOf(child) : child);
  }
}

function stubOf(element) {
  const stub = document.createComment("");
  stub.stands = element;
  return stub;
}

// A new part of the page gets the elements that stubs stand for.
function settle(node) {
  for (const child of [...node.childNodes]) {
    if (child.stands) child.replaceWith(child.stands);
    else settle(child);
  }
  return node;
}

function listen(element, listeners) {
  for (const [type, listener] of Object.entries(listeners)) {
    if (!(type in element.listeners)) element.addEventListener(type, heard);
    element.listeners[type] = listener;
  }
}

// A listener is looked up when it is needed, so that a tree brought up to date hears with its
// newest ones.
function heard(event) {
  return event.currentTarget.listeners[event.type]?.call(event.currentTarget, event);
}

/** Make the children of `place` be like `children`, keeping the elements that stay. */
export function draw(place, ...children) {
  const fresh = document.createElement("div");
  append(fresh, children);
  align(place, fresh);
}

function align(place, fresh) {
  const keyed = new Map();
  for (const child of place.childNodes) if (child.key !== undefined) keyed.set(child.key, child);
  let at = place.firstChild;
  for (const wanted of [...fresh.childNodes]) {
    if (wanted.stands) {
      if (wanted.stands === at) at = at.nextSibling;
      else place.insertBefore(wanted.stands, at);
      continue;
    }
    let found = null;
    if (wanted.key !== undefined) {
      found = keyed.get(wanted.key) ?? null;
      keyed.delete(wanted.key);
    } else if (at !== null && at.key === undefined && !at.isKept) found = at;
    if (found === null || !isSame(found, wanted)) {
      place.insertBefore(settle(wanted), at);
      continue;
    }
    if (found === at) at = at.nextSibling;
    else move(place, found, at);
    update(found, wanted);
  }
  while (at !== null) {
    const next = at.nextSibling;
    at.remove();
    at = next;
  }
}

// A node that moves in the tree loses the focus.
function move(place, node, before) {
  const focused = node.contains(document.activeElement) ? document.activeElement : null;
  place.insertBefore(node, before);
  focused?.focus({ preventScroll: true });
}

function isSame(one, other) {
  return one.nodeType === other.nodeType && one.nodeName === other.nodeName && one.key === other.key;
}

function update(old, fresh) {
  if (old.nodeType !== Node.ELEMENT_NODE) {
    if (old.data !== fresh.data) old.data = fresh.data;
    return;
  }
  for (const { name } of [...old.attributes]) {
    // Whether it is open is up to whoever reads it.
    if (!fresh.hasAttribute(name) && name !== "open") old.removeAttribute(name);
  }
  for (const { name, value } of fresh.attributes) {
    if (old.getAttribute(name) !== value) old.setAttribute(name, value);
  }
  for (const type of Object.keys(old.listeners ?? {})) delete old.listeners[type];
  for (const type of Object.keys(fresh.listeners ?? {})) {
    old.removeEventListener(type, heard);
    old.addEventListener(type, heard);
    old.listeners[type] = fresh.listeners[type];
  }
  align(old, fresh);
  for (const [name, value] of Object.entries(fresh.given ?? {})) {
    // Only what we changed: else what is being typed would be undone.
    if (old.given[name] !== value) old[name] = value;
  }
  old.given = fresh.given;
}
