/** Slices, atoms, bonds and cell edges against what can be said by hand. */

import { describe, expect, it } from "vitest";
import { type Cell, cross, dot, norm, toCartesian, type Vec3 } from "../src/cell";
import { defaultCamera, FIELD_OF_VIEW } from "../src/camera";
import { cellEdges, drawnAtoms, halfBonds, planePolygons } from "../src/geometry";

const SKEW: Cell = [
  [4, 0.3, -0.2],
  [1.4, 3.6, 0.5],
  [-0.8, 1.1, 5.2],
];

function area(polygon: Vec3[], cell: Cell): number {
  const p = polygon.map((f) => toCartesian(f, cell));
  let sum: Vec3 = [0, 0, 0];
  for (let i = 1; i + 1 < p.length; i++) {
    const u = p[i]!.map((x, n) => x - p[0]![n]!);
    const v = p[i + 1]!.map((x, n) => x - p[0]![n]!);
    sum = cross(u, v).map((x, n) => x + sum[n]!) as Vec3;
  }
  return norm(sum) / 2;
}

describe("slices", () => {
  it.each([
    [[1, 0, 0], 0.3],
    [[0, 0, 1], 0.75],
    [[1, 1, 1], 0.2],
    [[1, -2, 1], 0.6],
    [[2, 1, 0], 0.05],
  ] as [Vec3, number][])("every point of plane %j at %f satisfies its equation, inside the cell", (hkl, position) => {
    for (const polygon of planePolygons(hkl, position, [1, 1, 1])) {
      for (const f of polygon) {
        const height = dot(f, hkl) - position;
        expect(Math.abs(height - Math.round(height))).toBeLessThan(1e-9);
        for (const x of f) expect(x >= -1e-9 && x <= 1 + 1e-9).toBe(true);
      }
    }
  });

  it("the pieces of a plane in one cell are one period of it: volume = area x spacing", () => {
    const volume = Math.abs(dot(SKEW[0], cross(SKEW[1], SKEW[2])));
    for (const hkl of [[1, 0, 0], [1, 1, 0], [1, 1, 1], [1, -1, 2], [2, 1, -3]] as Vec3[]) {
      const reciprocal = [0, 1, 2].map((x) =>
        hkl.reduce((sum, h, i) => sum + (h * cross(SKEW[(i + 1) % 3]!, SKEW[(i + 2) % 3]!)[x]!) / volume, 0),
      );
      const total = planePolygons(hkl, 0.37, [1, 1, 1]).reduce((sum, polygon) => sum + area(polygon, SKEW), 0);
      expect(total / norm(reciprocal)).toBeCloseTo(volume, 6);
    }
  });

  it("repeats with the cell", () => {
    expect(planePolygons([0, 0, 1], 0.5, [1, 1, 3])).toHaveLength(3);
    expect(planePolygons([0, 0, 0], 0.5, [1, 1, 1])).toEqual([]);
  });
});

describe("atoms", () => {
  it("are wrapped after the shift, and drawn on both of two opposite faces", () => {
    expect(drawnAtoms([[0.9, -0.2, 2.5]], [0.2, 0, 0])[0]!.f.map((x) => Number(x.toFixed(9)))).toEqual([0.1, 0.8, 0.5]);
    expect(drawnAtoms([[0, 0.5, 0.5]], [0, 0, 0])).toHaveLength(2);
    expect(drawnAtoms([[0, 0, 0]], [0, 0, 0])).toHaveLength(8);
    expect(drawnAtoms([[0.999999999, 0.5, 0.5]], [0, 0, 0])).toHaveLength(2);
  });
});

describe("bonds", () => {
  it("diamond: every atom has four, of 1.545 angstrom, across the boundary too", () => {
    const a = 3.567;
    const cell: Cell = [
      [0, a / 2, a / 2],
      [a / 2, 0, a / 2],
      [a / 2, a / 2, 0],
    ];
    const halves = halfBonds([[0, 0, 0], [0.25, 0.25, 0.25]], [6, 6], cell);
    expect(halves).toHaveLength(8);
    for (const { from, to } of halves) expect(2 * norm(toCartesian(to.map((x, i) => x - from[i]!), cell))).toBeCloseTo((a * Math.sqrt(3)) / 4, 6);
  });

  it("an atom is bonded to its own images in a small cell", () => {
    const cell: Cell = [
      [1.5, 0, 0],
      [0, 9, 0],
      [0, 0, 9],
    ];
    expect(halfBonds([[0.5, 0.5, 0.5]], [6], cell)).toHaveLength(2);
  });
});

it("cell edges: twelve for one cell, shared ones once for more", () => {
  expect(cellEdges([1, 1, 1])).toHaveLength(12);
  expect(cellEdges([2, 1, 1])).toHaveLength(4 + 6 + 6);
});

it("the default camera has every corner in view", () => {
  for (const aspect of [0.6, 1, 2.4]) {
    const { position, target } = defaultCamera(SKEW, [1, 2, 3], [2, 1, 1], aspect);
    const forward = target.map((x, i) => x - position[i]!);
    const f = forward.map((x) => x / norm(forward));
    const right = cross(f, [0, 0, 1]).map((x, _, all) => x / norm(all));
    const up = cross(right, f);
    const tangent = Math.tan((FIELD_OF_VIEW * Math.PI) / 360);
    for (let n = 0; n < 8; n++) {
      const corner = toCartesian([(n & 1) * 2, (n >> 1) & 1, n >> 2], SKEW).map((x, i) => x + i + 1 - position[i]!);
      const depth = dot(corner, f);
      expect(Math.abs(dot(corner, up)) / depth).toBeLessThan(tangent);
      expect(Math.abs(dot(corner, right)) / depth).toBeLessThan(tangent * aspect);
    }
  }
});
