/**
 * Point clouds: a photograph and its depth as colored points in space, and files of them. Nothing here is Deno's or
 * Node's.
 *
 * @module
 */
import { depthFromDisparity, type StereoCamera } from "../geometry/camera.ts";
import type { FloatMap, RgbImage } from "./image.ts";
import { resizeMap, resizeRgb } from "./resize.ts";

/** Colored points in the camera's axes. */
export class Points {
  /** [count, 3]: x right, y down, z forward, m. */
  readonly positions: Float32Array;
  /** [count, 3]: red, green, blue, 0–255. */
  readonly colors: Uint8Array;

  /**
   * Makes a cloud of known points.
   *
   * @param title What it shows.
   * @param spacing Distance of neighboring points as a fraction of their depth: how large each is drawn.
   * @throws {RangeError} When there are not as many colors as positions.
   */
  constructor(
    positions: Float32Array,
    colors: Uint8Array,
    readonly title = "Point cloud",
    readonly spacing = 0.004,
  ) {
    if (positions.length !== colors.length || positions.length % 3) {
      throw new RangeError(
        `Cannot make a point cloud: found ${positions.length} coordinates and ${colors.length} color values, ` +
          "expected three of each per point",
      );
    }
    this.positions = positions;
    this.colors = colors;
  }

  /** How many points there are. */
  get count(): number {
    return this.positions.length / 3;
  }

  /** The cloud in the binary PLY format, as MeshLab, Blender and CloudCompare read it; y up, z toward the viewer. */
  ply(): Uint8Array {
    const header =
      "ply\nformat binary_little_endian 1.0\ncomment meters; x right, y up, z toward the camera\n" +
      `element vertex ${this.count}\n` +
      ["x", "y", "z"].map((axis) => `property float ${axis}\n`).join("") +
      ["red", "green", "blue"].map((color) => `property uchar ${color}\n`).join("") + "end_header\n";
    const head = new TextEncoder().encode(header);
    const bytes = new Uint8Array(head.length + this.count * 15);
    bytes.set(head);
    const view = new DataView(bytes.buffer);
    for (let i = 0, at = head.length; i < this.count; i++, at += 15) {
      view.setFloat32(at, this.positions[i * 3], true);
      view.setFloat32(at + 4, -this.positions[i * 3 + 1], true);
      view.setFloat32(at + 8, -this.positions[i * 3 + 2], true);
      bytes.set(this.colors.subarray(i * 3, i * 3 + 3), at + 12);
    }
    return bytes;
  }

  /**
   * The cloud in binary glTF 2.0, which browsers' viewers, Blender and phones open; y up, z toward the viewer.
   *
   * @throws {RangeError} When it has no point: the format has no empty meshes.
   */
  glb(): Uint8Array {
    const { count, positions, colors } = this;
    if (count === 0) throw new RangeError("Cannot write a point cloud as GLB: it has no points");
    const body = new Uint8Array(count * 16), xyz = new Float32Array(body.buffer, 0, count * 3);
    const min = [Infinity, Infinity, Infinity], max = [-Infinity, -Infinity, -Infinity];
    for (let i = 0; i < positions.length; i++) {
      const axis = i % 3, value = axis === 0 ? positions[i] : -positions[i];
      xyz[i] = value;
      if (xyz[i] < min[axis]) min[axis] = xyz[i];
      if (xyz[i] > max[axis]) max[axis] = xyz[i];
    }
    for (let i = 0, at = count * 12; i < count; i++, at += 4) {
      body.set(colors.subarray(i * 3, i * 3 + 3), at);
      body[at + 3] = 255;
    }
    const json = new TextEncoder().encode(JSON.stringify({
      asset: { version: "2.0", generator: "Cyclops" },
      scene: 0,
      scenes: [{ nodes: [0] }],
      nodes: [{ mesh: 0, name: this.title }],
      meshes: [{ primitives: [{ attributes: { POSITION: 0, COLOR_0: 1 }, mode: 0 }] }],
      buffers: [{ byteLength: body.length }],
      bufferViews: [
        { buffer: 0, byteOffset: 0, byteLength: count * 12, target: 34962 },
        { buffer: 0, byteOffset: count * 12, byteLength: count * 4, target: 34962 },
      ],
      accessors: [
        { bufferView: 0, componentType: 5126, count, type: "VEC3", min, max },
        { bufferView: 1, componentType: 5121, normalized: true, count, type: "VEC4" },
      ],
    }));
    const text = Math.ceil(json.length / 4) * 4;
    const bytes = new Uint8Array(28 + text + body.length).fill(0x20), view = new DataView(bytes.buffer);
    // "glTF", version, bytes; then each chunk's bytes, type ("JSON", "BIN\0") and content.
    [0x46546c67, 2, bytes.length, text, 0x4e4f534a].forEach((word, i) => view.setUint32(i * 4, word, true));
    bytes.set(json, 20);
    view.setUint32(20 + text, body.length, true);
    view.setUint32(24 + text, 0x004e4942, true);
    bytes.set(body, 28 + text);
    return bytes;
  }
}

/** Points whose disparity differs from a neighbor's by more than this fraction lie between objects and are left out. */
const EDGE = 0.12;

/** Which points {@linkcode photoPoints} makes. */
export interface CloudOptions {
  /** About how many at most; the map is thinned out evenly. @default 300,000 */
  readonly points?: number;
  /** Farther points are left out, m. @default 80 */
  readonly maxDepth?: number;
}

/**
 * Puts every pixel of a photograph at the depth of its disparity.
 *
 * @param image Of any size.
 * @param disparity Fraction of the width, ≥ 0, aligned with the image, of any size.
 * @param camera The camera that took the image, in px of any size of it.
 */
export function photoPoints(
  image: RgbImage,
  disparity: FloatMap,
  camera: StereoCamera,
  { points = 300_000, maxDepth = 80 }: CloudOptions = {},
): Points {
  const thin = Math.min(1, Math.sqrt(points / (image.width * image.height)));
  const size = {
    width: Math.max(2, Math.round(image.width * thin)),
    height: Math.max(2, Math.round(image.height * thin)),
  };
  const colors = resizeRgb(image, size.width, size.height).data;
  const map = resizeMap(disparity, size).data;
  const sx = camera.imageSize.width / size.width, sy = camera.imageSize.height / size.height;
  const positions = new Float32Array(map.length * 3), kept = new Uint8Array(map.length * 3);
  let end = 0;
  for (let v = 0; v < size.height; v++) {
    for (let u = 0; u < size.width; u++) {
      const i = v * size.width + u;
      const d = map[i];
      const depth = depthFromDisparity(d, camera);
      if (!(depth > 0 && depth <= maxDepth)) continue;
      const right = u + 1 < size.width ? map[i + 1] : d,
        below = v + 1 < size.height ? map[i + size.width] : d;
      // Along a surface disparity changes evenly; a jump is the edge of an object.
      if (Math.abs(right - d) > EDGE * d || Math.abs(below - d) > 2 * EDGE * d) continue;
      // Pixel centers lie at integers, as in KITTI.
      const x = (u + 0.5) * sx - 0.5 - camera.centerPx.x, y = (v + 0.5) * sy - 0.5 - camera.centerPx.y;
      positions[end] = x * depth / camera.focalPx;
      positions[end + 1] = y * depth / camera.focalPx;
      positions[end + 2] = depth;
      for (let c = 0; c < 3; c++) kept[end++] = colors[i * 3 + c];
    }
  }
  return new Points(positions.slice(0, end), kept.slice(0, end), undefined, sx / camera.focalPx);
}
