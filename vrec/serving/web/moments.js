// Moments of videos: buttons that name a span of time, and play the video from there.

import { momentsLike, videoOf } from "./api.js";
import { $, el } from "./dom.js";
import { say } from "./words.js";

/** Returns seconds as minutes and seconds, such as 0:41, or with hours. */
export function clock(seconds) {
  const whole = Math.max(0, Math.floor(seconds));
  const [hours, minutes, rest] = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60, String(whole % 60).padStart(2, "0")];
  return hours ? `${hours}:${String(minutes).padStart(2, "0")}:${rest}` : `${minutes}:${rest}`;
}

/** Returns a list item for each moment, with a button that calls `onPress(moment)`, and the words that are said there. */
export function momentItems(moments, title, onPress) {
  return moments.map((moment) => {
    const span = say("{start} to {end}", { start: clock(moment.start_s), end: clock(Math.ceil(moment.end_s)) });
    const label = say("Play {span}: {title}", { span, title });
    const button = el("button", { type: "button", "aria-label": label, onclick: () => onPress(moment) }, span);
    return el("li", {}, button, moment.text ? el("q", {}, moment.text) : null);
  });
}

/** Shows moments in the player. */
export function showMoments(moments, title, onPress) {
  $("player-moments").replaceChildren(...momentItems(moments, title, onPress));
  $("player-moments").hidden = !moments.length;
}

/** Returns a list as of a search, of the videos that have moments like those of a picture or clip; prices are in the currency. */
export async function searchByFile(file, k, currency) {
  const { moments, ...response } = await momentsLike(file, k);
  const byVideo = new Map();
  for (const moment of moments) byVideo.set(moment.video_id, [...(byVideo.get(moment.video_id) ?? []), moment]);
  const videos = await Promise.all([...byVideo.keys()].map((id) => videoOf(id).catch(() => null)));
  // A search by file is no list of its own: its events name no request and no position.
  const none = { reasons: [], source: "moments", p_click: 0, watch_s: 0, p_conv: 0 };
  const items = videos.filter((video) => video?.recommendable).map((video, position) => ({ ...video, ...none, position, moments: byVideo.get(video.video_id) }));
  return { ...response, items, currency, request_id: undefined, spent_ms: {} };
}
