/**
 * One model's session in the page: its state, frames, worker and picture. All views of the model share it.
 *
 * The way of an input: set() -> update() -> [frame in the cache? else ask the kernel] -> worker -> accept() -> the
 * views draw in the next animation frame. Whatever is overtaken on the way is dropped.
 */

import type { Model } from "./model";
import type { Vec3 } from "./cell";
import { type Code, CODES, valueOf } from "./codes";
import { colorAt, cssGradient } from "./colormaps";
import { type Lobe, type Result } from "./extract";
import { Extractor } from "./extractor";
import { around, frameBytes, FrameCache } from "./frames";
import { isSoftware, listen, tell } from "./page";
import {
  type CameraState,
  DEFAULTS,
  type Frame,
  frameKey,
  type Incoming,
  type Meta,
  readFrame,
  type State,
  STATE_NAMES,
} from "./protocol";
import { type FieldScale, Picture } from "./scene";
import { fractionAbove, rank, type Ranking } from "./statistics";

/** Frames asked for at a time: few, so that a wish that is overtaken costs the kernel little. */
const BATCH = 8;
/** Frames around the cursor that are fetched before they are wanted. */
const REACH = 64;
/** Without an answer for this long the kernel counts as silent. */
const PATIENCE_MS = 3000;
/** Grids from this size on are drawn from every second point while an input lasts: with a graphics card, without. */
const COARSE_FROM = { card: 96, software: 64 };
const SETTLE_MS = 140;
const SAVE_MS = 120;
const SINGLE_COLOR = "#35a2b5";

export interface Listener {
  /** Draw again. */
  draw(): void;
  /** State or messages changed: bring the controls up to date. */
  refresh(): void;
  /** The camera was moved by someone else. */
  aim(camera: CameraState | null): void;
}

export interface Drawn {
  frame: number;
  sample: number;
  levels: number[];
  result: Result;
  electrons: number | null;
  surfaceVolume: number;
  surfaceArea: number;
  triangles: number;
  coarse: boolean;
  shift: Vec3;
  /** When the input that led here was made. */
  since: number | null;
}

export class Session {
  readonly meta: Meta;
  readonly state: State;
  readonly picture: Picture;
  readonly cache: FrameCache;
  readonly listeners = new Set<Listener>();
  drawn: Drawn | null = null;
  /** False when the kernel owes an answer for too long. */
  answering = true;
  lineColor = "#555";
  coarseFrom = isSoftware() ? COARSE_FROM.software : COARSE_FROM.card;

  private readonly extractor: Extractor;
  private readonly outstanding = new Set<string>();
  /** Why frames cannot be had, by their keys. */
  private readonly failed = new Map<string, string>();
  private trouble: string | null = null;
  private epoch = 0;
  /** Tells this page's wishes from those of another page of the same model. */
  private readonly page = Math.random().toString(36).slice(2);
  private direction: 1 | -1 = 1;
  private owed: ReturnType<typeof setTimeout> | null = null;
  private settling: ReturnType<typeof setTimeout> | null = null;
  private saving: ReturnType<typeof setTimeout> | null = null;
  private readonly unsaved = new Set<keyof State>();
  private interacting = false;
  private inputAt: number | null = null;
  /** What was ordered last, as text. */
  private submitted = "";
  private serial = 0;
  /** What belongs to the jobs under way, by their number. */
  private readonly orders = new Map<number, { since: number | null; shift: Vec3 }>();
  private scale: FieldScale | null = null;
  private secondScale: FieldScale | null = null;
  private readonly unlisten: () => void;
  private clock: { raf: number; last: number; debt: number } | null = null;
  /** Another linked viewer keeps the time. */
  private led = false;
  private bytesPerFrame = 0;
  private closed = false;

