/**
 * Images on disk: 8-bit RGB (PNG, JPEG and whatever else sharp reads) and 16-bit gray PNG (KITTI's depth maps). sharp, a
 * native module, is loaded at first use, so that importing this file costs nothing.
 *
 * @module
 */
import { closeSync, openSync, readSync } from "node:fs";
// A default import: early versions of Node 20 have no crc32, and need none but for packs.
import zlib from "node:zlib";
import type { default as Sharp } from "sharp";
import { CyclopsError, messageOf } from "../base/errors.ts";
import { fileError, fillFrom, readBytes, writeAtomic } from "../base/files.ts";
import type { ImageSize } from "../geometry/camera.ts";

/** Numbers on a grid of pixels: images, disparity maps, depth maps. */
export interface ImageOf<T extends ArrayLike<number>> extends ImageSize {
  /** Row-major [height, width] or, with interleaved channels, [height, width, channels]. */
  readonly data: T;
}

/** An 8-bit color image, [height, width, 3]: red, green, blue, 0–255. */
export type RgbImage = ImageOf<Uint8Array>;

/** A 16-bit gray image, [height, width], 0–65535. */
export type Gray16Image = ImageOf<Uint16Array>;

/**
 * One float per pixel, [height, width]: a disparity map (fractions of the image width, or px where a function says so;
 * 0 is infinitely far) or a depth map (m). Sparse truth marks unknown pixels with 0, drawing also with NaN.
 */
export type FloatMap = ImageOf<Float32Array>;

/** How PNG files are compressed. */
export interface PngOptions {
  /** zlib level, 0 (fast) to 9 (small). @default 6 */
  readonly compressionLevel?: number;
  /** 256 dithered colors, about a third of the bytes: for pictures that only people look at. RGB only. @default false */
  readonly palette?: boolean;
}

/** An 8-bit image from row-major RGB values in [0, 1]; values outside are clipped. */
export function imageFromUnit({ width, height }: ImageSize, values: ArrayLike<number>): RgbImage {
  // A loop: Uint8Array.from walks an iterator, ten times slower and with ten times the memory.
  const data = new Uint8Array(values.length);
  for (let i = 0; i < data.length; i++) data[i] = Math.round(255 * Math.min(1, Math.max(0, values[i])));
  return { width, height, data };
}

/** No image of a pack is larger. */
const MOST_BYTES = 2 ** 30;

let loading: Promise<typeof Sharp> | undefined;

/** sharp, loaded once: one thread per call (callers run several images at once), no cache of decoded files. */
export function loadSharp(): Promise<typeof Sharp> {
  return loading ??= import("sharp").then(({ default: sharp }) => {
    sharp.concurrency(1);
    sharp.cache(false);
    return sharp;
  }, (error) => {
    loading = undefined;
    const fix = (error as Error).name === "NotCapable" ? "" : " (run deno install to fetch it)";
    throw new CyclopsError(
      `Cannot load sharp, which reads and writes images: ${messageOf(error)}${fix}`,
      { cause: error instanceof Error ? error : undefined },
    );
  });
}

/** What a file is by its first bytes. */
function kindOf(bytes: Uint8Array): string {
  const head = String.fromCharCode(...bytes.subarray(0, 32));
  if (bytes.length === 0) return "an empty file";
  if (head.startsWith("\x89PNG\r\n\x1a\n")) return "a PNG";
  if (head.startsWith("\xff\xd8\xff")) return "a JPEG";
  if (head.startsWith("GIF8")) return "a GIF";
  if (head.startsWith("RIFF") && head.slice(8, 12) === "WEBP") return "a WebP";
  if (head.startsWith("version https://git")) return "a Git LFS pointer, not the image itself";
  if (/^\s*<(!doctype|html|\?xml)/i.test(head)) return "a web page, not an image";
  return "not a known image format";
}

/** Pixels of the largest image that is decoded: more would need gigabytes. */
const MAX_PIXELS = 100e6;

