/**
 * Raster pictures, and images laid out in rows and columns with titles, captions and color bars.
 *
 * @module
 */
import { writeAtomic } from "../base/files.ts";
import { encodeRgbJpeg, encodeRgbPng, type PngOptions, type RgbImage } from "../data/image.ts";
import { resizeRgb } from "../data/resize.ts";
import { type ColorScale, mapToRgb, positionOn } from "./colormap.ts";
import { type Displayable, JUPYTER_DISPLAY, type MimeBundle } from "./display.ts";
import { drawOver, escapeHtml, SOFT_INK, svgText, type TextStyle, textWidth, wrapText } from "./svg.ts";

/** Bytes of a PNG beyond which a notebook gets a JPEG. */
const LARGE = 50_000;

/**
 * An RGB image with a title and, over it, text and lines. It renders in a notebook and saves as PNG.
 *
 * @example
 * ```ts ignore
 * const picture = new Picture(image, "A street");
 * await picture.writePng("street.png"); // or, in a notebook, end a cell with `picture`
 * ```
 */
export class Picture implements Displayable {
  /**
   * Names an image.
   *
   * @param image The pixels, without `drawing`.
   * @param title What the picture shows: its plain-text form and its alternative text.
   * @param drawing SVG elements over the image, in px of it.
   */
  constructor(readonly image: RgbImage, readonly title: string, readonly drawing = "") {}

  /** px */
  get width(): number {
    return this.image.width;
  }

  /** px */
  get height(): number {
    return this.image.height;
  }

  /** The pixels with the drawing on them. */
  async render(): Promise<RgbImage> {
    return this.drawing ? await drawOver(this.image, this.drawing) : this.image;
  }

  /** The bytes of a PNG file. @param encoding `palette`: 256 dithered colors, a third of the bytes. */
  async png(encoding: PngOptions = {}): Promise<Uint8Array> {
    return await encodeRgbPng(await this.render(), { compressionLevel: 9, ...encoding });
  }

  /** Writes a PNG file. @throws {CyclopsError} When it cannot be written. */
  async writePng(path: string): Promise<void> {
    await writeAtomic(path, await this.png());
  }

  /** An `<img>` element that contains the picture and shrinks with the page. */
  async html(): Promise<string> {
    return `<img src="${pngDataUri(await this.png())}" width="${this.width}" height="${this.height}" ` +
      `alt="${escapeHtml(this.title)}" style="max-width:100%;height:auto">`;
  }

  /** PNG (JPEG where that would be large) and plain text. */
  async [JUPYTER_DISPLAY](): Promise<MimeBundle> {
    const image = await this.render();
    const png = await encodeRgbPng(image, { compressionLevel: 9 });
    return {
      ...(png.length > LARGE
        ? { "image/jpeg": (await encodeRgbJpeg(image)).toBase64() }
        : { "image/png": png.toBase64() }),
      "text/plain": `${this.title} (${this.width}×${this.height} px)`,
    };
  }
}

/** A PNG's bytes as a data URI. */
export function pngDataUri(png: Uint8Array): string {
  return `data:image/png;base64,${png.toBase64()}`;
}

/** An image of a grid. */
export interface GridCell {
  readonly image: RgbImage;
  readonly caption?: string;
  /** SVG elements over the image, in px of it before it is resized. */
  readonly drawing?: string;
}

/** Ticks of a color bar: values in the scale's unit, labels with their own. */
export type Ticks = readonly { readonly value: number; readonly label: string }[];

/** A color bar under one or more columns of a grid. */
export interface ColorBar {
  readonly scale: ColorScale;
  readonly label: string;
  readonly ticks: Ticks;
  /** Ticks above the bar, in another unit. */
  readonly upperTicks?: Ticks;
  /** First column that it spans. @default 0 */
  readonly column?: number;
  /** How many columns it spans. @default all to the right */
  readonly columns?: number;
}

/** A row of a grid. */
export interface GridRow {
  /** From left to right; `undefined` leaves a place empty. */
  readonly cells: readonly (GridCell | undefined)[];
  /** Bold, below the row on the left. */
  readonly name?: string;
  /** Below the row on the right, e.g. metrics. */
  readonly note?: string;
}

/** Options of {@linkcode grid}. */
export interface GridOptions {
  readonly title?: string;
  /** Alternative text. @default the title, the headings or the captions */
  readonly alt?: string;
  readonly headings?: readonly string[];
  readonly bars?: readonly ColorBar[];
  /** A paragraph at the bottom. */
  readonly footnote?: string;
  /** Width of the picture, px. @default 960, less where the images are small */
  readonly width?: number;
}

const MARGIN = 12, GAP = 8, BAR = 12;
const NOTE: TextStyle = { size: 12, color: SOFT_INK };
const HEADING: TextStyle = { bold: true };

/**
 * Lays images out in rows and columns. All columns are equally wide; a row is as high as its first image requires.
 *
 * @throws {RangeError} When there is no image.
 */
