/**
 * The encoder–decoders as data (which convolutions, of what size, at what resolution: variables, parameter counts and
 * FLOPs derive from this plan) and as functions of whatever runs a convolution, so that the same lines serve training
 * (`network.ts`) and any TensorFlow.js in Node or a browser (`student.ts`).
 *
 * Sources: Godard et al. 2017 (monodepth) for the VGG-like and ResNet-50 encoders and the decoder; EfficientNet-lite0
 * (Google 2020, after Tan and Le 2019); the quick one is ours.
 *
 * @module
 */
import type * as Tf from "@tensorflow/tfjs-core";
import { UsageError } from "../base/errors.ts";

type Tensor4D = Tf.Tensor4D;

/** Channels per disparity head: 0 = aligned with the target (opposite) view, 1 = with the source (seen) view. */
export const HEAD_CHANNELS = 2;
/** Disparity scales, finest (input resolution) to coarsest (1/8). */
export const SCALES = 4;
/** The largest disparity that a head can predict, fraction of width (Godard et al. 2017). */
export const MAX_DISPARITY = 0.3;

/** One encoder stage: each halves the resolution. */
export type EncoderStage =
  /** `convolutions` kernel×kernel convolutions; the one at `strideAt` has stride 2. */
  | {
    readonly kind: "plain";
    readonly kernel: number;
    readonly channels: number;
    readonly convolutions: 1 | 2;
    readonly strideAt: 0 | 1;
  }
  /** 3×3 max-pooling with stride 2. */
  | { readonly kind: "pool" }
  /** Bottleneck blocks (1×1, 3×3, 1×1 to four times the channels), the last with stride 2. */
  | { readonly kind: "bottleneck"; readonly channels: number; readonly blocks: number }
  /** Inverted residual blocks (Sandler et al. 2018) with ReLU6; a 3×3 stem with stride 2, or the first block halves. */
  | { readonly kind: "inverted"; readonly stem?: number; readonly blocks: readonly InvertedBlock[] };

/** 1×1 to `expansion` times the channels, depthwise kernel×kernel, 1×1; added to its input where shapes agree. */
export interface InvertedBlock {
  readonly kernel: number;
  readonly expansion: number;
  readonly channels: number;
  readonly stride: 1 | 2;
}

/** A named encoder–decoder. */
export interface Architecture {
  /** The name in options. */
  readonly name: ArchitectureName;
  /** Finest first; stage i's output has resolution 1/2^(i+1). */
  readonly encoder: readonly EncoderStage[];
  /** Decoder channels, finest first: level i has resolution 1/2^i; as many levels as encoder stages. */
  readonly decoder: readonly number[];
  /** Convolve before upsampling in the decoder: a quarter of that convolution's operations. @default false */
  readonly convolveFirst?: boolean;
  /** Scale of the initial weights of decoder and heads, relative to He's. @default 1 */
  readonly gains?: { readonly decoder: number; readonly heads: number };
  /** The encoder sees (image − mean) / deviation, intensities in [0,1]. @default the image itself */
  readonly normalization?: { readonly mean: number; readonly deviation: number };
}

/** Names of {@linkcode ARCHITECTURES}. */
export type ArchitectureName = "quick" | "vgg" | "resnet50" | "lite0";

const plain = (kernel: number, channels: number): EncoderStage => ({
  kind: "plain",
  kernel,
  channels,
  convolutions: 2,
  strideAt: 1,
});
/** Downsampling first makes the second convolution four times cheaper. */
const cheap = (channels: number): EncoderStage => ({
  kind: "plain",
  kernel: 3,
  channels,
  convolutions: 2,
  strideAt: 0,
});

/** Blocks of one shape, the first with its own stride. */
const inverted = (repeats: number, kernel: number, stride: 1 | 2, expansion: number, channels: number) =>
  Array.from(
    { length: repeats },
    (_, i): InvertedBlock => ({ kernel, expansion, channels, stride: i === 0 ? stride : 1 }),
  );

