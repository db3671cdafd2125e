// Video previews of cards: those in view play, and those near the view have loaded a file.

import { mediaUrl } from "./api.js";
import { el } from "./dom.js";
import { say } from "./words.js";

const previews = new WeakMap();
const inView = new Set();
const reducedMotion = matchMedia("(prefers-reduced-motion: reduce)");
let paused = reducedMotion.matches;
let covered = false;

const near = new IntersectionObserver((entries) => each(entries, (preview, is) => preview.load(is)), {
  rootMargin: "60% 0px",
});
const view = new IntersectionObserver((entries) => each(entries, (preview, is) => preview.setInView(is)), { threshold: 0.5 });

/** Returns whether the shopper paused the previews. */
export const arePaused = () => paused;

export function pausePreviews(is) {
  paused = is;
  resumePreviews();
}

/** Pauses previews while something covers them. */
export function coverPreviews(is) {
  covered = is;
  resumePreviews();
}

/** Plays the previews in view: browsers pause a video whose element is moved. */
export function resumePreviews() {
  for (const preview of inView) preview.update();
}

export class Preview {
  /** `item.live` is set for a live stream, which has no file to play. */
  constructor(item, onclick) {
    this.address = mediaUrl(item.video_id);
    this.missing = false;
    this.video = el("video", { loop: true, playsinline: true, preload: "auto", tabindex: "-1", onerror: () => this.fail() });
    this.video.muted = true;
    this.element = el("div", { class: "picture", "aria-hidden": "true", onclick }, this.video);
    previews.set(this.element, this);
    if (item.live) this.#showNoFile(say("Live now"));
    near.observe(this.element);
    view.observe(this.element);
  }

  load(is) {
    if (this.missing || is === this.video.hasAttribute("src")) return;
    if (is) {
      this.video.src = this.address;
      // Setting a file stops the playback, if the card was reported in view before it was reported near.
      this.update();
    } else {
      this.video.removeAttribute("src");
      // Otherwise the browser keeps the connection, of which it has six per host.
      this.video.load();
    }
  }

  setInView(is) {
    if (is) inView.add(this);
    else inView.delete(this);
    this.update();
  }

  update() {
    const plays = inView.has(this) && !paused && !covered && this.video.hasAttribute("src") && this.video.isConnected;
    if (plays && this.video.paused) this.video.play().catch(() => {});
    if (!plays) this.video.pause();
  }

  fail() {
    if (this.video.hasAttribute("src")) this.#showNoFile(say("No video file"));
  }

  #showNoFile(reason) {
    this.missing = true;
    this.element.classList.add("missing");
    this.element.replaceChildren(el("span", {}, reason));
  }

  close() {
    this.load(false);
    inView.delete(this);
    near.unobserve(this.element);
    view.unobserve(this.element);
  }
}

function each(entries, callback) {
  for (const entry of entries) {
    const preview = previews.get(entry.target);
    if (preview) callback(preview, entry.isIntersecting);
  }
}
