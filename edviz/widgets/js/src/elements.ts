/**
 * Colours (Jmol's) and covalent radii (Cordero et al., Dalton Trans. 2832, 2008) of the elements, as in ase.data.
 */

const RADII = (
  "0.20 0.31 0.28 1.28 0.96 0.84 0.76 0.71 0.66 0.57 0.58 1.66 1.41 1.21 1.11 1.07 1.05 1.02 1.06 2.03 " +
  "1.76 1.70 1.60 1.53 1.39 1.39 1.32 1.26 1.24 1.32 1.22 1.22 1.20 1.19 1.20 1.20 1.16 2.20 1.95 1.90 " +
  "1.75 1.64 1.54 1.47 1.46 1.42 1.39 1.45 1.44 1.42 1.39 1.39 1.38 1.39 1.40 2.44 2.15 2.07 2.04 2.03 " +
  "2.01 1.99 1.98 1.98 1.96 1.94 1.92 1.92 1.89 1.90 1.87 1.87 1.75 1.70 1.62 1.51 1.44 1.41 1.36 1.36 " +
  "1.32 1.45 1.46 1.48 1.40 1.50 1.50 2.60 2.21 2.15 2.06 2.00 1.96 1.90 1.87 1.80 1.69"
)
  .split(" ")
  .map(Number);

const COLORS =
  "ff0000ffffffd9ffffcc80ffc2ff00ffb5b59090903050f8ff0d0d90e050b3e3f5ab5cf28aff00bfa6a6f0c8a0ff8000ffff30" +
  "1ff01f80d1e38f40d43dff00e6e6e6bfc2c7a6a6ab8a99c79c7ac7e06633f090a050d050c880337d80b0c28f8f668f8fbd80e3" +
  "ffa100a629295cb8d1702eb000ff0094ffff94e0e073c2c954b5b53b9e9e248f8f0a7d8c006985c0c0c0ffd98fa67573668080" +
  "9e63b5d47a00940094429eb057178f00c90070d4ffffffc7d9ffc7c7ffc7a3ffc78fffc761ffc745ffc730ffc71fffc700ff9c" +
  "00e67500d45200bf3800ab244dc2ff4da6ff2194d6267dab266696175487d0d0e0ffd123b8b8d0a6544d5759619e4fb5ab5c00" +
  "754f45428296420066007d0070abfa00baff00a1ff008fff0080ff006bff545cf2785ce3";

/** Covalent radius in angstrom. */
export function covalentRadius(z: number): number {
  return RADII[z] ?? 1.5;
}

/** Colour as #rrggbb. */
export function elementColor(z: number): string {
  return z > 0 && 6 * z < COLORS.length ? `#${COLORS.slice(6 * z, 6 * z + 6)}` : "#a0a0a0";
}
