/**
 * Isosurfaces of a periodic field by marching cubes (Lorensen and Cline 1987; tables by rule, see tables.ts).
 *
 * The grid is wrapped by one plane, so the surface reaches the cell's far faces, where it meets its own periodic
 * image exactly. Caps close it at the six faces of the cell. Vertices are shared between triangles, normals come
 * from central differences of the field, and all is mapped to Cartesian coordinates, so any cell will do.
 */

import { type Cell, determinant, inverse, type Vec3 } from "./cell";
import { caseTable, edgeOrigin, FACE_POLYGONS, FACES } from "./tables";

/** A field with one ghost layer below and two above in every direction, by periodicity. */
export interface PaddedField {
  values: Float32Array;
  shape: Vec3;
}

export interface Mesh {
  /** Cartesian, three a vertex, relative to the cell's corner. */
  positions: Float32Array;
  /** Unit vectors that point out of the enclosed region. */
  normals: Float32Array;
  indices: Uint32Array;
}

export interface Surface extends Mesh {
  /** Flat pieces that close the surface at the cell's faces. */
  caps: Mesh;
  /** Start of each face's indices in `caps.indices` (a = 0, a = 1, b = 0, ...), and the end. */
  capStart: number[];
  /** Enclosed by surface and caps, in the cell's length unit cubed. */
  volume: number;
  /** Of the surface alone, without caps. */
  area: number;
}

/** Pad a periodic C-ordered field; point (i, j, k) moves to (i + shift) modulo the shape. */
export function pad(values: Float32Array, shape: Vec3, shift: Vec3 = [0, 0, 0], stride = 1): PaddedField {
  const [na, nb, nc] = shape;
  const coarse = [na / stride, nb / stride, nc / stride] as Vec3;
  const [ma, mb, mc] = coarse;
  if (!coarse.every(Number.isInteger)) throw new Error(`a grid of ${shape.join(" x ")} cannot be taken ${stride} apart`);
  const out = new Float32Array((ma + 3) * (mb + 3) * (mc + 3));
  const source = (i: number, s: number, n: number): number => ((((i - 1) * stride - s) % n) + n) % n;
  const columns = new Int32Array(mc + 3);
  for (let k = 0; k < mc + 3; k++) columns[k] = source(k, shift[2], nc);
  let p = 0;
  for (let i = 0; i < ma + 3; i++) {
    const plane = source(i, shift[0], na) * nb;
    for (let j = 0; j < mb + 3; j++) {
      const row = (plane + source(j, shift[1], nb)) * nc;
      for (let k = 0; k < mc + 3; k++) out[p++] = values[row + columns[k]!]!;
    }
  }
  return { values: out, shape: coarse };
}

const TABLE = caseTable();
const EDGE_ORIGIN = Array.from({ length: 12 }, (_, e) => edgeOrigin(e));

/** Memory that one extraction leaves to the next. */
let edgeVertex = new Int32Array(0);
let above = new Uint8Array(0);
let positionScratch = new Float32Array(3 << 16);
let normalScratch = new Float32Array(3 << 16);
let indexScratch = new Uint32Array(3 << 17);

function grown<T extends Float32Array | Uint32Array>(array: T, need: number): T {
  if (array.length >= need) return array;
  const larger = new (array.constructor as new (n: number) => T)(Math.max(need, array.length * 2));
  larger.set(array);
  return larger;
}

/**
 * The surface of one level.
 *
 * sign = 1: the region above the level is inside; sign = -1: the region below it.
 */
