/**
 * Build the widget's module and style sheet: `node build.mjs [target folder]`.
 *
 * The worker is bundled first and becomes a string inside the module, so the result is one file that loads nothing.
 */

import { createHash } from "node:crypto";
import { mkdir, readFile, writeFile } from "node:fs/promises";
import { dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";

const here = dirname(fileURLToPath(import.meta.url));
const common = { bundle: true, minify: true, target: "es2022", write: false, legalComments: "none", logLevel: "error", charset: "utf8" };

const inlineWorker = {
  name: "inline-worker",
  setup(build_) {
    build_.onResolve({ filter: /^worker:/ }, ({ path, resolveDir }) => ({ path: resolve(resolveDir, path.slice(7)), namespace: "worker" }));
    build_.onLoad({ filter: /./, namespace: "worker" }, async ({ path }) => {
      const made = await build({ ...common, entryPoints: [path], format: "iife" });
      return { contents: made.outputFiles[0].text, loader: "text" };
    });
  },
};

/** The finished files by name. */
export async function bundle() {
  const options = { ...common, entryPoints: [join(here, "src/index.ts")], format: "esm", plugins: [inlineWorker] };
  const draft = await build({ ...options, define: { BUILD: '"draft"' } });
  const name = createHash("sha256").update(draft.outputFiles[0].text).digest("hex").slice(0, 16);
  const made = await build({ ...options, define: { BUILD: JSON.stringify(name) } });
  const license = await readFile(join(here, "node_modules/three/LICENSE"), "utf8");
  const notice = `/* edviz viewer, built from edviz/widgets/js. Contains three.js:\n${license.trim()}\n*/\n`;
  const css = await build({ ...common, bundle: false, entryPoints: [join(here, "src/viewer.css")] });
  return { "viewer.js": notice + made.outputFiles[0].text, "viewer.css": css.outputFiles[0].text };
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const target = resolve(here, process.argv[2] ?? "../static");
  await mkdir(target, { recursive: true });
  for (const [name, text] of Object.entries(await bundle())) {
    await writeFile(join(target, name), text);
    console.log(`${name}: ${(text.length / 1000).toFixed(0)} kB`);
  }
}
