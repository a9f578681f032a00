/** The model behind a view: anywidget's in a notebook, our own in a page without a kernel. */

import { DEFAULTS, type FrameMessage, type Meta, type Outgoing, type State } from "./protocol";

/** The part of anywidget's front-end model (AFM) that the viewer uses. */
export interface Model {
  get(name: string): unknown;
  set(name: string, value: unknown): void;
  save_changes(): void;
  on(event: string, callback: (...args: never[]) => void): void;
  off(event?: string | null, callback?: ((...args: never[]) => void) | null): void;
  send(content: unknown, callbacks?: unknown, buffers?: (ArrayBuffer | ArrayBufferView)[]): void;
}

/** A frame inside an HTML page: its volume as base64 of little-endian 16-bit codes, its positions of float32. */
export interface EmbeddedFrame extends Omit<FrameMessage, "type"> {
  volume: string;
  positions?: string;
  second?: string;
}

export interface EmbeddedData {
  state: Partial<State> & { meta: Meta };
  frames: EmbeddedFrame[];
}

export function decodeBase64(text: string): ArrayBuffer {
  const binary = atob(text);
  const bytes = new Uint8Array(binary.length);
  for (let i = 0; i < binary.length; i++) bytes[i] = binary.charCodeAt(i);
  return bytes.buffer;
}

type Callback = (...args: unknown[]) => void;

/** Answers as a kernel would, out of the page's own data. */
export class EmbeddedModel implements Model {
  private readonly values = new Map<string, unknown>();
  private readonly listeners = new Map<string, Set<Callback>>();
  private readonly frames = new Map<string, EmbeddedFrame>();

  constructor(data: EmbeddedData) {
    for (const [name, value] of Object.entries({ ...DEFAULTS, ...data.state })) this.values.set(name, value);
    for (const frame of data.frames) this.frames.set(`${frame.sample}:${frame.frame}`, frame);
  }

  get(name: string): unknown {
    return this.values.get(name);
  }

  set(name: string, value: unknown): void {
    this.values.set(name, value);
    this.emit(`change:${name}`);
  }

  save_changes(): void {}

  on(event: string, callback: (...args: never[]) => void): void {
    const known = this.listeners.get(event) ?? new Set();
    known.add(callback as Callback);
    this.listeners.set(event, known);
  }

  off(event?: string | null, callback?: ((...args: never[]) => void) | null): void {
    if (!event) this.listeners.clear();
    else if (callback) this.listeners.get(event)?.delete(callback as Callback);
    else this.listeners.delete(event);
  }

  send(content: unknown): void {
    const message = content as Outgoing;
    if (message.type === "hello") queueMicrotask(() => this.emit("msg:custom", { type: "hello" }, []));
    if (message.type !== "want") return;
    for (const [sample, frame] of message.frames) {
      const found = this.frames.get(`${sample}:${frame}`);
      if (!found) {
        this.emit("msg:custom", { type: "error", text: `frame ${frame} is not in this page`, sample, frame }, []);
        continue;
      }
      const { volume, positions, second, ...head } = found;
      const buffers = [decodeBase64(volume), decodeBase64(positions ?? "")];
      if (second) buffers.push(decodeBase64(second));
      queueMicrotask(() => this.emit("msg:custom", { type: "frame", ...head }, buffers));
    }
  }

  private emit(event: string, ...args: unknown[]): void {
    for (const callback of [...(this.listeners.get(event) ?? [])]) callback(...args);
  }
}
