/** One view: a canvas with its camera, the controls under it, and the drawer of settings. */

import { PerspectiveCamera } from "three";
import { OrbitControls } from "three/examples/jsm/controls/OrbitControls.js";
import { defaultCamera, FIELD_OF_VIEW, readCamera } from "./camera";
import { digits, femtoseconds, fieldName, fieldSymbol, h, icon, plainColor, prettyUnits } from "./dom";
import { Drawer } from "./drawer";
import { HistogramPlot } from "./histogram";
import { acquireRenderer, drawPng, drawTo, isSoftware, releaseRenderer } from "./page";
import type { CameraState } from "./protocol";
import type { Listener, Session } from "./session";

/** Text that is written only when it changes: every change has the page laid out anew. */
function write(element: Element, text: string): void {
  if (element.textContent !== text) element.textContent = text;
}

/** What tests and benchmarks read from `el.edviz.stats`. */
export interface Stats {
  drawnFrame: number | null;
  drawnSample: number | null;
  /** Milliseconds from each input to its picture, the last 1000. */
  drawTimes: number[];
  lastInputToDraw: number | null;
  /** Milliseconds that the worker took for the last surfaces. */
  extractTime: number | null;
  surfaceVolume: number;
  surfaceArea: number;
  triangles: number;
  levels: number[];
  coarse: boolean;
  readonly cacheFrames: number;
  readonly cacheBytes: number;
  /** Pictures drawn since the view began. */
  draws: number;
}

/** A picture that rests this long is drawn again with smooth edges; where that takes long, an input must not meet it. */
const REFINE_MS = { card: 220, software: 600 };

export class View implements Listener {
  readonly stats: Stats;
  /** Wait for the pixels of every picture, so that times include the graphics card's work. */
  measure = false;

  private readonly canvas = h("canvas", { class: "edviz-canvas", "data-edviz": "canvas", role: "img", tabindex: "-1" });
  private readonly context = this.canvas.getContext("bitmaprenderer")!;
  private readonly camera = new PerspectiveCamera(FIELD_OF_VIEW, 1.4, 0.1, 5000);
  private controls: OrbitControls;
  private orbiting = false;
  /** Size of the picture in device pixels. */
  private pixels: [number, number] = [0, 0];
  private raf = 0;
  private refining: ReturnType<typeof setTimeout> | null = null;
  private readonly seen = new WeakSet<object>();
  private readonly cleanups: (() => void)[] = [];
  private active = 0;
  private readonly root: HTMLElement;
  private readonly stage: HTMLElement;
  private readonly badge = h("div", { class: "edviz-badge", role: "status", "data-edviz": "badge" });
  private readonly title: HTMLElement;
  private readonly loading = h("div", { class: "edviz-loading", "data-edviz": "loading", "aria-hidden": "true" });
  private readonly colorbar = h("div", { class: "edviz-colorbar", "data-edviz": "colorbar" });
  private readonly play = h("button", { type: "button", class: "edviz-play", "data-edviz": "play", click: () => this.togglePlay() });
  private readonly time: HTMLInputElement;
  private readonly timeLabel = h("span", { class: "edviz-time", "data-edviz": "time-label" }, h("b"), h("span"));
  private readonly speed: HTMLSelectElement;
  private readonly loop = h("button", { type: "button", "data-edviz": "loop", title: "Loop", click: () => this.session.set("loop", !this.session.state.loop) }, icon("loop"));
  private readonly sample: HTMLSelectElement;
  private readonly mode: HTMLSelectElement;
  private readonly number: HTMLInputElement;
  private readonly level: HTMLInputElement;
  private readonly unit = h("span", { class: "edviz-unit" });
  private readonly note = h("span", { class: "edviz-note", "data-edviz": "level-note" });
  private readonly histogram: HistogramPlot;
  private readonly drawer: Drawer;

