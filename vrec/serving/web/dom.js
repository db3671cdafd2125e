// Elements built without markup in strings: texts of the catalog are never parsed as HTML.

import { locale } from "./words.js";

const SVG = "http://www.w3.org/2000/svg";

export const $ = (id) => document.getElementById(id);

/** Creates an element with children and attributes; `on...` adds a listener, false and null leave one out. */
export function el(tag, attributes = {}, ...children) {
  return filled(document.createElement(tag), attributes, children);
}

/** Creates an SVG element likewise. */
export function svg(tag, attributes = {}, ...children) {
  return filled(document.createElementNS(SVG, tag), attributes, children);
}

/** Shows an element with a text, or hides it without one. */
export function showText(element, text) {
  element.textContent = text ?? "";
  element.hidden = !text;
}

export const percent = (share, digits = 1) => `${(100 * share).toFixed(digits)} %`;
export const money = (price, currency) => price.toLocaleString(locale, { style: "currency", currency });

function filled(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value === false || value === null || value === undefined) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}
