/**
 * Validation: how good the networks are on pairs that they were not trained on, in numbers and pictures.
 *
 * @module
 */
import { compile, type Compiled } from "../backend/compile.ts";
import { type Scalar, type Tensor, type Tensor4D, tf } from "../backend/tf.ts";
import { messageOf } from "../base/errors.ts";
import type { StereoDataset } from "../data/dataset.ts";
import { imageFromUnit, type RgbImage } from "../data/image.ts";
import { openPairCache, readStereo, sequentialBatches, type StereoBatch } from "../data/loader.ts";
import { type DepthMetrics, meanMetrics, type Protocol, scoreFrame } from "../evaluation/protocol.ts";
import { checkTruth, truthReader } from "../evaluation/truth.ts";
import { canonicalScales, type ImageSize } from "../geometry/camera.ts";
import { opposite, warp } from "../geometry/warp.ts";
import { photometricLoss } from "../losses/losses.ts";
import {
  type AlignedDisparity,
  type ChainOptions,
  CLOSED_GATES,
  halfCycle,
  imagePyramid,
  type Networks,
  runChain,
  splitAligned,
} from "../models/chain.ts";
import { type Network, runNetwork } from "../models/network.ts";
import type { Cluster } from "./cluster.ts";
import { openPart, refineOptions, type TrainingOptions } from "./options.ts";

/** The result of a validation; lower is better. */
export interface ValidationResult {
  /** Photometric loss of the left view, synthesized from the right one by the evaluated disparity, at the finest scale. */
  readonly photometric: number;
  /** Abs rel of the depth by the protocol, where ground truth exists. */
  readonly absRel?: number;
  /** Root mean square error of the depth, m, where ground truth exists. */
  readonly rmse?: number;
}

/**
 * Validates networks, again and again on the same pairs.
 *
 * @param options The run's: the teacher's refined disparity is measured in stage `teacher`, else the student's.
 * @param signal Stops the validation, which then has no result.
 */
export type Validate = (
  networks: Networks,
  options: TrainingOptions,
  signal?: AbortSignal,
) => Promise<ValidationResult | undefined>;

/** Memory for the images of a validation, MiB. */
const CACHE_MIB = 256;

/** What is measured while training; the field's protocol. */
const PROTOCOL: Protocol = { crop: "garg", capM: 80 };

/** At most `limit` pairs, spread evenly over a data set. */
export function spreadPairs(dataset: StereoDataset, limit: number): StereoDataset {
  const { pairs } = dataset;
  if (pairs.length <= limit) return dataset;
  return {
    ...dataset,
    pairs: Array.from({ length: limit }, (_, i) => pairs[Math.floor(i * pairs.length / limit)]),
  };
}

/** How a run's whole chain is run where nothing learns. */
function wholeChain(options: TrainingOptions, opposite: Tensor4D, scale?: Tensor4D): ChainOptions {
  const { view, border } = options;
  return { view, border, scale, refine: refineOptions(options), gates: CLOSED_GATES, opposite };
}

/** The finest disparity of the left image, which is evaluated, and the left view synthesized from the right with it. */
function predictView(
  networks: Networks,
  source: Tensor4D,
  target: Tensor4D,
  options: TrainingOptions,
  scale?: Tensor4D,
): { readonly synthesized: Tensor4D; readonly real: Tensor4D; readonly disparity: Tensor4D } {
  const { stage, view, border } = options;
  const [left, right] = view === "left" ? [source, target] : [target, source];
  const outcome = (aligned: AlignedDisparity) => {
    const disparity = view === "left" ? aligned.source : aligned.target;
    return { synthesized: warp(right, disparity, "left", { border }), real: left, disparity };
  };
  if (stage === "teacher") {
    const chain = runChain(networks, imagePyramid(source), wholeChain(options, target, scale));
    return outcome(chain.refined!.aligned[0]);
  }
  const [disparity] = runNetwork(networks.student, source).disparities;
  return outcome(splitAligned(scale ? tf.mul(disparity, scale) : disparity));
}

/**
 * Prepares a validation: images and ground truth are read once and kept.
 *
 * @param whole Pairs; see {@linkcode spreadPairs}. Without laser scans, only the photometric loss is measured.
 * @param options Size of the networks' input, px; images at a time; the workers that share the pairs.
 * @returns `withoutTruth` is why depth is not measured; `undefined` where it is.
 */
