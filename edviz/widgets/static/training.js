// A training run as its directory tells it: curves, pictures, buttons. Plain JavaScript, nothing is fetched or built.

const SVG = "http://www.w3.org/2000/svg";
const AIMD = "#0072B2";
const GENERATED = "#D55E00";
const COLORS = [[200, 240, 224], [132, 211, 194], [63, 169, 184], [36, 105, 168], [42, 36, 112]];
const STAGES = ["autoencoder", "diffusion", "decoder"];
const SILENCE_SECONDS = 15;

const TITLES = {
  loss: "loss",
  reconstruction: "reconstruction, |Δρ| / ρ̄",
  spectral: "spectral error",
  relative: "relative error, rms Δ log ρ",
  jsd: "Jensen-Shannon term (1 = noise)",
  diffusion: "diffusion loss",
  learning_rate: "learning rate",
};
// validation figures in the unit of the term beside which they are drawn
const VALIDATION = {
  reconstruction: ["validation_nmae", 0.01],
  relative: ["validation_relative", 0.01],
  diffusion: ["validation_diffusion", 1],
};

function element(tag, className, text) {
  const made = document.createElement(tag);
  if (className) made.className = className;
  if (text !== undefined) made.textContent = text;
  return made;
}

function shape(tag, attributes, parent) {
  const made = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  parent?.append(made);
  return made;
}

function number(x) {
  if (x === 0) return "0";
  const size = Math.abs(x);
  return size >= 1e5 || size < 1e-3 ? x.toExponential(1).replace("e+", "e") : String(Number(x.toPrecision(3)));
}

function duration(seconds) {
  const s = Math.max(0, Math.round(seconds));
  const two = (n) => String(n).padStart(2, "0");
  return s >= 3600 ? `${Math.floor(s / 3600)} h ${two(Math.floor((s % 3600) / 60))} min` : `${Math.floor(s / 60)}:${two(s % 60)} min`;
}

/** A moving average that follows noisy curves. */
function smooth(values) {
  const weight = Math.min(0.9, values.length / 60);
  let mean = values[0];
  return values.map((v) => (mean = weight * mean + (1 - weight) * v));
}

function ticks(low, high, count) {
  const raw = (high - low) / count;
  const power = 10 ** Math.floor(Math.log10(raw));
  const step = [1, 2, 5, 10].map((m) => m * power).find((s) => s >= 0.7 * raw) ?? raw;
  const found = [];
  for (let x = Math.ceil(low / step) * step; x <= high + 1e-9 * step; x += step) found.push(Number(x.toPrecision(12)));
  return found;
}

/** Ticks of a logarithmic axis given in log10: powers of ten, 1, 2, 5 of them, or even ones where the range is short. */
function logTicks(low, high) {
  if (high - low < 1) return ticks(10 ** low, 10 ** high, 4).map(Math.log10);
  const found = [];
  for (let p = Math.floor(low); p <= Math.ceil(high); p++) {
    for (const m of high - low > 2.5 ? [1] : [1, 2, 5]) {
      const x = p + Math.log10(m);
      if (x >= low - 1e-9 && x <= high + 1e-9) found.push(x);
    }
  }
  return found.length > 1 ? found : [low, high];
}

