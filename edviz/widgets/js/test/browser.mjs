/**
 * The built module in a real browser with software GL, in a page from disk with the network off: `npm run browser`.
 *
 * The field is a ball off the centre of a cell with three different sides, so that every axis has its own answer.
 * CHROMIUM names the browser; screenshots go to the folder in SHOTS, if set.
 */

import assert from "node:assert/strict";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { chromium } from "playwright-core";

const built = join(dirname(fileURLToPath(import.meta.url)), "../../static");
const SHAPE = [24, 32, 40];
const SIDES = [6, 8, 10];
const FRAMES = 12;
const RADIUS = 1.6;
/** Codes: even, from here on. */
const LOWEST = 6.2e-5;
const STEP = (1 - LOWEST) / 65535;

/** exp(-(d / 1.6)^2) around a place that moves along a with the frame: the level 1/e is a sphere of radius 1.6. */
function embedded(frame) {
  const centre = [(0.25 + frame / FRAMES) * SIDES[0], 0.5 * SIDES[1], 0.75 * SIDES[2]];
  const codes = new Uint16Array(SHAPE[0] * SHAPE[1] * SHAPE[2]);
  let p = 0;
  for (let i = 0; i < SHAPE[0]; i++)
    for (let j = 0; j < SHAPE[1]; j++)
      for (let k = 0; k < SHAPE[2]; k++) {
        const d = [i, j, k].map((n, x) => {
          const away = (n / SHAPE[x]) * SIDES[x] - centre[x];
          return away - SIDES[x] * Math.round(away / SIDES[x]);
        });
        codes[p++] = Math.round((Math.exp(-(d[0] ** 2 + d[1] ** 2 + d[2] ** 2) / RADIUS ** 2) * (1 - LOWEST)) / STEP);
      }
  const base64 = (array) => Buffer.from(array.buffer).toString("base64");
  return { sample: 0, frame, shape: SHAPE, stride: 1, min: LOWEST, max: 1, electrons: 2, code: { offset: LOWEST, step: STEP, knee: 0 }, volume: base64(codes), positions: base64(Float32Array.from([centre[0], centre[1] + 2.5, centre[2]])) };
}

function data(state = {}) {
  const meta = {
    n_frames: FRAMES, n_samples: 1, shape: SHAPE, cell: SIDES.map((s, i) => SIDES.map((_, x) => (x === i ? s : 0))), origin: [0, 0, 0],
    numbers: [3], times: Array.from({ length: FRAMES }, (_, i) => 10 * i), kind: "valence", units: "e/angstrom^3", name: "ball", signed: false,
    n_electrons: 2, range: [LOWEST, 1], periodic: true, has_second: false,
  };
  return { state: { meta, levels: [Math.exp(-1)], ...state }, frames: Array.from({ length: FRAMES }, (_, i) => embedded(i)) };
}

const folder = await mkdtemp(join(tmpdir(), "edviz-"));
const [script, style] = await Promise.all(["viewer.js", "viewer.css"].map((name) => readFile(join(built, name), "utf8")));
const file = join(folder, "page.html");
await writeFile(file, `<!doctype html><meta charset="utf-8"><style>${style}</style><body><script type="module">${script}</script></body>`);

const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
  args: ["--use-angle=swiftshader", "--enable-unsafe-swiftshader", "--no-sandbox"],
});
const context = await browser.newContext({ viewport: { width: 800, height: 1250 }, offline: true });
const problems = [];

async function fresh(...states) {
  const page = await context.newPage();
  page.on("pageerror", (error) => problems.push(String(error)));
  page.on("console", (message) => message.type() === "error" && problems.push(message.text()));
  page.on("request", (request) => /^(file|blob|data):/.test(request.url()) || problems.push(`network: ${request.url()}`));
  await page.goto(pathToFileURL(file).href);
  await page.evaluate((all) => {
    window.off = all.map((each, i) => {
      const el = document.createElement("div");
      el.id = `v${i}`;
      document.body.append(el);
      return globalThis[Symbol.for("edviz")].mount(el, each);
    });
  }, states.map(data));
  for (let i = 0; i < states.length; i++) await page.waitForFunction((i) => document.getElementById(`v${i}`).edviz.stats.drawnFrame !== null, i);
  return page;
}
const stats = (page, i = 0) => page.evaluate((i) => ({ ...document.getElementById(`v${i}`).edviz.stats }), i);
const drawn = (page, frame, i = 0) => page.waitForFunction(([i, frame]) => document.getElementById(`v${i}`).edviz.stats.drawnFrame === frame, [i, frame]);
const rest = (page) => page.waitForTimeout(700);
async function shot(page, name) {
  await rest(page);
  if (process.env.SHOTS) await page.screenshot({ path: join(process.env.SHOTS, `${name}.png`) });
}

