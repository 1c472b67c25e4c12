/**
 * Pictures of predictions on frames of a data set.
 *
 * @module
 */
import { join } from "@std/path";
import { metricsCaption, type PanelSample } from "./mod.ts";
import type { StereoDataset } from "../data/dataset.ts";
import { readRgb } from "../data/image.ts";
import { cropBox, type Protocol, scoreFrame } from "../evaluation/protocol.ts";
import type { FloatMap } from "../data/image.ts";
import { predictImage, type PredictOptions } from "../evaluation/predict.ts";
import { readTruth, type Truth, type TruthKind } from "../evaluation/truth.ts";
import type { Networks } from "../models/chain.ts";

/** True depths as a sparse map, m, 0 where unknown. */
export function truthMap({ camera, xs, ys, depths }: Truth): {
  readonly width: number;
  readonly height: number;
  readonly data: Float32Array;
} {
  const { width, height } = camera.imageSize;
  const data = new Float32Array(width * height);
  for (let i = 0; i < depths.length; i++) data[ys[i] * width + xs[i]] = depths[i];
  return { width, height, data };
}

/**
 * Predicts one frame and puts it beside its truth.
 *
 * @param index Position in the data set.
 * @param truth Where true depths come from.
 */
export async function panelSample(
  networks: Networks,
  dataset: StereoDataset,
  index: number,
  options: PredictOptions & { readonly truth: TruthKind; readonly protocol: Protocol },
): Promise<PanelSample & { readonly prediction: FloatMap }> {
  const pair = dataset.pairs[index];
  const path = join(dataset.root, pair[options.view ?? "left"]);
  const input = await readRgb(path);
  const prediction = await predictImage(networks, await readRgb(path, options.size), options);
  const truth = await readTruth(dataset.root, pair, options.truth);
  const [errors] = scoreFrame(truth, prediction, [options.protocol]);
  const box = cropBox(options.protocol.crop, truth.camera.imageSize);
  const { width, height } = truth.camera.imageSize;
  return {
    name: pair.left.replace(/^.*?\/(.*)\/image_02\/data\/(.*)\.\w+$/, "$1 $2"),
    input,
    disparity: prediction,
    prediction,
    truth: truthMap(truth),
    camera: truth.camera,
    note: metricsCaption({ ...errors.metrics() }),
    crop: {
      top: box.top / height,
      bottom: box.bottom / height,
      left: box.left / width,
      right: box.right / width,
    },
  };
}
