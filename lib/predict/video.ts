/**
 * Videos as frames, by way of ffmpeg where there is one; and how much a sequence of maps flickers.
 *
 * @module
 */
import { CyclopsError, messageOf } from "../base/errors.ts";
import { asideName } from "../base/files.ts";
import { median } from "../base/random.ts";
import type { FloatMap, RgbImage } from "../data/image.ts";
import type { ImageSize } from "../geometry/camera.ts";

/** Whether a path names a video, by its extension. */
export function isVideo(path: string): boolean {
  return /\.(mp4|m4v|mov|mkv|webm|avi|mpe?g|ts|gifv)$/i.test(path);
}

function ffmpeg(path: string, args: readonly string[], stdin: "null" | "piped", stdout: "null" | "piped") {
  try {
    const all = ["-hide_banner", "-nostdin", ...args];
    return new Deno.Command("ffmpeg", { args: all, stdin, stdout, stderr: "piped" }).spawn();
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound || error instanceof Deno.errors.NotCapable)) throw error;
    throw new CyclopsError(
      `Cannot use the video ${path}: ffmpeg is not installed, expected it on the PATH; install it ` +
        "(Debian and Ubuntu: apt-get install ffmpeg; macOS: brew install ffmpeg)",
    );
  }
}

const textOf = async (stream: ReadableStream<Uint8Array>) => await new Response(stream).text();

/** What is known about a video before it is decoded. */
export interface VideoInfo {
  /** Frames per second. */
  readonly fps: number;
  /** About how many frames it has; undefined where its duration is not known. */
  readonly frames?: number;
}

/** Reads a video's frame rate. @throws {CyclopsError} When there is no ffmpeg, or it finds no video in the file. */
export async function probeVideo(path: string): Promise<VideoInfo> {
  const process = ffmpeg(path, ["-i", path], "null", "null");
  const said = await textOf(process.stderr);
  await process.status;
  const stream = /Video:.*/.exec(said)?.[0];
  if (!stream) {
    const why = said.trim().split("\n").at(-1)?.trim() ?? "";
    throw new CyclopsError(`Cannot read the video ${path}: ffmpeg finds none in it (${why})`);
  }
  const fps = Number(/([\d.]+) (?:fps|tbr)/.exec(stream)?.[1] ?? 25);
  const time = /Duration: (\d+):(\d+):([\d.]+)/.exec(said);
  const seconds = time ? Number(time[1]) * 3600 + Number(time[2]) * 60 + Number(time[3]) : undefined;
  return { fps, frames: seconds && Math.max(1, Math.round(seconds * fps)) };
}

/**
 * A video's frames, in order, at a constant rate, rotated as it says.
 *
 * @throws {CyclopsError} When ffmpeg fails, with its last line.
 */
export async function* readVideo(path: string, { fps }: VideoInfo): AsyncGenerator<RgbImage, void, void> {
  const filter = ["-vf", `fps=${fps}`];
  const args = ["-v", "error", "-i", path, "-an", ...filter, "-f", "image2pipe", "-c:v", "ppm", "-"];
  const process = ffmpeg(path, args, "null", "piped");
  const said = textOf(process.stderr), reader = process.stdout.getReader();
  let rest: Uint8Array = new Uint8Array(0), ended = false;
  /** The next `count` bytes; fewer at the end. */
  const take = async (count: number) => {
    const parts = [rest];
    let have = rest.length;
    while (have < count && !ended) {
      const { value, done } = await reader.read();
      if (done) ended = true;
      else parts.push(value), have += value.length;
    }
    const all = parts.length > 1 ? new Uint8Array(have) : rest;
    if (parts.length > 1) parts.reduce((at, part) => (all.set(part, at), at + part.length), 0);
    rest = all.subarray(Math.min(count, have));
    return all.subarray(0, count);
  };
  try {
    for (;;) {
      // "P6\n640 360\n255\n", then red, green, blue.
      let head = "";
      while (!/^P6\s\d+\s\d+\s255\s$/.test(head) && head.length < 32) {
        const byte = await take(1);
        if (byte.length === 0) break;
        head += String.fromCharCode(byte[0]);
      }
      if (head === "") break;
      const [, width, height] = head.split(/\s/).map(Number);
      const data = await take(width * height * 3);
      if (data.length < width * height * 3 || !data.length) {
        throw new CyclopsError(`Cannot read the video ${path}: it ends within a frame (${await said})`);
      }
      yield { width, height, data: data.slice() };
    }
    const { success } = await process.status;
    if (!success) {
      throw new CyclopsError(`Cannot read the video ${path}: ${(await said).trim().split("\n").at(-1)}`);
    }
  } finally {
    await reader.cancel().catch(() => {});
    try {
      process.kill();
    } catch { /* It has ended. */ }
    await process.status;
  }
}

