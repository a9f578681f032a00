/** Fail if the built files in ../static are not what the sources give. */

import { readFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { bundle } from "./build.mjs";

const target = join(dirname(fileURLToPath(import.meta.url)), "../static");
const stale = [];
for (const [name, text] of Object.entries(await bundle())) {
  const built = await readFile(join(target, name), "utf8").catch(() => null);
  if (built !== text) stale.push(name);
}
if (stale.length) {
  console.error(`edviz/widgets/static/${stale.join(", ")}: not what the sources give; run "npm run build" and commit the result`);
  process.exit(1);
}
console.log("the built files are up to date");
