// A plotly figure whose library comes from the kernel, once a page: nothing is fetched, and no notebook stores it.

const KEY = Symbol.for("edviz.plotly");

/** plotly.js, of which the first figure of a page asks its kernel. */
function plotly(model) {
  globalThis[KEY] ??= new Promise((resolve) => {
    const receive = (message, buffers) => {
      if (message.type !== "library") return;
      model.off("msg:custom", receive);
      const module = { exports: {} };
      const source = new TextDecoder().decode(buffers[0]);
      new Function("module", "exports", "define", source).call(globalThis, module, module.exports, undefined);
      resolve(module.exports);
    };
    model.on("msg:custom", receive);
    model.send({ type: "library" });
  });
  return globalThis[KEY];
}

async function render({ model, el }) {
  el.classList.add("edviz-figure");
  el.style.minHeight = "360px";
  const library = await plotly(model);
  let busy = false;
  let again = false;
  const draw = async () => {
    if (busy) return void (again = true);
    busy = true;
    do {
      again = false;
      const { data = [], layout = {} } = model.get("figure");
      const width = el.clientWidth;
      if (data.length) await library.react(el, data, { ...layout, autosize: !width, ...(width && { width }) }, { displaylogo: false });
      else library.purge(el);
    } while (again);
    busy = false;
  };
  const resize = new ResizeObserver(() => draw());
  resize.observe(el);
  model.on("change:figure", draw);
  await draw();
  return () => {
    resize.disconnect();
    model.off("change:figure", draw);
    library.purge(el);
  };
}

export default { render };
