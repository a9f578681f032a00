/**
 * The widget's module: `render` for anywidget, `mount` for a page without a kernel.
 *
 * A notebook loads this module once a widget. The first copy of a build serves all of them, so that viewers share one
 * renderer and one three.js.
 */

import { EmbeddedModel, type EmbeddedData, type Model } from "./model";
import { isSoftware } from "./page";
import { Session } from "./session";
import { View } from "./view";

type Cleanup = () => void;

export interface Handle {
  stats: View["stats"];
  /** Set true to have every picture waited for, so that times include the graphics card's work. */
  measure: boolean;
  snapshot(): Promise<Blob>;
  session: Session;
}

/**
 * Sessions by their model's `meta`. anywidget gives every view a model object of its own, but all of them return the
 * same `meta`. Each view's object dies with it, so a session moves to another one when its own goes.
 */
const sessions = new WeakMap<object, { session: Session; views: Map<View, Model> }>();

/** anywidget's hook: one call for each view of a model. */
function render({ model, el }: { model: Model; el: HTMLElement }): Cleanup {
  const identity = model.get("meta") as object;
  let entry = sessions.get(identity);
  if (!entry) sessions.set(identity, (entry = { session: new Session(model), views: new Map() }));
  const { session, views } = entry;
  const view = new View(session, el);
  views.set(view, model);
  const handle: Handle = {
    stats: view.stats,
    session,
    snapshot: () => view.snapshot(),
    get measure() {
      return view.measure;
    },
    set measure(on: boolean) {
      view.measure = on;
    },
  };
  (el as HTMLElement & { edviz?: Handle }).edviz = handle;
  session.hello();
  return () => {
    view.dispose();
    delete (el as HTMLElement & { edviz?: Handle }).edviz;
    views.delete(view);
    const next = views.values().next();
    if (!next.done) return session.attach(next.value);
    sessions.delete(identity);
    session.close();
  };
}

/** Show data that the page itself holds. Returns what takes it away again. */
function mountHere(el: HTMLElement, data: EmbeddedData): Cleanup {
  return render({ model: new EmbeddedModel(data), el });
}

/** Do before the first view what takes long: a WebGL context takes a tenth of a second in software. */
function warm(): void {
  isSoftware();
}

interface Implementation {
  render: typeof render;
  warm: typeof warm;
  mount: typeof mountHere;
}

const registry = globalThis as unknown as Record<symbol, Implementation | undefined>;
const implementation: Implementation = (registry[Symbol.for(`edviz.viewer.${BUILD}`)] ??= { render, warm, mount: mountHere });

// A page that holds this module as text in a script of its own cannot import from it: it finds mount() here.
registry[Symbol.for("edviz")] = implementation;

export const mount = implementation.mount;
export default { render: implementation.render, warm: implementation.warm };
