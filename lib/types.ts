/**
 * Types of what the functions of `mod.ts` take and return, for those who write them down.
 *
 * @module
 */
export type {
  ChoiceSpec,
  FlagSpec,
  InputOf,
  ListSpec,
  NumberSpec,
  OptionsOf,
  OptionSpec,
  OptionSpecs,
  Size,
  SizeSpec,
  Spec,
  TextSpec,
  ValueOf,
} from "./base/options.ts";
export type { CompileOptions, TraceInfo } from "./backend/compile.ts";
export type { Precision } from "./backend/ops.ts";
export type { BackendName, BackendOptions, BACKENDS } from "./backend/options.ts";
export type { BackendInfo } from "./backend/select.ts";
export type { NamedTensorMap } from "./backend/tf.ts";
export type { AugmentationOptions, augmentationOptions } from "./data/augment.ts";
export type {
  DataIdentity,
  DataPart,
  DatasetOptions,
  datasetOptions,
  OpenDatasetOptions,
} from "./data/dataset.ts";
export type { ImageOf, PngOptions } from "./data/image.ts";
export type { Calibration, ColorCamera, EigenPart } from "./data/kitti.ts";
export type { BatchOptions, BatchSource, LoaderOptions, loaderOptions } from "./data/loader.ts";
export type { NpyArray } from "./data/npy.ts";
export type { StoredTensor, TensorMap } from "./data/safetensors.ts";
export type { PairSide, StereoPair } from "./data/split.ts";
export type { StreetPlan, StreetSplits } from "./street/dataset.ts";
export type { STREET_SPECS, StreetHooks, StreetSummary } from "./street/mod.ts";
export type { Border, WarpOptions } from "./geometry/warp.ts";
export type { ArchitectureName, ConvolutionPlan, EncoderStage, NetworkPlan } from "./models/architecture.ts";
export type {
  AlignedDisparity,
  Chain,
  ChainOptions,
  GradientGates,
  RefineOptions,
  Synthesis,
  TeacherInput,
} from "./models/chain.ts";
export type { NetworkOptions, Prediction } from "./models/network.ts";
export type {
  DistillationTarget,
  ObjectiveOptions,
  TermName,
  Terms,
  ViewPyramids,
} from "./losses/objective.ts";
export type { EdgeWeights } from "./losses/smoothness.ts";
export type { AdamState, Moments } from "./training/adam.ts";
export type {
  Checkpoint,
  CheckpointContent,
  CheckpointEntry,
  CheckpointFacts,
  ValidationMetrics,
} from "./training/checkpoint.ts";
export type { TrainInput } from "./training/loop.ts";
export type { PRESET_NAMES, PresetName, trainingOptions } from "./training/options.ts";
export type { MetricsLog, MetricsRecord } from "./training/records.ts";
export type { OnRecord, StageRunOptions, TrainingSummary } from "./training/run.ts";
export type { Run } from "./training/run_folder.ts";
export type {
  NetworkName,
  ScheduleOptions,
  Stage,
  STAGE_NAMES,
  StageName,
  StageOptions,
} from "./training/stages.ts";
export type { StepResult } from "./training/trainer.ts";
export type { ValidationResult } from "./training/validation.ts";
export type { DepthErrors } from "./evaluation/metrics.ts";
export type {
  FramePrediction,
  NetworkEvaluation,
  Predictions,
  PredictOptions,
  RunPredictionOptions,
} from "./evaluation/predict.ts";
export type { Crop, CropBox, Disparities, Evaluation, EvaluationInput } from "./evaluation/protocol.ts";
export type {
  PublishedRow,
  PublishedTables,
  Result,
  ResultSetting,
  ResultsFile,
  RowMean,
  SeedMean,
  SettingMeans,
} from "./evaluation/results.ts";
export type { TruthKind } from "./evaluation/truth.ts";
export type { Chart, VegaLiteSpec } from "./charts/chart.ts";
export type { PointCloud, PointCloudOptions, Viewpoint } from "./charts/cloud.ts";
export type { Color, ColormapName, ColorScale } from "./charts/colormap.ts";
export type {
  CurveRecord,
  HistogramOptions,
  LineChartOptions,
  LineSeries,
  LossCurvesOptions,
  StepMark,
} from "./charts/curves.ts";
export type { DepthCamera, DisparityPictureOptions, PanelOptions, PanelSample } from "./charts/depth.ts";
export type { Displayable, JUPYTER_DISPLAY, LiveContent, MimeBundle } from "./charts/display.ts";
export type { BarTick, ColorBar, GridCell, GridOptions, GridRow, PictureEncoding } from "./charts/picture.ts";
export type { Report, ReportBlock, ReportSection } from "./charts/report.ts";
export type { CellValue, Standing, TableCell, TableColumn, TableContent, TableRow } from "./charts/table.ts";