export function extractSurface(field: PaddedField, level: number, cell: Cell, sign: 1 | -1 = 1): Surface {
  const { values } = field;
  const [na, nb, nc] = field.shape;
  const sk = 1;
  const sj = nc + 3;
  const si = (nb + 3) * sj;
  const size = values.length;
  if (edgeVertex.length < 3 * size) edgeVertex = new Int32Array(3 * size);
  const ids = edgeVertex;
  if (above.length < size) above = new Uint8Array(size);
  const bits = above;
  for (let p = 0; p < size; p++) bits[p] = values[p]! > level ? 1 : 0;
  const inv = inverse(cell);
  // Columns of the inverse scaled by the grid: gradient in index units -> Cartesian gradient.
  const g = [0, 1, 2].map((x) => [inv[x]![0]! * na, inv[x]![1]! * nb, inv[x]![2]! * nc]);
  const [g00, g01, g02] = g[0] as Vec3;
  const [g10, g11, g12] = g[1] as Vec3;
  const [g20, g21, g22] = g[2] as Vec3;
  const m = [0, 1, 2].map((x) => [cell[0][x]! / na, cell[1][x]! / nb, cell[2][x]! / nc]);
  const [m00, m01, m02] = m[0] as Vec3;
  const [m10, m11, m12] = m[1] as Vec3;
  const [m20, m21, m22] = m[2] as Vec3;
  const below = sign < 0;

  let nVertices = 0;
  const addVertex = (p: number, stride: number, axis: number, i: number, j: number, k: number): void => {
    const v0 = values[p]!;
    const q = p + stride;
    const v1 = values[q]!;
    let t = (level - v0) / (v1 - v0);
    if (!(t >= 0)) t = 0;
    else if (t > 1) t = 1;
    ids[axis * size + p] = nVertices;
    const o = 3 * nVertices++;
    if (o + 3 > positionScratch.length) {
      positionScratch = grown(positionScratch, o + 3);
      normalScratch = grown(normalScratch, o + 3);
    }
    const u = axis === 0 ? i + t : i;
    const v = axis === 1 ? j + t : j;
    const w = axis === 2 ? k + t : k;
    positionScratch[o] = m00 * u + m01 * v + m02 * w;
    positionScratch[o + 1] = m10 * u + m11 * v + m12 * w;
    positionScratch[o + 2] = m20 * u + m21 * v + m22 * w;
    const s = 1 - t;
    const da = s * (values[p + si]! - values[p - si]!) + t * (values[q + si]! - values[q - si]!);
    const db = s * (values[p + sj]! - values[p - sj]!) + t * (values[q + sj]! - values[q - sj]!);
    const dc = s * (values[p + sk]! - values[p - sk]!) + t * (values[q + sk]! - values[q - sk]!);
    const x = g00 * da + g01 * db + g02 * dc;
    const y = g10 * da + g11 * db + g12 * dc;
    const z = g20 * da + g21 * db + g22 * dc;
    const length = -sign * Math.sqrt(x * x + y * y + z * z) || 1;
    normalScratch[o] = x / length;
    normalScratch[o + 1] = y / length;
    normalScratch[o + 2] = z / length;
  };

  for (let i = 0; i <= na; i++) {
    for (let j = 0; j <= nb; j++) {
      let p = (i + 1) * si + (j + 1) * sj + 1;
      let here = bits[p]!;
      for (let k = 0; k <= nc; k++, p++) {
        const ahead = bits[p + 1]!;
        if (here !== ahead && k < nc) addVertex(p, 1, 2, i, j, k);
        if (here !== bits[p + sj]! && j < nb) addVertex(p, sj, 1, i, j, k);
        if (here !== bits[p + si]! && i < na) addVertex(p, si, 0, i, j, k);
        here = ahead;
      }
    }
  }

  const { start, edges } = TABLE;
  // With the tables' orientation, triangles face away from values above the level in a right-handed cell.
  const flip = determinant(cell) * sign < 0;
  const offset = EDGE_ORIGIN.map(([a, b, c], e) => (e >> 2) * size + a * si + b * sj + c);
  let nIndices = 0;
  for (let i = 0; i < na; i++) {
    for (let j = 0; j < nb; j++) {
      const p = (i + 1) * si + (j + 1) * sj + 1;
      let low = bits[p]! | (bits[p + sj]! << 2) | (bits[p + si]! << 4) | (bits[p + si + sj]! << 6);
      for (let k = 0; k < nc; k++) {
        const q = p + k + 1;
        const high = bits[q]! | (bits[q + sj]! << 2) | (bits[q + si]! << 4) | (bits[q + si + sj]! << 6);
        const inside = low | (high << 1);
        low = high;
        if (inside === 0 || inside === 255) continue;
        const end = start[inside + 1]!;
        if (nIndices + 36 > indexScratch.length) indexScratch = grown(indexScratch, nIndices + 36);
        for (let e = start[inside]!; e < end; e++) indexScratch[nIndices++] = ids[offset[edges[e]!]! + q - 1]!;
      }
    }
  }
  const positions = positionScratch.slice(0, 3 * nVertices);
  const normals = normalScratch.slice(0, 3 * nVertices);
  const indices = indexScratch.slice(0, nIndices);
  if (flip) swapWinding(indices);
  const { caps, capStart } = makeCaps(field, level, cell, below);
  const volume = enclosed(positions, indices) + enclosed(caps.positions, caps.indices);
  return { positions, normals, indices, caps, capStart, volume, area: area(positions, indices) };
}

