// Row of creators to follow: who they are in plain words, and a button that follows, which can be undone.

import { creatorsToFollow } from "./api.js";
import { $, el } from "./dom.js";
import { recordEvent } from "./events.js";
import { now } from "./shopper.js";
import { hold } from "./undo.js";
import { say } from "./words.js";

const K = 6;
const SEEN_MS = 500;
const SURFACE = "creators";
const WHY = {
  watched: "You watch their videos",
  model: "Followed and watched by shoppers like you",
  content: "Videos like those you like",
  quality: "Well liked",
};

export class CreatorRow {
  /** `settle(words)` sends the recorded events and refreshes the page. */
  constructor(settle) {
    this.settle = settle;
    this.held = new Set();
    this.shown = new Map();
    this.timers = new Map();
    this.requests = 0;
    this.watch = new IntersectionObserver((entries) => this.#onIntersect(entries), { threshold: 0.5 });
  }

  /** Requests the creators for the shopper, and shows them. A row that cannot be had is left out. */
  async refresh() {
    const mine = ++this.requests;
    let response = { creators: [] };
    try {
      response = await creatorsToFollow(now(), K, SURFACE, [...this.held]);
    } catch {
      // The feed tells what is wrong.
    }
    if (mine === this.requests) this.#show(response);
  }

  clear() {
    this.requests += 1;
    this.held.clear();
    this.#show({ creators: [] });
  }

  #show({ creators, request_id: requestId }) {
    // Whoever is on the button of a creator that stays keeps it.
    const focused = document.activeElement?.closest("#creators-list li")?.dataset.creator;
    this.watch.disconnect();
    for (const timer of this.timers.values()) clearTimeout(timer);
    this.timers.clear();
    this.shown = new Map();
    const cards = creators.map((creator) => {
      const item = { ...creator, video_id: `creator:${creator.creator_id}` };
      const shown = { item, requestId, surface: SURFACE, counted: false };
      this.shown.set(creator.creator_id, shown);
      return this.#card(shown);
    });
    $("creators-list").replaceChildren(...cards);
    $("creators").hidden = !cards.length;
    for (const card of cards) this.watch.observe(card);
    if (focused !== undefined) this.#focus(focused);
  }

  #card(shown) {
    const { creator_id: id, about, source, is_new: isNew } = shown.item;
    const button = el("button", { type: "button", class: "first", onclick: () => this.#follow(shown) }, say("Follow"), el("span", { class: "quiet" }, ` ${id}`));
    return el(
      "li",
      { class: "creator", "data-creator": id },
      el("div", {}, el("h3", {}, id, isNew ? el("span", { class: "new" }, say("new")) : null), el("p", {}, about), el("p", { class: "soft" }, say(WHY[source]))),
      button,
    );
  }

  /** Follows a creator, who leaves the row at once. */
  #follow(shown) {
    const { item } = shown;
    const shopper = now();
    const card = this.#cardOf(item.creator_id);
    const next = (card?.nextElementSibling ?? card?.previousElementSibling)?.dataset.creator;
    this.#count(shown);
    this.held.add(item.creator_id);
    const send = () => {
      recordEvent("follow", shopper, shown);
      return this.settle(say("After following {name}", { name: item.creator_id })).finally(() => this.held.delete(item.creator_id));
    };
    const undo = async () => {
      this.held.delete(item.creator_id);
      await this.refresh();
      this.#focus(item.creator_id);
    };
    // What was held before is sent by this, and may refresh the row.
    hold(say("You follow {name}", { name: item.creator_id }), send, undo);
    card?.remove();
    $("creators").hidden = !$("creators-list").children.length;
    this.#focus(next);
  }

  #cardOf(id) {
    return [...$("creators-list").children].find((card) => card.dataset.creator === id);
  }

  /** Focuses the button of a creator, else the title of the row, else that of the feed. */
  #focus(id) {
    const button = this.#cardOf(id)?.querySelector("button");
    const title = $("creators").hidden ? $("feed-title") : $("creators-title");
    (button ?? title).focus({ preventScroll: true });
  }

  /** Counts an impression once. */
  #count(shown) {
    if (shown.counted) return;
    shown.counted = true;
    recordEvent("impression", now(), shown);
  }

  #onIntersect(entries) {
    for (const { target, isIntersecting } of entries) {
      clearTimeout(this.timers.get(target));
      const shown = this.shown.get(target.dataset.creator);
      if (!isIntersecting || !shown || shown.counted) continue;
      this.timers.set(target, setTimeout(() => document.visibilityState === "visible" && this.#count(shown), SEEN_MS));
    }
  }
}