export async function prepareValidation(
  whole: StereoDataset,
  options: { readonly size: ImageSize; readonly batch?: number; readonly cluster?: Cluster },
): Promise<{ readonly validate: Validate; readonly withoutTruth?: string }> {
  const { size, batch = 8, cluster } = options;
  const own = cluster ? whole.pairs.filter((_, i) => i % cluster.size === cluster.task) : whole.pairs;
  const dataset = { ...whole, pairs: own };
  const { root, pairs } = dataset;
  const cache = openPairCache(dataset, size, CACHE_MIB);
  let withoutTruth: string | undefined;
  try {
    await checkTruth(root, pairs, "lidar");
  } catch (error) {
    withoutTruth = messageOf(error).split("\n")[0];
  }
  const truthOf = truthReader(root, "lidar", { keep: true });
  // Validations repeat: the compiled function is kept for as long as the networks stay the same.
  let compiled: [
    student: Network,
    measure: Compiled<[Tensor4D, Tensor4D, Tensor4D | null], [Scalar, Tensor4D]>,
  ] | undefined;
  const measureOf = (networks: Networks, training: TrainingOptions) => {
    if (compiled?.[0] === networks.student) return compiled[1];
    compiled?.[1].dispose();
    const measure = compile(
      (source: Tensor4D, target: Tensor4D, scale: Tensor4D | null): [Scalar, Tensor4D] => {
        const { synthesized, real, disparity } = predictView(
          networks,
          source,
          target,
          training,
          scale ?? undefined,
        );
        return [photometricLoss(synthesized, real), disparity];
      },
      { name: "validate", enabled: !training.eager },
    );
    compiled = [networks.student, measure];
    return measure;
  };
  const validate: Validate = async (networks, training, signal) => {
    const { view } = training;
    const { height, width } = size;
    const measure = measureOf(networks, training);
    let photometric = 0, done = 0;
    const frames: DepthMetrics[] = [];
    for await (const images of sequentialBatches(dataset, { size, batch, cache })) {
      if (signal?.aborted) break;
      const shape: [number, number, number, number] = [images.batch, height, width, 3];
      const scales = training.camera === "canonical" && canonicalScales(images.cameras ?? [], images.ids);
      const [loss, map] = tf.tidy(() =>
        measure(
          tf.tensor4d(images[view], shape),
          tf.tensor4d(images[opposite(view)], shape),
          scales ? tf.tensor4d(scales, [images.batch, 1, 1, 1]) : null,
        )
      );
      const [[value], values] = await Promise.all([loss.data(), map.data() as Promise<Float32Array>]);
      photometric += value * images.batch;
      tf.dispose([loss, map]);
      if (withoutTruth === undefined) {
        for (let i = 0; i < images.batch; i++) {
          const data = values.subarray(i * height * width, (i + 1) * height * width);
          const [errors] = scoreFrame(await truthOf(pairs[done + i]), { height, width, data }, [PROTOCOL]);
          if (errors.points > 0) frames.push(errors.metrics());
        }
      }
      done += images.batch;
    }
    const measured = signal?.aborted ? undefined : { photometric, frames };
    const shares = cluster ? await cluster.gather(measured) : [measured];
    if (!shares.every((share) => share !== undefined)) return undefined;
    const sum = shares.reduce((sum, share) => sum + share.photometric, 0) / whole.pairs.length;
    const all = shares.flatMap((share) => share.frames);
    if (all.length === 0) return { photometric: sum };
    const { absRel, rmse } = meanMetrics(all);
    return { photometric: sum, absRel, rmse };
  };
  return { validate, withoutTruth };
}

/** The validations of a run. */
export interface RunValidation {
  readonly validate: Validate;
  /** How many pairs it measures. */
  readonly pairs: number;
  /**
   * Draws for TensorBoard what the networks do with a few of the pairs.
   *
   * @param networks The chain that is trained, as a `Trainer` has it.
   * @param teacher The teacher that a student is distilled from.
   * @returns Images by name, e.g. "pair1/disparity".
   */
  readonly draw: (networks: Networks, teacher?: Networks) => Promise<Record<string, RgbImage>>;
  readonly warnings: readonly string[];
}

