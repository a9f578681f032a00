// A molecular dynamics run as it goes. In front of this stands charts.js.

const STATES = { starting: "starting", running: "running", finished: "finished", stopped: "stopped", failed: "failed" };
const DEAF_SECONDS = 5;

/** Values and their places, without gaps. */
function known(x, y) {
  const kept = y.map((v, i) => i).filter((i) => y[i] !== null && y[i] !== undefined);
  return { x: kept.map((i) => x[i]), y: kept.map((i) => y[i]) };
}

function temperatureChart({ time, temperature, target }) {
  const series = [{ x: time, y: temperature, color: AIMD, width: 1.6 }];
  const wanted = known(time, target);
  if (wanted.x.length) series.push({ ...wanted, color: GENERATED, dashed: true, width: 1.6 });
  const note = `${Math.round(temperature.at(-1))} K${wanted.x.length ? `, thermostat ${Math.round(wanted.y.at(-1))} K` : ""}`;
  return chart("temperature", note, series, { xLabel: "fs" });
}

function energyChart({ time, energy }, atoms) {
  const y = energy.map((e) => e / atoms);
  return chart("potential energy", `${energy.at(-1).toFixed(4)} eV; below: eV an atom`, [{ x: time, y, color: AIMD }], { xLabel: "fs" });
}

function conservedChart({ time, conserved }, atoms) {
  const y = conserved.map((e) => (1000 * (e - conserved[0])) / atoms);
  return chart("conserved quantity", `${number(y.at(-1))} meV an atom since the start`, [{ x: time, y, color: AIMD }], { xLabel: "fs" });
}

function sliceFigure({ values, vectors }) {
  const flat = values.flat();
  const range = [Math.min(...flat), Math.max(...flat)];
  const box = element("figure");
  const caption = element("figcaption", "", "density, plane c = 0");
  caption.append(element("span", "edviz-training-note", `${number(range[0])} to ${number(range[1])} e/Å³`));
  box.append(caption, plane(values, vectors, range));
  return box;
}

function render({ model, el }) {
  const root = element("div", "edviz-training edviz-aimd");
  const head = element("div", "edviz-training-head");
  const badge = element("span", "edviz-training-badge");
  const title = element("b");
  const where = element("span", "edviz-training-note");
  const buttons = element("span", "edviz-training-buttons");
  const stop = element("button", "", "Stop");
  stop.dataset.edviz = "stop";
  buttons.append(stop);
  head.append(badge, title, where, buttons);
  const bar = element("div", "edviz-aimd-bar");
  const done = element("i");
  bar.append(done);
  const facts = element("div", "edviz-training-facts");
  const notice = element("div", "edviz-training-trouble");
  notice.setAttribute("role", "status");
  const charts = element("div", "edviz-training-charts");
  root.append(head, bar, facts, notice, charts);
  el.append(root);

  let asked = null; // when the button was pressed, until the kernel has heard it
  let deaf;

  function say() {
    const state = model.get("state");
    const alive = ["starting", "running"].includes(state.state);
    let text = state.message ?? "";
    if (alive && (state.stopping || asked === "heard")) text = "Stopping after this step …";
    else if (alive && asked === "deaf") text = "The kernel hears no buttons here while a cell runs: interrupt the kernel instead. The frames so far are kept.";
    else if (alive && asked === "sent") text = "Asking the run to stop …";
    notice.textContent = text;
    notice.hidden = !text;
    if (state.state === "failed") delete notice.dataset.mild;
    else notice.dataset.mild = "yes";
    stop.disabled = !alive || asked !== null;
  }

  function draw() {
    const state = model.get("state");
    badge.textContent = STATES[state.state] ?? "";
    badge.dataset.state = state.state;
    title.textContent = state.title ?? "";
    const parts = (state.path ?? "").split(/[\\/]/);
    where.textContent = parts.length > 3 ? `…/${parts.slice(-2).join("/")}` : state.path ?? "";
    where.title = state.path ?? "";
    done.style.width = `${(100 * (state.step ?? 0)) / (state.n_steps || 1)}%`;
    const told = [];
    if (state.state === "starting") told.push(["now", "starting the engine"]);
    if (state.step !== undefined) {
      told.push(["step", `${state.step} of ${state.n_steps}`], ["stage", `${state.stage}, ${number(state.time)} fs`]);
      told.push(["steps a second", number(state.steps_per_second)]);
      if (state.state === "running") told.push(["time left", duration(state.seconds_left)]);
      told.push(["frames", String(state.n_frames)], ["SCF iterations", String(state.n_iterations)]);
      if (typeof state.pressure === "number") told.push(["pressure", `${state.pressure.toFixed(2)} GPa`], ["volume", `${state.volume.toFixed(1)} Å³`]);
    }
    facts.replaceChildren(
      ...told.map(([name, value]) => {
        const fact = element("span");
        fact.append(element("small", "", name), element("b", "", value));
        return fact;
      }),
    );
    const made = [];
    if (state.curves?.time?.length) {
      made.push(temperatureChart(state.curves), energyChart(state.curves, state.n_atoms), conservedChart(state.curves, state.n_atoms));
      const slice = model.get("plane");
      if (slice.values) made.push(sliceFigure(slice));
    }
    charts.replaceChildren(...made);
    say();
  }

  const heard = (message) => {
    if (message.type !== "stop") return;
    clearTimeout(deaf);
    asked = "heard";
    say();
  };
  stop.onclick = () => {
    asked = "sent";
    deaf = setTimeout(() => {
      asked = "deaf";
      say();
    }, 1000 * DEAF_SECONDS);
    model.send({ type: "stop" });
    say();
  };
  model.on("change:state", draw);
  model.on("msg:custom", heard);
  draw();
  model.send({ type: "hello" });
  return () => {
    clearTimeout(deaf);
    model.off("change:state", draw);
    model.off("msg:custom", heard);
  };
}

export default { render };
