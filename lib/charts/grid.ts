/**
 * Images laid out in rows and columns with titles, captions and colour bars.
 *
 * @module
 */
import type { RgbImage } from "../data/image.ts";
import { Canvas, INK, resizeRgb } from "./draw.ts";
import { colorAt, type ColorScale, positionOn } from "./colormap.ts";
import { textWidth, wrapText } from "./font.ts";
import { Picture } from "./picture.ts";

/** An image of a grid. */
export interface GridCell {
  /** Resized to its column's width. */
  readonly image: RgbImage;
  /** A line or more below the image. */
  readonly caption?: string;
}

/** A tick on one side of a colour bar. */
export interface BarTick {
  /** In the scale's units. */
  readonly value: number;
  /** What stands at the tick, with its unit. */
  readonly label: string;
}

/** A colour bar under one or more columns of a grid. */
export interface ColorBar {
  /** The colours and what they stand for. */
  readonly scale: ColorScale;
  /** What the colours mean, before the bar's ticks. */
  readonly label: string;
  /** Ticks below the bar. */
  readonly ticks: readonly BarTick[];
  /** Ticks above the bar, in another unit. */
  readonly upperTicks?: readonly BarTick[];
  /** First column it stands under. @default 0 */
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
  /** Above everything, bold. */
  readonly title?: string;
  /** One heading a column. */
  readonly headings?: readonly string[];
  /** Below the last row. */
  readonly bars?: readonly ColorBar[];
  /** A paragraph at the foot. */
  readonly footnote?: string;
  /** Width of the whole, px; text grows with it beyond 960. @default 960, less where the images are small */
  readonly width?: number;
}

/**
 * Lays images out in rows and columns. All columns are equally wide; a row is as high as its first image asks.
 *
 * @throws {RangeError} When there is no image.
 */
export function grid(rows: readonly GridRow[], options: GridOptions = {}): Picture {
  const columns = Math.max(0, ...rows.map((row) => row.cells.length));
  const images = rows.flatMap((row) => row.cells.flatMap((cell) => cell ? [cell.image] : []));
  if (images.length === 0) throw new RangeError("Cannot lay out a picture: no image was given");
  const natural = columns * Math.max(...images.map((i) => i.width));
  const width = Math.round(options.width ?? Math.min(960, Math.max(440, natural + 24 + (columns - 1) * 8)));
  const s = Math.max(1, width / 960);
  const px = (value: number) => Math.round(value * s);
  const margin = px(12), gap = px(8);
  const size = px(13), small = px(12), line = px(18);
  const cellWidth = Math.floor((width - 2 * margin - (columns - 1) * gap) / columns);
  const columnX = (column: number) => margin + column * (cellWidth + gap);
  const inner = width - 2 * margin;

  const titleLines = options.title ? wrapText(options.title, px(16), inner, "bold") : [];
  const footLines = options.footnote ? wrapText(options.footnote, small, inner) : [];
  const headings = options.headings?.length
    ? options.headings.map((h) => wrapText(h, size, cellWidth, "bold"))
    : [];
  const headingLines = Math.max(0, ...headings.map((h) => h.length));
  const plans = rows.map((row) => {
    const first = row.cells.find((cell) => cell !== undefined);
    const height = first ? Math.max(1, Math.round(cellWidth * first.image.height / first.image.width)) : 0;
    const captions = row.cells.map((cell) => cell?.caption ? wrapText(cell.caption, small, cellWidth) : []);
    const nameWidth = row.name ? textWidth(row.name, size, "bold") + px(16) : 0;
    const beside = row.note !== undefined && nameWidth + textWidth(row.note, small) <= inner;
    const notes = row.note ? (beside ? [row.note] : wrapText(row.note, small, inner)) : [];
    const names = row.name ? wrapText(row.name, size, inner, "bold") : [];
    const nameLines = beside || !notes.length
      ? Math.max(names.length, notes.length)
      : names.length + notes.length;
    return {
      height,
      captions,
      captionLines: Math.max(0, ...captions.map((c) => c.length)),
      names,
      notes,
      nameLines,
      beside,
    };
  });
  const barHeight = options.bars?.length
    ? px(10) + (options.bars.some((b) => b.upperTicks?.length) ? px(18) : 0) + px(12) + px(18) + px(18)
    : 0;
  const height = margin + (titleLines.length ? titleLines.length * px(22) + px(6) : 0) +
    (headingLines ? headingLines * line + px(4) : 0) +
    plans.reduce(
      (sum, p) =>
        sum + p.height + (p.captionLines + p.nameLines) * line + (p.captionLines + p.nameLines ? px(8) : 0),
      0,
    ) +
    gap * (rows.length - 1) + barHeight + (footLines.length ? footLines.length * line + px(8) : 0) + margin;

  const canvas = new Canvas(width, height);
  let y = margin;
  for (const text of titleLines) {
    canvas.text(text, margin, y + px(15), { size: px(16), weight: "bold" });
    y += px(22);
  }
  if (titleLines.length) y += px(6);
  if (headingLines) {
    headings.forEach((lines, column) =>
      lines.forEach((text, k) =>
        canvas.text(text, columnX(column), y + k * line + px(13), { size, weight: "bold" })
      )
    );
    y += headingLines * line + px(4);
  }
  rows.forEach((row, r) => {
    const plan = plans[r];
    if (r > 0) y += gap;
    row.cells.forEach((cell, column) => {
      if (cell) canvas.blit(resizeRgb(cell.image, cellWidth, plan.height), columnX(column), y);
    });
    y += plan.height;
    if (plan.captionLines + plan.nameLines) y += px(3);
    plan.captions.forEach((lines, column) =>
      lines.forEach((text, k) =>
        canvas.text(text, columnX(column), y + k * line + px(14), { size: small, color: INK.soft })
      )
    );
    y += plan.captionLines * line;
    plan.names.forEach((text, k) =>
      canvas.text(text, margin, y + k * line + px(14), { size, weight: "bold" })
    );
    const notesY = plan.beside ? y : y + plan.names.length * line;
    plan.notes.forEach((text, k) =>
      canvas.text(text, plan.beside ? width - margin : margin, notesY + k * line + px(14), {
        size: small,
        color: INK.soft,
        anchor: plan.beside ? "end" : "start",
      })
    );
    y += plan.nameLines * line + (plan.captionLines + plan.nameLines ? px(5) : 0);
  });
  for (const bar of options.bars ?? []) {
    const column = bar.column ?? 0;
    const span = bar.columns ?? columns - column;
    drawBar(canvas, bar, columnX(column), y + px(10), span * cellWidth + (span - 1) * gap, s);
  }
  y += barHeight;
  footLines.forEach((text, k) =>
    canvas.text(text, margin, y + px(8) + k * line + px(12), { size: small, color: INK.soft })
  );
  return new Picture(canvas.image, options.title ?? options.headings?.join(", ") ?? "picture");
}

