/** IEEE 754 half precision (binary16) as it comes from the kernel: decoding is exact, by a table of all 65,536 codes. */

let table: Float32Array | null = null;

/** The value of one half-precision code. */
export function halfToNumber(code: number): number {
  const sign = code & 0x8000 ? -1 : 1;
  const exponent = (code >> 10) & 0x1f;
  const mantissa = code & 0x3ff;
  if (exponent === 0) return sign * mantissa * 2 ** -24;
  if (exponent === 31) return mantissa ? NaN : sign * Infinity;
  return sign * (1 + mantissa / 1024) * 2 ** (exponent - 15);
}

/** All values, indexed by code. */
export function halfTable(): Float32Array {
  if (!table) {
    table = new Float32Array(65536);
    for (let code = 0; code < 65536; code++) table[code] = halfToNumber(code);
  }
  return table;
}

/** Decode an array of codes, each times a scale. */
export function decodeHalf(codes: Uint16Array, scale = 1): Float32Array {
  const values = halfTable();
  const out = new Float32Array(codes.length);
  for (let i = 0; i < codes.length; i++) out[i] = values[codes[i]!]! * scale;
  return out;
}

/** Round to the nearest half-precision code (ties to even), as numpy does. Used by tests. */
export function encodeHalf(value: number): number {
  const sign = value < 0 || Object.is(value, -0) ? 0x8000 : 0;
  const x = Math.abs(value);
  if (Number.isNaN(x)) return 0x7e00;
  if (x >= 65520) return sign | 0x7c00;
  const exponent = x < 2 ** -14 ? -14 : Math.floor(Math.log2(x));
  const scaled = x / 2 ** (exponent - 10);
  let mantissa = Math.floor(scaled);
  const rest = scaled - mantissa;
  if (rest > 0.5 || (rest === 0.5 && mantissa & 1)) mantissa += 1;
  if (x < 2 ** -14) return sign | mantissa;
  return sign | (((exponent + 15) << 10) + (mantissa - 1024));
}
