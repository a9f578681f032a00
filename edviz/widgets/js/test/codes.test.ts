/** Decoding against the definition, and codes made by the kernel against the values that it had. */

import { describe, expect, it } from "vitest";
import { type Code, CODES, decode, valueOf } from "../src/codes";

describe("codes", () => {
  const every = Uint16Array.from({ length: CODES }, (_, i) => i);

  it.each<[string, Code]>([
    ["even", { offset: -0.25, step: 2e-5, knee: 0 }],
    ["even in asinh", { offset: -3, step: 2e-4, knee: 0.05 }],
  ])("%s: all of them are what the definition says, and grow", (_, code) => {
    const values = decode(every, code);
    for (const c of [0, 1, 777, 32768, 65535]) {
      const x = code.offset + code.step * c;
      const value = code.knee ? code.knee * Math.sinh(x) : x;
      expect(valueOf(c, code)).toBe(value);
      expect(Math.abs(values[c]! / value - 1)).toBeLessThan(2 ** -23);
    }
    for (let c = 1; c < CODES; c++) if (!(values[c]! >= values[c - 1]!)) throw new Error(`code ${c} falls`);
  });

  it("a constant field is its constant", () => {
    expect([...decode(new Uint16Array(3), { offset: 0.1, step: 0, knee: 0 })]).toEqual(Array(3).fill(Math.fround(0.1)));
  });

  it("made by edviz.widgets.encoding", () => {
    // encode([-0.5, 0.001, 0.002, 0.003, 0.004, 3000.0, ...]) with 94 times 0.001 behind
    const field = [-0.5, 0.001, 0.002, 0.003, 0.004, 3000];
    const code = { offset: -1.168830614651137, step: 0.00016686713876403288, knee: 0.3439384463138725 };
    const seen = decode(Uint16Array.from([0, 7022, 7039, 7057, 7074, 65535]), code);
    field.forEach((x, i) => expect(Math.abs(seen[i]! - x)).toBeLessThanOrEqual(0.51 * code.step * Math.hypot(x, code.knee)));
    expect([seen[0], seen[5]]).toEqual([-0.5, 3000]);
    // encode([-1.0, 0.25, 2.0])
    const even = decode(Uint16Array.from([0, 27306, 65535]), { offset: -1, step: 4.5777065690089265e-5, knee: 0 });
    expect([even[0], even[2]]).toEqual([-1, 2]);
    expect(even[1]).toBeCloseTo(0.25, 4);
  });
});
