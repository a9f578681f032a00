/** 16-bit codes of a field as they come from the kernel; edviz/widgets/encoding.py makes them and says why so. */

/** What codes stand for: x = offset + step * code where knee is 0, else knee * sinh(x). They grow with the value. */
export interface Code {
  offset: number;
  step: number;
  knee: number;
}

/** Codes run from 0 to one less than this. */
export const CODES = 65536;

export function valueOf(code: number, { offset, step, knee }: Code): number {
  const x = offset + step * code;
  return knee ? knee * Math.sinh(x) : x;
}

/** The values of all codes. */
export function valueTable({ offset, step, knee }: Code): Float32Array {
  const table = new Float32Array(CODES);
  if (!knee) {
    for (let i = 0; i < CODES; i++) table[i] = offset + step * i;
    return table;
  }
  // exp(offset + step i) by the high and the low byte of i: 512 exponentials instead of 65,536.
  const high = Float64Array.from({ length: 256 }, (_, n) => Math.exp(offset + step * 256 * n));
  const low = Float64Array.from({ length: 256 }, (_, n) => Math.exp(step * n));
  for (let i = 0; i < CODES; i++) {
    const e = high[i >> 8]! * low[i & 255]!;
    table[i] = 0.5 * knee * (e - 1 / e);
  }
  return table;
}

/** Values of an array of codes. */
export function decode(codes: Uint16Array, code: Code): Float32Array {
  const table = valueTable(code);
  const out = new Float32Array(codes.length);
  for (let i = 0; i < codes.length; i++) out[i] = table[codes[i]!]!;
  return out;
}
