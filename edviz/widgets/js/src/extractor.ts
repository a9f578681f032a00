/**
 * The page's side of the worker: one job at a time, and behind it only the latest wish.
 *
 * Wishes that were overtaken while a job ran are dropped. Where a page forbids workers, jobs run in the page itself.
 */

import { Extraction, type Job, KEPT, type Result } from "./extract";
import workerSource from "worker:./worker.ts";

type Reply = Result | { id: number; key: string; failed: string };

export class Extractor {
  private worker: Worker | null = null;
  private local: Extraction | null = null;
  private url: string | null = null;
  private running = false;
  private waiting: Job | null = null;
  /** Keys of the frames that the worker keeps, oldest first: the mirror of Extraction's own list. */
  private held: string[] = [];
  private lastJob: Job | null = null;

  constructor(
    private readonly done: (result: Result) => void,
    private readonly failed: (text: string) => void,
  ) {
    try {
      this.url = URL.createObjectURL(new Blob([workerSource], { type: "text/javascript" }));
      this.worker = new Worker(this.url);
      this.worker.onmessage = (event: MessageEvent<Reply>) => this.reply(event.data);
      this.worker.onerror = (event) => {
        event.preventDefault();
        this.fallBack();
      };
    } catch {
      this.fallBack();
    }
  }

  /** Ask for a job. One that has not started yet is replaced. */
  submit(job: Job): void {
    this.waiting = job;
    this.next();
  }

  get busy(): boolean {
    return this.running || this.waiting !== null;
  }

  dispose(): void {
    this.worker?.terminate();
    if (this.url) URL.revokeObjectURL(this.url);
    this.worker = null;
    this.local = null;
    this.waiting = null;
  }

  private next(): void {
    if (this.running || !this.waiting) return;
    const job = this.waiting;
    this.waiting = null;
    this.running = true;
    const known = this.held.includes(job.key);
    this.held = [...this.held.filter((key) => key !== job.key), job.key].slice(-KEPT);
    if (known) delete job.codes;
    if (this.worker) {
      this.lastJob = job;
      this.worker.postMessage(job);
    } else if (this.local) {
      try {
        this.reply(this.local.run(job));
      } catch (error) {
        this.reply({ id: job.id, key: job.key, failed: String(error) });
      }
    }
  }

  private reply(reply: Reply): void {
    this.running = false;
    if ("failed" in reply) {
      this.held = this.held.filter((key) => key !== reply.key);
      this.failed(reply.failed);
    } else this.done(reply);
    this.next();
  }

  /** The worker could not start: do its work here. */
  private fallBack(): void {
    this.worker?.terminate();
    this.worker = null;
    this.local = new Extraction();
    this.held = [];
    this.running = false;
    if (this.lastJob?.codes && !this.waiting) this.waiting = this.lastJob;
    this.next();
  }
}
