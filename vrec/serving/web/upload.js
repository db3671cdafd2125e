// A new video: sent, embedded, and then looked for until lists have it.

import { recommend, search, similar, upload } from "./api.js";
import { $, el, percent, tell } from "./dom.js";
import { now } from "./shopper.js";

const LOOKS = 20;
const PAUSE_MS = 500;
const MOST = 100;

/** Wires the form. `hands` has similar(item), and refresh() for when the lists are others. */
export function keepUpload(hands) {
  const form = $("upload").querySelector("form");
  let added = null;
  $("upload-similar").addEventListener("click", () => hands.similar(added));
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const button = form.querySelector("button");
    button.disabled = true;
    $("upload-seen").replaceChildren();
    $("upload-similar").hidden = true;
    try {
      const title = form.elements.title.value.trim();
      const said = await upload(filled(form), progress);
      added = { video_id: said.video_id, title };
      $("upload-similar").hidden = false;
      tell($("upload-state"), `Added as ${said.video_id}: decoded in ${said.decode_s.toFixed(1)} s, embedded in ${said.encode_s.toFixed(1)} s (${said.modalities.join(", ")}).`);
      await lookFor(said, title);
      await hands.refresh(said.video_id);
    } catch (problem) {
      tell($("upload-state"), problem.message);
    } finally {
      $("upload-progress").hidden = true;
      button.disabled = false;
    }
  });
}

/** The form's fields that say something. */
function filled(form) {
  const given = new FormData();
  for (const [name, value] of new FormData(form)) {
    if (value instanceof File || value.trim()) given.append(name, value instanceof File ? value : value.trim());
  }
  return given;
}

function progress(share) {
  const bar = $("upload-progress");
  bar.hidden = false;
  if (share === null || share >= 1) bar.removeAttribute("value");
  else bar.value = share;
  tell($("upload-state"), share === null || share >= 1 ? "Decoding and embedding …" : `Sent ${percent(share, 0)}`);
}

/** Asks the lists until each has the video, or for a few seconds, and says where it is. */
async function lookFor({ video_id: id, neighbours }, title) {
  const nearest = neighbours[0];
  const lists = [
    { name: "recommended to this shopper", ask: () => recommend(now(), MOST) },
    { name: `found by searching for “${title}”`, ask: () => search(title, MOST) },
  ];
  if (nearest) lists.push({ name: `like “${nearest.title ?? nearest.video_id}”`, ask: () => similar(nearest.video_id, MOST) });
  const begun = performance.now();
  for (const list of lists) $("upload-seen").append((list.line = el("li", {}, `Not yet ${list.name}.`)));
  for (let look = 0; look < LOOKS; look++) {
    await Promise.all(lists.filter((list) => !list.done).map((list) => lookOnce(list, id, begun)));
    if (lists.every((list) => list.done)) return;
    await new Promise((done) => setTimeout(done, PAUSE_MS));
  }
  for (const list of lists) if (!list.done) list.line.textContent = `Not among the first ${MOST} ${list.name}.`;
}

async function lookOnce(list, id, begun) {
  const { items } = await list.ask();
  const place = items.findIndex((item) => item.video_id === id);
  if (place < 0) return;
  list.done = true;
  const after = ((performance.now() - begun) / 1000).toFixed(1);
  list.line.textContent = `Place ${place + 1} of the ${items.length} ${list.name}, ${after} s after it was added.`;
}
