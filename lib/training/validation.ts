/**
 * How good the networks are on pairs they were not trained on.
 *
 * @module
 */
import { tf } from "../backend/tf.ts";
import { openPairCache, sequentialBatches } from "../data/batches.ts";
import type { StereoDataset } from "../data/dataset.ts";
import { evaluate, type Protocol } from "../evaluation/protocol.ts";
import { predictDataset, type PredictOptions } from "../evaluation/predict.ts";
import { checkTruth, truthReader } from "../evaluation/truth.ts";
import { opposite } from "../geometry/warp.ts";
import { photometricLoss } from "../losses/photometric.ts";
import { halfCycle, imagePyramid, type Networks } from "../models/chain.ts";

/** What a validation measured; lower is better. */
export interface ValidationResult {
  /** Photometric loss of the student's synthesised view, at the finest scale. */
  readonly photometric: number;
  /** Abs rel of the depth by the protocol, where truth exists. */
  readonly absRel?: number;
  /** Root mean square error of the depth, m, where truth exists. */
  readonly rmse?: number;
}

/** Measures networks on the same pairs again and again. */
export type Validate = (networks: Networks, options: PredictOptions) => Promise<ValidationResult>;

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

/**
 * Prepares a validation: images and truth are read once and kept.
 *
 * @param dataset Pairs; see {@linkcode spreadPairs}. Where laser scans are missing, only the photometric loss is measured.
 */
export async function prepareValidation(
  dataset: StereoDataset,
  size: PredictOptions["size"],
  cacheMib = 256,
): Promise<Validate> {
  const cache = openPairCache(dataset, size, cacheMib);
  const hasTruth = await checkTruth(dataset.root, dataset.pairs, "lidar").then(() => true, () => false);
  const reader = truthReader(dataset.root, "lidar", { keep: true });
  return async (networks, options) => {
    const view = options.view ?? "left";
    let photometric = 0;
    for await (const batch of sequentialBatches(dataset, { size, cache })) {
      const shape = [batch.batch, batch.height, batch.width, 3] as const;
      const loss = tf.tidy(() => {
        const source = tf.tensor4d(batch[view], [...shape]);
        const target = tf.tensor4d(batch[opposite(view)], [...shape]);
        const { synthesised } = halfCycle(networks.student, imagePyramid(source), opposite(view));
        return photometricLoss(synthesised[0], target);
      });
      photometric += loss.dataSync()[0] * batch.batch / dataset.pairs.length;
      loss.dispose();
    }
    if (!hasTruth) return { photometric };
    const { plain } = await predictDataset(networks, dataset, { ...options, cache });
    const { root, pairs } = dataset;
    const { absRel, rmse } = await evaluate({ root, pairs, disparities: plain, reader, ...PROTOCOL });
    return { photometric, absRel, rmse };
  };
}
