/** What kernel and page tell each other. PROTOCOL.md is the text of it; these are its types. */

import type { Cell, Vec3 } from "./cell";
import type { Code } from "./codes";

export interface Meta {
  n_frames: number;
  n_samples: number;
  shape: Vec3;
  cell: Cell;
  origin: Vec3;
  numbers: number[];
  times: number[];
  kind: string;
  units: string;
  name: string;
  signed: boolean;
  n_electrons: number | null;
  range: [number, number];
  periodic: boolean;
  has_second: boolean;
  /** Optional: colour range of the second field, its name and unit. */
  second_range?: [number, number];
  second_name?: string;
}

export interface Slice {
  hkl: Vec3;
  position: number;
}

export interface CameraState {
  position: Vec3;
  target: Vec3;
  up: Vec3;
}

/** The view's state: one synced trait each. */
export interface State {
  frame: number;
  sample: number;
  playing: boolean;
  speed: number;
  loop: boolean;
  levels: number[];
  level_mode: "value" | "electrons";
  fractions: number[];
  slices: Slice[];
  volume: boolean;
  colormap: string;
  colors: string[];
  opacity: number;
  color_by: "level" | "second";
  show_atoms: boolean;
  show_bonds: boolean;
  show_cell: boolean;
  show_histogram: boolean;
  repeat: Vec3;
  shift: Vec3;
  camera: CameraState | null;
  cache_mb: number;
  link_id: string | null;
}

export const DEFAULTS: State = {
  frame: 0,
  sample: 0,
  playing: false,
  speed: 20,
  loop: true,
  levels: [],
  level_mode: "value",
  fractions: [0.5],
  slices: [],
  volume: false,
  colormap: "density",
  colors: [],
  opacity: 1,
  color_by: "level",
  show_atoms: true,
  show_bonds: false,
  show_cell: true,
  show_histogram: true,
  repeat: [1, 1, 1],
  shift: [0, 0, 0],
  camera: null,
  cache_mb: 256,
  link_id: null,
};

export const STATE_NAMES = Object.keys(DEFAULTS) as (keyof State)[];

export type Outgoing =
  | { type: "hello" }
  | { type: "want"; epoch: number; frames: [number, number][]; fine: boolean; page: string }
  | { type: "snapshot"; id: unknown }
  | { type: "bye" };

/** What is told of a frame beside its values. */
interface FrameHeader {
  sample: number;
  frame: number;
  shape: Vec3;
  stride: number;
  min: number;
  max: number;
  electrons: number | null;
  /** What the codes of the field, and of the second field if there is one, stand for. */
  code: Code;
  code2?: Code;
}

export interface FrameMessage extends FrameHeader {
  type: "frame";
}

export type Incoming =
  | FrameMessage
  | { type: "error"; text: string; sample?: number; frame?: number }
  | { type: "snapshot"; id: unknown }
  | { type: "hello" }
  | { type: "bye" };

/** One frame as the page keeps it. */
export interface Frame extends FrameHeader {
  codes: Uint16Array;
  positions: Float32Array;
  second: Uint16Array | null;
}

export function frameKey(sample: number, frame: number): string {
  return `${sample}:${frame}`;
}

/** Put a frame message and its buffers together; throws a sentence if they do not fit. */
export function readFrame(message: FrameMessage, buffers: (ArrayBuffer | ArrayBufferView)[]): Frame {
  const [na, nb, nc] = message.shape;
  const codes = new Uint16Array(aligned(buffers[0]));
  if (codes.length !== na * nb * nc)
    throw new Error(`frame ${message.frame} has ${codes.length} values, its shape ${message.shape.join(" x ")} needs ${na * nb * nc}`);
  const positions = new Float32Array(aligned(buffers[1]));
  const second = message.code2 && buffers.length > 2 ? new Uint16Array(aligned(buffers[2])) : null;
  return { ...message, codes, positions, second: second && second.length === codes.length ? second : null };
}

/** The bytes of a buffer as an ArrayBuffer of its own (a DataView into a message may start at any byte). */
function aligned(buffer: ArrayBuffer | ArrayBufferView | undefined): ArrayBuffer {
  if (!buffer) return new ArrayBuffer(0);
  if (!ArrayBuffer.isView(buffer)) return buffer;
  return buffer.buffer.slice(buffer.byteOffset, buffer.byteOffset + buffer.byteLength) as ArrayBuffer;
}
