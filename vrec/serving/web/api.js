// Requests to the service. Errors are Problems, whose message is for people.

const KEY = "vrec.key";
const TIMEOUT_MS = 15_000;
// Problems of a video begin with the kind of failure, such as "WrongContainer: ", which is for programs.
const FAILURE_KIND = /^(?:[A-Z][a-z]+){2,}: /;

// Shop that the key belongs to, where a service has several: players cannot send a key.
let tenant = "";

export class Problem extends Error {
  constructor(status, { detail, errors = [] }, retryAfter = null) {
    const fields = errors.map((field) => `${field.where}: ${field.detail}`);
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
  const headers = body === undefined ? keyHeader() : { ...keyHeader(), "Content-Type": "application/json" };
  let response, text;
  try {
    const signal = AbortSignal.timeout(TIMEOUT_MS);
    response = await fetch(path, { method, headers, body: body && JSON.stringify(body), signal, ...options });
    text = await response.text();
    tenant = response.headers.get("X-Vrec-Tenant") ?? "";
  } catch {
    throw new Problem(0, { detail: "The service does not respond. Try again in a moment." });
  }
  if (!response.ok) throw problemOf(response.status, text, response.headers.get("Retry-After"));
  return { ...JSON.parse(text || "{}"), took_ms: performance.now() - start };
}

export const recommend = (shopper, k) =>
  request("POST", "/v1/recommend", {
    user_id: shopper.id,
    k,
    surface: "feed",
    ...(shopper.age === null ? {} : { context: { age: shopper.age } }),
  });
export const similar = (videoId, k) => request("GET", `/v1/videos/${encodeURIComponent(videoId)}/similar?k=${k}`);
export const search = (text, k) => request("POST", "/v1/search", { text, k });
export const sendEvents = (events, options) => request("POST", "/v1/events", { events }, options);
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
    upload.addEventListener("error", () => reject(new Problem(0, { detail: "The upload was interrupted. Send it again." })));
    upload.send(form);
  });
}

function sentence(text) {
  return `${text.charAt(0).toUpperCase()}${text.slice(1)}${/[.!?…]$/.test(text) ? "" : "."}`;
}

function keyHeader() {
  const key = sessionStorage.getItem(KEY);
  return key ? { "X-API-Key": key } : {};
}

function problemOf(status, text, retryAfter) {
  let problem = {};
  try {
    problem = JSON.parse(text);
  } catch {
    // A proxy in front of the service responded with something else than a problem document.
  }
  if (status === 401) apiEvents.dispatchEvent(new CustomEvent("key", { detail: { refused: sessionStorage.getItem(KEY) !== null } }));
  return new Problem(status, { detail: problem.detail ?? `The service responded with status ${status}.`, errors: problem.errors }, Number(retryAfter) || null);
}
