/**
 * What a user can choose about the backend. Loads nothing of TensorFlow.
 *
 * @module
 */
import { choice, type ChoiceSpec, integer, type NumberSpec } from "../base/options.ts";

/** The backends a user can ask for. */
export const BACKENDS = ["auto", "tensorflow", "webgpu", "cpu"] as const;

/** A backend's name as a user gives it. */
export type BackendName = typeof BACKENDS[number];

/** The options by which tasks let a user choose; spread them into a task's own. */
export const backendOptions: {
  readonly backend: ChoiceSpec<BackendName, undefined>;
  readonly threads: NumberSpec<undefined>;
} = {
  backend: choice(BACKENDS, {
    help: "What computes; default CYCLOPS_BACKEND, else auto: the fastest found.",
  }),
  threads: integer({
    min: 1,
    max: 1024,
    help: "Threads within one operation, tensorflow only; default one per core.",
  }),
};

/** Which backend to use and how. */
export interface BackendOptions {
  /** `auto` takes tensorflow, else webgpu, else cpu. @default CYCLOPS_BACKEND, else "auto" */
  readonly backend?: BackendName;
  /** Threads within one operation, tensorflow only. @default one per core */
  readonly threads?: number;
  /** Fetch libtensorflow where it is wanted and absent. @default true */
  readonly fetch?: boolean;
}
