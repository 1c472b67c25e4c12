/**
 * A trained student in one file, and run by any copy of TensorFlow.js: in Deno, Node and browsers. This module and what
 * it imports use nothing of Deno or Node.
 *
 * The file is safetensors with the weights `student/…`, mostly as float16, and in its metadata what the network must be
 * built from and what whoever uses it must know; see {@linkcode StudentInfo}.
 *
 * @module
 */
import type * as Tf from "@tensorflow/tfjs-core";
import { CyclopsError } from "../base/errors.ts";
import { formatSize, parseSize } from "../base/options.ts";
import {
  encodeSafetensors,
  notFinite,
  parseSafetensors,
  type TensorMap,
  toFloat32,
  toHalf,
} from "../data/safetensors.ts";
import type { ImageSize, Rig } from "../geometry/camera.ts";
import {
  type ArchitectureName,
  ARCHITECTURES,
  checkSize,
  decode,
  encode,
  type Engine,
  HEAD_CHANNELS,
  MAX_DISPARITY,
  type Padding,
  planNetwork,
} from "./architecture.ts";

/** What a model file says about its network. */
export interface StudentInfo {
  /** Short name, e.g. "street". */
  readonly name: string;
  /** The encoder–decoder. */
  readonly architecture: ArchitectureName;
  /** Size of the network's input, px. */
  readonly size: ImageSize;
  /** The view that it was trained to see; its disparity is that of the left view. */
  readonly view: "left" | "right";
  /** Whether it predicts the disparity of each training pair's own rig, or of the canonical one. */
  readonly camera: "fraction" | "canonical";
  /** What the decoder's convolutions see beyond the edges. */
  readonly padding: Padding;
  /** The rig that its disparities belong to, from which meters follow; unknown in some old runs. */
  readonly rig?: Rig;
  /** What it may be used for, e.g. "MIT". */
  readonly license: string;
  /** What it was trained on. */
  readonly data: string;
  /** Commit of the code that trained it. */
  readonly commit: string;
}

/** A model file's content. */
export interface StudentFile {
  /** The metadata. */
  readonly info: StudentInfo;
  /** Weights by name. */
  readonly tensors: TensorMap;
}

/** Version of the file's layout; others are refused. */
const FORMAT = "cyclops-student-1";

/**
 * A model file as chunks of bytes.
 *
 * @param tensors Float32 weights; those of other networks than the student are left out.
 * @throws {CyclopsError} When a weight is not finite, or too large for float16.
 */
export function encodeStudent({ info, tensors }: StudentFile): Uint8Array[] {
  const { architecture, size, rig, ...rest } = info;
  const student = new Map(
    [...tensors].filter(([name]) => name.startsWith("student/")).map(([name, t]) => [name, toHalf(t)]),
  );
  const bad = notFinite(student);
  if (bad) throw new CyclopsError(`Cannot save the student: ${bad} is not finite in half precision`);
  return encodeSafetensors(student, {
    format: FORMAT,
    ...rest,
    architecture,
    size: formatSize(size),
    head_channels: String(HEAD_CHANNELS),
    max_disparity: String(MAX_DISPARITY),
    ...rig && { rig_focal_per_width: String(rig.focal), rig_baseline_m: String(rig.baselineM) },
  });
}

/**
 * Reads the bytes of a model file and checks them.
 *
 * @param path The file's name, for errors.
 * @throws {CyclopsError} When it is damaged, not a model file, of another version, or holds a weight that is not finite.
 */
