// The page: a shopper, what they do, and the feed that follows.

import { recommend, search, similar, useKey, wire } from "./api.js";
import { buttonsOf, hueOf, nameOf, press } from "./cards.js";
import { changeOf, mixOf, NONE } from "./changes.js";
import { keepCharts } from "./charts.js";
import { $, el, tell } from "./dom.js";
import { flush, flushAtTheEnd, note, watchEvents } from "./events.js";
import { CardList } from "./lists.js";
import { Player } from "./player.js";
import { arePaused, coverPreviews, pausePreviews } from "./previews.js";
import { become, now, setAge, shoppers } from "./shopper.js";
import { keepUpload } from "./upload.js";

const K = 20;
const FOUND = 12;
const AGAIN_MS = 5_000;
const AWAY = {
  ranking: "Ranking is away: this is what is popular, the same for everybody.",
  profiles: "Profiles are away: you are taken for a stranger.",
  cards: "The catalogue is away: titles and prices are missing.",
};
const DONE = { like: "liking", cart: "putting into the cart", purchase: "buying" };

const player = new Player();
const done = new Set();
const hands = { open, act, similar: showSimilar, has: (kind, id) => done.has(`${now().id} ${kind} ${id}`) };
const seen = (shown) => note("impression", now(), shown);
const feed = new CardList($("feed"), hands, seen);
const found = new CardList($("found-list"), hands, seen);
let watching = null;
let asked = 0;
let again = null;
let unsaid = null;

/**
 * Asks for the feed and shows it; `words` begin the line that says what changed since `before`. Where another
 * asks before the answer is there, its answer says so instead.
 */
async function refresh(words = null, before = feed.items, category = null) {
  const mine = ++asked;
  if (words) unsaid = { words, before, category };
  clearTimeout(again);
  try {
    const answer = await recommend(now(), K);
    if (mine !== asked) return;
    const change = feed.show(answer.items, answer.request_id, "feed");
    if (change.lostFocus && !player.isOpen) $("feed-title").focus({ preventScroll: true });
    showMix(before, answer.items);
    showAnswer(answer);
    if (unsaid) tell($("news"), `${unsaid.words}: ${changeOf(unsaid.before, answer.items, unsaid.category, change)}.`);
    unsaid = null;
    tell($("trouble"), null);
    $("key").hidden = true;
    if (answer.degraded) again = setTimeout(refresh, AGAIN_MS);
  } catch (problem) {
    if (mine === asked) fail(problem);
  } finally {
    $("feed").setAttribute("aria-busy", "false");
  }
}

function fail(problem) {
  if (problem.status === 401) return;
  tell($("trouble"), problem.message);
  if (problem.passing) again = setTimeout(refresh, (problem.retryAfter ?? 0) * 1000 || AGAIN_MS);
}

/** Sends what was done, and shows the feed that follows from it. */
async function settle(words, before, category) {
  try {
    await flush();
  } catch (problem) {
    fail(problem);
    return;
  }
  await refresh(words, before, category);
}

/** What a shopper does something with, they have seen: the impression comes before what follows from it. */
function countFirst(shown) {
  for (const list of [feed, found]) list.countNow(shown.item.video_id, shown);
}

async function act(kind, shown) {
  const { item } = shown;
  countFirst(shown);
  done.add(`${now().id} ${kind} ${item.video_id}`);
  for (const list of [feed, found]) list.tellDone(item.video_id);
  press($("player-buttons").children, item, hands);
  note(kind, now(), shown, kind === "purchase" ? item.price : null);
  await settle(`After ${DONE[kind]} “${nameOf(item)}”`, feed.items, item.category);
}

async function open(shown) {
  const { item } = shown;
  const before = feed.items;
  countFirst(shown);
  note("click", now(), shown);
  const clicked = settle(null, before, item.category);
  coverPreviews(true);
  watching = shown;
  const seconds = await player.open(item, buttonsOf(() => shown, hands, ["like", "cart", "purchase"]));
  coverPreviews(false);
  noteWatch();
  await clicked;
  await settle(`After watching “${nameOf(item)}” for ${seconds.toFixed(1)} s`, before, item.category);
}

/** Puts down how long the video in the player played, once. */
function noteWatch() {
  if (watching && player.seconds >= 0.1) note("watch", now(), watching, Math.round(player.seconds * 10) / 10);
  watching = null;
}

