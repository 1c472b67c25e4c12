/**
 * What this machine's processor can do.
 *
 * @module
 */

/** The processor, as far as it matters to training. */
export interface CpuFeatures {
  /** False where nothing could be read; then all features are false. */
  readonly known: boolean;
  /** Its name, or "unknown". */
  readonly model: string;
  /** Cores this process may use. */
  readonly cores: number;
  /** 256-bit vectors; TensorFlow needs AVX at least. */
  readonly avx2: boolean;
  /** 512-bit vectors. */
  readonly avx512: boolean;
  /** Arithmetic in bfloat16, by AVX-512 or AMX; without it bfloat16 convolutions are ten times slower than float32. */
  readonly bf16: boolean;
  /** Matrix tiles with bfloat16. */
  readonly amx: boolean;
}

/**
 * Reads the processor's features from Linux's `/proc/cpuinfo`. Needs all permissions, or `--allow-run=cat`.
 *
 * @param cpuinfo The file's content. @default the file, or nothing where there is none
 */
export function cpuFeatures(cpuinfo: string = readCpuinfo()): CpuFeatures {
  const flags = new Set(/^flags\s*:\s*(.*)$/m.exec(cpuinfo)?.[1].split(" "));
  const amx = flags.has("amx_bf16") && flags.has("amx_tile");
  return {
    known: flags.size > 0,
    model: /^model name\s*:\s*(.*)$/m.exec(cpuinfo)?.[1].trim() ?? "unknown",
    cores: navigator.hardwareConcurrency,
    avx2: flags.has("avx2"),
    avx512: flags.has("avx512f"),
    bf16: amx || flags.has("avx512_bf16"),
    amx,
  };
}

/** Deno lets only a process with all permissions read `/proc` itself; `--allow-run=cat` does as well. */
function readCpuinfo(): string {
  const path = "/proc/cpuinfo";
  try {
    return Deno.readTextFileSync(path);
  } catch {
    try {
      return new TextDecoder().decode(new Deno.Command("cat", { args: [path] }).outputSync().stdout);
    } catch {
      return "";
    }
  }
}
