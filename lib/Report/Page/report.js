// What the page shows of each run's metrics (docs/runtime.md lists them).

const COLORS = 8;
const DEAD = 0.05;

const runs = JSON.parse(document.getElementById("data").textContent).runs;
runs.forEach((run, i) => {
  run.color = `var(--c${i % COLORS})`;
  run.dash = Math.floor(i / COLORS) % 2 === 1;
});

/** The mean over a window around each value, about a twentieth of the run wide. */
function smooth(values) {
  const reach = Math.floor(values.length / 40);
  return values.map((value, i) => {
    if (value === null) return null;
    const window = values.slice(Math.max(0, i - reach), i + reach + 1).filter((v) => v !== null);
    return window.reduce((a, b) => a + b, 0) / window.length;
  });
}

function curvesOf(metric, isSmoothed = false) {
  return runs.filter((run) => run.numbers[metric]).map((run) => {
    const {steps, values} = run.numbers[metric];
    return {...run, steps, values: isSmoothed ? smooth(values) : values, faint: isSmoothed ? values : null};
  });
}

/** Per sub-layer at the run's last report; x is the sub-layer's index, from 1. */
function depthCurves(metric, transform = (row) => row) {
  return runs.filter((run) => run.lists[metric]).map((run) => {
    const values = transform(run.lists[metric].rows.at(-1));
    return {...run, values, steps: values.map((_, i) => i + 1)};
  });
}

function subLayers(count) {
  return Array.from({length: count}, (_, i) => `${Math.floor(i / 2)} ${i % 2 ? "mlp" : "attn"}`);
}

function last(run, metric) {
  return run.numbers[metric] ? run.numbers[metric].values.at(-1) : null;
}

function median(values) {
  const sorted = values.filter((v) => v !== null).sort((a, b) => a - b);
  return sorted.length ? sorted[sorted.length >> 1] : null;
}

function summary() {
  const box = card("Runs");
  const head = ["run", "steps", "tokens", "loss", "validation", "bits/byte", "tokens/s", "dead sub-layers"];
  const exact = (value) => value === null ? null : value.toFixed(4);
  const rows = runs.map((run) => [run.name, run.numbers.loss ? run.numbers.loss.steps.at(-1) : null, last(run, "tokens"),
    exact(last(run, "loss")), exact(last(run, "val_loss")), exact(last(run, "val_bits_per_byte")),
    run.numbers.tokens_per_s ? median(run.numbers.tokens_per_s.values) : null, last(run, "gates.dead")]);
  box.append(table(head, rows));
  const configured = runs.filter((run) => run.config);
  if (configured.length) {
    const keys = [...new Set(configured.flatMap((run) => Object.keys(run.config)))].sort();
    const text = (value) => value === undefined ? "–" : String(value);
    box.append(make("details", {}, make("summary", {}, "Configuration"),
      table(["key", ...configured.map((run) => run.name)],
        keys.map((key) => [key, ...configured.map((run) => text(run.config[key]))]))));
  }
  return box;
}

function stepBreakdown() {
  const names = [["gradients", "forward and backward"], ["apply", "optimizer"], ["data", "data"]];
  const timed = runs.filter((run) => run.numbers["seconds.gradients"]);
  if (!timed.length) return null;
  return stackedBars({
    title: "Time of a step", note: "Median of each part, in milliseconds.", unit: "ms",
    parts: names.map(([, name], i) => ({name, color: `var(--c${i})`})),
    bars: timed.map((run) => [run.name, names.map(([key]) => 1e3 * (median((run.numbers[`seconds.${key}`] || {values: []}).values) || 0))]),
  });
}

/** One per run, all on the scale from 0 to `limit`, or to the largest value without. */
function heatMaps(metric, title, note, limit) {
  const shown = runs.filter((run) => run.lists[metric]);
  const max = limit || Math.max(...shown.flatMap((run) => run.lists[metric].rows.flat()), 1e-9);
  return shown.map((run) => heatMap({
    ...run.lists[metric], title: runs.length > 1 ? `${title}: ${run.name}` : title, note, max,
    labels: subLayers(run.lists[metric].rows[0].length),
  }));
}

