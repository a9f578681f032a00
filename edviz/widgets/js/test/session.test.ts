/** The session between a model and its views: requests, stale frames, silence, links. No browser, no picture. */

import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import type { Model } from "../src/model";
import { DEFAULTS, type Meta, type State } from "../src/protocol";
import { Session } from "../src/session";

const N = 8;
const META: Meta = {
  n_frames: 40,
  n_samples: 2,
  shape: [N, N, N],
  cell: [
    [4, 0, 0],
    [0, 4, 0],
    [0, 0, 4],
  ],
  origin: [0, 0, 0],
  numbers: [3],
  times: Array.from({ length: 40 }, (_, i) => 10 * i),
  kind: "valence",
  units: "e/angstrom^3",
  name: "test",
  signed: false,
  n_electrons: 3,
  range: [0.01, 1],
  periodic: true,
  has_second: false,
};

const CODE = { offset: 0.05, step: 1 / 65535, knee: 0 };

/** A ball that grows with the frame. */
function volume(frame: number): ArrayBuffer {
  const codes = new Uint16Array(N ** 3);
  for (let p = 0; p < codes.length; p++) {
    const r = Math.hypot(Math.floor(p / 64) - 4, (Math.floor(p / 8) % 8) - 4, (p % 8) - 4);
    codes[p] = Math.round(Math.exp(-((r / (1.5 + frame / 40)) ** 2)) / CODE.step);
  }
  return codes.buffer;
}

type Message = { type: string; epoch?: number; frames?: [number, number][]; fine?: boolean };

/** A model whose kernel answers only when told to. */
class FakeModel implements Model {
  sent: Message[] = [];
  readonly values: Record<string, unknown>;
  private readonly listeners = new Map<string, Set<(...args: unknown[]) => void>>();
  saves = 0;

  constructor(state: Partial<State> = {}, meta: Partial<Meta> = {}) {
    this.values = { ...DEFAULTS, levels: [0.5], ...state, meta: { ...META, ...meta } };
  }
  get(name: string): unknown {
    return this.values[name];
  }
  set(name: string, value: unknown): void {
    this.values[name] = value;
    this.emit(`change:${name}`);
  }
  save_changes(): void {
    this.saves += 1;
  }
  on(event: string, callback: (...args: never[]) => void): void {
    this.listeners.set(event, (this.listeners.get(event) ?? new Set()).add(callback as never));
  }
  off(event?: string | null, callback?: ((...args: never[]) => void) | null): void {
    this.listeners.get(event!)?.delete(callback as never);
  }
  send(content: unknown): void {
    this.sent.push(content as Message);
  }
  emit(event: string, ...args: unknown[]): void {
    for (const callback of this.listeners.get(event) ?? []) callback(...args);
  }
  get listening(): number {
    return [...this.listeners.values()].reduce((sum, set) => sum + set.size, 0);
  }
  get wants(): Message[] {
    return this.sent.filter(({ type }) => type === "want");
  }
  answer(frame: number, sample = 0): void {
    this.emit("msg:custom", { type: "frame", sample, frame, shape: [N, N, N], stride: 1, min: 0.05, max: 1.05, electrons: 3, code: CODE }, [volume(frame), new ArrayBuffer(12)]);
  }
}

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

function start(state: Partial<State> = {}, meta: Partial<Meta> = {}): { model: FakeModel; session: Session } {
  const model = new FakeModel(state, meta);
  const session = new Session(model);
  session.hello();
  return { model, session };
}

describe("requests", () => {
  it("say hello, then ask for the frame shown and its neighbours", () => {
    const { model } = start({ frame: 5 });
    expect(model.sent[0]).toEqual({ type: "hello" });
    expect(model.wants[0]).toMatchObject({ epoch: 1, fine: true });
    expect(model.wants[0]!.frames![0]).toEqual([0, 5]);
    expect(model.wants[0]!.frames).toHaveLength(8);
  });

  it("a jump replaces the wishes at once; frames held are not asked for again", () => {
    const { model, session } = start();
    for (let f = 0; f < 4; f++) model.answer(f);
    session.set("frame", 2);
    const before = model.wants.length;
    session.set("frame", 20, true);
    expect(model.wants).toHaveLength(before + 1);
    expect(model.wants.at(-1)!.frames![0]).toEqual([0, 20]);
    expect(model.wants.at(-1)!.fine).toBe(false);
    expect(model.wants.at(-1)!.epoch).toBeGreaterThan(1);
    session.set("frame", 3);
    for (const [, f] of model.wants.at(-1)!.frames!) expect([0, 1, 2, 3]).not.toContain(f);
  });

  it("draw the frame that is shown, not one that came late", () => {
    const { model, session } = start();
    model.answer(0);
    expect(session.drawn?.frame).toBe(0);
    session.set("frame", 9);
    session.set("frame", 10);
    model.answer(9);
    expect(session.drawn?.frame).toBe(0);
    model.answer(10);
    expect(session.drawn?.frame).toBe(10);
  });

  it("a frame that cannot be read is said and not asked for again", () => {
    const { model, session } = start();
    model.emit("msg:custom", { type: "error", text: "frame 0: damaged", sample: 0, frame: 0 }, []);
    expect(session.error).toBe("frame 0: damaged");
    model.answer(1);
    for (const { frames } of model.wants.slice(1)) expect(frames).not.toContainEqual([0, 0]);
    session.set("frame", 1);
    expect(session.drawn?.frame).toBe(1);
    expect(session.error).toBeNull();
  });

  it("samples have frames of their own", () => {
    const { model, session } = start();
    model.answer(0);
    session.set("sample", 1);
    expect(model.wants.at(-1)!.frames![0]).toEqual([1, 0]);
    model.answer(0, 1);
    expect(session.drawn?.sample).toBe(1);
  });

  it("the cache keeps its bound and asks for no more than it holds", () => {
    const { model, session } = start({ cache_mb: 10 / 1024 });
    for (let f = 0; f < 40; f++) model.answer(f);
    expect(session.cache.bytes).toBeLessThanOrEqual(10 * 1024);
    expect(session.cache.size).toBeGreaterThan(3);
  });
});

