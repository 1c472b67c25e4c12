/**
 * Point clouds: a photograph and its depth as colored points in space.
 *
 * @module
 */
import { writeAtomic } from "../base/files.ts";
import { hash32 } from "../base/random.ts";
import type { FloatMap, RgbImage } from "../data/image.ts";
import { type CloudOptions, photoPoints, Points } from "../data/points.ts";
import type { ImageSize, StereoCamera } from "../geometry/camera.ts";
import { type Displayable, JUPYTER_DISPLAY, type MimeBundle } from "./display.ts";
import { Picture, pngDataUri } from "./picture.ts";
import { escapeHtml, svgText } from "./svg.ts";

/** Colored points in the camera's axes that show themselves. */
export class PointCloud extends Points implements Displayable {
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

  async writePly(path: string): Promise<void> {
    await writeAtomic(path, this.ply());
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
  options: CloudOptions & { readonly title?: string } = {},
): PointCloud {
  const { title, maxDepth = 60, points = 16_000 } = options;
  const { positions, colors, spacing } = photoPoints(image, disparity, camera, { points, maxDepth });
  return new PointCloud(positions, colors, title, spacing);
}

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
