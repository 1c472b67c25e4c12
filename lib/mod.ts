/**
 * Cyclops: depth from one image, learned from stereo pairs without depth labels. The whole public API on one page, in
 * the order of the flow: data, networks, warps, losses, update, training, prediction, evaluation, pictures.
 *
 * Conventions, everywhere: images are NHWC float32 in [0, 1]; a disparity is a fraction of the image width, ≥ 0;
 * left(x) = right(x − d_left·W), right(x) = left(x + d_right·W); depth in m = focal_px · baseline_m / (d · width_px).
 *
 * @example Train a small student on synthetic streets, and predict a photograph
 * ```ts ignore
 * import { generateStreet, loadStudent, runStage } from "@cyclops/cyclops";
 *
 * await generateStreet({ out: "data/street", pairs: 480 });
 * await runStage({ out: "runs/first", overrides: { data: "data/street", steps: 900 } });
 * const student = await loadStudent("runs/first"); // or loadStudent(): the best model that comes with Cyclops
 * const depth = await student.predict("photo.jpg");
 * await depth.save("depth.png");
 * ```
 *
 * @module
 */

// Errors with a message for the user.
export { CyclopsError, UsageError } from "./base/errors.ts";

// What computes: TensorFlow's own library, WebGPU, or JavaScript. `tf` is TensorFlow.js on top of it.
export { selectBackend } from "./backend/select.ts";
export { type Scalar, type Tensor, type Tensor4D, tf, type Variable } from "./backend/tf.ts";
export { compile, type Compiled } from "./backend/compile.ts";
export { detach } from "./backend/ops.ts";

// Files: images, laser scans, arrays and weights that Python reads, too.
export { type FloatMap, imageSize, readRgb, type RgbImage, writeRgb } from "./data/image.ts";
export { resizeMap, resizeRgb } from "./data/resize.ts";
export { readNpy, writeNpy } from "./data/npy.ts";

// Data sets: KITTI raw, Cityscapes, manifests, and streets rendered from a seed; batches prepared ahead of time.
export { generateStreet } from "./street/mod.ts";
export {
  eigenSplit,
  type Frame,
  parseFrame,
  readCalibration,
  readVelodyne,
  velodynePath,
} from "./data/kitti.ts";
export { openDataset, type StereoDataset } from "./data/dataset.ts";
export { openBatches, type StereoBatch } from "./data/loader.ts";

// Cameras, and the warp: the only home of the disparity's sign.
export {
  depthFromDisparity,
  disparityFromDepth,
  type ImageSize,
  type StereoCamera,
} from "./geometry/camera.ts";
export { mirror, opposite, type View, warp } from "./geometry/warp.ts";

// Networks: one encoder–decoder, called up to three times.
export { type Architecture, ARCHITECTURES, countGigaflops, countParameters } from "./models/architecture.ts";
export { copyWeights, createNetwork, disposeNetwork, type Network, runNetwork } from "./models/network.ts";
export {
  halfCycle,
  imagePyramid,
  type Networks,
  type Pyramid,
  runChain,
  splitAligned,
} from "./models/chain.ts";

// Losses, each by itself, and their weighted sum.
export {
  betterPixels,
  consistencyLoss,
  disparityDistillation,
  edgeWeights,
  featureDistillation,
  photometricLoss,
  photometricMap,
  smoothnessLoss,
  ssim,
} from "./losses/losses.ts";
export { lossTerms, type LossWeights, TERM_NAMES, totalLoss, viewPyramids } from "./losses/objective.ts";

// Training: options and presets, stages, one update, a whole stage as a stream of records, runs in folders.
export { PRESETS, resolveTraining, type TrainingOptions } from "./training/options.ts";
export { learningRateAt, lossWeights, STAGES } from "./training/stages.ts";
export { Adam } from "./training/adam.ts";
export { Trainer } from "./training/trainer.ts";
export { train, type TrainRecord } from "./training/loop.ts";
export { runAllStages, runStage } from "./training/run.ts";
export { readMetrics } from "./training/records.ts";
export { loadCheckpoint, readSafetensors } from "./training/checkpoint.ts";
export { type LoadedModel, loadModel, saveModel } from "./training/model.ts";
export { createStudent, parseStudent, type PortableStudent, type StudentInfo } from "./models/student.ts";

// Prediction: of photographs in three lines, and of data sets.
export { loadStudent } from "./predict/mod.ts";
export { type Photo, type PhotoOptions, Student } from "./predict/student.ts";
export { Depth, type Format } from "./predict/depth.ts";
export { type DepthColors, DepthMap, type KnownCamera } from "./predict/map.ts";
export { type CloudOptions, Points } from "./data/points.ts";
export {
  evaluateNetworks,
  predictDataset,
  predictFrame,
  predictImage,
  predictRun,
} from "./evaluation/predict.ts";

// Evaluation by the protocol of the field, and tables of results.
export { projectScan, readTruth, trainSetMean, type Truth } from "./evaluation/truth.ts";
export {
  combineFlipped,
  cropBox,
  type DepthMetrics,
  depthMetrics,
  evaluate,
  evaluateAll,
  mapOf,
  type Protocol,
  scoreFrame,
} from "./evaluation/protocol.ts";
export {
  ABLATION_ROWS,
  aggregateResults,
  pairedGain,
  publishedTables,
  readDisparities,
  readResults,
} from "./evaluation/results.ts";

// Pictures, charts, tables and reports: they render themselves in a notebook and write themselves to files.
export { disparityPicture, panel } from "./charts/depth.ts";
export { grid, Picture } from "./charts/picture.ts";
export { histogram, lineChart, lossCurves } from "./charts/curves.ts";
export { METRIC_COLUMNS, Table } from "./charts/table.ts";
export { pointCloud } from "./charts/cloud.ts";
export { DepthProbe } from "./charts/probe.ts";
export { LiveDisplay, show } from "./charts/display.ts";
export { ablationChart, ablationTable, publishedTable } from "./charts/ablation.ts";
export { writeReport } from "./charts/report.ts";