  constructor(
    private readonly session: Session,
    el: HTMLElement,
  ) {
    const { meta, cache } = session;
    this.stats = {
      drawnFrame: null,
      drawnSample: null,
      drawTimes: [],
      lastInputToDraw: null,
      extractTime: null,
      surfaceVolume: 0,
      surfaceArea: 0,
      triangles: 0,
      levels: [],
      coarse: false,
      draws: 0,
      get cacheFrames() {
        return cache.size;
      },
      get cacheBytes() {
        return cache.bytes;
      },
    };
    this.histogram = new HistogramPlot(
      (index, level) => {
        this.active = index;
        this.setLevel(level);
      },
      () => session.settle(),
    );
    this.time = h("input", { type: "range", class: "edviz-slider", "aria-label": "time", "data-edviz": "time", min: 0, max: Math.max(0, meta.n_frames - 1), step: 1 });
    this.time.addEventListener("input", () => session.set("frame", Number(this.time.value), true));
    this.time.addEventListener("change", () => session.settle());
    this.speed = h(
      "select",
      { "aria-label": "speed in frames per second", title: "Speed, frames per second", "data-edviz": "speed" },
      ...[1, 2, 5, 10, 20, 30, 60].map((n) => h("option", { value: n }, `${n}/s`)),
    );
    this.speed.addEventListener("change", () => session.set("speed", Number(this.speed.value)));
    this.sample = h(
      "select",
      { "aria-label": "sample", title: "Sample of the ensemble", "data-edviz": "sample" },
      ...Array.from({ length: meta.n_samples }, (_, i) => h("option", { value: i }, `sample ${i + 1}`)),
    );
    this.sample.addEventListener("change", () => session.set("sample", Number(this.sample.value)));
    this.mode = h(
      "select",
      { "aria-label": "isovalue given as", title: "Isovalue as a value, or as the electrons enclosed", "data-edviz": "level-mode" },
      h("option", { value: "value" }, fieldSymbol(meta.kind)),
      h("option", { value: "electrons" }, "electrons"),
    );
    this.mode.addEventListener("change", () => this.changeMode(this.mode.value as "value" | "electrons"));
    this.number = h("input", { type: "number", class: "edviz-number", "aria-label": "isovalue", "data-edviz": "level-number", step: "any" });
    this.number.addEventListener("change", () => this.typeLevel());
    this.level = h("input", { type: "range", class: "edviz-slider", "aria-label": "isovalue slider", "data-edviz": "level", min: 0, max: 1, step: 0.001 });
    this.level.addEventListener("input", () => this.slideLevel(Number(this.level.value)));
    this.level.addEventListener("change", () => session.settle());
    this.title = h("div", { class: "edviz-title" }, h("strong", {}, meta.name), h("span", {}, fieldName(meta.kind)));
    this.drawer = new Drawer(session, (index) => {
      this.active = index;
      this.refresh();
    });

    const tool = (name: string, label: string, action: () => void): HTMLButtonElement =>
      h("button", { type: "button", title: label, "aria-label": label, "data-edviz": name, click: action }, icon(name === "settings" ? "gear" : name === "reset" ? "home" : "camera"));
    const settings = tool("settings", "Settings", () => {
      this.drawer.toggle();
      settings.setAttribute("aria-expanded", String(this.drawer.open));
    });
    settings.setAttribute("aria-expanded", "false");
    const tools = h(
      "div",
      { class: "edviz-tools" },
      tool("reset", "Whole cell in view", () => session.setCamera(null, null)),
      tool("snapshot", "Save the picture as PNG", () => void this.download()),
      settings,
    );
    this.stage = h("div", { class: "edviz-stage" }, this.canvas, this.title, this.badge, this.loading, this.colorbar, tools, this.drawer.element);
    this.root = h(
      "div",
      { class: "edviz", tabindex: 0, role: "group", "aria-label": `${meta.name}: density viewer`, "data-lm-suppress-shortcuts": "true" },
      this.stage,
      h(
        "div",
        { class: "edviz-bar" },
        this.play,
        this.time,
        this.timeLabel,
        ...(meta.n_samples > 1 ? [this.sample] : []),
        this.speed,
        this.loop,
      ),
      h(
        "div",
        { class: "edviz-levels" },
        h("div", { class: "edviz-levelbox" }, h("div", { class: "edviz-row" }, this.mode, this.number, this.unit), this.note),
        h("div", { class: "edviz-scale" }, this.histogram.element, this.level),
      ),
    );
    this.root.classList.toggle("edviz-still", meta.n_frames < 2);
    this.root.addEventListener("keydown", (event) => this.key(event));
    el.append(this.root);

    this.controls = this.makeControls();
    this.canvas.addEventListener("pointerdown", () => {
      this.controls.enableZoom = true;
      this.root.focus({ preventScroll: true });
    });
    // The wheel belongs to the page until the picture has been clicked.
    const idle = (): void => void (this.controls.enableZoom = false);
    this.root.addEventListener("pointerleave", idle);
    this.canvas.addEventListener("dblclick", () => session.setCamera(null, null));

    const resize = new ResizeObserver(() => this.resized());
    resize.observe(this.stage);
    const theme = new MutationObserver(() => this.themed());
    for (const node of [document.documentElement, document.body])
      theme.observe(node, { attributes: true, attributeFilter: ["class", "data-theme", "theme", "data-jp-theme-light", "data-jp-theme-name", "data-vscode-theme-kind"] });
    const dark = matchMedia("(prefers-color-scheme: dark)");
    const themed = (): void => this.themed();
    dark.addEventListener("change", themed);
    acquireRenderer(this.redraw);
    this.cleanups.push(
      () => resize.disconnect(),
      () => theme.disconnect(),
      () => dark.removeEventListener("change", themed),
      () => releaseRenderer(this.redraw),
    );
    session.listeners.add(this);
    this.resized();
    this.refreshNow();
  }

