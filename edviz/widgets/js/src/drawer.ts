/** The settings: a small panel over the picture that edits the session's state. */

import type { Vec3 } from "./cell";
import { COLORMAPS } from "./colormaps";
import { h, icon, plainColor } from "./dom";
import type { Slice, State } from "./protocol";
import type { Session } from "./session";

type Switch = "show_atoms" | "show_bonds" | "show_cell" | "show_histogram" | "volume";

const SWITCHES: [Switch, string][] = [
  ["show_atoms", "Atoms"],
  ["show_bonds", "Bonds"],
  ["show_cell", "Cell"],
  ["show_histogram", "Histogram"],
  ["volume", "Volume"],
];

export class Drawer {
  readonly element: HTMLElement;
  open = false;
  private readonly checks = new Map<Switch, HTMLInputElement>();
  private readonly opacity: HTMLInputElement;
  private readonly colormap: HTMLSelectElement;
  private readonly colorBy: HTMLSelectElement;
  private readonly repeat: HTMLInputElement[];
  private readonly shift: HTMLInputElement[];
  private readonly levels = h("div", { class: "edviz-list" });
  private readonly slices = h("div", { class: "edviz-list" });
  private shown = "";

  constructor(
    private readonly session: Session,
    private readonly select: (index: number) => void,
  ) {
    const { meta } = session;
    const boxes = SWITCHES.map(([name, label]) => {
      const box = h("input", { type: "checkbox", "data-edviz": name });
      box.addEventListener("change", () => session.set(name, box.checked));
      this.checks.set(name, box);
      return h("label", {}, box, label);
    });
    this.opacity = this.range("opacity", "opacity", 0.05, 1, 0.05);
    this.opacity.addEventListener("input", () => session.set("opacity", Number(this.opacity.value)));
    this.colormap = h("select", { "aria-label": "colour map", "data-edviz": "colormap" }, ...COLORMAPS.map((name) => h("option", { value: name }, name)));
    this.colormap.addEventListener("change", () => session.set("colormap", this.colormap.value));
    this.colorBy = h("select", { "aria-label": "colour by", "data-edviz": "color_by" }, h("option", { value: "level" }, "level"), h("option", { value: "second" }, meta.second_name ?? "second field"));
    this.colorBy.addEventListener("change", () => session.set("color_by", this.colorBy.value as State["color_by"]));
    this.repeat = ["a", "b", "c"].map((axis, i) => {
      const input = h("input", { type: "number", min: 1, max: 8, step: 1, "aria-label": `repeats along ${axis}`, "data-edviz": `repeat-${axis}` });
      input.addEventListener("change", () => this.put("repeat", i, Math.min(8, Math.max(1, Math.round(Number(input.value)) || 1))));
      return input;
    });
    this.shift = ["a", "b", "c"].map((axis, i) => {
      const input = this.range(`shift along ${axis}`, `shift-${axis}`, 0, 1, 0.01);
      input.addEventListener("input", () => this.put("shift", i, Number(input.value), true));
      input.addEventListener("change", () => session.settle());
      return input;
    });
    const row = (label: string, ...controls: HTMLElement[]): HTMLElement => h("div", { class: "edviz-row" }, h("span", {}, label), ...controls);
    const add = (name: string, label: string, action: () => void): HTMLButtonElement =>
      h("button", { type: "button", class: "edviz-add", title: label, "aria-label": label, "data-edviz": name, click: action }, icon("plus"));
    this.element = h(
      "div",
      { class: "edviz-drawer", "data-edviz": "drawer", role: "group", "aria-label": "settings", hidden: true },
      h("div", { class: "edviz-switches" }, ...boxes),
      h("h4", {}, "Surfaces", add("add-level", "Add a level", () => this.addLevel())),
      this.levels,
      row("Opacity", this.opacity),
      ...(meta.has_second ? [row("Colour by", this.colorBy)] : []),
      h("h4", {}, "Slices", add("add-slice", "Add a slice", () => this.addSlice())),
      this.slices,
      row("Colours", this.colormap),
      h("h4", {}, "Cell"),
      row("Repeat", ...this.repeat),
      row("Shift", ...this.shift),
    );
  }

  toggle(): void {
    this.open = !this.open;
    this.element.hidden = !this.open;
    this.refresh();
  }

