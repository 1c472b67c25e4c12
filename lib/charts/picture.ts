/**
 * A finished raster picture: it shows itself in a notebook and writes itself to a file.
 *
 * @module
 */
import { writeAtomic } from "../base/files.ts";
import { encodeRgbJpeg, encodeRgbPng, type RgbImage } from "../data/image.ts";
import { type Displayable, escapeHtml, JUPYTER_DISPLAY, type MimeBundle, pngDataUri } from "./display.ts";

/** How a picture is encoded. */
export interface PictureEncoding {
  /** 256 dithered colours: a third of the bytes, for notebooks that are committed. @default false */
  readonly palette?: boolean;
}

/**
 * An RGB raster with a title.
 *
 * @example
 * ```ts ignore
 * const picture = new Picture(image, "A street");
 * await picture.writePng("street.png"); // or, in a notebook, end a cell with `picture`
 * ```
 */
export class Picture implements Displayable {
  /** The pixels. */
  readonly image: RgbImage;
  /** What the picture shows, in words: its plain-text form and the alternative text of its HTML. */
  readonly title: string;

  /** Names an image. */
  constructor(image: RgbImage, title: string) {
    this.image = image;
    this.title = title;
  }

  /** Width, px. */
  get width(): number {
    return this.image.width;
  }

  /** Height, px. */
  get height(): number {
    return this.image.height;
  }

  /** The picture as the bytes of a PNG file. */
  async png(encoding: PictureEncoding = {}): Promise<Uint8Array> {
    return await encodeRgbPng(this.image, { compressionLevel: 9, ...encoding });
  }

  /** Writes a PNG file. @throws {CyclopsError} When it cannot be written. */
  async writePng(path: string, encoding: PictureEncoding = {}): Promise<void> {
    await writeAtomic(path, await this.png(encoding));
  }

  /** An `<img>` element that carries the picture in itself and shrinks with the page. */
  async html(encoding: PictureEncoding = {}): Promise<string> {
    const source = pngDataUri(await this.png(encoding));
    return `<img src="${source}" width="${this.width}" height="${this.height}" alt="${
      escapeHtml(this.title)
    }" style="max-width:100%;height:auto">`;
  }

  /** PNG and plain text, for a notebook; large pictures come as JPEG, to keep the notebook small. */
  async [JUPYTER_DISPLAY](): Promise<MimeBundle> {
    const png = await this.png();
    const image: MimeBundle = png.length > LARGE
      ? { "image/jpeg": (await encodeRgbJpeg(this.image)).toBase64() }
      : { "image/png": png.toBase64() };
    return { ...image, "text/plain": `${this.title} (${this.width}×${this.height} px)` };
  }
}

/** Bytes of a PNG beyond which it is a photograph rather than a drawing. */
const LARGE = 50_000;
