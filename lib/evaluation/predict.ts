/**
 * Predictions of networks for whole data sets and single images.
 *
 * @module
 */
import { join } from "@std/path";
import { type Tensor4D, tf } from "../backend/tf.ts";
import { UsageError } from "../base/errors.ts";
import { openPairCache, sequentialBatches } from "../data/loader.ts";
import type { StereoDataset } from "../data/dataset.ts";
import { type FloatMap, readRgb, type RgbImage } from "../data/image.ts";
import type { ImageSize } from "../geometry/camera.ts";
import { mirror, type View } from "../geometry/warp.ts";
import {
  CLOSED_GATES,
  imagePyramid,
  type Networks,
  type RefineOptions,
  runChain,
  splitAligned,
} from "../models/chain.ts";
import { runNetwork } from "../models/network.ts";
import type { Disparities } from "./disparities.ts";
import { cropBox, type Protocol, scoreFrame } from "./protocol.ts";
import { readTruth, type TruthKind, truthMap } from "./truth.ts";

/** How a prediction is made. */
export interface PredictOptions {
  /** Size at which the network sees the image, px. */
  readonly size: ImageSize;
  /** The view that the network was trained to see. @default "left" */
  readonly view?: View;
  /**
   * Whose disparity: the student's, or the refined one of the whole chain, which needs all three networks.
   * @default "student"
   */
  readonly of?: "student" | "teacher";
  /** How the refine network is wired, for the teacher. */
  readonly refine?: RefineOptions;
  /** Images at a time. @default 8 */
  readonly batch?: number;
}

/**
 * The disparity of the left image: for networks that see the left view the one aligned with their input, for networks
 * that see the right view the one they synthesize the left view with, as in the paper's wiring.
 *
 * @param images The seen view, [B,H,W,3] in [0,1].
 * @returns Fraction of width, [B,H,W,1].
 */
export function predictDisparity(networks: Networks, images: Tensor4D, options: PredictOptions): Tensor4D {
  const { view = "left", of = "student", refine } = options;
  return tf.tidy(() => {
    let finest: Tensor4D;
    if (of === "student") finest = runNetwork(networks.student, images).disparities[0];
    else {
      if (!networks.refine || !refine) {
        throw new UsageError(
          "Cannot predict with the teacher: the checkpoint has no refine network, only a student",
        );
      }
      const chain = runChain(networks, imagePyramid(images), { view, refine, gates: CLOSED_GATES });
      finest = chain.refined!.prediction.disparities[0];
    }
    const { source, target } = splitAligned(finest);
    return view === "left" ? source : target;
  });
}

/** Predictions for a data set. */
export interface Predictions {
  /** One map a frame. */
  readonly plain: Disparities;
  /** Those of the mirrored images, as the network gave them, where asked for. */
  readonly flipped?: Disparities;
}

/**
 * Predicts every frame of a data set.
 *
 * @param options `flip` predicts the mirrored images, too, for flip post-processing.
 * @throws {UsageError} When flipping is asked of networks that see the right view: the mirrored image's disparity
 * belongs to a camera that is not there.
 */
export async function predictDataset(
  networks: Networks,
  dataset: StereoDataset,
  options: PredictOptions & {
    readonly flip?: boolean;
    readonly onProgress?: (done: number) => void;
    /** Keeps decoded images for the next pass; see `openPairCache`. */
    readonly cache?: ReturnType<typeof openPairCache>;
  },
): Promise<Predictions> {
  const { size, view = "left", flip = false, batch = 8, cache } = options;
  if (flip && view === "right") {
    throw new UsageError(
      "Cannot average with the mirrored image: this network sees the right view, flipping needs --view left",
    );
  }
  const { height, width } = size;
  const count = dataset.pairs.length;
  const maps = () => ({ count, height, width, data: new Float32Array(count * height * width) });
  const plain = maps();
  const flipped = flip ? maps() : undefined;
  let done = 0;
  const side = cache ? "both" : view;
  for await (const images of sequentialBatches(dataset, { size, batch, side, cache })) {
    const input = tf.tensor4d(images[view], [images.batch, height, width, 3]);
    const run = async (into: Disparities, x: Tensor4D) => {
      const map = predictDisparity(networks, x, options);
      into.data.set(await map.data(), done * height * width);
      map.dispose();
    };
    await run(plain, input);
    if (flipped) {
      const mirrored = mirror(input);
      await run(flipped, mirrored);
      mirrored.dispose();
    }
    input.dispose();
    done += images.batch;
    options.onProgress?.(done);
  }
  return { plain, flipped };
}

/**
 * Predicts one image.
 *
 * @param image Already at the network's size.
 * @returns Fraction of width.
 */
export async function predictImage(
  networks: Networks,
  image: RgbImage,
  options: PredictOptions,
): Promise<FloatMap> {
  const { width, height, data } = image;
  const input = tf.tensor4d(Float32Array.from(data, (v) => v / 255), [1, height, width, 3]);
  const map = predictDisparity(networks, input, options);
  const values = await map.data() as Float32Array;
  tf.dispose([input, map]);
  return { width, height, data: values };
}

/**
 * Predicts frame `index` of a data set and scores it.
 *
 * @returns What a row of a picture needs: the photograph, prediction and truth with their crop and metrics.
 */
export async function predictFrame(
  networks: Networks,
  dataset: StereoDataset,
  index: number,
  options: PredictOptions & { readonly truth: TruthKind; readonly protocol: Protocol },
) {
  const pair = dataset.pairs[index];
  const path = join(dataset.root, pair[options.view ?? "left"]);
  const disparity = await predictImage(networks, await readRgb(path, options.size), options);
  const truth = await readTruth(dataset.root, pair, options.truth);
  const [errors] = scoreFrame(truth, disparity, [options.protocol]);
  return {
    name: pair.left.replace(/^.*?\/(.*)\/image_02\/data\/(.*)\.\w+$/, "$1 $2"),
    input: await readRgb(path),
    disparity,
    truth: truthMap(truth),
    camera: truth.camera,
    crop: cropBox(options.protocol.crop, truth.camera.imageSize),
    metrics: errors.metrics(),
  };
}
