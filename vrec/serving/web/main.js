// The page: a shopper, their actions, and the feed that responds to them.

import { apiEvents, recommend, search, similar, useKey } from "./api.js";
import { buttonsOf, hueOf, nameOf, press } from "./cards.js";
import { changeOf, mixOf, NONE } from "./changes.js";
import { startCharts } from "./charts.js";
import { $, el, showText } from "./dom.js";
import { flush, flushOnExit, recordEvent, watchEvents } from "./events.js";
import { CardList } from "./lists.js";
import { Player } from "./player.js";
import { arePaused, coverPreviews, pausePreviews } from "./previews.js";
import { become, now, setAge, shoppers } from "./shopper.js";
import { hold, release, startUndo } from "./undo.js";
import { startUpload } from "./upload.js";

const K = 20;
const FOUND_K = 12;
const RETRY_MS = 5_000;
const UNAVAILABLE = {
  ranking: "Ranking is unavailable. The list shows popular videos, the same for every shopper.",
  profiles: "Profiles are unavailable. The list does not use your history.",
  encoder: "Searching by meaning is unavailable. The search finds words only.",
  cards: "The catalog is unavailable. Titles and prices are missing.",
};
const DONE = { like: "liking", unlike: "taking back the like of", cart: "adding to the cart", purchase: "buying", hide: "hiding" };
const HELD = { like: "Liked", unlike: "No longer liked:", cart: "Added to the cart", purchase: "Bought", hide: "You will not see this again:" };

const player = new Player();
const done = new Set();
const handlers = { open, act, similar: showSimilar, has: (kind, id) => done.has(`${now().id} ${kind} ${id}`) };
const onSeen = (shown) => recordEvent("impression", now(), shown);
const feed = new CardList($("feed"), handlers, onSeen);
const found = new CardList($("found-list"), handlers, onSeen);
let latestFound = null;
let watching = null;
let requests = 0;
let retry = null;
let pendingNews = null;

/**
 * Requests the feed and shows it. `words` begin the line that describes the change since `before`; if another
 * request starts before the response arrives, that line is shown with the response of the later request.
 */
async function refresh(words = null, before = feed.items, category = null) {
  const mine = ++requests;
  if (words) pendingNews = { words, before, category };
  clearTimeout(retry);
  try {
    const response = await recommend(now(), K);
    if (mine !== requests) return;
    const change = feed.show(response, "feed");
    if (change.lostFocus && !player.isOpen) $("feed-title").focus({ preventScroll: true });
    // The line and the numbers beside the categories describe one and the same change.
    showMix(pendingNews?.before ?? before, response.items);
    showStatus(response);
    if (pendingNews) {
      const { words: cause, before: old, category: first } = pendingNews;
      showText($("news"), `${cause}: ${changeOf(old, response.items, first)}.`);
    }
    pendingNews = null;
    showText($("trouble"), null);
    $("key").hidden = true;
    if (response.degraded) retry = setTimeout(refresh, RETRY_MS);
  } catch (problem) {
    if (mine === requests) fail(problem);
  } finally {
    $("feed").setAttribute("aria-busy", "false");
  }
}

function fail(problem) {
  if (problem.status === 401) return;
  showText($("trouble"), problem.message);
  if (problem.temporary) retry = setTimeout(refresh, (problem.retryAfter ?? 0) * 1000 || RETRY_MS);
}

/** Sends the recorded events, and shows the feed that results from them. */
async function settle(words, before, category) {
  release();
  try {
    await flush();
  } catch (problem) {
    fail(problem);
    return;
  }
  await refresh(words, before, category);
}

/** Counts the impression of a video before an action with it. */
function countImpression(shown) {
  for (const list of [feed, found]) list.countNow(shown.item.video_id, shown);
}

/** Does something that can be undone for a few seconds. */
function act(kind, shown) {
  const { item } = shown;
  const [shopper, before] = [now(), feed.items];
  const isReversal = kind === "unlike";
  const name = `${shopper.id} ${isReversal ? "like" : kind} ${item.video_id}`;
  const setDone = (on) => (on ? done.add(name) : done.delete(name));
  countImpression(shown);
  const mark = () => {
    for (const list of [feed, found]) list.markDone(item.video_id);
    press($("player-buttons").children, item, handlers);
  };
  const send = () => {
    recordEvent(kind, shopper, shown, kind === "purchase" ? item.price : null);
    return settle(`After ${DONE[kind]} “${nameOf(item)}”`, before, item.category);
  };
  const undo = () => {
    setDone(isReversal);
    mark();
    $("feed-title").focus({ preventScroll: true });
    if (latestFound) found.show(...latestFound);
    refresh(`After the undo for “${nameOf(item)}”`, before);
  };
  hold(`${HELD[kind]} “${nameOf(item)}”`, send, undo);
  setDone(!isReversal);
  mark();
  if (kind !== "hide") return;
  const inside = document.activeElement?.closest(".card") !== null;
  for (const list of [feed, found]) list.remove(item.video_id);
  if (inside) $("feed-title").focus({ preventScroll: true });
}

async function open(shown) {
  const { item } = shown;
  const before = feed.items;
  countImpression(shown);
  recordEvent("click", now(), shown);
  const clicked = settle(null, before, item.category);
  coverPreviews(true);
  watching = shown;
  const seconds = await player.open(item, buttonsOf(() => shown, handlers, ["like", "cart", "purchase"]));
  coverPreviews(false);
  recordWatch();
  await clicked;
  await settle(`After watching “${nameOf(item)}” for ${seconds.toFixed(1)} s`, before, item.category);
}

