/**
 * Files: read with errors that name them, written atomically, locked between processes.
 *
 * @module
 */
import { createHash } from "node:crypto";
import { mkdir, open, readFile, rename, rm, stat } from "node:fs/promises";
import process from "node:process";
import { basename, dirname, join } from "@std/path";
import { CyclopsError, messageOf } from "./errors.ts";

let counter = 0;

/** A hidden name beside `path` that no other process or call uses, to write to before renaming. */
export function asideName(path: string): string {
  return join(dirname(path), `.${basename(path)}.${process.pid}.${counter++}.part`);
}

/** What the system's codes mean to a user. */
const FAULTS: Readonly<Record<string, string>> = {
  ENOENT: "no such file or folder",
  EEXIST: "a file of that name is in the way",
  EISDIR: "it is a folder, expected a file",
  ENOTDIR: "a file is in the way where a folder is expected",
  EACCES: "permission denied: check who owns the folder",
  EPERM: "permission denied: check who owns the folder",
  ENOSPC: "no space left on the disk: free some and try again",
  EROFS: "the file system is read-only",
};

/** The system's code of an error, e.g. "ENOENT": Deno's own functions set it as Node's do. */
const codeOf = (error: unknown) => (error as { code?: string } | undefined)?.code ?? "";

/** An error about a file: action, path, what the system said, how to fix it. */
export function fileError(action: string, path: string, error: unknown): CyclopsError {
  const cause = error instanceof Error ? error : undefined;
  const found = FAULTS[codeOf(error)] ?? messageOf(error).replace(/ \(os error \d+\).*$/s, "");
  return new CyclopsError(`Cannot ${action} ${path}: ${found}`, { cause });
}

/**
 * Writes a file so that `path` holds either its old content or all of the new, whatever happens meanwhile: to a
 * temporary file beside it, which is renamed.
 *
 * @param content Text, bytes, or chunks of bytes.
 * @throws {CyclopsError} When the folder cannot be written; nothing is left behind.
 */
export async function writeAtomic(
  path: string,
  content: Uint8Array | string | readonly Uint8Array[],
): Promise<void> {
  const aside = asideName(path);
  try {
    await mkdir(dirname(path), { recursive: true });
    const file = await open(aside, "w");
    try {
      const whole = typeof content === "string" ? new TextEncoder().encode(content) : content;
      for (const bytes of whole instanceof Uint8Array ? [whole] : whole) {
        for (let at = 0; at < bytes.length;) at += (await file.write(bytes, at)).bytesWritten;
      }
      await file.sync();
    } finally {
      await file.close();
    }
    await rename(aside, path);
  } catch (error) {
    await rm(aside, { force: true }).catch(() => {});
    throw fileError("write", path, error);
  }
}

/** Whether there is a file or folder of that name. */
export async function exists(path: string): Promise<boolean> {
  try {
    await stat(path);
    return true;
  } catch (error) {
    if (["ENOENT", "ENOTDIR"].includes(codeOf(error))) return false;
    throw fileError("access", path, error);
  }
}

/**
 * Reads a file whole.
 *
 * @param path Or a URL, which is fetched unless it is a file's.
 * @throws {CyclopsError} When it cannot be read, naming it.
 */
export async function readBytes(path: string | URL): Promise<Uint8Array<ArrayBuffer>> {
  const bytes = await readIfThere(path);
  if (!bytes) throw new CyclopsError(`Cannot read ${path}: no such file or folder`);
  return bytes;
}

/** As {@linkcode readBytes}, but `undefined` where there is no such file, or a server answers that there is none. */
export async function readIfThere(path: string | URL): Promise<Uint8Array<ArrayBuffer> | undefined> {
  try {
    if (typeof path === "string" || path.protocol === "file:") {
      const { buffer, byteOffset, length } = await readFile(path);
      return new Uint8Array(buffer as ArrayBuffer, byteOffset, length);
    }
    const response = await fetch(path);
    if (response.status === 404) return undefined;
    if (!response.ok) throw new Error(`the server answered ${response.status} ${response.statusText}`);
    return new Uint8Array(await response.arrayBuffer()); // Node 20 has no bytes()
  } catch (error) {
    if (codeOf(error) === "ENOENT") return undefined;
    throw fileError("read", String(path), error);
  }
}

/** Reads from the current position until `bytes` is full or the file ends. @returns How many bytes were read. */
export async function fillFrom(file: Deno.FsFile, bytes: Uint8Array): Promise<number> {
  let at = 0;
  while (at < bytes.length) {
    const read = await file.read(bytes.subarray(at));
    if (read === null) break;
    at += read;
  }
  return at;
}

/**
 * The SHA-256 of a file's content, hexadecimal; reads it in chunks.
 *
 * @throws {CyclopsError} When it cannot be read, naming it.
 */
export async function hashFile(path: string): Promise<string> {
  const hash = createHash("sha256"), part = new Uint8Array(1 << 20);
  try {
    using file = await Deno.open(path);
    for (let read; (read = await file.read(part)) !== null;) hash.update(part.subarray(0, read));
  } catch (error) {
    throw fileError("read", path, error);
  }
  return hash.digest("hex");
}

/** Reads a text file whole; see {@linkcode readBytes}. */
export async function readText(path: string): Promise<string> {
  return new TextDecoder().decode(await readBytes(path));
}

/**
 * Reads and parses a JSON file.
 *
 * @throws {CyclopsError} When it cannot be read or is not JSON, naming it.
 */
export async function readJson(path: string): Promise<unknown> {
  const content = await readText(path);
  try {
    return JSON.parse(content);
  } catch (error) {
    throw new CyclopsError(`Cannot read ${path}: not valid JSON (${messageOf(error).replace(/\s+/g, " ")})`);
  }
}

/**
 * An exclusive lock on a file, held until disposed or until this process ends: the kernel's own, so that a killed
 * process leaves none behind.
 *
 * @param path The lock file; created if absent, never removed.
 * @param onWait Called when another process holds the lock.
 * @throws {CyclopsError} When the file cannot be written.
 *
 * @example
 * ```ts ignore
 * using _lock = await lockFile("cache/library.lock", () => console.error("waiting for another process"));
 * ```
 */
export async function lockFile(path: string, onWait: () => void): Promise<Disposable> {
  let file: Deno.FsFile;
  try {
    file = await Deno.open(path, { write: true, create: true });
  } catch (error) {
    throw fileError("write", path, error);
  }
  const timer = setTimeout(onWait, 300);
  try {
    await file.lock(true);
  } catch (error) {
    file.close();
    throw fileError("lock", path, error);
  } finally {
    clearTimeout(timer);
  }
  return { [Symbol.dispose]: () => file.close() };
}