  refresh(): void {
    if (!this.open) return;
    const { state } = this.session;
    for (const [name, box] of this.checks) box.checked = state[name];
    const put = (input: HTMLInputElement | HTMLSelectElement, value: string): void => {
      if (input.value !== value) input.value = value;
    };
    put(this.opacity, String(state.opacity));
    put(this.colormap, state.colormap);
    put(this.colorBy, state.color_by);
    this.repeat.forEach((input, i) => put(input, String(state.repeat[i])));
    this.shift.forEach((input, i) => put(input, String(state.shift[i])));
    // Lists are rebuilt only when their length changes, so that an input keeps its focus while it is used.
    const targets = this.targets();
    const shape = `${targets.length}/${state.slices.length}/${state.level_mode}`;
    if (shape !== this.shown) {
      this.shown = shape;
      this.levels.replaceChildren(...targets.map((_, i) => this.levelRow(i)));
      this.slices.replaceChildren(...state.slices.map((_, i) => this.sliceRow(i)));
    }
    targets.forEach((value, i) => {
      const row = this.levels.children[i] as HTMLElement;
      const [color, number] = [...row.querySelectorAll("input")] as [HTMLInputElement, HTMLInputElement];
      put(color, plainColor(this.session.levelColor(i, value < 0 ? -1 : 1)));
      if (document.activeElement !== number) put(number, String(Number((this.session.electronMode() ? 100 * value : value).toPrecision(4))));
    });
    state.slices.forEach((slice, i) => {
      const inputs = [...this.slices.children[i]!.querySelectorAll("input")];
      slice.hkl.forEach((x, n) => {
        if (document.activeElement !== inputs[n]) put(inputs[n]!, String(x));
      });
      put(inputs[3]!, String(slice.position));
    });
  }

  private targets(): number[] {
    return this.session.electronMode() ? this.session.state.fractions : this.session.state.levels;
  }

  private setTargets(targets: number[]): void {
    this.session.set(this.session.electronMode() ? "fractions" : "levels", targets);
  }

  private addLevel(): void {
    const { state, meta, drawn } = this.session;
    if (this.session.electronMode()) return this.setTargets([...state.fractions, Math.min(0.95, Math.max(...state.fractions, 0) + 0.25)]);
    const [low, high] = meta.range;
    const last = drawn?.levels.at(-1);
    const next = last === undefined ? (meta.signed ? 0.3 * Math.max(-low, high) : 0.5 * (low + high)) : low > 0 ? Math.sqrt(last * low) : last / 2;
    this.setTargets([...state.levels, Number(next.toPrecision(3))]);
    this.select(state.levels.length);
  }

  private levelRow(index: number): HTMLElement {
    const color = h("input", { type: "color", "aria-label": `colour of level ${index + 1}` });
    color.addEventListener("input", () => {
      const { session } = this;
      const colors = this.targets().flatMap((_, i) =>
        session.meta.signed && !session.state.levels.some((x) => x < 0) ? [session.levelColor(i, 1), session.levelColor(i, -1)] : [session.levelColor(i)],
      );
      const mirrored = colors.length > this.targets().length;
      colors[mirrored ? 2 * index : index] = color.value;
      session.set("colors", colors);
    });
    const number = h("input", { type: "number", step: "any", "aria-label": `level ${index + 1}` });
    number.addEventListener("change", () => {
      const typed = Number(number.value);
      if (!Number.isFinite(typed) || !number.value) return this.refresh();
      const targets = [...this.targets()];
      targets[index] = this.session.electronMode() ? Math.min(0.999, Math.max(0.001, typed / 100)) : typed;
      this.setTargets(targets);
    });
    number.addEventListener("focus", () => this.select(index));
    const remove = h("button", { type: "button", "aria-label": `remove level ${index + 1}`, click: () => this.setTargets(this.targets().filter((_, i) => i !== index)) }, icon("close"));
    return h("div", { class: "edviz-row" }, color, number, remove);
  }

  private addSlice(): void {
    const { slices } = this.session.state;
    const normals: Vec3[] = [
      [0, 0, 1],
      [0, 1, 0],
      [1, 0, 0],
    ];
    this.session.set("slices", [...slices, { hkl: normals[slices.length % 3]!, position: 0.5 }]);
  }

  private changeSlice(index: number, change: Partial<Slice>, interacting = false): void {
    this.session.set(
      "slices",
      this.session.state.slices.map((slice, i) => (i === index ? { ...slice, ...change } : slice)),
      interacting,
    );
  }

  private sliceRow(index: number): HTMLElement {
    const miller = ["h", "k", "l"].map((name, n) => {
      const input = h("input", { type: "number", step: 1, "aria-label": `${name} of slice ${index + 1}` });
      input.addEventListener("change", () => {
        const hkl = [...this.session.state.slices[index]!.hkl] as Vec3;
        hkl[n] = Math.round(Number(input.value)) || 0;
        if (hkl.every((x) => x === 0)) return this.refresh();
        this.changeSlice(index, { hkl });
      });
      return input;
    });
    const position = this.range(`position of slice ${index + 1}`, `slice-${index}`, 0, 0.995, 0.005);
    position.addEventListener("input", () => this.changeSlice(index, { position: Number(position.value) }, true));
    position.addEventListener("change", () => this.session.settle());
    const remove = h("button", { type: "button", "aria-label": `remove slice ${index + 1}`, click: () => this.session.set("slices", this.session.state.slices.filter((_, i) => i !== index)) }, icon("close"));
    return h("div", { class: "edviz-row" }, ...miller, position, remove);
  }

  private put(name: "repeat" | "shift", index: number, value: number, interacting = false): void {
    const next = [...this.session.state[name]] as Vec3;
    next[index] = value;
    this.session.set(name, next, interacting);
  }

  private range(label: string, name: string, min: number, max: number, step: number): HTMLInputElement {
    return h("input", { type: "range", class: "edviz-slider", "aria-label": label, "data-edviz": name, min, max, step });
  }
}
