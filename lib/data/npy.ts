/**
 * NumPy's .npy files of floats. The header is checked against the file's size before anything is allocated.
 *
 * Format: https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html
 *
 * @module
 */
import { CyclopsError } from "../base/errors.ts";
import { fileError, fillFrom, writeAtomic } from "../base/files.ts";

/** An array of floats. */
export interface NpyArray {
  /** Sizes of the axes, slowest first; empty for a single number. */
  readonly shape: readonly number[];
  /** Values in C order; float64 files are rounded to float32. */
  readonly data: Float32Array;
}

interface NpyHeader {
  readonly bytesPerValue: 4 | 8;
  readonly shape: readonly number[];
}

/** Bytes; real headers are far shorter, but versions 2 and 3 could claim 4 GiB. */
const MAX_HEADER = 1 << 20;
const MAGIC = "\x93NUMPY";

function parseHeader(text: string, fail: (why: string) => CyclopsError): NpyHeader {
  const shown = text.trim().slice(0, 120);
  const dict = text.trim().match(/^\{(.*)\}$/s)?.[1];
  const descr = dict?.match(/'descr'\s*:\s*'([^']*)'/)?.[1];
  const order = dict?.match(/'fortran_order'\s*:\s*(True|False)/)?.[1];
  const axes = dict?.match(/'shape'\s*:\s*\(([^()]*)\)/)?.[1];
  if (order === undefined || axes === undefined || !dict?.includes("'descr'")) {
    throw fail(`its header is "${shown}", expected descr, fortran_order and shape`);
  }
  if (descr !== "<f4" && descr !== "<f8") {
    throw fail(
      `its values are ${descr ?? "structured"}, expected little-endian float32 or float64 ` +
        `(in Python: array.astype("<f4"))`,
    );
  }
  if (order === "True") {
    throw fail("it is in Fortran order, expected C order (in Python: numpy.ascontiguousarray(array))");
  }
  const words = axes.split(",").map((word) => word.trim());
  if (words.at(-1) === "") words.pop();
  const shape = words.map((word) => /^\d+$/.test(word) ? Number(word) : NaN);
  if (!shape.every(Number.isSafeInteger)) {
    throw fail(`its shape is (${axes.slice(0, 80)}), expected integers`);
  }
  return { bytesPerValue: descr === "<f4" ? 4 : 8, shape };
}

/** `[1, 20, 300]` for a flat index. */
function indexIn(shape: readonly number[], flat: number): string {
  const index: number[] = [];
  for (const size of shape.toReversed()) {
    index.unshift(flat % size);
    flat = Math.floor(flat / size);
  }
  return `[${index.join(", ")}]`;
}

/** A .npy file whose values are read part by part. Close it. */
export interface NpyFile extends Disposable {
  readonly shape: readonly number[];
  /**
   * Reads values by their flat index, in C order, whatever they are.
   *
   * @param memory Used where it has the right length.
   * @throws {CyclopsError} When the file shrank.
   */
  read(from: number, count: number, memory?: Float32Array<ArrayBuffer>): Float32Array<ArrayBuffer>;
}

/**
 * Opens a .npy file of float32 or float64 values, versions 1 to 3.
 *
 * @throws {CyclopsError} When the file is missing or not a .npy file, has other types or Fortran order, or its size does
 * not match the header.
 */
