
// What the page shows of a profile (nagc profile --json; docs/profile.md).

const profile = JSON.parse(document.getElementById("data").textContent);
const kernels = profile.kernels.map((kernel, i) => ({...kernel, color: `var(--c${i % 8})`}));
const percent = (x) => `${(100 * x).toFixed(1)} %`;
const micro = (seconds) => `${format(seconds * 1e6)} us`;
const registersOf = (kernel) => {
  const known = kernel.parts.filter((part) => part.registers !== undefined).map((part) => part.registers);
  return known.length ? Math.max(...known) : null;
};
const spillsOf = (kernel) => kernel.parts.some((part) => part.spill_bytes !== undefined) ?
  kernel.parts.reduce((sum, part) => sum + (part.spill_bytes || 0), 0) : null;

/** Axes in powers of ten: the SVG node and the two scales. */
function logAxes(height, [x0, x1], [y0, y1], xLabel, description) {
  const place = (v, low, high) => (Math.log10(v) - Math.log10(low)) / (Math.log10(high) - Math.log10(low));
  const x = (v) => LEFT + place(v, x0, x1) * (WIDTH - LEFT - RIGHT);
  const y = (v) => height - BOTTOM - place(v, y0, y1) * (height - TOP - BOTTOM);
  const svg = make("svg", {viewBox: `0 0 ${WIDTH} ${height}`, role: "img", "aria-label": description});
  const powers = (low, high) => Array.from({length: Math.round(Math.log10(high / low)) + 1}, (_, i) => low * 10 ** i);
  const label = (v) => v >= 1e12 ? `${format(v / 1e12)}T` : v >= 1e9 ? `${format(v / 1e9)}G` : v >= 1e6 ? `${format(v / 1e6)}M` : format(v);
  for (const value of powers(y0, y1))
    svg.append(make("line", {class: "gridline", x1: LEFT, x2: WIDTH - RIGHT, y1: y(value), y2: y(value)}),
      make("text", {x: LEFT - 6, y: y(value) + 4, "text-anchor": "end"}, label(value)));
  for (const value of powers(x0, x1))
    svg.append(make("text", {x: x(value), y: height - BOTTOM + 15, "text-anchor": "middle"}, label(value)));
  svg.append(make("line", {class: "axis", x1: LEFT, x2: WIDTH - RIGHT, y1: height - BOTTOM, y2: height - BOTTOM}),
    make("text", {x: (LEFT + WIDTH - RIGHT) / 2, y: height - 4, "text-anchor": "middle"}, xLabel));
  return {svg, x, y, height};
}

const floorPower = (v) => 10 ** Math.floor(Math.log10(v)), ceilPower = (v) => 10 ** Math.ceil(Math.log10(v));

/** A device's roofs, and the kernels under them at what their bounds allow. */
function roofline(device) {
  const points = kernels.filter((k) => k.flops > 0 && k.bytes_unique > 0).map((kernel) => ({
    kernel, intensity: kernel.flops / kernel.bytes_unique, rate: kernel.flops / kernel.bounds[device.name].seconds}));
  const box = card(`Roofline: ${device.name}`, "FLOPs per second that a kernel's bound allows, by FLOPs per distinct byte of memory; " +
    "the area of a point is the kernel's share of the step. A bound, not a time.");
  const intensities = points.map((p) => p.intensity).concat([0.1, 1000]);
  const xRange = [floorPower(Math.min(...intensities)), ceilPower(Math.max(...intensities))];
  const rates = points.map((p) => p.rate).concat([device.f32_flops / 100]);
  const yRange = [floorPower(Math.min(...rates)), ceilPower(device.bf16_flops)];
  const plot = logAxes(300, xRange, yRange, "FLOPs per byte", `Roofline of ${device.name} with ${points.length} kernels`);
  const roofs = [["bf16 tensor cores", device.bf16_flops], ["tf32 tensor cores", device.tf32_flops], ["f32", device.f32_flops]];
  const clip = (v) => Math.max(xRange[0], v);
  roofs.forEach(([name, flops], i) => {
    const ridge = clip(flops / device.memory_bytes_per_second);
    plot.svg.append(make("path", {class: "curve roof", stroke: "var(--secondary)", "stroke-dasharray": i ? "5 4" : "none",
      d: `M${plot.x(ridge).toFixed(1)} ${plot.y(flops).toFixed(1)}L${plot.x(xRange[1]).toFixed(1)} ${plot.y(flops).toFixed(1)}`}),
      make("text", {x: WIDTH - RIGHT, y: plot.y(flops) - 4, "text-anchor": "end"}, name));
  });
  const start = Math.max(xRange[0], yRange[0] / device.memory_bytes_per_second);
  const end = device.bf16_flops / device.memory_bytes_per_second;
  plot.svg.append(make("path", {class: "curve roof", stroke: "var(--secondary)",
    d: `M${plot.x(start).toFixed(1)} ${plot.y(start * device.memory_bytes_per_second).toFixed(1)}` +
      `L${plot.x(end).toFixed(1)} ${plot.y(device.bf16_flops).toFixed(1)}`}));
  const step = profile.totals.bound_seconds[device.name];
  for (const {kernel, intensity, rate} of points) {
    const share = kernel.launches * kernel.bounds[device.name].seconds / step;
    plot.svg.append(make("circle", {class: "kernel", cx: plot.x(intensity).toFixed(1), cy: plot.y(rate).toFixed(1),
      r: (3 + 12 * Math.sqrt(share)).toFixed(1), fill: kernel.color, "fill-opacity": 0.7},
      make("title", {}, `${kernel.name}: ${format(intensity)} FLOPs/byte, ${micro(kernel.bounds[device.name].seconds)} by ${kernel.bounds[device.name].by}`)));
  }
  box.append(plot.svg, dataTable(["kernel", "FLOPs/byte", "FLOPs/s at the bound"], points.map((p) => [p.kernel.name, p.intensity, p.rate])));
  return box;
}

