/** Where the camera stands when nobody has said, and camera states to and from three.js. */

import type { PerspectiveCamera, Vector3 } from "three";
import { type Cell, norm, toCartesian, type Vec3 } from "./cell";
import { cellOffsets } from "./geometry";
import type { CameraState } from "./protocol";

/** As in `edviz.plot_isosurface`: from the front, a little from the right and above; c points up. */
const DIRECTION: Vec3 = [0.48, -1.0, 0.46];
export const FIELD_OF_VIEW = 20;

/** The whole of the repeated cells in view, for a canvas of the given width / height. */
export function defaultCamera(cell: Cell, origin: Vec3, repeat: Vec3, aspect: number): CameraState {
  const corners = cellOffsets([2, 2, 2]).map((c) => toCartesian(c.map((x, i) => x * repeat[i]!), cell));
  const target = toCartesian(repeat.map((n) => n / 2), cell);
  const away = DIRECTION.map((x) => x / norm(DIRECTION));
  const right = unit([-away[1]!, away[0]!, 0]);
  const up: Vec3 = [0, 0, 1];
  const above = unit([0, 1, 2].map((i) => up[i]! - away[2]! * away[i]!));
  const tangent = Math.tan((FIELD_OF_VIEW * Math.PI) / 360);
  let distance = 0;
  for (const corner of corners) {
    const d = corner.map((x, i) => x - target[i]!);
    const along = (v: readonly number[]): number => d.reduce((sum, x, i) => sum + x * v[i]!, 0);
    const needed = Math.max(Math.abs(along(above)) / tangent, Math.abs(along(right)) / (tangent * aspect)) + along(away);
    distance = Math.max(distance, needed);
  }
  distance *= 1.06;
  return {
    position: target.map((x, i) => x + origin[i]! + distance * away[i]!) as Vec3,
    target: target.map((x, i) => x + origin[i]!) as Vec3,
    up,
  };
}

function unit(v: readonly number[]): number[] {
  return v.map((x) => x / norm(v));
}

export function readCamera(camera: PerspectiveCamera, target: Vector3): CameraState {
  const round = (v: Vector3): Vec3 => v.toArray().map((x) => Number(x.toPrecision(7))) as Vec3;
  return { position: round(camera.position), target: round(target), up: round(camera.up) };
}