function showSimilar(item) {
  return showFound(`Like “${nameOf(item)}”`, "similar", () => similar(item.video_id, FOUND));
}

async function showFound(title, surface, list) {
  $("found").hidden = false;
  $("found-title").textContent = title;
  tell($("found-note"), "Looking …");
  found.clear();
  $("found-title").focus();
  try {
    const answer = await list();
    found.show(answer.items, answer.request_id, surface);
    tell($("found-note"), answer.items.length ? `${answer.items.length} videos` : "Nothing was found.");
    showAnswer(answer);
  } catch (problem) {
    tell($("found-note"), problem.status === 401 ? "A key is wanted first." : problem.message);
  }
}

function showMix(before, items) {
  const [old, mix] = [mixOf(before), mixOf(items)];
  const names = [...mix.keys()].sort((a, b) => mix.get(b) - mix.get(a) || (a < b ? -1 : 1));
  const chips = names.map((name) => {
    const by = before.length ? mix.get(name) - (old.get(name) ?? 0) : 0;
    const change = by ? el("span", { class: "by" }, by > 0 ? `+${by}` : `−${-by}`) : null;
    return el("li", { class: `dot ${hueOf(name === NONE ? null : name)}` }, `${name} `, el("b", {}, String(mix.get(name))), change);
  });
  $("mix").replaceChildren(...chips);
  const known = new Set([...$("categories").children].map((option) => option.value));
  $("categories").append(...names.filter((name) => !known.has(name)).map((name) => el("option", { value: name })));
}

function showAnswer(answer) {
  tell($("degraded"), answer.why.map((part) => AWAY[part] ?? `A part is away: ${part}.`).join(" "));
  $("foot-bundle").textContent = answer.bundle;
  if (answer.arm) $("foot-arm").textContent = `${answer.arm}, ${Math.round(100 * answer.arm_share)} % of shoppers`;
  const inside = answer.spent_ms.total ?? 0;
  const within = inside ? `, ${inside.toFixed(0)} ms of it in ranking` : "";
  $("foot-latency").textContent = `${answer.took_ms.toFixed(0)} ms${within}`;
}

function showShoppers() {
  const options = shoppers().map(({ id }, place) => el("option", { value: id, selected: place === 0 }, id));
  $("shopper-choice").replaceChildren(...options);
  $("shopper-age").value = now().age ?? "";
}

async function shopAs(id, words) {
  await flush().catch(() => {});
  become(id);
  showShoppers();
  feed.clear();
  $("found").hidden = true;
  found.clear();
  await refresh(null, []);
  tell($("news"), `${words} ${now().id}.`);
}

function listen() {
  $("shopper-choice").addEventListener("change", (event) => shopAs(event.target.value, "Shopping as"));
  $("shopper-new").addEventListener("click", () => shopAs(null, "Shopping as somebody new,"));
  $("shopper-other").addEventListener("submit", (event) => {
    event.preventDefault();
    $("shopper-other").open = false;
    shopAs($("shopper-id").value.trim(), "Shopping as");
  });
  $("shopper-age").addEventListener("change", ({ target }) => {
    if (!target.reportValidity()) return;
    setAge(target.value === "" ? null : Math.trunc(Number(target.value)));
    refresh("With that age");
  });
  $("search").addEventListener("submit", (event) => {
    event.preventDefault();
    const text = $("search-text").value.trim();
    if (text) showFound(`Search for “${text}”`, "search", () => search(text, FOUND));
  });
  $("found-close").addEventListener("click", () => {
    $("found").hidden = true;
    found.clear();
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
  wire.addEventListener("key", ({ detail }) => {
    $("key").hidden = false;
    tell($("key-problem"), detail.refused ? "The service does not know that key." : null);
  });
  watchEvents((kept, waiting) => ($("foot-events").textContent = waiting ? `${kept}, ${waiting} to be sent` : String(kept)));
  // Phones put a page away without telling it that it goes.
  document.addEventListener("visibilitychange", () => document.visibilityState === "hidden" && flushAtTheEnd());
  addEventListener("pagehide", () => {
    noteWatch();
    flushAtTheEnd();
  });
}

$("previews").setAttribute("aria-pressed", String(arePaused()));
listen();
showShoppers();
keepUpload({ similar: showSimilar, refresh: () => refresh("With the new video") });
keepCharts();
refresh();
