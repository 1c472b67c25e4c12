/**
 * What a network makes of one photograph: disparity, depth in meters, pictures, a point cloud, and files of them.
 *
 * @module
 */
import { extname } from "@std/path";
import { UsageError } from "../base/errors.ts";
import { writeAtomic } from "../base/files.ts";
import { type PointCloud, pointCloud } from "../charts/cloud.ts";
import { type ColormapName, disparityScale, mapToRgb, percentile } from "../charts/colormap.ts";
import { disparityBar } from "../charts/depth.ts";
import { type Displayable, JUPYTER_DISPLAY, type MimeBundle } from "../charts/display.ts";
import { grid, type Picture } from "../charts/picture.ts";
import { encodeGray16Png, encodeRgbPng, type FloatMap, type RgbImage } from "../data/image.ts";
import { encodeNpy } from "../data/npy.ts";
import { resizeMap } from "../data/resize.ts";
import { depthFromDisparity, type ImageSize, type StereoCamera } from "../geometry/camera.ts";

/** The formats of files, and how their names end. */
export const FORMATS = {
  /** Colors, at the image's size; see {@linkcode DepthColors}. */
  png: "_disparity.png",
  /** 16-bit gray PNG as KITTI's: disparity in px of the image × 256, up to 255.996 px. */
  png16: "_disparity16.png",
  /** NumPy array, float32 [height, width]: disparity in px of the image. */
  npy: "_disparity.npy",
  /** NumPy array, float32 [height, width]: depth in m. */
  depth: "_depth.npy",
  /** Point cloud, binary PLY, m. */
  ply: ".ply",
  /** Point cloud, binary glTF, m. */
  glb: ".glb",
} as const;

/** A format's name. */
export type Format = keyof typeof FORMATS;

/** How a disparity becomes a picture. */
export interface DepthColors {
  /** The color map; near is its high end. @default "magma" */
  readonly colors?: Exclude<ColormapName, "error">;
  /** Disparities at the ends of the color map, px of the image. @default 0 to the 98th percentile */
  readonly range?: readonly [min: number, max: number];
  /** The map alone, beside the photograph, or half transparent over it. @default "map" */
  readonly layout?: "map" | "side-by-side" | "overlay";
}

/** Which points make a cloud. */
export interface CloudOptions {
  /** About how many at most; the map is thinned out evenly. @default 300,000 */
  readonly points?: number;
  /** Farther points are left out, m. @default 80 */
  readonly maxDepth?: number;
}

/** The largest disparity that a 16-bit PNG holds, px. */
const LARGEST_16 = 65535 / 256;

/** The depth of one photograph. It renders itself in a notebook. */
export class Depth implements Displayable {
  #disparity: FloatMap | undefined;

  /**
   * Made by `Student.predict`.
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
    const camera = this.#knownCamera();
    const { width, height, data } = this.disparity;
    const reach = depthFromDisparity(1, camera), metres = new Float32Array(data.length);
    for (let i = 0; i < metres.length; i++) metres[i] = reach / data[i];
    return { width, height, data: metres };
  }

  #knownCamera(): StereoCamera {
    if (this.camera) return this.camera;
    throw new UsageError(
      `Cannot compute the depth of ${this.name} in meters: ${this.basis}; give a focal length and a baseline`,
    );
  }

  /** Disparity at the photograph's size, px of it. */
  #px(): Float32Array<ArrayBuffer> {
    const { width, data } = this.disparity, px = new Float32Array(data.length);
    for (let i = 0; i < px.length; i++) px[i] = data[i] * width;
    return px;
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
  async pointCloud({ points = 300_000, maxDepth = 80 }: CloudOptions = {}): Promise<PointCloud> {
    const camera = this.#knownCamera();
    return pointCloud(await this.readImage(), this.disparity, camera, { points, maxDepth, title: this.name });
  }

  /**
   * The bytes of a file.
   *
   * @throws {UsageError} When a format in meters is asked for and `camera` is not known.
   */
  async encode(format: Format, options: DepthColors & CloudOptions = {}): Promise<Uint8Array> {
    const { width, height } = this.size, shape = [height, width];
    switch (format) {
      case "png":
        return await encodeRgbPng(await this.picture(options));
      case "png16": {
        const px = this.#px(), data = new Uint16Array(px.length);
        for (let i = 0; i < data.length; i++) data[i] = Math.min(65535, Math.round(px[i] * 256));
        return await encodeGray16Png({ width, height, data });
      }
      case "npy":
        return encodeNpy({ shape, data: this.#px() });
      case "depth":
        return encodeNpy({ shape, data: this.metres.data });
      default:
        return (await this.pointCloud(options))[format]();
    }
  }

  /**
   * Writes a file.
   *
   * @param options.format What to write. @default by the path: .png colors, .npy disparity in px, .ply and .glb points
   * @throws {UsageError} When the path's ending names no format, or `encode` does.
   * @throws {CyclopsError} When it cannot be written.
   */
  async save(
    path: string,
    options: DepthColors & CloudOptions & { readonly format?: Format } = {},
  ): Promise<void> {
    const ending = extname(path).slice(1).toLowerCase();
    const format = options.format ?? (["png", "npy", "ply", "glb"] as const).find((name) => name === ending);
    if (!format) {
      throw new UsageError(
        `Cannot save ${path}: its name ends in ".${ending}", expected .png, .npy, .ply or .glb`,
      );
    }
    await writeAtomic(path, await this.encode(format, options));
  }

  /** The photograph and its disparity side by side, with a color bar, in px and, where possible, in m. */
  async figure(): Promise<Picture> {
    const scale = disparityScale(this.range[1] / this.size.width);
    const bar = disparityBar(scale, this.size.width, this.camera);
    const cells = [{ image: await this.readImage() }, { image: mapToRgb(this.disparity, scale) }];
    return grid([{ cells }], { title: this.name, bars: [{ ...bar, column: 1 }], footnote: this.basis });
  }

  /** The figure, for a notebook. */
  async [JUPYTER_DISPLAY](): Promise<MimeBundle> {
    return await (await this.figure())[JUPYTER_DISPLAY]();
  }
}