export function grid(rows: readonly GridRow[], options: GridOptions = {}): Picture {
  const columns = Math.max(0, ...rows.map(({ cells }) => cells.length));
  const images = rows.flatMap(({ cells }) => cells.flatMap((cell) => cell ? [cell.image] : []));
  if (images.length === 0) {
    throw new RangeError("Cannot lay out a picture: found no image, expected one or more");
  }
  const natural = columns * Math.max(...images.map((image) => image.width)) + 2 * MARGIN +
    (columns - 1) * GAP;
  const width = Math.round(options.width ?? Math.min(960, Math.max(440, natural)));
  const inner = width - 2 * MARGIN;
  const cellWidth = Math.floor((inner - (columns - 1) * GAP) / columns);
  const columnX = (column: number) => MARGIN + column * (cellWidth + GAP);
  const placed: Placed[] = [], drawing: string[] = [];
  /** Wrapped text from `top` down; returns its height. */
  const write = (text: string | undefined, x: number, top: number, wide: number, style: TextStyle = {}) => {
    const { size = 13, bold } = style, line = Math.round(1.4 * size);
    const lines = text ? wrapText(text, size, wide, bold) : [];
    lines.forEach((part, i) => drawing.push(svgText(part, x, top + i * line + size, style)));
    return lines.length * line;
  };

  let y = MARGIN;
  if (options.title) y += write(options.title, MARGIN, y, inner, { size: 16, bold: true }) + 6;
  if (options.headings?.length) {
    y += 4 + Math.max(...options.headings.map((text, c) => write(text, columnX(c), y, cellWidth, HEADING)));
  }
  rows.forEach(({ cells, name, note }, r) => {
    if (r > 0) y += GAP;
    const first = cells.find((cell) => cell !== undefined)?.image;
    const height = first ? Math.max(1, Math.round(cellWidth * first.height / first.width)) : 0;
    cells.forEach((cell, c) => {
      if (!cell) return;
      const { image } = cell, x = columnX(c);
      placed.push({ image: resizeRgb(image, cellWidth, height), x, y });
      if (cell.drawing) {
        const scale = `${cellWidth / image.width} ${height / image.height}`;
        drawing.push(`<g transform="translate(${x} ${y}) scale(${scale})">${cell.drawing}</g>`);
      }
    });
    y += height;
    const top = y + 3;
    const captions = Math.max(
      ...cells.map((cell, c) => write(cell?.caption, columnX(c), top, cellWidth, NOTE)),
    );
    const below = top + captions, names = write(name, MARGIN, below, inner, HEADING);
    const beside = name && note &&
      textWidth(name, 13, true) + GAP * 2 + textWidth(note, 12) <= inner;
    if (beside) drawing.push(svgText(note, width - MARGIN, below + 12, { ...NOTE, anchor: "end" }));
    const text = captions + names + (beside ? 0 : write(note, MARGIN, below + names, inner, NOTE));
    if (text) y += text + 6;
  });
  if (options.bars?.length) {
    const upper = options.bars.some(({ upperTicks }) => upperTicks?.length) ? 18 : 0;
    for (const bar of options.bars) {
      const column = bar.column ?? 0, span = bar.columns ?? columns - column;
      drawBar(bar, columnX(column), y + 10, span * (cellWidth + GAP) - GAP, placed, drawing);
    }
    y += 10 + 18 + upper + BAR + 18;
  }
  if (options.footnote) y += 8 + write(options.footnote, MARGIN, y + 8, inner, NOTE);

  const height = y + MARGIN;
  const data = new Uint8Array(width * height * 3).fill(255);
  for (const { image, x, y } of placed) {
    for (let v = 0; v < image.height; v++) {
      const row = image.data.subarray(v * image.width * 3, (v + 1) * image.width * 3);
      data.set(row, ((y + v) * width + x) * 3);
    }
  }
  const captions = rows.flatMap(({ cells, name }) => [...cells.map((cell) => cell?.caption), name]);
  const alt = options.alt ?? options.title ?? (options.headings ?? captions).filter(Boolean).join(", ");
  return new Picture({ width, height, data }, alt, drawing.join(""));
}

/** An image and where its top left corner stands, px. */
interface Placed {
  readonly image: RgbImage;
  readonly x: number;
  readonly y: number;
}

/** Label, upper ticks, bar, ticks, from top to bottom; tick labels that would touch the one before are left out. */
function drawBar(
  bar: ColorBar,
  x: number,
  y: number,
  width: number,
  placed: Placed[],
  drawing: string[],
): void {
  const { min, max, log } = bar.scale;
  drawing.push(svgText(bar.label, x, y + 12, { size: 12 }));
  const top = y + 18 + (bar.upperTicks?.length ? 18 : 0);
  const values = Float32Array.from({ length: width * BAR }, (_, i) => {
    const t = (i % width + 0.5) / width;
    return log ? min * (max / min) ** t : min + (max - min) * t;
  });
  placed.push({ image: mapToRgb({ width, height: BAR, data: values }, bar.scale), x, y: top });
  const addTicks = (ticks: Ticks = [], tickY: number, labelY: number) => {
    let end = -Infinity;
    for (const { value, label } of ticks.toSorted((a, b) => a.value - b.value)) {
      const t = positionOn(bar.scale, value);
      if (!(t >= -1e-6 && t <= 1 + 1e-6)) continue;
      const at = x + Math.round(t * (width - 1)), wide = textWidth(label, 12);
      const start = Math.min(Math.max(at - wide / 2, x), x + width - wide);
      if (start < end + 8) continue;
      end = start + wide;
      drawing.push(`<rect x="${at}" y="${tickY}" width="1" height="4" fill="${SOFT_INK}"/>`);
      drawing.push(svgText(label, start + wide / 2, labelY, { ...NOTE, anchor: "middle" }));
    }
  };
  addTicks(bar.upperTicks, top - 4, top - 7);
  addTicks(bar.ticks, top + BAR, top + BAR + 15);
}
