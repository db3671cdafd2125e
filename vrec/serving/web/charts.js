// What the arms' shoppers did in the last hour: one chart a rate, by minutes, with the whole and its interval beside.

import { arms as askArms } from "./api.js";
import { $, el, percent, svg, tell } from "./dom.js";

const EVERY_MS = 4_000;
const MINUTES = 60;
const [WIDTH, HEIGHT, LEFT, GUTTER, TOP, BOTTOM] = [420, 170, 52, 26, 12, 22];
const RATES = [
  { rate: "ctr", of: "clicks", title: "Clicks by impression", say: (x) => percent(x) },
  { rate: "watch_s_per_impression", of: "watch_s", title: "Seconds watched by impression", say: (x) => `${x.toFixed(2)} s` },
  { rate: "conversion", of: "conversions", title: "Purchases by impression", say: (x) => percent(x, 2) },
];

/** Draws now, and again every few seconds while the charts are in view. */
export function keepCharts() {
  let visible = false;
  const draw = async () => {
    if (!visible || document.visibilityState !== "visible") return;
    try {
      render(await askArms());
    } catch (problem) {
      tell($("arms-note"), problem.message);
    }
  };
  new IntersectionObserver(([entry]) => {
    visible = entry.isIntersecting;
    draw();
  }).observe($("arms"));
  setInterval(draw, EVERY_MS);
}

function render({ level, arms }) {
  const known = arms.some((arm) => arm.ctr.low !== null);
  const sure = known
    ? `The bars beside the lines are intervals: ${percent(level, 0)} of such hold the truth, however often one looks.`
    : "No intervals yet: an arm needs 200 shoppers, 10 of whom did what is counted.";
  tell($("arms-note"), `Lines are the last ${MINUTES} minutes, the mark at the right is all since the service began. ${sure}`);
  $("charts").replaceChildren(...RATES.map((rate) => figure(rate, arms)));
  $("arms-table").replaceChildren(...table(arms));
}

function figure({ rate, of, title, say }, arms) {
  const series = arms.map((arm) => arm.minutes.filter((m) => m.impressions).map((m) => [m.at / 60e6, m[of] / m.impressions]));
  const ends = arms.flatMap((arm) => [arm[rate].value, arm[rate].high]).filter((value) => value !== null);
  const most = Math.max(...ends, ...series.flat().map(([, value]) => value), 0) || 1;
  const now = Date.now() / 60e3;
  const x = (minute) => LEFT + ((WIDTH - GUTTER * 1.5 - LEFT) * Math.min(MINUTES, Math.max(0, minute - now + MINUTES))) / MINUTES;
  const y = (value) => TOP + (HEIGHT - TOP - BOTTOM) * (1 - value / most);
  if (!ends.length) return el("figure", {}, el("figcaption", {}, title), el("p", { class: "soft" }, "Nobody has seen a video yet."));
  const drawing = svg("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, "aria-hidden": "true" }, ...axes(most, say, y));
  arms.forEach((arm, number) => drawing.append(...lines(series[number], x, y, number), ...whole(arm[rate], y, number)));
  const legend = arms.map((arm, number) =>
    el("li", { class: `dot h${number % 10}` }, `${arm.name} `, el("b", {}, arm[rate].value === null ? "–" : say(arm[rate].value))),
  );
  return el("figure", {}, el("figcaption", {}, title), drawing, el("ul", {}, ...legend));
}

function axes(most, say, y) {
  const right = WIDTH - GUTTER * 1.5;
  const rules = [0, most / 2, most].flatMap((value) => [
    svg("line", { class: "rule", x1: LEFT, x2: WIDTH, y1: y(value), y2: y(value) }),
    svg("text", { x: LEFT - 6, y: y(value) + 4, "text-anchor": "end" }, say(value)),
  ]);
  const under = HEIGHT - 5;
  return [
    ...rules,
    svg("text", { x: LEFT, y: under }, `${MINUTES} min ago`),
    svg("text", { x: right, y: under, "text-anchor": "end" }, "now"),
    svg("text", { x: WIDTH, y: under, "text-anchor": "end" }, "all"),
  ];
}

/** A line through the minutes that follow on one another, a dot for those that stand alone. */
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

function whole({ value, low, high }, y, number) {
  if (value === null) return [];
  const [at, hue] = [WIDTH - GUTTER + (number % 3) * 9, `h${number % 10}`];
  const mark = svg("circle", { class: `mark ${hue}`, cx: at, cy: y(value), r: 4 });
  if (low === null) return [mark];
  return [svg("line", { class: `line ${hue}`, x1: at, x2: at, y1: y(Math.max(0, low)), y2: y(high) }), mark];
}

function table(arms) {
  const heads = ["Arm", "Share", "Shoppers", "Impressions", ...RATES.map((rate) => rate.title)];
  const rows = arms.map((arm) => {
    const rates = RATES.map(({ rate, say }) => spoken(arm[rate], say));
    const cells = [percent(arm.share, 0), arm.users, arm.impressions, ...rates];
    return el("tr", {}, el("th", { scope: "row" }, arm.name), ...cells.map((cell) => el("td", {}, String(cell))));
  });
  const head = el("tr", {}, ...heads.map((name) => el("th", { scope: "col" }, name)));
  return [el("caption", { class: "quiet" }, "Figures by arm since the service began"), el("thead", {}, head), el("tbody", {}, ...rows)];
}

function spoken({ value, low, high }, say) {
  if (value === null) return "none yet";
  return low === null ? say(value) : `${say(value)} (${say(Math.max(0, low))} to ${say(high)})`;
}
