/** Electron levels against a sort-based oracle, histograms against direct counting, float16 against its definition. */

import { describe, expect, it } from "vitest";
import { decodeHalf, encodeHalf, halfToNumber } from "../src/half";
import { fractionAbove, histogram, levelOfFraction, rank } from "../src/statistics";

function lognormal(n: number, seed: number): Uint16Array {
  let state = seed;
  const random = (): number => {
    state = (state * 1664525 + 1013904223) % 4294967296;
    return (state + 0.5) / 4294967296;
  };
  return Uint16Array.from({ length: n }, () =>
    encodeHalf(0.04 * Math.exp(0.6 * Math.sqrt(-2 * Math.log(random())) * Math.cos(2 * Math.PI * random()))),
  );
}

/** As edviz.plotting.surfaces.level_from_fraction is written: sort, cumulate, search. */
function oracle(values: number[], fraction: number): number {
  const ordered = [...values].sort((a, b) => b - a);
  const enclosed: number[] = [];
  ordered.reduce((sum, x, i) => (enclosed[i] = sum + x), 0);
  let last = enclosed.findIndex((x) => x >= fraction * enclosed[enclosed.length - 1]!);
  if (last < 0) last = ordered.length - 1;
  last = Math.min(last, ordered.length - 2);
  return 0.5 * (ordered[last]! + ordered[last + 1]!);
}

describe("float16", () => {
  it("known codes", () => {
    expect(halfToNumber(0x0001)).toBe(2 ** -24);
    expect(halfToNumber(0x03ff)).toBe(1023 * 2 ** -24);
    expect(halfToNumber(0x0400)).toBe(2 ** -14);
    expect(halfToNumber(0x3c00)).toBe(1);
    expect(halfToNumber(0x3555)).toBe(0.333251953125);
    expect(halfToNumber(0xc000)).toBe(-2);
    expect(halfToNumber(0x7bff)).toBe(65504);
    expect(halfToNumber(0xfc00)).toBe(-Infinity);
    expect(halfToNumber(0x7e00)).toBeNaN();
  });

  it("every finite code survives decoding and encoding", () => {
    const codes = Uint16Array.from({ length: 65536 }, (_, i) => i).filter((code) => ((code >> 10) & 31) !== 31);
    const values = decodeHalf(codes);
    codes.forEach((code, i) => {
      if (encodeHalf(values[i]!) !== code) throw new Error(`code ${code.toString(16)} became ${values[i]}`);
    });
    expect(codes.length).toBe(63488);
  });
});

describe("electrons enclosed", () => {
  it.each([0.01, 0.1, 0.37, 0.5, 0.8, 0.95, 0.999])("the level of fraction %f is that of sorting", (fraction) => {
    const codes = lognormal(4096, 7);
    expect(levelOfFraction(rank(codes), fraction)).toBeCloseTo(oracle([...decodeHalf(codes)], fraction), 9);
  });

  it("many points of one value", () => {
    const codes = Uint16Array.from([...Array(50).fill(encodeHalf(1)), ...Array(50).fill(encodeHalf(0.25))]);
    for (const fraction of [0.1, 0.79, 0.8, 0.81, 0.99, 1])
      expect(levelOfFraction(rank(codes), fraction)).toBe(oracle([...decodeHalf(codes)], fraction));
    expect(levelOfFraction(rank(codes.fill(encodeHalf(1))), 0.5)).toBeNaN();
  });

  it("is inverted by fractionAbove", () => {
    const ranking = rank(lognormal(20000, 3));
    for (const fraction of [0.05, 0.3, 0.6, 0.9])
      expect(fractionAbove(ranking, levelOfFraction(ranking, fraction))).toBeCloseTo(fraction, 3);
    expect(fractionAbove(ranking, 1e9)).toBe(0);
    expect(fractionAbove(ranking, 0)).toBe(1);
  });
});

describe("histogram", () => {
  it("counts every point once, where direct counting puts it", () => {
    const codes = lognormal(5000, 5);
    const values = decodeHalf(codes);
    const made = histogram(rank(codes), [0.01, 0.2], 40);
    expect(made.scale).toBe("log10");
    const direct = new Array(40).fill(0) as number[];
    for (const x of values) direct[Math.min(39, Math.max(0, Math.floor(((Math.log10(x) + 2) / (Math.log10(0.2) + 2)) * 40)))]!++;
    expect([...made.counts]).toEqual(direct);
  });

  it("is linear for a field of both signs", () => {
    const codes = Uint16Array.from([-1, -0.5, 0, 0.5, 0.5, 1].map(encodeHalf));
    const made = histogram(rank(codes), [-1, 1], 4);
    expect(made.scale).toBe("linear");
    expect([...made.counts]).toEqual([1, 1, 1, 3]);
  });
});

it("a scale multiplies values, levels and electrons alike", () => {
  const codes = lognormal(3000, 13);
  const [plain, scaled] = [rank(codes), rank(codes, 2 ** -12)];
  expect(levelOfFraction(scaled, 0.5)).toBe(levelOfFraction(plain, 0.5) * 2 ** -12);
  expect(scaled.enclosed.at(-1)! / plain.enclosed.at(-1)!).toBeCloseTo(2 ** -12, 12);
  expect(decodeHalf(codes, 0.5)[7]).toBe(0.5 * decodeHalf(codes)[7]!);
});