  constructor(private model: Model) {
    this.meta = model.get("meta") as Meta;
    this.state = { ...DEFAULTS };
    for (const name of STATE_NAMES) {
      const value = model.get(name);
      if (value !== undefined) Object.assign(this.state, { [name]: value });
    }
    this.cache = new FrameCache(this.state.cache_mb * 2 ** 20);
    this.picture = new Picture(this.meta.cell, this.meta.origin, this.meta.numbers);
    this.extractor = new Extractor(
      (result) => this.accept(result),
      (text) => this.complain(text),
    );
    this.attach(model);
    this.unlisten = listen((message) => {
      if (!this.state.link_id || message.link !== this.state.link_id || message.from === this) return;
      if (message.camera !== undefined) this.setCamera(message.camera, null, false);
      if (message.speed !== undefined) this.apply("speed", message.speed);
      if (message.playing !== undefined) {
        this.led = message.playing;
        this.apply("playing", message.playing);
      }
      if (message.time !== undefined) this.apply("frame", this.nearestFrame(message.time));
    });
  }

  /** Talk through this model object from now on. */
  attach(model: Model): void {
    this.detach();
    this.model = model;
    model.on("msg:custom", this.receive);
    for (const name of STATE_NAMES) model.on(`change:${name}`, this.changes[name]);
    model.on("comm_live_update", this.commChanged);
  }

  private detach(): void {
    this.model.off("msg:custom", this.receive);
    this.model.off("comm_live_update", this.commChanged);
    for (const name of STATE_NAMES) this.model.off(`change:${name}`, this.changes[name]);
  }

  // ---- talking to the kernel -------------------------------------------------------------------------------------

  hello(): void {
    this.send({ type: "hello" });
    this.expectAnswer();
    this.update();
    if (this.state.playing) this.startClock();
  }

  private send(message: object, buffers?: ArrayBuffer[]): void {
    try {
      this.model.send(message, undefined, buffers);
    } catch {
      this.answering = false;
      this.refresh();
    }
  }

  private expectAnswer(): void {
    if (this.owed) return;
    this.owed = setTimeout(() => {
      this.owed = null;
      this.answering = false;
      this.outstanding.clear();
      // A want may have been replaced by another page's: ask again while the frame shown depends on it.
      if (!this.cache.has(this.key())) this.ask();
      this.refresh();
      // A kernel that was only slow must not count as gone for good.
      setTimeout(() => {
        if (this.closed || this.answering) return;
        this.send({ type: "hello" });
        this.expectAnswer();
      }, PATIENCE_MS);
    }, PATIENCE_MS);
  }

  private answered(): void {
    if (this.owed) clearTimeout(this.owed);
    this.owed = null;
    if (this.answering) return;
    this.answering = true;
    this.refresh();
  }

  /** The connection was cut or made, which of the two the model does not tell: ask. */
  private readonly commChanged = (): void => {
    this.send({ type: "hello" });
    this.expectAnswer();
  };

  private readonly receive = (message: Incoming, buffers: (ArrayBuffer | ArrayBufferView)[]): void => {
    this.answered();
    if (message.type === "frame") {
      const key = frameKey(message.sample, message.frame);
      this.outstanding.delete(key);
      try {
        const frame = readFrame(message, buffers);
        this.bytesPerFrame = Math.max(this.bytesPerFrame, frameBytes(frame));
        this.cache.put(frame);
      } catch (error) {
        this.failed.set(key, (error as Error).message);
      }
      if (key === this.key()) {
        this.update();
        this.refresh();
      } else this.ask();
      if (this.outstanding.size) this.expectAnswer();
    } else if (message.type === "error") {
      if (message.frame === undefined) return this.complain(message.text);
      const key = frameKey(message.sample ?? 0, message.frame);
      this.failed.set(key, message.text);
      this.outstanding.delete(key);
      this.ask();
      this.refresh();
    } else if (message.type === "snapshot") {
      void this.answerSnapshot(message.id);
    } else if (message.type === "bye") {
      this.answering = false;
      this.refresh();
    }
  };

