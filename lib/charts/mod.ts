/**
 * Pictures, charts, tables and reports. Objects show themselves when a notebook's cell ends with them, and write
 * themselves to files.
 *
 * @module
 */
export * from "./ablation.ts";
export * from "./chart.ts";
export * from "./cloud.ts";
export {
  type Color,
  colorAt,
  type ColormapName,
  type ColorScale,
  disparityScale,
  ERROR_SCALE,
  mapToRgb,
  percentile,
} from "./colormap.ts";
export * from "./curves.ts";
export { disparityPicture, niceTicks, panel, type PanelSample } from "./depth.ts";
export * from "./display.ts";
export * from "./picture.ts";
export * from "./probe.ts";
export * from "./report.ts";
export * from "./table.ts";
export type { FloatMap } from "../data/image.ts";
export { resizeMap, resizeRgb } from "../data/resize.ts";
