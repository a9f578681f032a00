/** Electron levels against a sort-based oracle, histograms against direct counting. */

import { describe, expect, it } from "vitest";
import { decode } from "../src/codes";
import { fractionAbove, histogram, levelOfFraction, rank } from "../src/statistics";

/** Even codes from 0.001 to 0.66. */
const CODE = { offset: 0.001, step: 1e-5, knee: 0 };

function lognormal(n: number, seed: number): Uint16Array {
  let state = seed;
  const random = (): number => {
    state = (state * 1664525 + 1013904223) % 4294967296;
    return (state + 0.5) / 4294967296;
  };
  return Uint16Array.from({ length: n }, () =>
    Math.round((0.04 * Math.exp(0.6 * Math.sqrt(-2 * Math.log(random())) * Math.cos(2 * Math.PI * random())) - CODE.offset) / CODE.step),
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

describe("electrons enclosed", () => {
  it.each([0.01, 0.1, 0.37, 0.5, 0.8, 0.95, 0.999])("the level of fraction %f is that of sorting", (fraction) => {
    const codes = lognormal(4096, 7);
    expect(levelOfFraction(rank(codes, CODE), fraction)).toBeCloseTo(oracle([...decode(codes, CODE)], fraction), 9);
  });

  it("many points of one value", () => {
    const code = { offset: 0.25, step: 0.25, knee: 0 };
    const codes = Uint16Array.from([...Array(50).fill(3), ...Array(50).fill(0)]);
    for (const fraction of [0.1, 0.79, 0.8, 0.81, 0.99, 1])
      expect(levelOfFraction(rank(codes, code), fraction)).toBe(oracle([...decode(codes, code)], fraction));
    expect(levelOfFraction(rank(codes.fill(3), code), 0.5)).toBeNaN();
  });

  it("is inverted by fractionAbove", () => {
    const ranking = rank(lognormal(20000, 3), CODE);
    for (const fraction of [0.05, 0.3, 0.6, 0.9])
      expect(fractionAbove(ranking, levelOfFraction(ranking, fraction))).toBeCloseTo(fraction, 3);
    expect(fractionAbove(ranking, 1e9)).toBe(0);
    expect(fractionAbove(ranking, 0)).toBe(1);
  });
});

describe("histogram", () => {
  it("counts every point once, where direct counting puts it", () => {
    const codes = lognormal(5000, 5);
    const values = decode(codes, CODE);
    const made = histogram(rank(codes, CODE), [0.01, 0.2], 40);
    expect(made.scale).toBe("log10");
    const direct = new Array(40).fill(0) as number[];
    for (const x of values) direct[Math.min(39, Math.max(0, Math.floor(((Math.log10(x) + 2) / (Math.log10(0.2) + 2)) * 40)))]!++;
    expect([...made.counts]).toEqual(direct);
  });

  it("is linear for a field of both signs", () => {
    const made = histogram(rank(Uint16Array.from([0, 1, 2, 3, 3, 4]), { offset: -1, step: 0.5, knee: 0 }), [-1, 1], 4);
    expect(made.scale).toBe("linear");
    expect([...made.counts]).toEqual([1, 1, 1, 3]);
  });
});

it("values ranked are those decoded, also where codes are not even", () => {
  const codes = lognormal(3000, 13);
  const code = { offset: -0.5, step: 1e-4, knee: 0.02 };
  const { values, counts, enclosed } = rank(codes, code);
  const decoded = decode(codes, code).sort().reverse();
  expect([...values].flatMap((x, i) => Array(counts[i]!).fill(x) as number[])).toEqual([...decoded]);
  expect(enclosed.at(-1)! / decoded.reduce((sum, x) => sum + x, 0)).toBeCloseTo(1, 6);
});
