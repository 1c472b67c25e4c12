/**
 * A trained network for photographs: files, URLs, bytes or pixels go in, {@linkcode Depth} comes out. What computes is
 * the caller's: `mod.ts` gives TensorFlow's library, `node.ts` TensorFlow.js.
 *
 * @module
 */
import { basename, extname } from "@std/path";
import { CyclopsError, UsageError } from "../base/errors.ts";
import { readBytes } from "../base/files.ts";
import { exifFocal } from "../data/exif.ts";
import { decodeRgb, type ImageOf, readHeader, resizeAsDecoded, type RgbImage } from "../data/image.ts";
import { isNonCommercial } from "../data/safetensors.ts";
import { combineFlipped } from "../evaluation/protocol.ts";
import type { ImageSize, StereoCamera } from "../geometry/camera.ts";
import type { Predictor, StudentInfo } from "../models/student.ts";
import { Depth } from "./depth.ts";
import { type KnownCamera, photoCamera, photoScale } from "./map.ts";

/**
 * A photograph: a path or URL (one that begins with http: or https:, too), the bytes of an image file, or pixels, RGB or
 * RGBA, as a canvas's `ImageData` has them.
 */
export type Photo = string | URL | Uint8Array | ImageOf<Uint8Array | Uint8ClampedArray>;

/** How a photograph is predicted. */
export interface PhotoOptions {
  /** What is known about its camera. @default the focal length in its EXIF data, or else the training rig's */
  readonly camera?: KnownCamera;
  /** Average with the mirrored image's prediction: slower, slightly better. @default false */
  readonly flip?: boolean;
  /** What the photograph is called. @default its file's name */
  readonly name?: string;
}

/** A photograph's depth, or why there is none. */
export type PhotoResult<P> =
  & { readonly photo: P }
  & (
    | { readonly depth: Depth; readonly error?: undefined }
    | { readonly depth?: undefined; readonly error: CyclopsError }
  );

/** A photograph at the network's size. */
interface Prepared {
  readonly name: string;
  readonly size: ImageSize;
  readonly pixels: Uint8Array;
  readonly camera?: StereoCamera;
  readonly basis: string;
  readonly readImage: () => Promise<RgbImage>;
}

/** Photographs at a time, how many times as many are read ahead, and batches in the network at once. */
const BATCH = 8, AHEAD = 4, STREAMS = 2;

/** A network that predicts the depth of photographs. */
export class Student {
  readonly #predictor: Predictor;

  /** Made by `loadStudent`. */
  constructor(
    /** What it is, what it was trained on, and what it may be used for. */
    readonly info: StudentInfo,
    predictor: Predictor,
  ) {
    this.#predictor = predictor;
  }

  /**
   * Predicts one photograph.
   *
   * @throws {CyclopsError} When it cannot be read, or has more than 100 megapixels.
   *
   * @example
   * ```ts ignore
   * const student = await loadStudent();
   * const depth = await student.predict("photo.jpg");
   * await depth.save("depth.png");
   * ```
   */
  async predict(photo: Photo, options: PhotoOptions = {}): Promise<Depth> {
    const [depth] = await this.#run([await this.#prepare(photo, options)], options.flip, false);
    return depth;
  }

