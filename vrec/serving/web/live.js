// Row of the streams that are live now, which updates itself while the page is in view.

import { liveStreams } from "./api.js";
import { hueOf, nameOf } from "./cards.js";
import { $, el, showText } from "./dom.js";
import { recordEvent } from "./events.js";
import { now } from "./shopper.js";
import { counted, locale, say } from "./words.js";

const K = 8;
const POLL_MS = 3_000;

export class LiveRow {
  #cards = new Map();
  #timer = null;
  #requests = 0;
  #counted = new Set();
  #onWatched;
  #watching = null;

  /** `onWatched(item, seconds)` is called when the shopper stops watching a stream, or it ends. */
  constructor(onWatched) {
    this.#onWatched = onWatched;
    document.addEventListener("visibilitychange", () => document.visibilityState === "visible" && this.refresh());
  }

  /** Requests the streams that are live, shows them, and does so again after a while. */
  async refresh() {
    const mine = ++this.#requests;
    clearTimeout(this.#timer);
    let again = document.visibilityState === "visible";
    try {
      const response = await liveStreams(now(), K);
      if (mine === this.#requests) this.#show(response);
    } catch (problem) {
      // What was live a moment ago stays until the service responds. Without a key nothing is asked for.
      again &&= problem.status !== 401;
    }
    if (again && mine === this.#requests) this.#timer = setTimeout(() => this.refresh(), POLL_MS);
  }

  /** Ends watching, before another shopper comes or the page goes. */
  stop() {
    if (!this.#watching) return;
    const { card, shopper, since } = this.#watching;
    const seconds = Math.round((performance.now() - since) / 100) / 10;
    this.#watching = null;
    card.setWatching(false);
    recordEvent("watch", shopper, card.shown, seconds);
    this.#onWatched(card.shown.item, seconds);
  }

  #show({ items, request_id: requestId }) {
    const focused = document.activeElement;
    const hadFocus = $("live").contains(focused);
    const cards = new Map();
    for (const item of items.filter((one) => one.live)) {
      const shown = { item, requestId, surface: "live" };
      const card = this.#cards.get(item.video_id) ?? new LiveCard((one) => this.#toggle(one));
      card.update(shown);
      cards.set(item.video_id, card);
      this.#count(shown);
    }
    for (const [id, card] of this.#cards) {
      if (cards.has(id)) continue;
      if (this.#watching?.card === card) this.stop();
      card.element.remove();
    }
    const [before, after] = [this.#cards.size, cards.size];
    this.#cards = cards;
    this.#arrange();
    $("live").hidden = after === 0;
    if (before !== after) $("live-note").textContent = after === 0 ? say("No stream is live.") : counted("{n} stream is live.", "{n} streams are live.", after);
    if (hadFocus && document.activeElement !== focused) {
      if (focused.isConnected && after) focused.focus({ preventScroll: true });
      else $(after ? "live-title" : "feed-title").focus({ preventScroll: true });
    }
  }

  /** Counts a stream once for each shopper as shown. */
  #count(shown) {
    const name = `${now().id} ${shown.item.video_id}`;
    if (this.#counted.has(name)) return;
    this.#counted.add(name);
    recordEvent("impression", now(), shown);
  }

  #arrange() {
    let next = $("live-list").firstElementChild;
    for (const { element } of this.#cards.values()) {
      if (element === next) next = next.nextElementSibling;
      else $("live-list").insertBefore(element, next);
    }
  }

  #toggle(card) {
    const mine = this.#watching?.card === card;
    this.stop();
    if (mine) return;
    recordEvent("click", now(), card.shown);
    this.#watching = { card, shopper: now(), since: performance.now() };
    card.setWatching(true);
  }
}

class LiveCard {
  constructor(onToggle) {
    this.title = el("h3");
    this.facts = el("p", { class: "facts" });
    this.viewers = el("b");
    this.pinned = el("p", { class: "pinned" });
    this.button = el("button", { type: "button", class: "first", "aria-pressed": "false", onclick: () => onToggle(this) });
    const mark = el("p", { class: "on-air" }, el("span", { class: "mark" }, say("LIVE")), this.viewers);
    this.element = el("li", {}, mark, this.title, this.facts, this.pinned, el("div", { class: "buttons" }, this.button));
  }

  update(shown) {
    const { item } = shown;
    this.shown = shown;
    this.element.className = `live ${hueOf(item.category)}`;
    this.element.dataset.video = item.video_id;
    this.title.textContent = nameOf(item);
    const minutes = Math.max(0, Math.floor((Date.now() - Date.parse(item.live.started_at)) / 60_000));
    const since = minutes < 1 ? say("just started") : minutes < 120 ? say("for {n} min", { n: minutes }) : say("for {n} h", { n: Math.floor(minutes / 60) });
    const facts = [item.creator_id, item.category, since].filter(Boolean);
    this.facts.replaceChildren(...facts.map((fact) => el("span", {}, fact)));
    const { viewers, product_ids: products } = item.live;
    showText(this.viewers, viewers === null ? null : say("{n} watching", { n: viewers.toLocaleString(locale) }));
    showText(this.pinned, products.length ? say("Shown now: {products}", { products: products.join(", ") }) : null);
    this.setWatching(this.button.getAttribute("aria-pressed") === "true");
  }

  setWatching(on) {
    const label = say(on ? "Stop watching" : "Watch");
    this.button.textContent = label;
    this.button.setAttribute("aria-pressed", String(on));
    this.button.setAttribute("aria-label", say("{label}: {title}, live", { label, title: nameOf(this.shown.item) }));
  }
}
