// --- the timeline: what is looked at is a view box, in the units of the drawing

const NEAR = 7; // pixels from a bar, or from the mark of its end, that count as on it
const MANY = 14; // kinds, from which not each has a heading
const FEWEST = 6; // rows to look at
const STEPS = [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10800, 21600, 43200,
  86400, 172800, 604800, 1209600, 2419200, 7862400, 31449600];

const plot = $("plot");
const view = { x: 0, y: 0, w: data.width, h: data.rows };
const narrowest = Math.min(data.width / data.seconds, data.width); // a second
const lowest = Math.min(FEWEST, data.rows);
const gaps = [...$("gaps").children].map((gap) => [parseFloat(gap.style.left) / 100, parseFloat(gap.style.width) / 100]);
const hint = "Point at a bar to read about its job, or go from job to job with the arrow keys. "
  + "Drag across the picture, or press + and −, to look closer; 0 shows the whole, and Shift with the arrow keys moves it.";
let cursor = -1;

const clamp = (number, low, high) => Math.min(Math.max(number, low), high);
const place = (seconds) => Math.round(clamp(seconds / data.seconds, 0, 1) * data.width);
const left = (job) => place(data.began[job]);
const right = (job) => Math.max(data.took[job] === null ? data.width : place(data.began[job] + data.took[job]), left(job));

const look = (x, y, w, h) => {
  view.w = clamp(w, narrowest, data.width);
  view.h = clamp(h, lowest, data.rows);
  view.x = clamp(x, 0, data.width - view.w);
  view.y = clamp(y, 0, data.rows - view.h);
  const row = plot.clientHeight / view.h;
  plot.classList.toggle("dense", row < 4);
  for (const drawing of plot.querySelectorAll(".bars")) {
    drawing.setAttribute("viewBox", `${view.x} ${view.y} ${view.w} ${view.h}`);
    drawing.style.setProperty("--mark", `${Math.min(0.3 * row + 3, 8)}px`);
  }
  [...$("gaps").children].forEach((gap, index) => {
    const [left, width] = gaps[index];
    gap.style.left = `${100 * (left * data.width - view.x) / view.w}%`;
    gap.style.width = `${100 * width * data.width / view.w}%`;
  });
  let free = -Infinity;
  [...$("bands").children].forEach((label, index) => {
    const [, top, rows] = data.bands[index];
    const from = (top - view.y) * row, to = from + rows * row;
    const at = from < 20 && to > 20 ? 20 : from; // a kind that begins above keeps its name in sight
    label.hidden = at < 20 || at < free || at > plot.clientHeight || (data.bands.length >= MANY && to - from + row < 16);
    label.style.top = `${at}px`;
    if (!label.hidden) free = at + 20;
  });
  mark();
  $("in").disabled = view.h === lowest && view.w === narrowest;
  $("out").disabled = $("fit").disabled = view.w === data.width && view.h === data.rows;
};
const fit = () => look(0, 0, data.width, data.rows);

const mark = () => {
  const from = view.x / data.width * data.seconds, seconds = view.w / data.width * data.seconds;
  const step = STEPS.find((step) => seconds / step <= 8) || Math.ceil(seconds / 8 / 86400) * 86400;
  const marks = [];
  for (let at = Math.ceil((data.zero + from) / step) * step - data.zero; at <= from + seconds; at += step) {
    const share = (at - from) / seconds;
    if (share < 0.025 || share > 0.975) continue;
    const label = make("span"), midnight = Math.round(data.zero + at) % 86400 === 0;
    label.append(make("i", "", midnight ? day(at) : clock(at).slice(0, step % 60 ? 8 : 5)));
    label.style.left = `${100 * share}%`;
    marks.push(label);
  }
  plot.querySelector(".marks").replaceChildren(...marks);
};

const zoom = (factor, x, y) =>
  look(x - (x - view.x) * factor, y - (y - view.y) * factor, view.w * factor, view.h * factor);
const middle = () => cursor < 0 ? [view.x + view.w / 2, view.y + view.h / 2]
  : [(left(cursor) + right(cursor)) / 2, data.row[cursor] + 0.5];
