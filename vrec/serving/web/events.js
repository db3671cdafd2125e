// What the shopper saw and did, sent in batches. An event keeps its id until the service has it: it counts once.

import { sendEvents } from "./api.js";
import { random } from "./shopper.js";

const GATHER_MS = 400;
const RETRY_MS = 3_000;
const TOGETHER = 500;

const waiting = [];
let sending = null;
let timer = null;
let kept = 0;
let told = () => {};

/** `told(kept, waiting)` is called whenever either changes. */
export function watchEvents(listener) {
  told = listener;
}

/** Puts down that a shopper saw or did something with an item of an answer. */
export function note(kind, shopper, shown, value = null) {
  const { item, requestId, surface } = shown;
  const event = { event_id: `page-${random(12)}`, user_id: shopper.id, video_id: item.video_id, kind, surface };
  if (requestId) Object.assign(event, { position: item.position, request_id: requestId, propensity: item.propensity });
  if (value !== null) event.value = value;
  waiting.push(event);
  later(GATHER_MS);
}

/** Returns when all that was put down is durable; raises the Problem where it is not, and tries again later. */
export async function flush() {
  clearTimeout(timer);
  timer = null;
  while (waiting.length || sending) {
    sending ??= send().finally(() => (sending = null));
    await sending;
  }
}

/** Sends what waits though the page goes away. */
export function flushAtTheEnd() {
  if (waiting.length) sendEvents(waiting.slice(-100), { keepalive: true, signal: undefined }).catch(() => {});
}

async function send() {
  const some = waiting.slice(0, TOGETHER);
  try {
    const said = await sendEvents(some);
    kept += said.new;
    waiting.splice(0, some.length);
  } catch (problem) {
    // What is wrong stays wrong: it must not hold up what comes after it.
    if (!problem.passing && problem.status !== 401) waiting.splice(0, some.length);
    else if (problem.status !== 401) later((problem.retryAfter ?? 0) * 1000 || RETRY_MS);
    throw problem;
  } finally {
    told(kept, waiting.length);
  }
}

function later(ms) {
  timer ??= setTimeout(() => flush().catch(() => {}), ms);
}
