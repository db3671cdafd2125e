// Upload of a video, and polling of the lists until they contain it.

import { recommend, search, similar, upload } from "./api.js";
import { $, el, percent, showText } from "./dom.js";
import { now } from "./shopper.js";
import { say } from "./words.js";

const POLLS = 20;
const POLL_MS = 500;
const MAX_ITEMS = 100;
const PARTS = { frames: "pictures", audio: "sound", text: "title" };

/** Starts the form. `handlers` has similar(item), and refresh() for after an upload. */
export function startUpload(handlers) {
  const form = $("upload").querySelector("form");
  let added = null;
  $("upload-similar").addEventListener("click", () => handlers.similar(added));
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const button = form.querySelector("button");
    button.disabled = true;
    $("upload-seen").replaceChildren();
    $("upload-similar").hidden = true;
    try {
      const title = form.elements.title.value.trim();
      const response = await upload(filled(form), progress);
      added = { video_id: response.video_id, title };
      $("upload-similar").hidden = false;
      const parts = response.modalities.map((name) => PARTS[name]).filter(Boolean).map((part) => say(part));
      const values = { title, n: (response.decode_s + response.encode_s).toFixed(1), parts: parts.join(say(", ")), id: response.video_id };
      showText($("upload-state"), say("Added “{title}” in {n} s, by its {parts}. Its id is {id}.", values));
      await pollLists(response, title);
      await handlers.refresh();
    } catch (problem) {
      showText($("upload-state"), problem.message);
    } finally {
      $("upload-progress").hidden = true;
      button.disabled = false;
    }
  });
}

/** Returns the fields of the form that are not empty. */
function filled(form) {
  const fields = new FormData();
  for (const [name, value] of new FormData(form)) {
    if (value instanceof File || value.trim()) fields.append(name, value instanceof File ? value : value.trim());
  }
  return fields;
}

function progress(share) {
  const bar = $("upload-progress");
  bar.hidden = false;
  if (share === null || share >= 1) bar.removeAttribute("value");
  else bar.value = share;
  showText($("upload-state"), share === null || share >= 1 ? say("Looking at the video …") : say("Sent {share}", { share: percent(share, 0) }));
}

/** Requests the lists until each contains the video, or for a few seconds, and shows its position. */
async function pollLists({ video_id: id, neighbours }, title) {
  const nearest = neighbours[0];
  const lists = [
    { name: say("recommendations for this shopper"), request: () => recommend(now(), MAX_ITEMS) },
    { name: say("results of a search for “{title}”", { title }), request: () => search(title, MAX_ITEMS) },
  ];
  if (nearest) lists.push({ name: say("videos similar to “{title}”", { title: nearest.title ?? nearest.video_id }), request: () => similar(nearest.video_id, MAX_ITEMS) });
  const start = performance.now();
  for (const list of lists) $("upload-seen").append((list.line = el("li", {}, say("Not yet in the {list}.", { list: list.name }))));
  for (let poll = 0; poll < POLLS; poll++) {
    await Promise.all(lists.filter((list) => !list.done).map((list) => pollOnce(list, id, start)));
    if (lists.every((list) => list.done)) return;
    await new Promise((done) => setTimeout(done, POLL_MS));
  }
  for (const list of lists) if (!list.done) list.line.textContent = say("Not in the first {n} {list}.", { n: MAX_ITEMS, list: list.name });
}

async function pollOnce(list, id, start) {
  const { items } = await list.request();
  const position = items.findIndex((item) => item.video_id === id);
  if (position < 0) return;
  list.done = true;
  const after = ((performance.now() - start) / 1000).toFixed(1);
  list.line.textContent = say("Position {place} of {n} {list}, {after} s after it was added.", { place: position + 1, n: items.length, list: list.name, after });
}
