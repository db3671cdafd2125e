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
      const shown = { item, requestId, surface };
      const old = this.cards.get(item.video_id);
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
    // Those in view are seen anew: the list they are in is another one.
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

  #wait(element) {
    this.#forget(element);
    this.timers.set(element, setTimeout(() => this.#tell(element), SEEN_MS));
  }

  #tell(element) {
    const hidden = document.visibilityState !== "visible" || document.querySelector("dialog[open]");
    if (hidden) return this.#wait(element);
    this.timers.delete(element);
    const card = this.cards.get(element.dataset.video);
    return card && this.seen(card.shown);
  }

  #forget(element) {
    clearTimeout(this.timers.get(element));
    this.timers.delete(element);
  }
}
