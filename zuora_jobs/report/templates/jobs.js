// What there is to know about the jobs, and how it is said. All text from outside goes in as textContent; nothing is
// fetched, nothing is kept. The files jobs.js, timeline.js and list.js are one module, in this order.

const $ = (id) => document.getElementById(id);
const data = JSON.parse($("data").textContent);
const jobs = data.id.length;
const matching = new Uint8Array(jobs).fill(1);

const make = (tag, className, text) => {
  const element = document.createElement(tag);
  if (className) element.className = className;
  if (text !== undefined) element.textContent = text;
  return element;
};
const number = (value) => value.toLocaleString("en");

const bandOf = new Uint32Array(jobs);
data.bands.forEach(([, , , first, count], band) => bandOf.fill(band, first, first + count));
const kindOf = (job) => data.bands[bandOf[job]][0];
const handleOf = (job) => `${kindOf(job)}:${data.id[job]}`;
const outcomeOf = (job) => data.outcomes[data.outcome[job]];
const statusOf = (job) => data.changes[job].length ? data.statusTexts[data.changes[job].at(-1)] : "-";
const reasonsOf = (job) => (data.reasons[job] || []).map((text) => data.reasonTexts[text]);
const moment = (seconds) => new Date(Math.round((data.zero + seconds) * 1000));
const clock = (seconds) => moment(seconds).toISOString().slice(11, 19);
const day = (seconds) => moment(seconds).toLocaleDateString("en-GB",
  { day: "numeric", month: "short", timeZone: "UTC" });
const lasted = (seconds) => {
  if (seconds === null) return "-";
  if (!seconds) return "0 s";
  if (seconds < 9.95) return `${seconds.toFixed(1)} s`;
  const two = (large, larger, small, smaller) => {
    const whole = Math.round(seconds / small) * small;
    const rest = whole % large / small;
    return `${Math.floor(whole / large)} ${larger}` + (rest ? ` ${rest} ${smaller}` : "");
  };
  if (seconds < 59.5) return `${Math.round(seconds)} s`;
  if (seconds < 3599.5) return two(60, "min", 1, "s");
  return seconds < 86370 ? two(3600, "h", 60, "min") : two(86400, "d", 3600, "h");
};
const key = (name) => {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  const use = document.createElementNS("http://www.w3.org/2000/svg", "use");
  svg.setAttribute("class", "key");
  svg.setAttribute("viewBox", "0 0 16 16");
  svg.setAttribute("aria-hidden", "true");
  use.setAttribute("href", `#key-${name}`);
  svg.append(use);
  return svg;
};
