// Requests to the service. Errors are Problems, whose message is for people.

import { say } from "./words.js";

const KEY = "vrec.key";
const TIMEOUT_MS = 15_000;
// Problems of a video begin with the kind of failure, such as "WrongContainer: ", which is for programs.
const FAILURE_KIND = /^(?:[A-Z][a-z]+){2,}: /;

// Shop that the key belongs to, where a service has several: players cannot send a key.
let tenant = "";

export class Problem extends Error {
  constructor(status, { detail, errors = [] }, retryAfter = null) {
    // What the message says already is not said again.
    const fields = errors.filter((field) => !detail.includes(field.detail)).map((field) => `${field.where}: ${field.detail}`);
    super([sentence(detail.replace(FAILURE_KIND, "")), ...fields].join(" · "));
    this.status = status;
    this.retryAfter = retryAfter;
  }

  /** Whether the same request may succeed later. */
  get temporary() {
    return this.status === 0 || this.status === 429 || this.status >= 500;
  }
}

/** Dispatches `key` when the service needs an API key; `detail.refused` tells whether one was sent. */
export const apiEvents = new EventTarget();

export function useKey(key) {
  sessionStorage.setItem(KEY, key);
}

/** Sends a request and returns the JSON of the response with its time as `took_ms`; throws Problem. */
export async function request(method, path, body, options = {}) {
  const start = performance.now();
  const isForm = body instanceof FormData;
  // The browser itself names the type of a form, with what separates its fields.
  const headers = body === undefined || isForm ? keyHeader() : { ...keyHeader(), "Content-Type": "application/json" };
  let response, text;
  try {
    const signal = AbortSignal.timeout(TIMEOUT_MS);
    response = await fetch(path, { method, headers, body: body && !isForm ? JSON.stringify(body) : body, signal, ...options });
    text = await response.text();
    tenant = response.headers.get("X-Vrec-Tenant") ?? "";
  } catch {
    throw new Problem(0, { detail: say("The service does not respond. Try again in a moment.") });
  }
  if (!response.ok) throw problemOf(response.status, text, response.headers.get("Retry-After"));
  return { ...JSON.parse(text || "{}"), took_ms: performance.now() - start };
}

export const recommend = (shopper, k, more = { surface: "feed" }) =>
  request("POST", "/v1/recommend", {
    user_id: shopper.id,
    k,
    ...more,
    ...(shopper.age === null ? {} : { context: { age: shopper.age } }),
  });
export const creatorsToFollow = (shopper, k, surface, exclude) =>
  request("POST", "/v1/recommend", {
    user_id: shopper.id,
    kind: "creator",
    k,
    surface,
    exclude,
    ...(shopper.age === null ? {} : { context: { age: shopper.age } }),
  });
export const liveStreams = (shopper, k) => recommend(shopper, k, { surface: "live", kind: "stream" });
export const linkedDomains = (shopper) => request("GET", `/v1/linked-domains?user_id=${encodeURIComponent(shopper.id)}`);
export const similar = (videoId, k) => request("GET", `/v1/videos/${encodeURIComponent(videoId)}/similar?k=${k}`);
/** Searches; with a shopper, what is found counts as theirs. */
export const search = (text, k, shopper = null) =>
  request("POST", "/v1/search", { text, k, moments: true, ...(shopper ? { user_id: shopper.id } : {}) });
export const videoOf = (videoId) => request("GET", `/v1/videos/${encodeURIComponent(videoId)}`);

/** Requests the moments that look or sound like those of a file, at most two of each video. */
export function momentsLike(file, k) {
  const form = new FormData();
  for (const [name, value] of Object.entries({ file, k, per_video: 2 })) form.append(name, value);
  return request("POST", "/v1/moments:by-file", form);
}
export const sendEvents = (events, options) => request("POST", "/v1/events", { events }, options);
export const erase = (shopper) => request("DELETE", `/v1/profiles/${encodeURIComponent(shopper.id)}`);
export const armStatistics = () => request("GET", "/v1/arms");
export const mediaUrl = (videoId) => `/media/${encodeURIComponent(videoId)}${tenant && `?tenant=${tenant}`}`;

/** Uploads a form's video and returns the response; calls `progress(share)` while it is sent. Throws Problem. */
export function upload(form, progress) {
  return new Promise((resolve, reject) => {
    // fetch does not report how much of a body is sent.
    const upload = new XMLHttpRequest();
    upload.open("POST", "/v1/uploads");
    for (const [name, value] of Object.entries(keyHeader())) upload.setRequestHeader(name, value);
    upload.upload.addEventListener("progress", (event) => progress(event.lengthComputable ? event.loaded / event.total : null));
    upload.addEventListener("load", () => {
      if (upload.status < 300) resolve(JSON.parse(upload.responseText));
      else reject(problemOf(upload.status, upload.responseText, upload.getResponseHeader("Retry-After")));
    });
    upload.addEventListener("error", () => reject(new Problem(0, { detail: say("The upload was interrupted. Send it again.") })));
    upload.send(form);
  });
}

function sentence(text) {
  return `${text.charAt(0).toUpperCase()}${text.slice(1)}${/[.!?…。]$/.test(text) ? "" : "."}`;
}

/** Returns the header with the API key, if there is one. */
export function keyHeader() {
  const key = sessionStorage.getItem(KEY);
  return key ? { "X-API-Key": key } : {};
}

/** Returns the Problem of a response. */
export function problemOf(status, text, retryAfter) {
  let problem = {};
  try {
    problem = JSON.parse(text);
  } catch {
    // A proxy in front of the service responded with something else than a problem document.
  }
  if (status === 401) apiEvents.dispatchEvent(new CustomEvent("key", { detail: { refused: sessionStorage.getItem(KEY) !== null } }));
  return new Problem(status, { detail: problem.detail ?? say("The service responded with status {status}.", { status }), errors: problem.errors }, Number(retryAfter) || null);
}
