// Player in a dialog, which measures how long a video played.

import { mediaUrl } from "./api.js";
import { nameOf } from "./cards.js";
import { $ } from "./dom.js";
import { showMoments } from "./moments.js";

const TICK_MS = 100;

export class Player {
  #dialog = $("player");
  #video = $("player-video");
  #since = null;
  #played_ms = 0;

  constructor() {
    $("player-close").addEventListener("click", () => this.#dialog.close());
    this.#dialog.addEventListener("click", (event) => {
      // A click on the dialog element may be on its padding or on the backdrop; only the latter closes it.
      if (event.target === this.#dialog && !inside(event, this.#dialog)) this.#dialog.close();
    });
    this.#video.addEventListener("playing", () => (this.#since ??= performance.now()));
    for (const name of ["pause", "waiting", "ended", "seeking", "emptied"]) {
      this.#video.addEventListener(name, () => this.#stop());
    }
    this.#video.addEventListener("error", () => this.#video.hasAttribute("src") && this.#missing(true));
  }

  /** Seconds played so far. */
  get seconds() {
    return (this.#played_ms + (this.#since === null ? 0 : performance.now() - this.#since)) / 1000;
  }

  get isOpen() {
    return this.#dialog.open;
  }

  /** Returns the frame that is shown, as a file. */
  async frame() {
    const { videoWidth: width, videoHeight: height } = this.#video;
    const canvas = Object.assign(document.createElement("canvas"), { width, height });
    canvas.getContext("2d").drawImage(this.#video, 0, 0);
    const blob = await new Promise((done) => canvas.toBlob(done, "image/jpeg", 0.92));
    return new File([blob], "frame.jpg", { type: "image/jpeg" });
  }

  close() {
    this.#dialog.close();
  }

  /** Plays a video, from one of its moments if one is given; returns the seconds played once the player is closed. */
  async open(item, buttons, moment = null) {
    this.#played_ms = 0;
    this.#since = null;
    $("player-title").textContent = nameOf(item);
    $("player-buttons").replaceChildren(...buttons);
    $("player-seconds").textContent = "0.0";
    // A live stream has no file here.
    this.#missing(Boolean(item.live));
    showMoments(item.moments ?? [], nameOf(item), ({ start_s }) => this.#playFrom(start_s));
    if (!item.live) this.#video.src = mediaUrl(item.video_id);
    if (moment) this.#video.addEventListener("loadedmetadata", () => this.#playFrom(moment.start_s), { once: true });
    this.#dialog.showModal();
    if (!item.live) this.#video.play().catch(() => {});
    const clock = setInterval(() => ($("player-seconds").textContent = this.seconds.toFixed(1)), TICK_MS);
    await new Promise((done) => this.#dialog.addEventListener("close", done, { once: true }));
    clearInterval(clock);
    this.#stop();
    const { seconds } = this;
    this.#video.removeAttribute("src");
    this.#video.load();
    return seconds;
  }

  #playFrom(seconds) {
    this.#video.currentTime = seconds;
    this.#video.play().catch(() => {});
  }

  #stop() {
    if (this.#since !== null) this.#played_ms += performance.now() - this.#since;
    this.#since = null;
  }

  #missing(is) {
    $("player-none").hidden = !is;
    $("player-frame").hidden = is;
    this.#video.hidden = is;
  }
}

function inside({ clientX, clientY }, element) {
  const box = element.getBoundingClientRect();
  return clientX >= box.left && clientX <= box.right && clientY >= box.top && clientY <= box.bottom;
}
