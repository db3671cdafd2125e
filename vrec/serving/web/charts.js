// Charts of the A/B test: one per rate, by minute over the last hour, with the total and its interval at the right.

import { armStatistics } from "./api.js";
import { $, el, percent, showText, svg } from "./dom.js";
import { say } from "./words.js";

const REFRESH_MS = 4_000;
const MINUTES = 60;
const [WIDTH, HEIGHT, LEFT, GUTTER, TOP, BOTTOM] = [420, 170, 52, 26, 12, 22];
const RATES = [
  { rate: "ctr", of: "clicks", title: "Clicks per impression", format: (x) => percent(x) },
  { rate: "watch_s_per_impression", of: "watch_s", title: "Watch time per impression", format: (x) => say("{n} s", { n: x.toFixed(2) }) },
  { rate: "conversion", of: "conversions", title: "Purchases per impression", format: (x) => percent(x, 2) },
];

/** Draws the charts, and again every few seconds while they are in view. */
export function startCharts() {
  let visible = false;
  const draw = async () => {
    if (!visible || document.visibilityState !== "visible") return;
    try {
      render(await armStatistics());
    } catch (problem) {
      showText($("arms-note"), problem.message);
    }
  };
  new IntersectionObserver(([entry]) => {
    visible = entry.isIntersecting;
    draw();
  }).observe($("arms"));
  setInterval(draw, REFRESH_MS);
}

function render({ level, arms }) {
  const hasIntervals = arms.some((arm) => arm.ctr.low !== null);
  const intervals = hasIntervals
    ? say("Bars are {level} confidence intervals that stay valid however often you look.", { level: percent(level, 0) })
    : say("No intervals yet: a variant needs 200 shoppers, 10 of whom did what is counted.");
  const drawn = say("Lines show the last {n} minutes by minute, dots at the right the total since the A/B test began.", { n: MINUTES });
  showText($("arms-note"), `${drawn} ${intervals}`);
  $("charts").replaceChildren(...RATES.map((rate) => figure(rate, arms)));
  $("arms-table").replaceChildren(...table(arms));
}

function figure({ rate, of, title, format }, arms) {
  const series = arms.map((arm) => arm.minutes.filter((m) => m.impressions).map((m) => [m.at / 60e6, m[of] / m.impressions]));
  const ends = arms.flatMap((arm) => [arm[rate].value, arm[rate].high]).filter((value) => value !== null);
  const most = Math.max(...ends, ...series.flat().map(([, value]) => value), 0) || 1;
  const now = Date.now() / 60e3;
  const x = (minute) => LEFT + ((WIDTH - GUTTER * 1.5 - LEFT) * Math.min(MINUTES, Math.max(0, minute - now + MINUTES))) / MINUTES;
  const y = (value) => TOP + (HEIGHT - TOP - BOTTOM) * (1 - value / most);
  if (!ends.length) return el("figure", {}, el("figcaption", {}, say(title)), el("p", { class: "soft" }, say("No impressions yet.")));
  const drawing = svg("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, "aria-hidden": "true" }, ...axes(most, format, y));
  arms.forEach((arm, number) => drawing.append(...lines(series[number], x, y, number), ...total(arm[rate], y, number)));
  const legend = arms.map((arm, number) =>
    el("li", { class: `dot h${number % 10}` }, `${arm.name} `, el("b", {}, arm[rate].value === null ? "–" : format(arm[rate].value))),
  );
  return el("figure", {}, el("figcaption", {}, say(title)), drawing, el("ul", {}, ...legend));
}

function axes(most, format, y) {
  const right = WIDTH - GUTTER * 1.5;
  const rules = [0, most / 2, most].flatMap((value) => [
    svg("line", { class: "rule", x1: LEFT, x2: WIDTH, y1: y(value), y2: y(value) }),
    svg("text", { x: LEFT - 6, y: y(value) + 4, "text-anchor": "end" }, format(value)),
  ]);
  const under = HEIGHT - 5;
  return [
    ...rules,
    svg("text", { x: LEFT, y: under }, say("{n} min ago", { n: MINUTES })),
    svg("text", { x: right, y: under, "text-anchor": "end" }, say("now")),
    svg("text", { x: WIDTH, y: under, "text-anchor": "end" }, say("total")),
  ];
}

/** Draws a line through consecutive minutes, and a dot for a single minute. */
function lines(points, x, y, number) {
  const runs = [];
  for (const point of points) {
    const run = runs.at(-1);
    if (run && point[0] - run.at(-1)[0] <= 1) run.push(point);
    else runs.push([point]);
  }
  return runs.map((run) => {
    const hue = `h${number % 10}`;
    if (run.length === 1) return svg("circle", { class: `mark ${hue}`, cx: x(run[0][0]), cy: y(run[0][1]), r: 2.5 });
    return svg("polyline", { class: `line ${hue}`, points: run.map(([at, value]) => `${x(at)},${y(value)}`).join(" ") });
  });
}

function total({ value, low, high }, y, number) {
  if (value === null) return [];
  const [at, hue] = [WIDTH - GUTTER + (number % 3) * 9, `h${number % 10}`];
  const mark = svg("circle", { class: `mark ${hue}`, cx: at, cy: y(value), r: 4 });
  if (low === null) return [mark];
  return [svg("line", { class: `line ${hue}`, x1: at, x2: at, y1: y(Math.max(0, low)), y2: y(high) }), mark];
}

function table(arms) {
  const headings = ["Variant", "Share", "Shoppers", "Impressions", ...RATES.map((rate) => rate.title)];
  const rows = arms.map((arm) => {
    const rates = RATES.map(({ rate, format }) => cellText(arm[rate], format));
    const cells = [percent(arm.share, 0), arm.users, arm.impressions, ...rates];
    return el("tr", {}, el("th", { scope: "row" }, arm.name), ...cells.map((cell) => el("td", {}, String(cell))));
  });
  const head = el("tr", {}, ...headings.map((name) => el("th", { scope: "col" }, say(name))));
  return [el("caption", { class: "quiet" }, say("Results by variant since the A/B test began")), el("thead", {}, head), el("tbody", {}, ...rows)];
}

function cellText({ value, low, high }, format) {
  if (value === null) return say("no data");
  return low === null ? format(value) : say("{value} ({low} to {high})", { value: format(value), low: format(Math.max(0, low)), high: format(high) });
}