  /**
   * Predicts many photographs, in their order: several at a time; the next ones are decoded and
   * predicted meanwhile.
   *
   * @param photos An array, or whatever yields photographs one after the other.
   * @param options The same for all, or by photograph; whether to `flip` is decided for all.
   * @returns Each one's depth, or the error that it caused; the others are predicted all the same.
   */
  async *predictAll<P extends Photo>(
    photos: Iterable<P> | AsyncIterable<P>,
    options: PhotoOptions | ((photo: P, index: number) => PhotoOptions) = {},
    { flip = false, batch = BATCH }: { readonly flip?: boolean; readonly batch?: number } = {},
  ): AsyncGenerator<PhotoResult<P>, void, void> {
    type Outcome = { readonly photo: P; readonly prepared?: Prepared; readonly error?: unknown };
    const source = Symbol.asyncIterator in photos
      ? photos[Symbol.asyncIterator]()
      : photos[Symbol.iterator]();
    const known = Array.isArray(photos) ? photos.length : Infinity;
    const queue: Promise<Outcome>[] = [];
    let index = 0, ended = false;
    const prepare = async (photo: P, i: number): Promise<Outcome> => {
      try {
        const own = typeof options === "function" ? options(photo, i) : options;
        return { photo, prepared: await this.#prepare(photo, own) };
      } catch (error) {
        return { photo, error };
      }
    };
    const fill = async () => {
      while (!ended && queue.length < AHEAD * batch) {
        const { done, value } = await source.next();
        if (done) ended = true;
        else queue.push(prepare(value, index++));
      }
    };
    let filling = fill();
    /** Predicts what is next in the queue, which is filled meanwhile. */
    const predict = async () => {
      const outcomes = await Promise.all(queue.splice(0, batch));
      filling = filling.then(fill);
      filling.catch(() => {}); // awaited below
      const whole = outcomes.flatMap(({ prepared }) => prepared ?? []);
      const depths = await this.#run(whole, flip, known > 4 * batch ? batch : false);
      await filling;
      return { outcomes, depths };
    };
    await filling;
    // What one batch leaves of the processor, another uses.
    const running: ReturnType<typeof predict>[] = [];
    const start = () => {
      while (queue.length && running.length < STREAMS) {
        running.push(predict());
        running.at(-1)!.catch(() => {}); // thrown when it is its turn
      }
    };
    try {
      for (start(); running.length;) {
        const { outcomes, depths } = await running.shift()!;
        start();
        for (const { photo, error } of outcomes) {
          if (error === undefined) yield { photo, depth: depths.shift()! };
          else if (error instanceof CyclopsError) yield { photo, error };
          else throw error;
        }
      }
    } finally {
      await Promise.allSettled(running);
    }
  }

  /** Frees the weights. */
  dispose(): void {
    this.#predictor.dispose();
  }

  /** For `using`: the same as `dispose`. */
  [Symbol.dispose](): void {
    this.dispose();
  }

  async #prepare(photo: Photo, { camera: known, name }: PhotoOptions): Promise<Prepared> {
    const { size: seen } = this.info;
    if (typeof photo === "object" && "width" in photo) {
      const image = rgbOf(photo);
      const { data } = await resizeAsDecoded(image, seen);
      const size = { width: image.width, height: image.height };
      const readImage = () => Promise.resolve(image);
      return { name: name ?? "image", size, pixels: data, readImage, ...photoCamera(this.info, size, known) };
    }
    const place = typeof photo === "string" && /^https?:\/\//.test(photo) ? new URL(photo) : photo;
    const named = place instanceof Uint8Array ? "image" : String(place);
    const bytes = place instanceof Uint8Array ? place : await readBytes(place);
    // At once: a chain of waits would be stretched by the network, which blocks this thread.
    const [{ exif, ...size }, { data: pixels }] = await Promise.all([
      readHeader(bytes, named),
      decodeRgb(bytes, seen, named),
    ]);
    const focalPx = known?.focalPx ? undefined : exifFocal(exif, size);
    const camera = focalPx ? { ...known, focalPx, source: "EXIF" } : known;
    return {
      name: name ?? basename(named, extname(named)),
      size,
      pixels,
      readImage: () => decodeRgb(bytes, undefined, named),
      ...photoCamera(this.info, size, camera),
    };
  }

  /** @param pad Runs compiled, with so many images at a time, the last ones repeated. */
  async #run(photos: readonly Prepared[], flip = false, pad: number | false): Promise<Depth[]> {
    if (photos.length === 0) return [];
    if (flip && this.info.view === "right") {
      throw new UsageError(
        "Cannot average with the mirrored image: this network sees the right view, expected the left",
      );
    }
    const { width, height } = this.info.size, pixels = width * height;
    const count = pad || photos.length;
    const images = new Float32Array(count * pixels * 3), scales = new Float32Array(count).fill(1);
    for (const [i, photo] of photos.entries()) {
      const at = i * pixels * 3, { pixels: from } = photo;
      for (let j = 0; j < from.length; j++) images[at + j] = from[j] / 255;
      scales[i] = photoScale(this.info, photo.camera);
    }
    const plain = await this.#predictor.run(images, scales, pad !== false);
    const flipped = flip
      ? await this.#predictor.run(mirrored(images, width), scales, pad !== false)
      : undefined;
    return photos.map(({ name, size, camera, basis, readImage }, i) => {
      const mapOf = (all: Float32Array) => ({
        width,
        height,
        data: all.slice(i * pixels, (i + 1) * pixels),
      });
      const map = flipped ? combineFlipped(mapOf(plain), mapOf(flipped)) : mapOf(plain);
      return new Depth(name, size, map, camera, basis, readImage);
    });
  }
}

const told = new Set<string>();

/** Says, once for each model, on standard error that its license forbids commercial use. */
export function tellLicense({ name, license }: StudentInfo): void {
  if (told.has(name) || !isNonCommercial(license)) return;
  told.add(name);
  console.error(`The model ${name} is for non-commercial use only (${license})`);
}

/** Images of three channels, left and right exchanged. */
function mirrored(images: Float32Array, width: number): Float32Array<ArrayBuffer> {
  const out = new Float32Array(images.length);
  for (let i = 0; i < out.length; i += 3) {
    const x = i / 3 % width, from = i + 3 * (width - 1 - 2 * x);
    out[i] = images[from], out[i + 1] = images[from + 1], out[i + 2] = images[from + 2];
  }
  return out;
}

/** Pixels without their alpha. */
function rgbOf({ width, height, data }: ImageOf<Uint8Array | Uint8ClampedArray>): RgbImage {
  const channels = data.length / (width * height);
  if (channels !== 3 && channels !== 4) {
    throw new CyclopsError(
      `Cannot predict an image of ${width}×${height} px: found ${data.length} values, expected 3 or 4 per pixel`,
    );
  }
  if (channels === 3 && data instanceof Uint8Array) return { width, height, data };
  const rgb = new Uint8Array(width * height * 3);
  for (let i = 0, at = 0; i < rgb.length; i += 3, at += channels) {
    for (let c = 0; c < 3; c++) rgb[i + c] = data[at + c];
  }
  return { width, height, data: rgb };
}
