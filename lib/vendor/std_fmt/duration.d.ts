// Types of the part of @std/fmt/duration that this project uses.
export interface DurationOptions {
  style?: "narrow" | "full" | "digital";
  ignoreZero?: boolean;
}
export function format(ms: number, options?: DurationOptions): string;
