// Actions that can be undone for a few seconds: they are sent when that time is over, or before the next action.

import { $ } from "./dom.js";

const UNDO_MS = 5_000;
let held = null;

/** Starts the bar. */
export function startUndo() {
  $("undo-button").addEventListener("click", () => {
    const { undo } = take();
    undo();
  });
  // Somebody who reaches for the button with the keyboard or a screen reader needs more time.
  $("undo").addEventListener("focusin", () => clearTimeout(held?.timer));
  $("undo").addEventListener("focusout", () => held && (held.timer = setTimeout(release, UNDO_MS)));
}

/** Shows that something was done; calls `send` once it can no longer be undone, or `undo`. */
export function hold(text, send, undo) {
  release();
  held = { send, undo, timer: setTimeout(release, UNDO_MS) };
  $("undo-text").textContent = text;
  // Nothing outside of an open dialog can be clicked.
  (document.querySelector("dialog[open]") ?? document.body).append($("undo"));
  $("undo").hidden = false;
}

/** Sends what is held, if anything; returns what `send` returns. */
export function release() {
  return held ? take().send() : undefined;
}

function take() {
  const taken = held;
  held = null;
  clearTimeout(taken.timer);
  $("undo").hidden = true;
  return taken;
}
