/**
 * What all viewers of one page share: a single WebGL renderer, and the bus between linked viewers.
 *
 * Browsers drop the oldest of more than about sixteen WebGL contexts, and a notebook can hold more viewers than that.
 * So one hidden canvas renders for all, and hands each picture to the canvas of its view without a copy.
 */

import { Camera, LinearFilter, Mesh, type PerspectiveCamera, PlaneGeometry, Scene, WebGLRenderer, WebGLRenderTarget } from "three";
import { copyMaterial } from "./materials";
import type { CameraState } from "./protocol";

let renderer: WebGLRenderer | null = null;
let users = 0;
const restored = new Set<() => void>();

/** Take part in the renderer; the callback runs when a lost context is back. */
export function acquireRenderer(redraw: () => void): void {
  users += 1;
  restored.add(redraw);
}

export function releaseRenderer(redraw: () => void): void {
  users -= 1;
  restored.delete(redraw);
  if (users > 0 || !renderer) return;
  detour?.dispose();
  detour = null;
  renderer.dispose();
  renderer.forceContextLoss();
  renderer = null;
}

function theRenderer(): WebGLRenderer {
  if (renderer) return renderer;
  const canvas = new OffscreenCanvas(16, 16);
  renderer = new WebGLRenderer({ canvas, antialias: false, alpha: true, powerPreference: "high-performance" });
  renderer.setPixelRatio(1);
  renderer.setClearColor(0x000000, 0);
  canvas.addEventListener("webglcontextrestored", () => restored.forEach((redraw) => redraw()));
  return renderer;
}

let software: boolean | null = null;

/** True if the browser draws WebGL on the processor, where every pixel is dear. */
export function isSoftware(): boolean {
  if (software !== null) return software;
  if (typeof OffscreenCanvas === "undefined") return (software = false);
  let name: string;
  try {
    const gl = theRenderer().getContext();
    const info = gl.getExtension("WEBGL_debug_renderer_info");
    name = String(gl.getParameter(info ? info.UNMASKED_RENDERER_WEBGL : gl.RENDERER));
  } catch {
    return (software = false); // no WebGL at all: the first picture says so
  }
  return (software = /swiftshader|llvmpipe|softpipe|software|basic render/i.test(name));
}

/**
 * The hidden canvas, `width` x `height` pixels large.
 *
 * Its size is changed as rarely as can be: that waits for everything the browser has yet to draw, 30 ms and more in
 * software. So pictures of more or fewer pixels than their view go through a texture of their own.
 */
function sized(width: number, height: number): OffscreenCanvas {
  const gl = theRenderer();
  const canvas = gl.domElement as unknown as OffscreenCanvas;
  if (canvas.width !== width || canvas.height !== height) gl.setSize(width, height, false);
  return canvas;
}

/** A texture to draw to, and the square that brings it to the canvas; premultiplied colours as they are. */
class Detour {
  private readonly target = new WebGLRenderTarget(1, 1, { minFilter: LinearFilter, magFilter: LinearFilter });
  private readonly scene = new Scene();
  private readonly camera = new Camera();
  private readonly square = new Mesh(new PlaneGeometry(2, 2), copyMaterial(this.target.texture));

  constructor() {
    this.square.frustumCulled = false;
    this.scene.add(this.square);
  }

  render(gl: WebGLRenderer, scene: Scene, camera: PerspectiveCamera, width: number, height: number): void {
    this.target.setSize(width, height);
    gl.setRenderTarget(this.target);
    gl.render(scene, camera);
    gl.setRenderTarget(null);
    gl.render(this.scene, this.camera);
  }

  dispose(): void {
    this.target.dispose();
    this.square.geometry.dispose();
    this.square.material.dispose();
  }
}

let detour: Detour | null = null;

/**
 * Draw a scene with `factor` times the pixels of a view, each way, and hand the picture to its canvas.
 *
 * With `wait` the call returns when the pixels are there (for measurements), else when they are ordered.
 */
export function drawTo(target: ImageBitmapRenderingContext, scene: Scene, camera: PerspectiveCamera, size: readonly [number, number], factor: number, wait: boolean): void {
  const gl = theRenderer();
  const canvas = sized(...size);
  if (factor === 1) gl.render(scene, camera);
  else (detour ??= new Detour()).render(gl, scene, camera, Math.round(size[0] * factor), Math.round(size[1] * factor));
  if (wait) {
    const context = gl.getContext();
    context.readPixels(0, 0, 1, 1, context.RGBA, context.UNSIGNED_BYTE, new Uint8Array(4));
  }
  target.transferFromImageBitmap(canvas.transferToImageBitmap());
}

/** Draw a scene on a colour and return it as a PNG. */
export async function drawPng(scene: Scene, camera: PerspectiveCamera, width: number, height: number, background: string): Promise<Blob> {
  const copy = new OffscreenCanvas(width, height);
  const context = copy.getContext("2d")!;
  context.fillStyle = background;
  context.fillRect(0, 0, width, height);
  const picture = sized(width, height);
  theRenderer().render(scene, camera);
  context.drawImage(picture, 0, 0);
  return copy.convertToBlob({ type: "image/png" });
}

/** What linked viewers tell each other. */
export interface LinkMessage {
  link: string;
  from: object;
  camera?: CameraState | null;
  /** fs */
  time?: number;
  playing?: boolean;
  speed?: number;
}

/** One bus a page, whichever copy of this module came first. */
const bus: EventTarget = ((globalThis as Record<symbol, unknown>)[Symbol.for("edviz.bus")] ??= new EventTarget()) as EventTarget;

export function tell(message: LinkMessage): void {
  bus.dispatchEvent(new CustomEvent("edviz", { detail: message }));
}

export function listen(callback: (message: LinkMessage) => void): () => void {
  const listener = (event: Event): void => callback((event as CustomEvent<LinkMessage>).detail);
  bus.addEventListener("edviz", listener);
  return () => bus.removeEventListener("edviz", listener);
}
