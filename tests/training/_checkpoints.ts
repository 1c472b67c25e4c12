/** Small checkpoints for tests. */
import { float32Tensor, type TensorMap } from "../../lib/data/safetensors.ts";
import type { CheckpointContent, CheckpointFacts } from "../../lib/training/checkpoint.ts";

/** Facts of a checkpoint at some step. */
export function facts(step: number, metrics: Record<string, number> = {}): CheckpointFacts {
  return {
    step,
    epoch: step / 10,
    stage: "half-cycle",
    seed: 1,
    options: { preset: "quick", size: "64x192" },
    data: {
      split: "street",
      part: "train",
      pairs: 3,
      names: "0123456789abcdef",
      content: "fedcba9876543210",
    },
    versions: { cyclops: "0.1.0", deno: Deno.version.deno },
    metrics,
  };
}

/** Tensors whose every value is the step. */
export function tensors(step: number, count = 6): TensorMap {
  return new Map([
    ["student/conv/kernel", float32Tensor([2, count / 2], new Float32Array(count).fill(step))],
    ["student/conv/bias", float32Tensor([3], new Float32Array(3).fill(step))],
  ]);
}

/** A whole checkpoint. */
export function content(step: number, count = 6, metrics: Record<string, number> = {}): CheckpointContent {
  return { model: tensors(step, count), optimizer: tensors(step + 0.5, count), facts: facts(step, metrics) };
}
