/** Tests run without a browser: no worker, so jobs run in place. */

import { defineConfig } from "vitest/config";

export default defineConfig({
  plugins: [
    {
      name: "no-worker",
      enforce: "pre",
      resolveId: (id) => (id.startsWith("worker:") ? "\0worker" : undefined),
      load: (id) => (id === "\0worker" ? 'export default ""' : undefined),
    },
  ],
  test: { include: ["test/*.test.ts"], testTimeout: 60_000 },
});
