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

/** Values of an array of codes. */
export function decode(codes: Uint16Array, code: Code): Float32Array {
  const out = new Float32Array(codes.length);
  const { offset, step, knee } = code;
  if (!knee) for (let i = 0; i < codes.length; i++) out[i] = offset + step * codes[i]!;
  else if (codes.length < CODES) for (let i = 0; i < codes.length; i++) out[i] = valueOf(codes[i]!, code);
  else {
    const table = Float32Array.from({ length: CODES }, (_, i) => valueOf(i, code));
    for (let i = 0; i < codes.length; i++) out[i] = table[codes[i]!]!;
  }
  return out;
}
