/**
 * A picture that shows the depth under the pointer.
 *
 * @module
 */
import { hash32 } from "../base/random.ts";
import { encodeRgbJpeg, type FloatMap, type RgbImage } from "../data/image.ts";
import { resizeMap, resizeRgb } from "../data/resize.ts";
import { depthFromDisparity, type StereoCamera } from "../geometry/camera.ts";
import { disparityScale, mapToRgb, percentile } from "./colormap.ts";
import { disparityBar } from "./depth.ts";
import { type Displayable, JUPYTER_DISPLAY, type MimeBundle } from "./display.ts";
import { grid, Picture, pngDataUri } from "./picture.ts";
import { escapeHtml, svgText, textWidth } from "./svg.ts";

/** What a {@linkcode DepthProbe} shows. */
export interface DepthProbeInput {
  readonly image: RgbImage;
  /** Fraction of the width, ≥ 0, of any size. */
  readonly disparity: FloatMap;
  readonly camera: StereoCamera;
  readonly title?: string;
  /** Width of each of the two images, px. @default 440 */
  readonly width?: number;
}

/** A disparity is stored in the red and green of a pixel, as an integer below this. */
const LEVELS = 4096;

/**
 * Photograph and disparity side by side; pointing at either shows the depth there in meters. Without scripts, a static
 * version shows the depth at a few points.
 */
export class DepthProbe implements Displayable {
  readonly #input: Required<Pick<DepthProbeInput, "image" | "disparity" | "camera" | "title">>;
  readonly #max: number;

