// The page: a shopper, their actions, and the feed that responds to them.

import { apiEvents, erase, recommend, search, similar, useKey } from "./api.js";
import { Assistant } from "./assistant.js";
import { buttonsOf, hueOf, nameOf, press } from "./cards.js";
import { changeOf, mixOf, NONE } from "./changes.js";
import { startCharts } from "./charts.js";
import { CreatorRow } from "./creators.js";
import { $, el, showText } from "./dom.js";
import { Elsewhere } from "./elsewhere.js";
import { flush, flushOnExit, recordEvent, watchEvents } from "./events.js";
import { CardList } from "./lists.js";
import { LiveRow } from "./live.js";
import { searchByFile } from "./moments.js";
import { Player } from "./player.js";
import { arePaused, coverPreviews, pausePreviews } from "./previews.js";
import { become, drop, now, setAge, shoppers } from "./shopper.js";
import { hold, release, startUndo } from "./undo.js";
import { startUpload } from "./upload.js";
import { counted, say, translateDocument } from "./words.js";

const K = 20;
const FOUND_K = 12;
const RETRY_MS = 5_000;
const UNAVAILABLE = {
  ranking: "Ranking is unavailable. The list shows popular videos, the same for every shopper.",
  profiles: "Profiles are unavailable. The list does not use your history.",
  encoder: "Searching by meaning is unavailable. The search finds words only.",
  cards: "The catalog is unavailable. Titles and prices are missing.",
};
const DONE = {
  like: "After liking “{title}”",
  unlike: "After taking back the like of “{title}”",
  cart: "After adding to the cart “{title}”",
  purchase: "After buying “{title}”",
  hide: "After hiding “{title}”",
};
const HELD = {
  like: "Liked “{title}”",
  unlike: "No longer liked: “{title}”",
  cart: "Added to the cart “{title}”",
  purchase: "Bought “{title}”",
  hide: "You will not see this again: “{title}”",
};

translateDocument();

const player = new Player();
const elsewhere = new Elsewhere();
const done = new Set();
const handlers = { open, act, similar: showSimilar, has: (kind, id) => done.has(`${now().id} ${kind} ${id}`) };
const onSeen = (shown) => recordEvent("impression", now(), shown);
const feed = new CardList($("feed"), handlers, onSeen);
const found = new CardList($("found-list"), handlers, onSeen);
const creators = new CreatorRow((words) => settle(words, feed.items, null));
const live = new LiveRow((item, seconds) => settle(afterWatching(item, seconds), feed.items, item.category));
const assistant = new Assistant(handlers, onSeen, () => refresh(say("After asking the assistant")));
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
    creators.refresh();
    const change = feed.show(response, "feed");
    if (change.lostFocus && !player.isOpen) $("feed-title").focus({ preventScroll: true });
    // The line and the numbers beside the categories describe one and the same change.
    showMix(pendingNews?.before ?? before, response.items);
    showStatus(response);
    if (pendingNews) {
      const { words: cause, before: old, category: first } = pendingNews;
      showText($("news"), say("{cause}: {change}.", { cause, change: changeOf(old, response.items, first) }));
    }
    pendingNews = null;
    showText($("trouble"), null);
    $("key").hidden = true;
    assistant.restore();
    if (response.degraded) retry = setTimeout(refresh, RETRY_MS);
    live.refresh();
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

/** Returns all lists of cards on the page. */
const lists = () => [feed, found, ...assistant.lists];

/** Returns where the focus goes from a card that goes away. */
const nearby = () => (document.activeElement?.closest("#assistant") ? $("talk") : $("feed-title"));

/** Counts the impression of a video before an action with it. */
function countImpression(shown) {
  for (const list of lists()) list.countNow(shown.item.video_id, shown);
}

