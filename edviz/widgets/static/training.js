// A training run as its directory tells it: curves, pictures, buttons. Plain JavaScript, nothing is fetched or built.

const STAGES = ["autoencoder", "diffusion", "decoder"];
// What goes on between stages: the stage that shows it, and its name there.
const BETWEEN = { encoding: ["diffusion", "encoding latents"], "tuning rollouts": ["decoder", "tuning rollouts"], done: ["decoder"] };
const SILENCE_SECONDS = 15;

const TITLES = {
  loss: "loss",
  reconstruction: "reconstruction, |Δρ| / ρ̄",
  spectral: "spectral error",
  relative: "relative error, rms Δ log ρ",
  gradient: "error of ∇ρ, relative",
  jsd: "Jensen-Shannon term (1 = noise)",
  diffusion: "diffusion loss",
  learning_rate: "learning rate",
};
// validation figures in the unit of the term beside which they are drawn
const VALIDATION = {
  reconstruction: ["validation_nmae", 0.01],
  relative: ["validation_relative", 0.01],
  gradient: ["validation_gradient", 0.01],
  diffusion: ["validation_diffusion", 1],
};

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

  const current = (state) => (STAGES.includes(state.stage) ? state.stage : (BETWEEN[state.stage]?.[0] ?? "autoencoder"));
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
        const [place, label] = BETWEEN[state.stage] ?? [];
        const text = place === name && label ? `${label}, ${Math.round(100 * (state.progress ?? 0))} %` : `${Math.round(100 * now)} %`;
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
    const order = ["loss", "reconstruction", "relative", "gradient", "diffusion", "spectral", "jsd", "learning_rate"];
    const made = order.filter((name) => figures[name]?.[0].length).map((name) => curve(name, figures));
    if (stage !== "autoencoder" && previews.diffusion) made.push(histogram(previews.diffusion));
    if (previews.autoencoder) made.push(planes(previews.autoencoder));
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
