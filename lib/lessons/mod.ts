/**
 * What the notebooks' cells lean on, so that each stays short and about one idea.
 *
 * @module
 */
export * from "./chain.ts";
export * from "./data.ts";
export * from "./evaluation.ts";
export * from "./matching.ts";
export * from "./own.ts";
export * from "./pictures.ts";
export * from "./results.ts";
export * from "./score.ts";
export * from "./start.ts";
export * from "./statistics.ts";
export * from "./student.ts";
export * from "./tensors.ts";
export * from "./terms.ts";
export * from "./training.ts";
export * from "./verdict.ts";