/** Draws a colour bar: label, upper ticks, bar, ticks; labels that would touch are left out. */
function drawBar(canvas: Canvas, bar: ColorBar, x: number, y: number, width: number, s: number): void {
  const px = (value: number) => Math.round(value * s);
  const size = px(12), thick = px(12);
  canvas.text(bar.label, x, y + px(12), { size, color: INK.strong });
  let top = y + px(18);
  const ticks = (list: readonly BarTick[], above: boolean) => {
    let end = -Infinity;
    const sorted = [...list].sort((a, b) => a.value - b.value);
    for (const { value, label } of sorted) {
      const t = positionOn(bar.scale, value);
      if (!(t >= -1e-6 && t <= 1 + 1e-6)) continue;
      const at = x + Math.round(t * (width - 1));
      const wide = textWidth(label, size);
      const start = Math.min(Math.max(at - wide / 2, x), x + width - wide);
      if (start < end + px(8)) continue;
      end = start + wide;
      canvas.rect(at, above ? top - px(4) : top + thick, px(1), px(4), INK.soft);
      canvas.text(label, start, above ? top - px(7) : top + thick + px(15), { size, color: INK.soft });
    }
  };
  if (bar.upperTicks?.length) {
    top += px(18);
    ticks(bar.upperTicks, true);
  }
  const { min, max, log, map } = bar.scale;
  for (let i = 0; i < width; i++) {
    const t = (i + 0.5) / width;
    const value = log ? min * (max / min) ** t : min + (max - min) * t;
    canvas.rect(x + i, top, 1, thick, colorAt(map, positionOn(bar.scale, value)));
  }
  ticks(bar.ticks, false);
}

/**
 * Evenly spaced round numbers that cover a range.
 *
 * @param count About how many are wanted.
 */
export function niceTicks(min: number, max: number, count = 6): number[] {
  if (!(max > min)) return [min];
  const rough = (max - min) / count;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 2.5, 5, 10].map((m) => m * power).find((candidate) => candidate >= rough * 0.999)!;
  const out = [];
  for (let k = Math.ceil(min / step - 1e-9); k * step <= max * (1 + 1e-9); k++) {
    out.push(Number((k * step).toPrecision(10)));
  }
  return out;
}

/** An image strip: pictures side by side, each with a caption. */
export function strip(
  images: readonly { readonly image: RgbImage; readonly caption?: string }[],
  options: Omit<GridOptions, "headings"> = {},
): Picture {
  return grid([{ cells: images }], options);
}
