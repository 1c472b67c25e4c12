/**
 * The focal length of a photograph from its EXIF data.
 *
 * @module
 */
import readExif from "exif-reader";
import type { ImageSize } from "../geometry/camera.ts";

/** Diagonal of 35 mm film, mm, to which the equivalent focal length refers (CIPA DCG-001). */
const FILM_DIAGONAL = Math.hypot(36, 24);

/** Millimeters of the units in which the sensor's resolution is given: 2 inch, 3 cm, 4 mm, 5 µm. */
const UNITS: Readonly<Record<number, number>> = { 2: 25.4, 3: 10, 4: 1, 5: 1e-3 };

/**
 * The focal length, where the file tells it.
 *
 * @param exif The EXIF block, as sharp returns it.
 * @param size The image, uncropped, px; it may have been resized or rotated since.
 * @returns px of that image; `undefined` where it is not told, or not plausible.
 */
export function exifFocal(exif: Uint8Array | undefined, { width, height }: ImageSize): number | undefined {
  if (!exif) return undefined;
  let photo: Readonly<Record<string, unknown>>;
  try {
    photo = readExif(exif as Parameters<typeof readExif>[0]).Photo ?? {};
  } catch {
    return undefined; // damaged EXIF in a sound image
  }
  const positive = (key: string) => {
    const value = photo[key];
    return typeof value === "number" && value > 0 && value < Infinity ? value : undefined;
  };
  const film = positive("FocalLengthIn35mmFilm");
  const lens = positive("FocalLength"), density = positive("FocalPlaneXResolution");
  const columns = positive("PixelXDimension"), rows = positive("PixelYDimension");
  const unit = UNITS[positive("FocalPlaneResolutionUnit") ?? 2];
  const focal = film
    ? film / FILM_DIAGONAL * Math.hypot(width, height)
    : lens && density && columns && rows && unit
    ? lens * density / unit * Math.max(width, height) / Math.max(columns, rows)
    : undefined;
  // From a fisheye to a telescope.
  return focal && focal > 0.1 * width && focal < 100 * width ? focal : undefined;
}