/**
 * Opens the validation of a run.
 *
 * @param training The training pairs.
 * @param size Size of the networks' input, px.
 * @param cluster The workers that share the pairs. @default this process alone
 * @returns `undefined` where nothing is validated.
 */
export async function openValidation(
  options: TrainingOptions,
  training: StereoDataset,
  size: ImageSize,
  cluster?: Cluster,
): Promise<RunValidation | undefined> {
  if (options.validateEvery === 0) return undefined;
  const dataset = spreadPairs(await openPart(options, "val"), options.validationPairs);
  const { length } = dataset.pairs;
  // No more images at a time than a training that fits in memory has.
  const batch = Math.min(8, options.batch / options.accumulate / (cluster?.size ?? 1));
  const { validate, withoutTruth } = await prepareValidation(dataset, { size, batch, cluster });
  const warnings: string[] = [];
  if (withoutTruth) warnings.push(`validation measures the photometric loss alone: ${withoutTruth}`);
  if (dataset.identity.names === training.identity.names) {
    warnings.push("validation uses the training pairs themselves: it cannot tell when the networks overfit");
  }
  const indices = options.tensorboard ? [...new Set([0, length >> 1])] : [];
  const drawn = await Promise.all(indices.map((index) => readStereo(dataset, index, size)));
  const draw: RunValidation["draw"] = async (networks, teacher) => {
    const images: Record<string, RgbImage> = {};
    for (const [i, pair] of drawn.entries()) {
      for (const [name, image] of Object.entries(await chainImages(networks, teacher, options, pair))) {
        images[`pair${i + 1}/${name}`] = image;
      }
    }
    return images;
  };
  return { validate, pairs: length, draw, warnings };
}

/** Difference of two images, in [0,1], that is drawn white. */
const STRONG_DIFFERENCE = 0.3;

/**
 * Images of what a chain of networks does with a pair: the seen view, the opposite one, the synthesized opposite view
 * and the disparity; of a longer chain also the re-synthesized input, the inconsistency (mean |input − re-synthesis|)
 * and the refined disparity. Disparities are drawn gray, the nearest white.
 */
async function chainImages(
  networks: Networks,
  teacher: Networks | undefined,
  options: TrainingOptions,
  pair: StereoBatch,
): Promise<Record<string, RgbImage>> {
  const { view, border } = options;
  const { height, width } = pair;
  const drawn = tf.tidy(() => {
    const shape: [number, number, number, number] = [1, height, width, 3];
    const source = tf.tensor4d(pair[view], shape), target = tf.tensor4d(pair[opposite(view)], shape);
    const pyramid = imagePyramid(source);
    const scale = options.camera === "canonical"
      ? tf.tensor4d(canonicalScales(pair.cameras ?? [], pair.ids), [1, 1, 1, 1])
      : undefined;
    const chain = runChain(teacher ?? networks, pyramid, wholeChain(options, target, scale));
    const student = teacher
      ? halfCycle(networks.student, pyramid, opposite(view), { border, scale })
      : chain.student;
    const gray = (values: Tensor4D, white: Tensor | number): Tensor4D =>
      tf.tile(tf.div<Tensor4D>(values, white), [1, 1, 1, 3]);
    const disparity = (values: Tensor4D) => gray(values, tf.max(values));
    const images: Record<string, Tensor4D> = {
      input: source,
      opposite: target,
      synthesized: student.synthesized[0],
      disparity: disparity(student.aligned[0].source),
    };
    if (chain.backward) {
      images.resynthesis = chain.backward.synthesized[0];
      const difference = tf.mean(tf.abs(tf.sub(source, images.resynthesis)), 3, true) as Tensor4D;
      images.inconsistency = gray(difference, STRONG_DIFFERENCE);
    }
    if (chain.refined) images.refined = disparity(chain.refined.aligned[0].source);
    return images;
  });
  const images: Record<string, RgbImage> = {};
  for (const [name, values] of Object.entries(drawn)) {
    images[name] = imageFromUnit({ width, height }, await values.data());
    values.dispose();
  }
  return images;
}