/** Does something that can be undone for a few seconds. */
function act(kind, shown) {
  const { item } = shown;
  const [shopper, before] = [now(), feed.items];
  const isReversal = kind === "unlike";
  const name = `${shopper.id} ${isReversal ? "like" : kind} ${item.video_id}`;
  const setDone = (on) => (on ? done.add(name) : done.delete(name));
  countImpression(shown);
  const title = { title: nameOf(item) };
  const back = nearby();
  const mark = () => {
    for (const list of lists()) list.markDone(item.video_id);
    press($("player-buttons").children, item, handlers);
  };
  const send = () => {
    recordEvent(kind, shopper, shown, kind === "purchase" ? item.price : null);
    return settle(say(DONE[kind], title), before, item.category);
  };
  const undo = () => {
    setDone(isReversal);
    mark();
    back.focus({ preventScroll: true });
    for (const list of lists().filter((one) => one !== feed)) list.again();
    refresh(say("After the undo for “{title}”", title), before);
  };
  hold(say(HELD[kind], title), send, undo);
  setDone(!isReversal);
  mark();
  if (kind !== "hide") return;
  const inside = document.activeElement?.closest(".card") !== null;
  for (const list of lists()) list.remove(item.video_id);
  if (inside) back.focus({ preventScroll: true });
}

/** Opens the player, at a moment of the video if one is given. */
async function open(shown, moment = null) {
  const { item } = shown;
  const before = feed.items;
  countImpression(shown);
  recordEvent("click", now(), shown);
  const clicked = settle(null, before, item.category);
  coverPreviews(true);
  watching = shown;
  elsewhere.offer(now());
  const seconds = await player.open(item, buttonsOf(() => shown, handlers, ["like", "cart", "purchase"]), moment);
  coverPreviews(false);
  recordWatch();
  const words = afterWatching(item, seconds, elsewhere.domain);
  elsewhere.clear();
  await clicked;
  await settle(words, before, item.category);
}

function afterWatching(item, seconds, where = null) {
  const values = { title: nameOf(item), n: seconds.toFixed(1), where };
  return where === null ? say("After watching “{title}” for {n} s", values) : say("After watching “{title}” on “{where}” for {n} s", values);
}

/** Records once how long the video in the player played, in the shop or where the shopper says. */
function recordWatch() {
  if (watching && player.seconds >= 0.1) recordEvent("watch", now(), watching, Math.round(player.seconds * 10) / 10, elsewhere.domain);
  watching = null;
}

function showSimilar(item) {
  return showFound(say("Similar to “{title}”", { title: nameOf(item) }), "similar", () => similar(item.video_id, FOUND_K));
}

/** Searches by a picture or clip. */
function showAlike(title, file) {
  return showFound(title, "moments", () => searchByFile(file, 2 * FOUND_K, feed.latest?.[0].currency));
}

function clearFound() {
  found.clear();
  found.latest = null;
}

async function showFound(title, surface, list, text = null) {
  $("found").hidden = false;
  $("found-title").textContent = title;
  showText($("found-note"), say("Searching …"));
  clearFound();
  $("found-title").focus();
  try {
    const response = await list();
    found.show(response, surface);
    showText($("found-note"), noteOf(response, text));
    showStatus(response);
  } catch (problem) {
    showText($("found-note"), problem.status === 401 ? say("Enter an API key first.") : problem.message);
  }
}

/** Describes a list that was found; `text` is that of a search. */
function noteOf({ items, found: matches }, text) {
  if (!items.length) return say("No videos found.");
  if (matches === 0) return say("Nothing found for “{text}”, but here is what is popular.", { text });
  return counted("{n} video", "{n} videos", items.length);
}

function showMix(before, items) {
  const [old, mix] = [mixOf(before), mixOf(items)];
  const names = [...mix.keys()].sort((a, b) => mix.get(b) - mix.get(a) || (a < b ? -1 : 1));
  const chips = names.map((name) => {
    const difference = before.length ? mix.get(name) - (old.get(name) ?? 0) : 0;
    const change = difference ? el("span", { class: "by" }, difference > 0 ? `+${difference}` : `−${-difference}`) : null;
    return el("li", { class: `dot ${hueOf(name === NONE ? null : name)}` }, `${name === NONE ? say(NONE) : name} `, el("b", {}, String(mix.get(name))), change);
  });
  $("mix").replaceChildren(...chips);
  const known = new Set([...$("categories").children].map((option) => option.value));
  $("categories").append(...names.filter((name) => !known.has(name)).map((name) => el("option", { value: name })));
}

