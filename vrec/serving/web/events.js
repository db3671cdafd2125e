// Events of the shopper, sent in batches. An event keeps its id when it is sent again, so it counts once.

import { sendEvents } from "./api.js";
import { random } from "./shopper.js";

const BATCH_MS = 400;
const RETRY_MS = 3_000;
const BATCH_SIZE = 500;

const pending = [];
let sending = null;
let timer = null;
let stored = 0;
let onChange = () => {};

/** Sets the listener that is called as `listener(stored, pending)` whenever either number changes. */
export function watchEvents(listener) {
  onChange = listener;
}

/** Records that a shopper saw or did something with an item of a response. */
export function recordEvent(kind, shopper, shown, value = null) {
  const { item, requestId, surface } = shown;
  const event = { event_id: `page-${random(12)}`, user_id: shopper.id, video_id: item.video_id, kind, surface };
  if (requestId) Object.assign(event, { position: item.position, request_id: requestId, propensity: item.propensity });
  if (value !== null) event.value = value;
  pending.push(event);
  schedule(BATCH_MS);
}

/** Sends all recorded events and returns once they are durable; else throws Problem, and tries again later. */
export async function flush() {
  clearTimeout(timer);
  timer = null;
  while (pending.length || sending) {
    sending ??= send().finally(() => (sending = null));
    await sending;
  }
}

/** Sends the pending events while the page is being closed. */
export function flushOnExit() {
  if (pending.length) sendEvents(pending.slice(-100), { keepalive: true, signal: undefined }).catch(() => {});
}

async function send() {
  const batch = pending.slice(0, BATCH_SIZE);
  try {
    const response = await sendEvents(batch);
    stored += response.new;
    pending.splice(0, batch.length);
  } catch (problem) {
    // Events that the service refuses are dropped, so that they do not hold up later ones.
    if (!problem.temporary && problem.status !== 401) pending.splice(0, batch.length);
    else if (problem.status !== 401) schedule((problem.retryAfter ?? 0) * 1000 || RETRY_MS);
    throw problem;
  } finally {
    onChange(stored, pending.length);
  }
}

function schedule(ms) {
  timer ??= setTimeout(() => flush().catch(() => {}), ms);
}
