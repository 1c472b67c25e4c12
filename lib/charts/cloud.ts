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
import { centerPoints, paintPoints, turnPoints } from "./turn.ts";

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
    paintPoints(centerPoints(this), image, { ...view, zoom: 1 });
    const drawing = svgText(this.title, 14, 26, { size: 14, bold: true, color: "#eceef2" }) +
      svgText(`${this.count.toLocaleString("en-US")} points`, size.width - 14, 26, {
        size: 12,
        color: "#a0a6b2",
        anchor: "end",
      });
    return new Picture(image, this.title, drawing);
  }

  async writePly(path: string): Promise<void> {
    await writeAtomic(path, this.ply());
  }

  /** A view to rotate with the pointer: self-contained HTML. */
  async html(): Promise<string> {
    const { positions, ...points } = centerPoints(this);
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
<canvas tabindex="0" role="img" aria-label="${title}" width="${SIZE.width}" height="${SIZE.height}" style="display:none;width:100%;border-radius:4px"></canvas>
</div>
<div style="opacity:.7">drag or arrow keys to rotate · scroll to zoom · double-click to reset</div>
<script>(${SCRIPT})(${JSON.stringify(id)},${JSON.stringify(data)},${paintPoints},${turnPoints})</script>
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

/** Runs in the browser. */
const SCRIPT = `function (id, data, paint, turn) {
  const bytes = (text) => Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
  data.positions = Float32Array.from(new Int16Array(bytes(data.positions).buffer), (value) => value / 100);
  data.colors = bytes(data.colors);
  for (const root of document.querySelectorAll("#" + id + ":not([data-live])")) {
    root.setAttribute("data-live", "");
    const view = root.querySelector(".view"), canvas = view.querySelector("canvas");
    view.querySelector("img").style.display = "none";
    canvas.style.display = "block";
    turn(canvas, data, { yaw: data.yaw, pitch: data.pitch, zoom: 1 }, paint);
  }
}`;