function showStatus(response) {
  showText($("degraded"), response.why.map((part) => (UNAVAILABLE[part] ? say(UNAVAILABLE[part]) : say("A part of the service is unavailable: {part}.", { part }))).join(" "));
  $("foot-bundle").textContent = response.bundle;
  if (response.arm) $("foot-arm").textContent = say("{arm}, {share} % of shoppers", { arm: response.arm, share: Math.round(100 * response.arm_share) });
  const inside = response.spent_ms.total ?? 0;
  const times = { n: response.took_ms.toFixed(0), within: inside.toFixed(0) };
  $("foot-latency").textContent = inside ? say("{n} ms, of which {within} ms in the service", times) : say("{n} ms", times);
}

function showShoppers() {
  const options = shoppers().map(({ id }, index) => el("option", { value: id, selected: index === 0 }, id));
  $("shopper-choice").replaceChildren(...options);
  $("shopper-age").value = now().age ?? "";
}

/** Changes the shopper; `words` say so with the new id, and `change` tells who it is. */
async function shopAs(words, change) {
  release();
  live.stop();
  await flush().catch(() => {});
  change();
  showShoppers();
  assistant.clear();
  feed.clear();
  creators.clear();
  $("found").hidden = true;
  clearFound();
  await refresh(null, []);
  showText($("news"), say(words, { id: now().id }));
}

/** Erases the shopper. From before that on the page is a new shopper's, so that no event of the old one comes later. */
async function eraseShopper() {
  const old = now();
  await assistant.pending;
  await shopAs("Shopping as new shopper {id}.", () => drop(old.id));
  try {
    await erase(old);
    showText($("news"), say("Everything about the shopper is erased. Shopping as new shopper {id}.", { id: now().id }));
  } catch (problem) {
    await shopAs("Shopping as {id}.", () => become(old.id));
    showText($("trouble"), problem.message);
  }
}

function listen() {
  $("shopper-choice").addEventListener("change", (event) => shopAs("Shopping as {id}.", () => become(event.target.value)));
  $("shopper-new").addEventListener("click", () => shopAs("Shopping as new shopper {id}.", () => become()));
  $("shopper-other").addEventListener("submit", (event) => {
    event.preventDefault();
    $("shopper-other").open = false;
    shopAs("Shopping as {id}.", () => become($("shopper-id").value.trim()));
  });
  $("shopper-erase").addEventListener("submit", (event) => {
    event.preventDefault();
    $("shopper-erase").open = false;
    $("shopper-choice").focus();
    eraseShopper();
  });
  $("shopper-age").addEventListener("change", ({ target }) => {
    if (!target.reportValidity()) return;
    setAge(target.value === "" ? null : Math.trunc(Number(target.value)));
    refresh(say("After setting the age"));
  });
  $("search").addEventListener("submit", (event) => {
    event.preventDefault();
    const text = $("search-text").value.trim();
    if (text) showFound(say("Search for “{text}”", { text }), "search", () => search(text, FOUND_K, now()), text);
  });
  $("search-picture").addEventListener("click", () => $("search-file").click());
  $("search-file").addEventListener("change", ({ target }) => {
    const [file] = target.files;
    if (file) showAlike(say("Looks like “{name}”", { name: file.name }), file);
    // The same file may be chosen again.
    target.value = "";
  });
  $("player-frame").addEventListener("click", async () => {
    const title = say("Looks like a frame of “{title}”", { title: nameOf(watching.item) });
    const file = await player.frame();
    player.close();
    showAlike(title, file);
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
    showText($("key-problem"), detail.refused ? say("The service does not accept this key.") : null);
  });
  watchEvents((stored, pending) => ($("foot-events").textContent = pending ? say("{stored}, {pending} to be sent", { stored, pending }) : String(stored)));
  // Phones may close a page in the background without another event.
  document.addEventListener("visibilitychange", () => {
    if (document.visibilityState !== "hidden") return;
    release();
    flushOnExit();
  });
  addEventListener("pagehide", () => {
    release();
    recordWatch();
    live.stop();
    flushOnExit();
  });
}

$("previews").setAttribute("aria-pressed", String(arePaused()));
listen();
startUndo();
showShoppers();
startUpload({ similar: showSimilar, refresh: () => refresh(say("After adding the video")) });
startCharts();
refresh();
