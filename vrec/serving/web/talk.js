// Requests to the assistant, whose answers come as events while they are made, or at once where that fails.

import { keyHeader, Problem, problemOf, request } from "./api.js";

const TIMEOUT_MS = 40_000;
const EVENTS = "text/event-stream";

const path = (shopper) => `/v1/assistant/${encodeURIComponent(shopper.id)}`;

/** Returns the shopper's conversation. */
export const conversation = (shopper) => request("GET", path(shopper));

/** Forgets the shopper's conversation, also while the page is being closed. */
export const forget = (shopper) => request("DELETE", path(shopper), undefined, { keepalive: true });

/**
 * Sends a message, or what else `fields` say, and returns the answer; calls `heard(piece)` for each piece of its text
 * that arrives before. A message with the same `message_id` is answered once, so it may be sent again. Throws Problem.
 */
export async function converse(shopper, fields, heard) {
  const context = shopper.age === null ? {} : { context: { age: shopper.age } };
  const body = { user_id: shopper.id, ...fields, ...context };
  return (await streamed(body, heard)) ?? (await request("POST", "/v1/assistant", body));
}

/** Returns the answer from a stream of events; null if the stream could not be read to its end. */
async function streamed(body, heard) {
  try {
    const headers = { ...keyHeader(), "Content-Type": "application/json", Accept: EVENTS };
    const signal = AbortSignal.timeout(TIMEOUT_MS);
    const response = await fetch("/v1/assistant", { method: "POST", headers, body: JSON.stringify(body), signal });
    if (!response.ok) throw problemOf(response.status, await response.text(), response.headers.get("Retry-After"));
    if (!response.headers.get("Content-Type")?.startsWith(EVENTS)) return await response.json();
    for await (const { name, data } of eventsOf(response.body)) {
      if (name === "text") heard(data.text);
      else if (name === "error") throw problemOf(data.status, JSON.stringify(data), null);
      else if (name === "done") return data;
    }
  } catch (problem) {
    if (problem instanceof Problem) throw problem;
  }
  return null;
}

/** Yields the events of a stream with their JSON data; comments are left out. */
async function* eventsOf(stream) {
  const reader = stream.pipeThrough(new TextDecoderStream()).getReader();
  let buffer = "";
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    const blocks = (buffer + value).split(/\r?\n\r?\n/);
    buffer = blocks.pop();
    for (const block of blocks) {
      const fields = Object.fromEntries(block.split(/\r?\n/).map((line) => [line.split(":", 1)[0], line.replace(/^[^:]*: ?/, "")]));
      if (fields.data) yield { name: fields.event, data: JSON.parse(fields.data) };
    }
  }
}
