// Who shops here: ids made by this browser, the last few of which it remembers.

const PLACE = "vrec.shoppers";
const REMEMBERED = 6;

/** So many random characters; crypto.randomUUID is not there on pages without TLS. */
export function random(length) {
  const bytes = crypto.getRandomValues(new Uint8Array(length));
  return Array.from(bytes, (byte) => "0123456789abcdefghijklmnopqrstuv"[byte % 32]).join("");
}

/** Shoppers of this browser as {id, age}, the one who shops first. There is always one. */
export function shoppers() {
  let known = [];
  try {
    known = JSON.parse(localStorage.getItem(PLACE) ?? "[]");
  } catch {
    // Something else wrote there.
  }
  return known.length ? known : keep([made()]);
}

export const now = () => shoppers()[0];

/** Who shops from now on: a new shopper, or the one with the id. */
export function become(id = null) {
  const before = shoppers();
  const next = before.find((one) => one.id === id) ?? made(id);
  return keep([next, ...before.filter((one) => one.id !== next.id)])[0];
}

export function setAge(age) {
  const [first, ...rest] = shoppers();
  return keep([{ ...first, age }, ...rest])[0];
}

const made = (id = null) => ({ id: id ?? `page-${random(8)}`, age: null });

function keep(list) {
  const kept = list.slice(0, REMEMBERED);
  localStorage.setItem(PLACE, JSON.stringify(kept));
  return kept;
}
