/** Colour maps: evenly spaced stops of matplotlib's maps of the same names, and edviz's own "density". */

const STOPS: Record<string, string> = {
  density: "c8f0e084d3c23fa9b82469a82a2470",
  viridis:
    "44015448186a472d7b4240863b528b33638d2c728e26828e21918c1fa08828ae803fbc735ec96284d44baddc30d8e219fde7" +
  "25",
  magma:
    "0000040a08221d114736106b51127c6a1c818326819c2e7fb73779d0416fe75263f56b5cfc8961fea772fec488fde2a3fcfd" +
  "bf",
  cividis:
    "00224e002e6a1a386f32436d434e6c535a6d61656f6f70737d7c788c88789b9476aba072bcae6ccdbb63dec958f0d846fee8" +
  "38",
  inferno:
    "0000040b0724210c4a3d096557106e71196e8a226aa32c61bc3754d24644e45a31f1731df98e09fcac11f9cb35f2ea69fcff" +
  "a4",
  coolwarm:
    "3b4cc04e68d86282ea779af78db0fea3c2feb9d0f9ccd9eddddcdcecd3c5f5c4acf7b093f4987aeb7d62dd5f4bca3b37b404" +
  "26",
  RdBu_r:
    "0530611752902a71b23f8ec06bacd19bc9e0c2ddece0ecf3f7f6f6fbe5d8fbccb4f5aa89e48066d05548ba2832930e266700" +
  "1f",
};

export const COLORMAPS = Object.keys(STOPS);

/** The stops of a map as [r, g, b] of 0 to 255; an unknown name gives the first map. */
function stops(name: string): number[][] {
  const hex = STOPS[name] ?? STOPS.density!;
  return (hex.match(/.{6}/g) ?? []).map((c) => [0, 2, 4].map((i) => parseInt(c.slice(i, i + 2), 16)));
}

/** Colour at t in [0, 1]. */
export function colorAt(name: string, t: number): [number, number, number] {
  const s = stops(name);
  const x = Math.min(1, Math.max(0, t)) * (s.length - 1);
  const i = Math.min(s.length - 2, Math.floor(x));
  return [0, 1, 2].map((c) => Math.round(s[i]![c]! + (x - i) * (s[i + 1]![c]! - s[i]![c]!))) as [number, number, number];
}

/** 256 RGBA texels. */
export function lookup(name: string): Uint8Array {
  const out = new Uint8Array(1024);
  for (let i = 0; i < 256; i++) out.set([...colorAt(name, i / 255), 255], 4 * i);
  return out;
}

export function cssGradient(name: string): string {
  return `linear-gradient(to right, ${stops(name)
    .map((c) => `rgb(${c.join()})`)
    .join()})`;
}