  private readonly redraw = (): void => this.draw();

  // ---- camera ----------------------------------------------------------------------------------------------------

  private makeControls(): OrbitControls {
    const controls = new OrbitControls(this.camera, this.canvas);
    controls.enableDamping = false;
    controls.enableZoom = false;
    controls.rotateSpeed = 0.9;
    controls.addEventListener("start", () => (this.orbiting = true));
    controls.addEventListener("end", () => {
      this.orbiting = false;
      this.draw();
    });
    controls.addEventListener("change", () => {
      if (this.aiming) return;
      this.session.setCamera(readCamera(this.camera, controls.target), this);
      this.draw();
    });
    return controls;
  }

  private aiming = false;

  aim(camera: CameraState | null): void {
    const { meta, state } = this.session;
    const at = camera ?? defaultCamera(meta.cell, meta.origin, state.repeat, this.camera.aspect);
    this.aiming = true;
    if (at.up.some((x, i) => Math.abs(x - this.camera.up.getComponent(i)) > 1e-9)) {
      this.camera.up.set(...at.up);
      // OrbitControls reads "up" once, when it is made.
      const zoom = this.controls.enableZoom;
      this.controls.dispose();
      this.controls = this.makeControls();
      this.controls.enableZoom = zoom;
    }
    this.camera.position.set(...at.position);
    this.controls.target.set(...at.target);
    this.controls.update();
    this.aiming = false;
    this.draw();
  }

  private resized(): void {
    const width = this.stage.clientWidth;
    const height = this.stage.clientHeight;
    if (!width || !height) return;
    const ratio = Math.min(2, window.devicePixelRatio || 1);
    const [w, t] = [Math.round(width * ratio), Math.round(height * ratio)];
    // The first size is the first moment in the page: only now do colours have values.
    if (!this.pixels[0]) this.themed();
    this.pixels = [w, t];
    this.camera.aspect = width / height;
    this.camera.updateProjectionMatrix();
    this.aim(this.session.state.camera);
    this.histogram.paint();
    this.drawNow();
  }

  private themed(): void {
    const probe = h("span", { style: "color: var(--edviz-line-color)" });
    this.root.append(probe);
    this.session.lineColor = plainColor(getComputedStyle(probe).color);
    probe.remove();
    this.session.repaint();
    this.histogram.paint();
  }

  // ---- drawing ---------------------------------------------------------------------------------------------------

  private undrawn = false;
  private outdated = false;