/** Centre and number of the canvas pixels with a surface's colour, as fractions of the canvas. */
const coloured = (page, i = 0) =>
  page.evaluate(async (i) => {
    const bitmap = await createImageBitmap(await document.getElementById(`v${i}`).edviz.snapshot());
    const canvas = new OffscreenCanvas(bitmap.width, bitmap.height);
    const g = canvas.getContext("2d");
    g.drawImage(bitmap, 0, 0);
    const { data: rgba } = g.getImageData(0, 0, bitmap.width, bitmap.height);
    let [n, x, y] = [0, 0, 0];
    for (let p = 0; p < rgba.length; p += 4) {
      if (rgba[p] > rgba[p + 2] - 40) continue; // teal: much more blue than red
      n += 1;
      x += (p / 4) % bitmap.width;
      y += Math.floor(p / 4 / bitmap.width);
    }
    return { share: n / (bitmap.width * bitmap.height), x: x / n / bitmap.width, y: y / n / bitmap.height };
  }, i);

const tests = {
  async "a sphere is drawn where it is, with its volume and area"() {
    const page = await fresh({ show_atoms: false, camera: { position: [3, -60, 5], target: [3, 4, 5], up: [0, 0, 1] } });
    await shot(page, "sphere");
    const s = await stats(page);
    assert(Math.abs(s.surfaceVolume / ((4 / 3) * Math.PI * RADIUS ** 3) - 1) < 0.03, `volume ${s.surfaceVolume}`);
    // Seen along b: a to the right, c up. The ball is at a quarter of a, three quarters of c.
    const seen = await coloured(page);
    assert(seen.share > 0.005, JSON.stringify(seen));
    assert(seen.x < 0.49 && seen.x > 0.4, JSON.stringify(seen));
    assert(seen.y < 0.45 && seen.y > 0.2, JSON.stringify(seen));
    // Three frames on it has moved by a quarter of a.
    await page.evaluate(() => document.getElementById("v0").edviz.session.set("frame", 3));
    await drawn(page, 3);
    const moved = await coloured(page);
    assert(moved.x - seen.x > 0.02 && Math.abs(moved.y - seen.y) < 0.01, JSON.stringify([seen, moved]));
    await page.close();
  },

  async "slider, keys, play and level do what they say"() {
    const page = await fresh({ loop: false });
    await page.locator("[data-edviz=time]").fill("5");
    await drawn(page, 5);
    await page.locator("[data-edviz=canvas]").click({ position: { x: 30, y: 300 } });
    for (const [key, frame] of [["ArrowRight", 6], ["ArrowLeft", 5], ["End", 11], ["Home", 0]]) {
      await page.keyboard.press(key);
      await drawn(page, frame);
    }
    assert.equal(await page.locator("[data-edviz=time-label]").textContent(), "0 fs1\u2009/\u200912");
    await page.keyboard.press("Space");
    await drawn(page, 11);
    await page.waitForFunction(() => !document.getElementById("v0").edviz.session.state.playing);
    const before = await stats(page);
    await page.locator("[data-edviz=level-number]").fill("0.7");
    await page.keyboard.press("Enter");
    await page.waitForFunction(() => document.getElementById("v0").edviz.stats.levels[0] === 0.7);
    assert((await stats(page)).surfaceVolume < 0.5 * before.surfaceVolume);
    const box = await page.locator(".edviz-histogram canvas").boundingBox();
    await page.mouse.move(box.x + 0.9 * box.width, box.y + 20);
    await page.mouse.down();
    await page.mouse.move(box.x + 0.7 * box.width, box.y + 20, { steps: 4 });
    await page.mouse.up();
    await page.waitForFunction(() => document.getElementById("v0").edviz.stats.levels[0] < 0.1);
    await page.locator("[data-edviz=level-mode]").selectOption("electrons");
    await page.locator("[data-edviz=level-number]").fill("50");
    await page.keyboard.press("Enter");
    await page.waitForFunction(() => /ρ = 0\.\d+ e\/Å³/.test(document.querySelector("[data-edviz=level-note]").textContent));
    await page.close();
  },

  async "every kind of picture differs from the plain one, and none stops the page"() {
    const page = await fresh({ show_atoms: false });
    const png = () => page.evaluate(async () => (await document.getElementById("v0").edviz.snapshot()).size);
    await rest(page);
    const plain = await png();
    const states = [
      ["volume", true, false], ["slices", [{ hkl: [1, 1, 0], position: 0.25 }], []], ["show_cell", false, true], ["opacity", 0.4, 1],
      ["repeat", [2, 1, 2], [1, 1, 1]], ["shift", [0.5, 0, 0], [0, 0, 0]], ["show_atoms", true, false], ["levels", [0.2, 0.6], [0.37]],
    ];
    for (const [name, on, off] of states) {
      await page.evaluate(([name, on]) => document.getElementById("v0").edviz.session.set(name, on), [name, on]);
      await shot(page, name);
      assert.notEqual(await png(), plain, name);
      await page.evaluate(([name, off]) => document.getElementById("v0").edviz.session.set(name, off), [name, off]);
      await rest(page);
    }
    await page.locator("[data-edviz=settings]").click();
    await page.locator("[data-edviz=volume]").check();
    await page.locator("[data-edviz=add-slice]").click();
    await page.locator("[data-edviz=add-level]").click();
    await shot(page, "drawer");
    const state = await page.evaluate(() => document.getElementById("v0").edviz.session.state);
    assert.equal(state.volume, true);
    assert.equal(state.slices.length, 1);
    assert.equal(state.levels.length, 2);
    await page.close();
  },

  async "while the slider moves the surface is coarse, at rest it is not"() {
    const page = await fresh({});
    const seen = await page.evaluate(async () => {
      const { edviz } = document.getElementById("v0");
      const before = edviz.stats.triangles;
      edviz.session.coarseFrom = 16;
      const slider = document.querySelector("[data-edviz=time]");
      slider.value = "4";
      while (edviz.stats.drawnFrame !== 4) {
        slider.dispatchEvent(new Event("input")); // the hand is still on it
        await new Promise((resolve) => setTimeout(resolve, 20));
      }
      return { before, moving: edviz.stats.triangles, coarse: edviz.stats.coarse, inputs: edviz.stats.drawTimes.length };
    });
    assert.equal(seen.coarse, true);
    assert.equal(seen.inputs, 1);
    assert(seen.moving < 0.5 * seen.before, JSON.stringify(seen));
    await page.waitForFunction(() => document.getElementById("v0").edviz.stats.coarse === false);
    const at = await stats(page);
    assert(at.triangles > 0.8 * seen.before);
    assert.equal(at.drawTimes.length, 1);
    await page.close();
  },

  async "linked views share time and camera, and rest when nothing happens"() {
    const page = await fresh({ link_id: "pair" }, { link_id: "pair" });
    await page.locator("#v0 [data-edviz=time]").fill("7");
    await drawn(page, 7, 1);
    const box = await page.locator("#v1 [data-edviz=canvas]").boundingBox();
    await page.mouse.move(box.x + 300, box.y + 200);
    await page.mouse.down();
    await page.mouse.move(box.x + 380, box.y + 230, { steps: 4 });
    await page.mouse.up();
    const cameras = await page.evaluate(() => ["v0", "v1"].map((id) => document.getElementById(id).edviz.session.state.camera));
    assert(cameras[0]);
    assert.deepEqual(cameras[0], cameras[1]);
    await shot(page, "linked");
    const [a, b] = [await stats(page, 0), await stats(page, 1)];
    await page.waitForTimeout(1000);
    assert.equal((await stats(page, 0)).draws, a.draws);
    assert.equal((await stats(page, 1)).draws, b.draws);
    // Taken down, nothing is left; put up again, it draws again.
    await page.evaluate(() => window.off.forEach((off) => off()));
    assert.equal(await page.locator(".edviz").count(), 0);
    await page.close();
  },

  async "twenty viewers in one page all have a picture"() {
    const page = await fresh(...Array.from({ length: 20 }, () => ({ show_histogram: false })));
    await page.waitForTimeout(1500);
    for (const i of [0, 9, 19]) assert((await coloured(page, i)).share > 0.01, `viewer ${i}`);
    await page.close();
  },
};

let failed = 0;
for (const [name, test] of Object.entries(tests)) {
  try {
    await test();
    assert.deepEqual(problems.splice(0), []);
    console.log(`ok    ${name}`);
  } catch (error) {
    failed += 1;
    console.log(`FAIL  ${name}\n${error.stack}`);
  }
}
await browser.close();
await rm(folder, { recursive: true });
process.exit(failed ? 1 : 0);