function imageError(action: string, path: string, bytes: Uint8Array, error: unknown): CyclopsError {
  if (messageOf(error).includes("pixel limit")) {
    return new CyclopsError(
      `Cannot ${action} ${path}: it has more than ${
        MAX_PIXELS / 1e6
      } megapixels, or says so; make it smaller`,
    );
  }
  const kind = kindOf(bytes);
  const image = /^an? (PNG|JPEG|GIF|WebP)$/.test(kind);
  const found = image
    ? `${kind} of ${bytes.length} bytes, truncated or damaged (${messageOf(error).split("\n")[0]}): ` +
      "fetch or convert it again"
    : `it is ${kind} (${bytes.length} bytes), expected a PNG or JPEG`;
  return new CyclopsError(`Cannot ${action} ${path}: ${found}`, {
    cause: error instanceof Error ? error : undefined,
  });
}

/** Rows of an image after the fraction `cropBottom`, in [0, 1), was cut off at the bottom; at least 1. */
export function croppedRows(height: number, cropBottom: number): number {
  return Math.max(1, Math.round(height * (1 - cropBottom)));
}

/**
 * Decodes an image to RGB: gray is repeated, alpha dropped, a camera's orientation flag obeyed.
 *
 * @param size Resize to exactly this, with a Lanczos-3 filter that averages when it shrinks.
 * @param path The file's name, for errors.
 * @param cropBottom Fraction of the height to cut off at the bottom before resizing, in [0, 1).
 * @param cropTop The same at the top.
 * @throws {CyclopsError} When the bytes are not an image, truncated, or an image of more than 100 megapixels.
 */
export async function decodeRgb(
  bytes: Uint8Array,
  size?: ImageSize,
  path = "image",
  cropBottom = 0,
  cropTop = 0,
): Promise<RgbImage> {
  const sharp = await loadSharp();
  try {
    let image = sharp(bytes, { failOn: "warning", limitInputPixels: MAX_PIXELS }).autoOrient();
    if (cropBottom > 0 || cropTop > 0) {
      const { autoOrient: { width, height } } = await image.metadata(), top = Math.round(height * cropTop);
      image = image.extract({ left: 0, top, width, height: croppedRows(height, cropBottom) - top });
    }
    if (size) image = image.resize(size.width, size.height, { fit: "fill", kernel: "lanczos3" });
    const { data, info } = await image.toColourspace("srgb").removeAlpha().raw({ depth: "uchar" })
      .toBuffer({ resolveWithObject: true });
    if (info.channels !== 3) throw new Error(`${info.channels} channels`);
    return {
      width: info.width,
      height: info.height,
      data: new Uint8Array(data.buffer, data.byteOffset, data.byteLength),
    };
  } catch (error) {
    throw imageError("read the image", path, bytes, error);
  }
}

/**
 * A pack: images of one size in one file, not compressed, each with its CRC-32, because decoding is what a loader spends
 * its time on. Little-endian: the magic; width, height and number of images, 32 bits each; pixels; checksums, 32 bits each.
 */
const PACK_MAGIC = "CYPK", PACK_HEADER = 16;

/** The bytes of a pack. @param images Of one size. */
export function encodePack(images: readonly RgbImage[]): Uint8Array[] {
  const [{ width, height }] = images, head = new Uint8Array(PACK_HEADER);
  head.set(new TextEncoder().encode(PACK_MAGIC));
  const view = new DataView(head.buffer);
  [width, height, images.length].forEach((value, i) => view.setUint32(4 + 4 * i, value, true));
  const sums = new DataView(new ArrayBuffer(4 * images.length));
  images.forEach(({ data }, i) => sums.setUint32(4 * i, zlib.crc32(data), true));
  return [head, ...images.map(({ data }) => data), new Uint8Array(sums.buffer)];
}

/** `FILE.pack#N`: image N of a pack. */
const PACKED = /^(.*\.pack)#(\d+)$/;

/** The file that a path names, of an image in a pack the pack. */
export function fileOf(path: string): string {
  return path.replace(PACKED, "$1");
}