/** Lines in a small frame. series: [{x, y, color, width, opacity, dashed, fill}] */
function chart(title, note, series, { log = false, xLabel = "" } = {}) {
  const [width, height, left, right, top, bottom] = [300, 170, 46, 8, 8, 30];
  const box = element("figure", "edviz-training-chart");
  const caption = element("figcaption", "", title);
  caption.append(element("span", "edviz-training-note", note));
  box.append(caption);
  const svg = shape("svg", { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": `${title}: ${note}` });
  box.append(svg);
  const scaled = (y) => (log ? Math.log10(Math.max(y, 1e-12)) : y);
  const xs = series.flatMap((s) => s.x);
  const ys = series.flatMap((s) => s.y.map(scaled));
  let [x0, x1] = [Math.min(...xs), Math.max(...xs)];
  let [y0, y1] = [Math.min(...ys), Math.max(...ys)];
  if (!(x1 > x0)) [x0, x1] = [x0 - 1, x0 + 1];
  const room = Math.max((y1 - y0) * 0.08, log ? 0.02 : 1e-9 + 0.02 * Math.abs(y1));
  [y0, y1] = [series[0]?.fill ? 0 : y0 - room, y1 + room];
  const X = (x) => left + ((x - x0) / (x1 - x0)) * (width - left - right);
  const Y = (y) => height - bottom - ((y - y0) / (y1 - y0)) * (height - top - bottom);
  for (const y of log ? logTicks(y0, y1) : ticks(y0, y1, 4)) {
    shape("line", { x1: left, x2: width - right, y1: Y(y), y2: Y(y), class: "grid" }, svg);
    shape("text", { x: left - 4, y: Y(y) + 3.5, "text-anchor": "end" }, svg).textContent = number(log ? 10 ** y : y);
  }
  for (const x of ticks(x0, x1, 4)) {
    shape("text", { x: X(x), y: height - bottom + 13, "text-anchor": "middle" }, svg).textContent = number(x);
  }
  shape("text", { x: (left + width - right) / 2, y: height - 3, "text-anchor": "middle" }, svg).textContent = xLabel;
  for (const s of series) {
    const points = s.x.map((x, i) => `${X(x).toFixed(1)},${Y(scaled(s.y[i])).toFixed(1)}`);
    const style = { stroke: s.color, "stroke-width": s.width ?? 1.6, opacity: s.opacity ?? 1, fill: "none" };
    if (s.dashed) style["stroke-dasharray"] = "5 3";
    if (points.length === 1) shape("circle", { cx: X(s.x[0]), cy: Y(scaled(s.y[0])), r: 2.5, fill: s.color }, svg);
    else shape("polyline", { points: points.join(" "), ...style }, svg);
    if (s.fill) {
      const area = `${X(x0)},${Y(0)} ${points.join(" ")} ${X(x1)},${Y(0)}`;
      shape("polygon", { points: area, fill: s.color, opacity: 0.15 }, svg);
    }
  }
  return box;
}

/** One figure of a stage, as it was and smoothed, its validation beside it. */
function curve(name, figures) {
  const [x, y] = figures[name];
  const logarithmic = name !== "learning_rate" && y.every((v) => v > 0);
  const noisy = name !== "learning_rate" && y.length > 8;
  const series = noisy
    ? [{ x, y, color: AIMD, opacity: 0.3, width: 1 }, { x, y: smooth(y), color: AIMD, width: 2 }]
    : [{ x, y, color: AIMD, width: 2 }];
  let note = number(y[y.length - 1]);
  const [key, factor] = VALIDATION[name] ?? [];
  if (key && figures[key]) {
    const [vx, vy] = figures[key];
    const values = vy.map((v) => factor * v);
    series.push({ x: vx, y: values, color: GENERATED, dashed: true, width: 2 });
    note += `, validation ${number(values[values.length - 1])}`;
  }
  return chart(TITLES[name] ?? name, note, series, { log: logarithmic, xLabel: "step" });
}

/** A plane of a density, drawn in its own cell. */
function plane(values, [va, vb], [low, high]) {
  const [na, nb] = [values.length, values[0].length];
  const image = new ImageData(na, nb);
  for (let i = 0; i < na; i++) {
    for (let j = 0; j < nb; j++) {
      const at = Math.min(Math.max((values[i][j] - low) / (high - low || 1), 0), 1) * (COLORS.length - 1);
      const k = Math.min(Math.floor(at), COLORS.length - 2);
      for (let c = 0; c < 3; c++) image.data[4 * (j * na + i) + c] = COLORS[k][c] + (at - k) * (COLORS[k + 1][c] - COLORS[k][c]);
      image.data[4 * (j * na + i) + 3] = 255;
    }
  }
  const small = element("canvas");
  [small.width, small.height] = [na, nb];
  small.getContext("2d").putImageData(image, 0, 0);
  const canvas = element("canvas", "edviz-training-plane");
  const corners = [[0, 0], va, vb, [va[0] + vb[0], va[1] + vb[1]]];
  const [xs, ys] = [0, 1].map((axis) => corners.map((p) => p[axis]));
  const [x0, y0] = [Math.min(...xs), Math.min(...ys)];
  const scale = 280 / Math.max(Math.max(...xs) - x0, Math.max(...ys) - y0);
  [canvas.width, canvas.height] = [(Math.max(...xs) - x0) * scale, (Math.max(...ys) - y0) * scale];
  const context = canvas.getContext("2d");
  context.setTransform(
    (va[0] * scale) / na, (-va[1] * scale) / na, (vb[0] * scale) / nb, (-vb[1] * scale) / nb,
    -x0 * scale, canvas.height + y0 * scale,
  );
  context.drawImage(small, 0, 0);
  return canvas;
}

function planes(preview) {
  const flat = preview.truth.flat();
  const range = [Math.min(...flat), Math.max(...flat)];
  const box = element("figure", "edviz-training-planes");
  const caption = element("figcaption", "", "a plane of a validation frame");
  const note = `error ${number(preview.nmae)} % of ρ̄, step ${preview.step}; colours ${number(range[0])} to ${number(range[1])} ρ̄`;
  caption.append(element("span", "edviz-training-note", note));
  const row = element("div", "edviz-training-pair");
  for (const [name, label] of [["truth", "AIMD"], ["reconstruction", "reconstruction"]]) {
    const each = element("div");
    each.append(plane(preview[name], preview.vectors, range), element("span", "edviz-training-note", label));
    row.append(each);
  }
  box.append(caption, row);
  return box;
}

function histogram(preview) {
  const series = [
    { x: preview.centres, y: preview.aimd, color: AIMD, fill: true },
    { x: preview.centres, y: preview.rollout, color: GENERATED, fill: true },
  ];
  const box = chart("values of the density", `step ${preview.step}, ${preview.frames} frames rolled out; contrast ${number(preview.contrast)} of AIMD's`, series, {
    xLabel: "log₁₀ ρ / ρ̄",
  });
  const legend = element("div", "edviz-training-legend");
  for (const [color, label] of [[AIMD, "AIMD"], [GENERATED, "short rollout"]]) {
    const entry = element("span", "", label);
    entry.style.setProperty("--color", color);
    legend.append(entry);
  }
  box.append(legend);
  return box;
}

const STATES = {
  starting: "starting", running: "running", stopped: "stopped", finished: "finished", failed: "failed", died: "died",
  prepared: "prepared",
};

function render({ model, el }) {
  const root = element("div", "edviz-training");
  const head = element("div", "edviz-training-head");
  const badge = element("span", "edviz-training-badge");
  const where = element("span", "edviz-training-note");
  const buttons = element("span", "edviz-training-buttons");
  const stop = element("button", "", "Stop");
  const resume = element("button", "", "Resume");
  stop.dataset.edviz = "stop";
  resume.dataset.edviz = "resume";
  buttons.append(stop, resume);
  head.append(badge, where, buttons);
  const stages = element("div", "edviz-training-stages");
  const facts = element("div", "edviz-training-facts");
  const trouble = element("div", "edviz-training-trouble");
  trouble.setAttribute("role", "alert");
  const charts = element("div", "edviz-training-charts");
  const events = element("ul", "edviz-training-events");
  const form = element("form", "edviz-training-form");
  root.append(head, stages, facts, trouble, charts, form, events);
  el.append(root);

  let chosen = null; // the stage whose curves are shown, where the user has chosen one
  let heard = Date.now();
  const inputs = {};
  for (const [name, label] of [["learning_rate", "peak learning rate"], ["steps", "steps"], ["minutes", "minutes"]]) {
    const field = element("label", "", label);
    const input = element("input");
    input.type = "number";
    input.step = "any";
    input.min = "0";
    input.dataset.edviz = name;
    field.append(input);
    form.append(field);
    inputs[name] = input;
  }
  const apply = element("button", "", "Change");
  apply.dataset.edviz = "change";
  const notice = element("span", "edviz-training-note");
  notice.dataset.edviz = "notice";
  form.append(apply, notice);

  const current = (state) => (STAGES.includes(state.stage) ? state.stage : ({ done: "decoder", encoding: "diffusion" }[state.stage] ?? "autoencoder"));
  const shown = (state) => {
    const wanted = chosen ?? current(state);
    return chosen || state.curves?.[wanted] ? wanted : (STAGES.findLast((name) => state.curves?.[name]) ?? "autoencoder");
  };

  function drawStages(state) {
    const at = STAGES.indexOf(current(state));
    stages.replaceChildren(
      ...STAGES.map((name, i) => {
        const button = element("button", shown(state) === name ? "chosen" : "");
        button.dataset.edviz = `stage-${name}`;
        const now = state.stage === name ? (state.progress ?? 0) : state.state === "finished" || i < at || state.stage === "done" ? 1 : 0;
        const text = state.stage === "encoding" && name === "diffusion" ? `encoding latents, ${Math.round(100 * (state.progress ?? 0))} %` : `${Math.round(100 * now)} %`;
        button.append(element("b", "", name), element("span", "", text));
        const bar = element("i");
        bar.style.width = `${100 * now}%`;
        button.append(bar);
        button.onclick = () => {
          chosen = name;
          fill(true);
          draw();
        };
        return button;
      }),
    );
  }

  function drawFacts(state) {
    const told = [];
    const running = state.state === "running";
    if (STAGES.includes(state.stage) && state.steps) told.push(["step", `${state.step} of ${state.steps}`]);
    if (running && STAGES.includes(state.stage) && state.progress > 0) told.push(["time left", duration(state.seconds_left)]);
    if (running && !STAGES.includes(state.stage)) told.push(["now", state.stage]);
    if (state.frames_per_second) told.push(["throughput", `${number(state.frames_per_second)} frames/s`]);
    if (state.loader_share !== undefined) told.push(["waiting for data", `${(100 * state.loader_share).toFixed(1)} %`]);
    if (state.learning_rate) told.push(["learning rate", number(state.learning_rate)]);
    if (state.device) told.push(["device", state.device]);
    if (state.memory_bytes) told.push(["memory", `${(state.memory_bytes / 1e9).toFixed(2)} GB`]);
    if (state.parts > 1) told.push(["batch computed in", `${state.parts} parts`]);
    facts.replaceChildren(
      ...told.map(([name, value]) => {
        const fact = element("span");
        fact.append(element("small", "", name), element("b", "", value));
        return fact;
      }),
    );
  }

  function drawCharts(state) {
    const stage = shown(state);
    const figures = state.curves?.[stage] ?? {};
    const previews = model.get("previews");
    const order = ["loss", "reconstruction", "relative", "diffusion", "spectral", "jsd", "learning_rate"];
    const made = order.filter((name) => figures[name]?.[0].length).map((name) => curve(name, figures));
    if (stage !== "diffusion" && previews.autoencoder) made.push(planes(previews.autoencoder));
    if (stage === "diffusion" && previews.diffusion) made.push(histogram(previews.diffusion));
    if (stage === "diffusion" && previews.autoencoder) made.push(planes(previews.autoencoder));
    charts.replaceChildren(...(made.length ? made : [element("p", "edviz-training-note", "No figures of this stage yet.")]));
  }

  /** The settings of the stage shown, unless the user is typing. */
  function fill(force) {
    const state = model.get("state");
    const settings = state.settings?.[shown(state)] ?? {};
    for (const [name, input] of Object.entries(inputs)) {
      if (!force && (document.activeElement === input || input.dataset.touched)) continue;
      delete input.dataset.touched;
      input.value = settings[name] ?? "";
      input.placeholder = name === "minutes" ? "no limit" : "";
    }
  }

  function drawTrouble() {
    const state = model.get("state");
    const silent = (Date.now() - heard) / 1000 > SILENCE_SECONDS && state.state === "running";
    const lost = silent ? "No word from the kernel for a while. The run goes on without it; run the cell again to reattach." : "";
    trouble.textContent = ["failed", "died"].includes(state.state) ? (state.error ?? "The run has failed.") : lost;
    trouble.hidden = !trouble.textContent;
  }

  function draw() {
    const state = model.get("state");
    badge.textContent = STATES[state.state] ?? state.state;
    badge.dataset.state = state.state;
    const parts = state.path.split(/[\\/]/);
    where.textContent = parts.length > 4 ? `…/${parts.slice(-3).join("/")}` : state.path;
    where.title = state.path;
    const alive = ["running", "starting"].includes(state.state);
    stop.disabled = !alive;
    resume.disabled = alive || state.state === "finished";
    drawStages(state);
    drawFacts(state);
    drawTrouble();
    drawCharts(state);
    fill(false);
    events.replaceChildren(
      ...(state.events ?? []).map((event) => element("li", "", `${new Date(1000 * event.time).toLocaleTimeString()}  ${event.message}`)),
    );
    events.hidden = !state.events?.length;
  }

  const changed = () => {
    heard = Date.now();
    draw();
  };
  const noticed = () => {
    notice.textContent = model.get("notice");
  };
  stop.onclick = () => model.send({ type: "stop" });
  resume.onclick = () => model.send({ type: "resume" });
  for (const input of Object.values(inputs)) input.oninput = () => (input.dataset.touched = "yes");
  form.onsubmit = (event) => {
    event.preventDefault();
    const stage = shown(model.get("state"));
    const settings = model.get("state").settings[stage];
    const fields = {};
    for (const [name, input] of Object.entries(inputs)) {
      const value = input.value === "" ? null : Number(input.value);
      if (value !== settings[name]) fields[`${stage}_${name}`] = value;
      delete input.dataset.touched;
    }
    if (Object.keys(fields).length) model.send({ type: "change", fields });
  };
  for (const type of ["keydown", "keyup", "keypress"]) root.addEventListener(type, (event) => event.stopPropagation());
  model.on("change:state", changed);
  model.on("change:previews", draw);
  model.on("change:notice", noticed);
  const watch = setInterval(drawTrouble, 2000);
  draw();
  noticed();
  model.send({ type: "hello" });
  return () => {
    clearInterval(watch);
    model.off("change:state", changed);
    model.off("change:previews", draw);
    model.off("change:notice", noticed);
  };
}

export default { render };
