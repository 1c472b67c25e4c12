/**
 * Depth of any photograph.
 *
 * @module
 */
import { basename, extname, join } from "@std/path";
import { disparityPicture } from "../charts/depth.ts";
import type { Picture } from "../charts/picture.ts";
import { resizeMap } from "../data/resize.ts";
import { type FloatMap, readRgb, type RgbImage, writeGray16 } from "../data/image.ts";
import { combineFlipped } from "./disparities.ts";
import { predictImage, type PredictOptions } from "./predict.ts";
import type { LoadedModel } from "../training/weights.ts";

/** How a photograph is predicted. */
export interface PhotographOptions {
  /** Whose disparity. @default "student" */
  readonly of?: PredictOptions["of"];
  /** Average with the mirrored image's prediction. @default false */
  readonly flip?: boolean;
}

/** A photograph's disparity. */
export interface Photograph {
  /** The image at its own size. */
  readonly image: RgbImage;
  /** At the image's size, fraction of the image width. */
  readonly disparity: FloatMap;
  /** At the network's size, fraction of the image width. */
  readonly prediction: FloatMap;
}

function mirrored({ width, height, data }: RgbImage): RgbImage {
  const out = new Uint8Array(data.length);
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      for (let c = 0; c < 3; c++) out[(y * width + x) * 3 + c] = data[(y * width + width - 1 - x) * 3 + c];
    }
  }
  return { width, height, data: out };
}

/**
 * Predicts the disparity of an image file of any size.
 *
 * @throws {CyclopsError} When it cannot be read.
 */
export async function predictPhotograph(
  model: LoadedModel,
  path: string,
  options: PhotographOptions = {},
): Promise<Photograph> {
  const image = await readRgb(path);
  const seen = await readRgb(path, model.size);
  const how = { size: model.size, view: model.options.view, of: options.of, refine: model.refine } as const;
  let prediction = await predictImage(model.networks, seen, how);
  if (options.flip) {
    prediction = combineFlipped(prediction, await predictImage(model.networks, mirrored(seen), how));
  }
  const { width, height } = image;
  const disparity = { ...resizeMap(prediction, { width, height }), width, height };
  return { image, disparity, prediction };
}

/**
 * Disparity as a 16-bit PNG as KITTI stores it: px of the image × 256, 0 only where a disparity rounds to it.
 *
 * @param disparity Fraction of width, at the size to write.
 */
export async function writeDisparityPng(path: string, { width, height, data }: FloatMap): Promise<void> {
  const values = Uint16Array.from(data, (d) => Math.min(65535, Math.max(0, Math.round(d * width * 256))));
  await writeGray16(path, { width, height, data: values });
}

/**
 * Predicts a photograph and writes `NAME_disparity.png` (coloured) and `NAME_disparity16.png` (KITTI's format).
 *
 * @returns The two paths and the picture.
 */
export async function writePhotograph(
  model: LoadedModel,
  path: string,
  out: string,
  options: PhotographOptions = {},
): Promise<{ readonly coloured: string; readonly raw: string; readonly picture: Picture }> {
  const { disparity } = await predictPhotograph(model, path, options);
  const name = basename(path, extname(path));
  const coloured = join(out, `${name}_disparity.png`);
  const raw = join(out, `${name}_disparity16.png`);
  const picture = disparityPicture(disparity, { title: basename(path) });
  await picture.writePng(coloured);
  await writeDisparityPng(raw, disparity);
  return { coloured, raw, picture };
}
