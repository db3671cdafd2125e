// Description of the changes from one list to the next.

export const NONE = "no category";

/** Returns the number of items by category. */
export function mixOf(items) {
  const mix = new Map();
  for (const { category } of items) mix.set(category ?? NONE, (mix.get(category ?? NONE) ?? 0) + 1);
  return mix;
}

/**
 * Describes the change of a list, such as "5 → 9 of 20 are mugs": of the category `first` if its count changed,
 * else of the category that changed most.
 */
export function changeOf(before, after, first, { added, moved }) {
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
  if (moved) parts.push(`${moved} moved`);
  return parts.length ? parts.join(", ") : "the list did not change";
}
