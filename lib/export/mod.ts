/**
 * Trained networks as files of other formats, each checked to predict what Cyclops predicts.
 *
 * @module
 */
import { type Tensor4D, tf } from "../backend/tf.ts";
import { CyclopsError, UsageError } from "../base/errors.ts";
import { predictDisparity } from "../evaluation/predict.ts";
import type { ImageSize } from "../geometry/camera.ts";
import { ARCHITECTURES, checkSize, sizeMultiple } from "../models/architecture.ts";
import { createStudent, encodeStudent, parseStudent, type StudentInfo } from "../models/student.ts";
import { StreetDrive } from "../street/mod.ts";
import { type LoadedModel, trainingRig } from "../training/model.ts";
import { collectWeights } from "../training/weights.ts";
import { type ExportOptions, traceGraph } from "./graph.ts";
import { encodeOnnx } from "./onnx.ts";
import { encodeTfjs } from "./tfjs.ts";

/** What to write. */
export interface ExportRequest {
  /** "safetensors" is Cyclops's own model file. */
  readonly to: "onnx" | "tfjs" | "safetensors";
  /** Whose disparity; the teacher is student, backward and refine network in one graph. */
  readonly network: "student" | "teacher";
  /** Size of the images, px; "dynamic" for any number of images of any size. @default the one trained with */
  readonly size?: ImageSize | "dynamic";
  /** How kernels are stored; computed is in float32. @default "fp32", of safetensors "fp16" */
  readonly precision?: ExportOptions["precision"];
  /** What the run does not know, see `saveModel`. */
  readonly about: Partial<Pick<StudentInfo, "license" | "data" | "commit">>;
}

/** Files that were checked, and not yet written. */
export interface Exported {
  /** Contents by name; the name is empty where the format is one file. */
  readonly files: ReadonlyMap<string, readonly Uint8Array[]>;
  /** Largest difference from what Cyclops predicts, fraction of the width. */
  readonly largest: number;
  /** Mean difference, fraction of the mean disparity. */
  readonly mean: number;
  /** What read the files and predicted, e.g. "onnxruntime 1.30.0". */
  readonly reader: string;
}

/** How far files may be off: fp32 by rounding only, in fractions of the width; others on average, in fractions. */
const LARGEST_FP32 = 1e-4, MEAN = { fp16: 0.01, int8: 0.1 } as const;

/** Predicts from the files alone: [B,H,W,3] to [B,H,W,1]. */
interface Reader extends AsyncDisposable {
  readonly name: string;
  predict(images: Tensor4D): Promise<Float32Array>;
}

/**
 * Makes the files of a format, reads them as their users will, and compares the predictions for rendered streets.
 *
 * @throws {UsageError} When the request contradicts itself or the model.
 * @throws {CyclopsError} When the files predict something else than Cyclops.
 */
export async function exportModel(model: LoadedModel, request: ExportRequest): Promise<Exported> {
  const { to, network, size = model.size, about } = request;
  const precision = request.precision ?? (to === "safetensors" ? "fp16" : "fp32");
  const refuse = (why: string) => new UsageError(`Cannot export ${model.folder}: ${why}`);
  if (to === "safetensors" && (network !== "student" || precision !== "fp16" || request.size)) {
    throw refuse(
      "a safetensors file holds the student, in fp16, for all sizes; leave the options for these out",
    );
  }
  if (network === "teacher" && !model.networks.refine) {
    throw refuse("it holds only a student, expected a refine network for the teacher");
  }
  const architecture = ARCHITECTURES[model.info.architecture];
  if (size !== "dynamic") checkSize(architecture, size.height, size.width);

  const rig = await trainingRig(model);
  const info = { ...model.info, ...rig && { rig }, ...about };
  const { refine, networks } = model, { view } = info;
  const predict = (images: Tensor4D) =>
    predictDisparity(networks, images, { size: model.size, view, network, refine });
  const files = new Map<string, readonly Uint8Array[]>();
  if (to === "safetensors") {
    files.set("", encodeStudent({ info, tensors: await collectWeights([networks.student]) }));
  } else {
    const all = [networks.student, networks.backward, networks.refine].flatMap((
      n,
    ) => [...n?.variables ?? []]);
    const example = streetImages(model.size, 1);
    const graph = await traceGraph(predict, example, new Map(all));
    example.dispose();
    const fixed = size === "dynamic" ? undefined : size;
    const options = { size: fixed, precision, metadata: metadataOf(info, network) };
    if (to === "onnx") files.set("", encodeOnnx(graph, options));
    else for (const [name, content] of encodeTfjs(graph, options)) files.set(name, content);
  }

  const step = sizeMultiple(architecture), { height, width } = model.size;
  const checks: [ImageSize, number][] = size === "dynamic"
    ? [[model.size, 2], [{ height: height + step, width: width + step }, 1]]
    : [[size, 1]];
  await using reader = await READERS[to](files);
  let largest = 0, difference = 0, sum = 0;
  for (const [size, count] of checks) {
    const images = streetImages(size, count), map = predict(images);
    const expected = await map.data(), found = await reader.predict(images);
    tf.dispose([images, map]);
    if (found.length !== expected.length) largest = NaN;
    expected.forEach((value, i) => {
      const off = Math.abs(found[i] - value);
      largest = Math.max(largest, off); // NaN stays
      difference += off;
      sum += value;
    });
  }
  const mean = difference / sum;
  if (!(precision === "fp32" ? largest <= LARGEST_FP32 : mean <= MEAN[precision])) {
    const expected = precision === "fp32"
      ? `at most ${LARGEST_FP32}`
      : `${100 * MEAN[precision]} % on average at most`;
    throw new CyclopsError(
      `Cannot export ${model.folder}: read by ${reader.name}, the disparity differs by up to ${largest} of the width, ` +
        `${(100 * mean).toFixed(1)} % on average, expected ${expected}; nothing was written`,
    );
  }
  return { files, largest, mean, reader: reader.name };
}

