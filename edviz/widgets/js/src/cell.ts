/** Small linear algebra of a unit cell: rows are lattice vectors, r = f A. */

export type Vec3 = [number, number, number];
export type Cell = [Vec3, Vec3, Vec3];

export function toCartesian(f: readonly number[], cell: Cell): Vec3 {
  const [a, b, c] = cell;
  return [
    f[0]! * a[0] + f[1]! * b[0] + f[2]! * c[0],
    f[0]! * a[1] + f[1]! * b[1] + f[2]! * c[1],
    f[0]! * a[2] + f[1]! * b[2] + f[2]! * c[2],
  ];
}

export function cross(u: readonly number[], v: readonly number[]): Vec3 {
  return [u[1]! * v[2]! - u[2]! * v[1]!, u[2]! * v[0]! - u[0]! * v[2]!, u[0]! * v[1]! - u[1]! * v[0]!];
}

export function dot(u: readonly number[], v: readonly number[]): number {
  return u[0]! * v[0]! + u[1]! * v[1]! + u[2]! * v[2]!;
}

/** Signed volume: negative for a left-handed set of vectors. */
export function determinant(cell: Cell): number {
  return dot(cell[0], cross(cell[1], cell[2]));
}

/** The inverse matrix: f = r inverse(A), and its columns are the reciprocal vectors without 2 pi. */
export function inverse(cell: Cell): Cell {
  const det = determinant(cell);
  const u = cross(cell[1], cell[2]);
  const v = cross(cell[2], cell[0]);
  const w = cross(cell[0], cell[1]);
  return [
    [u[0] / det, v[0] / det, w[0] / det],
    [u[1] / det, v[1] / det, w[1] / det],
    [u[2] / det, v[2] / det, w[2] / det],
  ];
}

export function norm(v: readonly number[]): number {
  return Math.hypot(v[0]!, v[1]!, v[2]!);
}

export function wrap(x: number): number {
  const y = x - Math.floor(x);
  return y === 1 ? 0 : y;
}