describe("silence", () => {
  it("is noticed after three seconds, and over with the next message", () => {
    const { model, session } = start();
    vi.advanceTimersByTime(2900);
    expect(session.answering).toBe(true);
    vi.advanceTimersByTime(200);
    expect(session.answering).toBe(false);
    model.answer(0);
    expect(session.answering).toBe(true);
    expect(session.drawn?.frame).toBe(0);
  });

  it("what is held can still be looked at", () => {
    const { model, session } = start();
    for (let f = 0; f < 8; f++) model.answer(f);
    vi.advanceTimersByTime(60000);
    session.set("frame", 4);
    expect(session.drawn?.frame).toBe(4);
    session.set("frame", 30);
    vi.advanceTimersByTime(4000);
    expect(session.answering).toBe(false);
    expect(session.drawn?.frame).toBe(4);
    session.set("frame", 5);
    expect(session.drawn?.frame).toBe(5);
  });

  it("a kernel that says bye counts as gone", () => {
    const { model, session } = start();
    model.answer(0);
    model.emit("msg:custom", { type: "bye" }, []);
    expect(session.answering).toBe(false);
  });
});

describe("state", () => {
  it("goes to Python in bundles and comes from Python at once", () => {
    const { model, session } = start();
    model.answer(0);
    for (let i = 1; i < 8; i++) {
      model.answer(i);
      session.set("frame", i, true);
    }
    expect(model.saves).toBe(0);
    vi.advanceTimersByTime(200);
    expect([model.saves, model.values.frame]).toEqual([1, 7]);
    model.set("frame", 3);
    expect([session.state.frame, session.drawn?.frame]).toEqual([3, 3]);
  });

  it("levels as fractions enclose that share in every frame", () => {
    const { model, session } = start({ level_mode: "electrons", fractions: [0.4] });
    model.answer(0);
    const first = session.drawn!.levels[0]!;
    session.set("frame", 30);
    model.answer(30);
    expect(session.drawn!.levels[0]).not.toBe(first);
    session.set("fractions", [0.7]);
    expect(session.drawn!.levels[0]).toBeLessThan(first);
  });

  it("the share above any level of the frame drawn is that of its points", () => {
    const { model, session } = start({ levels: [0.3] });
    expect(session.shareAbove(0.3)).toBeNull();
    model.answer(0);
    const points = [...new Uint16Array(volume(0))].map((code) => CODE.offset + CODE.step * code);
    const sum = (values: number[]): number => values.reduce((total, x) => total + x, 0);
    const share = sum(points.filter((x) => x > 0.3)) / sum(points);
    expect(session.drawn!.result.shares[0]).toBeCloseTo(share, 6);
    expect(session.shareAbove(0.3)).toBeCloseTo(share, 6);
    expect(session.shareAbove(2)).toBe(0);
  });

  it("a larger level encloses less", () => {
    const { model, session } = start({ levels: [0.3] });
    model.answer(0);
    const before = session.drawn!.surfaceVolume;
    session.set("levels", [0.6]);
    expect(session.drawn!.surfaceVolume).toBeGreaterThan(0);
    expect(session.drawn!.surfaceVolume).toBeLessThan(before);
  });

  it("the shift is by whole grid points", () => {
    const { model, session } = start({ shift: [0.3, 0, 0] });
    model.answer(0);
    expect(session.drawn!.shift).toEqual([0.25, 0, 0]);
  });
});

describe("links", () => {
  it("share time by femtoseconds, camera, and nothing with others", () => {
    const { session: left } = start({ link_id: "x" });
    const { session: right } = start({ link_id: "x" }, { times: META.times.map((t) => t / 2 + 100) });
    const { session: other } = start({ link_id: "y" });
    left.set("frame", 15);
    expect([right.state.frame, other.state.frame]).toEqual([10, 0]);
    const camera = { position: [1, 2, 3], target: [0, 0, 0], up: [0, 0, 1] } as State["camera"];
    right.setCamera(camera, null);
    expect([left.state.camera, other.state.camera]).toEqual([camera, null]);
    left.close();
    right.set("frame", 0);
    expect(left.state.frame).toBe(15);
  });
});

it("goes on through another view's model object when its own goes", () => {
  const { model, session } = start();
  model.answer(0);
  const other = new FakeModel();
  session.attach(other);
  expect(model.listening).toBe(0);
  session.set("frame", 20);
  expect(other.wants.at(-1)!.frames![0]).toEqual([0, 20]);
  other.answer(20);
  expect(session.drawn?.frame).toBe(20);
});

it("close() says bye, writes what is unsaved and lets go of the model", () => {
  const { model, session } = start();
  model.answer(0);
  session.set("frame", 1);
  session.close();
  expect(model.values.frame).toBe(1);
  expect(model.sent.at(-1)).toEqual({ type: "bye" });
  expect(model.listening).toBe(0);
  expect(vi.getTimerCount()).toBe(0);
});
