// Description of the changes from one list to the next.

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
    const verb = name === NONE ? "have " : "are ";
    const whole = before.length === after.length ? `${n} → ${m} of ${after.length}` : `${n} of ${before.length} → ${m} of ${after.length}`;
    parts.push(`${whole} ${verb}${name}`);
  }
  if (added) parts.push(`${added} ${added === 1 ? "video is" : "videos are"} new`);
  if (moved) parts.push(`${moved} ${moved === 1 ? "has" : "have"} another place`);
  return parts.length ? parts.join(", ") : "the list did not change";
}
