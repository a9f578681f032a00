/** Building the controls: elements with attributes and children, numbers and units as they are printed. */

type Attributes = Record<string, string | number | boolean | undefined | ((event: never) => void)>;

export function h<K extends keyof HTMLElementTagNameMap>(tag: K, attributes: Attributes = {}, ...children: (Node | string)[]): HTMLElementTagNameMap[K] {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === "function") element.addEventListener(name, value as (event: Event) => void);
    else if (value === true) element.setAttribute(name, "");
    else if (value !== false && value !== undefined) element.setAttribute(name, String(value));
  }
  element.append(...children);
  return element;
}

const ICONS: Record<string, string> = {
  play: "M5 3.2v9.6L13 8z",
  pause: "M4 3h3v10H4zM9 3h3v10H9z",
  gear: "M2 4.5h6.2a2 2 0 0 0 3.8 0h2M2 11.5h2.2m3.6 0H14M4 11.5a2 2 0 1 0 4 0 2 2 0 0 0-4 0M8.2 4.5a2 2 0 1 0 4 0 2 2 0 0 0-4 0",
  home: "M2.5 8 8 3l5.5 5M4.2 7v6h7.6V7",
  camera: "M2 5h3l1-1.6h4L11 5h3v8H2zM8 6.6a2.3 2.3 0 1 0 0 4.6 2.3 2.3 0 0 0 0-4.6",
  loop: "M12.5 6.2A5 5 0 0 0 3.3 6M3.5 9.8a5 5 0 0 0 9.2.2M3 3v3.2h3.2M13 13V9.8H9.8",
  back: "M10.5 3.5 5.5 8l5 4.5M3.5 3.5v9",
  plus: "M8 3v10M3 8h10",
  minus: "M3.5 8h9",
  close: "M4 4l8 8M12 4l-8 8",
};

export function icon(name: string): SVGSVGElement {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  svg.setAttribute("viewBox", "0 0 16 16");
  svg.setAttribute("aria-hidden", "true");
  const path = document.createElementNS("http://www.w3.org/2000/svg", "path");
  path.setAttribute("d", ICONS[name] ?? "");
  if (name === "play" || name === "pause") path.setAttribute("class", "edviz-solid");
  svg.append(path);
  return svg;
}

/** Any CSS colour as #rrggbb, its transparency left out: three.js and colour inputs know no newer notation. */
export function plainColor(css: string): string {
  const canvas = h("canvas", { width: 1, height: 1 });
  const context = canvas.getContext("2d", { willReadFrequently: true })!;
  context.fillStyle = css;
  context.fillRect(0, 0, 1, 1);
  const [r, g, b] = context.getImageData(0, 0, 1, 1).data;
  return `#${[r, g, b].map((x) => x!.toString(16).padStart(2, "0")).join("")}`;
}

/** A number with as many digits as one reads: 0.0438, 12.3, 1.2e-7. */
export function digits(x: number, n = 3): string {
  if (x === 0) return "0";
  if (!Number.isFinite(x)) return "–";
  const size = Math.abs(x);
  return (size >= 1e-4 && size < 1e5 ? String(Number(x.toPrecision(n))) : x.toExponential(n - 1)).replace("-", "−");
}

/** A time in fs with thin spaces between thousands. */
export function femtoseconds(t: number): string {
  const text = Number.isInteger(t) ? String(t) : t.toFixed(Math.abs(t) < 100 ? 2 : 1);
  return text.replace(/\B(?=(\d{3})+(?!\d))/g, "\u2009");
}

/** As `edviz.plotting.theme.pretty_units`: e/angstrom^3 becomes e/Å³. */
export function prettyUnits(units: string): string {
  if (units === "1") return "";
  return units.replace("angstrom", "Å").replace("^-1.5", "⁻³ᐟ²").replace("^3", "³").replace("^2", "²").replace("^-1", "⁻¹");
}

const SYMBOLS: Record<string, string> = { potential: "V", elf: "ELF", orbital: "ψ" };
const NAMES: Record<string, string> = {
  valence: "valence density",
  total: "total density",
  pseudo: "pseudo density",
  potential: "potential",
  elf: "electron localization function",
  orbital: "orbital",
};

export function fieldSymbol(kind: string): string {
  return SYMBOLS[kind] ?? (kind.includes("difference") ? "Δρ" : "ρ");
}

export function fieldName(kind: string): string {
  return NAMES[kind] ?? kind;
}