  private async answerSnapshot(id: unknown): Promise<void> {
    for (const listener of this.listeners) {
      const blob = await (listener as Listener & { snapshot?: () => Promise<Blob> }).snapshot?.();
      if (!blob) continue;
      this.send({ type: "snapshot", id }, [await blob.arrayBuffer()]);
      return;
    }
  }

  /** Ask for what is missing around the cursor: at once if it is the cursor's own frame, else when few are under way. */
  private ask(): void {
    const { frame, sample, loop, playing } = this.state;
    const missingNow = !this.cache.has(this.key());
    if (!missingNow && this.outstanding.size > BATCH / 2) return;
    const fits = this.bytesPerFrame ? this.cache.capacity(this.bytesPerFrame) : 4 * BATCH;
    // Two thirds of the cache go to frames to come: the rest keeps where one has been.
    const reach = Math.min(this.meta.n_frames - 1, Math.max(BATCH, Math.floor((2 * fits) / 3)), REACH, fits - 1);
    const wanted: [number, number][] = [];
    for (const f of around(frame, this.direction, this.meta.n_frames, reach, loop || playing)) {
      const key = frameKey(sample, f);
      if (this.cache.has(key) || this.failed.has(key)) continue;
      wanted.push([sample, f]);
      if (wanted.length === BATCH) break;
    }
    const fresh = wanted.filter(([s, f]) => !this.outstanding.has(frameKey(s, f)));
    if (!fresh.length) return;
    this.outstanding.clear();
    for (const [s, f] of wanted) this.outstanding.add(frameKey(s, f));
    this.send({ type: "want", epoch: ++this.epoch, frames: wanted, fine: !this.interacting, page: this.page });
    this.expectAnswer();
  }

  // ---- state -----------------------------------------------------------------------------------------------------

  /** Set a part of the state from an input made now; the kernel hears of it a little later. */
  set<K extends keyof State>(name: K, value: State[K], interacting = false): void {
    this.inputAt = performance.now();
    this.interacting = interacting;
    if (this.settling) clearTimeout(this.settling);
    if (interacting) this.settling = setTimeout(() => this.settle(), SETTLE_MS);
    this.apply(name, value);
    if (name === "frame") this.link({ time: this.meta.times[this.state.frame] });
    if (name === "speed") this.link({ speed: this.state.speed });
    if (name === "playing") {
      this.led = false;
      this.link({ playing: this.state.playing });
      if (this.state.playing) this.startClock();
    }
  }

  /** True while the time or a level is on the move. */
  get moving(): boolean {
    return this.interacting || this.state.playing;
  }

  /** The input is over: draw in full. */
  settle(): void {
    if (this.settling) clearTimeout(this.settling);
    this.settling = null;
    this.interacting = false;
    if (this.drawn?.coarse) {
      this.submitted = "";
      this.inputAt = null;
      const frame = this.cache.peek(this.key());
      if (frame && frame.stride > 1) {
        this.outstanding.clear();
        this.send({ type: "want", epoch: ++this.epoch, frames: [[frame.sample, frame.frame]], fine: true, page: this.page });
      }
      this.update();
    }
  }

  private apply<K extends keyof State>(name: K, value: State[K], save = true): void {
    if (name === "frame") {
      const frame = Math.min(this.meta.n_frames - 1, Math.max(0, Math.round(value as number)));
      if (frame === this.state.frame) return;
      const step = frame - this.state.frame;
      // A jump from the last frame to the first is still forwards.
      this.direction = Math.abs(step) > this.meta.n_frames / 2 ? (step > 0 ? -1 : 1) : step > 0 ? 1 : -1;
      value = frame as State[K];
    }
    this.state[name] = value;
    if (save) this.save(name);
    if (name === "cache_mb") this.cache.resize(this.state.cache_mb * 2 ** 20);
    if (name === "playing" && !this.state.playing) this.stopClock();
    this.update();
    this.refresh();
  }

  private save(name: keyof State): void {
    this.unsaved.add(name);
    this.saving ??= setTimeout(() => this.flush(), SAVE_MS);
  }

