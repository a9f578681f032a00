/** Which frames the page keeps (least recently used go first, within a bound in bytes) and which it asks for next. */

import { type Frame, frameKey } from "./protocol";

export function frameBytes(frame: Frame): number {
  return frame.codes.byteLength + frame.positions.byteLength + (frame.second?.byteLength ?? 0) + 256;
}

export class FrameCache {
  private readonly frames = new Map<string, Frame>();
  bytes = 0;

  constructor(private limit: number) {}

  get size(): number {
    return this.frames.size;
  }

  has(key: string): boolean {
    return this.frames.has(key);
  }

  /** The frame, marked as just used. */
  get(key: string): Frame | undefined {
    const frame = this.frames.get(key);
    if (frame) {
      this.frames.delete(key);
      this.frames.set(key, frame);
    }
    return frame;
  }

  /** Look without marking. */
  peek(key: string): Frame | undefined {
    return this.frames.get(key);
  }

  put(frame: Frame): void {
    const key = frameKey(frame.sample, frame.frame);
    this.remove(key);
    this.frames.set(key, frame);
    this.bytes += frameBytes(frame);
    this.trim(key);
  }

  resize(limit: number): void {
    this.limit = limit;
    this.trim();
  }

  clear(): void {
    this.frames.clear();
    this.bytes = 0;
  }

  /** How many frames of a given size fit. */
  capacity(bytesPerFrame: number): number {
    return Math.max(1, Math.floor(this.limit / bytesPerFrame));
  }

  private remove(key: string): void {
    const frame = this.frames.get(key);
    if (!frame) return;
    this.frames.delete(key);
    this.bytes -= frameBytes(frame);
  }

  private trim(keep?: string): void {
    for (const key of this.frames.keys()) {
      if (this.bytes <= this.limit || this.frames.size <= 1) return;
      if (key !== keep) this.remove(key);
    }
  }
}

/**
 * Frames around a cursor in the order in which they will be wanted: the cursor, then three in the direction of
 * motion for every one behind.
 *
 * @param reach how many frames besides the cursor to look at
 */
export function around(cursor: number, direction: 1 | -1, nFrames: number, reach: number, loop: boolean): number[] {
  const order = [cursor];
  const seen = new Set(order);
  const visit = (frame: number): void => {
    const f = loop ? ((frame % nFrames) + nFrames) % nFrames : frame;
    if (f < 0 || f >= nFrames || seen.has(f)) return;
    seen.add(f);
    order.push(f);
  };
  let ahead = 1;
  let behind = 1;
  while (order.length <= reach && (ahead < nFrames || behind < nFrames)) {
    for (let n = 0; n < 3; n++) visit(cursor + direction * ahead++);
    visit(cursor - direction * behind++);
  }
  return order.slice(0, reach + 1);
}
