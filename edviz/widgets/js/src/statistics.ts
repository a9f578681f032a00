/**
 * What one frame's values say as a whole: extremes, histogram, and the level that encloses a share of the electrons.
 *
 * A float16 volume has at most 65,536 different values, so one count of its codes answers all three exactly, without
 * sorting the points.
 */

import { halfTable } from "./half";

/** Distinct values of a frame from the largest down. */
export interface Ranking {
  values: Float32Array;
  /** How many points have each value. */
  counts: Uint32Array;
  /** Sum of the values down to and including each, in the field's unit times grid points. */
  enclosed: Float64Array;
}

export interface Histogram {
  /** "log10" if all values are positive, else "linear". */
  scale: "log10" | "linear";
  /** Ends of the axis, in the scale's coordinate. */
  from: number;
  to: number;
  counts: Uint32Array;
}

/** Rank the values of a volume given by its half-precision codes, each times a scale. */
export function rank(codes: Uint16Array, scale = 1): Ranking {
  const tally = new Uint32Array(65536);
  for (let i = 0; i < codes.length; i++) tally[codes[i]!]!++;
  const table = halfTable();
  const values: number[] = [];
  const counts: number[] = [];
  // Positive codes grow with the value, negative ones fall with it; -0 is 0.
  tally[0]! += tally[0x8000]!;
  for (let code = 0x7bff; code >= 0; code--) {
    if (tally[code]) {
      values.push(scale * table[code]!);
      counts.push(tally[code]!);
    }
  }
  for (let code = 0x8001; code <= 0xfbff; code++) {
    if (tally[code]) {
      values.push(scale * table[code]!);
      counts.push(tally[code]!);
    }
  }
  const enclosed = new Float64Array(values.length);
  let sum = 0;
  for (let i = 0; i < values.length; i++) {
    sum += values[i]! * counts[i]!;
    enclosed[i] = sum;
  }
  return { values: Float32Array.from(values), counts: Uint32Array.from(counts), enclosed };
}

/**
 * Level whose isosurface encloses a fraction of the electrons: points are taken from the densest down until they hold
 * that share of the sum; the level lies half-way between the last one taken and the next.
 *
 * The same definition as `edviz.plotting.surfaces.level_from_fraction`. NaN for a uniform field.
 */
export function levelOfFraction(ranking: Ranking, fraction: number): number {
  const { values, counts, enclosed } = ranking;
  const last = values.length - 1;
  if (last < 1) return NaN;
  const target = fraction * enclosed[last]!;
  let low = 0;
  let high = last;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (enclosed[middle]! >= target) high = middle;
    else low = middle + 1;
  }
  const value = values[low]!;
  const before = low ? enclosed[low - 1]! : 0;
  const taken = value > 0 ? Math.max(1, Math.ceil((target - before) / value)) : counts[low]!;
  if (taken < counts[low]!) return value;
  if (low === last) return counts[last]! > 1 ? value : 0.5 * (values[last - 1]! + value);
  return 0.5 * (value + values[low + 1]!);
}

/** Share of the electrons at points above a level. */
export function fractionAbove(ranking: Ranking, level: number): number {
  const { values, enclosed } = ranking;
  let low = 0;
  let high = values.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (values[middle]! > level) low = middle + 1;
    else high = middle;
  }
  return low ? enclosed[low - 1]! / enclosed[values.length - 1]! : 0;
}

/** Histogram over a range that stays the same from frame to frame, so that it can be seen to move. */
export function histogram(ranking: Ranking, range: readonly [number, number], bins = 120): Histogram {
  const scale = range[0] > 0 ? "log10" : "linear";
  const at = scale === "log10" ? Math.log10 : (x: number): number => x;
  const from = at(range[0]);
  const to = at(range[1]) > from ? at(range[1]) : from + 1;
  const counts = new Uint32Array(bins);
  for (let i = 0; i < ranking.values.length; i++) {
    const x = ranking.values[i]!;
    const bin = scale === "log10" && x <= 0 ? 0 : Math.floor(((at(x) - from) / (to - from)) * bins);
    counts[Math.min(bins - 1, Math.max(0, bin))]! += ranking.counts[i]!;
  }
  return { scale, from, to, counts };
}
