/** The web worker: runs jobs in the order in which they come. */

import { Extraction, type Job, transferable } from "./extract";

const extraction = new Extraction();

self.onmessage = (event: MessageEvent<Job>) => {
  try {
    const result = extraction.run(event.data);
    self.postMessage(result, { transfer: transferable(result) });
  } catch (error) {
    self.postMessage({ id: event.data.id, key: event.data.key, failed: String(error) });
  }
};
