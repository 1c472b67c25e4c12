/**
 * One process at a time.
 *
 * @module
 */
import { fileError } from "./files.ts";

/**
 * An exclusive lock on a file, held until disposed or until this process ends: the kernel's own, so that a process which
 * is killed leaves none behind.
 *
 * @param path The file that stands for what is locked; made where absent, and left there.
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
