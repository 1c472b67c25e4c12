/**
 * How good the networks are on pairs they were not trained on.
 *
 * @module
 */
import { type Tensor4D, tf } from "../backend/tf.ts";
import { messageOf } from "../base/errors.ts";
import { openPairCache, sequentialBatches } from "../data/loader.ts";
import type { StereoDataset } from "../data/dataset.ts";
import type { DepthMetrics } from "../evaluation/metrics.ts";
import { meanMetrics } from "../evaluation/metrics.ts";
import { type Protocol, scoreFrame } from "../evaluation/protocol.ts";
import { checkTruth, truthReader } from "../evaluation/truth.ts";
import type { ImageSize } from "../geometry/camera.ts";
import { type Border, opposite, type View, warp } from "../geometry/warp.ts";
import { photometricLoss } from "../losses/photometric.ts";
import {
  CLOSED_GATES,
  imagePyramid,
  type Networks,
  type RefineOptions,
  runChain,
  splitAligned,
} from "../models/chain.ts";
import { runNetwork } from "../models/network.ts";

/** What a validation measured; lower is better. */
export interface ValidationResult {
  /** Photometric loss of the synthesised opposite view, at the finest scale. */
  readonly photometric: number;
  /** Abs rel of the depth by the protocol, where truth exists. */
  readonly absRel?: number;
  /** Root mean square error of the depth, m, where truth exists. */
  readonly rmse?: number;
}

/** Whose disparity is measured, and how it comes about. */
export interface ValidationWiring {
  /** The view that the networks see. */
  readonly view: View;
  /** The student's, or the refined one of the whole chain. */
  readonly of: "student" | "teacher";
  /** How the refine network is wired. */
  readonly refine: RefineOptions;
  /** Show the teacher the real opposite view, as in its training. */
  readonly privileged: boolean;
  /** What warps read beyond the image. */
  readonly border: Border;
}

/**
 * Measures networks on the same pairs again and again.
 *
 * @param signal Ends the measuring early; what was measured is then no result.
 */
export type Validate = (
  networks: Networks,
  wiring: ValidationWiring,
  signal?: AbortSignal,
) => Promise<ValidationResult | undefined>;

/** A validation, ready to be made. */
export interface Validation {
  /** Measures networks as they are now. */
  readonly measure: Validate;
  /** Why depth is not measured; `undefined` where it is. */
  readonly withoutTruth?: string;
}

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

/** The finest disparity of the left image and the opposite view synthesised with it, of one walk through the chain. */
function look(
  networks: Networks,
  source: Tensor4D,
  target: Tensor4D,
  { view, of, refine, privileged, border }: ValidationWiring,
): { readonly synthesised: Tensor4D; readonly disparity: Tensor4D } {
  if (of === "teacher") {
    const { refined } = runChain(networks, imagePyramid(source), {
      view,
      border,
      refine,
      gates: CLOSED_GATES,
      privileged: privileged ? target : undefined,
    });
    const [aligned] = refined!.aligned;
    return {
      synthesised: refined!.synthesized[0],
      disparity: view === "left" ? aligned.source : aligned.target,
    };
  }
  const aligned = splitAligned(runNetwork(networks.student, source).disparities[0]);
  const synthesised = warp(source, aligned.target, opposite(view), { border });
  return { synthesised, disparity: view === "left" ? aligned.source : aligned.target };
}

/**
 * Prepares a validation: images and truth are read once and kept.
 *
 * @param dataset Pairs; see {@linkcode spreadPairs}. Where laser scans are missing, only the photometric loss is measured.
 * @param options Size at which the networks see images, px; images at a time (default 8); memory for images, MiB.
 */
export async function prepareValidation(
  dataset: StereoDataset,
  options: { readonly size: ImageSize; readonly batch?: number; readonly cacheMib?: number },
): Promise<Validation> {
  const { size, batch = 8, cacheMib = 256 } = options;
  const { root, pairs } = dataset;
  const cache = openPairCache(dataset, size, cacheMib);
  let withoutTruth: string | undefined;
  try {
    await checkTruth(root, pairs, "lidar");
  } catch (error) {
    withoutTruth = messageOf(error).split("\n")[0];
  }
  const truthOf = truthReader(root, "lidar", { keep: true });
  const measure: Validate = async (networks, wiring, signal) => {
    const { view } = wiring;
    const { height, width } = size;
    let photometric = 0, done = 0;
    const frames: DepthMetrics[] = [];
    for await (const images of sequentialBatches(dataset, { size, batch, cache })) {
      if (signal?.aborted) return undefined;
      const shape: [number, number, number, number] = [images.batch, height, width, 3];
      const [loss, map] = tf.tidy(() => {
        const source = tf.tensor4d(images[view], shape);
        const target = tf.tensor4d(images[opposite(view)], shape);
        const { synthesised, disparity } = look(networks, source, target, wiring);
        return [photometricLoss(synthesised, target), disparity];
      });
      const [[value], values] = await Promise.all([loss.data(), map.data() as Promise<Float32Array>]);
      photometric += value * images.batch / pairs.length;
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
    if (frames.length === 0) return { photometric };
    const { absRel, rmse } = meanMetrics(frames);
    return { photometric, absRel, rmse };
  };
  return { measure, withoutTruth };
}
