// Draws the charts of a deploy's page with uPlot from /api/v1/watches/{id}/chart.
"use strict";

const Charts = (() => {
  const plots = new Map();
  let section = null;
  let shown = null;

  const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
  const isUtc = () => document.body.dataset.zone === "utc";
  const two = (n) => String(n).padStart(2, "0");

  function clockText(at, withSeconds) {
    const date = new Date(at * 1000);
    const parts = isUtc()
      ? [date.getUTCHours(), date.getUTCMinutes(), date.getUTCSeconds()]
      : [date.getHours(), date.getMinutes(), date.getSeconds()];
    return parts.slice(0, withSeconds ? 3 : 2).map(two).join(":");
  }

  function digits(value) {
    const size = Math.abs(value);
    if (size === 0) return "0";
    if (size >= 1000) return Math.round(value).toLocaleString("en");
    if (size >= 100) return value.toFixed(0);
    return String(Number(value.toPrecision(2)));
  }

  function amount(value, unit) {
    if (value === null || value === undefined) return "no data";
    if (unit === "ratio") return `${digits(100 * value)} %`;
    if (unit === "s") return value < 1 ? `${digits(1000 * value)} ms` : `${digits(value)} s`;
    return digits(value);
  }

  // y starts at 0 where 0 means something; a latency keeps its own range.
  function rangeOf(spec) {
    return (u, low, high) => {
      if (low === null || high === null) return [0, 1];
      const pad = (high - low || Math.abs(high) || 1) * 0.12;
      const floor = spec.unit === "s" || spec.kind === "gauge" ? low - pad : 0;
      return [spec.unit === "s" ? Math.max(0, floor) : floor, high + pad];
    };
  }

  function hatching(context) {
    const ratio = devicePixelRatio || 1;
    const tile = document.createElement("canvas");
    tile.width = tile.height = Math.round(7 * ratio);
    const pen = tile.getContext("2d");
    pen.strokeStyle = colour("hatch");
    pen.globalAlpha = 0.75;
    pen.lineWidth = ratio;
    pen.beginPath();
    pen.moveTo(0, tile.height);
    pen.lineTo(tile.width, 0);
    pen.stroke();
    return context.createPattern(tile, "repeat");
  }

  function span(u, from, to, least) {
    const left = u.valToPos(from, "x", true);
    const right = u.valToPos(to, "x", true);
    const missing = Math.max(0, least - (right - left)) / 2;
    return [left - missing, Math.max(right - left, least)];
  }

  function drawBehind(u, one) {
    const { ctx, bbox } = u;
    const ratio = devicePixelRatio || 1;
    ctx.save();
    ctx.beginPath();
    ctx.rect(bbox.left, bbox.top, bbox.width, bbox.height);
    ctx.clip();
    ctx.fillStyle = hatching(ctx);
    for (const [from, to] of one.gaps) {
      const [left, width] = span(u, from, to, 1);
      ctx.fillRect(left, bbox.top, width, bbox.height);
    }
    const evidence = one.evidence;
    if (evidence && evidence.onset_low_at && evidence.onset_high_at) {
      // At least 6 px wide: three minutes of onset in a long window would be a hairline.
      const [left, width] = span(u, evidence.onset_low_at, evidence.onset_high_at, 6 * ratio);
      ctx.globalAlpha = 0.55;
      ctx.fillStyle = colour("onset");
      ctx.fillRect(left, bbox.top, width, bbox.height);
    }
    ctx.restore();
  }

  function label(ctx, text, x, y, ink) {
    ctx.lineWidth = 4 * (devicePixelRatio || 1);
    ctx.strokeStyle = colour("paper");
    ctx.strokeText(text, x, y);
    ctx.fillStyle = ink;
    ctx.fillText(text, x, y);
  }

  function drawBefore(u, one, chart) {
    const { ctx, bbox } = u;
    const ratio = devicePixelRatio || 1;
    ctx.save();
    ctx.font = `${11 * ratio}px system-ui, sans-serif`;
    ctx.textBaseline = "top";
    ctx.textAlign = "left";
    for (const [from, to] of one.gaps) {
      const [left, width] = span(u, from, to, 1);
      const text = `no data ${spanText(to - from)}`;
      if (width > ctx.measureText(text).width + 8 * ratio) {
        label(ctx, text, left + 4 * ratio, bbox.top + bbox.height - 16 * ratio, colour("dim"));
      }
    }
    const evidence = one.evidence;
    if (evidence && evidence.onset_low_at && evidence.onset_high_at) {
      const [left, width] = span(u, evidence.onset_low_at, evidence.onset_high_at, 6 * ratio);
      ctx.strokeStyle = colour("regressed");
      ctx.lineWidth = 1.5 * ratio;
      ctx.beginPath();
      ctx.moveTo(left, bbox.top + 7 * ratio);
      ctx.lineTo(left, bbox.top + 2 * ratio);
      ctx.lineTo(left + width, bbox.top + 2 * ratio);
      ctx.lineTo(left + width, bbox.top + 7 * ratio);
      ctx.stroke();
    }
    for (const other of chart.others) {
      const x = u.valToPos(other.started_at, "x", true);
      if (x < bbox.left || x > bbox.left + bbox.width) continue;
      ctx.strokeStyle = colour("other");
      ctx.lineWidth = 2 * ratio;
      ctx.beginPath();
      ctx.moveTo(x, bbox.top + bbox.height);
      ctx.lineTo(x, bbox.top + bbox.height - 12 * ratio);
      ctx.stroke();
    }
    const x = u.valToPos(chart.started_at, "x", true);
    ctx.strokeStyle = colour("observing");
    ctx.lineWidth = 2 * ratio;
    ctx.beginPath();
    ctx.moveTo(x, bbox.top);
    ctx.lineTo(x, bbox.top + bbox.height);
    ctx.stroke();
    ctx.textAlign = "right";
    label(ctx, "deploy", x - 5 * ratio, bbox.top + 3 * ratio, colour("observing"));
    if (one.crossed_at !== null) {
      const at = u.valToPos(one.crossed_at, "x", true);
      ctx.fillStyle = colour("regressed");
      ctx.beginPath();
      ctx.moveTo(at - 6 * ratio, bbox.top - 10 * ratio);
      ctx.lineTo(at + 6 * ratio, bbox.top - 10 * ratio);
      ctx.lineTo(at, bbox.top);
      ctx.fill();
    }
    ctx.restore();
  }

  function spanText(seconds) {
    if (seconds < 100) return `${Math.round(seconds)} s`;
    if (seconds < 6000) return `${Math.round(seconds / 60)} min`;
    return `${Math.round(seconds / 3600)} h`;
  }

  function axes(chart, unit, hasTimes) {
    const withSeconds = chart.to_at - chart.from_at < 900;
    const stroke = colour("dim");
    const grid = { stroke: colour("line"), width: 1 };
    const font = "11px system-ui, sans-serif";
    return [
      {
        show: hasTimes,
        stroke,
        grid,
        ticks: grid,
        font,
        size: 26,
        gap: 2,
        space: withSeconds ? 80 : 60,
        values: (u, splits) => splits.map((at) => clockText(at, withSeconds)),
      },
      { stroke, grid, ticks: grid, font, size: 58, gap: 4, space: 32, values: (u, ys) => ys.map((y) => amount(y, unit)) },
    ];
  }

  // Two ticks say all: nothing, and how much is needed.
  function stripAxes(chart) {
    const [x, y] = axes(chart, "", false);
    return [x, { ...y, grid: { show: false }, splits: (u) => [0, u.one && u.one.threshold ? u.one.threshold : 1] }];
  }

  function base(host, chart) {
    return {
      width: host.clientWidth,
      height: host.clientHeight,
      legend: { show: false },
      padding: [12, 8, 0, 0],
      cursor: { sync: { key: "deploy" }, drag: { x: false, y: false }, points: { size: 6 } },
      tzDate: (at) => (isUtc() ? uPlot.tzDate(new Date(at * 1000), "Etc/UTC") : new Date(at * 1000)),
    };
  }

  function mainPlot(host, one, chart) {
    const isStepped = one.spec.kind === "count" || one.spec.kind === "probe";
    const hidden = { stroke: "transparent", width: 0, points: { show: false } };
    const options = {
      ...base(host, chart),
      scales: { x: { range: () => [chart.from_at, chart.to_at] }, y: { range: rangeOf(one.spec) } },
      axes: axes(chart, one.spec.unit, true),
      series: [
        {},
        hidden,
        hidden,
        {
          stroke: colour("ink"),
          width: 1.6,
          spanGaps: false,
          points: { show: false },
          paths: isStepped ? uPlot.paths.stepped({ align: -1 }) : undefined,
        },
      ],
      bands: [{ series: [2, 1], fill: `${colour("band")}b0` }], // Seen through: a hatch below must stay visible.
      hooks: {
        drawClear: [(u) => drawBehind(u, u.one)],
        draw: [(u) => drawBefore(u, u.one, u.chart)],
        setCursor: [(u) => readout(u)],
      },
    };
    const plot = new uPlot(options, [[], [], [], []], host);
    host.tabIndex = 0;
    host.setAttribute("aria-label", `${one.spec.name}: arrow keys read single points`);
    host.addEventListener("keydown", (event) => walk(event, plot));
    const text = document.createElement("p");
    text.className = "readout";
    host.after(text);
    plot.text = text;
    return plot;
  }

  function stripPlot(host, one, chart) {
    const options = {
      ...base(host, chart),
      padding: [4, 8, 4, 0],
      scales: {
        x: { range: () => [chart.from_at, chart.to_at] },
        // Three times what is needed is as good as any more.
        y: { range: (u, low, high) => [0, Math.min(Math.max(high || 0, (u.one.threshold || 1) * 1.3), (u.one.threshold || 1) * 3)] },
      },
      axes: stripAxes(chart),
      series: [{}, { stroke: colour("regressed"), width: 1.6, spanGaps: false, points: { show: false }, fill: undefined }],
      hooks: {
        draw: [
          (u) => {
            if (u.one.threshold === null || u.one.threshold === undefined) return;
            const { ctx, bbox } = u;
            const ratio = devicePixelRatio || 1;
            const y = u.valToPos(u.one.threshold, "y", true);
            ctx.save();
            ctx.setLineDash([5 * ratio, 4 * ratio]);
            ctx.strokeStyle = colour("ink");
            ctx.lineWidth = ratio;
            ctx.beginPath();
            ctx.moveTo(bbox.left, y);
            ctx.lineTo(bbox.left + bbox.width, y);
            ctx.stroke();
            ctx.setLineDash([]);
            ctx.font = `${11 * ratio}px system-ui, sans-serif`;
            ctx.textBaseline = "bottom";
            ctx.textAlign = "left";
            label(ctx, `evidence; ${digits(u.one.threshold)} needed`, bbox.left + 6 * ratio, y - 2 * ratio, colour("dim"));
            ctx.restore();
          },
        ],
      },
    };
    return new uPlot(options, [[], []], host);
  }

  function readout(u) {
    if (!u.text) return;
    const i = u.cursor.idx;
    if (i === null || i === undefined) {
      u.text.textContent = "";
      return;
    }
    const [at, low, high, value] = u.data.map((column) => column[i]);
    const unit = u.one.spec.unit;
    const zone = isUtc() ? "UTC" : "local";
    const expected = low === null || high === null ? "" : `, expected ${amount(low, unit)} to ${amount(high, unit)}`;
    const after = at - u.chart.started_at;
    u.text.textContent = `${clockText(at, true)} ${zone} (${after < 0 ? "-" : "+"}${spanText(Math.abs(after))}): ${amount(value, unit)}${expected}`;
  }

  function walk(event, u) {
    const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (!step || !u.data[0].length) return;
    event.preventDefault();
    const last = u.data[0].length - 1;
    const from = u.cursor.idx === null || u.cursor.idx === undefined ? last : u.cursor.idx + step;
    const i = Math.max(0, Math.min(last, from));
    u.setCursor({ left: u.valToPos(u.data[0][i], "x"), top: u.bbox.height / 2 / (devicePixelRatio || 1) });
  }

  function fill(host, one, chart, make, data) {
    if (!host || !host.clientWidth) return;
    let plot = plots.get(host);
    if (!plot) {
      plot = make(host, one, chart);
      plots.set(host, plot);
    }
    plot.one = one;
    plot.chart = chart;
    plot.setData(data);
  }

  function draw(chart) {
    shown = chart;
    for (const one of chart.series) {
      const find = (kind) => section.querySelector(`.${kind}[data-series="${CSS.escape(one.spec.name)}"]`);
      fill(find("plot"), one, chart, mainPlot, [one.at, one.expected_low, one.expected_high, one.value]);
      fill(find("strip"), one, chart, stripPlot, [one.at, one.statistic]);
    }
  }

  function restart() {
    for (const plot of plots.values()) {
      if (plot.text) plot.text.remove();
      plot.destroy();
    }
    plots.clear();
    if (shown) draw(shown);
  }

  async function refresh() {
    section = document.getElementById("charts");
    if (!section) return;
    const answer = await fetch(section.dataset.chart, { headers: { Accept: "application/json" } });
    if (answer.ok) draw((await answer.json()).chart);
  }

  let wait = 0;
  addEventListener("resize", () => {
    clearTimeout(wait);
    wait = setTimeout(restart, 150);
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", restart);

  return { refresh, restart };
})();
