// Makes and changes elements. Texts become text nodes and nothing else: what a peer or a
// configuration says is never parsed as HTML.

// What is written to the document, for who measures what an event costs.
export const written = { rows: 0, texts: 0 };

/**
 * @param name of the element.
 * @param attributes by name; a function is a listener of the event, `true` an attribute without
 *   a value, and what is null, undefined or false is none.
 * @param children nodes and texts; what is null or false is none.
 */
export function make(name, attributes = {}, ...children) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (typeof value === "function") element.addEventListener(key, value);
    else element.setAttribute(key, value === true ? "" : String(value));
  }
  element.append(...children.flat(Infinity).filter((one) => one !== null && one !== false));
  return element;
}

/** Have an element show a text, and touch it only if it shows another one. */
export function show(element, text) {
  const value = String(text);
  const node = element.firstChild;
  if (node === null) {
    if (value === "") return false;
    element.append(value);
  } else if (node.nodeType === Node.TEXT_NODE && node === element.lastChild) {
    if (node.data === value) return false;
    node.data = value;
  } else {
    element.textContent = value;
  }
  written.texts += 1;
  return true;
}

/** Have an attribute, or none where the value is null; touch it only if it is another one. */
export function mark(element, name, value) {
  if (value === null) {
    if (element.hasAttribute(name)) element.removeAttribute(name);
  } else if (element.getAttribute(name) !== String(value)) {
    element.setAttribute(name, String(value));
  }
}

/** Have exactly these children in this order, moving none that is in its place. */
export function arrange(parent, children) {
  let place = parent.firstChild;
  for (const child of children) {
    if (child === place) place = place.nextSibling;
    else parent.insertBefore(child, place);
  }
  while (place !== null) {
    const next = place.nextSibling;
    place.remove();
    place = next;
  }
}

export const byId = (id) => document.getElementById(id);

const speaker = () => byId("spoken");
let waiting = [];
let timer = null;

/** Say something to those who listen to the page, what comes close together in one go. */
export function say(text) {
  waiting.push(text);
  if (timer !== null) return;
  timer = setTimeout(() => {
    timer = null;
    const told = waiting;
    waiting = [];
    const most = 4;
    const more = told.length - most;
    speaker().textContent =
      told.slice(0, most).join(". ") + (more > 0 ? `. And ${more} more.` : "");
  }, 400);
}

/** What is remembered in this browser; the page works where nothing may be. */
export const memory = {
  get(key, otherwise = null) {
    try {
      return localStorage.getItem(`lbtwist.${key}`) ?? otherwise;
    } catch (_denied) {
      return otherwise;
    }
  },
  set(key, value) {
    try {
      if (value === null) localStorage.removeItem(`lbtwist.${key}`);
      else localStorage.setItem(`lbtwist.${key}`, value);
    } catch (_denied) {
      // It is only not remembered.
    }
  },
};
