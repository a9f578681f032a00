/** Modules that the build makes: a worker bundled to text, and the name of the build. */

declare module "worker:*" {
  const source: string;
  export default source;
}

declare const BUILD: string;
