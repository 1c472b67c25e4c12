/**
 * What a run's networks predict for a data set.
 *
 * @module
 */
import { UsageError } from "../base/errors.ts";
import { openDataset, type StereoDataset } from "../data/dataset.ts";
import { writeNpy } from "../data/npy.ts";
import { checkDisparities, type Disparities } from "./disparities.ts";
import { predictDataset, type Predictions, type PredictOptions } from "./predict.ts";
import { findCheckpoint } from "../training/checkpoint.ts";
import { loadModel } from "../training/weights.ts";

/** Which networks predict what. */
export interface RunPredictionsOptions {
  /** Which of the run's checkpoints. @default "best" */
  readonly checkpoint?: "best" | "latest";
  /** Whose disparity. @default "student" */
  readonly of?: PredictOptions["of"];
  /** Predict the mirrored images, too. @default false */
  readonly flip?: boolean;
  /** Root folder of the data. @default the run's own */
  readonly data?: string;
  /** As `openDataset` takes it. @default the run's own, of which the test part is taken */
  readonly split?: string;
  /** Called at the start and after each batch with how many frames are done. */
  readonly onProgress?: (done: number, total: number) => void;
}

/** Predictions and what they are of. */
export interface RunPredictions extends Predictions {
  /** The frames, in the predictions' order. */
  readonly dataset: StereoDataset;
  /** In words: the checkpoint's folder and whose disparity it is. */
  readonly name: string;
}

/** The run's own split, where it has a test part. */
function ownSplit(run: string, split: string): string {
  if (["street", "eigen", "cityscapes"].includes(split)) return split;
  throw new UsageError(
    `Cannot evaluate ${run} on its own data: it was trained by the split file ${split}, which has no test part; ` +
      "give --split",
  );
}

/**
 * Loads a run's networks and predicts every frame of the test part of its data, or of other data.
 *
 * @param run A run's folder, or a checkpoint's own.
 * @throws {UsageError} When the run's own split has no test part, or cannot be predicted mirrored.
 * @throws {CyclopsError} When checkpoint or data are missing or damaged, or a prediction is no number.
 *
 * @example
 * ```ts ignore
 * const { dataset, plain } = await predictRun("runs/first");
 * const metrics = await evaluate({ ...dataset, disparities: plain, crop: "garg", capM: 80 });
 * ```
 */
export async function predictRun(run: string, options: RunPredictionsOptions = {}): Promise<RunPredictions> {
  const { of = "student", flip = false } = options;
  const { folder } = await findCheckpoint(run, options.checkpoint ?? "best");
  const model = await loadModel(folder);
  try {
    const { data, split, view, cropBottom } = model.options;
    const dataset = await openDataset({
      data: options.data ?? data,
      split: options.split ?? ownSplit(run, split),
      part: "test",
      side: view,
      cropBottom: options.data === undefined ? cropBottom : undefined,
    });
    options.onProgress?.(0, dataset.pairs.length);
    const predictions = await predictDataset(model.networks, dataset, {
      size: model.size,
      view,
      of,
      refine: model.refine,
      flip,
      onProgress: (done) => options.onProgress?.(done, dataset.pairs.length),
    });
    for (const maps of Object.values(predictions)) if (maps) checkDisparities(maps, folder);
    return { ...predictions, dataset, name: `${folder}, ${of}` };
  } finally {
    model.dispose();
  }
}

/** Writes predictions as the evaluation and NumPy read them: float32 [frames, height, width], fractions of the width. */
export async function writeDisparities(
  path: string,
  { count, height, width, data }: Disparities,
): Promise<void> {
  await writeNpy(path, { shape: [count, height, width], data: data as Float32Array<ArrayBuffer> });
}
