// A list of cards that follows its answers: cards stay, move, come and go, and tell when they were seen.

import { Card, press } from "./cards.js";
import { resumePreviews } from "./previews.js";

const SEEN_MS = 500;
const MOVE_MS = 350;
const lively = matchMedia("(prefers-reduced-motion: no-preference)");

export class CardList {
  /** `hands` does what cards ask for; `seen(shown)` is told of each card that was half in view for a while. */
  constructor(element, hands, seen) {
    this.element = element;
    this.hands = hands;
    this.seen = seen;
    this.cards = new Map();
    this.timers = new Map();
    this.visible = new Set();
    this.watch = new IntersectionObserver((entries) => this.#look(entries), { threshold: 0.5 });
  }

  get items() {
    return [...this.cards.values()].map((card) => card.shown.item);
  }

  clear() {
    this.show([], null, "feed");
  }

  /** Shows that something was done with a video, wherever it was done. */
  tellDone(videoId) {
    const card = this.cards.get(videoId);
    if (card) press(card.buttons, card.shown.item, this.hands);
  }

  /** Shows the items of an answer; says how many came and how many of those that stayed have another place. */
  show(items, requestId, surface) {
    const before = this.#places();
    const focused = this.element.contains(document.activeElement) ? document.activeElement : null;
    const cards = new Map();
    let came = 0;
    let moved = 0;
    for (const item of items) {
      const old = this.cards.get(item.video_id);
      const shown = this.#shown(old, { item, requestId, surface });
      const card = old ?? new Card(shown, this.hands);
      const up = old ? old.shown.item.position - item.position : null;
      if (old) card.update(shown);
      else came += 1;
      if (up) moved += 1;
      card.tellMove(this.cards.size ? up : 0);
      cards.set(item.video_id, card);
    }
    this.#drop(cards);
    this.cards = cards;
    this.#arrange();
    this.#animate(before);
    if (focused && document.activeElement !== focused && focused.isConnected) focused.focus({ preventScroll: true });
    resumePreviews();
    return { came, moved, lostFocus: focused !== null && !focused.isConnected };
  }

  /** Counts a card as seen at once, as when something is done with it, unless it has been. */
  countNow(videoId, shown = this.cards.get(videoId)?.shown) {
    const card = this.cards.get(videoId);
    if (!card || card.shown !== shown || shown.counted) return;
    card.shown.counted = true;
    this.#forget(card.element);
    this.seen(card.shown);
  }

  /** What a card shows: one that was seen and stays in its place was shown by the answer before this one. */
  #shown(old, shown) {
    if (!old?.shown.counted || old.shown.item.position !== shown.item.position) return shown;
    const { propensity } = old.shown.item;
    return { ...old.shown, item: { ...shown.item, propensity } };
  }

  #drop(cards) {
    for (const [id, card] of this.cards) {
      this.#forget(card.element);
      if (cards.has(id)) continue;
      this.watch.unobserve(card.element);
      this.visible.delete(card.element);
      card.preview.close();
      card.element.remove();
    }
  }

  #arrange() {
    let place = this.element.firstElementChild;
    for (const card of this.cards.values()) {
      if (card.element === place) place = place.nextElementSibling;
      else this.element.insertBefore(card.element, place);
      this.watch.observe(card.element);
    }
    for (const element of this.visible) this.#wait(element);
  }

  #places() {
    const places = new Map();
    for (const [id, card] of this.cards) places.set(id, card.element.getBoundingClientRect());
    return places;
  }

  #animate(before) {
    if (!lively.matches || !before.size) return;
    for (const [id, card] of this.cards) {
      const from = before.get(id);
      const to = card.element.getBoundingClientRect();
      if (to.bottom < 0 || to.top > innerHeight) continue;
      const frames = from
        ? [{ transform: `translate(${from.left - to.left}px, ${from.top - to.top}px)` }, { transform: "none" }]
        : [{ opacity: 0 }, { opacity: 1 }];
      if (from && from.left === to.left && from.top === to.top) continue;
      card.element.animate(frames, { duration: MOVE_MS, easing: "cubic-bezier(.2, .7, .2, 1)" });
    }
  }

  #look(entries) {
    for (const { target, isIntersecting } of entries) {
      if (isIntersecting) {
        this.visible.add(target);
        this.#wait(target);
      } else {
        this.visible.delete(target);
        this.#forget(target);
      }
    }
  }

  /** Sees a card after a while, unless it has been seen where it is. */
  #wait(element) {
    this.#forget(element);
    if (this.cards.get(element.dataset.video)?.shown.counted) return;
    this.timers.set(element, setTimeout(() => this.#tell(element), SEEN_MS));
  }

  #tell(element) {
    const hidden = document.visibilityState !== "visible" || document.querySelector("dialog[open]");
    if (hidden) return this.#wait(element);
    this.timers.delete(element);
    return this.countNow(element.dataset.video);
  }

  #forget(element) {
    clearTimeout(this.timers.get(element));
    this.timers.delete(element);
  }
}
