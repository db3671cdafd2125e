// Conveniences of the console; every page works without them.

for (const video of document.querySelectorAll("video")) {
  video.addEventListener("error", () => {
    const note = video.parentElement.querySelector("[data-unplayable]");
    if (note) note.hidden = false;
    video.hidden = true;
  });
}

// Closing a page with changes that are not saved asks first.
for (const form of document.querySelectorAll("form[data-guard]")) {
  let changed = false;
  form.addEventListener("input", () => (changed = true));
  form.addEventListener("submit", () => (changed = false));
  addEventListener("beforeunload", (event) => {
    if (changed) event.preventDefault();
  });
}

// What went wrong, or the first field to correct, is where the reader goes on.
document.querySelector("[aria-invalid=true]")?.focus();
