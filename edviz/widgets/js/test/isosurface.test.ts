/** Surfaces against analytic spheres, axis order, skewed cells, and closedness on real topology. */

import { describe, expect, it } from "vitest";
import { type Cell, determinant, inverse, toCartesian, type Vec3 } from "../src/cell";
import { extractSurface, type Mesh, pad, type Surface } from "../src/isosurface";

const CUBE: Cell = [
  [1, 0, 0],
  [0, 1, 0],
  [0, 0, 1],
];
const SKEW: Cell = [
  [4, 0.3, -0.2],
  [1.4, 3.6, 0.5],
  [-0.8, 1.1, 5.2],
];

function sample(shape: Vec3, value: (f: Vec3) => number): Float32Array {
  const out = new Float32Array(shape[0] * shape[1] * shape[2]);
  let p = 0;
  for (let i = 0; i < shape[0]; i++)
    for (let j = 0; j < shape[1]; j++)
      for (let k = 0; k < shape[2]; k++) out[p++] = value([i / shape[0], j / shape[1], k / shape[2]]);
  return out;
}

const nearest = (x: number): number => x - Math.round(x);

/** Distance field of a sphere, periodic, in units of the cube's edge. */
function ball(shape: Vec3, centre: Vec3, radius: number): Float32Array {
  return sample(shape, (f) => radius - Math.hypot(...(f.map((x, i) => nearest(x - centre[i]!)) as Vec3)));
}

/** A smooth field with surfaces of complicated topology: random waves. */
function waves(shape: Vec3, seed: number): Float32Array {
  let state = seed;
  const random = (): number => {
    state = (state * 1664525 + 1013904223) % 4294967296;
    return state / 4294967296;
  };
  const terms = Array.from({ length: 30 }, () => ({
    k: [0, 1, 2].map(() => Math.round(6 * random() - 3)),
    phase: 2 * Math.PI * random(),
  }));
  return sample(shape, (f) =>
    terms.reduce((sum, { k, phase }) => sum + Math.cos(2 * Math.PI * (k[0]! * f[0] + k[1]! * f[1] + k[2]! * f[2]) + phase), 0),
  );
}

/** White noise: every one of the 256 cases, ambiguous faces everywhere. */
function noise(shape: Vec3, seed: number): Float32Array {
  let state = seed;
  return sample(shape, () => {
    state = (state * 1664525 + 1013904223) % 4294967296;
    return state / 4294967296 - 0.5;
  });
}

function combined(surface: Surface): Mesh {
  const n = surface.positions.length / 3;
  return {
    positions: Float32Array.from([...surface.positions, ...surface.caps.positions]),
    normals: Float32Array.from([...surface.normals, ...surface.caps.normals]),
    indices: Uint32Array.from([...surface.indices, ...[...surface.caps.indices].map((i) => i + n)]),
  };
}

/** Weld vertices at equal places (optionally modulo the lattice) and count directed edges. */
function directedEdges(mesh: Mesh, cell: Cell, periodic: boolean): Map<string, number> {
  const inv = inverse(cell);
  const unit = 1e4; // vertices nearer than 5e-6 of a cell are the same
  const key = (v: number): string => {
    const p = mesh.positions.subarray(3 * v, 3 * v + 3);
    const f = [0, 1, 2].map((i) => p[0]! * inv[0][i]! + p[1]! * inv[1][i]! + p[2]! * inv[2][i]!);
    for (let corner = 0; corner < 8; corner++) {
      const near = f.map((x, i) => Math.round(unit * x + ((corner >> i) & 1 ? 0.05 : -0.05)));
      const name = near.map((x) => (periodic ? ((x % unit) + unit) % unit : x)).join(",");
      if (known.has(name)) return known.get(name)!;
      if (corner === 7) known.set(name, name);
    }
    return known.get([...f].map((x) => Math.round(unit * x + 0.05)).map((x) => (periodic ? ((x % unit) + unit) % unit : x)).join(","))!;
  };
  const known = new Map<string, string>();
  const names = Array.from({ length: mesh.positions.length / 3 }, (_, v) => key(v));
  const edges = new Map<string, number>();
  for (let t = 0; t < mesh.indices.length; t += 3) {
    for (let s = 0; s < 3; s++) {
      const u = names[mesh.indices[t + s]!]!;
      const v = names[mesh.indices[t + ((s + 1) % 3)]!]!;
      if (u !== v) edges.set(`${u}>${v}`, (edges.get(`${u}>${v}`) ?? 0) + 1);
    }
  }
  return edges;
}