  /** Draw in the next animation frame, once. */
  draw(picture = true): void {
    this.undrawn ||= picture;
    this.raf ||= requestAnimationFrame(() => {
      this.raf = 0;
      if (this.undrawn) this.drawNow();
      if (this.outdated) this.refreshNow();
    });
  }

  /**
   * Edges are smoothed by drawing twice as many pixels each way. Software GL cannot afford that in motion, nor can a
   * volume's rays on any card: they get it when the picture rests.
   */
  private pixelFactor(quick: boolean): number {
    const { volume } = this.session.state;
    const area = this.pixels[0] * this.pixels[1];
    if (quick && volume) return 0.5;
    if (quick && isSoftware()) return Math.min(1, 1 / (window.devicePixelRatio || 1));
    return volume ? 1 : area > 3e6 ? 1 : area > 1.2e6 ? 1.5 : 2;
  }

  private refine(): void {
    this.refining = null;
    if (this.orbiting || this.session.moving) this.refineLater();
    else this.drawNow(true);
  }

  private refineLater(): void {
    this.refining = setTimeout(() => this.refine(), isSoftware() ? REFINE_MS.software : REFINE_MS.card);
  }

  private drawNow(fine = false): void {
    this.undrawn = false;
    if (this.refining) clearTimeout(this.refining);
    this.refining = null;
    const { drawn, picture } = this.session;
    if (!this.pixels[0] || !drawn) return;
    this.clip();
    const quick = !fine && (this.orbiting || this.session.moving || isSoftware());
    picture.aim(this.camera, quick);
    try {
      drawTo(this.context, picture.scene, this.camera, this.pixels, this.pixelFactor(quick), this.measure);
    } catch {
      if (!this.session.error) this.session.complain("this browser cannot draw in three dimensions: WebGL 2 is off or missing");
      return;
    }
    if (quick) this.refineLater();
    const { stats } = this;
    Object.assign(stats, {
      drawnFrame: drawn.frame,
      drawnSample: drawn.sample,
      extractTime: drawn.result.elapsed,
      surfaceVolume: drawn.surfaceVolume,
      surfaceArea: drawn.surfaceArea,
      triangles: drawn.triangles,
      levels: drawn.levels,
      coarse: drawn.coarse,
      draws: stats.draws + 1,
    });
    if (!this.seen.has(drawn)) {
      this.seen.add(drawn);
      if (drawn.since !== null) {
        stats.lastInputToDraw = performance.now() - drawn.since;
        stats.drawTimes.push(stats.lastInputToDraw);
        if (stats.drawTimes.length > 1000) stats.drawTimes.shift();
      }
    }
  }

  /** Near and far planes close around the scene: depth has few bits. */
  private clip(): void {
    const { cell, origin } = this.session.meta;
    const { repeat } = this.session.state;
    const size = cell.reduce((sum, v, i) => sum + Math.hypot(...v) * repeat[i]!, 0);
    const distance = this.camera.position.distanceTo(this.controls.target);
    const drift = this.controls.target.length() + Math.hypot(...origin);
    this.camera.near = Math.max(distance / 200, distance - size - drift);
    this.camera.far = distance + size + drift;
    this.camera.updateProjectionMatrix();
  }

  /** The picture as PNG, on the page's background, with smooth edges. */
  async snapshot(): Promise<Blob> {
    if (!this.session.drawn) throw new Error("there is no picture yet");
    this.drawNow(true);
    const [width, height] = this.pixels.map((n) => Math.round(n * this.pixelFactor(false))) as [number, number];
    return drawPng(this.session.picture.scene, this.camera, width, height, getComputedStyle(this.stage).backgroundColor);
  }

  private async download(): Promise<void> {
    const { meta, state } = this.session;
    const url = URL.createObjectURL(await this.snapshot());
    h("a", { href: url, download: `${meta.name || "density"}-${state.frame}.png` }).click();
    setTimeout(() => URL.revokeObjectURL(url), 1000);
  }

  // ---- controls --------------------------------------------------------------------------------------------------

  private togglePlay(): void {
    const { state, meta } = this.session;
    if (!state.playing && !state.loop && state.frame === meta.n_frames - 1) this.session.set("frame", 0);
    this.session.set("playing", !state.playing);
    if (!state.playing) this.session.settle();
  }