  private flush(): void {
    if (this.saving) clearTimeout(this.saving);
    this.saving = null;
    if (!this.unsaved.size) return;
    const names = [...this.unsaved];
    this.unsaved.clear();
    try {
      for (const name of names) this.model.set(name, this.state[name]);
      this.model.save_changes();
    } catch {
      this.answering = false;
      this.refresh();
    }
  }

  /** Changes that come from Python, or from ourselves by way of the model. */
  private readonly changes = Object.fromEntries(
    STATE_NAMES.map((name) => [
      name,
      (): void => {
        const value = this.model.get(name) as never;
        if (this.unsaved.has(name) || value === undefined || JSON.stringify(value) === JSON.stringify(this.state[name])) return;
        this.inputAt = performance.now();
        if (name === "camera") {
          this.setCamera(value, null, true, false);
          return;
        }
        this.apply(name, value, false);
        if (name === "frame") this.link({ time: this.meta.times[this.state.frame] });
        if (name === "playing" && this.state.playing) this.startClock();
      },
    ]),
  ) as Record<keyof State, () => void>;

  setCamera(camera: CameraState | null, by: Listener | null, share = true, save = true): void {
    this.state.camera = camera;
    if (save) this.save("camera");
    for (const listener of this.listeners) if (listener !== by) listener.aim(camera);
    if (share) this.link({ camera });
  }

  private link(message: { camera?: CameraState | null; time?: number; playing?: boolean; speed?: number }): void {
    if (this.state.link_id) tell({ link: this.state.link_id, from: this, ...message });
  }

  private nearestFrame(time: number): number {
    const { times } = this.meta;
    let best = 0;
    for (let i = 1; i < times.length; i++) if (Math.abs(times[i]! - time) < Math.abs(times[best]! - time)) best = i;
    return best;
  }

  // ---- playing ---------------------------------------------------------------------------------------------------

  private startClock(): void {
    if (this.clock || this.led) return;
    const clock = { raf: 0, last: performance.now(), debt: 0 };
    this.clock = clock;
    const tick = (): void => {
      if (!this.state.playing || this.closed) return;
      const now = performance.now();
      const { drawn, state } = this;
      // Wait for a frame that is not on the screen yet instead of running away from it.
      const shown = drawn?.frame === state.frame && drawn.sample === state.sample;
      clock.debt = Math.min(clock.debt + ((now - clock.last) / 1000) * state.speed, shown ? 4 : 1);
      clock.last = now;
      if (shown && clock.debt >= 1) {
        const steps = Math.floor(clock.debt);
        clock.debt -= steps;
        const next = state.frame + steps;
        if (next < this.meta.n_frames || state.loop) this.set("frame", next % this.meta.n_frames, true);
        else {
          this.set("frame", this.meta.n_frames - 1);
          this.set("playing", false);
          return;
        }
      }
      clock.raf = requestAnimationFrame(tick);
    };
    clock.raf = requestAnimationFrame(tick);
  }

  private stopClock(): void {
    if (this.clock) cancelAnimationFrame(this.clock.raf);
    this.clock = null;
    this.led = false;
  }

  // ---- from frame to picture -------------------------------------------------------------------------------------

  key(): string {
    return frameKey(this.state.sample, this.state.frame);
  }

