/** The histogram under the picture: counts on a log axis over log10 of the field, levels as lines to drag. */

import { digits, h } from "./dom";
import { isSoftware } from "./page";
import type { Histogram } from "./statistics";

const PAUSE_MS = 100;

export interface Marker {
  level: number;
  color: string;
}

export class HistogramPlot {
  readonly element: HTMLElement;
  private readonly canvas: HTMLCanvasElement;
  private shown: { histogram: Histogram; markers: Marker[]; active: number } | null = null;
  private name = "";
  private painted = -Infinity;
  private due: ReturnType<typeof setTimeout> | null = null;
  private dragging = -1;

  /** `moved` gets the index of a line and its new level; `done` is called at the end of a drag. */
  constructor(
    private readonly moved: (index: number, level: number) => void,
    private readonly done: () => void,
  ) {
    this.canvas = h("canvas", { "aria-hidden": "true" });
    this.element = h("div", { class: "edviz-histogram", role: "img", "aria-label": "histogram of the frame's values" }, this.canvas);
    this.canvas.addEventListener("pointerdown", (event) => {
      if (!this.shown || event.button !== 0) return;
      this.canvas.setPointerCapture(event.pointerId);
      const x = event.offsetX;
      const lines = this.shown.markers.map(({ level }) => this.place(level));
      const nearest = lines.reduce((best, at, i) => (Math.abs(at - x) < Math.abs(lines[best]! - x) ? i : best), 0);
      // With one level a click anywhere takes its line along; with several the nearest is meant.
      this.dragging = nearest;
      this.drag(event);
    });
    this.canvas.addEventListener("pointermove", (event) => {
      if (this.dragging >= 0) this.drag(event);
    });
    for (const end of ["pointerup", "pointercancel"])
      this.canvas.addEventListener(end, () => {
        if (this.dragging < 0) return;
        this.dragging = -1;
        this.done();
      });
  }

  show(histogram: Histogram, markers: Marker[], active: number): void {
    const name = JSON.stringify([markers, active]);
    if (this.shown?.histogram === histogram && this.name === name) return;
    this.name = name;
    this.shown = { histogram, markers, active };
    // Without a graphics card ten times a second is often enough, except under the user's hand.
    const wait = isSoftware() && this.dragging < 0 ? this.painted + PAUSE_MS - performance.now() : 0;
    if (wait <= 0) this.paint();
    else this.due ??= setTimeout(() => this.paint(), wait);
  }

  private get width(): number {
    return Math.max(1, this.canvas.clientWidth);
  }

  private place(level: number): number {
    const { scale, from, to } = this.shown!.histogram;
    const x = scale === "log10" ? Math.log10(Math.max(level, 1e-300)) : level;
    return ((x - from) / (to - from)) * this.width;
  }

  private drag(event: PointerEvent): void {
    if (!this.shown) return;
    const { scale, from, to } = this.shown.histogram;
    const x = from + Math.min(0.999, Math.max(0.001, event.offsetX / this.width)) * (to - from);
    this.moved(this.dragging, scale === "log10" ? 10 ** x : x);
  }

  paint(): void {
    if (this.due) clearTimeout(this.due);
    this.due = null;
    if (!this.shown) return;
    this.painted = performance.now();
    const { histogram, markers, active } = this.shown;
    const ratio = window.devicePixelRatio || 1;
    const width = this.width;
    const height = Math.max(1, this.canvas.clientHeight);
    if (this.canvas.width !== Math.round(width * ratio) || this.canvas.height !== Math.round(height * ratio)) {
      this.canvas.width = Math.round(width * ratio);
      this.canvas.height = Math.round(height * ratio);
    }
    // On the processor: software GL takes ten times longer for these few lines.
    const g = this.canvas.getContext("2d", { willReadFrequently: true });
    if (!g) return;
    const style = getComputedStyle(this.element);
    g.setTransform(ratio, 0, 0, ratio, 0, 0);
    g.clearRect(0, 0, width, height);
    const { counts, from, to, scale } = histogram;
    const axis = 12;
    const floor = height - axis;
    const most = Math.log10(1 + Math.max(...counts));
    g.beginPath();
    g.moveTo(0, floor);
    counts.forEach((count, i) => {
      const y = floor - (Math.log10(1 + count) / most) * (floor - 3);
      g.lineTo((i / counts.length) * width, y);
      g.lineTo(((i + 1) / counts.length) * width, y);
    });
    g.lineTo(width, floor);
    g.globalAlpha = 0.22;
    g.fillStyle = style.getPropertyValue("--edviz-accent").trim() || "#35a2b5";
    g.fill();
    g.globalAlpha = 0.75;
    g.strokeStyle = g.fillStyle;
    g.lineWidth = 1;
    g.stroke();
    g.globalAlpha = 1;
    g.fillStyle = style.getPropertyValue("--edviz-muted").trim() || "#7a808a";
    g.font = "9.5px " + style.fontFamily;
    g.textBaseline = "bottom";
    for (const [value, at] of ticks(from, to, scale)) {
      const x = ((at - from) / (to - from)) * width;
      g.fillRect(x, floor, 1, 2.5);
      const label = digits(value, 2);
      const half = g.measureText(label).width / 2;
      if (x > half && x < width - half) g.fillText(label, x - half, height);
    }
    markers.forEach(({ level, color }, i) => {
      const x = this.place(level);
      g.strokeStyle = color;
      g.fillStyle = color;
      g.lineWidth = i === active ? 2 : 1.25;
      g.beginPath();
      g.moveTo(x, 0);
      g.lineTo(x, floor);
      g.stroke();
      g.beginPath();
      g.arc(x, 4, i === active ? 4 : 3, 0, 2 * Math.PI);
      g.fill();
    });
  }
}

/** Where the axis is marked: [value, coordinate]; 1, 2, 5 in every decade, or five round steps. */
export function ticks(from: number, to: number, scale: "log10" | "linear"): [number, number][] {
  const out: [number, number][] = [];
  if (scale === "log10") {
    const fine = to - from < 3.2;
    for (let e = Math.floor(from); e <= Math.ceil(to); e++)
      for (const m of fine ? [1, 2, 5] : [1]) {
        const at = e + Math.log10(m);
        if (at >= from && at <= to) out.push([m * 10 ** e, at]);
      }
    return out;
  }
  const rough = (to - from) / 5;
  const unit = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((m) => m * unit).find((s) => s >= rough)!;
  for (let n = Math.ceil(from / step); n * step <= to; n++) out.push([n * step, n * step]);
  return out;
}