  private key(event: KeyboardEvent): void {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const target = event.target as HTMLElement;
    const typing = target.matches("select, input:not([type=range]):not([type=checkbox])");
    if (typing) return event.stopPropagation();
    const onLevel = target === this.level || target.closest(".edviz-drawer") !== null;
    const { state, meta } = this.session;
    const last = meta.n_frames - 1;
    const step = event.shiftKey ? 10 : 1;
    const go = (frame: number): void => this.session.set("frame", state.loop ? (frame + meta.n_frames) % meta.n_frames : frame, true);
    const actions: Record<string, () => void> = onLevel
      ? {}
      : {
          ArrowLeft: () => go(state.frame - step),
          ArrowRight: () => go(state.frame + step),
          Home: () => this.session.set("frame", 0),
          End: () => this.session.set("frame", last),
        };
    if (!target.matches("button, input[type=checkbox]") || target === this.play) actions[" "] = () => this.togglePlay();
    const action = actions[event.key];
    event.stopPropagation();
    if (!action) return;
    event.preventDefault();
    action();
  }

  private targets(): number[] {
    return this.session.electronMode() ? this.session.state.fractions : this.session.state.levels;
  }

  private setTarget(value: number): void {
    const { session } = this;
    const targets = [...this.targets()];
    targets[Math.min(this.active, Math.max(0, targets.length - 1))] = value;
    session.set(session.electronMode() ? "fractions" : "levels", targets, true);
  }

  /** A level from the histogram: in electrons mode it becomes the share of electrons above it. */
  private setLevel(level: number): void {
    if (!this.session.electronMode()) return this.setTarget(this.session.meta.signed ? Math.abs(level) || 1e-6 : level);
    const share = this.session.shareAbove(level);
    if (share !== null) this.setTarget(Math.min(0.999, Math.max(0.001, share)));
  }

  /** The slider runs over the histogram's axis, or over the fraction. */
  private slideLevel(x: number): void {
    if (this.session.electronMode()) return this.setTarget(Math.min(0.999, Math.max(0.001, x)));
    const plot = this.session.drawn?.result.histogram;
    if (!plot) return;
    const at = plot.from + x * (plot.to - plot.from);
    this.setTarget(plot.scale === "log10" ? 10 ** at : at);
  }

  private sliderPosition(value: number): number {
    if (this.session.electronMode()) return value;
    const plot = this.session.drawn?.result.histogram;
    if (!plot) return 0.5;
    const at = plot.scale === "log10" ? Math.log10(Math.max(value, 1e-300)) : value;
    return (at - plot.from) / (plot.to - plot.from);
  }

  private typeLevel(): void {
    const typed = Number(this.number.value);
    if (!this.number.value || !Number.isFinite(typed)) return this.refresh();
    this.setTarget(this.session.electronMode() ? Math.min(0.999, Math.max(0.001, typed / 100)) : typed);
    this.session.settle();
  }

  /** Keep the surfaces where they are when the way of saying it changes. */
  private changeMode(mode: "value" | "electrons"): void {
    const result = this.session.drawn?.result;
    if (result && mode === "value" && result.levels.length) this.session.set("levels", result.levels.filter(Number.isFinite));
    if (result && mode === "electrons") {
      const fractions = result.shares.map((share) => Number(share.toFixed(3)));
      this.session.set("fractions", fractions.length ? fractions : [0.5]);
    }
    this.session.set("level_mode", mode);
  }

  /** Bring the controls up to date in the next animation frame, once, with the picture. */
  refresh(): void {
    this.outdated = true;
    this.draw(false);
  }

