/**
 * What one frame's values say as a whole: extremes, histogram, and the level that encloses a share of the electrons.
 *
 * A volume of 16-bit codes has at most 65,536 different values, so one count of its codes answers all three exactly,
 * without sorting the points.
 */

import { type Code, CODES, valueTable } from "./codes";

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

/** Rank the values of a volume given by its codes. */
export function rank(codes: Uint16Array, code: Code): Ranking {
  const tally = new Uint32Array(CODES);
  for (let i = 0; i < codes.length; i++) tally[codes[i]!]!++;
  const table = valueTable(code);
  const most = Math.min(CODES, codes.length);
  const values = new Float32Array(most);
  const counts = new Uint32Array(most);
  const enclosed = new Float64Array(most);
  let found = 0;
  let sum = 0;
  for (let c = CODES - 1; c >= 0; c--) {
    const count = tally[c]!;
    if (!count) continue;
    values[found] = table[c]!;
    counts[found] = count;
    enclosed[found] = sum += values[found]! * count;
    found++;
  }
  return { values: values.subarray(0, found), counts: counts.subarray(0, found), enclosed: enclosed.subarray(0, found) };
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
  // From the largest value down, so the bin only ever falls: one comparison a value, no logarithm.
  const floor = (bin: number): number => {
    const x = from + (bin / bins) * (to - from);
    return scale === "log10" ? 10 ** x : x;
  };
  let bin = bins - 1;
  let lowest = floor(bin);
  for (let i = 0; i < ranking.values.length; i++) {
    while (bin > 0 && ranking.values[i]! < lowest) lowest = floor(--bin);
    counts[bin]! += ranking.counts[i]!;
  }
  return { scale, from, to, counts };
}