/** Every directed edge is met by as many in the other direction: no boundary, and both sides agree which is outside. */
function expectClosed(mesh: Mesh, cell: Cell, periodic: boolean, atMost = 1): void {
  const edges = directedEdges(mesh, cell, periodic);
  expect(edges.size).toBeGreaterThan(0);
  for (const [edge, count] of edges) {
    const [u, v] = edge.split(">");
    const opposite = edges.get(`${v}>${u}`) ?? 0;
    if (opposite !== count) throw new Error(`edge ${edge} is met ${count} times one way, ${opposite} the other`);
    if (count > atMost) throw new Error(`edge ${edge} has ${2 * count} triangles`);
  }
}

function surfaceOf(values: Float32Array, shape: Vec3, level: number, cell: Cell, shift: Vec3 = [0, 0, 0], sign: 1 | -1 = 1): Surface {
  return extractSurface(pad(values, shape, shift), level, cell, sign);
}

describe("spheres", () => {
  const n = 40;
  it.each([8, 10, 14])("volume and area of radius %i voxels are within 1 percent of the sphere's", (radius) => {
    const values = ball([n, n, n], [0.512, 0.493, 0.507], radius / n);
    const surface = surfaceOf(values, [n, n, n], 0, CUBE);
    const r = radius / n;
    expect(surface.volume / ((4 / 3) * Math.PI * r ** 3)).toBeGreaterThan(0.99);
    expect(surface.volume / ((4 / 3) * Math.PI * r ** 3)).toBeLessThan(1.01);
    expect(surface.area / (4 * Math.PI * r ** 2)).toBeGreaterThan(0.99);
    expect(surface.area / (4 * Math.PI * r ** 2)).toBeLessThan(1.01);
  });

  it("volume does not change when the sphere is cut by the boundary, caps included", () => {
    const inside = surfaceOf(ball([n, n, n], [0.5, 0.5, 0.5], 0.3), [n, n, n], 0, CUBE);
    const cut = surfaceOf(ball([n, n, n], [0, 0, 0], 0.3), [n, n, n], 0, CUBE);
    expect(cut.volume / inside.volume).toBeCloseTo(1, 4);
    expect(cut.area / inside.area).toBeCloseTo(1, 4);
    const moved = surfaceOf(ball([n, n, n], [0, 0, 0], 0.3), [n, n, n], 0, CUBE, [20, 20, 20]);
    expect(moved.volume / inside.volume).toBeCloseTo(1, 6);
    expect(moved.positions.length).toBe(inside.positions.length);
  });

  it("normals point outwards along the radius", () => {
    const { positions, normals } = surfaceOf(ball([n, n, n], [0.5, 0.5, 0.5], 0.3), [n, n, n], 0, CUBE);
    for (let v = 0; v < positions.length; v += 3) {
      const r = [positions[v]! - 0.5, positions[v + 1]! - 0.5, positions[v + 2]! - 0.5];
      const along = (r[0]! * normals[v]! + r[1]! * normals[v + 1]! + r[2]! * normals[v + 2]!) / Math.hypot(r[0]!, r[1]!, r[2]!);
      expect(along).toBeGreaterThan(0.995);
    }
  });

  it("the region below a level is enclosed with sign -1", () => {
    const values = ball([n, n, n], [0.2, 0.9, 0.5], 0.3);
    const above = surfaceOf(values, [n, n, n], 0, CUBE);
    const below = surfaceOf(values, [n, n, n], 0, CUBE, [0, 0, 0], -1);
    expect(above.volume + below.volume).toBeCloseTo(1, 5);
    const hole = surfaceOf(values.map((x) => -x), [n, n, n], 0, CUBE, [0, 0, 0], -1);
    expect(hole.volume).toBeCloseTo(above.volume, 6);
  });
});

