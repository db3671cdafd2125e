"use strict";
(() => {
  const { videos, near } = JSON.parse(document.getElementById("data").textContent);
  const posterOf = (v) => document.querySelector(`#v${v} > img.poster`)?.src;
  const element = (tag, className, text) => {
    const node = document.createElement(tag);
    if (className) node.className = className;
    if (text !== undefined) node.textContent = text;
    return node;
  };

  // Nearest neighbors: a card's strip is filled when the card comes near the screen, and again after a switch.
  const cards = [...document.querySelectorAll(".card")];
  let modality = document.querySelector("input[name=modality]:checked")?.value;
  const tile = ([other, score]) => {
    const [title, hue, language] = videos[other];
    const card = document.getElementById(`v${other}`);
    const link = element(card ? "a" : "span", `h${hue}`);
    if (card) link.href = `#v${other}`;
    link.title = title;
    link.setAttribute("aria-label", `${title}, ${score.toFixed(2)}`);
    const frame = element("span", "pic");
    const source = posterOf(other);
    if (source) {
      const image = element("img");
      image.src = source;
      image.alt = "";
      frame.append(image);
    } else {
      frame.append(element("span", "name", title));
    }
    if (language) link.lang = language;
    link.append(frame, element("span", "score", score.toFixed(2).replace("-", "\u2212")));
    const item = element("li");
    item.append(link);
    return item;
  };
  const fill = (card) => {
    const strip = card.querySelector(".near");
    if (strip.dataset.modality === modality) return;
    strip.dataset.modality = modality;
    const found = near[modality]?.[Number(card.id.slice(1))];
    const empty = found ? "No other video to compare with." : "This video has no vector of this modality.";
    strip.replaceChildren(...(found?.length ? found.map(tile) : [element("li", "none", empty)]));
  };
  const seen = new Set();
  const watcher = new IntersectionObserver((entries) => {
    for (const { target, isIntersecting } of entries) {
      if (isIntersecting) { seen.add(target); fill(target); } else seen.delete(target);
    }
  }, { rootMargin: "600px" });
  cards.forEach((card) => watcher.observe(card));
  document.querySelectorAll("input[name=modality]").forEach((input) => input.addEventListener("change", () => {
    modality = input.value;
    seen.forEach(fill);
  }));

  document.querySelectorAll("img[data-poster]").forEach((image) => {
    const source = posterOf(image.dataset.poster);
    if (source) { image.src = source; image.hidden = false; }
  });

  // Map
  const map = document.getElementById("map");
  if (!map) return;
  const tip = document.getElementById("tip");
  const points = [...map.querySelectorAll(".point")];
  const at = new Map(points.map((point) => {
    const { e, f } = point.transform.baseVal.consolidate().matrix;
    return [point, [e, f]];
  }));
  let current = null;
  const show = (point) => {
    current?.classList.remove("on");
    current = point;
    tip.hidden = !point;
    if (!point) return;
    point.classList.add("on");
    map.append(point); // Drawn last, it lies above its neighbors.
    const [title, , language] = videos[Number(point.dataset.v)];
    const image = tip.querySelector("img");
    const source = posterOf(point.dataset.v);
    if (source) image.src = source; else image.removeAttribute("src");
    tip.lastElementChild.textContent = title;
    tip.lang = language;
    const frame = map.parentElement.getBoundingClientRect();
    const mark = point.getBoundingClientRect();
    const left = mark.left + mark.width / 2 - frame.left - tip.offsetWidth / 2;
    tip.style.left = `${Math.max(4, Math.min(left, frame.width - tip.offsetWidth - 4))}px`;
    const below = mark.bottom - frame.top + 8;
    const above = mark.top - frame.top - tip.offsetHeight - 8;
    tip.style.top = `${above >= 4 ? above : below}px`;
  };
  const visit = (point) => {
    const card = document.getElementById(`v${point.dataset.v}`);
    if (!card) return;
    show(null);
    card.scrollIntoView({ block: "center" });
    card.focus({ preventScroll: true });
  };
  map.addEventListener("pointerover", (event) => {
    const point = event.target.closest(".point");
    if (point && point !== current) show(point);
  });
  map.addEventListener("pointerleave", () => { if (document.activeElement !== map) show(null); });
  map.addEventListener("click", (event) => {
    const point = event.target.closest(".point");
    if (point) visit(point);
  });
  map.addEventListener("blur", () => show(null));
  map.addEventListener("keydown", (event) => {
    const step = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
    if (event.key === "Escape") show(null);
    if (event.key === "Enter" && current) visit(current);
    if (!step) return;
    event.preventDefault();
    if (!current) { show(points[0]); return; }
    const [x, y] = at.get(current);
    let best = null;
    let least = Infinity;
    for (const [point, [px, py]] of at) {
      const along = (px - x) * step[0] + (py - y) * step[1];
      const aside = Math.abs((px - x) * step[1]) + Math.abs((py - y) * step[0]);
      if (point !== current && along > 0 && along + 2 * aside < least) { best = point; least = along + 2 * aside; }
    }
    if (best) show(best);
  });
})();
