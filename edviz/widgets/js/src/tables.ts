/**
 * The case tables of marching cubes (Lorensen and Cline 1987), made by rule instead of typed in.
 *
 * On every face of a cube the surface leaves straight segments, one around each run of inside corners; on an
 * ambiguous face (inside corners diagonally opposite) the inside corners are kept apart. The rule sees only the
 * signs of the face's four corners, so two cubes that share a face always agree and the surface has no holes. The
 * segments link into loops, and every loop is cut into triangles without a diagonal that lies in a face of the cube
 * (a diagonal there could meet one of the neighbour's and break the surface's two-triangles-an-edge property).
 *
 * Corner c sits at (c >> 2 & 1, c >> 1 & 1, c & 1) along a, b, c. Edge e runs along axis e >> 2 from the corner whose
 * other two coordinates are (e >> 1 & 1, e & 1).
 */

type Loop = number[];

/** Position of corner `c` in the unit cube. */
function corner(c: number): [number, number, number] {
  return [(c >> 2) & 1, (c >> 1) & 1, c & 1];
}

/** Lower corner of edge `e`. */
export function edgeOrigin(e: number): [number, number, number] {
  const hi = (e >> 1) & 1;
  const lo = e & 1;
  const axis = e >> 2;
  return axis === 0 ? [0, hi, lo] : axis === 1 ? [hi, 0, lo] : [hi, lo, 0];
}

function edgeBetween(c: number, d: number): number {
  const p = corner(c);
  const q = corner(d);
  const axis = p.findIndex((x, i) => x !== q[i]);
  const others = p.filter((_, i) => i !== axis);
  return axis * 4 + others[0]! * 2 + others[1]!;
}

/**
 * Corners of the six faces (a = 0, a = 1, b = 0, ...), counter-clockwise seen from outside a right-handed cell.
 */
export const FACES: readonly (readonly [number, number, number, number])[] = [
  [0b000, 0b001, 0b011, 0b010],
  [0b100, 0b110, 0b111, 0b101],
  [0b000, 0b100, 0b101, 0b001],
  [0b010, 0b011, 0b111, 0b110],
  [0b000, 0b010, 0b110, 0b100],
  [0b001, 0b101, 0b111, 0b011],
];

const FACES_OF_EDGE: Set<number>[] = Array.from({ length: 12 }, () => new Set<number>());
FACES.forEach((face, f) => {
  for (let s = 0; s < 4; s++) FACES_OF_EDGE[edgeBetween(face[s]!, face[(s + 1) % 4]!)]!.add(f);
});

function shareFace(e: number, f: number): boolean {
  for (const face of FACES_OF_EDGE[e]!) if (FACES_OF_EDGE[f]!.has(face)) return true;
  return false;
}

/** Loops of crossed edges for one of the 256 cases; bit c of `inside` is set if corner c is inside. */
export function loops(inside: number): Loop[] {
  const next = new Map<number, number>();
  for (const face of FACES) {
    for (let s = 0; s < 4; s++) {
      // A run of inside corners starts at s: find where it ends, and link its two crossed edges.
      const before = face[(s + 3) % 4]!;
      if (!(inside & (1 << face[s]!)) || inside & (1 << before)) continue;
      let end = s;
      while (inside & (1 << face[(end + 1) % 4]!)) end += 1;
      const enters = edgeBetween(before, face[s]!);
      const leaves = edgeBetween(face[end % 4]!, face[(end + 1) % 4]!);
      next.set(enters, leaves);
    }
  }
  const found: Loop[] = [];
  while (next.size) {
    const start = next.keys().next().value as number;
    const loop: Loop = [];
    let edge = start;
    do {
      loop.push(edge);
      const following = next.get(edge)!;
      next.delete(edge);
      edge = following;
    } while (edge !== start);
    found.push(loop);
  }
  return found;
}

/** Cut a loop into triangles with no diagonal in a face of the cube; null if there is no such cut. */
function triangulate(loop: Loop): number[][] | null {
  const n = loop.length;
  if (n === 3) return [loop];
  for (let apex = 1; apex < n - 1; apex++) {
    // The triangle on the side (last, first) has its third corner at `apex`.
    const clear = (i: number, j: number): boolean =>
      j - i === 1 || (i === 0 && j === n - 1) || !shareFace(loop[i]!, loop[j]!);
    if (!clear(0, apex) || !clear(apex, n - 1)) continue;
    const left = apex > 1 ? triangulate(loop.slice(0, apex + 1)) : [];
    const right = apex < n - 2 ? triangulate(loop.slice(apex)) : [];
    if (left && right) return [[loop[0]!, loop[apex]!, loop[n - 1]!], ...left, ...right];
  }
  return null;
}

export interface CaseTable {
  /** Where the edges of case k start in `edges`; its triangles end where case k + 1 starts. */
  start: Uint16Array;
  /** Edge numbers, three a triangle, counter-clockwise seen from outside the surface. */
  edges: Uint8Array;
}

/** Triangles of all 256 cases. */
export function caseTable(): CaseTable {
  const start = new Uint16Array(257);
  const edges: number[] = [];
  for (let inside = 0; inside < 256; inside++) {
    start[inside] = edges.length;
    for (const loop of loops(inside)) {
      const triangles = triangulate(loop);
      if (!triangles) throw new Error(`marching cubes: case ${inside} has no clean triangulation`);
      for (const triangle of triangles) edges.push(...triangle);
    }
  }
  start[256] = edges.length;
  return { start, edges: Uint8Array.from(edges) };
}

/**
 * Polygons of the inside part of a face, by the signs of its corners (bit s = corner s of the face's cycle): numbers
 * 0 to 3 are corners, 4 + s is the crossing on the side from corner s to corner s + 1.
 */
export const FACE_POLYGONS: readonly number[][][] = Array.from({ length: 16 }, (_, inside) => {
  if (inside === 15) return [[0, 1, 2, 3]];
  const polygons: number[][] = [];
  for (let s = 0; s < 4; s++) {
    if (!(inside & (1 << s)) || inside & (1 << (s + 3) % 4)) continue;
    const polygon = [4 + ((s + 3) % 4)];
    let end = s;
    polygon.push(s);
    while (inside & (1 << (end + 1) % 4)) {
      end += 1;
      polygon.push(end % 4);
    }
    polygon.push(4 + (end % 4));
    polygons.push(polygon);
  }
  return polygons;
});