/** Rendered street images in [0,1], [count,H,W,3]: both views of a frame at most. */
function streetImages({ height, width }: ImageSize, count: number): Tensor4D {
  const { left, right } = new StreetDrive({ seed: 1, frames: 1, height, width }, 1).frame(0);
  const pixels = new Float32Array(count * height * width * 3);
  [left, right].slice(0, count).forEach(({ rgb }, i) => pixels.set(rgb.map((v) => v / 255), i * rgb.length));
  return tf.tensor4d(pixels, [count, height, width, 3]);
}

/** What the file says about itself, in words that need no other file. */
function metadataOf(info: StudentInfo, network: string): Record<string, string> {
  const { name, architecture, size: { height, width }, view, camera, rig, license, data, commit } = info;
  return {
    name: `cyclops ${name}`,
    network,
    architecture,
    image:
      `RGB of the ${view} view in [0,1], the whole picture resized to ${height}x${width} (HxW) as trained; ` +
      `other sizes in multiples of ${sizeMultiple(ARCHITECTURES[architecture])}`,
    disparity: "of the left view, fraction of the image width",
    depth_m: rig
      ? `f * ${rig.baselineM} / disparity, with f the camera's focal length as a fraction of the image width, ` +
        `${rig.focal.toFixed(4)} in training`
      : "f * baseline / disparity of the rig it was trained with, which is not known",
    camera,
    license,
    data,
    commit,
  };
}

const whole = (chunks: readonly Uint8Array[]) => new Blob([...chunks] as BlobPart[]).bytes();

/** What reads each format. */
export const READERS: Record<
  ExportRequest["to"],
  (files: Exported["files"]) => Promise<Reader>
> = {
  async onnx(files) {
    const ort = await import("onnxruntime-node");
    const session = await ort.InferenceSession.create(await whole(files.get("")!));
    return {
      name: `onnxruntime ${ort.env.versions.node}`,
      async predict(images) {
        const planes = tf.transpose(images, [0, 3, 1, 2]);
        const image = new ort.Tensor("float32", await planes.data() as Float32Array, planes.shape);
        planes.dispose();
        const { disparity } = await session.run({ image });
        return disparity.data as Float32Array;
      },
      [Symbol.asyncDispose]: () => session.release(),
    };
  },
  async tfjs(files) {
    const json = JSON.parse(new TextDecoder().decode(await whole(files.get("model.json")!)));
    const [{ paths: [path], weights: weightSpecs }] = json.weightsManifest;
    const weightData = (await whole(files.get(path)!)).buffer;
    const model = await tf.loadGraphModel({
      load: () => Promise.resolve({ ...json, weightSpecs, weightData }),
    });
    return {
      name: `TensorFlow.js ${tf.version_core} on ${tf.getBackend()}`,
      async predict(images) {
        const map = model.predict(images) as Tensor4D, values = await map.data() as Float32Array;
        map.dispose();
        return values;
      },
      [Symbol.asyncDispose]: () => Promise.resolve(model.dispose()),
    };
  },
  async safetensors(files) {
    const student = createStudent(tf, parseStudent(await whole(files.get("")!), "the file"));
    return {
      name: "createStudent",
      async predict(images) {
        const map = student.predict(images), values = await map.data() as Float32Array;
        map.dispose();
        return values;
      },
      [Symbol.asyncDispose]: () => Promise.resolve(student.dispose()),
    };
  },
};