/** The encoder–decoders to choose from. */
export const ARCHITECTURES: Readonly<Record<ArchitectureName, Architecture>> = {
  /** 0.75 M parameters: trains on two CPU cores in minutes. */
  quick: {
    name: "quick",
    encoder: [cheap(16), cheap(32), cheap(64), cheap(96), cheap(128)],
    decoder: [8, 16, 32, 48, 64],
  },
  /** monodepth's VGG-like network, 31.6 M parameters. */
  vgg: {
    name: "vgg",
    encoder: [
      plain(7, 32),
      plain(5, 64),
      plain(3, 128),
      plain(3, 256),
      plain(3, 512),
      plain(3, 512),
      plain(3, 512),
    ],
    decoder: [16, 32, 64, 128, 256, 512, 512],
  },
  /** monodepth's ResNet-50, without batch norm and with a projection in every block, 58.5 M parameters. */
  resnet50: {
    name: "resnet50",
    encoder: [
      { kind: "plain", kernel: 7, channels: 64, convolutions: 1, strideAt: 0 },
      { kind: "pool" },
      { kind: "bottleneck", channels: 64, blocks: 3 },
      { kind: "bottleneck", channels: 128, blocks: 4 },
      { kind: "bottleneck", channels: 256, blocks: 6 },
      { kind: "bottleneck", channels: 512, blocks: 3 },
    ],
    decoder: [16, 32, 64, 128, 256, 512],
  },
  /** EfficientNet-lite0 without its last block and its classifier, batch norms folded; 3.2 M parameters. */
  lite0: {
    name: "lite0",
    encoder: [
      { kind: "inverted", stem: 32, blocks: inverted(1, 3, 1, 1, 16) },
      { kind: "inverted", blocks: inverted(2, 3, 2, 6, 24) },
      { kind: "inverted", blocks: inverted(2, 5, 2, 6, 40) },
      { kind: "inverted", blocks: [...inverted(3, 3, 2, 6, 80), ...inverted(3, 5, 1, 6, 112)] },
      { kind: "inverted", blocks: inverted(4, 5, 2, 6, 192) },
    ],
    decoder: [16, 32, 64, 96, 128],
    convolveFirst: true,
    // Pretrained features have a deviation near 7, which would saturate the heads.
    gains: { decoder: 0.4, heads: 0.12 },
    normalization: { mean: 127 / 255, deviation: 128 / 255 },
  },
};

/** One convolution of the plan. */
export interface ConvolutionPlan {
  /** Path-like and unique within the network, e.g. `encoder/1/conv2`. */
  readonly name: string;
  /** Height and width of the kernel, px. */
  readonly kernel: number;
  /** Input channels of each kernel; 1 if depthwise. */
  readonly inputs: number;
  /** Output channels. */
  readonly outputs: number;
  /** Step between outputs, px. */
  readonly stride: 1 | 2;
  /** Every channel has a kernel of its own. */
  readonly depthwise?: boolean;
  /** The output has the input image's resolution divided by this. */
  readonly division: number;
}

/** A whole network: its convolutions in the order in which they run. */
export interface NetworkPlan {
  /** What the network is built from. */
  readonly architecture: Architecture;
  /** Channels of its input: 3 for an image. */
  readonly inputChannels: number;
  /** In the order in which they run. */
  readonly convolutions: readonly ConvolutionPlan[];
}

/**
 * Lays out every convolution of a network.
 *
 * @param architecture One of {@linkcode ARCHITECTURES}.
 * @param inputChannels Channels of the input: 3 for an image, more for the refine network.
 */
export function planNetwork(architecture: Architecture, inputChannels: number): NetworkPlan {
  const convolutions: ConvolutionPlan[] = [];
  const add = (
    name: string,
    kernel: number,
    inputs: number,
    outputs: number,
    division: number,
    stride: 1 | 2 = 1,
  ) => {
    convolutions.push({ name, kernel, inputs, outputs, stride, division });
    return outputs;
  };

  let channels = inputChannels;
  const skips: number[] = [];
  architecture.encoder.forEach((stage, i) => {
    const fine = 2 ** i;
    const coarse = fine * 2;
    const at = `encoder/${i + 1}`;
    if (stage.kind === "plain") {
      let division = fine;
      for (let c = 0; c < stage.convolutions; c++) {
        const stride = c === stage.strideAt ? 2 : 1;
        division *= stride;
        channels = add(`${at}/conv${c + 1}`, stage.kernel, channels, stage.channels, division, stride);
      }
    } else if (stage.kind === "bottleneck") {
      for (let b = 0; b < stage.blocks; b++) {
        const stride = b === stage.blocks - 1 ? 2 : 1;
        const out = stride === 2 ? coarse : fine;
        const block = `${at}/block${b + 1}`;
        add(`${block}/conv1`, 1, channels, stage.channels, fine);
        add(`${block}/conv2`, 3, stage.channels, stage.channels, out, stride);
        add(`${block}/conv3`, 1, stage.channels, 4 * stage.channels, out);
        channels = add(`${block}/project`, 1, channels, 4 * stage.channels, out, stride);
      }
    } else if (stage.kind === "inverted") {
      if (stage.stem) channels = add(`${at}/stem`, 3, channels, stage.stem, coarse, 2);
      let division = stage.stem ? coarse : fine;
      stage.blocks.forEach(({ kernel, expansion, channels: out, stride }, b) => {
        const block = `${at}/block${b + 1}`, wide = channels * expansion;
        if (expansion > 1) add(`${block}/expand`, 1, channels, wide, division);
        division *= stride;
        const name = `${block}/depthwise`;
        convolutions.push({ name, kernel, inputs: 1, outputs: wide, stride, division, depthwise: true });
        channels = add(`${block}/project`, 1, wide, out, division);
      });
    }
    skips.push(channels);
  });

  for (let level = architecture.decoder.length - 1; level >= 0; level--) {
    const width = architecture.decoder[level];
    const division = 2 ** level;
    const skip = level > 0 ? skips[level - 1] : 0;
    const coarser = level < SCALES - 1 ? HEAD_CHANNELS : 0;
    add(`decoder/${level}/up`, 3, channels, width, architecture.convolveFirst ? 2 * division : division);
    channels = add(`decoder/${level}/merge`, 3, width + skip + coarser, width, division);
    if (level < SCALES) add(`head/${level}`, 3, channels, HEAD_CHANNELS, division);
  }
  return { architecture, inputChannels, convolutions };
}