/** A sample's tokens by sub-layers, per run; `sample.executed` holds 0 where a token skipped. */
function tokenMaps() {
  return runs.filter((run) => run.lists["sample.tokens"] && run.lists["sample.gates"]).map((run) => {
    const tokens = run.lists["sample.tokens"].rows.at(-1);
    const byLayer = (flat) => Array.from({length: flat.length / tokens.length},
      (_, i) => flat.slice(i * tokens.length, (i + 1) * tokens.length));
    const rows = byLayer(run.lists["sample.gates"].rows.at(-1));
    const executed = run.lists["sample.executed"];
    const isBytes = !run.config || run.config.vocab <= 256;
    const show = (token) => !isBytes ? String(token) : token < 32 || token > 126 ? "\u00b7" : String.fromCharCode(token);
    return tokenMap({
      title: runs.length > 1 ? `Tokens by sub-layer: ${run.name}` : "Tokens by sub-layer",
      note: executed ? "|g| of the tokens of a sample; grey tokens skipped the sub-layer." :
        "|g| of the tokens of a sample, by which routing chooses among them.",
      texts: tokens.map(show), rows, labels: subLayers(rows.length), max: Math.max(...rows.flat(), 1e-9),
      skipped: executed ? byLayer(executed.rows.at(-1)).map((row) => row.map((v) => v === 0)) : null,
    });
  });
}

function lines(title, note, metric, options = {}) {
  const curves = curvesOf(metric, options.isSmoothed);
  return curves.length ? lineChart({title, note, curves, isNamed: runs.length > 1, ...options}) : null;
}

function depths(title, note, curves) {
  return curves.length ? lineChart({title, note, curves, isNamed: runs.length > 1, xLabel: "sub-layer: attention and MLP in turn", from0: true}) : null;
}

function cumulative(row) {
  let sum = 0;
  return row.map((value) => (sum += value));
}

/** Of log-norms that begin with the embedding's: what each has more than that. */
function gained(row) {
  return row.slice(1).map((value) => value === null || row[0] === null ? null : value - row[0]);
}

function charts() {
  const degrees = (row) => row.map((v) => v === null ? null : v * 180 / Math.PI);
  return [
    lines("Training loss", "Nats per token; the faint line is not smoothed.", "loss", {isSmoothed: true}),
    lines("Validation loss", "Nats per token.", "val_loss"),
    lines("Learning rate", "Of matrices; other groups of parameters take a share of it.", "lr", {from0: true}),
    lines("Gradient norm", "Before clipping; the faint line is not smoothed.", "grad_norm", {isSmoothed: true, from0: true}),
    lines("Tokens per second", "Without validation and checkpoints; the faint line is not smoothed.", "tokens_per_s",
      {isSmoothed: true, from0: true}),
    stepBreakdown(),
    ...heatMaps("gates.mean", "Gates", `Mean |g| per sub-layer, without the warm-up of alpha; below ${DEAD} a sub-layer is dead.`),
    ...heatMaps("gates.floor", "Tokens at the floor", "Share of tokens whose gate is as good as shut, per sub-layer.", 1),
    ...heatMaps("skips", "Skipped tokens", "Share of tokens that skip each sub-layer.", 1),
    ...tokenMaps(),
    depths("Rotation by depth", "Mean angle by which each sub-layer turns the stream at the last report, in degrees.",
      depthCurves("gates.angle", degrees)),
    depths("Log-norm by depth", "What the residual's log-norm has gained over the embedding's after each sub-layer at the last report: " +
      "the lane of a norm-agnostic stream, log rms of a baseline's rows.",
      [...depthCurves("gates.log_gain", cumulative), ...depthCurves("residual.log_norm", gained)]),
  ].filter((chart) => chart !== null);
}

document.getElementById("report").append(summary(), make("div", {class: "grid"}, ...charts()));