/** Records once how long the video in the player played. */
function recordWatch() {
  if (watching && player.seconds >= 0.1) recordEvent("watch", now(), watching, Math.round(player.seconds * 10) / 10);
  watching = null;
}

function showSimilar(item) {
  return showFound(`Similar to “${nameOf(item)}”`, "similar", () => similar(item.video_id, FOUND_K));
}

function clearFound() {
  latestFound = null;
  found.clear();
}

async function showFound(title, surface, list, text = null) {
  $("found").hidden = false;
  $("found-title").textContent = title;
  showText($("found-note"), "Searching …");
  clearFound();
  $("found-title").focus();
  try {
    const response = await list();
    latestFound = [response, surface];
    found.show(...latestFound);
    showText($("found-note"), noteOf(response, text));
    showStatus(response);
  } catch (problem) {
    showText($("found-note"), problem.status === 401 ? "Enter an API key first." : problem.message);
  }
}

/** Describes a list that was found; `text` is that of a search. */
function noteOf({ items, found: matches }, text) {
  if (!items.length) return "No videos found.";
  if (matches === 0) return `Nothing found for “${text}”, but here is what is popular.`;
  return `${items.length} ${items.length === 1 ? "video" : "videos"}`;
}

function showMix(before, items) {
  const [old, mix] = [mixOf(before), mixOf(items)];
  const names = [...mix.keys()].sort((a, b) => mix.get(b) - mix.get(a) || (a < b ? -1 : 1));
  const chips = names.map((name) => {
    const difference = before.length ? mix.get(name) - (old.get(name) ?? 0) : 0;
    const change = difference ? el("span", { class: "by" }, difference > 0 ? `+${difference}` : `−${-difference}`) : null;
    return el("li", { class: `dot ${hueOf(name === NONE ? null : name)}` }, `${name} `, el("b", {}, String(mix.get(name))), change);
  });
  $("mix").replaceChildren(...chips);
  const known = new Set([...$("categories").children].map((option) => option.value));
  $("categories").append(...names.filter((name) => !known.has(name)).map((name) => el("option", { value: name })));
}

function showStatus(response) {
  showText($("degraded"), response.why.map((part) => UNAVAILABLE[part] ?? `A part of the service is unavailable: ${part}.`).join(" "));
  $("foot-bundle").textContent = response.bundle;
  if (response.arm) $("foot-arm").textContent = `${response.arm}, ${Math.round(100 * response.arm_share)} % of shoppers`;
  const inside = response.spent_ms.total ?? 0;
  const within = inside ? `, of which ${inside.toFixed(0)} ms in the service` : "";
  $("foot-latency").textContent = `${response.took_ms.toFixed(0)} ms${within}`;
}

function showShoppers() {
  const options = shoppers().map(({ id }, index) => el("option", { value: id, selected: index === 0 }, id));
  $("shopper-choice").replaceChildren(...options);
  $("shopper-age").value = now().age ?? "";
}

async function shopAs(id, words) {
  release();
  await flush().catch(() => {});
  become(id);
  showShoppers();
  feed.clear();
  $("found").hidden = true;
  clearFound();
  await refresh(null, []);
  showText($("news"), `${words} ${now().id}.`);
}

function listen() {
  $("shopper-choice").addEventListener("change", (event) => shopAs(event.target.value, "Shopping as"));
  $("shopper-new").addEventListener("click", () => shopAs(null, "Shopping as new shopper"));
  $("shopper-other").addEventListener("submit", (event) => {
    event.preventDefault();
    $("shopper-other").open = false;
    shopAs($("shopper-id").value.trim(), "Shopping as");
  });
  $("shopper-age").addEventListener("change", ({ target }) => {
    if (!target.reportValidity()) return;
    setAge(target.value === "" ? null : Math.trunc(Number(target.value)));
    refresh("After setting the age");
  });
  $("search").addEventListener("submit", (event) => {
    event.preventDefault();
    const text = $("search-text").value.trim();
    if (text) showFound(`Search for “${text}”`, "search", () => search(text, FOUND_K), text);
  });
  $("found-close").addEventListener("click", () => {
    $("found").hidden = true;
    clearFound();
    $("feed-title").focus();
  });
  $("previews").addEventListener("click", () => {
    pausePreviews(!arePaused());
    $("previews").setAttribute("aria-pressed", String(arePaused()));
  });
  $("key").addEventListener("submit", (event) => {
    event.preventDefault();
    useKey($("key-text").value.trim());
    $("key-text").value = "";
    settle(null, feed.items, null);
  });
  apiEvents.addEventListener("key", ({ detail }) => {
    $("key").hidden = false;
    showText($("key-problem"), detail.refused ? "The service does not accept this key." : null);
  });
  watchEvents((stored, pending) => ($("foot-events").textContent = pending ? `${stored}, ${pending} to be sent` : String(stored)));
  // Phones may close a page in the background without another event.
  document.addEventListener("visibilitychange", () => {
    if (document.visibilityState !== "hidden") return;
    release();
    flushOnExit();
  });
  addEventListener("pagehide", () => {
    release();
    recordWatch();
    flushOnExit();
  });
}

$("previews").setAttribute("aria-pressed", String(arePaused()));
listen();
startUndo();
showShoppers();
startUpload({ similar: showSimilar, refresh: () => refresh("After adding the video") });
startCharts();
refresh();
