/**
 * The part of `jsr:@std/path` that Cyclops uses, over Deno's own `node:path` and `node:url`: no third party, no network.
 * Delete `links` from deno.json to use JSR's.
 *
 * @module
 */
export { basename, dirname, extname, isAbsolute, join, relative, resolve } from "node:path";
export { fileURLToPath as fromFileUrl, pathToFileURL as toFileUrl } from "node:url";