  /** Order the surfaces of the state as it is now, unless that is what was ordered last. */
  private update(): void {
    if (this.closed) return;
    const { state, meta } = this;
    const frame = this.cache.get(this.key());
    if (frame) {
      const even = frame.shape.every((n) => n % 2 === 0);
      const stride = this.interacting && even && Math.min(...frame.shape) >= this.coarseFrom ? 2 : 1;
      // Whole grid points: an interpolated shift would smooth the field.
      const steps = frame.shape.map((n, i) => Math.round((state.shift[i] ?? 0) * n / stride) * stride) as Vec3;
      const shift = steps.map((s, i) => s / frame.shape[i]!) as Vec3;
      const job = {
        code: frame.code,
        key: this.key() + (frame.stride > 1 ? "~" : ""),
        shape: frame.shape,
        mode: this.electronMode() ? ("electrons" as const) : ("value" as const),
        targets: this.electronMode() ? state.fractions : state.levels,
        signed: meta.signed,
        shift: steps,
        stride,
        cell: meta.cell,
        range: meta.range,
      };
      const wish = JSON.stringify(job);
      if (this.submitted !== wish) {
        this.submitted = wish;
        const id = ++this.serial;
        this.orders.set(id, { since: this.inputAt, shift });
        this.extractor.submit({ ...job, id, codes: frame.codes });
      } else if (this.drawn && !this.extractor.busy) this.paint();
    }
    this.ask();
  }

  /** True if the field integrates to electrons, so that a share of them can be enclosed. */
  hasElectrons(): boolean {
    return !this.meta.signed && this.meta.n_electrons !== null;
  }

  electronMode(): boolean {
    return this.state.level_mode === "electrons" && this.hasElectrons() && this.state.fractions.length > 0;
  }

  /** The share of the electrons at points above a level of the frame drawn. */
  shareAbove(level: number): number | null {
    if (!this.current) return null;
    if (this.ranked?.frame !== this.current) this.ranked = { frame: this.current, ranking: rank(this.current.codes, this.current.code) };
    return fractionAbove(this.ranked.ranking, level);
  }

  private accept(result: Result): void {
    if (this.closed) return;
    const order = this.orders.get(result.id);
    for (const id of [...this.orders.keys()]) if (id <= result.id) this.orders.delete(id);
    const [sample, number] = result.key.replace("~", "").split(":").map(Number) as [number, number];
    const frame = this.cache.peek(frameKey(sample, number));
    if (!frame) return;
    this.current = frame;
    this.trouble = null;
    this.drawn = {
      frame: number,
      sample,
      levels: result.levels,
      result,
      electrons: frame.electrons,
      surfaceVolume: result.lobes.reduce((sum, lobe) => sum + lobe.volume, 0),
      surfaceArea: result.lobes.reduce((sum, lobe) => sum + lobe.area, 0),
      triangles: 0,
      coarse: result.stride > 1 || frame.stride > 1,
      shift: order?.shift ?? [0, 0, 0],
      since: order?.since ?? null,
    };
    this.paint();
    this.refresh();
  }

  private current: Frame | null = null;
  private ranked: { frame: Frame; ranking: Ranking } | null = null;
  /** What the surfaces and atoms in the scene were made from. */
  private readonly painted = { skin: "", atoms: "", triangles: 0 };

  /** Put the current frame and state into the scene. */
  private paint(): void {
    const { drawn, current: frame, state, meta, picture } = this;
    if (!drawn || !frame) return;
    const { shift } = drawn;
    this.scale ??= fieldScale(frame.codes, frame.code, meta.signed);
    const first = state.slices.length || state.volume ? picture.field(frame, "first", shift, this.scale, state.colormap) : null;
    let mapped = null;
    if (state.color_by === "second" && frame.second) {
      this.secondScale ??= meta.second_range ? { window: meta.second_range, logarithmic: false } : fieldScale(frame.second, frame.code2!, hasBothSigns(frame.code2!));
      mapped = picture.field(frame, "second", shift, this.secondScale, state.colormap);
    }
    // Surfaces and atoms are the dear parts: a slice that moves must not have them uploaded anew.
    const { repeat, opacity, show_atoms, show_bonds } = state;
    const colors = drawn.result.lobes.map((lobe) => this.lobeColor(lobe));
    const skin = JSON.stringify([drawn.result.id, repeat, opacity, mapped ? state.colormap : colors]);
    if (skin !== this.painted.skin) {
      this.painted.skin = skin;
      this.painted.triangles = picture.drawSurfaces(drawn.result.lobes, repeat, colors, opacity, mapped);
    }
    drawn.triangles = this.painted.triangles;
    const atoms = JSON.stringify([frame.sample, frame.frame, shift, repeat, show_atoms, show_bonds]);
    if (atoms !== this.painted.atoms) {
      this.painted.atoms = atoms;
      picture.drawAtoms(frame, shift, repeat, show_atoms, show_bonds);
    }
    picture.drawCell(state.repeat, state.show_cell, this.lineColor);
    picture.drawSlices(state.slices, state.repeat, first);
    picture.drawVolume(state.repeat, state.volume ? first : null, 1, meta.signed, Math.max(...frame.shape));
    this.draw();
  }

