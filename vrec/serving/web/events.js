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

/**
 * Records that a shopper saw or did something with an item of a response. With a `domain` it happened there, in the
 * shopper's linked account, and not in the list of the response.
 */
export function recordEvent(kind, shopper, shown, value = null, domain = null) {
  const { item, requestId, surface } = shown;
  const event = { event_id: `page-${random(12)}`, user_id: shopper.id, video_id: item.video_id, kind, surface };
  if (domain !== null) Object.assign(event, { domain, linked: true });
  else if (requestId) Object.assign(event, { position: item.position, request_id: requestId, propensity: item.propensity });
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
  for (const linked of [false, true]) {
    const events = pending.filter((event) => isLinked(event) === linked).slice(-100);
    if (events.length) sendEvents(events, { keepalive: true, signal: undefined }).catch(() => {});
  }
}

async function send() {
  const batch = nextBatch();
  try {
    const response = await sendEvents(batch);
    stored += response.new;
    pending.splice(0, batch.length);
  } catch (problem) {
    // Events that the service refuses are dropped, so that they do not hold up later ones.
    if (!problem.temporary && problem.status !== 401) {
      pending.splice(0, batch.length);
      if (pending.length) schedule(BATCH_MS);
    }
    if (problem.temporary) schedule((problem.retryAfter ?? 0) * 1000 || RETRY_MS);
    throw problem;
  } finally {
    onChange(stored, pending.length);
  }
}

const isLinked = (event) => event.linked === true;

/** Returns the first pending events. Those of a linked account go by themselves: once the link has ended they are refused. */
function nextBatch() {
  const end = pending.findIndex((event) => isLinked(event) !== isLinked(pending[0]));
  return pending.slice(0, end < 0 ? BATCH_SIZE : Math.min(end, BATCH_SIZE));
}

function schedule(ms) {
  timer ??= setTimeout(() => flush().catch(() => {}), ms);
}
