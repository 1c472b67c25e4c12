/**
 * What a network makes of one photograph, as numbers and pixels; `depth.ts` adds files. Nothing here is Deno's or Node's.
 *
 * @module
 */
import { UsageError } from "../base/errors.ts";
import { type ColormapName, mapToRgb, percentile } from "../charts/colormap.ts";
import type { FloatMap, RgbImage } from "../data/image.ts";
import { type CloudOptions, photoPoints, type Points } from "../data/points.ts";
import { resizeMap } from "../data/resize.ts";
import {
  assumeCamera,
  canonicalScales,
  depthFromDisparity,
  type ImageSize,
  resizeCamera,
  type StereoCamera,
} from "../geometry/camera.ts";
import type { StudentInfo } from "../models/student.ts";

/** How a disparity becomes a picture. */
export interface DepthColors {
  /** The color map; near is its high end. @default "magma" */
  readonly colors?: Exclude<ColormapName, "error">;
  /** Disparities at the ends of the color map, px of the image. @default 0 to the 98th percentile */
  readonly range?: readonly [min: number, max: number];
  /** The map alone, beside the photograph, or half transparent over it. @default "map" */
  readonly layout?: "map" | "side-by-side" | "overlay";
}

/** What is known about the camera of a photograph. */
export interface KnownCamera extends Partial<StereoCamera> {
  /** Who says so, e.g. "given" or "KITTI 2011_09_26". @default "given" */
  readonly source?: string;
}

/** The camera of a photograph as far as it is known and can be assumed, and a line about that. */
export function photoCamera(
  { rig, name }: StudentInfo,
  size: ImageSize,
  known: KnownCamera = {},
): { readonly camera?: StereoCamera; readonly basis: string } {
  const { focalPx, baselineM, source = "given" } = known;
  const trained = `of the rig that ${name || "the network"} was trained with`;
  if (!rig && !(focalPx && baselineM)) {
    return { basis: `the focal length and baseline ${trained} are not known` };
  }
  const { imageSize = size } = known;
  const camera = resizeCamera(assumeCamera(rig ?? { focal: NaN, baselineM: NaN }, imageSize, known), size);
  const focal = `focal length ${Math.round(camera.focalPx)} px (${focalPx ? source : `assumed, ${trained}`})`;
  const baseline = `baseline ${Number(camera.baselineM.toFixed(4))} m (${
    baselineM ? (source === "EXIF" ? "given" : source) : trained
  })`;
  return { camera, basis: `depth in m = ${focal} · ${baseline} / disparity in px` };
}

/** What to multiply a network's disparity by to have that of a photograph's camera; see {@linkcode canonicalScales}. */
export function photoScale({ camera: kind }: StudentInfo, camera: StereoCamera | undefined): number {
  return kind === "canonical" && camera ? canonicalScales([camera], [""])[0] : 1;
}

/** The largest disparity that a 16-bit PNG holds, px. */
const LARGEST_16 = 65535 / 256;

/** The depth of one photograph. */
export class DepthMap {
  #disparity: FloatMap | undefined;

  /**
   * Made by a student's `predict`.
   *
   * @param name What the photograph is called.
   * @param size Its size, px.
   * @param prediction The disparity at the network's size, fraction of the width.
   * @param camera The camera that meters are for; absent where the rig that the network was trained with is not known.
   * @param basis One line that says what meters are computed from, and what of it is assumed.
   * @param readImage Decodes the photograph.
   */
  constructor(
    readonly name: string,
    readonly size: ImageSize,
    readonly prediction: FloatMap,
    readonly camera: StereoCamera | undefined,
    readonly basis: string,
    readonly readImage: () => Promise<RgbImage>,
  ) {}

  /** The disparity at the photograph's size: fraction of its width, ≥ 0; times the width it is in px. */
  get disparity(): FloatMap {
    return this.#disparity ??= resizeMap(this.prediction, this.size);
  }

  /**
   * Depth along the optical axis at the photograph's size, m; see `basis` for what it is computed from.
   *
   * @throws {UsageError} When the rig that the network was trained with is not known.
   */
  get metres(): FloatMap {
    const camera = this.knownCamera();
    const { width, height, data } = this.disparity;
    const reach = depthFromDisparity(1, camera), metres = new Float32Array(data.length);
    for (let i = 0; i < metres.length; i++) metres[i] = reach / data[i];
    return { width, height, data: metres };
  }

  /** The camera. @throws {UsageError} When it is not known. */
  protected knownCamera(): StereoCamera {
    if (this.camera) return this.camera;
    throw new UsageError(
      `Cannot compute the depth of ${this.name} in meters: ${this.basis}; give a focal length and a baseline`,
    );
  }

  /** Fraction of the pixels whose disparity is too large for a 16-bit PNG, which clips it. */
  get clipped(): number {
    const { width, data } = this.disparity;
    let count = 0;
    for (const d of data) if (d * width > LARGEST_16) count++;
    return count / data.length;
  }

  /** Disparities from 0 to that below which 98 % of the pixels lie, px. */
  get range(): readonly [min: number, max: number] {
    return [0, percentile([this.prediction], 0.98) * this.size.width];
  }

  /** The disparity in colors, at the photograph's size. */
  async picture(
    { colors = "magma", range = this.range, layout = "map" }: DepthColors = {},
  ): Promise<RgbImage> {
    const { width, height } = this.size;
    const [min, max] = range;
    const map = mapToRgb(this.disparity, { min: min / width, max: max / width, map: colors });
    if (layout === "map") return map;
    const { data: photo } = await this.readImage();
    if (layout === "overlay") {
      const data = map.data.map((value, i) => (value + photo[i] + 1) >> 1);
      return { width, height, data };
    }
    const data = new Uint8Array(2 * photo.length), row = 3 * width;
    for (let y = 0; y < height; y++) {
      data.set(photo.subarray(y * row, (y + 1) * row), 2 * y * row);
      data.set(map.data.subarray(y * row, (y + 1) * row), (2 * y + 1) * row);
    }
    return { width: 2 * width, height, data };
  }

  /** The photograph as colored points in space, m. @throws {UsageError} As `metres`. */
  async points(options: CloudOptions = {}): Promise<Points> {
    const camera = this.knownCamera();
    return photoPoints(await this.readImage(), this.disparity, camera, options);
  }
}