  repaint(): void {
    this.paint();
  }

  lobeColor(lobe: Pick<Lobe, "target" | "sign">): string {
    return this.levelColor(lobe.target, lobe.sign);
  }

  /** Colour of a level's surface; in a signed field every level has two colours, positive and negative. */
  levelColor(target: number, sign: 1 | -1 = 1): string {
    const { colors } = this.state;
    if (this.meta.signed) {
      const mirrored = !this.state.levels.some((x) => x < 0);
      const index = mirrored ? 2 * target + (sign < 0 ? 1 : 0) : target;
      return colors[index] ?? (sign < 0 ? "#d55e00" : "#0072b2");
    }
    if (colors[target]) return colors[target];
    const targets = this.drawn?.levels ?? [];
    if (targets.length < 2) return SINGLE_COLOR;
    // Light outside, dark inside.
    const rank = targets.filter((x) => x < targets[target]!).length / (targets.length - 1);
    return `rgb(${colorAt("density", 0.3 + 0.7 * rank).join()})`;
  }

  /** The colour bar of what is coloured by value now, or null. */
  colorbar(): { gradient: string; low: number; high: number; label: string } | null {
    const { state, meta } = this;
    const byFirst = state.volume || state.slices.length > 0;
    const scale = byFirst ? this.scale : state.color_by === "second" ? this.secondScale : null;
    if (!scale) return null;
    const label = byFirst ? meta.units : (meta.second_name ?? "second field");
    return { gradient: cssGradient(state.colormap), low: scale.window[0], high: scale.window[1], label };
  }

  draw(): void {
    for (const listener of this.listeners) listener.draw();
  }

  private refresh(): void {
    for (const listener of this.listeners) listener.refresh();
  }

  complain(text: string): void {
    this.trouble = text;
    this.refresh();
  }

  /** Why the frame wanted is not on the screen, or null. */
  get error(): string | null {
    return this.failed.get(this.key()) ?? this.trouble;
  }

  close(): void {
    this.flush();
    this.closed = true;
    this.send({ type: "bye" });
    this.stopClock();
    if (this.owed) clearTimeout(this.owed);
    if (this.settling) clearTimeout(this.settling);
    this.unlisten();
    this.detach();
    this.extractor.dispose();
    this.picture.dispose();
    this.cache.clear();
  }
}

/** The first and the last code are the frame's extremes. */
function hasBothSigns(code: Code): boolean {
  return valueOf(0, code) < 0 && valueOf(CODES - 1, code) > 0;
}

/** Colours of a field: from its first shown frame, without the outermost points; logarithmic if it spans decades. */
function fieldScale(codes: Uint16Array, code: Code, signed: boolean): FieldScale {
  const { values, counts } = rank(codes, code);
  const at = (share: number): number => {
    let seen = 0;
    for (let i = 0; i < values.length; i++) {
      seen += counts[i]!;
      if (seen >= share * codes.length) return values[i]!;
    }
    return values[values.length - 1]!;
  };
  const [high, low] = [at(0.002), at(0.995)];
  if (signed) {
    const most = Math.max(Math.abs(high), Math.abs(low)) || 1;
    return { window: [-most, most], logarithmic: false };
  }
  if (low > 0 && high / low > 60) return { window: [low, high], logarithmic: true };
  return { window: [low, high > low ? high : low + 1], logarithmic: false };
}
