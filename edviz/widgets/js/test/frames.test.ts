/** The frame cache's bound, the order of prefetching, and messages that do not fit. */

import { describe, expect, it } from "vitest";
import { around, frameBytes, FrameCache } from "../src/frames";
import { type Frame, readFrame } from "../src/protocol";

function frame(number: number, points = 1000): Frame {
  return { sample: 0, frame: number, shape: [points, 1, 1], stride: 1, min: 0, max: 1, electrons: null, codes: new Uint16Array(points), code: { offset: 0, step: 1, knee: 0 }, positions: new Float32Array(0), second: null };
}

describe("cache", () => {
  it("stays within its bound and forgets what was used longest ago", () => {
    const size = frameBytes(frame(0));
    const cache = new FrameCache(3 * size);
    for (const n of [0, 1, 2]) cache.put(frame(n));
    cache.get("0:0");
    cache.put(frame(3));
    expect([0, 1, 2, 3].map((n) => cache.has(`0:${n}`))).toEqual([true, false, true, true]);
    expect(cache.bytes).toBe(3 * size);
    cache.resize(size);
    expect(cache.size).toBe(1);
    expect(cache.has("0:3")).toBe(true);
  });

  it("replaces a frame without counting it twice, and keeps one frame that is larger than the bound", () => {
    const cache = new FrameCache(100);
    cache.put(frame(0));
    cache.put(frame(0, 2000));
    expect(cache.size).toBe(1);
    expect(cache.bytes).toBe(frameBytes(frame(0, 2000)));
    cache.put(frame(1));
    expect([cache.has("0:0"), cache.has("0:1")]).toEqual([false, true]);
  });
});

describe("prefetching", () => {
  it("looks three ahead for every one behind, in the direction of motion", () => {
    expect(around(50, 1, 100, 8, false)).toEqual([50, 51, 52, 53, 49, 54, 55, 56, 48]);
    expect(around(50, -1, 100, 4, false)).toEqual([50, 49, 48, 47, 51]);
  });

  it("stops at the ends, or goes round", () => {
    expect(around(98, 1, 100, 5, false)).toEqual([98, 99, 97, 96, 95, 94]);
    expect(around(98, 1, 100, 4, true)).toEqual([98, 99, 0, 1, 97]);
    expect(around(0, 1, 3, 50, true).sort()).toEqual([0, 1, 2]);
    expect(around(0, 1, 1, 8, true)).toEqual([0]);
  });
});

describe("frame messages", () => {
  const head = { type: "frame" as const, sample: 0, frame: 4, shape: [2, 2, 2] as [number, number, number], stride: 1, min: 0, max: 1, electrons: 3, code: { offset: 0, step: 1, knee: 0 } };

  it("are read from views at odd places in a larger buffer", () => {
    const bytes = new Uint8Array(64);
    new DataView(bytes.buffer).setUint16(3, 0x3c00, true);
    const volume = new DataView(bytes.buffer, 3, 16);
    const read = readFrame(head, [volume, new DataView(bytes.buffer, 21, 24)]);
    expect(read.codes[0]).toBe(0x3c00);
    expect(read.positions).toHaveLength(6);
    expect(read.second).toBeNull();
  });

  it("bring a second field only with what its codes stand for", () => {
    const volume = new ArrayBuffer(16);
    expect(readFrame(head, [volume, new ArrayBuffer(0), volume]).second).toBeNull();
    expect(readFrame({ ...head, code2: head.code }, [volume, new ArrayBuffer(0), volume]).second).toHaveLength(8);
    expect(readFrame({ ...head, code2: head.code }, [volume, new ArrayBuffer(0), new ArrayBuffer(8)]).second).toBeNull();
  });

  it("of the wrong size are refused with a sentence", () => {
    expect(() => readFrame(head, [new ArrayBuffer(14)])).toThrow("frame 4 has 7 values, its shape 2 x 2 x 2 needs 8");
  });
});