  /** Resizes image and disparity to the size shown. */
  constructor(input: DepthProbeInput) {
    const width = input.width ?? 440;
    const height = Math.max(1, Math.round(width * input.image.height / input.image.width));
    const size = { width, height };
    this.#input = {
      image: resizeRgb(input.image, width, height),
      disparity: resizeMap(input.disparity, size),
      camera: input.camera,
      title: input.title ?? "Depth under the pointer",
    };
    this.#max = percentile([this.#input.disparity], 0.98);
  }

  /** Depth of a pixel of the shown image, m. @param x px. @param y px. */
  depthAt(x: number, y: number): number {
    const { disparity, camera } = this.#input;
    return depthFromDisparity(disparity.data[Math.floor(y) * disparity.width + Math.floor(x)], camera);
  }

  /** The static version: both images with the depth at a few points, and a color bar. */
  picture(): Picture {
    const { image, disparity, camera, title } = this.#input;
    const { width, height } = image;
    const scale = disparityScale(this.#max);
    const drawing = MARKED.map(([fx, fy]) => this.#mark(Math.floor(fx * width), Math.floor(fy * height)))
      .join("");
    const cells = [image, mapToRgb(disparity, scale)].map((layer) => ({ image: layer, drawing }));
    return grid([{ cells }], {
      title,
      headings: ["image", "predicted disparity"],
      bars: [{ ...disparityBar(scale, camera.imageSize.width, camera), column: 1 }],
    });
  }

  /** A cross-hair with its depth, as SVG. */
  #mark(x: number, y: number): string {
    const label = formatDepth(this.depthAt(x, y)), wide = Math.ceil(textWidth(label, 11, true)) + 8;
    const left = Math.min(this.#input.image.width - wide, x + 7), top = Math.max(0, y - 8);
    const cross = (reach: number, pen: number, color: string) =>
      `<path d="M${x - reach},${y + 0.5}h${2 * reach}M${x + 0.5},${y - reach}v${
        2 * reach
      }" stroke="${color}" ` +
      `stroke-width="${pen}" stroke-linecap="round"/>`;
    return `<rect x="${left}" y="${top}" width="${wide}" height="16" fill="#14161c"/>` +
      svgText(label, left + 4, top + 12, { size: 11, bold: true, color: "white" }) +
      cross(5, 3, "#14161c") + cross(4.5, 1.2, "white");
  }

  /** The interactive version: self-contained HTML. */
  async html(): Promise<string> {
    const { image, disparity, camera, title } = this.#input;
    const { width, height } = image;
    const top = disparity.data.reduce((a, b) => Math.max(a, b), 1e-9);
    const scale = disparityScale(this.#max);
    const [photo, colored, codes] = await Promise.all([
      encodeRgbJpeg(image),
      new Picture(mapToRgb(disparity, scale), title).png({ palette: true }),
      new Picture(packValues(disparity, top), title).png(),
    ]);
    const id = `probe-${hash32(photo.toBase64() + codes.toBase64()).toString(16)}`;
    const data = {
      values: pngDataUri(codes),
      top: top / (LEVELS - 1),
      meters: depthFromDisparity(1, camera),
      px: camera.imageSize.width,
      width,
      height,
    };
    const view = (source: string, alt: string) =>
      `<div class="view" style="position:relative;flex:1 1 ${
        Math.min(width, 320)
      }px;max-width:${width}px;line-height:0;cursor:crosshair">` +
      `<img src="${source}" alt="${alt}" draggable="false" style="width:100%;height:auto;border-radius:3px">` +
      `<div class="mark" style="display:none;position:absolute;width:13px;height:13px;margin:-7px 0 0 -7px;` +
      `border:2px solid #fff;border-radius:50%;box-shadow:0 0 0 1px #000,inset 0 0 0 1px #000;pointer-events:none"></div></div>`;
    return `<div id="${id}" style="max-width:${
      2 * width + 12
    }px;font:14px/1.5 system-ui,-apple-system,Segoe UI,Roboto,Arial,sans-serif">
<div style="font-weight:600;margin:0 0 .4em">${escapeHtml(title)}</div>
<div style="display:flex;flex-wrap:wrap;gap:8px">${
      view(`data:image/jpeg;base64,${photo.toBase64()}`, "photograph")
    }${view(pngDataUri(colored), "predicted disparity, near is bright")}</div>
<div class="say" style="margin:.4em 0 0;font-variant-numeric:tabular-nums;min-height:1.5em;opacity:.85">Point at either image to read its depth.</div>
<script>(${SCRIPT})(${JSON.stringify(id)},${JSON.stringify(data)})</script>
</div>`;
  }

  /** The interactive version, the static one for viewers without scripts, and plain text. */
  async [JUPYTER_DISPLAY](): Promise<MimeBundle> {
    return {
      "text/html": await this.html(),
      "image/png": (await this.picture().png({ palette: true })).toBase64(),
      "text/plain": `${this.#input.title} (interactive)`,
    };
  }
}

/** Points of the static version, fractions of width and height: road ahead, both sides, the middle. */
const MARKED = [[0.5, 0.9], [0.5, 0.66], [0.14, 0.6], [0.84, 0.6], [0.3, 0.45], [0.68, 0.42]] as const;

/** "12.3 m"; farther than a car's sensors reach: "> 250 m". */
function formatDepth(depth: number): string {
  if (!(depth <= 250)) return "> 250 m";
  return `${depth < 100 ? depth.toFixed(1) : depth.toFixed(0)} m`;
}

/** The disparity in the 12 lower bits of red and green. */
function packValues({ width, height, data }: FloatMap, top: number): RgbImage {
  const pixels = new Uint8Array(data.length * 3);
  data.forEach((disparity, i) => {
    const level = Math.min(LEVELS - 1, Math.max(0, Math.round(disparity / top * (LEVELS - 1)))) || 0;
    pixels[i * 3] = level >> 8;
    pixels[i * 3 + 1] = level & 255;
  });
  return { width, height, data: pixels };
}

/** Runs in the browser. */
const SCRIPT = `function (id, data) {
  document.querySelectorAll("#" + id + ":not([data-live])").forEach(function (root) {
    root.setAttribute("data-live", "");
    var say = root.querySelector(".say"), views = root.querySelectorAll(".view"), values;
    var picture = new Image();
    picture.onload = function () {
      var canvas = document.createElement("canvas");
      canvas.width = data.width; canvas.height = data.height;
      var context = canvas.getContext("2d", { willReadFrequently: true });
      context.drawImage(picture, 0, 0);
      values = context.getImageData(0, 0, data.width, data.height).data;
    };
    picture.src = data.values;
    function move(event) {
      var box = event.currentTarget.getBoundingClientRect();
      var fx = (event.clientX - box.left) / box.width, fy = (event.clientY - box.top) / box.height;
      if (!values || fx < 0 || fy < 0 || fx >= 1 || fy >= 1) return;
      var x = Math.floor(fx * data.width), y = Math.floor(fy * data.height), at = (y * data.width + x) * 4;
      var disparity = (values[at] * 256 + values[at + 1]) * data.top;
      var depth = disparity > 0 ? data.meters / disparity : Infinity;
      var text = "x " + x + ", y " + y + ": " + (depth <= 250 ? depth.toFixed(depth < 100 ? 1 : 0) + " m" : "> 250 m") +
        " (disparity " + (disparity * data.px).toFixed(1) + " px)";
      say.textContent = text;
      views.forEach(function (view) {
        var mark = view.querySelector(".mark");
        mark.style.display = "block"; mark.style.left = fx * 100 + "%"; mark.style.top = fy * 100 + "%";
      });
    }
    views.forEach(function (view) { view.addEventListener("pointermove", move); view.addEventListener("pointerdown", move); });
  });
}`;