export function parseStudent(bytes: Uint8Array<ArrayBuffer>, path: string): StudentFile {
  const { tensors, metadata } = parseSafetensors(bytes, path);
  const refuse = (why: string) => new CyclopsError(`Cannot load the model ${path}: ${why}`);
  if (metadata.format !== FORMAT) {
    throw refuse(
      `its format is ${metadata.format ?? "not given"}, expected ${FORMAT}, as saved by deno task export`,
    );
  }
  const one = <V extends string>(key: string, values: readonly V[]): V => {
    const value = values.find((known) => known === metadata[key]);
    if (value === undefined) throw refuse(`its ${key} is ${metadata[key]}, expected ${values.join(" or ")}`);
    return value;
  };
  const architecture = one("architecture", Object.keys(ARCHITECTURES) as ArchitectureName[]);
  one("head_channels", [String(HEAD_CHANNELS)]);
  one("max_disparity", [String(MAX_DISPARITY)]);
  const size = parseSize(metadata.size ?? "");
  if (!size) throw refuse(`its size is ${metadata.size}, expected HEIGHTxWIDTH`);
  checkSize(ARCHITECTURES[architecture], size.height, size.width, path);
  const [focal, baselineM] = [metadata.rig_focal_per_width, metadata.rig_baseline_m].map(Number);
  // A file that was renamed goes by its new name.
  const name = /([^/\\]+)\.safetensors$/.exec(path)?.[1] ?? metadata.name ?? "";
  const { license = "not given", data = "not given", commit = "not given" } = metadata;
  const info: StudentInfo = {
    name,
    architecture,
    size,
    view: one("view", ["left", "right"]),
    camera: one("camera", ["fraction", "canonical"]),
    padding: one("padding", ["zero", "reflect"]),
    ...focal > 0 && baselineM > 0 && { rig: { focal, baselineM } },
    license,
    data,
    commit,
  };
  const bad = notFinite(tensors);
  if (bad) throw refuse(`the weights ${bad} are not finite: it is damaged, or its training failed`);
  return { info, tensors };
}

/** The models that come with Cyclops; the first one there is the default. */
const SHIPPED = ["kitti", "street"];

/**
 * Finds a model file.
 *
 * @param model A file, its URL, or the name of one that comes with Cyclops. @default the best of these
 * @param shipped The folder where these lie, ending in "/".
 * @param read Reads a file whole; `undefined` where there is none.
 * @returns Its content and where it is from; `undefined` where no such model ships.
 * @throws {CyclopsError} When a file that is named is missing, or what is found is not a sound model file.
 */
