// What changed from one list to the next, in words that hold.

export const NONE = "without category";

/** How many of the items are of each category. */
export function mixOf(items) {
  const mix = new Map();
  for (const { category } of items) mix.set(category ?? NONE, (mix.get(category ?? NONE) ?? 0) + 1);
  return mix;
}

/**
 * What became of the list, as "5 → 9 of 20 are mugs". `first` is the category that is spoken of if it changed;
 * else the one that changed most is.
 */
export function changeOf(before, after, first, { came, moved }) {
  const [old, now] = [mixOf(before), mixOf(after)];
  const names = [...new Set([...now.keys(), ...old.keys()])];
  const by = (name) => (now.get(name) ?? 0) - (old.get(name) ?? 0);
  const most = names.sort((a, b) => Math.abs(by(b)) - Math.abs(by(a)))[0];
  const name = first !== null && by(first) ? first : most;
  const parts = [];
  if (name !== undefined && by(name)) {
    const [n, m] = [old.get(name) ?? 0, now.get(name) ?? 0];
    const verb = name === NONE ? "" : "are ";
    const whole = before.length === after.length ? `${n} → ${m} of ${after.length}` : `${n} of ${before.length} → ${m} of ${after.length}`;
    parts.push(`${whole} ${verb}${name}`);
  }
  if (came) parts.push(`${came} ${came === 1 ? "video is" : "videos are"} new in the list`);
  if (moved) parts.push(`${moved} moved`);
  return parts.length ? parts.join(", ") : "the list is as before";
}