function swapWinding(indices: Uint32Array): void {
  for (let i = 0; i < indices.length; i += 3) {
    const keep = indices[i + 1]!;
    indices[i + 1] = indices[i + 2]!;
    indices[i + 2] = keep;
  }
}

/** The inside part of the cell's six faces, with the same crossings and the same rule as the surface. */
function makeCaps(field: PaddedField, level: number, cell: Cell, below: boolean): { caps: Mesh; capStart: number[] } {
  const { values, shape } = field;
  const strides = [(shape[1] + 3) * (shape[2] + 3), shape[2] + 3, 1];
  const handed = determinant(cell) < 0;
  const positions: number[] = [];
  const normals: number[] = [];
  const indices: number[] = [];
  const capStart = [0];
  const columns = [0, 1, 2].map((x) => [cell[0][x]! / shape[0], cell[1][x]! / shape[1], cell[2][x]! / shape[2]]);
  FACES.forEach((face, f) => {
    const axis = f >> 1;
    const [u, v] = [0, 1, 2].filter((x) => x !== axis) as [number, number];
    const plane = f & 1 ? shape[axis]! - 1 : 0;
    const corners = face.map((c) => [(c >> 2) & 1, (c >> 1) & 1, c & 1]);
    const normal = faceNormal(cell, axis, f & 1 ? 1 : -1);
    // Vertices of this face by grid point and kind: the point itself, the crossing along u, along v.
    const known = new Int32Array(3 * (shape[u]! + 1) * (shape[v]! + 1)).fill(-1);
    const key = (s: number, kind: number): number => {
      const c = corners[s]!;
      return 3 * ((cube[u]! + c[u]!) * (shape[v]! + 1) + cube[v]! + c[v]!) + kind;
    };
    const at = new Float64Array(3);
    const vertex = (place: number): number => {
      let id = known[place]!;
      if (id < 0) {
        id = known[place] = positions.length / 3;
        for (const row of columns) positions.push(row[0]! * at[0]! + row[1]! * at[1]! + row[2]! * at[2]!);
        normals.push(...normal);
      }
      return id;
    };
    const cube = [0, 0, 0];
    const place = [0, 0, 0, 0];
    for (let iu = 0; iu < shape[u]!; iu++) {
      for (let iv = 0; iv < shape[v]!; iv++) {
        cube[axis] = plane;
        cube[u] = iu;
        cube[v] = iv;
        let inside = 0;
        for (let s = 0; s < 4; s++) {
          const c = corners[s]!;
          place[s] =
            (cube[0]! + c[0]! + 1) * strides[0]! + (cube[1]! + c[1]! + 1) * strides[1]! + (cube[2]! + c[2]! + 1) * strides[2]!;
          if (values[place[s]!]! > level !== below) inside |= 1 << s;
        }
        if (!inside) continue;
        // Below the level "inside" is the complement, and an ambiguous face must still be cut as the surface cuts it.
        for (const polygon of below ? complementPolygons(inside) : FACE_POLYGONS[inside]!) {
          const ring = polygon.map((n) => {
            const s = n & 3;
            const c = corners[s]!;
            for (let x = 0; x < 3; x++) at[x] = cube[x]! + c[x]!;
            if (n < 4) return vertex(key(s, 0));
            const d = corners[(s + 1) & 3]!;
            const along = c.findIndex((x, i) => x !== d[i]);
            const [low, high] = c[along]! < d[along]! ? [s, (s + 1) & 3] : [(s + 1) & 3, s];
            const v0 = values[place[low]!]!;
            at[along] = cube[along]! + (level - v0) / (values[place[high]!]! - v0);
            return vertex(key(low, along === u ? 1 : 2));
          });
          for (let r = 1; r + 1 < ring.length; r++) {
            if (handed) indices.push(ring[0]!, ring[r + 1]!, ring[r]!);
            else indices.push(ring[0]!, ring[r]!, ring[r + 1]!);
          }
        }
      }
    }
    capStart.push(indices.length);
  });
  return {
    caps: {
      positions: Float32Array.from(positions),
      normals: Float32Array.from(normals),
      indices: Uint32Array.from(indices),
    },
    capStart,
  };
}

