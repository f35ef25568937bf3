// --- the filter

const fields = ["q", "kind", "outcome", "trouble"].map($).filter(Boolean);
const value = (id) => $(id) ? $(id).value : "";
const texts = new Array(jobs);
for (let job = 0; job < jobs; job++)
  texts[job] = [handleOf(job), outcomeOf(job), statusOf(job), ...reasonsOf(job)].join("\n").toLowerCase();
let matches = jobs;

const filter = () => {
  const words = value("q").toLowerCase().split(/\s+/).filter(Boolean);
  const band = value("kind") === "" ? -1 : data.bands.findIndex(([kind]) => kind === value("kind"));
  const outcome = data.outcomes.indexOf(value("outcome"));
  const trouble = value("trouble") === "" ? -1 : Number(value("trouble"));
  matches = 0;
  for (let job = 0; job < jobs; job++) {
    const fits = (band < 0 || bandOf[job] === band) && (outcome < 0 || data.outcome[job] === outcome)
      && (trouble < 0 || (data.troubles[job] || []).includes(trouble))
      && words.every((word) => texts[job].includes(word));
    matching[job] = fits ? 1 : 0;
    matches += fits;
  }
  $("count").textContent = `${number(matches)} of ${number(jobs)} jobs`;
  highlight(matches < jobs);
  list.page = 0;
  show();
};

const remember = () => {
  const state = new URLSearchParams(fields.filter((field) => field.value).map((field) => [field.id, field.value]));
  try {
    history.replaceState(null, "", state.size ? `#${state}` : location.pathname + location.search);
  } catch { /* some browsers allow this only so often, or not for files */ }
};
const recall = () => {
  const state = new URLSearchParams(location.hash.slice(1));
  if (location.hash && !fields.some((field) => state.has(field.id))) return; // a link within the page
  for (const field of fields) field.value = state.get(field.id) || "";
  for (const field of fields) if (field.selectedIndex === -1) field.value = "";
  filter();
};

// --- the list

const PAGE = 25;
const list = { column: "began", down: false, page: 0, order: [] };
const values = {
  job: handleOf, outcome: (job) => data.outcome[job], status: (job) => statusOf(job).toLowerCase(),
  began: (job) => data.began[job], took: (job) => data.took[job] ?? Infinity, polls: (job) => data.polls[job],
};

const sort = () => {
  const of = Array.from({ length: jobs }, (_, job) => values[list.column](job));
  const sign = list.down ? -1 : 1;
  list.order = Array.from({ length: jobs }, (_, job) => job)
    .sort((a, b) => sign * (of[a] < of[b] ? -1 : of[a] > of[b] ? 1 : 0) || a - b);
  for (const button of document.querySelectorAll("[data-sort]")) {
    const chosen = button.dataset.sort === list.column;
    if (chosen) button.parentNode.setAttribute("aria-sort", list.down ? "descending" : "ascending");
    else button.parentNode.removeAttribute("aria-sort");
  }
};

const show = () => {
  const pages = Math.max(Math.ceil(matches / PAGE), 1);
  list.page = Math.min(Math.max(list.page, 0), pages - 1);
  const shown = list.order.filter((job) => matching[job]).slice(list.page * PAGE, (list.page + 1) * PAGE);
  $("rows").replaceChildren(...shown.map(line));
  const first = list.page * PAGE + 1;
  $("shown").textContent = matches ? `${number(first)} to ${number(first + shown.length - 1)} of ${number(matches)}`
    + (matches < jobs ? ` that match, of ${number(jobs)}` : "") : "No job matches the filter.";
  $("page").textContent = `Page ${number(list.page + 1)} of ${number(pages)}`;
  $("previous").disabled = list.page === 0;
  $("next").disabled = list.page === pages - 1;
};

const line = (job) => {
  const row = make("tr");
  const cells = ["job", "outcome", "status", "began", "took", "polls"].map((name) => make("td", `c-${name}`));
  cells[0].append(make("span", "handle", handleOf(job)), ...reasonsOf(job).map((text) => make("bdi", "reason", text)));
  cells[1].append(key(outcomeOf(job)), outcomeOf(job));
  cells[2].append(make("bdi", "", statusOf(job)));
  cells[3].textContent = `${day(data.began[job])}, ${clock(data.began[job])}`;
  cells[4].textContent = lasted(data.took[job]);
  cells[5].textContent = number(data.polls[job]);
  row.append(...cells);
  return row;
};

// --- begin

document.documentElement.classList.add("js");
for (const part of document.querySelectorAll("[hidden].controls, #readout")) part.hidden = false;
for (const [kind] of data.bands) $("kind").append(make("option", "", kind));
for (const outcome of data.outcomes.filter((_, index) => data.outcome.includes(index)))
  $("outcome").append(make("option", "", outcome));
for (const item of document.querySelectorAll("[data-filter]")) {
  const link = make("a");
  link.href = `#${item.dataset.filter}`;
  link.append(...item.childNodes);
  item.append(link);
}
for (const field of fields) field.addEventListener("input", () => { filter(); remember(); });
$("filter").addEventListener("submit", (event) => event.preventDefault());
$("clear").addEventListener("click", () => {
  for (const field of fields) field.value = "";
  filter();
  remember();
});
addEventListener("hashchange", recall);
document.querySelector("#list thead").addEventListener("click", ({ target }) => {
  const column = target.dataset.sort;
  if (!column) return;
  list.down = column === list.column && !list.down;
  list.column = column;
  list.page = 0;
  sort();
  show();
});
$("previous").addEventListener("click", () => { list.page--; show(); });
$("next").addEventListener("click", () => { list.page++; show(); });
sort();
filter();
if (location.hash) recall();
