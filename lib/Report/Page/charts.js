// Charts as SVG. A curve is {name, color, dash, steps, values, faint}: values may hold null, faint is the curve behind it.

const SVG = "http://www.w3.org/2000/svg";
const WIDTH = 560, LEFT = 52, RIGHT = 12, TOP = 8, BOTTOM = 34;

function make(tag, attributes = {}, ...children) {
  const isSVG = ["svg", "g", "path", "line", "rect", "text", "circle", "title"].includes(tag);
  const node = isSVG ? document.createElementNS(SVG, tag) : document.createElement(tag);
  for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
  node.append(...children);
  return node;
}

function format(value) {
  if (value === null || value === undefined || Number.isNaN(value)) return "–";
  if (value !== 0 && (Math.abs(value) < 1e-3 || Math.abs(value) >= 1e7)) return value.toExponential(2);
  if (Number.isInteger(value) || Math.abs(value) >= 1000) return Math.round(value).toLocaleString("en");
  return String(Number(value.toPrecision(4)));
}

/** Round values in [low, high], about `count` of them. */
function ticks(low, high, count, areWhole = false) {
  const rough = (high - low) / count || 1;
  const power = 10 ** Math.floor(Math.log10(rough));
  let step = [1, 2, 5, 10].map((m) => m * power).find((s) => s >= rough * 0.999);
  if (areWhole) step = Math.max(1, Math.round(step));
  const result = [];
  for (let i = Math.ceil(low / step - 1e-9); i * step <= high + step * 1e-9; ++i) result.push(i * step || 0);
  return result;
}

/** The range of finite numbers, never empty. */
function extent(values) {
  let low = Infinity, high = -Infinity;
  for (const value of values)
    if (value !== null) { low = Math.min(low, value); high = Math.max(high, value); }
  if (low > high) return [0, 1];
  return low === high ? [low - (Math.abs(low) || 1) / 10, high + (Math.abs(high) || 1) / 10] : [low, high];
}

function card(title, note) {
  const node = make("section", {class: "card"}, make("h2", {}, title));
  if (note) node.append(make("p", {class: "note"}, note));
  return node;
}

function table(head, rows) {
  const cells = (tag, row) => make("tr", {}, ...row.map((x) => make(tag, {}, typeof x === "number" || x === null ? format(x) : x)));
  return make("div", {class: "scroll"}, make("table", {}, make("thead", {}, cells("th", head)),
    make("tbody", {}, ...rows.map((row) => cells("td", row)))));
}

/** The numbers behind a picture, in at most 50 rows. */
function dataTable(head, rows) {
  const step = Math.max(1, Math.ceil(rows.length / 50));
  const shown = rows.filter((_, i) => i % step === 0 || i === rows.length - 1);
  return make("details", {}, make("summary", {}, "Numbers"), table(head, shown));
}

function legend(curves) {
  return make("div", {class: "legend"}, ...curves.map((c) =>
    make("span", {style: `--swatch: ${c.color}; --dash: ${c.dash ? "dashed" : "solid"}`}, c.name)));
}

/** Axes with grid and labels: the SVG node and the two scales. */
function axes(height, [x0, x1], [y0, y1], xLabel, description) {
  const x = (v) => LEFT + (v - x0) / (x1 - x0) * (WIDTH - LEFT - RIGHT);
  const y = (v) => height - BOTTOM - (v - y0) / (y1 - y0) * (height - TOP - BOTTOM);
  const svg = make("svg", {viewBox: `0 0 ${WIDTH} ${height}`, role: "img", "aria-label": description});
  for (const value of ticks(y0, y1, 5))
    svg.append(make("line", {class: "gridline", x1: LEFT, x2: WIDTH - RIGHT, y1: y(value), y2: y(value)}),
      make("text", {x: LEFT - 6, y: y(value) + 4, "text-anchor": "end"}, format(value)));
  for (const value of ticks(x0, x1, 6, true))
    svg.append(make("text", {x: x(value), y: height - BOTTOM + 15, "text-anchor": "middle"}, format(value)));
  svg.append(make("line", {class: "axis", x1: LEFT, x2: WIDTH - RIGHT, y1: height - BOTTOM, y2: height - BOTTOM}),
    make("text", {x: (LEFT + WIDTH - RIGHT) / 2, y: height - 4, "text-anchor": "middle"}, xLabel));
  return {svg, x, y, height};
}

/** Lines through the values; a null breaks the line. */
function trace(steps, values, x, y) {
  let path = "", open = false;
  values.forEach((value, i) => {
    if (value === null) { open = false; return; }
    path += `${open ? "L" : "M"}${x(steps[i]).toFixed(1)} ${y(value).toFixed(1)}`;
    open = true;
  });
  return path;
}

