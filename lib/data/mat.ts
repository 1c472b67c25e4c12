/**
 * MATLAB's .mat files of level 5 (MATLAB 5 to 7.2): one named array of real numbers.
 *
 * Format: https://www.mathworks.com/help/pdf_doc/matlab/matfile_format.pdf
 *
 * @module
 */
import { inflateSync } from "node:zlib";
import { CyclopsError, messageOf } from "../base/errors.ts";
import { readBytes } from "../base/files.ts";

/** An array, the first index running fastest. */
export interface MatArray {
  readonly shape: readonly number[];
  readonly data: Float64Array;
}

/** Bytes and reader of a number, by the code of its type. */
const NUMBERS: Readonly<
  Record<number, readonly [bytes: number, read: (view: DataView, at: number, little: boolean) => number]>
> = {
  1: [1, (view, at) => view.getInt8(at)],
  2: [1, (view, at) => view.getUint8(at)],
  3: [2, (view, at, little) => view.getInt16(at, little)],
  4: [2, (view, at, little) => view.getUint16(at, little)],
  5: [4, (view, at, little) => view.getInt32(at, little)],
  6: [4, (view, at, little) => view.getUint32(at, little)],
  7: [4, (view, at, little) => view.getFloat32(at, little)],
  9: [8, (view, at, little) => view.getFloat64(at, little)],
};
const MATRIX = 14, COMPRESSED = 15;
/** Classes of arrays of numbers: double, single and integers of 8 to 32 bits. */
const NUMERIC = { first: 6, last: 13 };
const HEADER = 128, MAX_INFLATED = 1 << 28;

interface Element {
  readonly type: number;
  readonly bytes: Uint8Array;
  /** Where the next one begins. */
  readonly end: number;
}

function elementAt(bytes: Uint8Array, at: number, little: boolean): Element {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  const tag = view.getUint32(at, little);
  // Up to four bytes stand in the tag itself.
  const small = tag >>> 16;
  if (small) return { type: tag & 0xffff, bytes: bytes.subarray(at + 4, at + 4 + small), end: at + 8 };
  const length = view.getUint32(at + 4, little), from = at + 8;
  if (from + length > bytes.length) {
    throw new RangeError(`an element of ${length} bytes at byte ${at} of ${bytes.length}`);
  }
  const end = from + (tag === COMPRESSED ? length : Math.ceil(length / 8) * 8);
  return { type: tag, bytes: bytes.subarray(from, from + length), end };
}

function numbers({ type, bytes }: Element, little: boolean): Float64Array {
  const [size, read] = NUMBERS[type] ?? [];
  if (!size || !read) throw new RangeError(`numbers of type ${type}`);
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  return Float64Array.from(
    { length: Math.floor(bytes.length / size) },
    (_, i) => read(view, i * size, little),
  );
}

/** The array in a matrix element; `undefined` where it has another name. */
function matrix(bytes: Uint8Array, name: string, little: boolean): MatArray | undefined {
  const flags = elementAt(bytes, 0, little), sizes = elementAt(bytes, flags.end, little);
  const title = elementAt(bytes, sizes.end, little);
  if (new TextDecoder().decode(title.bytes) !== name) return undefined;
  const kind = numbers(flags, little)[0] & 0xff;
  if (kind < NUMERIC.first || kind > NUMERIC.last) {
    throw new RangeError(`${name} of class ${kind}, not numbers`);
  }
  const shape = [...numbers(sizes, little)], data = numbers(elementAt(bytes, title.end, little), little);
  if (shape.reduce((product, n) => product * n, 1) !== data.length) {
    throw new RangeError(`${data.length} numbers in ${name} of size ${shape.join("×")}`);
  }
  return { shape, data };
}

/**
 * Reads a named array, compressed or not, of either byte order.
 *
 * @throws {CyclopsError} When there is no such file or array, or the file is damaged, of another version, or holds no real
 * numbers under that name.
 */
export async function readMat(path: string, name: string): Promise<MatArray> {
  const file = await readBytes(path),
    fail = (found: string) =>
      new CyclopsError(
        `Cannot read ${name} of ${path}: ${found}, expected a MATLAB file of version 5 to 7 with that array (in MATLAB: ` +
          `save -v7)`,
      );
  const text = new TextDecoder("latin1").decode(file.subarray(0, HEADER));
  const order = text.slice(126);
  if (order !== "IM" && order !== "MI") {
    throw fail(
      `it is no MATLAB file of level 5 (${file.length} bytes, beginning ${
        JSON.stringify(text.slice(0, 20))
      })`,
    );
  }
  const little = order === "IM", names: string[] = [];
  if (new DataView(file.buffer, file.byteOffset).getUint16(124, little) !== 0x0100) {
    throw fail(`it is of another version (${JSON.stringify(text.slice(0, 20))})`);
  }
  try {
    for (let at = HEADER; at < file.length;) {
      const outer = elementAt(file, at, little);
      at = outer.end;
      const inner = outer.type === COMPRESSED
        ? elementAt(inflateSync(outer.bytes, { maxOutputLength: MAX_INFLATED }), 0, little)
        : outer;
      const found = inner.type === MATRIX ? matrix(inner.bytes, name, little) : undefined;
      if (found) return found;
      names.push(`type ${inner.type}`);
    }
  } catch (error) {
    throw fail(`it is damaged (${messageOf(error)})`);
  }
  throw fail(`it has no array of that name among ${names.length} elements`);
}