const whereIs = ({ clientX, clientY }) => {
  const box = plot.getBoundingClientRect();
  return [view.x + view.w * (clientX - box.left) / box.width, view.y + view.h * (clientY - box.top) / box.height];
};

// --- some jobs stand out, while all others fade

const segments = (job) => {
  const finish = right(job), found = [];
  let [from, does] = [left(job), "unseen"];
  for (let at = 0; at < data.changes[job].length && does; at += 2) {
    const turn = clamp(place(data.changes[job][at]), from, finish);
    found.push([does, from, turn]);
    [from, does] = [turn, data.statusDoes[data.changes[job][at + 1]]];
  }
  if (does) found.push([does, from, finish]);
  return found;
};

const highlight = (some) => {
  const paths = {};
  for (let job = 0; some && job < jobs; job++) {
    if (!matching[job]) continue;
    const row = data.row[job], outcome = outcomeOf(job);
    for (const [does, from, to] of segments(job))
      if (to > from || does !== "unseen") (paths[does] ||= []).push(`M${from} ${row}.5h${Math.max(to - from, 1)}`);
    if (data.took[job] === null) continue;
    const end = `M${right(job)} ${row}` + (outcome === "succeeded" ? ".1v.8" : ".5h0");
    (paths[`end ${outcome}`] ||= []).push(end);
    if (outcome === "cancelled" || outcome === "lost") (paths["end hole"] ||= []).push(end);
  }
  const drawn = [...$("bars").querySelectorAll("path:not(.hole)")].map((path) => path.getAttribute("class"));
  drawn.push("end hole"); // over the marks that it makes hollow
  $("matches").replaceChildren(...drawn.filter((name) => paths[name]).map((name) => {
    const path = document.createElementNS("http://www.w3.org/2000/svg", "path");
    path.setAttribute("class", name);
    path.setAttribute("d", paths[name].join(""));
    return path;
  }));
  plot.classList.toggle("faded", some);
};

// --- one job is pointed at

const jobAt = (x, y) => {
  const wide = plot.clientWidth / view.w, high = plot.clientHeight / view.h;
  let best = -1, least = NEAR;
  for (let job = 0; job < jobs; job++) {
    const down = Math.max(Math.abs(data.row[job] + 0.5 - y) - 0.5, 0) * high;
    if (down >= least || !matching[job]) continue;
    const [from, to] = [left(job), right(job)];
    const onEnd = data.outcome[job] && data.took[job] !== null && Math.abs(to - x) * wide <= NEAR / 2 && down <= NEAR / 2;
    const far = onEnd ? Math.abs(to - x) * wide / NEAR - 1 : down + Math.max(from - x, x - to, 0) * wide;
    if (far < least) [best, least] = [job, far];
  }
  return best;
};

const point = (job, spoken) => {
  cursor = job;
  const readout = $("readout"), box = $("cursor");
  readout.setAttribute("aria-live", spoken ? "polite" : "off");
  box.setAttribute("visibility", job < 0 ? "hidden" : "visible");
  if (job < 0) return readout.replaceChildren(make("span", "", hint));
  box.setAttribute("x", left(job));
  box.setAttribute("y", data.row[job]);
  box.setAttribute("width", Math.max(right(job) - left(job), 1));
  const seen = [];
  for (let at = 0; at < data.changes[job].length; at += 2)
    seen.push(`${data.statusTexts[data.changes[job][at + 1]]} ${clock(data.changes[job][at])}`);
  const told = data.took[job] === null ? "still open" : `${outcomeOf(job)} after ${lasted(data.took[job])}`;
  readout.replaceChildren(make("span", "handle", handleOf(job)), " ", key(outcomeOf(job)), make("b", "", told),
    make("bdi", "", [`began ${clock(data.began[job])}`, ...seen, `${number(data.polls[job])} polls`].join(" · ")),
    make("bdi", "reason", reasonsOf(job).join("; ")));
};

