/**
 * Depth from photographs in a browser, on whatever TensorFlow.js the page has: WebGPU, WebGL or WebAssembly.
 *
 * @example
 * ```ts ignore
 * import * as tf from "@tensorflow/tfjs";
 * import { loadStudent, toImageData } from "@cyclops/cyclops/browser";
 *
 * const student = await loadStudent(tf, "models/street.safetensors");
 * const depth = await student.predict(document.querySelector("img"));
 * canvas.getContext("2d").putImageData(toImageData(await depth.picture()), 0, 0);
 * ```
 *
 * @module
 */
import { CyclopsError } from "../base/errors.ts";
import type { RgbImage } from "../data/image.ts";
import type { ImageSize } from "../geometry/camera.ts";
import {
  createStudent,
  parseStudent,
  portablePredictor,
  type Predictor,
  type StudentInfo,
} from "../models/student.ts";
import { DepthMap, type KnownCamera, photoCamera, photoScale } from "./map.ts";

export { CyclopsError, UsageError } from "../base/errors.ts";
export { Points } from "../data/points.ts";
export type { StudentInfo } from "../models/student.ts";
export { DepthMap };

/** The part of a browser's canvas that is used here: Deno's has no 2D context. */
interface Canvas {
  getContext(kind: "2d", options: { readonly willReadFrequently: boolean }): {
    imageSmoothingQuality: string;
    drawImage(bitmap: ImageBitmap, x: number, y: number, width: number, height: number): void;
    getImageData(x: number, y: number, width: number, height: number): ImageData;
  } | null;
}

/** The pixels of a bitmap at a size, without alpha. */
function pixelsOf(bitmap: ImageBitmap, { width, height }: ImageSize): RgbImage {
  const canvas = new OffscreenCanvas(width, height) as unknown as Canvas;
  const context = canvas.getContext("2d", { willReadFrequently: true });
  if (!context) throw new CyclopsError("Cannot read the image: this browser has no 2D canvas");
  context.imageSmoothingQuality = "high";
  context.drawImage(bitmap, 0, 0, width, height);
  const { data: rgba } = context.getImageData(0, 0, width, height);
  const data = new Uint8Array(width * height * 3);
  for (let i = 0, at = 0; i < data.length; i += 3, at += 4) {
    data[i] = rgba[at], data[i + 1] = rgba[at + 1], data[i + 2] = rgba[at + 2];
  }
  return { width, height, data };
}

/** An RGB image as a canvas takes it. */
export function toImageData({ width, height, data }: RgbImage): ImageData {
  const rgba = new Uint8ClampedArray(width * height * 4).fill(255);
  for (let i = 0, at = 0; i < data.length; i += 3, at += 4) rgba.set(data.subarray(i, i + 3), at);
  return new ImageData(rgba, width, height);
}

/** A network that predicts the depth of photographs in a browser. */
export class BrowserStudent {
  readonly #predictor: Predictor;

  /** Made by {@linkcode loadStudent}. */
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
   * @param photo An `<img>`, a canvas, a video's frame, a file that was dropped, an `ImageBitmap` or `ImageData`.
   * @param options.camera What is known about its camera. @default the training rig's
   * @param options.name What it is called. @default "image"
   */
  async predict(
    photo: ImageBitmapSource,
    { camera: known, name = "image" }: { readonly camera?: KnownCamera; readonly name?: string } = {},
  ): Promise<DepthMap> {
    const bitmap = await createImageBitmap(photo), { width, height } = bitmap;
    const { data } = pixelsOf(bitmap, this.info.size);
    const { camera, basis } = photoCamera(this.info, { width, height }, known);
    const images = Float32Array.from(data, (value) => value / 255);
    const scale = Float32Array.of(photoScale(this.info, camera));
    const prediction = { ...this.info.size, data: await this.#predictor.run(images, scale) };
    const readImage = () => Promise.resolve(pixelsOf(bitmap, bitmap));
    return new DepthMap(name, { width, height }, prediction, camera, basis, readImage);
  }

  /** Frees the weights. */
  dispose(): void {
    this.#predictor.dispose();
  }
}

/**
 * Loads a network that predicts photographs.
 *
 * @param tf TensorFlow.js, its backend chosen: the package, or tfjs-core with a backend.
 * @param model URL of a model file (.safetensors), relative to the page, or its bytes.
 * @throws {CyclopsError} When it cannot be fetched or is damaged.
 */
export async function loadStudent(
  tf: Parameters<typeof portablePredictor>[0],
  model: string | URL | Uint8Array<ArrayBuffer>,
): Promise<BrowserStudent> {
  let bytes = model;
  if (!(bytes instanceof Uint8Array)) {
    const response = await fetch(bytes);
    if (!response.ok) {
      throw new CyclopsError(`Cannot load the model ${bytes}: the server answered ${response.status}`);
    }
    bytes = new Uint8Array(await response.arrayBuffer());
  }
  const file = parseStudent(bytes, model instanceof Uint8Array ? "model" : String(model));
  return new BrowserStudent(file.info, portablePredictor(tf, createStudent(tf, file)));
}
