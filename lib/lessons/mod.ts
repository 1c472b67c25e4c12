/**
 * What the notebooks' cells lean on, so that each stays short and about one idea.
 *
 * @module
 */
export * from "./data.ts";
export * from "./evaluation.ts";
export * from "./matching.ts";
export * from "./own.ts";
export * from "./pictures.ts";
export * from "./start.ts";
export * from "./student.ts";
export * from "./tensors.ts";
export * from "./verdict.ts";
