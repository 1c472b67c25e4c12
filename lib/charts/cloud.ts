/**
 * Point clouds: a photograph and its depth as colored points in space.
 *
 * @module
 */
import { writeAtomic } from "../base/files.ts";
import { hash32 } from "../base/random.ts";
import type { FloatMap, RgbImage } from "../data/image.ts";
import { resizeMap, resizeRgb } from "../data/resize.ts";
import { depthFromDisparity, type ImageSize, type StereoCamera } from "../geometry/camera.ts";
import { type Displayable, JUPYTER_DISPLAY, type MimeBundle } from "./display.ts";
import { Picture, pngDataUri } from "./picture.ts";
import { escapeHtml, svgText } from "./svg.ts";

/** Colored points in the camera's axes. */
export class PointCloud implements Displayable {
  /** [count, 3]: x right, y down, z forward, m. */
  readonly positions: Float32Array;
  /** [count, 3]: red, green, blue, 0–255. */
  readonly colors: Uint8Array;

  /**
   * Makes a cloud of known points; {@linkcode pointCloud} makes one from a disparity map.
   *
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

  get count(): number {
    return this.positions.length / 3;
  }

  /**
   * The cloud as a picture on a dark background.
   *
   * @param view Where the eye is, degrees: `yaw` to the right, `pitch` above the horizontal plane.
   * @param size px.
   */
  picture(view: { readonly yaw: number; readonly pitch: number } = VIEW, size: ImageSize = SIZE): Picture {
    const image = { ...size, data: new Uint8Array(size.width * size.height * 3) };
    paint(this.#centered(), image, view.yaw, view.pitch, 1);
    const drawing = svgText(this.title, 14, 26, { size: 14, bold: true, color: "#eceef2" }) +
      svgText(`${this.count.toLocaleString("en-US")} points`, size.width - 14, 26, {
        size: 12,
        color: "#a0a6b2",
        anchor: "end",
      });
    return new Picture(image, this.title, drawing);
  }

  /** The points about their center, which views rotate about: the median of each axis. */
  #centered(): Parameters<typeof paint>[0] {
    const center = [0, 1, 2].map((axis) => {
      const values = this.positions.filter((_, i) => i % 3 === axis).sort();
      return values[values.length >> 1] ?? 0;
    });
    const positions = this.positions.map((value, i) => value - center[i % 3]);
    return { positions, colors: this.colors, depth: center[2], spacing: this.spacing };
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

  async writePly(path: string): Promise<void> {
    await writeAtomic(path, this.ply());
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

  /** A view to rotate with the pointer: self-contained HTML. */
  async html(): Promise<string> {
    const { positions, ...points } = this.#centered();
    // Centimeters fit 16 bits up to 327 m.
    const coordinates = Int16Array.from(
      positions,
      (value) => Math.min(32767, Math.max(-32768, Math.round(value * 100))),
    );
    const data = {
      ...points,
      ...VIEW,
      positions: new Uint8Array(coordinates.buffer).toBase64(),
      colors: this.colors.toBase64(),
    };
    const id = `cloud-${hash32(data.positions).toString(16)}`, title = escapeHtml(this.title);
    const still = pngDataUri(await this.picture(VIEW, STILL).png({ palette: true }));
    return `<div id="${id}" style="max-width:${SIZE.width}px;font:13px/1.5 system-ui,sans-serif">
<div style="font-weight:600;font-size:14px;margin:0 0 .4em">${title}</div>
<div class="view" style="position:relative;line-height:0;touch-action:none;cursor:grab">
<img src="${still}" alt="${title}" style="width:100%;height:auto;border-radius:4px">
<canvas role="img" aria-label="${title}" width="${SIZE.width}" height="${SIZE.height}" style="display:none;width:100%;border-radius:4px"></canvas>
</div>
<div style="opacity:.7">drag to rotate · scroll to zoom · double-click to reset</div>
<script>(${SCRIPT})(${JSON.stringify(id)},${JSON.stringify(data)},${paint})</script>
</div>`;
  }

  /** The interactive view, a static one for viewers without scripts, and plain text. */
  async [JUPYTER_DISPLAY](): Promise<MimeBundle> {
    return {
      "text/html": await this.html(),
      "image/png": (await this.picture(VIEW, STILL).png({ palette: true })).toBase64(),
      "text/plain": `${this.title} (${this.count} points)`,
    };
  }
}

/** Size of the static picture in a notebook, px: small, because the notebook holds it twice. */
const STILL = { width: 660, height: 315 } as const;
const SIZE = { width: 880, height: 420 } as const, VIEW = { yaw: 12, pitch: 14 } as const;
/** Points whose disparity differs from a neighbor's by more than this fraction lie between objects and are left out. */
const EDGE = 0.12;

/**
 * Draws points, near ones over far ones. A browser runs its source text: it uses nothing but its arguments.
 *
 * @param points Positions about the cloud's center, m; `depth` of that center from the camera; `spacing` of the points.
 * @param image Three channels, or a canvas's four; its data are written.
 * @param yaw Degrees.
 * @param pitch Degrees.
 * @param zoom Distance of the eye; 1 shows all.
 */
function paint(
  points: {
    readonly positions: Float32Array;
    readonly colors: Uint8Array;
    readonly depth: number;
    readonly spacing: number;
  },
  image: { readonly width: number; readonly height: number; readonly data: Uint8Array | Uint8ClampedArray },
  yaw: number,
  pitch: number,
  zoom: number,
): void {
  const { positions, colors, depth, spacing } = points, { width, height, data } = image;
  const distance = Math.max(1, depth) * 1.15 * zoom, focal = width * 0.8, largest = 9;
  const depths = new Float32Array(width * height).fill(Infinity), channels = data.length / depths.length;
  const ground = [19, 21, 27, 255];
  for (let i = 0; i < data.length; i++) data[i] = ground[i % channels];
  const a = yaw * Math.PI / 180, b = pitch * Math.PI / 180;
  const cy = Math.cos(a), sy = Math.sin(a), cp = Math.cos(b), sp = Math.sin(b);
  for (let i = 0; i < positions.length; i += 3) {
    const x = positions[i], y = positions[i + 1], z = positions[i + 2];
    // First about the vertical axis, then about the eye's horizontal one.
    const ex = cy * x + sy * z, ahead = cy * z - sy * x;
    const ey = cp * y - sp * ahead, ez = sp * y + cp * ahead + distance;
    if (ez < 0.2) continue;
    // As large as its gap to the next point, so that surfaces close.
    const reach = Math.min(largest, Math.max(1, 1.5 * spacing * (z + depth) * focal / ez));
    const side = Math.round(reach);
    const u0 = Math.round(width / 2 + focal * ex / ez - reach / 2);
    const v0 = Math.round(height / 2 + focal * ey / ez - reach / 2);
    for (let v = Math.max(0, v0); v < Math.min(height, v0 + side); v++) {
      for (let u = Math.max(0, u0); u < Math.min(width, u0 + side); u++) {
        const at = v * width + u;
        if (ez >= depths[at]) continue;
        depths[at] = ez;
        for (let c = 0; c < 3; c++) data[at * channels + c] = colors[i + c];
      }
    }
  }
}

/**
 * Puts every pixel of a photograph at the depth of its disparity.
 *
 * @param image Of any size.
 * @param disparity Fraction of the width, ≥ 0, aligned with the image, of any size.
 * @param camera The camera that took the image, in px of any size of it.
 * @param options.title What the cloud shows. @default "Point cloud"
 * @param options.maxDepth Farther points are left out, m. @default 60
 * @param options.points About how many points at most; the map is thinned out evenly. @default 16,000
 *
 * @example
 * ```ts ignore
 * const cloud = pointCloud(image, disparity, camera, { title: "A street" });
 * await cloud.writePly("street.ply");
 * ```
 */
export function pointCloud(
  image: RgbImage,
  disparity: FloatMap,
  camera: StereoCamera,
  options: { readonly title?: string; readonly maxDepth?: number; readonly points?: number } = {},
): PointCloud {
  const { title, maxDepth = 60, points = 16_000 } = options;
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
  return new PointCloud(positions.slice(0, end), kept.slice(0, end), title, sx / camera.focalPx);
}

/** Runs in the browser. */
const SCRIPT = `function (id, data, paint) {
  const bytes = (text) => Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
  data.positions = Float32Array.from(new Int16Array(bytes(data.positions).buffer), (value) => value / 100);
  data.colors = bytes(data.colors);
  for (const root of document.querySelectorAll("#" + id + ":not([data-live])")) {
    root.setAttribute("data-live", "");
    const view = root.querySelector(".view"), canvas = view.querySelector("canvas"), context = canvas.getContext("2d");
    const image = context.createImageData(canvas.width, canvas.height);
    let asked = false, from = null, yaw, pitch, zoom;
    const draw = () => {
      if (asked) return;
      asked = true;
      requestAnimationFrame(() => {
        asked = false;
        paint(data, image, yaw, pitch, zoom);
        context.putImageData(image, 0, 0);
      });
    };
    const reset = () => { yaw = data.yaw; pitch = data.pitch; zoom = 1; draw(); };
    const release = () => { from = null; view.style.cursor = "grab"; };
    view.querySelector("img").style.display = "none";
    canvas.style.display = "block";
    canvas.onpointerdown = (e) => {
      from = [e.clientX, e.clientY];
      canvas.setPointerCapture(e.pointerId);
      view.style.cursor = "grabbing";
    };
    canvas.onpointermove = (e) => {
      if (!from) return;
      yaw -= (e.clientX - from[0]) * 0.3;
      pitch = Math.min(89, Math.max(-30, pitch + (e.clientY - from[1]) * 0.3));
      from = [e.clientX, e.clientY];
      draw();
    };
    canvas.onpointerup = canvas.onpointercancel = release;
    canvas.ondblclick = reset;
    canvas.addEventListener("wheel", (e) => {
      e.preventDefault();
      zoom = Math.min(4, Math.max(0.15, zoom * Math.exp(e.deltaY * 0.001)));
      draw();
    }, { passive: false });
    reset();
  }
}`;
