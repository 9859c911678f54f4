// Draws the report's figures in the page's colors; hover, click, legend and sorting. Reads only data islands of the page.
"use strict";
(() => {
  const island = (id) => JSON.parse(document.getElementById(id).textContent);
  const figures = island("figures");
  const links = island("links");
  const descriptions = island("descriptions");
  const plots = [...document.querySelectorAll(".plot")];
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const touch = matchMedia("(pointer: coarse)").matches;
  const config = { displaylogo: false, responsive: true, displayModeBar: false };
  const PAPER = { "--text": "#1b1d21", "--muted": "#5b6068", "--line": "#d9dce1", "--page": "#ffffff", "--raised": "#f6f7f9" };
  const PAPER_WIDTH = 640; // fits A4 and Letter at the browser's default margins

  function theme(layout, paper) {
    const style = getComputedStyle(document.documentElement);
    const color = (name) => (paper ? PAPER[name] : style.getPropertyValue(name).trim());
    const changes = { "font.color": color("--text"), paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)",
      "hoverlabel.bgcolor": color("--raised"), "hoverlabel.bordercolor": color("--line"), "hoverlabel.font.color": color("--text") };
    for (const axis of Object.keys(layout).filter((key) => /^[xy]axis\d*$/.test(key))) {
      changes[`${axis}.gridcolor`] = changes[`${axis}.linecolor`] = changes[`${axis}.zerolinecolor`] = color("--line");
      changes[`${axis}.tickfont.color`] = color("--muted");
    }
    (layout.annotations ?? []).forEach((_, index) => { changes[`annotations[${index}].bgcolor`] = color("--page"); });
    return changes;
  }

  function restyle(plot, paper) {
    const size = paper ? { autosize: false, width: PAPER_WIDTH } : { autosize: true, width: null };
    const maps = plot.data.flatMap((trace, index) => (trace.type === "heatmap" ? [index] : []));
    const layout = theme(plot.layout, paper);
    Plotly.relayout(plot, { ...layout, ...size });
    if (maps.length) Plotly.restyle(plot, { "textfont.color": layout["font.color"], "textfont.size": 14 }, maps);
  }

  const shown = (value) => { // String alone writes numbers out up to 1e21
    const short = Number(value.toPrecision(4));
    const text = Math.abs(short) >= 1e9 ? short.toExponential().replace("e+", "e") : String(short);
    return text.replace(/-/g, "\u2212");
  };

  function describe(trace) { // the hovers, whose parts are in the file once
    const { hover, run, n } = trace.meta ?? {};
    if (!hover) return;
    const parts = { x: (i) => shown(trace.x[i]), y: (i) => shown(trace.y[i]), n: (i) => n[i],
      run: (i) => descriptions[trace.customdata?.[i] ?? run] };
    trace.text = trace.x.map((_, i) => hover.replace(/\{(\w+)\}/g, (all, name) => parts[name](i)));
  }

  function open(event) {
    const point = event.points[0];
    const run = point.customdata ?? point.data.meta?.run;
    if (Number.isInteger(run) && links[run]) location.href = links[run];
  }

  function legend() {
    for (const button of document.querySelectorAll(".legend button")) {
      button.addEventListener("click", () => {
        const shown = button.getAttribute("aria-pressed") !== "true";
        button.setAttribute("aria-pressed", shown);
        for (const plot of plots) {
          const traces = plot.data.flatMap((trace, index) => (trace.legendgroup === button.dataset.variant ? [index] : []));
          if (traces.length) Plotly.restyle(plot, { visible: shown }, traces);
        }
      });
    }
  }

  function sort(header) {
    const table = header.closest("table");
    const column = [...header.parentNode.children].indexOf(header);
    const up = header.getAttribute("aria-sort") !== "ascending";
    const key = (row) => row.children[column].dataset.value ?? row.children[column].textContent;
    const number = (text) => (text.trim() === "" ? NaN : Number(text));
    const compare = (a, b) => {
      const [x, y] = [number(a), number(b)];
      if (Number.isNaN(x) || Number.isNaN(y)) return Number.isNaN(x) - Number.isNaN(y) || a.localeCompare(b);
      return up ? x - y : y - x;
    };
    const rows = [...table.tBodies[0].rows].sort((a, b) => compare(key(a), key(b)));
    table.tBodies[0].append(...rows);
    for (const other of table.tHead.querySelectorAll("th")) other.removeAttribute("aria-sort");
    header.setAttribute("aria-sort", up ? "ascending" : "descending");
  }

  for (const plot of plots) {
    const { data, layout } = figures[Number(plot.dataset.figure)];
    data.forEach(describe);
    if (touch) layout.dragmode = false; // a finger scrolls the page
    Plotly.newPlot(plot, data, { autosize: true, ...layout }, config);
    restyle(plot, false);
    plot.on("plotly_click", open);
  }
  legend();
  for (const button of document.querySelectorAll("th button")) button.addEventListener("click", () => sort(button.parentNode));
  dark.addEventListener("change", () => plots.forEach((plot) => restyle(plot, false)));
  addEventListener("beforeprint", () => plots.forEach((plot) => restyle(plot, true)));
  addEventListener("afterprint", () => plots.forEach((plot) => restyle(plot, false)));
  document.documentElement.dataset.drawn = plots.length;
})();
