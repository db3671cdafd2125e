// A video as a card: facts, reasons, predictions and buttons.

import { el, money, percent } from "./dom.js";
import { momentItems } from "./moments.js";
import { Preview } from "./previews.js";
import { listed, say, sayReason } from "./words.js";

const SOURCES = {
  cf: "watched by similar shoppers",
  content: "similar to what you watched",
  popular: "popular videos",
  new: "new videos",
  "similar:cf": "watched by the same shoppers",
  "similar:content": "looks similar",
  "similar:both": "watched by the same shoppers, and looks similar",
  "search:words": "has your words",
  "search:meaning": "has a similar meaning",
  "search:both": "has your words",
  moments: "looks or sounds like your picture or clip",
};
const ACTIONS = {
  like: ["Like", "Liked"],
  cart: ["Add to cart", "In cart"],
  purchase: ["Buy", "Bought"],
  hide: ["Not interested", "Hidden"],
};
const HUES = 10;
const hues = new Map();

/** Returns the CSS class of a category's color; from the eleventh category on, all share one. */
export function hueOf(category) {
  if (category === null || category === undefined) return `h${HUES}`;
  if (!hues.has(category)) hues.set(category, Math.min(hues.size, HUES));
  return `h${hues.get(category)}`;
}

export const nameOf = (item) => item.title ?? item.video_id;

/** Returns the buttons of a video. `handlers` has {open, act, similar}, and `has(action, id)` for earlier actions. */
export function buttonsOf(shownNow, handlers, only = ["open", "like", "cart", "purchase", "similar", "hide"]) {
  const title = nameOf(shownNow().item);
  const buttons = only.map((name) => {
    if (name === "open") return button(say("Watch"), title, () => handlers.open(shownNow()), { class: "first" });
    if (name === "similar") return button(say("Similar"), title, () => handlers.similar(shownNow().item));
    if (name === "hide") return button(say(ACTIONS.hide[0]), title, () => handlers.act("hide", shownNow()), { class: "plain" });
    const act = (event) => {
      if (event.currentTarget.getAttribute("aria-pressed") !== "true") handlers.act(name, shownNow());
      else if (name === "like") handlers.act("unlike", shownNow());
    };
    return button(say(ACTIONS[name][0]), title, act, { "data-act": name, "aria-pressed": "false" });
  });
  press(buttons, shownNow().item, handlers);
  return buttons;
}

/** Marks the buttons of a video by the actions that the shopper has done. */
export function press(buttons, item, handlers) {
  for (const one of buttons) {
    const { act } = one.dataset;
    if (!act) continue;
    const done = handlers.has(act, item.video_id);
    const label = say(ACTIONS[act][done ? 1 : 0]);
    one.textContent = label;
    one.setAttribute("aria-pressed", String(done));
    one.setAttribute("aria-label", `${label}: ${nameOf(item)}`);
  }
}

function button(label, title, onclick, attributes = {}) {
  return el("button", { type: "button", onclick, "aria-label": `${label}: ${title}`, ...attributes }, label);
}

export class Card {
  constructor(shown, handlers, only) {
    const { item } = shown;
    this.shown = shown;
    this.preview = new Preview(item, () => handlers.open(this.shown));
    this.position = el("span", { class: "place" });
    this.moved = el("span", { class: "moved", "aria-hidden": "true" });
    this.facts = el("p", { class: "facts" });
    this.why = el("p", { class: "why" });
    this.figures = el("dl", { class: "figures" });
    this.moments = el("ul", { class: "moments" });
    this.onMoment = (moment) => handlers.open(this.shown, moment);
    this.buttons = buttonsOf(() => this.shown, handlers, only);
    this.element = el(
      "li",
      { class: `card ${hueOf(item.category)}`, "data-video": item.video_id, "data-category": item.category ?? "" },
      this.preview.element,
      el("p", { class: "over", "aria-hidden": "true" }, this.position, this.moved),
      el("h3", {}, nameOf(item)),
      this.facts,
      this.moments,
      this.why,
      this.figures,
      el("div", { class: "buttons" }, ...this.buttons),
    );
    this.update(shown);
  }

  /** Shows another response for the same video. */
  update(shown) {
    const { item } = shown;
    this.shown = shown;
    this.position.textContent = item.position + 1;
    const price = item.price === null ? null : money(item.price, this.shown.currency);
    this.facts.replaceChildren(
      ...[el("span", { class: "dot" }, item.category ?? say("no category")), price, item.creator_id]
        .filter(Boolean)
        .map((fact) => el("span", {}, fact)),
    );
    const texts = item.reasons.map((reason) => sayReason(reason.text));
    const because = texts.length ? say("You see this {reasons}.", { reasons: listed(texts) }) : "";
    const source = say("Found among: {source}", { source: say(SOURCES[item.source] ?? item.source) });
    this.why.replaceChildren(because, el("span", { class: "source" }, source));
    // Lists that were not ranked have no predictions.
    const predicted = item.p_click || item.watch_s || item.p_conv;
    const figures = [
      [say("Click chance"), percent(item.p_click)],
      [say("Watch time"), say("{n} s", { n: item.watch_s.toFixed(1) })],
      [say("Buy chance"), percent(item.p_conv, 2)],
    ];
    this.figures.replaceChildren(
      ...(predicted ? figures.map(([name, value]) => el("div", {}, el("dt", {}, name), el("dd", {}, value))) : []),
    );
    this.figures.hidden = !predicted;
    const moments = item.moments ?? [];
    this.moments.replaceChildren(...momentItems(moments, nameOf(item), this.onMoment));
    this.moments.hidden = !moments.length;
  }

  /** Shows by how many positions a video moved up; null for a video that is new in the list. */
  showMove(up) {
    this.moved.textContent = up === null ? say("new") : up > 0 ? `▲ ${up}` : up < 0 ? `▼ ${-up}` : "";
  }
}