/** Reads an image of a pack, or only its size. */
function readPacked(path: string, index: number, sizeOnly: boolean): RgbImage {
  const fail = (why: string) => new CyclopsError(`Cannot read image ${index} of the pack ${path}: ${why}`);
  let file: number | undefined;
  try {
    const from = file = openSync(path, "r");
    const read = (position: number, bytes: Uint8Array) => {
      for (let at = 0, count; at < bytes.length; at += count) {
        count = readSync(from, bytes, at, bytes.length - at, position + at);
        if (count === 0) throw fail("it is truncated: prepare the data again");
      }
      return new DataView(bytes.buffer);
    };
    const head = read(0, new Uint8Array(PACK_HEADER)), magic = new Uint8Array(head.buffer, 0, 4);
    const [width, height, images] = [4, 8, 12].map((at) => head.getUint32(at, true));
    const length = 3 * width * height;
    if (String.fromCharCode(...magic) !== PACK_MAGIC || index >= images || length > MOST_BYTES) {
      throw fail(`it is no pack of more than ${index} images: prepare the data again`);
    }
    if (sizeOnly) return { width, height, data: new Uint8Array(0) };
    const data = new Uint8Array(length);
    read(PACK_HEADER + index * length, data);
    const sum = read(PACK_HEADER + images * length + 4 * index, new Uint8Array(4)).getUint32(0, true);
    if (zlib.crc32(data) !== sum) throw fail("its checksum differs, it is damaged: prepare the data again");
    return { width, height, data };
  } catch (error) {
    throw error instanceof CyclopsError ? error : fileError("read the pack", path, error);
  } finally {
    if (file !== undefined) closeSync(file);
  }
}

/**
 * Reads an image file as RGB; see {@linkcode decodeRgb}. `FILE.pack#N` is image N of prepared data.
 *
 * @throws {CyclopsError} When the file is missing, truncated or not an image.
 *
 * @example
 * ```ts ignore
 * const { data } = await readRgb("street.png", { width: 416, height: 128 });
 * ```
 */
export async function readRgb(
  path: string,
  size?: ImageSize,
  cropBottom = 0,
  cropTop = 0,
): Promise<RgbImage> {
  const [, pack, index] = path.match(PACKED) ?? [];
  if (pack === undefined) return await decodeRgb(await readBytes(path), size, path, cropBottom, cropTop);
  // Cut off already, when it was prepared.
  const image = readPacked(pack, Number(index), false);
  if (!size || size.width === image.width && size.height === image.height) return image;
  const { width, height } = size;
  const data = await (await rawRgb(image)).resize(width, height, { fit: "fill", kernel: "lanczos3" }).raw()
    .toBuffer();
  return { width, height, data: new Uint8Array(data.buffer, data.byteOffset, data.byteLength) };
}

async function rawRgb({ width, height, data }: RgbImage): Promise<ReturnType<typeof Sharp>> {
  if (data.length !== width * height * 3) {
    throw new RangeError(
      `Cannot encode an image: ${data.length} bytes for ${width}×${height} px, expected ${
        width * height * 3
      }`,
    );
  }
  const sharp = await loadSharp();
  return sharp(data, { raw: { width, height, channels: 3 } });
}

/** An image resized as {@linkcode decodeRgb} resizes. */
export async function resizeAsDecoded(image: RgbImage, { width, height }: ImageSize): Promise<RgbImage> {
  const data = await (await rawRgb(image)).resize(width, height, { fit: "fill", kernel: "lanczos3" }).raw()
    .toBuffer();
  return { width, height, data: new Uint8Array(data.buffer, data.byteOffset, data.byteLength) };
}

/** An RGB image as the bytes of a PNG file. */
export async function encodeRgbPng(image: RgbImage, options: PngOptions = {}): Promise<Uint8Array> {
  const palette = options.palette ? { palette: true, colours: 256, effort: 10 } : {};
  return await (await rawRgb(image)).png({ compressionLevel: options.compressionLevel ?? 6, ...palette })
    .toBuffer();
}

/**
 * An RGB image as the bytes of a JPEG file: a third of a palette PNG's bytes, for pictures that only people look at.
 *
 * @param quality 1 to 100.
 */
export async function encodeRgbJpeg(image: RgbImage, quality = 75): Promise<Uint8Array> {
  // Full color resolution keeps colored lines and letters sharp.
  return await (await rawRgb(image)).jpeg({ quality, chromaSubsampling: "4:4:4", mozjpeg: true }).toBuffer();
}

