/**
 * Pictures, charts, tables and reports, for tasks and notebooks alike. Objects show themselves when a notebook's
 * cell ends with them and write themselves to files.
 *
 * @module
 */
export * from "./chart.ts";
export * from "./cloud.ts";
export * from "./colormap.ts";
export * from "./curves.ts";
export * from "./display.ts";
export * from "./disparity.ts";
export { Canvas, type Color, resizeRgb, type TextStyle } from "./draw.ts";
export * from "./grid.ts";
export * from "./lines.ts";
export * from "./live.ts";
export * from "./picture.ts";
export * from "./probe.ts";
export * from "./report.ts";
export * from "./table.ts";