describe("axes", () => {
  it("a blob off the diagonal comes out where it was put, on a grid with three different sides", () => {
    const shape: Vec3 = [20, 28, 36];
    const centre: Vec3 = [0.25, 0.5, 0.7];
    const cell: Cell = [
      [5, 0, 0],
      [0, 7, 0],
      [0, 0, 9],
    ];
    const values = sample(shape, (f) => {
      const d = f.map((x, i) => nearest(x - centre[i]!) * cell[i]![i]!);
      return Math.exp(-(d[0]! ** 2) / 0.5 - d[1]! ** 2 / 1 - d[2]! ** 2 / 2);
    });
    const { positions } = surfaceOf(values, shape, 0.5, cell);
    const extent = [0, 1, 2].map((x) => {
      const along = positions.filter((_, i) => i % 3 === x);
      return [Math.min(...along), Math.max(...along)];
    });
    const half = (s: number): number => Math.sqrt(Math.log(2) * s);
    [0.5, 1, 2].forEach((s, x) => {
      expect(extent[x]![0]).toBeCloseTo(centre[x]! * cell[x]![x]! - half(s), 1);
      expect(extent[x]![1]).toBeCloseTo(centre[x]! * cell[x]![x]! + half(s), 1);
    });
  });

  it("in a skewed cell a sphere stays a sphere", () => {
    const shape: Vec3 = [40, 40, 56];
    const centre = toCartesian([0.5, 0.5, 0.5], SKEW);
    const radius = 1.2;
    const values = sample(shape, (f) => {
      const r = toCartesian(f, SKEW);
      return radius - Math.hypot(r[0] - centre[0], r[1] - centre[1], r[2] - centre[2]);
    });
    const surface = surfaceOf(values, shape, 0, SKEW);
    expect(surface.volume / ((4 / 3) * Math.PI * radius ** 3)).toBeGreaterThan(0.99);
    expect(surface.volume / ((4 / 3) * Math.PI * radius ** 3)).toBeLessThan(1.01);
    expect(surface.area / (4 * Math.PI * radius ** 2)).toBeGreaterThan(0.99);
    expect(surface.area / (4 * Math.PI * radius ** 2)).toBeLessThan(1.01);
    for (let v = 0; v < surface.positions.length; v += 3) {
      const r = [0, 1, 2].map((x) => surface.positions[v + x]! - centre[x]!);
      const along = r.reduce((sum, x, i) => sum + x * surface.normals[v + i]!, 0) / radius;
      expect(along).toBeGreaterThan(0.99);
    }
  });

  it("a left-handed cell still encloses a positive volume", () => {
    const left: Cell = [SKEW[1], SKEW[0], SKEW[2]];
    expect(determinant(left)).toBeLessThan(0);
    const surface = surfaceOf(waves([12, 14, 16], 5), [12, 14, 16], 1, left);
    expect(surface.volume).toBeGreaterThan(0);
    expectClosed(combined(surface), left, false, 2);
  });
});

describe("closedness", () => {
  const shape: Vec3 = [12, 10, 14];
  it.each([1, -1] as const)("surface and caps together have no boundary (sign %i)", (sign) => {
    for (const seed of [1, 2, 3])
      expectClosed(combined(surfaceOf(waves(shape, seed), shape, 0.7, SKEW, [3, 1, 5], sign)), SKEW, false, 2);
    expectClosed(combined(surfaceOf(noise(shape, 4), shape, 0.05, SKEW, [0, 0, 0], sign)), SKEW, false, 2);
  });

  it("the surface alone closes onto its periodic image, two triangles an edge", () => {
    for (const seed of [1, 2, 3]) expectClosed(surfaceOf(waves(shape, seed), shape, 0.7, SKEW), SKEW, true);
    expectClosed(surfaceOf(noise(shape, 9), shape, 0.05, SKEW), SKEW, true);
  });

  it("a ball has Euler characteristic 2, a rod through the boundary 0", () => {
    const euler = (surface: Surface): number => {
      const edges = directedEdges(surface, CUBE, true).size / 2;
      const vertices = new Set([...directedEdges(surface, CUBE, true).keys()].map((edge) => edge.split(">")[0]));
      return vertices.size - edges + surface.indices.length / 3;
    };
    const n: Vec3 = [24, 24, 24];
    expect(euler(surfaceOf(ball(n, [0.03, 0.51, 0.97], 0.31), n, 0, CUBE))).toBe(2);
    const rod = sample(n, (f) => 0.2213 - Math.hypot(nearest(f[0] - 0.511), nearest(f[1] - 0.037)));
    expect(euler(surfaceOf(rod, n, 0, CUBE))).toBe(0);
  });

  it("enclosed volumes above and below a level fill the cell", () => {
    const values = noise(shape, 11);
    const above = surfaceOf(values, shape, 0.1, SKEW);
    const below = surfaceOf(values, shape, 0.1, SKEW, [0, 0, 0], -1);
    expect((above.volume + below.volume) / determinant(SKEW)).toBeCloseTo(1, 5);
  });
});

describe("strides", () => {
  it("every second point of a grid keeps the sphere where it is", () => {
    const n: Vec3 = [48, 48, 48];
    const values = ball(n, [0.3, 0.6, 0.5], 0.25);
    const fine = extractSurface(pad(values, n), 0, CUBE);
    const coarse = extractSurface(pad(values, n, [0, 0, 0], 2), 0, CUBE);
    expect(coarse.volume / fine.volume).toBeGreaterThan(0.98);
    expect(coarse.indices.length).toBeLessThan(fine.indices.length / 3);
    expect(() => pad(ball([9, 9, 9], [0, 0, 0], 0.2), [9, 9, 9], [0, 0, 0], 2)).toThrow("9 x 9 x 9");
  });
});
