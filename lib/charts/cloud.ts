/**
 * Point clouds: a photograph and its depth as colored points in space.
 *
 * @module
 */
import { writeAtomic } from "../base/files.ts";
import { hash32 } from "../base/random.ts";
import type { FloatMap, RgbImage } from "../data/image.ts";
import { resizeMap, resizeRgb } from "../data/resize.ts";
import type { StereoCamera } from "../geometry/camera.ts";
import type { Color } from "./colormap.ts";
import { metersTimesDisparity } from "./depth.ts";
import { type Displayable, JUPYTER_DISPLAY, type MimeBundle } from "./display.ts";
import { Picture, pngDataUri } from "./picture.ts";
import { escapeHtml, svgText } from "./svg.ts";

/** Where a cloud is seen from. */
export interface Viewpoint {
  /** Rotation about the vertical axis, degrees; positive moves the eye to the right. @default 12 */
  readonly yaw?: number;
  /** Elevation of the eye above the horizontal plane, degrees. @default 14 */
  readonly pitch?: number;
}

/** Options of {@linkcode pointCloud}. */
export interface PointCloudOptions {
  /** What the cloud shows. @default "Point cloud" */
  readonly title?: string;
  /** Farther points are left out, m. @default 60 */
  readonly maxDepth?: number;
  /** About how many points at most; the map is thinned out evenly. @default 16,000 */
  readonly points?: number;
}

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

  /** How many points there are. */
  get count(): number {
    return this.positions.length / 3;
  }

  /**
   * The cloud as a picture on a dark background.
   *
   * @param size px. @default 880 × 420
   */
  picture(view: Viewpoint = {}, size: { readonly width?: number; readonly height?: number } = {}): Picture {
    const { width = 880, height = 420 } = size;
    const data = Uint8Array.from({ length: width * height * 3 }, (_, i) => GROUND[i % 3]);
    const yaw = (view.yaw ?? 12) * Math.PI / 180, pitch = (view.pitch ?? 14) * Math.PI / 180;
    const [cy, sy, cp, sp] = [Math.cos(yaw), Math.sin(yaw), Math.cos(pitch), Math.sin(pitch)];
    // First about the vertical axis, then about the eye's horizontal one.
    const rotation = [cy, 0, sy, sp * sy, cp, -sp * cy, -cp * sy, sp, cp * cy];
    const center = this.#center();
    const distance = Math.max(1, center[2]) * DISTANCE, focal = width * 0.8;
    const depths = new Float32Array(width * height).fill(Infinity);
    const p = this.positions;
    for (let i = 0; i < p.length; i += 3) {
      const x = p[i] - center[0], y = p[i + 1] - center[1], z = p[i + 2] - center[2];
      const ex = rotation[0] * x + rotation[1] * y + rotation[2] * z;
      const ey = rotation[3] * x + rotation[4] * y + rotation[5] * z;
      const ez = rotation[6] * x + rotation[7] * y + rotation[8] * z + distance;
      if (ez < 0.2) continue;
      const u = width / 2 + focal * ex / ez, v = height / 2 + focal * ey / ez;
      // As large as its gap to the next point, so that surfaces close.
      const reach = Math.min(MOST_REACH, Math.max(1, 1.5 * this.spacing * p[i + 2] * focal / ez));
      const u0 = Math.round(u - reach / 2), v0 = Math.round(v - reach / 2), side = Math.round(reach);
      for (let b = Math.max(0, v0); b < Math.min(height, v0 + side); b++) {
        for (let a = Math.max(0, u0); a < Math.min(width, u0 + side); a++) {
          const at = b * width + a;
          if (ez >= depths[at]) continue;
          depths[at] = ez;
          for (let c = 0; c < 3; c++) data[at * 3 + c] = this.colors[i + c];
        }
      }
    }
    const count = `${this.count.toLocaleString("en-US")} points`;
    const drawing = svgText(this.title, 14, 26, { size: 14, bold: true, color: "#eceef2" }) +
      svgText(count, width - 14, 26, { size: 12, color: "#a0a6b2", anchor: "end" });
    return new Picture({ width, height, data }, this.title, drawing);
  }

  /** The point that views rotate about: the median of each axis. */
  #center(): readonly [number, number, number] {
    const median = (axis: number) => {
      const values = new Float32Array(this.count);
      for (let i = 0; i < values.length; i++) values[i] = this.positions[i * 3 + axis];
      return values.sort()[values.length >> 1] ?? 0;
    };
    return [median(0), median(1), median(2)];
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

  /** Writes a PLY file; see {@linkcode PointCloud.ply}. @throws {CyclopsError} When it cannot be written. */
  async writePly(path: string): Promise<void> {
    await writeAtomic(path, this.ply());
  }

  /** A view to rotate with the pointer: HTML with its data and script inside; loads nothing. */
  async html(): Promise<string> {
    const still = this.picture({}, STILL);
    const [width, height] = [880, 420];
    const center = this.#center();
    // Centimeters fit 16 bits up to 327 m.
    const coordinates = Int16Array.from(
      this.positions,
      (value, i) => Math.min(32767, Math.max(-32768, Math.round((value - center[i % 3]) * 100))),
    );
    const data = {
      positions: new Uint8Array(coordinates.buffer).toBase64(),
      colors: this.colors.toBase64(),
      distance: Math.max(1, center[2]) * DISTANCE,
      yaw: 12,
      pitch: 14,
      depth: center[2],
      size: 1.5 * this.spacing,
      largest: MOST_REACH,
      ground: GROUND,
    };
    const id = `cloud-${hash32(data.positions).toString(16)}`;
    const picture = pngDataUri(await still.png({ palette: true }));
    return `<div id="${id}" style="max-width:${width}px;font:13px/1.5 system-ui,-apple-system,Segoe UI,Roboto,Arial,sans-serif">
<div style="font-weight:600;font-size:14px;margin:0 0 .4em">${escapeHtml(this.title)}</div>
<div class="view" style="position:relative;line-height:0;touch-action:none;cursor:grab"><img src="${picture}" alt="${
      escapeHtml(this.title)
    }" style="width:100%;height:auto;border-radius:4px"><canvas role="img" aria-label="${
      escapeHtml(this.title)
    }" width="${width}" height="${height}" style="display:none;width:100%;border-radius:4px"></canvas></div>
<div style="opacity:.7">drag to rotate · scroll to zoom · double-click to reset</div>
<script>(${SCRIPT})(${JSON.stringify(id)},${JSON.stringify(data)})</script>
</div>`;
  }

  /** The interactive view, a still one for viewers without scripts, and plain text. */
  async [JUPYTER_DISPLAY](): Promise<MimeBundle> {
    return {
      "text/html": await this.html(),
      "image/png": (await this.picture({}, STILL).png({ palette: true })).toBase64(),
      "text/plain": `${this.title} (${this.count} points)`,
    };
  }
}

