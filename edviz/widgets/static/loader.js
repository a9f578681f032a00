// The viewer's module comes from the kernel when a page first needs it. As the widget's own source it would be stored in
// every notebook that is saved with its widgets, 0.6 MB for each viewer.

const loaded = (globalThis[Symbol.for("edviz.loaded")] ??= new Map());

function load(model) {
  const build = model.get("build");
  if (loaded.has(build)) return loaded.get(build);
  return new Promise((resolve) => {
    const receive = (message, buffers) => {
      if (message.type !== "module") return;
      model.off("msg:custom", receive);
      if (!loaded.has(build)) {
        const url = URL.createObjectURL(new Blob([buffers[0]], { type: "text/javascript" }));
        loaded.set(build, import(url).finally(() => URL.revokeObjectURL(url)));
      }
      resolve(loaded.get(build));
    };
    model.on("msg:custom", receive);
    model.send({ type: "module" });
  });
}

export default {
  async render(context) {
    const module = await load(context.model);
    return module.default.render(context);
  },
};
