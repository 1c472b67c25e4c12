/**
 * Whether the inconsistency knows where the student errs: what a teacher that looks at it can at best make use of.
 *
 * @module
 */
import { noGradient } from "../backend/ops.ts";
import { type Tensor4D, tf } from "../backend/tf.ts";
import type { StereoDataset } from "../data/dataset.ts";
import { sequentialBatches } from "../data/loader.ts";
import { canonicalScales, disparityFromDepth, type ImageSize } from "../geometry/camera.ts";
import { type View, warp } from "../geometry/warp.ts";
import { CLOSED_GATES, imagePyramid, type Networks, runChain } from "../models/chain.ts";
import { type TruthKind, truthReader } from "./truth.ts";

/** Spearman's rank correlation: 1 where one always rises with the other, 0 where it tells nothing. */
export function rankCorrelation(x: readonly number[], y: readonly number[]): number {
  const ranks = (values: readonly number[]) => {
    const order = [...values.keys()].sort((a, b) => values[a] - values[b]);
    const found = new Float64Array(values.length);
    for (let i = 0, end = 0; i < order.length; i = end) {
      while (end < order.length && values[order[end]] === values[order[i]]) end++;
      for (let k = i; k < end; k++) found[order[k]] = (i + end - 1) / 2;
    }
    return found.map((rank) => rank - (values.length - 1) / 2);
  };
  const [a, b] = [ranks(x), ranks(y)];
  const dot = (p: Float64Array, q: Float64Array) => p.reduce((sum, v, i) => sum + v * q[i], 0);
  return dot(a, b) / Math.sqrt(dot(a, a) * dot(b, b));
}

/** What may tell where the student errs, and how well it does: rank correlations with the true error, −1 to 1. */
export interface InconsistencyGate {
  /** |input − its re-synthesis by the cycle|: what the paper's teacher sees, from one image. */
  readonly inconsistency: number;
  /** Edges of the input, mean |∂I| along x: needs no second network. */
  readonly edges: number;
  /** |input − its re-synthesis from the real opposite view|: what a privileged teacher sees. */
  readonly privileged: number;
  /** Pixels compared, over all frames. */
  readonly points: number;
}

/** Every so many points of a frame are compared. */
const STRIDE = 7;

/**
 * Correlates the inconsistency of student and backward network with the student's true error, |ln disparity − ln truth|.
 *
 * @param networks Student and backward network, which see the left view.
 * @param dataset With both views and true depths of each frame.
 * @throws {RangeError} When there is no backward network.
 */
export async function inconsistencyGate(
  { student, backward }: Networks,
  dataset: StereoDataset,
  { size, camera, truth = "lidar" }: {
    readonly size: ImageSize;
    readonly camera?: "fraction" | "canonical";
    readonly truth?: TruthKind;
  },
): Promise<InconsistencyGate> {
  if (!backward) throw new RangeError("Cannot measure the inconsistency: there is no backward network");
  const view: View = "left", { height, width } = size;
  const read = truthReader(dataset.root, truth);
  const signs = { inconsistency: [] as number[], edges: [] as number[], privileged: [] as number[] };
  const errors: number[] = [];
  let frame = 0;
  for await (const { left, right, cameras = [], ids } of sequentialBatches(dataset, { size, batch: 1 })) {
    let maps!: Readonly<Record<"disparity" | keyof typeof signs, ArrayLike<number>>>;
    tf.tidy(() => {
      noGradient(() => {
        const [seen, other] = [left, right].map((data) => tf.tensor4d(data, [1, height, width, 3]));
        const scale = camera === "canonical"
          ? tf.tensor4d(canonicalScales(cameras, ids), [1, 1, 1, 1])
          : undefined;
        const chain = runChain({ student, backward }, imagePyramid(seen), {
          view,
          scale,
          gates: CLOSED_GATES,
        });
        const { source } = chain.student.aligned[0];
        const apart = (image: Tensor4D) => tf.mean(tf.abs(tf.sub(seen, image)), 3).dataSync();
        const next = tf.pad(tf.slice(seen, [0, 0, 1, 0]), [[0, 0], [0, 0], [0, 1], [0, 0]]) as Tensor4D;
        maps = {
          disparity: source.dataSync(),
          inconsistency: apart(chain.backward!.synthesized[0]),
          edges: apart(next),
          privileged: apart(warp(other, source, view)),
        };
      });
    });
    const { camera: own, xs, ys, depths } = await read(dataset.pairs[frame++]);
    for (let i = 0; i < depths.length; i += STRIDE) {
      const x = Math.floor((xs[i] + 0.5) * width / own.imageSize.width);
      const y = Math.floor((ys[i] + 0.5) * height / own.imageSize.height);
      // The last column has no neighbor.
      if (x >= width - 1 || y >= height || depths[i] > 80) continue;
      const p = y * width + x;
      errors.push(Math.abs(Math.log(maps.disparity[p] / disparityFromDepth(depths[i], own))));
      for (const name of Object.keys(signs) as (keyof typeof signs)[]) signs[name].push(maps[name][p]);
    }
  }
  return {
    inconsistency: rankCorrelation(signs.inconsistency, errors),
    edges: rankCorrelation(signs.edges, errors),
    privileged: rankCorrelation(signs.privileged, errors),
    points: errors.length,
  };
}
