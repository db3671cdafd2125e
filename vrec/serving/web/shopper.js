// Shoppers of this browser: generated ids, of which it remembers the last few.

const STORAGE_KEY = "vrec.shoppers";
const REMEMBERED = 6;

/** Returns random characters; crypto.randomUUID is missing on pages without TLS. */
export function random(length) {
  const bytes = crypto.getRandomValues(new Uint8Array(length));
  return Array.from(bytes, (byte) => "0123456789abcdefghijklmnopqrstuv"[byte % 32]).join("");
}

/** Returns the shoppers of this browser as {id, age}, the current one first; there is always one. */
export function shoppers() {
  let known = [];
  try {
    known = JSON.parse(localStorage.getItem(STORAGE_KEY) ?? "[]");
  } catch {
    // The stored text is not ours.
  }
  return known.length ? known : save([newShopper()]);
}

export const now = () => shoppers()[0];

/** Changes the current shopper to a new one, or to the one with this id. */
export function become(id = null) {
  const before = shoppers();
  const next = before.find((one) => one.id === id) ?? newShopper(id);
  return save([next, ...before.filter((one) => one.id !== next.id)])[0];
}

export function setAge(age) {
  const [first, ...rest] = shoppers();
  return save([{ ...first, age }, ...rest])[0];
}

/** Forgets a shopper in this browser; a new one is the current one. */
export function drop(id) {
  return save([newShopper(), ...shoppers().filter((one) => one.id !== id)])[0];
}

const newShopper = (id = null) => ({ id: id ?? `page-${random(8)}`, age: null });

function save(list) {
  const saved = list.slice(0, REMEMBERED);
  localStorage.setItem(STORAGE_KEY, JSON.stringify(saved));
  return saved;
}