/** Number of weights and biases in a network. */
export function countParameters(plan: NetworkPlan): number {
  return plan.convolutions.reduce((n, c) => n + c.kernel ** 2 * c.inputs * c.outputs + c.outputs, 0);
}

/**
 * Floating-point operations of the convolutions; a multiply–add counts as two.
 *
 * @param height Input height, px.
 * @param width Input width, px.
 * @returns GFLOP of the forward pass of one image.
 */
export function countGigaflops(plan: NetworkPlan, height: number, width: number): number {
  const flops = plan.convolutions.reduce(
    (n, c) => n + 2 * c.kernel ** 2 * c.inputs * c.outputs * (height / c.division) * (width / c.division),
    0,
  );
  return flops / 1e9;
}

/** Input heights and widths must be multiples of this, px. */
export function sizeMultiple(architecture: Architecture): number {
  return 2 ** architecture.encoder.length;
}

/**
 * Checks that a network can run at an image size, px.
 *
 * @param origin Where the size comes from, for the error, if it is not the user's own.
 * @throws {UsageError} Naming the size, the multiple and the nearest size that works.
 */
export function checkSize(architecture: Architecture, height: number, width: number, origin = ""): void {
  const multiple = sizeMultiple(architecture);
  if (height > 0 && width > 0 && height % multiple === 0 && width % multiple === 0) return;
  const fit = (n: number) => Math.max(multiple, Math.round(n / multiple) * multiple);
  throw new UsageError(
    `Cannot run ${architecture.name} at ${height}x${width}${origin && ` (${origin})`}: ` +
      `height and width must be multiples of ${multiple} px, e.g. ${fit(height)}x${fit(width)}`,
  );
}

/** Zeros, or the image mirrored. */
export type Padding = "zero" | "reflect";

/** A network's output, at {@linkcode SCALES} scales: the finest, s = 0, first. */
export interface Prediction {
  /** Disparities before the sigmoid, [B,H/2^s,W/2^s,2] each. */
  readonly logits: readonly Tensor4D[];
  /**
   * Fraction of width, in (0, {@linkcode MAX_DISPARITY}), [B,H/2^s,W/2^s,2] each. Channel 0 is aligned with the target
   * (opposite) view, channel 1 with the source (seen) view.
   */
  readonly disparities: readonly Tensor4D[];
  /** The decoder's last features, [B,H,W,C]. */
  readonly features: Tensor4D;
}

/** How a convolution is run. */
export interface ConvolutionCall {
  /** Step between results, px. */
  readonly stride: 1 | 2;
  /** Applied to the result. */
  readonly activation: "none" | "elu" | "relu6";
  /** Upsample the input to twice its size first, by nearest neighbor. @default false */
  readonly upsample?: boolean;
  /** Every channel has a kernel of its own. @default false */
  readonly depthwise?: boolean;
  /** What lies beyond the edges. @default "zero" */
  readonly padding?: Padding;
}

/** What a network runs on. */
export interface Engine {
  /** A copy of TensorFlow.js: the package, or tfjs-core with a backend. */
  readonly tf: Pick<
    typeof Tf,
    "add" | "concat" | "elu" | "image" | "maxPool" | "mul" | "sigmoid" | "tensor1d"
  >;
  /** What the decoder's convolutions see beyond the edges. */
  readonly padding: Padding;
  /** Runs the plan's convolution of that name, with "same" padding and its bias, and the activation after it. */
  convolve(name: string, x: Tensor4D, call: ConvolutionCall): Tensor4D;
}

