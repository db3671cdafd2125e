// One video as a card: what it is, why it is here, what is expected of it, and what a shopper can do with it.

import { el, money, percent } from "./dom.js";
import { Preview } from "./previews.js";

const SOURCES = {
  cf: "watched along with what you liked",
  content: "like what you watched",
  popular: "popular with all",
  new: "new, or hardly shown yet",
  "similar:cf": "watched by the same shoppers",
  "similar:content": "looks, sounds or reads alike",
  "similar:both": "watched by the same shoppers, and alike",
  "search:words": "found by its words",
  "search:meaning": "found by its meaning",
  "search:both": "found by words and meaning",
};
const ACTS = {
  like: ["Like", "Liked"],
  cart: ["Add to cart", "In the cart"],
  purchase: ["Buy", "Bought"],
};
const HUES = 10;
const hues = new Map();

/** A category's colour, as a class; the eleventh and all after it share one. */
export function hueOf(category) {
  if (category === null || category === undefined) return `h${HUES}`;
  if (!hues.has(category)) hues.set(category, Math.min(hues.size, HUES));
  return `h${hues.get(category)}`;
}

export const nameOf = (item) => item.title ?? item.video_id;

/** The buttons of a video. `hands` does each: {open, act, similar}, and `has(act, id)` tells what was done before. */
export function buttonsOf(shownNow, hands, only = ["open", ...Object.keys(ACTS), "similar"]) {
  const title = nameOf(shownNow().item);
  const made = only.map((name) => {
    if (name === "open") return button("Watch", title, () => hands.open(shownNow()), { class: "first" });
    if (name === "similar") return button("Similar", title, () => hands.similar(shownNow().item));
    const act = (event) => event.currentTarget.getAttribute("aria-pressed") === "true" || hands.act(name, shownNow());
    return button(ACTS[name][0], title, act, { "data-act": name, "aria-pressed": "false" });
  });
  press(made, shownNow().item, hands);
  return made;
}

/** Shows on the buttons of a video what the shopper did with it. */
export function press(buttons, item, hands) {
  for (const one of buttons) {
    const { act } = one.dataset;
    if (!act || !hands.has(act, item.video_id)) continue;
    one.textContent = ACTS[act][1];
    one.setAttribute("aria-pressed", "true");
    one.setAttribute("aria-label", `${ACTS[act][1]}: ${nameOf(item)}`);
  }
}

function button(words, title, onclick, more = {}) {
  return el("button", { type: "button", onclick, "aria-label": `${words}: ${title}`, ...more }, words);
}

export class Card {
  constructor(shown, hands) {
    const { item } = shown;
    this.shown = shown;
    this.preview = new Preview(item.video_id, () => hands.open(this.shown));
    this.place = el("span", { class: "place" });
    this.moved = el("span", { class: "moved", "aria-hidden": "true" });
    this.facts = el("p", { class: "facts" });
    this.why = el("p", { class: "why" });
    this.figures = el("dl", { class: "figures" });
    this.buttons = buttonsOf(() => this.shown, hands);
    this.element = el(
      "li",
      { class: `card ${hueOf(item.category)}`, "data-video": item.video_id, "data-category": item.category ?? "" },
      this.preview.element,
      el("p", { class: "over", "aria-hidden": "true" }, this.place, this.moved),
      el("h3", {}, nameOf(item)),
      this.facts,
      this.why,
      this.figures,
      el("div", { class: "buttons" }, ...this.buttons),
    );
    this.update(shown);
  }

  /** Shows what another answer says of the same video. */
  update(shown) {
    const { item } = shown;
    this.shown = shown;
    this.place.textContent = item.position + 1;
    const price = item.price === null ? null : money(item.price);
    this.facts.replaceChildren(
      ...[el("span", { class: "dot" }, item.category ?? "no category"), price, item.creator_id]
        .filter(Boolean)
        .map((fact) => el("span", {}, fact)),
    );
    const texts = item.reasons.map((reason) => reason.text);
    const because = texts.length ? `You see this ${listed(texts)}.` : "";
    this.why.replaceChildren(because, el("span", { class: "source" }, `Source: ${SOURCES[item.source] ?? item.source}`));
    // Lists that nobody ranked expect nothing.
    const expected = item.p_click || item.watch_s || item.p_conv;
    const figures = [
      ["Click", percent(item.p_click)],
      ["Watch", `${item.watch_s.toFixed(1)} s`],
      ["Purchase", percent(item.p_conv, 2)],
    ];
    this.figures.replaceChildren(
      ...(expected ? figures.map(([name, value]) => el("div", {}, el("dt", {}, name), el("dd", {}, value))) : []),
    );
    this.figures.hidden = !expected;
  }

  /** Says beside the place how it changed: by how many places upwards, or null for a video that came. */
  tellMove(up) {
    this.moved.textContent = up === null ? "new" : up > 0 ? `▲ ${up}` : up < 0 ? `▼ ${-up}` : "";
  }
}

function listed(texts) {
  return texts.length < 2 ? texts.join("") : `${texts.slice(0, -1).join(", ")} and ${texts.at(-1)}`;
}