/** As FACE_POLYGONS, but on an ambiguous face the inside corners are joined: the outside ones are kept apart. */
function complementPolygons(inside: number): number[][] {
  if (inside === 0b0101) return [[0, 4, 5, 2, 6, 7]];
  if (inside === 0b1010) return [[1, 5, 6, 3, 7, 4]];
  return FACE_POLYGONS[inside]!;
}

function faceNormal(cell: Cell, axis: number, side: number): Vec3 {
  const inv = inverse(cell);
  const n = [inv[0][axis]!, inv[1][axis]!, inv[2][axis]!];
  const length = side * Math.hypot(n[0]!, n[1]!, n[2]!);
  return [n[0]! / length, n[1]! / length, n[2]! / length];
}

/** Volume between a mesh and the origin, by the divergence theorem. */
function enclosed(p: Float32Array, indices: Uint32Array): number {
  let sum = 0;
  for (let i = 0; i < indices.length; i += 3) {
    const a = 3 * indices[i]!;
    const b = 3 * indices[i + 1]!;
    const c = 3 * indices[i + 2]!;
    sum +=
      p[a]! * (p[b + 1]! * p[c + 2]! - p[b + 2]! * p[c + 1]!) +
      p[a + 1]! * (p[b + 2]! * p[c]! - p[b]! * p[c + 2]!) +
      p[a + 2]! * (p[b]! * p[c + 1]! - p[b + 1]! * p[c]!);
  }
  return sum / 6;
}

function area(p: Float32Array, indices: Uint32Array): number {
  let sum = 0;
  for (let i = 0; i < indices.length; i += 3) {
    const a = 3 * indices[i]!;
    const b = 3 * indices[i + 1]!;
    const c = 3 * indices[i + 2]!;
    const ux = p[b]! - p[a]!;
    const uy = p[b + 1]! - p[a + 1]!;
    const uz = p[b + 2]! - p[a + 2]!;
    const vx = p[c]! - p[a]!;
    const vy = p[c + 1]! - p[a + 1]!;
    const vz = p[c + 2]! - p[a + 2]!;
    const x = uy * vz - uz * vy;
    const y = uz * vx - ux * vz;
    const z = ux * vy - uy * vx;
    sum += Math.sqrt(x * x + y * y + z * z);
  }
  return sum / 2;
}