function drawCurve({svg, x, y}, curve) {
  const style = {stroke: curve.color, "stroke-dasharray": curve.dash ? "5 4" : "none"};
  if (curve.faint) svg.append(make("path", {class: "curve faint", ...style, d: trace(curve.steps, curve.faint, x, y)}));
  svg.append(make("path", {class: "curve", ...style, d: trace(curve.steps, curve.values, x, y)}));
  if (curve.values.length > 40) return;
  curve.values.forEach((value, i) => {
    if (value !== null) svg.append(make("circle", {cx: x(curve.steps[i]), cy: y(value), r: 3, fill: curve.color}));
  });
}

function nearest(steps, step) {
  let low = 0, high = steps.length - 1;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (steps[middle] < step) low = middle + 1; else high = middle;
  }
  return low > 0 && step - steps[low - 1] < steps[low] - step ? low - 1 : low;
}

/** A box beside the pointer; `describe` yields its lines for a place in the picture, or null. */
function addTip(box, svg, describe) {
  const tip = make("div", {class: "tip"});
  box.append(tip);
  svg.addEventListener("pointermove", (event) => {
    const area = svg.getBoundingClientRect(), outer = box.getBoundingClientRect();
    const scale = WIDTH / area.width;
    const lines = describe((event.clientX - area.left) * scale, (event.clientY - area.top) * scale);
    tip.style.visibility = lines ? "visible" : "hidden";
    if (!lines) return;
    tip.replaceChildren(...lines.map((line) => make("div", {}, ...line)));
    const left = event.clientX - outer.left + 14;
    tip.style.left = `${Math.max(0, Math.min(left, outer.width - tip.offsetWidth - 4))}px`;
    tip.style.top = `${event.clientY - outer.top + 14}px`;
  });
  svg.addEventListener("pointerleave", () => { tip.style.visibility = "hidden"; });
}

function addCursor(box, plot, curves, xName) {
  const line = make("line", {class: "cursor", y1: TOP, y2: plot.height - BOTTOM});
  plot.svg.append(line);
  const steps = curves.reduce((longest, c) => (c.steps.length > longest.length ? c.steps : longest), []);
  const places = steps.map(plot.x);
  plot.svg.addEventListener("pointerleave", () => { line.style.visibility = "hidden"; });
  addTip(box, plot.svg, (px) => {
    const step = steps[nearest(places, px)];
    line.style.visibility = "visible";
    line.setAttribute("x1", plot.x(step));
    line.setAttribute("x2", plot.x(step));
    return [[`${xName} ${format(step)}`], ...curves.map((c) =>
      [make("i", {style: `--swatch: ${c.color}`}), `${c.name}: ${format(c.values[nearest(c.steps, step)])}`])];
  });
}

/** A card with the curves on common axes, by name if `isNamed`. `from0` begins the axis of values at 0. */
function lineChart({title, note, curves, isNamed, xLabel = "step", from0 = false}) {
  const box = card(title, note);
  if (isNamed) box.append(legend(curves));
  const values = curves.flatMap((c) => c.values.concat(c.faint || [])).concat(from0 ? [0] : []);
  const description = `${title}: ${curves.map((c) => `${c.name} ends at ${format(c.values.at(-1))}`).join("; ")}`;
  const plot = axes(260, extent(curves.flatMap((c) => c.steps)), extent(values), xLabel, description);
  for (const curve of curves) drawCurve(plot, curve);
  addCursor(box, plot, curves, xLabel);
  const rows = curves.flatMap((c) => c.steps.map((step, i) => [c.name, step, c.values[i]]));
  box.append(plot.svg, dataTable(["run", xLabel, title], rows));
  return box;
}

/** What the colours of a picture of cells mean: a bar from 0 to `max`, and the colour of cells that were skipped. */
function colourScale(max, rows, hasSkipped = false) {
  const isEmpty = rows.every((row) => row.every((value) => !value));
  const bar = make("span", {class: "scale"}, "0", make("i"), format(max));
  const node = make("div", {class: "legend"}, isEmpty ? "0 everywhere" : bar);
  if (hasSkipped) node.append(make("span", {class: "scale"}, make("i", {class: "none"}), "skipped"));
  return node;
}