/** The kernels that take most of the step's bound, longest first. */
function shares(device) {
  const step = profile.totals.bound_seconds[device.name];
  const total = (kernel) => kernel.launches * kernel.bounds[device.name].seconds;
  const shown = [...kernels].sort((a, b) => total(b) - total(a)).slice(0, 16);
  const box = card(`Bounds of a step: ${device.name}`, `${micro(step)} in all, one launch after the other. A bound, not a time.`);
  const height = 22 * shown.length + 4;
  const svg = make("svg", {viewBox: `0 0 ${WIDTH} ${height}`, role: "img", "aria-label": `Largest bounds of a step on ${device.name}`});
  shown.forEach((kernel, i) => {
    const width = total(kernel) / Math.max(total(shown[0]), 1e-30) * 240;
    svg.append(make("text", {x: 0, y: 22 * i + 14}, `${kernel.name.slice(0, 34)}`),
      make("rect", {class: "bar", x: 220, y: 22 * i + 3, width: width.toFixed(1), height: 14, rx: 2, style: `fill: ${kernel.color}`}),
      make("text", {x: 226 + width, y: 22 * i + 14}, `${percent(total(kernel) / step)} ${kernel.bounds[device.name].by}`));
  });
  box.append(svg);
  return box;
}

function traffic() {
  const box = card("Kernels", `Of one launch. Chip ${profile.chip}, precision ${profile.precision}, one call of ` +
    `${profile.functions.map((f) => `@${f}`).join(", ")}. Ratios of bytes are against the fewest that the kernel's ops must move.`);
  const bounds = profile.devices.map((device) => device.name);
  const head = ["kernel", "ops", "launches", "bytes asked for", "ratio", "distinct", "sectors", "FLOPs", "tensor", "registers", "spilled",
    "occupancy", ...bounds.map((name) => `${name} bound`)];
  const rows = kernels.map((k) => [k.name, k.ops, k.launches * k.parts.length, k.bytes_requested, k.requested_ratio, k.unique_ratio, k.sectors_ratio, k.flops,
    percent(k.tensor_share), registersOf(k), spillsOf(k), percent(Math.min(...k.parts.map((p) => p.occupancy))),
    ...bounds.map((name) => `${micro(k.bounds[name].seconds)} ${k.bounds[name].by}`)]);
  const t = profile.totals;
  rows.push(["step", "", t.launches, t.bytes_requested, t.requested_ratio, t.unique_ratio, t.sectors_ratio, t.flops, percent(t.tensor_share),
    null, null, "", ...bounds.map((name) => micro(t.bound_seconds[name]))]);
  rows.push(["copies, by no kernel", "", profile.copies.count, profile.copies.bytes, ...head.slice(4).map(() => "")]);
  box.append(table(head, rows));
  return box;
}

function schedules() {
  const parts = kernels.flatMap((kernel) => kernel.parts);
  const box = card("Launches", "Grids, blocks and schedules of the device functions.");
  box.append(table(["device function", "grid", "block", "shared bytes", "registers", "resident blocks", "schedule"], parts.map((p) =>
    [p.name, p.grid.join(" x "), p.block.join(" x "), p.shared_bytes, p.registers === undefined ? null : p.registers, p.resident_blocks,
      p.schedule || "–"])));
  return box;
}

document.getElementById("report").append(
  make("div", {class: "grid"}, ...profile.devices.flatMap((device) => [roofline(device), shares(device)])), traffic(), schedules());
