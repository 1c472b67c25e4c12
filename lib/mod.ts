/**
 * Cyclops: depth from one image, learned from stereo pairs without depth labels. The whole public API on one page, in
 * the order of the work: data, networks, losses, training, evaluation, pictures.
 *
 * Conventions, everywhere: images are NHWC float32 in [0,1]; a disparity is a fraction of the image width, ≥ 0;
 * left(x) = right(x − d_left·W), right(x) = left(x + d_right·W); depth in m = focal_px · baseline_m / (d · width_px).
 *
 * @example Train a small student on drawn streets and predict a photograph
 * ```ts ignore
 * import { generateStreet, loadModel, openRun, selectBackend, trainWithProgress } from "./lib/mod.ts";
 * import { predictPhotograph, resolveTraining, train } from "./lib/mod.ts";
 *
 * await selectBackend();
 * await generateStreet({ out: "data/street", pairs: 480 });
 * const options = resolveTraining({ data: "data/street", steps: 900 });
 * using run = await openRun("runs/first", { options });
 * const { checkpoint } = await trainWithProgress(train({ options, run }), "half-cycle");
 * const model = await loadModel(checkpoint!);
 * const { disparity } = await predictPhotograph(model, "photo.jpg");
 * ```
 *
 * @module
 */

// Errors that a person can read, options described once, files whole or absent, randomness from a seed.
export { CyclopsError, messageOf, printable, UsageError } from "./base/errors.ts";
export * from "./base/files.ts";
export * from "./base/options.ts";
export * from "./base/progress.ts";
export * from "./base/random.ts";

// What computes: libtensorflow without an addon, WebGPU, or JavaScript; `tf` is TensorFlow.js over it.
export * from "./backend/mod.ts";

// Cameras, and the warp: the only home of the sign.
export * from "./geometry/camera.ts";
export { type Border, mirror, opposite, type View, warp, type WarpOptions } from "./geometry/warp.ts";

// Streets drawn from a seed, in the layout of KITTI raw.
export * from "./street/mod.ts";

// Files: images, laser scans, arrays and weights that Python reads, too.
export {
  type FloatMap,
  type Gray16Image,
  type ImageOf,
  imageSize,
  type PngOptions,
  readGray16,
  readRgb,
  type RgbImage,
  writeGray16,
  writeRgb,
} from "./data/image.ts";
export * from "./data/velodyne.ts";
export * from "./data/npy.ts";
export {
  encodeSafetensors,
  float32Tensor,
  readSafetensors,
  type StoredTensor,
  type TensorMap,
  toFloat32,
} from "./data/safetensors.ts";

// Data sets: KITTI raw, Cityscapes, street; their splits; batches made ahead of time.
export * from "./data/kitti.ts";
export * from "./data/cityscapes.ts";
export * from "./data/split.ts";
export * from "./data/dataset.ts";
export * from "./data/augment.ts";
export {
  type BatchOptions,
  type BatchSource,
  type LoaderOptions,
  loaderOptions,
  openBatches,
  openPairCache,
  type PairCache,
  type PairCacheHandle,
  readStereo,
  sequentialBatches,
  type SequentialOptions,
  type StereoBatch,
} from "./data/loader.ts";

// Networks: one encoder–decoder, called three times.
export * from "./models/architecture.ts";
export * from "./models/network.ts";
export * from "./models/chain.ts";

// Losses, each by itself, and their sum by names.
export * from "./losses/photometric.ts";
export * from "./losses/smoothness.ts";
export * from "./losses/consistency.ts";
export * from "./losses/distillation.ts";
export * from "./losses/objective.ts";

// Training: options and presets, stages, the loop as a stream of records, runs and checkpoints in folders.
export {
  openPart,
  PRESET_NAMES,
  type PresetName,
  PRESETS,
  readTraining,
  refineOptions,
  resolveTraining,
  type TrainingInput,
  type TrainingOptions,
  trainingOptions,
} from "./training/options.ts";
export * from "./training/stages.ts";
export {
  isFinished,
  type OnRecord,
  runAllStages,
  runStage,
  type StageRunOptions,
  type TrainingSummary,
  trainWithProgress,
} from "./training/run.ts";
export { startWeights, train, type TrainInput, type TrainRecord, VERSION } from "./training/loop.ts";
export { openRun, type OpenRunOptions, type Run } from "./training/run_folder.ts";
export {
  type Checkpoint,
  type CheckpointContent,
  type CheckpointEntry,
  type CheckpointFacts,
  findCheckpoint,
  loadCheckpoint,
  type ValidationMetrics,
} from "./training/checkpoint.ts";
export { type MetricsLog, type MetricsRecord, readMetrics } from "./training/records.ts";
export { spreadPairs, type ValidationResult } from "./training/validation.ts";
export * from "./training/weights.ts";
export * from "./training/trainer.ts";
export * from "./training/adam.ts";

// Evaluation by the protocol of the field, and tables of results.
export * from "./evaluation/truth.ts";
export * from "./evaluation/metrics.ts";
export * from "./evaluation/protocol.ts";
export * from "./evaluation/predict.ts";
export * from "./evaluation/results.ts";

// Pictures, charts, tables and reports: they show themselves in a notebook and write themselves to files.
export * from "./charts/mod.ts";