/** Writes an RGB image as PNG. @throws {CyclopsError} When it cannot be written. */
export async function writeRgb(path: string, image: RgbImage, options: PngOptions = {}): Promise<void> {
  await writeAtomic(path, await encodeRgbPng(image, options));
}

/**
 * Reads a 16-bit gray PNG exactly.
 *
 * @throws {CyclopsError} When the file is missing, truncated, not an image, or has another depth or several channels.
 */
export async function readGray16(path: string): Promise<Gray16Image> {
  const bytes = await readBytes(path);
  const sharp = await loadSharp();
  let found: string;
  try {
    const image = sharp(bytes, { failOn: "warning", limitInputPixels: MAX_PIXELS });
    const { depth, channels } = await image.metadata();
    if (depth === "ushort" && channels === 1) {
      const { data, info } = await image.toColourspace("grey16").raw({ depth: "ushort" })
        .toBuffer({ resolveWithObject: true });
      const copy = new Uint16Array(data.byteLength / 2);
      new Uint8Array(copy.buffer).set(data);
      return { width: info.width, height: info.height, data: copy };
    }
    found = `${depth === "uchar" ? "8-bit" : depth}, ${channels} channel${channels === 1 ? "" : "s"}`;
  } catch (error) {
    throw imageError("read the 16-bit image", path, bytes, error);
  }
  throw new CyclopsError(`Cannot read the 16-bit image ${path}: it is ${found}, expected a 16-bit gray PNG`);
}

/** A 16-bit gray image as the bytes of a PNG file. */
export async function encodeGray16Png(image: Gray16Image, options: PngOptions = {}): Promise<Uint8Array> {
  const { width, height, data } = image;
  if (data.length !== width * height) {
    throw new RangeError(
      `Cannot encode an image: ${data.length} values for ${width}×${height} px, expected ${width * height}`,
    );
  }
  const sharp = await loadSharp();
  return await sharp(data, { raw: { width, height, channels: 1 } })
    .toColourspace("grey16").png({ compressionLevel: options.compressionLevel ?? 6 }).toBuffer();
}

/** Writes a 16-bit gray PNG. @throws {CyclopsError} When it cannot be written. */
export async function writeGray16(
  path: string,
  image: Gray16Image,
  options: PngOptions = {},
): Promise<void> {
  await writeAtomic(path, await encodeGray16Png(image, options));
}

/**
 * An image's size in px, from its header. A PNG needs 24 bytes and no native code; other formats go through sharp, with
 * a camera's orientation flag obeyed as in {@linkcode readRgb}.
 *
 * @throws {CyclopsError} When the file is missing or not an image.
 */
export async function imageSize(path: string): Promise<ImageSize> {
  const [, pack, index] = path.match(PACKED) ?? [];
  if (pack !== undefined) {
    const { width, height } = readPacked(pack, Number(index), true);
    return { width, height };
  }
  const head = new Uint8Array(24);
  let length = 0;
  try {
    using file = await Deno.open(path);
    length = await fillFrom(file, head);
  } catch (error) {
    throw fileError("read the image", path, error);
  }
  if (length === 24 && kindOf(head) === "a PNG") {
    const view = new DataView(head.buffer);
    const size = { width: view.getUint32(16), height: view.getUint32(20) };
    if (size.width > 0 && size.height > 0) return size;
  }
  const { width, height } = await readHeader(await readBytes(path), path);
  return { width, height };
}

/**
 * Reads an image's header: its size as {@linkcode decodeRgb} would return it, and its EXIF data.
 *
 * @param path The file's name, for errors.
 * @throws {CyclopsError} When the bytes are not an image, or one of more than 100 megapixels.
 */
export async function readHeader(
  bytes: Uint8Array,
  path = "image",
): Promise<ImageSize & { readonly exif?: Uint8Array }> {
  const sharp = await loadSharp();
  try {
    const { autoOrient: { width, height }, exif } = await sharp(bytes, { limitInputPixels: MAX_PIXELS })
      .metadata();
    return { width, height, exif };
  } catch (error) {
    throw imageError("read the image", path, bytes, error);
  }
}