export async function findStudent(
  model: string | URL | undefined,
  shipped: URL,
  read: (place: string | URL) => Promise<Uint8Array<ArrayBuffer> | undefined>,
): Promise<StudentFile & { readonly path: string } | undefined> {
  const named = model === undefined ? SHIPPED : [model];
  const file = model instanceof URL || model?.endsWith(".safetensors") === true;
  const places = file
    ? named
    : named.filter((name) => /^[\w-]+$/.test(String(name))).map((name) =>
      new URL(`${name}.safetensors`, shipped)
    );
  for (const place of places) {
    const bytes = await read(place);
    if (!bytes && file) throw new CyclopsError(`Cannot load the model ${place}: no such file`);
    if (bytes) {
      const path = String(place).replace(/^file:\/\//, "");
      return { ...parseStudent(bytes, path), path };
    }
  }
}

/** The part of TensorFlow.js that a student runs on: the package, or tfjs-core with a backend. */
export type TensorFlow =
  & Engine["tf"]
  & Pick<typeof Tf, "cast" | "dispose" | "div" | "fused" | "mirrorPad" | "slice" | "tensor" | "tidy">;

/** A student on some TensorFlow.js. */
export interface PortableStudent {
  /** What its file says about it. */
  readonly info: StudentInfo;
  /**
   * Predicts the disparity of the left view; see `predictDisparity` for whose.
   *
   * @param images [B,H,W,3] of the network's input size: float32 in [0,1].
   * @returns Fraction of the width, [B,H,W,1].
   */
  predict(images: Tf.Tensor4D): Tf.Tensor4D;
  /** Frees the weights. */
  dispose(): void;
}

/**
 * Builds a student from a model file, for TensorFlow.js with any backend.
 *
 * @throws {CyclopsError} When weights are missing or have another shape.
 *
 * @example
 * ```ts ignore
 * import * as tf from "@tensorflow/tfjs";
 *
 * const file = parseStudent(new Uint8Array(await (await fetch("street.safetensors")).arrayBuffer()), "street");
 * const student = createStudent(tf, file);
 * const disparity = student.predict(tf.browser.fromPixels(canvas).div(255).expandDims(0));
 * ```
 */
export function createStudent(tf: TensorFlow, { info, tensors }: StudentFile): PortableStudent {
  const architecture = ARCHITECTURES[info.architecture];
  const plan = planNetwork(architecture, 3);
  const weights = new Map<string, Tf.Tensor>();
  for (const { name, kernel, inputs, outputs, depthwise } of plan.convolutions) {
    const shapes = {
      kernel: [kernel, kernel, ...(depthwise ? [outputs, 1] : [inputs, outputs])],
      bias: [outputs],
    };
    for (const [part, shape] of Object.entries(shapes)) {
      const stored = tensors.get(`student/${name}/${part}`);
      if (String(stored?.shape) !== String(shape)) {
        tf.dispose([...weights.values()]);
        throw new CyclopsError(
          `Cannot build the student ${info.name}: ${name}/${part} is ${
            stored ? `[${stored.shape}]` : "missing"
          }, expected [${shape}]`,
        );
      }
      weights.set(`${name}/${part}`, tf.tensor(toFloat32(stored!), shape));
    }
  }
  const engine: Engine = {
    tf,
    padding: info.padding,
    convolve(name, x, { stride, activation, depthwise, upsample, padding }) {
      const filter = weights.get(`${name}/kernel`) as Tf.Tensor4D, bias = weights.get(`${name}/bias`)!;
      const rim = filter.shape[0] >> 1, reflect = padding === "reflect";
      const seen = upsample ? tf.image.resizeNearestNeighbor(x, [2 * x.shape[1], 2 * x.shape[2]]) : x;
      const padded = reflect ? tf.mirrorPad(seen, [[0, 0], [rim, rim], [rim, rim], [0, 0]], "reflect") : seen;
      const run = depthwise ? tf.fused.depthwiseConv2d : tf.fused.conv2d;
      const y = run({
        x: padded,
        filter,
        bias,
        strides: stride,
        pad: reflect ? "valid" : "same",
        // Not every backend fuses ELU.
        activation: activation === "relu6" ? "relu6" : "linear",
      });
      return activation === "elu" ? tf.elu(y) : y;
    },
  };
  return {
    info,
    predict: (images) =>
      tf.tidy(() => {
        const finest = decode(architecture, engine, encode(architecture, engine, images)).disparities[0];
        const [batch, height, width] = finest.shape;
        return tf.slice(finest, [0, 0, 0, info.view === "left" ? 1 : 0], [batch, height, width, 1]);
      }),
    dispose: () => tf.dispose([...weights.values()]),
  };
}

/** What turns batches of images into disparities: a model here, a {@linkcode PortableStudent} elsewhere. */
export interface Predictor {
  /**
   * Predicts the disparity of images.
   *
   * @param images [B,H,W,3] of the network's size, in [0,1].
   * @param scales What to multiply each image's disparity by; see `canonicalScales`. @default 1
   * @param many Whether more batches of this size will follow, so that compiling pays. @default false
   * @returns Fraction of the width, [B,H,W].
   */
  run(
    images: Float32Array<ArrayBuffer>,
    scales?: Float32Array<ArrayBuffer>,
    many?: boolean,
  ): Promise<Float32Array>;
  /** Frees the weights. */
  dispose(): void;
}

/** A portable student as a {@linkcode Predictor}. */
export function portablePredictor(
  tf: TensorFlow & Pick<typeof Tf, "tensor4d">,
  { info: { size: { width, height } }, predict, dispose }: PortableStudent,
): Predictor {
  const pixels = height * width;
  return {
    async run(images, scales) {
      const shape = [images.length / pixels / 3, height, width, 3] as [number, number, number, number];
      const map = tf.tidy(() => predict(tf.tensor4d(images, shape)));
      const data = await map.data() as Float32Array;
      map.dispose();
      return scales ? data.map((d, i) => d * scales[Math.floor(i / pixels)]) : data;
    },
    dispose,
  };
}
