/** One job of the worker: a frame's codes and what is asked of them -> surfaces, resolved levels, statistics. */

import type { Cell, Vec3 } from "./cell";
import { type Code, decode } from "./codes";
import { extractSurface, pad, type PaddedField, type Surface } from "./isosurface";
import { fractionAbove, type Histogram, histogram, levelOfFraction, rank, type Ranking } from "./statistics";

export interface Job {
  id: number;
  key: string;
  /** Left out if the worker has the frame already. */
  codes?: Uint16Array;
  /** What the codes stand for. */
  code: Code;
  shape: Vec3;
  mode: "value" | "electrons";
  /** Levels, or fractions of electrons. */
  targets: number[];
  signed: boolean;
  /** In grid points. */
  shift: Vec3;
  stride: number;
  cell: Cell;
  range: [number, number];
}

export interface Lobe extends Surface {
  /** Which of the job's targets it belongs to. */
  target: number;
  sign: 1 | -1;
  level: number;
}

export interface Result {
  id: number;
  key: string;
  lobes: Lobe[];
  /** The level of each target. */
  levels: number[];
  /** The share of the electrons at points above each level. */
  shares: number[];
  histogram: Histogram;
  stride: number;
  /** Milliseconds in the worker. */
  elapsed: number;
}

/** Frames that a worker keeps; the page mirrors this number to know which codes it need not send again. */
export const KEPT = 3;

interface Known {
  values: Float32Array;
  ranking: Ranking;
  histogram: Histogram;
  padded: Map<string, PaddedField>;
}

/** Keeps the last few frames decoded, so that a change of level costs only the surface. */
export class Extraction {
  private readonly known = new Map<string, Known>();

  run(job: Job): Result {
    const begin = performance.now();
    const frame = this.frame(job);
    const where = `${job.shift.join()}/${job.stride}`;
    let field = frame.padded.get(where);
    if (!field) {
      field = pad(frame.values, job.shape, job.shift, job.stride);
      frame.padded.clear();
      frame.padded.set(where, field);
    }
    const levels =
      job.mode === "electrons" ? job.targets.map((x) => levelOfFraction(frame.ranking, x)) : [...job.targets];
    const lobes: Lobe[] = [];
    for (const { target, level, sign } of lobesOf(levels, job.signed)) {
      if (!Number.isFinite(level)) continue;
      lobes.push({ target, level, sign, ...extractSurface(field, level, job.cell, sign) });
    }
    const shares = levels.map((level) => fractionAbove(frame.ranking, level));
    return { id: job.id, key: job.key, lobes, levels, shares, histogram: frame.histogram, stride: job.stride, elapsed: performance.now() - begin };
  }

  private frame(job: Job): Known {
    let frame = this.known.get(job.key);
    if (job.codes) {
      const ranking = rank(job.codes, job.code);
      frame = { values: decode(job.codes, job.code), ranking, histogram: histogram(ranking, job.range), padded: new Map() };
    }
    if (!frame) throw new Error(`frame ${job.key} was never sent to the worker`);
    this.known.delete(job.key);
    this.known.set(job.key, frame);
    while (this.known.size > KEPT) this.known.delete(this.known.keys().next().value as string);
    return frame;
  }
}

/**
 * Which surfaces a list of levels means. A field of one sign has one surface a level, the region above it inside. A
 * signed field has two a level, at +level and -level; if a negative level is given, every level means just itself.
 */
export function lobesOf(levels: number[], signed: boolean): { target: number; level: number; sign: 1 | -1 }[] {
  if (!signed) return levels.map((level, target) => ({ target, level, sign: 1 }));
  if (levels.some((x) => x < 0)) return levels.map((level, target) => ({ target, level, sign: level < 0 ? -1 : 1 }));
  return levels.flatMap((level, target) => [
    { target, level, sign: 1 as const },
    { target, level: -level, sign: -1 as const },
  ]);
}

/** Buffers of a result that may be handed over without a copy. */
export function transferable(result: Result): Transferable[] {
  return result.lobes.flatMap((lobe) =>
    [lobe, lobe.caps].flatMap((mesh) => [mesh.positions.buffer, mesh.normals.buffer, mesh.indices.buffer] as ArrayBuffer[]),
  );
}
