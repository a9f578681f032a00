// The viewer's module comes from the kernel when a page first needs it. As the widget's own source it would be stored in
// every notebook that is saved with its widgets, 0.6 MB for each viewer.

const loaded = (globalThis[Symbol.for("edviz.loaded")] ??= new Map());
/** What was asked for, by the `meta` of the model: anywidget gives every view a model object of its own. */
const asked = new WeakMap();

function load(model) {
  const build = model.get("build");
  if (loaded.has(build)) return loaded.get(build);
  const identity = model.get("meta");
  if (!asked.has(identity)) {
    const answer = ask(model, build);
    asked.set(identity, answer);
    answer.catch(() => asked.delete(identity)); // no kernel: a later view asks again
  }
  return asked.get(identity);
}

function ask(model, build) {
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

// JupyterLab's messages pass a running cell only once their subshell has started.
const SUBSHELL_MS = 50;

export default {
  // The model is there before its cell has ended. What the kernel still does then need not be waited for.
  initialize({ model }) {
    setTimeout(() => {
      load(model).then(
        (module) => module.default.warm(),
        () => {},
      );
    }, SUBSHELL_MS);
  },
  async render(context) {
    const module = await load(context.model);
    return module.default.render(context);
  },
};