/** A card with one cell per step and row; darker is more (lighter in the dark), `max` is the end of the scale. */
function heatMap({title, note, steps, rows, labels, max}) {
  const box = card(title, note);
  const cell = Math.max(6, Math.min(18, 360 / labels.length));
  const height = TOP + BOTTOM + cell * labels.length;
  const svg = make("svg", {viewBox: `0 0 ${WIDTH} ${height}`, role: "img",
    "aria-label": `${title}: last ${labels.map((l, i) => `${l} ${format(rows.at(-1)[i])}`).join(", ")}`});
  const width = (WIDTH - LEFT - RIGHT) / steps.length;
  const fill = (v) => v === null || v === undefined ? "var(--heat-none)"
    : `color-mix(in srgb, var(--heat-high) ${(100 * Math.min(1, v / max)).toFixed(1)}%, var(--heat-low))`;
  rows.forEach((row, i) => labels.forEach((_, layer) => svg.append(make("rect", {class: "cell", x: LEFT + i * width,
    y: TOP + layer * cell, width: width + 0.3, height: cell - (cell > 9 ? 1 : 0), style: `fill: ${fill(row[layer])}`}))));
  const every = Math.ceil(labels.length / 24);
  labels.forEach((label, layer) => {
    if (layer % every === 0)
      svg.append(make("text", {x: LEFT - 6, y: TOP + (layer + 0.5) * cell + 4, "text-anchor": "end"}, label));
  });
  for (const i of new Set([0, Math.floor((steps.length - 1) / 2), steps.length - 1]))
    svg.append(make("text", {x: LEFT + (i + 0.5) * width, y: height - BOTTOM + 15, "text-anchor": "middle"}, format(steps[i])));
  svg.append(make("text", {x: (LEFT + WIDTH - RIGHT) / 2, y: height - 4, "text-anchor": "middle"}, "step"));
  addTip(box, svg, (px, py) => {
    const i = Math.floor((px - LEFT) / width), layer = Math.floor((py - TOP) / cell);
    if (!(i in steps) || !(layer in labels)) return null;
    return [[`step ${format(steps[i])}, ${labels[layer]}`], [format(rows[i][layer])]];
  });
  box.append(colourScale(max, rows), svg, dataTable(["step", ...labels], rows.map((row, i) => [steps[i], ...row])));
  return box;
}

/** A card with one column per token and one row per label; darker is more, a grey cell was skipped. */
function tokenMap({title, note, texts, rows, labels, max, skipped}) {
  const box = card(title, note);
  const cell = Math.max(8, Math.min(18, 360 / labels.length));
  const bottom = 46, height = TOP + bottom + cell * labels.length;
  const width = (WIDTH - LEFT - RIGHT) / texts.length;
  const svg = make("svg", {viewBox: `0 0 ${WIDTH} ${height}`, role: "img",
    "aria-label": `${title}: ${labels.length} sub-layers of ${texts.length} tokens, ${texts.join("")}`});
  const fill = (v) => `color-mix(in srgb, var(--heat-high) ${(100 * Math.min(1, v / max)).toFixed(1)}%, var(--heat-low))`;
  labels.forEach((label, layer) => {
    texts.forEach((_, i) => svg.append(make("rect", {class: "token", x: LEFT + i * width, y: TOP + layer * cell, width: width - 0.5,
      height: cell - 1, style: skipped && skipped[layer][i] ? "fill: var(--heat-none)" : `fill: ${fill(rows[layer][i])}`})));
    if (layer % Math.ceil(labels.length / 24) === 0)
      svg.append(make("text", {x: LEFT - 6, y: TOP + (layer + 0.5) * cell + 4, "text-anchor": "end"}, label));
  });
  texts.forEach((text, i) => svg.append(make("text", {class: "letter", x: LEFT + (i + 0.5) * width,
    y: height - bottom + 15, "text-anchor": "middle"}, text)));
  svg.append(make("text", {x: (LEFT + WIDTH - RIGHT) / 2, y: height - 8, "text-anchor": "middle"}, "token"));
  addTip(box, svg, (px, py) => {
    const i = Math.floor((px - LEFT) / width), layer = Math.floor((py - TOP) / cell);
    if (!(i in texts) || !(layer in labels)) return null;
    const state = skipped ? (skipped[layer][i] ? ", skipped" : ", executed") : "";
    return [[`token ${i + 1} "${texts[i]}", ${labels[layer]}`], [format(rows[layer][i]) + state]];
  });
  box.append(colourScale(max, rows, Boolean(skipped)), svg, dataTable(["token", ...labels], texts.map((text, i) => [text, ...labels.map((_, layer) => rows[layer][i])])));
  return box;
}

/** A card with one bar per entry of `bars` ([name, values]), in milliseconds, stacked by `parts` ({name, color}). */
function stackedBars({title, note, parts, bars, unit}) {
  const box = card(title, note);
  box.append(legend(parts));
  const total = (values) => values.reduce((a, b) => a + b, 0);
  const longest = Math.max(...bars.map(([, values]) => total(values)));
  const height = 46 * bars.length;
  const svg = make("svg", {viewBox: `0 0 ${WIDTH} ${height}`, role: "img",
    "aria-label": `${title}: ${bars.map(([name, values]) => `${name} ${format(total(values))} ${unit}`).join("; ")}`});
  bars.forEach(([name, values], row) => {
    let x = 0;
    svg.append(make("text", {x: 0, y: row * 46 + 12}, `${name}: ${format(total(values))} ${unit}`));
    values.forEach((value, i) => {
      const width = value / longest * WIDTH;
      svg.append(make("rect", {class: "bar", x, y: row * 46 + 18, width: Math.max(0, width - 2), height: 18, rx: 2,
        style: `fill: ${parts[i].color}`}, make("title", {}, `${parts[i].name}: ${format(value)} ${unit}`)));
      x += width;
    });
  });
  box.append(svg, dataTable(["run", ...parts.map((p) => p.name)], bars.map(([name, values]) => [name, ...values])));
  return box;
}