/** A video that is being written. */
export interface VideoWriter {
  /** Adds a frame; all must have the first one's size. */
  write(frame: RgbImage): Promise<void>;
  /** Ends the video and gives the file its name. */
  close(): Promise<void>;
  /** Gives up and leaves no file. */
  abort(): Promise<void>;
}

/** Starts a video, .mp4; the file appears when it is closed. */
export function writeVideo(path: string, { width, height }: ImageSize, { fps }: VideoInfo): VideoWriter {
  const aside = asideName(path);
  const input = [
    "-f",
    "rawvideo",
    "-pix_fmt",
    "rgb24",
    "-s",
    `${width}x${height}`,
    "-r",
    `${fps}`,
    "-i",
    "-",
  ];
  // Most players need even sizes and 4:2:0.
  const output = ["-vf", "pad=ceil(iw/2)*2:ceil(ih/2)*2", "-pix_fmt", "yuv420p", "-f", "mp4", "-y", aside];
  const process = ffmpeg(path, ["-v", "error", ...input, ...output], "piped", "null");
  const said = textOf(process.stderr), writer = process.stdin.getWriter();
  const failed = async (error: unknown) =>
    new CyclopsError(
      `Cannot write the video ${path}: ${(await said).trim().split("\n").at(-1) || messageOf(error)}`,
    );
  const abort = async () => {
    await writer.abort().catch(() => {});
    try {
      process.kill();
    } catch { /* It has ended. */ }
    await process.status;
    await Deno.remove(aside).catch(() => {});
  };
  return {
    async write({ data }) {
      try {
        await writer.write(data);
      } catch (error) {
        throw await failed(error);
      }
    },
    async close() {
      await writer.close().catch(() => {});
      if (!(await process.status).success) {
        await abort();
        throw await failed("ffmpeg failed");
      }
      await Deno.rename(aside, path);
    },
    abort,
  };
}

/** Measures how much the maps of a video flicker. */
export class Flicker {
  readonly #last: FloatMap[] = [];
  readonly #values: number[] = [];

  /** Adds the next frame's map. */
  add(map: FloatMap): void {
    this.#last.push(map);
    if (this.#last.length > 3) this.#last.shift();
    const [a, b, c] = this.#last;
    if (!c || a.data.length !== c.data.length) return;
    // What moves evenly is halfway between its neighbors in time; 4,001 pixels are enough.
    const stride = Math.max(1, Math.floor(b.data.length / 4001)), deviations: number[] = [];
    for (let i = 0; i < b.data.length; i += stride) {
      deviations.push(Math.abs(b.data[i] - (a.data[i] + c.data[i]) / 2) / b.data[i]);
    }
    this.#values.push(median(deviations));
  }

  /**
   * Mean over the frames of the median over the pixels of |d(t) − (d(t − 1) + d(t + 1)) / 2| / d(t); `undefined` for
   * fewer than three frames.
   */
  get value(): number | undefined {
    const { length } = this.#values;
    return length ? this.#values.reduce((sum, v) => sum + v, 0) / length : undefined;
  }
}
