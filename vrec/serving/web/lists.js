// List of cards that is updated by responses: cards stay, move, appear and disappear, and report impressions.

import { Card, press } from "./cards.js";
import { resumePreviews } from "./previews.js";

const SEEN_MS = 500;
const MOVE_MS = 350;
const motion = matchMedia("(prefers-reduced-motion: no-preference)");

export class CardList {
  /**
   * `handlers` handles the buttons, which are all or `only` some; `onSeen(shown)` is called for each card that was
   * half in view for a while.
   */
  constructor(element, handlers, onSeen, only = undefined) {
    this.element = element;
    this.handlers = handlers;
    this.onSeen = onSeen;
    this.only = only;
    this.cards = new Map();
    this.timers = new Map();
    this.visible = new Set();
    this.latest = null;
    this.watch = new IntersectionObserver((entries) => this.#onIntersect(entries), { threshold: 0.5 });
  }

  get items() {
    return [...this.cards.values()].map((card) => card.shown.item);
  }

  clear() {
    this.show({ items: [] }, "feed");
  }

  /** Marks the buttons of a video after an action, which may have happened elsewhere on the page. */
  markDone(videoId) {
    const card = this.cards.get(videoId);
    if (card) press(card.buttons, card.shown.item, this.handlers);
  }

  /** Takes a video out of the list until the next response. */
  remove(videoId) {
    const card = this.cards.get(videoId);
    if (!card) return;
    const before = this.#boxes();
    this.cards = new Map([...this.cards].filter(([id]) => id !== videoId));
    this.#stopTimer(card.element);
    this.watch.unobserve(card.element);
    this.visible.delete(card.element);
    card.preview.close();
    card.element.remove();
    this.#animate(before);
  }

  /** Shows the items of a response; returns how many are new and how many others changed their position. */
  show({ items, request_id: requestId, currency }, surface) {
    this.latest = [{ items, request_id: requestId, currency }, surface];
    const before = this.#boxes();
    const focused = this.element.contains(document.activeElement) ? document.activeElement : null;
    const cards = new Map();
    let added = 0;
    let moved = 0;
    for (const item of items) {
      const old = this.cards.get(item.video_id);
      const shown = this.#shown(old, { item, requestId, surface, currency });
      const card = old ?? new Card(shown, this.handlers, this.only);
      const up = old ? old.shown.item.position - item.position : null;
      if (old) card.update(shown);
      else added += 1;
      if (up) moved += 1;
      card.showMove(this.cards.size ? up : 0);
      cards.set(item.video_id, card);
    }
    this.#drop(cards);
    this.cards = cards;
    this.#arrange();
    this.#animate(before);
    if (focused && document.activeElement !== focused && focused.isConnected) focused.focus({ preventScroll: true });
    resumePreviews();
    return { added, moved, lostFocus: focused !== null && !focused.isConnected };
  }

  /** Shows the last response again, after an undo. */
  again() {
    if (!this.latest) return;
    const [response, surface] = this.latest;
    this.show({ ...response, items: response.items.filter((item) => !this.handlers.has("hide", item.video_id)) }, surface);
  }

  /** Counts an impression of a card at once, as before an action with it, unless it is counted already. */
  countNow(videoId, shown = this.cards.get(videoId)?.shown) {
    const card = this.cards.get(videoId);
    if (!card || card.shown !== shown || shown.counted) return;
    card.shown.counted = true;
    this.#stopTimer(card.element);
    this.onSeen(card.shown);
  }

  /** Returns what a card shows: a card that was seen and keeps its position belongs to the previous response. */
  #shown(old, shown) {
    if (!old?.shown.counted || old.shown.item.position !== shown.item.position) return shown;
    const { propensity } = old.shown.item;
    return { ...old.shown, currency: shown.currency, item: { ...shown.item, propensity } };
  }

  #drop(cards) {
    for (const [id, card] of this.cards) {
      this.#stopTimer(card.element);
      if (cards.has(id)) continue;
      this.watch.unobserve(card.element);
      this.visible.delete(card.element);
      card.preview.close();
      card.element.remove();
    }
  }

  #arrange() {
    let next = this.element.firstElementChild;
    for (const card of this.cards.values()) {
      if (card.element === next) next = next.nextElementSibling;
      else this.element.insertBefore(card.element, next);
      this.watch.observe(card.element);
    }
    for (const element of this.visible) this.#startTimer(element);
  }

  #boxes() {
    const boxes = new Map();
    for (const [id, card] of this.cards) boxes.set(id, card.element.getBoundingClientRect());
    return boxes;
  }

  #animate(before) {
    if (!motion.matches || !before.size) return;
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

  #onIntersect(entries) {
    for (const { target, isIntersecting } of entries) {
      if (isIntersecting) {
        this.visible.add(target);
        this.#startTimer(target);
      } else {
        this.visible.delete(target);
        this.#stopTimer(target);
      }
    }
  }

  /** Starts the timer of a card in view, unless its impression is counted already. */
  #startTimer(element) {
    this.#stopTimer(element);
    if (this.cards.get(element.dataset.video)?.shown.counted) return;
    this.timers.set(element, setTimeout(() => this.#onTimer(element), SEEN_MS));
  }

  #onTimer(element) {
    const hidden = document.visibilityState !== "visible" || document.querySelector("dialog[open]") || this.#isBehind();
    if (hidden) return this.#startTimer(element);
    this.timers.delete(element);
    return this.countNow(element.dataset.video);
  }

  /** Returns whether the conversation, which on a phone lies over the page, covers the list. */
  #isBehind() {
    const panel = document.getElementById("assistant");
    return !panel.hidden && !panel.contains(this.element) && panel.getBoundingClientRect().left <= 0;
  }

  #stopTimer(element) {
    clearTimeout(this.timers.get(element));
    this.timers.delete(element);
  }
}
