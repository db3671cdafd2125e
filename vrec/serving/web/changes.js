// Description of the changes from one list to the next.

import { counted, say } from "./words.js";

export const NONE = "no category";

/** Returns the number of items by category. */
export function mixOf(items) {
  const mix = new Map();
  for (const { category } of items) mix.set(category ?? NONE, (mix.get(category ?? NONE) ?? 0) + 1);
  return mix;
}

/**
 * Describes the change from one list to another, such as "5 → 9 of 20 are mugs": of the category `first` if its
 * count changed, else of the category that changed most; and how many videos are new and moved.
 */
export function changeOf(before, after, first) {
  const places = new Map(before.map((item, place) => [item.video_id, place]));
  const added = after.filter((item) => !places.has(item.video_id)).length;
  const moved = after.filter((item, place) => places.has(item.video_id) && places.get(item.video_id) !== place).length;
  const [old, now] = [mixOf(before), mixOf(after)];
  const names = [...new Set([...now.keys(), ...old.keys()])];
  const by = (name) => (now.get(name) ?? 0) - (old.get(name) ?? 0);
  const most = names.sort((a, b) => Math.abs(by(b)) - Math.abs(by(a)))[0];
  const name = first !== null && by(first) ? first : most;
  const parts = [];
  if (name !== undefined && by(name)) {
    const [n, m] = [old.get(name) ?? 0, now.get(name) ?? 0];
    const values = { n, m, of: before.length, whole: after.length };
    const whole = before.length === after.length ? say("{n} → {m} of {whole}", values) : say("{n} of {of} → {m} of {whole}", values);
    parts.push(name === NONE ? say("{whole} have no category", { whole }) : say("{whole} are {name}", { whole, name }));
  }
  if (added) parts.push(counted("{n} video is new", "{n} videos are new", added));
  if (moved) parts.push(counted("{n} has another place", "{n} have another place", moved));
  return parts.length ? parts.join(say(", ")) : say("the list did not change");
}
