/**
 * The encoder–decoder as data: which convolutions there are, of what size, at what resolution. Variables, parameter
 * counts and FLOPs all derive from this one plan, so they cannot disagree with the network that runs.
 *
 * Sources: Godard et al. 2017 (monodepth) for the VGG-like and ResNet-50 encoders and the decoder; the small one is
 * METHOD.md's.
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
  /** `convolutions` 3×3-like convolutions; the one at `strideAt` has stride 2. */
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
  | { readonly kind: "bottleneck"; readonly channels: number; readonly blocks: number };

/** A named encoder–decoder. */
export interface Architecture {
  /** As options name it. */
  readonly name: ArchitectureName;
  /** Fine to coarse; stage i's output has resolution 1/2^(i+1). */
  readonly encoder: readonly EncoderStage[];
  /** Decoder channels, fine to coarse: level i has resolution 1/2^i; as many as encoder stages. */
  readonly decoder: readonly number[];
}

/** The architectures there are. */
export type ArchitectureName = "quick" | "vgg" | "resnet50";

const plain = (kernel: number, channels: number): EncoderStage => ({
  kind: "plain",
  kernel,
  channels,
  convolutions: 2,
  strideAt: 1,
});
/** Halving first makes the second convolution four times cheaper. */
const cheap = (channels: number): EncoderStage => ({
  kind: "plain",
  kernel: 3,
  channels,
  convolutions: 2,
  strideAt: 0,
});

/** The architectures by name. */
export const ARCHITECTURES: Readonly<Record<ArchitectureName, Architecture>> = {
  /** 0.75 M parameters: learns on two CPU cores in minutes. */
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
  /** monodepth's ResNet-50 without batch-norm, a projection in every block, 58.5 M parameters. */
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
};

/** One convolution of the plan. */
export interface ConvolutionPlan {
  /** Path-like and unique within the network, e.g. `encoder/1/conv2`. */
  readonly name: string;
  /** Height and width of the kernel, px. */
  readonly kernel: number;
  /** Channels that come in. */
  readonly inputs: number;
  /** Channels that go out. */
  readonly outputs: number;
  /** Step of the kernel, px. */
  readonly stride: 1 | 2;
  /** The output's resolution is the input image's divided by this. */
  readonly division: number;
}

/** A whole network: its convolutions in the order in which they run. */
export interface NetworkPlan {
  /** What was planned. */
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
    }
    skips.push(channels);
  });

  for (let level = architecture.decoder.length - 1; level >= 0; level--) {
    const width = architecture.decoder[level];
    const division = 2 ** level;
    const skip = level > 0 ? skips[level - 1] : 0;
    const coarser = level < SCALES - 1 ? HEAD_CHANNELS : 0;
    add(`decoder/${level}/up`, 3, channels, width, division);
    channels = add(`decoder/${level}/merge`, 3, width + skip + coarser, width, division);
    if (level < SCALES) add(`head/${level}`, 3, channels, HEAD_CHANNELS, division);
  }
  return { architecture, inputChannels, convolutions };
}

/** Weights and biases in a network. */
export function countParameters(plan: NetworkPlan): number {
  return plan.convolutions.reduce((n, c) => n + c.kernel ** 2 * c.inputs * c.outputs + c.outputs, 0);
}

/**
 * Multiply–adds of the convolutions, counted as two operations each.
 *
 * @param height Input height, px.
 * @param width Input width, px.
 * @returns GFLOPs of one forward pass of one image.
 */
export function countGigaflops(plan: NetworkPlan, height: number, width: number): number {
  const flops = plan.convolutions.reduce(
    (n, c) => n + 2 * c.kernel ** 2 * c.inputs * c.outputs * (height / c.division) * (width / c.division),
    0,
  );
  return flops / 1e9;
}

/** Heights and widths must be multiples of this many px. */
export function sizeMultiple(architecture: Architecture): number {
  return 2 ** architecture.encoder.length;
}

/**
 * Checks that a network can run at a size.
 *
 * @param what Where the size comes from, for the error, if the user did not give it.
 * @throws {UsageError} Naming the size, the multiple and the nearest sizes that work.
 */
export function checkSize(architecture: Architecture, height: number, width: number, what = ""): void {
  const multiple = sizeMultiple(architecture);
  if (height > 0 && width > 0 && height % multiple === 0 && width % multiple === 0) return;
  const fit = (n: number) => Math.max(multiple, Math.round(n / multiple) * multiple);
  throw new UsageError(
    `Cannot run ${architecture.name} at ${height}x${width}${what && ` (${what})`}: ` +
      `height and width must be multiples of ${multiple} px, e.g. ${fit(height)}x${fit(width)}`,
  );
}
