// Charts from the data-series of their places, in the colours of the theme.
"use strict";

const charts = {
  drawn: [],

  colour: (name) => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim(),

  axes() {
    const line = { stroke: charts.colour("soft"), grid: { stroke: charts.colour("line"), width: 1 }, ticks: { show: false }, font: "12px system-ui, sans-serif" };
    return [{ ...line, grid: { show: false }, space: 64, values: charts.times }, { ...line, size: 46 }];
  },

  // UTC, like every time on the page: the day at midnight, else the hour.
  times: (_, splits) => splits.map((seconds) => {
    const at = new Date(seconds * 1000).toISOString();
    const day = new Date(seconds * 1000).toLocaleDateString("en-GB", { day: "numeric", month: "short", timeZone: "UTC" });
    return at.slice(11, 16) === "00:00" ? day : at.slice(11, 16);
  }),

  kinds: {
    stock: () => [
      { stroke: charts.colour("accent"), width: 2, paths: uPlot.paths.stepped({ align: 1 }), points: { show: false } },
      { stroke: charts.colour("high"), width: 0, paths: () => null, points: { show: true, size: 9, fill: charts.colour("high") } },
      { stroke: charts.colour("low"), width: 1, dash: [3, 4], points: { show: false } },
      { stroke: charts.colour("low"), width: 1, dash: [3, 4], points: { show: false } },
      { stroke: charts.colour("low"), width: 2, dash: [6, 4], points: { show: false } },
    ],
    velocity: () => [
      { stroke: charts.colour("accent"), fill: charts.colour("accent"), width: 1, paths: uPlot.paths.bars({ size: [1, 6, 3] }), points: { show: false } },
    ],
    hours: () => [
      { stroke: charts.colour("accent"), fill: charts.colour("good-bg"), width: 2, points: { show: false } },
      { stroke: charts.colour("low"), width: 2, dash: [6, 4], points: { show: false } },
    ],
    lines: () => ["accent", "high", "low", "medium"].map((name) => ({ stroke: charts.colour(name), width: 2, points: { show: false } })),
  },

  // A single moment still needs a width.
  span: (at) => (at.length && at[0] === at.at(-1) ? { range: [at[0] - 43200, at[0] + 43200] } : {}),

  draw(place) {
    const { at_s: at, values } = JSON.parse(place.dataset.series);
    const names = Object.keys(values);
    const styles = charts.kinds[place.dataset.chart]();
    const chart = new uPlot({
      width: place.clientWidth,
      height: place.clientHeight,
      legend: { show: false },
      cursor: { drag: { x: false, y: false } },
      tzDate: (seconds) => uPlot.tzDate(new Date(seconds * 1000), "UTC"),
      scales: { x: charts.span(at), y: { range: (_, low, high) => [Math.min(0, low ?? 0), Math.max(high ?? 1, 1) * 1.05] } },
      axes: charts.axes(),
      series: [{}, ...names.map((name, i) => ({ label: name, spanGaps: false, ...styles[i] }))],
      bands: place.dataset.chart === "stock" ? [{ series: [4, 3], fill: charts.colour("low-bg") }] : [],
    }, [at, ...names.map((name) => values[name])], place);
    charts.drawn.push([place, chart]);
  },

  drawAll() {
    for (const [, chart] of charts.drawn.splice(0)) chart.destroy();
    document.querySelectorAll("[data-chart]").forEach(charts.draw);
  },
};

charts.drawAll();
document.addEventListener("theme", charts.drawAll);
document.addEventListener("htmx:afterSettle", (event) => {
  if (event.target.querySelector?.("[data-chart]")) charts.drawAll();
});
addEventListener("resize", () => {
  for (const [place, chart] of charts.drawn) chart.setSize({ width: place.clientWidth, height: place.clientHeight });
});