/** Size of the still picture in a notebook, px: small, because it stands there twice. */
const STILL = { width: 660, height: 315 } as const;
/** Distance of the eye from the cloud's center, as a multiple of the center's depth. */
const DISTANCE = 1.15;
/** Points whose disparity differs from a neighbor's by more than this fraction lie between objects and are left out. */
const EDGE = 0.12;
/** Side of the largest point, px. */
const MOST_REACH = 9;
const GROUND: Color = [19, 21, 27];

/**
 * Puts every pixel of a photograph at the depth of its disparity.
 *
 * @param image Of any size.
 * @param disparity Fraction of the width, ≥ 0, aligned with the image, of any size.
 * @param camera The camera that took the image, in px of any size of it.
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
  options: PointCloudOptions = {},
): PointCloud {
  const { title, maxDepth = 60, points = 16_000 } = options;
  const thin = Math.min(1, Math.sqrt(points / (image.width * image.height)));
  const size = {
    width: Math.max(2, Math.round(image.width * thin)),
    height: Math.max(2, Math.round(image.height * thin)),
  };
  const colors = resizeRgb(image, size.width, size.height).data;
  const map = resizeMap(disparity, size).data;
  const k = metersTimesDisparity(camera);
  const sx = camera.imageSize.width / size.width, sy = camera.imageSize.height / size.height;
  const positions: number[] = [], kept: number[] = [];
  for (let v = 0; v < size.height; v++) {
    for (let u = 0; u < size.width; u++) {
      const i = v * size.width + u;
      const d = map[i];
      const depth = k / d;
      if (!(depth > 0 && depth <= maxDepth)) continue;
      const right = u + 1 < size.width ? map[i + 1] : d,
        below = v + 1 < size.height ? map[i + size.width] : d;
      // Along a surface disparity changes evenly; a jump is the edge of an object.
      if (Math.abs(right - d) > EDGE * d || Math.abs(below - d) > 2 * EDGE * d) continue;
      // Pixel centers lie at integers, as in KITTI.
      const x = (u + 0.5) * sx - 0.5 - camera.centerPx.x, y = (v + 0.5) * sy - 0.5 - camera.centerPx.y;
      positions.push(x * depth / camera.focalPx, y * depth / camera.focalPx, depth);
      kept.push(colors[i * 3], colors[i * 3 + 1], colors[i * 3 + 2]);
    }
  }
  return new PointCloud(Float32Array.from(positions), Uint8Array.from(kept), title, sx / camera.focalPx);
}

/** Runs in the browser. */
const SCRIPT = `function (id, data) {
  function bytes(text) { return Uint8Array.from(atob(text), function (c) { return c.charCodeAt(0); }); }
  var positions = new Int16Array(bytes(data.positions).buffer), colors = bytes(data.colors);
  document.querySelectorAll("#" + id + ":not([data-live])").forEach(function (root) {
    root.setAttribute("data-live", "");
    var view = root.querySelector(".view"), canvas = view.querySelector("canvas"), context = canvas.getContext("2d");
    var width = canvas.width, height = canvas.height, image = context.createImageData(width, height);
    var depths = new Float32Array(width * height), focal = width * 0.8, asked = false, yaw, pitch, zoom;
    function reset() { yaw = data.yaw; pitch = data.pitch; zoom = 1; draw(); }
    function draw() { if (!asked) { asked = true; requestAnimationFrame(paint); } }
    function paint() {
      asked = false;
      var a = yaw * Math.PI / 180, b = pitch * Math.PI / 180;
      var cy = Math.cos(a), sy = Math.sin(a), cp = Math.cos(b), sp = Math.sin(b), distance = data.distance * zoom;
      var out = image.data;
      depths.fill(Infinity);
      for (var k = 0; k < out.length; k += 4) { out[k] = data.ground[0]; out[k + 1] = data.ground[1]; out[k + 2] = data.ground[2]; out[k + 3] = 255; }
      for (var i = 0; i < positions.length; i += 3) {
        var x = positions[i] / 100, y = positions[i + 1] / 100, z = positions[i + 2] / 100;
        var ex = cy * x + sy * z, ey = sp * sy * x + cp * y - sp * cy * z, ez = -cp * sy * x + sp * y + cp * cy * z + distance;
        if (ez < 0.2) continue;
        var reach = Math.min(data.largest, Math.max(1, data.size * (z + data.depth) * focal / ez)), side = Math.round(reach);
        var u0 = Math.round(width / 2 + focal * ex / ez - reach / 2), v0 = Math.round(height / 2 + focal * ey / ez - reach / 2);
        for (var v = Math.max(0, v0); v < Math.min(height, v0 + side); v++) {
          for (var u = Math.max(0, u0); u < Math.min(width, u0 + side); u++) {
            var at = v * width + u;
            if (ez >= depths[at]) continue;
            depths[at] = ez;
            out[at * 4] = colors[i]; out[at * 4 + 1] = colors[i + 1]; out[at * 4 + 2] = colors[i + 2];
          }
        }
      }
      context.putImageData(image, 0, 0);
    }
    view.querySelector("img").style.display = "none";
    canvas.style.display = "block";
    var from = null;
    canvas.addEventListener("pointerdown", function (e) { from = [e.clientX, e.clientY]; canvas.setPointerCapture(e.pointerId); view.style.cursor = "grabbing"; });
    canvas.addEventListener("pointermove", function (e) {
      if (!from) return;
      yaw -= (e.clientX - from[0]) * 0.3;
      pitch = Math.min(89, Math.max(-30, pitch + (e.clientY - from[1]) * 0.3));
      from = [e.clientX, e.clientY];
      draw();
    });
    ["pointerup", "pointercancel"].forEach(function (name) { canvas.addEventListener(name, function () { from = null; view.style.cursor = "grab"; }); });
    canvas.addEventListener("wheel", function (e) { e.preventDefault(); zoom = Math.min(4, Math.max(0.15, zoom * Math.exp(e.deltaY * 0.001))); draw(); }, { passive: false });
    canvas.addEventListener("dblclick", reset);
    reset();
  });
}`;