  private refreshNow(): void {
    this.outdated = false;
    const { state, meta, drawn, error, answering } = this.session;
    const symbol = fieldSymbol(meta.kind);
    const label = state.playing ? "Pause" : "Play";
    if (this.play.ariaLabel !== label) {
      this.play.replaceChildren(icon(label.toLowerCase()));
      this.play.ariaLabel = label;
      this.play.title = `${label} (space)`;
    }
    if (document.activeElement !== this.time || Number(this.time.value) !== state.frame) this.time.value = String(state.frame);
    this.time.style.setProperty("--edviz-fill", `${(100 * state.frame) / Math.max(1, meta.n_frames - 1)}%`);
    const t = femtoseconds(meta.times[state.frame] ?? state.frame);
    this.time.setAttribute("aria-valuetext", `${t} fs`);
    const place = `${state.frame + 1}\u2009/\u2009${meta.n_frames}`;
    write(this.timeLabel.children[0]!, `${t} fs`);
    write(this.timeLabel.children[1]!, place);
    if (![...this.speed.options].some((option) => Number(option.value) === state.speed)) this.speed.append(h("option", { value: state.speed }, `${digits(state.speed)}/s`));
    this.speed.value = String(state.speed);
    this.loop.setAttribute("aria-pressed", String(state.loop));
    this.loop.setAttribute("aria-label", "Loop");
    this.sample.value = String(state.sample);

    const electrons = this.session.electronMode();
    const electronsPossible = this.session.hasElectrons();
    this.mode.value = electrons ? "electrons" : "value";
    this.mode.disabled = !electronsPossible;
    const targets = this.targets();
    this.active = Math.min(this.active, Math.max(0, targets.length - 1));
    const value = targets[this.active];
    if (document.activeElement !== this.number) this.number.value = value === undefined ? "" : String(Number((electrons ? 100 * value : value).toPrecision(4)));
    write(this.unit, electrons ? "%" : prettyUnits(meta.units));
    if (value !== undefined) this.level.value = String(this.sliderPosition(value));
    this.level.setAttribute("aria-valuetext", `${this.number.value} ${this.unit.textContent}`);
    this.level.disabled = value === undefined;
    const level = drawn?.levels[this.active];
    if (drawn && level !== undefined && electronsPossible) {
      const share = drawn.result.shares[this.active]!;
      write(this.note, electrons ? `${symbol} = ${digits(level)} ${prettyUnits(meta.units)}` : `${digits(100 * share)} % of electrons`);
    } else write(this.note, drawn && meta.signed && level !== undefined ? `lobes at ±${digits(Math.abs(level))}` : "");
    this.root.classList.toggle("edviz-nohistogram", !state.show_histogram);
    if (drawn && state.show_histogram) {
      const markers = drawn.levels.map((x, i) => ({ level: x, color: this.session.levelColor(i, x < 0 ? -1 : 1) }));
      this.histogram.show(drawn.result.histogram, markers, this.active);
    }

    const behind = !drawn || drawn.frame !== state.frame || drawn.sample !== state.sample;
    this.loading.classList.toggle("edviz-on", behind);
    const text = !answering ? "kernel not answering: showing what was loaded" : (error ?? "");
    write(this.badge, text);
    this.badge.classList.toggle("edviz-on", text !== "");
    this.badge.classList.toggle("edviz-bad", answering && error !== null);
    const where = drawn ? `${fieldName(meta.kind)} at ${t} fs, isosurface at ${drawn.levels.map((x) => digits(x)).join(", ")} ${prettyUnits(meta.units)}` : "loading";
    this.canvas.setAttribute("aria-label", where);
    const bar = this.session.colorbar();
    this.colorbar.classList.toggle("edviz-on", bar !== null);
    const barName = JSON.stringify(bar);
    if (bar && this.barName !== barName) {
      this.barName = barName;
      const strip = h("i", { style: `background: ${bar.gradient}` });
      this.colorbar.replaceChildren(h("span", {}, digits(bar.low, 2)), strip, h("span", {}, `${digits(bar.high, 2)} ${prettyUnits(bar.label)}`));
    }
    this.drawer.refresh();
    if (!state.camera && this.repeated !== state.repeat.join()) this.aim(null);
    this.repeated = state.repeat.join();
  }

  private repeated = "";
  private barName = "";

  dispose(): void {
    if (this.refining) clearTimeout(this.refining);
    if (this.raf) cancelAnimationFrame(this.raf);
    this.session.listeners.delete(this);
    this.controls.dispose();
    for (const cleanup of this.cleanups) cleanup();
    this.root.remove();
  }
}

