// Curves and planes for panels: put in front of a panel's own script (edviz/widgets/charts.py). Plain JavaScript.

const SVG = "http://www.w3.org/2000/svg";
const AIMD = "#0072B2";
const GENERATED = "#D55E00";
const COLORS = [[200, 240, 224], [132, 211, 194], [63, 169, 184], [36, 105, 168], [42, 36, 112]];

function element(tag, className, text) {
  const made = document.createElement(tag);
  if (className) made.className = className;
  if (text !== undefined) made.textContent = text;
  return made;
}

function shape(tag, attributes, parent) {
  const made = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  parent?.append(made);
  return made;
}

function number(x) {
  if (x === 0) return "0";
  const size = Math.abs(x);
  return size >= 1e5 || size < 1e-3 ? x.toExponential(1).replace("e+", "e") : String(Number(x.toPrecision(3)));
}

function duration(seconds) {
  const s = Math.max(0, Math.round(seconds));
  const two = (n) => String(n).padStart(2, "0");
  return s >= 3600 ? `${Math.floor(s / 3600)} h ${two(Math.floor((s % 3600) / 60))} min` : `${Math.floor(s / 60)}:${two(s % 60)} min`;
}

/** A moving average that follows noisy curves. */
function smooth(values) {
  const weight = Math.min(0.9, values.length / 60);
  let mean = values[0];
  return values.map((v) => (mean = weight * mean + (1 - weight) * v));
}

function ticks(low, high, count) {
  const raw = (high - low) / count;
  const power = 10 ** Math.floor(Math.log10(raw));
  const step = [1, 2, 5, 10].map((m) => m * power).find((s) => s >= 0.7 * raw) ?? raw;
  const found = [];
  // Multiples, not sums: a sum that should be zero is some 1e-17.
  for (let k = Math.ceil(low / step - 1e-9); k * step <= high + 1e-9 * step; k++) found.push(Number((k * step).toPrecision(12)));
  return found;
}

/** Ticks of a logarithmic axis given in log10: powers of ten, 1, 2, 5 of them, or even ones where the range is short. */
function logTicks(low, high) {
  if (high - low < 1) return ticks(10 ** low, 10 ** high, 4).map(Math.log10);
  const found = [];
  for (let p = Math.floor(low); p <= Math.ceil(high); p++) {
    for (const m of high - low > 2.5 ? [1] : [1, 2, 5]) {
      const x = p + Math.log10(m);
      if (x >= low - 1e-9 && x <= high + 1e-9) found.push(x);
    }
  }
  return found.length > 1 ? found : [low, high];
}

/** Lines in a small frame. series: [{x, y, color, width, opacity, dashed, fill}] */
function chart(title, note, series, { log = false, xLabel = "" } = {}) {
  const [width, height, left, right, top, bottom] = [300, 170, 46, 8, 8, 30];
  const box = element("figure", "edviz-training-chart");
  const caption = element("figcaption", "", title);
  caption.append(element("span", "edviz-training-note", note));
  box.append(caption);
  const svg = shape("svg", { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": `${title}: ${note}` });
  box.append(svg);
  const scaled = (y) => (log ? Math.log10(Math.max(y, 1e-12)) : y);
  const xs = series.flatMap((s) => s.x);
  const ys = series.flatMap((s) => s.y.map(scaled));
  let [x0, x1] = [Math.min(...xs), Math.max(...xs)];
  let [y0, y1] = [Math.min(...ys), Math.max(...ys)];
  if (!(x1 > x0)) [x0, x1] = [x0 - 1, x0 + 1];
  const room = Math.max((y1 - y0) * 0.08, log ? 0.02 : 1e-9 + 0.02 * Math.abs(y1));
  [y0, y1] = [series[0]?.fill ? 0 : y0 - room, y1 + room];
  const X = (x) => left + ((x - x0) / (x1 - x0)) * (width - left - right);
  const Y = (y) => height - bottom - ((y - y0) / (y1 - y0)) * (height - top - bottom);
  for (const y of log ? logTicks(y0, y1) : ticks(y0, y1, 4)) {
    shape("line", { x1: left, x2: width - right, y1: Y(y), y2: Y(y), class: "grid" }, svg);
    shape("text", { x: left - 4, y: Y(y) + 3.5, "text-anchor": "end" }, svg).textContent = number(log ? 10 ** y : y);
  }
  for (const x of ticks(x0, x1, 4)) {
    shape("text", { x: X(x), y: height - bottom + 13, "text-anchor": "middle" }, svg).textContent = number(x);
  }
  shape("text", { x: (left + width - right) / 2, y: height - 3, "text-anchor": "middle" }, svg).textContent = xLabel;
  for (const s of series) {
    const points = s.x.map((x, i) => `${X(x).toFixed(1)},${Y(scaled(s.y[i])).toFixed(1)}`);
    const style = { stroke: s.color, "stroke-width": s.width ?? 1.6, opacity: s.opacity ?? 1, fill: "none" };
    if (s.dashed) style["stroke-dasharray"] = "5 3";
    if (points.length === 1) shape("circle", { cx: X(s.x[0]), cy: Y(scaled(s.y[0])), r: 2.5, fill: s.color }, svg);
    else shape("polyline", { points: points.join(" "), ...style }, svg);
    if (s.fill) {
      const area = `${X(x0)},${Y(0)} ${points.join(" ")} ${X(x1)},${Y(0)}`;
      shape("polygon", { points: area, fill: s.color, opacity: 0.15 }, svg);
    }
  }
  return box;
}

/** A plane of a density, drawn in its own cell. */
function plane(values, [va, vb], [low, high]) {
  const [na, nb] = [values.length, values[0].length];
  const image = new ImageData(na, nb);
  for (let i = 0; i < na; i++) {
    for (let j = 0; j < nb; j++) {
      const at = Math.min(Math.max((values[i][j] - low) / (high - low || 1), 0), 1) * (COLORS.length - 1);
      const k = Math.min(Math.floor(at), COLORS.length - 2);
      for (let c = 0; c < 3; c++) image.data[4 * (j * na + i) + c] = COLORS[k][c] + (at - k) * (COLORS[k + 1][c] - COLORS[k][c]);
      image.data[4 * (j * na + i) + 3] = 255;
    }
  }
  const small = element("canvas");
  [small.width, small.height] = [na, nb];
  small.getContext("2d").putImageData(image, 0, 0);
  const canvas = element("canvas", "edviz-training-plane");
  const corners = [[0, 0], va, vb, [va[0] + vb[0], va[1] + vb[1]]];
  const [xs, ys] = [0, 1].map((axis) => corners.map((p) => p[axis]));
  const [x0, y0] = [Math.min(...xs), Math.min(...ys)];
  const scale = 280 / Math.max(Math.max(...xs) - x0, Math.max(...ys) - y0);
  [canvas.width, canvas.height] = [(Math.max(...xs) - x0) * scale, (Math.max(...ys) - y0) * scale];
  const context = canvas.getContext("2d");
  context.setTransform(
    (va[0] * scale) / na, (-va[1] * scale) / na, (vb[0] * scale) / nb, (-vb[1] * scale) / nb,
    -x0 * scale, canvas.height + y0 * scale,
  );
  context.drawImage(small, 0, 0);
  return canvas;
}
