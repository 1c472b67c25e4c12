/**
 * What a network makes of one photograph: disparity, depth in meters, pictures, a point cloud, and files of them.
 *
 * @module
 */
import { extname } from "@std/path";
import { UsageError } from "../base/errors.ts";
import { writeAtomic } from "../base/files.ts";
import { PointCloud } from "../charts/cloud.ts";
import { disparityScale, mapToRgb } from "../charts/colormap.ts";
import { disparityBar } from "../charts/depth.ts";
import { type Displayable, JUPYTER_DISPLAY, type MimeBundle } from "../charts/display.ts";
import { grid, type Picture } from "../charts/picture.ts";
import { encodeGray16Png, encodeRgbPng } from "../data/image.ts";
import { encodeNpy } from "../data/npy.ts";
import type { CloudOptions } from "../data/points.ts";
import { resizeMap } from "../data/resize.ts";
import { type DepthColors, DepthMap } from "./map.ts";

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

/** The depth of one photograph, which writes itself to files and renders itself in a notebook. */
export class Depth extends DepthMap implements Displayable {
  /** The photograph as colored points in space, m. @throws {UsageError} As `metres`. */
  async pointCloud(options: CloudOptions = {}): Promise<PointCloud> {
    const { positions, colors, spacing } = await this.points(options);
    return new PointCloud(positions, colors, this.name, spacing);
  }

  /** Disparity at the photograph's size, px of it. */
  #px(): Float32Array<ArrayBuffer> {
    const { width, height, data } = this.prediction;
    return resizeMap({ width, height, data: data.map((d) => d * this.size.width) }, this.size).data;
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
        // Half the time of zlib's default, for a third more bytes.
        return await encodeRgbPng(await this.picture(options), { compressionLevel: 3 });
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
        return (await this.points(options))[format]();
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
