// The playing pictures of cards: only those in view play, and only those near it hold a file.

import { mediaUrl } from "./api.js";
import { el } from "./dom.js";

const previews = new WeakMap();
const inView = new Set();
const still = matchMedia("(prefers-reduced-motion: reduce)");
let paused = still.matches;
let covered = false;

const near = new IntersectionObserver((entries) => each(entries, (preview, is) => preview.hold(is)), {
  rootMargin: "60% 0px",
});
const view = new IntersectionObserver((entries) => each(entries, (preview, is) => preview.see(is)), { threshold: 0.5 });

/** Whether previews stand still by the shopper's wish. */
export const arePaused = () => paused;

export function pausePreviews(wish) {
  paused = wish;
  resumePreviews();
}

/** Lets previews rest while something lies over them. */
export function coverPreviews(is) {
  covered = is;
  resumePreviews();
}

/** Plays what should play: browsers pause a video that is moved to another place. */
export function resumePreviews() {
  for (const preview of inView) preview.settle();
}

export class Preview {
  constructor(videoId, onclick) {
    this.address = mediaUrl(videoId);
    this.missing = false;
    this.video = el("video", { loop: true, playsinline: true, preload: "auto", tabindex: "-1", onerror: () => this.fail() });
    this.video.muted = true;
    this.element = el("div", { class: "picture", "aria-hidden": "true", onclick }, this.video);
    previews.set(this.element, this);
    near.observe(this.element);
    view.observe(this.element);
  }

  hold(is) {
    if (this.missing || is === this.video.hasAttribute("src")) return;
    if (is) {
      this.video.src = this.address;
      // A new file ends the playing that was asked for where the card was seen to be in view before it was near.
      this.settle();
    } else {
      this.video.removeAttribute("src");
      // Without this the browser keeps the connection, of which it has six.
      this.video.load();
    }
  }

  see(is) {
    if (is) inView.add(this);
    else inView.delete(this);
    this.settle();
  }

  settle() {
    const plays = inView.has(this) && !paused && !covered && this.video.hasAttribute("src") && this.video.isConnected;
    if (plays && this.video.paused) this.video.play().catch(() => {});
    if (!plays) this.video.pause();
  }

  fail() {
    if (!this.video.hasAttribute("src")) return;
    this.missing = true;
    this.element.classList.add("missing");
    this.element.replaceChildren(el("span", {}, "No file here"));
  }

  close() {
    this.hold(false);
    inView.delete(this);
    near.unobserve(this.element);
    view.unobserve(this.element);
  }
}

function each(entries, told) {
  for (const entry of entries) {
    const preview = previews.get(entry.target);
    if (preview) told(preview, entry.isIntersecting);
  }
}
