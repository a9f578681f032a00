/** Shapes that follow from the cell alone: its edges, bonds between atoms and their images, planes through it. */

import { type Cell, cross, dot, norm, toCartesian, type Vec3, wrap } from "./cell";
import { covalentRadius } from "./elements";

/** The translations of a repeated cell, in cells. */
export function cellOffsets(repeat: Vec3): Vec3[] {
  const out: Vec3[] = [];
  for (let i = 0; i < repeat[0]; i++)
    for (let j = 0; j < repeat[1]; j++) for (let k = 0; k < repeat[2]; k++) out.push([i, j, k]);
  return out;
}

/** End points, fractional, of all edges of the repeated cells, each once. */
export function cellEdges(repeat: Vec3): [Vec3, Vec3][] {
  const edges: [Vec3, Vec3][] = [];
  for (let axis = 0; axis < 3; axis++) {
    const [u, v] = [0, 1, 2].filter((x) => x !== axis) as [number, number];
    for (let i = 0; i <= repeat[u]!; i++) {
      for (let j = 0; j <= repeat[v]!; j++) {
        const from: Vec3 = [0, 0, 0];
        from[u] = i;
        from[v] = j;
        const to: Vec3 = [...from];
        to[axis] = repeat[axis]!;
        edges.push([from, to]);
      }
    }
  }
  return edges;
}

/** Fractional positions of atoms after a shift, in [0, 1), and once more at the opposite faces if they lie on one. */
export function drawnAtoms(fractions: readonly Vec3[], shift: Vec3): { index: number; f: Vec3 }[] {
  const out: { index: number; f: Vec3 }[] = [];
  fractions.forEach((f0, index) => {
    const f = f0.map((x, i) => {
      const y = wrap(x + shift[i]!);
      return y > 1 - 1e-4 ? y - 1 : y;
    }) as Vec3;
    const images = f.map((x) => (Math.abs(x) < 1e-4 ? [x, x + 1] : [x]));
    for (const a of images[0]!) for (const b of images[1]!) for (const c of images[2]!) out.push({ index, f: [a, b, c] });
  });
  return out;
}

export interface HalfBond {
  /** The atom whose colour it has. */
  index: number;
  from: Vec3;
  to: Vec3;
}

/**
 * Half of every bond, from each atom in the cell to the middle between it and its neighbour or the neighbour's image.
 *
 * Two atoms are bonded if they are nearer than `tolerance` times the sum of their covalent radii. Fractional
 * coordinates in and out.
 */
export function halfBonds(fractions: readonly Vec3[], numbers: readonly number[], cell: Cell, tolerance = 1.15): HalfBond[] {
  const longest = 2 * tolerance * Math.max(...numbers.map(covalentRadius), 0);
  // How many cells away an image can be: the distance between lattice planes sets it.
  const volume = Math.abs(dot(cell[0], cross(cell[1], cell[2])));
  const reach = [0, 1, 2].map((i) => {
    const spacing = volume / norm(cross(cell[(i + 1) % 3]!, cell[(i + 2) % 3]!));
    return Math.min(4, Math.ceil(longest / spacing));
  });
  const out: HalfBond[] = [];
  for (let i = 0; i < fractions.length; i++) {
    for (let j = 0; j < fractions.length; j++) {
      const limit = tolerance * (covalentRadius(numbers[i]!) + covalentRadius(numbers[j]!));
      const d0 = [0, 1, 2].map((x) => fractions[j]![x]! - fractions[i]![x]!);
      for (let x = 0; x < 3; x++) d0[x]! -= Math.round(d0[x]!);
      for (let a = -reach[0]!; a <= reach[0]!; a++) {
        for (let b = -reach[1]!; b <= reach[1]!; b++) {
          for (let c = -reach[2]!; c <= reach[2]!; c++) {
            const d = [d0[0]! + a, d0[1]! + b, d0[2]! + c];
            const length = norm(toCartesian(d, cell));
            if (length > limit || length < 0.3) continue;
            const from = fractions[i]!;
            out.push({ index: i, from, to: [from[0] + d[0]! / 2, from[1] + d[1]! / 2, from[2] + d[2]! / 2] });
          }
        }
      }
    }
  }
  return out;
}

/**
 * Pieces of the lattice plane h x + k y + l z = position (modulo 1) in a box of repeated cells: convex polygons of
 * fractional points. All pieces are drawn, for together they are one whole period of the plane.
 */
export function planePolygons(hkl: Vec3, position: number, repeat: Vec3): Vec3[][] {
  if (hkl.every((x) => x === 0)) return [];
  const corners = cellOffsets([2, 2, 2]).map((c) => c.map((x, i) => x * repeat[i]!) as Vec3);
  const heights = corners.map((c) => dot(c, hkl));
  const polygons: Vec3[][] = [];
  const lowest = Math.ceil(Math.min(...heights) - position - 1e-9);
  const highest = Math.floor(Math.max(...heights) - position + 1e-9);
  for (let m = lowest; m <= highest; m++) {
    const polygon = cut(corners, hkl, position + m);
    if (polygon.length >= 3) polygons.push(polygon);
  }
  return polygons;
}

/** Where a plane cuts a box's edges, in order around the polygon. */
function cut(corners: Vec3[], hkl: Vec3, height: number): Vec3[] {
  const points: Vec3[] = [];
  for (let p = 0; p < 8; p++) {
    for (let q = p + 1; q < 8; q++) {
      const difference = corners[p]!.filter((x, i) => x !== corners[q]![i]).length;
      if (difference !== 1) continue;
      const hp = dot(corners[p]!, hkl);
      const hq = dot(corners[q]!, hkl);
      if (Math.abs(hp - hq) < 1e-12) continue;
      const t = (height - hp) / (hq - hp);
      if (t < -1e-9 || t > 1 + 1e-9) continue;
      const point = corners[p]!.map((x, i) => x + t * (corners[q]![i]! - x)) as Vec3;
      if (!points.some((other) => norm([point[0] - other[0], point[1] - other[1], point[2] - other[2]]) < 1e-7)) points.push(point);
    }
  }
  if (points.length < 3) return [];
  const centre = [0, 1, 2].map((i) => points.reduce((sum, p) => sum + p[i]!, 0) / points.length);
  const first = points[0]!.map((x, i) => x - centre[i]!);
  const n = hkl.map((x) => x / norm(hkl)) as Vec3;
  const second = cross(n, first);
  const angle = (p: Vec3): number => {
    const d = p.map((x, i) => x - centre[i]!);
    return Math.atan2(dot(d, second), dot(d, first));
  };
  return points.sort((a, b) => angle(a) - angle(b));
}
