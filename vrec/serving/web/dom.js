// Elements without markup in strings: what a catalogue says is only ever text.

const SVG = "http://www.w3.org/2000/svg";

export const $ = (id) => document.getElementById(id);

/** An element with attributes (`onclick` and the like are listeners, false and null leave one out) and children. */
export function el(tag, attributes = {}, ...children) {
  return filled(document.createElement(tag), attributes, children);
}

/** The same of SVG. */
export function svg(tag, attributes = {}, ...children) {
  return filled(document.createElementNS(SVG, tag), attributes, children);
}

/** Shows an element with a text, or hides it where there is none. */
export function tell(element, text) {
  element.textContent = text ?? "";
  element.hidden = !text;
}

export const percent = (share, digits = 1) => `${(100 * share).toFixed(digits)} %`;
export const money = (price) =>
  price.toLocaleString("en", { minimumFractionDigits: 2, maximumFractionDigits: 2 });

function filled(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value === false || value === null || value === undefined) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}
