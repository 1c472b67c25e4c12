/**
 * The encoder–decoders as data: which convolutions, of what size, at what resolution. Variables, parameter counts and
 * FLOPs derive from this plan; `network.ts` runs it, and a test compares the two.
 *
 * Sources: Godard et al. 2017 (monodepth) for the VGG-like and ResNet-50 encoders and the decoder; EfficientNet-lite0
 * (Google 2020, after Tan and Le 2019); the quick one is ours.
 *
 * @module
 */
import { UsageError } from "../base/errors.ts";

/** Channels per disparity head: 0 = aligned with the target (opposite) view, 1 = with the source (seen) view. */
export const HEAD_CHANNELS = 2;
/** Disparity scales, finest (input resolution) to coarsest (1/8). */
export const SCALES = 4;

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
