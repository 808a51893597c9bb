"use strict";

const all = (selector, root = document) => [...root.querySelectorAll(selector)];
const figures = JSON.parse(document.getElementById("figures").textContent);
const chosen = {};

function isDark() {
  const scheme = document.documentElement.dataset.scheme;
  return scheme ? scheme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
}

// Sorting: equal cells stay in the order of the ranking, unknown numbers come last.

function sortBy(button) {
  const head = button.closest("th");
  const table = head.closest("table");
  const column = [...head.parentNode.children].indexOf(head);
  const isNumber = button.dataset.sort !== "text";
  const first = button.dataset.sort === "high" ? "descending" : "ascending";
  const second = first === "ascending" ? "descending" : "ascending";
  const order = head.getAttribute("aria-sort") === first ? second : first;
  const sign = order === "ascending" ? 1 : -1;
  const key = (row) => {
    const cell = row.children[column];
    return isNumber ? Number(cell.dataset.value) : cell.textContent.trim();
  };
  const compared = (a, b) => {
    if (!isNumber) return sign * a.localeCompare(b, "en", { numeric: true });
    if (Number.isNaN(a) || Number.isNaN(b)) return Number.isNaN(a) - Number.isNaN(b);
    return sign * (a - b);
  };
  const body = table.tBodies[0];
  body.ranked ??= [...body.rows];
  const rows = body.ranked.map((row) => [key(row), row]).sort(([a], [b]) => compared(a, b));
  body.append(...rows.map(([, row]) => row));
  all("[aria-sort]", table).forEach((other) => other.setAttribute("aria-sort", "none"));
  head.setAttribute("aria-sort", order);
  document.getElementById("news").textContent = `Sorted by ${button.textContent}, ${order}`;
}

// Plots are drawn when they come into view, and all of them before printing.

function dressed(figure, width, onPaper) {
  const dark = isDark() && !onPaper;
  const style = getComputedStyle(document.documentElement);
  const [ink, line, paper] = onPaper
    ? ["#1c1f23", "#dfe3e8", "#ffffff"]
    : ["--ink", "--line", "--paper"].map((name) => style.getPropertyValue(name).trim());
  const narrow = (width < 600 && figure.narrow) || {};
  const layout = {
    ...structuredClone(figure.layout), // plotly.js writes a zoom into it
    width,
    height: (onPaper && width >= 600 ? 0.8 : 1) * (narrow.height ?? figure.layout.height),
    font: { family: getComputedStyle(document.body).fontFamily, size: 12.5, color: ink },
    paper_bgcolor: "rgba(0,0,0,0)",
    plot_bgcolor: "rgba(0,0,0,0)",
    margin: { l: 60, r: 14, t: 44, b: 48 },
    hoverlabel: { bgcolor: paper, bordercolor: line, font: { color: ink } },
    legend: { orientation: "h", x: 0, y: 1.02, yanchor: "bottom", ...figure.layout.legend },
    modebar: { bgcolor: "rgba(0,0,0,0)" },
  };
  for (const name of Object.keys(layout).filter((name) => /^[xy]axis/.test(name))) {
    layout[name] = {
      gridcolor: line, linecolor: line, zerolinecolor: line, automargin: true, ...layout[name], ...narrow[name],
    };
  }
  // Okabe and Ito's blues are lighter on black, where the darker one could hardly be seen.
  const lighter = { "#0072B2": "#4DA3DC", "#56B4E9": "#A6D8F5" };
  const colour = (key, value) => (dark && lighter[value]) || value;
  const data = figure.data.map((trace, i) => ({ ...trace, ...narrow.data?.[i] }));
  return { data: JSON.parse(JSON.stringify(data), colour), layout };
}

function draw(plot, onPaper = false) {
  const name = plot.dataset.chart;
  const figure = figures[name][chosen[name] ?? 0];
  plot.hidden = !figure;
  plot.parentNode.querySelector(".absent").hidden = Boolean(figure);
  plot.drawn = true;
  if (!figure) return;
  const { data, layout } = dressed(figure, plot.clientWidth, onPaper);
  layout.uirevision = `variant ${chosen[name] ?? 0}`; // a zoom outlives other colours and another width
  const config = {
    displaylogo: false,
    modeBarButtonsToRemove: ["select2d", "lasso2d", "autoScale2d"],
  };
  Plotly.react(plot, data, layout, config);
}

const redraw = () => all(".plot").filter((plot) => plot.drawn).forEach((plot) => draw(plot));

// plotly.js takes a second to compile, so it waits until the table can be read and sorted.
function loadPlotly() {
  const script = document.createElement("script");
  script.textContent = document.getElementById("plotly").textContent;
  document.head.append(script);
}

function watch() {
  const watcher = new IntersectionObserver(
    (entries) => {
      for (const { isIntersecting, target } of entries) {
        if (!isIntersecting) continue;
        watcher.unobserve(target);
        if (!target.drawn) draw(target);
      }
    },
    { rootMargin: "300px" },
  );
  all(".plot").forEach((plot) => watcher.observe(plot));
}

// Menus choose a variant of one plot, or the model of a whole section.

function pick(select) {
  for (const name of select.dataset.picks.split(" ")) {
    chosen[name] = Number(select.value);
    const plot = document.querySelector(`[data-chart="${name}"]`);
    if (plot?.drawn) draw(plot);
  }
  if (select.id !== "model") return;
  all("article.model").forEach((one) => (one.hidden = one.dataset.model !== select.value));
}

async function copy(button) {
  const text = button.parentNode.querySelector("code").textContent;
  try {
    await navigator.clipboard.writeText(text);
    button.textContent = "Copied";
  } catch {
    getSelection().selectAllChildren(button.parentNode.querySelector("code"));
    button.textContent = "Selected";
  }
}

document.addEventListener("click", (event) => {
  const sorter = event.target.closest("[data-sort]");
  const copier = event.target.closest("[data-copy]");
  const link = event.target.closest("a[data-model]");
  if (sorter) sortBy(sorter);
  if (copier) copy(copier);
  if (link) {
    const select = document.getElementById("model");
    select.value = link.dataset.model;
    pick(select);
  }
});
all("select[data-picks]").forEach((select) => {
  select.addEventListener("change", () => pick(select));
  pick(select);
});

const scheme = document.getElementById("scheme");
function showScheme() {
  scheme.setAttribute("aria-pressed", String(isDark()));
  redraw();
}
scheme.addEventListener("click", () => {
  document.documentElement.dataset.scheme = isDark() ? "light" : "dark";
  showScheme();
});
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", showScheme);


let resizing;
addEventListener("resize", () => {
  clearTimeout(resizing);
  resizing = setTimeout(redraw, 150);
});
addEventListener("beforeprint", () => {
  if (!window.Plotly) loadPlotly();
  document.documentElement.classList.add("on-paper");
  all(".plot").forEach((plot) => draw(plot, true));
});
addEventListener("afterprint", () => {
  document.documentElement.classList.remove("on-paper");
  redraw();
});
scheme.setAttribute("aria-pressed", String(isDark()));
(window.requestIdleCallback ?? setTimeout)(() => {
  if (!window.Plotly) loadPlotly();
  watch();
});