const go = (by, from = cursor) => {
  const way = Math.sign(by);
  let job = -1;
  for (let next = from + way, left = Math.abs(by); left && next >= 0 && next < jobs; next += way)
    if (matching[next]) [job, left] = [next, left - 1];
  if (job < 0) return;
  point(job, true);
  const inside = (at, from, length) => at >= from && at <= from + length;
  const [x, y] = [right(job), data.row[job] + 0.5];
  if (!inside(x, view.x, view.w) || !inside(y, view.y, view.h)) look(x - view.w / 2, y - view.h / 2, view.w, view.h);
};

// --- keys, and a pointer

const keys = {
  ArrowDown: () => go(1), ArrowRight: () => go(1), ArrowUp: () => go(-1), ArrowLeft: () => go(-1),
  PageDown: () => go(20), PageUp: () => go(-20), Home: () => go(1, -1), End: () => go(-1, jobs),
  "+": () => zoom(0.5, ...middle()), "=": () => zoom(0.5, ...middle()), "-": () => zoom(2, ...middle()),
  "Shift ArrowLeft": () => look(view.x - view.w / 4, view.y, view.w, view.h),
  "Shift ArrowRight": () => look(view.x + view.w / 4, view.y, view.w, view.h),
  "Shift ArrowUp": () => look(view.x, view.y - view.h / 4, view.w, view.h),
  "Shift ArrowDown": () => look(view.x, view.y + view.h / 4, view.w, view.h),
  0: fit, Escape: fit,
};
const drag = { from: null, box: null };

const brush = (event) => {
  const area = plot.getBoundingClientRect();
  const [x0, x1] = [drag.from.clientX, event.clientX].sort((a, b) => a - b);
  const [y0, y1] = [drag.from.clientY, event.clientY].sort((a, b) => a - b);
  if (!drag.box && Math.hypot(x1 - x0, y1 - y0) < 6) return;
  if (!drag.box) plot.append(drag.box = make("div", "brush"));
  Object.assign(drag.box.style, { left: `${x0 - area.left}px`, top: `${y0 - area.top}px`,
    width: `${x1 - x0}px`, height: `${y1 - y0}px` });
};
const release = (event) => {
  if (drag.box && event.type === "pointerup") {
    const [[x0, y0], [x1, y1]] = [whereIs(drag.from), whereIs(event)];
    look(Math.min(x0, x1), Math.min(y0, y1), Math.abs(x1 - x0), Math.abs(y1 - y0));
  }
  drag.box?.remove();
  drag.from = drag.box = null;
};

plot.tabIndex = 0;
for (const [name, text] of [["role", "application"], ["aria-label", "Timeline"], ["aria-describedby", "readout"]])
  plot.setAttribute(name, text);
plot.addEventListener("keydown", (event) => {
  const name = (event.shiftKey && event.key.startsWith("Arrow") ? "Shift " : "") + event.key;
  if (event.ctrlKey || event.metaKey || event.altKey || !Object.hasOwn(keys, name)) return;
  event.preventDefault();
  keys[name]();
});
plot.addEventListener("pointermove", (event) => drag.from ? brush(event) : point(jobAt(...whereIs(event)), false));
plot.addEventListener("pointerdown", (event) => {
  point(jobAt(...whereIs(event)), false);
  if (event.pointerType !== "mouse" || event.button) return;
  drag.from = event;
  plot.setPointerCapture(event.pointerId);
});
plot.addEventListener("pointerup", release);
plot.addEventListener("pointercancel", release);
plot.addEventListener("dblclick", (event) => zoom(0.5, ...whereIs(event)));
plot.addEventListener("wheel", (event) => {
  if (!event.ctrlKey) return; // the page scrolls
  event.preventDefault();
  zoom(event.deltaY < 0 ? 0.8 : 1.25, ...whereIs(event));
}, { passive: false });
$("in").addEventListener("click", () => zoom(0.5, ...middle()));
$("out").addEventListener("click", () => zoom(2, ...middle()));
$("fit").addEventListener("click", fit);
addEventListener("resize", () => look(view.x, view.y, view.w, view.h));
addEventListener("beforeprint", fit);
point(-1, false);
fit();