export async function openNpy(path: string): Promise<NpyFile> {
  const fail = (why: string) => new CyclopsError(`Cannot read the array ${path}: ${why}`);
  const failed = (error: unknown) =>
    error instanceof CyclopsError ? error : fileError("read the array", path, error);
  let file: Deno.FsFile;
  try {
    file = await Deno.open(path);
  } catch (error) {
    throw failed(error);
  }
  try {
    const { size, isFile } = await file.stat();
    if (!isFile) throw fail("it is a folder, expected a .npy file");
    const start = new Uint8Array(12);
    const got = await fillFrom(file, start);
    if (got < 10 || String.fromCharCode(...start.subarray(0, 6)) !== MAGIC) {
      throw fail(`it is not a .npy file (${size} bytes without the NUMPY magic)`);
    }
    const version = start[6];
    if (version < 1 || version > 3) throw fail(`it has format version ${version}, expected 1, 2 or 3`);
    const view = new DataView(start.buffer);
    const lengthEnd = version === 1 ? 10 : 12;
    const headerLength = version === 1 ? view.getUint16(8, true) : view.getUint32(8, true);
    const dataStart = lengthEnd + headerLength;
    if (got < lengthEnd || dataStart > size || headerLength > MAX_HEADER) {
      throw fail(`its header claims ${headerLength} bytes, the file has ${size}: it is truncated or damaged`);
    }
    await file.seek(lengthEnd, Deno.SeekMode.Start);
    const headerBytes = new Uint8Array(headerLength);
    await fillFrom(file, headerBytes);
    const { shape, bytesPerValue } = parseHeader(new TextDecoder().decode(headerBytes), fail);
    // Exact whatever the header claims: a product of doubles could overflow into a size that fits.
    const values = shape.reduce((product, n) => product * BigInt(n), 1n);
    const expected = values * BigInt(bytesPerValue);
    if (expected !== BigInt(size - dataStart)) {
      throw fail(
        `its header promises shape (${shape.join(", ")}), ${expected} bytes, but ${
          size - dataStart
        } follow: ` +
          `it is truncated or damaged, write it again`,
      );
    }
    const read = (from: number, count: number, memory?: Float32Array<ArrayBuffer>) => {
      const own = memory?.length === count ? memory : undefined;
      const raw = bytesPerValue === 4 ? own ?? new Float32Array(count) : new Float64Array(count);
      const bytes = new Uint8Array(raw.buffer, raw.byteOffset, raw.byteLength);
      try {
        // Nothing may move the file's position in between: no await until all is read.
        file.seekSync(dataStart + from * bytesPerValue, Deno.SeekMode.Start);
        for (let at = 0, read; at < bytes.length; at += read) {
          read = file.readSync(bytes.subarray(at)) ?? 0;
          if (read === 0) throw fail("it shrank while it was being read");
        }
      } catch (error) {
        throw failed(error);
      }
      return raw instanceof Float32Array ? raw : Float32Array.from(raw);
    };
    return { shape, read, [Symbol.dispose]: () => file.close() };
  } catch (error) {
    file.close();
    throw failed(error);
  }
}

/**
 * Reads a .npy file whole.
 *
 * @throws {CyclopsError} As `openNpy` and `NpyFile.read`, and when a value is NaN or infinite, naming its place.
 */
export async function readNpy(path: string): Promise<NpyArray> {
  using file = await openNpy(path);
  const { shape } = file, data = file.read(0, shape.reduce((product, n) => product * n, 1));
  // A loop: findIndex calls a function for each value.
  let bad = 0;
  while (bad < data.length && Number.isFinite(data[bad])) bad++;
  if (bad === data.length) return { shape, data };
  throw new CyclopsError(
    `Cannot read the array ${path}: value ${indexIn(shape, bad)} is ${
      data[bad]
    }, expected finite float32 numbers only`,
  );
}

/** The bytes of a version 1 .npy file. @throws {RangeError} When data and shape disagree. */
export function encodeNpy({ shape, data }: NpyArray): Uint8Array {
  if (shape.reduce((a, b) => a * b, 1) !== data.length) {
    throw new RangeError(`Cannot encode an array: ${data.length} values for shape (${shape.join(", ")})`);
  }
  const axes = shape.length === 1 ? `${shape[0]},` : shape.join(", ");
  const dict = `{'descr': '<f4', 'fortran_order': False, 'shape': (${axes}), }`;
  // Values begin at a multiple of 64 bytes; the header ends with a newline.
  const header = dict.padEnd(Math.ceil((10 + dict.length + 1) / 64) * 64 - 11) + "\n";
  const bytes = new Uint8Array(10 + header.length + data.byteLength);
  bytes.set(Uint8Array.from(MAGIC, (c) => c.charCodeAt(0)));
  bytes[6] = 1;
  new DataView(bytes.buffer).setUint16(8, header.length, true);
  bytes.set(new TextEncoder().encode(header), 10);
  bytes.set(new Uint8Array(data.buffer, data.byteOffset, data.byteLength), 10 + header.length);
  return bytes;
}

/** Writes float32 values as `numpy.load` reads them. @throws {CyclopsError} When the file cannot be written. */
export async function writeNpy(path: string, array: NpyArray): Promise<void> {
  await writeAtomic(path, encodeNpy(array));
}
