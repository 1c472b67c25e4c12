/**
 * Where libtensorflow lies: a folder per variant in the user's cache, shared by all clones.
 *
 * @module
 */
import { join } from "@std/path";
import { CyclopsError } from "../base/errors.ts";

/** The version this project is tested with; the first whose wheel carries a C library is 2.12. */
export const TENSORFLOW_VERSION = "2.15.1";

/** File of the C API inside a variant's folder, in the wheel's own layout. */
export const LIBRARY_FILE = "tensorflow/libtensorflow_cc.so.2";

/** File that {@linkcode LIBRARY_FILE} itself loads from beside it. */
export const FRAMEWORK_FILE = "tensorflow/libtensorflow_framework.so.2";

/**
 * The project's folder in the user's cache: `$XDG_CACHE_HOME/cyclops`, or `~/.cache/cyclops`.
 *
 * @throws {CyclopsError} When neither variable is set.
 */
export function cacheFolder(): string {
  const cache = Deno.env.get("XDG_CACHE_HOME");
  if (cache) return join(cache, "cyclops");
  const home = Deno.env.get("HOME");
  if (home) return join(home, ".cache", "cyclops");
  throw new CyclopsError(
    "Cannot find the cache folder: neither XDG_CACHE_HOME nor HOME is set; set XDG_CACHE_HOME to a writable folder",
  );
}

/** The folder that holds all variants of the library. */
export function libraryRoot(): string {
  return join(cacheFolder(), "libtensorflow");
}

/** Which build of the library: the package it comes from and its version. */
export interface Variant {
  /** `tensorflow-cpu`, or `tensorflow` for the CUDA build. */
  readonly package: "tensorflow-cpu" | "tensorflow";
  /** e.g. "2.15.1". */
  readonly version: string;
}

/** The variant used when nothing else was asked for. */
export const DEFAULT_VARIANT: Variant = { package: "tensorflow-cpu", version: TENSORFLOW_VERSION };

/** "tensorflow-cpu-2.15.1". */
export function variantName(variant: Variant): string {
  return `${variant.package}-${variant.version}`;
}

/** The folder of one variant. */
export function variantFolder(variant: Variant, root: string = libraryRoot()): string {
  return join(root, variantName(variant));
}

/** Records which variant `deno task setup` fetched last, so that later tasks use it. */
export function chosenFile(root: string = libraryRoot()): string {
  return join(root, "chosen.json");
}

/** A library that was found. */
export interface FoundLibrary {
  /** Path of `libtensorflow_cc.so.2`. */
  readonly path: string;
  /** Why this one: "CYCLOPS_LIBTENSORFLOW", "deno task setup". */
  readonly source: string;
  /** Whether it is the CUDA build that was fetched here; unknown for a library of the user's own. */
  readonly cuda?: boolean;
}

/**
 * Looks for the library, in this order: `CYCLOPS_LIBTENSORFLOW` (the file, or a folder that holds it), the variant
 * that `deno task setup` fetched last, the default variant. Loads nothing.
 *
 * @returns `undefined` when there is none.
 * @throws {CyclopsError} When `CYCLOPS_LIBTENSORFLOW` names something that is not there.
 */
export function findLibrary(root?: string): FoundLibrary | undefined {
  const given = Deno.env.get("CYCLOPS_LIBTENSORFLOW");
  if (given) {
    const name = LIBRARY_FILE.split("/").pop()!;
    const candidates = [given, join(given, name), join(given, "lib", name), join(given, LIBRARY_FILE)];
    const path = candidates.find(isFile);
    if (path) return { path, source: "CYCLOPS_LIBTENSORFLOW" };
    throw new CyclopsError(
      `Cannot use CYCLOPS_LIBTENSORFLOW=${given}: no ${name} there; give the file or the folder that holds it, ` +
        "or unset the variable and run deno task setup",
    );
  }
  root ??= libraryRoot();
  const chosen = readChosen(root);
  for (const variant of chosen ? [chosen, DEFAULT_VARIANT] : [DEFAULT_VARIANT]) {
    const path = join(variantFolder(variant, root), LIBRARY_FILE);
    if (!isFile(path)) continue;
    return {
      path,
      source: `deno task setup (${variantName(variant)})`,
      cuda: variant.package === "tensorflow",
    };
  }
  return undefined;
}

/** The variant fetched last, or `undefined` when the record is absent or unreadable. */
export function readChosen(root: string = libraryRoot()): Variant | undefined {
  try {
    const record = JSON.parse(Deno.readTextFileSync(chosenFile(root))) as Partial<Variant>;
    const known = record.package === "tensorflow-cpu" || record.package === "tensorflow";
    if (known && typeof record.version === "string" && /^[\w.]+$/.test(record.version)) {
      return { package: record.package!, version: record.version };
    }
  } catch {
    // Absent or damaged: the default variant will do.
  }
  return undefined;
}

function isFile(path: string): boolean {
  try {
    return Deno.statSync(path).isFile;
  } catch {
    return false;
  }
}
