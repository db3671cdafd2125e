// Requests to the service. Errors are Problems that say in words what to do.

const KEY = "vrec.key";
const NEVER = 15_000;

export class Problem extends Error {
  constructor(status, { detail, errors = [] }, retryAfter = null) {
    const fields = errors.map((field) => `${field.where}: ${field.detail}`);
    super([detail, ...fields].join(" · "));
    this.status = status;
    this.retryAfter = retryAfter;
  }

  /** Whether the same may work in a moment. */
  get passing() {
    return this.status === 0 || this.status === 429 || this.status >= 500;
  }
}

/** What is told to those who add a listener: `key` when a key is wanted, `took` how long an answer was awaited. */
export const wire = new EventTarget();

export function useKey(key) {
  sessionStorage.setItem(KEY, key);
}

/** The JSON of an answer; raises Problem. */
export async function ask(method, path, body, more = {}) {
  const begun = performance.now();
  const headers = body === undefined ? keyHeader() : { ...keyHeader(), "Content-Type": "application/json" };
  let response, text;
  try {
    const signal = AbortSignal.timeout(NEVER);
    response = await fetch(path, { method, headers, body: body && JSON.stringify(body), signal, ...more });
    text = await response.text();
  } catch {
    throw new Problem(0, { detail: "The service does not answer. It is asked again when you do something." });
  }
  if (!response.ok) throw problemOf(response.status, text, response.headers.get("Retry-After"));
  return { ...JSON.parse(text || "{}"), took_ms: performance.now() - begun };
}

export const recommend = (shopper, k) =>
  ask("POST", "/v1/recommend", {
    user_id: shopper.id,
    k,
    surface: "feed",
    ...(shopper.age === null ? {} : { context: { age: shopper.age } }),
  });
export const similar = (videoId, k) => ask("GET", `/v1/videos/${encodeURIComponent(videoId)}/similar?k=${k}`);
export const search = (text, k) => ask("POST", "/v1/search", { text, k });
export const sendEvents = (events, more) => ask("POST", "/v1/events", { events }, more);
export const arms = () => ask("GET", "/v1/arms");
export const mediaUrl = (videoId) => `/media/${encodeURIComponent(videoId)}`;

/** What a form's video became; `progress(share)` is told how much of it is sent. Raises Problem. */
export function upload(form, progress) {
  return new Promise((resolve, reject) => {
    // fetch does not tell how much of a body is sent.
    const request = new XMLHttpRequest();
    request.open("POST", "/v1/videos");
    for (const [name, value] of Object.entries(keyHeader())) request.setRequestHeader(name, value);
    request.upload.addEventListener("progress", (told) => progress(told.lengthComputable ? told.loaded / told.total : null));
    request.addEventListener("load", () => {
      if (request.status < 300) resolve(JSON.parse(request.responseText));
      else reject(problemOf(request.status, request.responseText, request.getResponseHeader("Retry-After")));
    });
    request.addEventListener("error", () => reject(new Problem(0, { detail: "The upload broke off. Send it again." })));
    request.send(form);
  });
}

function keyHeader() {
  const key = sessionStorage.getItem(KEY);
  return key ? { "X-API-Key": key } : {};
}

function problemOf(status, text, retryAfter) {
  let said = {};
  try {
    said = JSON.parse(text);
  } catch {
    // Something before the service answered in its own way.
  }
  if (status === 401) wire.dispatchEvent(new CustomEvent("key", { detail: { refused: sessionStorage.getItem(KEY) !== null } }));
  return new Problem(status, { detail: said.detail ?? `The service answered ${status}.`, errors: said.errors }, Number(retryAfter) || null);
}
