/**
 * Resizing in memory: images and float maps, the average of the covered pixels when they shrink, bilinear with
 * half-pixel centers when they grow.
 *
 * @module
 */
import type { ImageSize } from "../geometry/camera.ts";
import type { FloatMap, ImageOf, RgbImage } from "./image.ts";

/** Resizes an image to `width` × `height` px; returns the same object where it has that size already. */
export function resizeRgb(image: RgbImage, width: number, height: number): RgbImage {
  if (width === image.width && height === image.height) return image;
  const data = Uint8Array.from(resizePlanes(image.data, 3, image, { width, height }), Math.round);
  return { width, height, data };
}

/**
 * Resizes a dense map, e.g. disparities as fractions of the width, which stay valid at any size. A NaN spreads to every
 * pixel it touches.
 *
 * @throws {RangeError} When the data do not fit the map's size.
 */
export function resizeMap(map: FloatMap, to: ImageSize): ImageOf<Float32Array<ArrayBuffer>> {
  checkMap(map);
  return { width: to.width, height: to.height, data: resizePlanes(map.data, 1, map, to) };
}

/** Throws unless a map's data fit its size. */
export function checkMap({ width, height, data }: FloatMap): void {
  if (data.length === width * height) return;
  throw new RangeError(
    `Cannot use a map of ${width}×${height} px: found ${data.length} values, expected ${width * height}`,
  );
}

/** Rows first, then columns; `data` is [height, width, channels]. */
function resizePlanes(
  data: ArrayLike<number>,
  channels: number,
  from: ImageSize,
  to: ImageSize,
): Float32Array<ArrayBuffer> {
  const rowIn = from.width * channels, rowOut = to.width * channels;
  const rows = new Float32Array(rowOut * from.height), out = new Float32Array(rowOut * to.height);
  const { start, source, weight } = taps(from.width, to.width), ys = taps(from.height, to.height);
  for (let u = 0; u < to.width; u++) {
    const first = start[u], count = start[u + 1] - first;
    for (let c = 0; c < channels; c++) {
      const at = u * channels + c;
      if (count <= 2) {
        // When images grow, all pixels.
        const a = source[first] * channels + c, b = source[first + count - 1] * channels + c;
        const wa = weight[first], wb = count === 2 ? weight[first + 1] : 0;
        for (let v = 0; v < from.height; v++) {
          rows[v * rowOut + at] = wa * data[v * rowIn + a] + wb * data[v * rowIn + b];
        }
        continue;
      }
      for (let v = 0; v < from.height; v++) {
        let sum = 0;
        for (let k = first; k < first + count; k++) {
          sum += weight[k] * data[v * rowIn + source[k] * channels + c];
        }
        rows[v * rowOut + at] = sum;
      }
    }
  }
  for (let v = 0; v < to.height; v++) {
    const end = ys.start[v + 1], row = out.subarray(v * rowOut, (v + 1) * rowOut);
    const source = (k: number) => rows.subarray(ys.source[k] * rowOut, (ys.source[k] + 1) * rowOut);
    // Two at a time, which are almost all when images grow.
    for (let k = ys.start[v]; k < end; k += 2) {
      const both = k + 1 < end, a = source(k), b = both ? source(k + 1) : a;
      const wa = ys.weight[k], wb = both ? ys.weight[k + 1] : 0;
      for (let i = 0; i < rowOut; i++) row[i] += wa * a[i] + wb * b[i];
    }
  }
  return out;
}

/** The triangle filter: target pixel i is the sum of entries start[i] to start[i + 1] of `source` times `weight`. */
function taps(source: number, target: number) {
  const scale = source / target, reach = Math.max(1, scale);
  const start = new Int32Array(target + 1), from: number[] = [], weight: number[] = [];
  for (let i = 0; i < target; i++) {
    const center = (i + 0.5) * scale - 0.5;
    const first = Math.max(0, Math.ceil(center - reach));
    const last = Math.min(source - 1, Math.floor(center + reach));
    const share = (k: number) => Math.max(0, 1 - Math.abs(k - center) / reach);
    let total = 0;
    for (let k = first; k <= last; k++) total += share(k);
    for (let k = first; k <= last; k++) if (share(k) > 0) from.push(k), weight.push(share(k) / total);
    start[i + 1] = from.length;
  }
  return { start, source: Int32Array.from(from), weight: Float64Array.from(weight) };
}
