// The standard library as npm re-publishes it; the types beside it are ours.
// @ts-types="./mod.d.ts"
export * from "npm:deno-std@1.4.0/cli/parse_args.js";