const ELU = { stride: 1, activation: "elu" } as const, LINEAR = { stride: 1, activation: "none" } as const;
const RELU6 = { stride: 1, activation: "relu6" } as const;

/** Nearest-neighbor upsampling: [B,H,W,C] → [B,2H,2W,C]. */
function upsampled({ tf }: Engine, x: Tensor4D): Tensor4D {
  return tf.image.resizeNearestNeighbor(x, [x.shape[1] * 2, x.shape[2] * 2]);
}

/** (image − mean) / deviation of the first three channels; what else a refine network sees stays as it is. */
function normalized({ tf }: Engine, x: Tensor4D, by: NonNullable<Architecture["normalization"]>): Tensor4D {
  const byChannel = (image: number, other: number) =>
    tf.tensor1d(Array.from({ length: x.shape[3] }, (_, c) => c < 3 ? image : other));
  return tf.add(tf.mul(x, byChannel(1 / by.deviation, 1)), byChannel(-by.mean / by.deviation, 0));
}

/** The encoder's features of images in [0,1], [B,H,W,C]: by stage i, [B,H/2^(i+1),W/2^(i+1),C]. */
export function encode(
  { encoder, normalization }: Architecture,
  engine: Engine,
  input: Tensor4D,
): Tensor4D[] {
  const { tf, convolve } = engine;
  let x = normalization ? normalized(engine, input, normalization) : input;
  return encoder.map((stage, i) => {
    const at = `encoder/${i + 1}`;
    if (stage.kind === "pool") return x = tf.maxPool(x, 3, 2, "same");
    if (stage.kind === "plain") {
      for (let c = 0; c < stage.convolutions; c++) {
        x = convolve(`${at}/conv${c + 1}`, x, { ...ELU, stride: c === stage.strideAt ? 2 : 1 });
      }
      return x;
    }
    if (stage.kind === "inverted") {
      if (stage.stem) x = convolve(`${at}/stem`, x, { ...RELU6, stride: 2 });
      stage.blocks.forEach(({ expansion, channels, stride }, b) => {
        const block = `${at}/block${b + 1}`;
        let y = expansion > 1 ? convolve(`${block}/expand`, x, RELU6) : x;
        y = convolve(`${block}/depthwise`, y, { ...RELU6, stride, depthwise: true });
        y = convolve(`${block}/project`, y, LINEAR);
        x = stride === 1 && channels === x.shape[3] ? tf.add(x, y) : y;
      });
      return x;
    }
    for (let b = 0; b < stage.blocks; b++) {
      const block = `${at}/block${b + 1}`;
      const stride = b === stage.blocks - 1 ? 2 : 1;
      let y = convolve(`${block}/conv1`, x, ELU);
      y = convolve(`${block}/conv2`, y, { ...ELU, stride });
      y = convolve(`${block}/conv3`, y, LINEAR);
      x = tf.elu(tf.add(y, convolve(`${block}/project`, x, { ...LINEAR, stride })));
    }
    return x;
  });
}

/** The decoder's prediction from the encoder's features. */
export function decode(
  { decoder, convolveFirst }: Architecture,
  engine: Engine,
  skips: readonly Tensor4D[],
): Prediction {
  const { tf, convolve, padding } = engine;
  let x = skips.at(-1)!;
  const logits = new Array<Tensor4D>(SCALES);
  const disparities = new Array<Tensor4D>(SCALES);
  for (let level = decoder.length - 1; level >= 0; level--) { // level l: [B,H/2^l,W/2^l,decoder[l]]
    const up = convolve(`decoder/${level}/up`, x, { ...ELU, padding, upsample: !convolveFirst });
    const parts = [convolveFirst ? upsampled(engine, up) : up];
    if (level > 0) parts.push(skips[level - 1]);
    if (level < SCALES - 1) parts.push(upsampled(engine, disparities[level + 1]));
    x = convolve(`decoder/${level}/merge`, parts.length > 1 ? tf.concat(parts, 3) : parts[0], {
      ...ELU,
      padding,
    });
    if (level < SCALES) {
      logits[level] = convolve(`head/${level}`, x, { ...LINEAR, padding });
      disparities[level] = tf.mul(tf.sigmoid(logits[level]), MAX_DISPARITY);
    }
  }
  return { logits, disparities, features: x };
}
