/**
 * Reading single members out of a large zip file (a Python wheel is one) without holding either in memory. Format:
 * PKWARE's APPNOTE.TXT; stored and deflated members, no zip64, no encryption.
 *
 * @module
 */
import { crc32 } from "node:zlib";
import { CyclopsError, messageOf } from "../base/errors.ts";
import { fileError, fillFrom } from "../base/files.ts";

/** A file inside a zip file, as the central directory describes it. */
export interface ZipMember {
  /** Path inside the zip file, with forward slashes. */
  readonly name: string;
  /** Where the member's local header starts, in bytes. */
  readonly offset: number;
  /** Bytes in the zip file. */
  readonly compressed: number;
  /** Bytes once unpacked. */
  readonly size: number;
  /** CRC-32 of the unpacked bytes. */
  readonly crc: number;
  /** 0 stored, 8 deflated. */
  readonly method: number;
}

const END_SIGNATURE = 0x06054b50;
const END_BYTES = 22;
const ENTRY_SIGNATURE = 0x02014b50;
const ENTRY_BYTES = 46;
const LOCAL_SIGNATURE = 0x04034b50;
const LOCAL_BYTES = 30;
/** What a 32-bit field holds when the true value stands in a zip64 record. */
const ZIP64 = 0xffffffff;
const CHUNK = 1 << 20;

/** A zip file open for reading. */
export class ZipFile {
  /** Where it lies. */
  readonly path: string;
  /** All members, in the central directory's order. */
  readonly members: readonly ZipMember[];
  readonly #file: Deno.FsFile;

  private constructor(path: string, file: Deno.FsFile, members: readonly ZipMember[]) {
    this.path = path;
    this.#file = file;
    this.members = members;
  }

  /**
   * Opens a zip file and reads its table of contents.
   *
   * @throws {CyclopsError} When it cannot be read, is no zip file, or its table contradicts itself.
   */
  static async open(path: string): Promise<ZipFile> {
    let file: Deno.FsFile;
    try {
      file = await Deno.open(path);
    } catch (error) {
      throw fileError("open", path, error);
    }
    try {
      return new ZipFile(path, file, await readDirectory(path, file));
    } catch (error) {
      file.close();
      throw error;
    }
  }

  /** Closes the file. */
  [Symbol.dispose](): void {
    this.#file.close();
  }

  /**
   * Unpacks one member into a new file. The bytes are checked against the member's size and CRC as they stream.
   *
   * @param destination Path to write; removed again on failure.
   * @param signal Stops between two chunks.
   * @throws {CyclopsError} When the member is damaged, unpacks to another size than promised, or cannot be written.
   */
  async extract(member: ZipMember, destination: string, signal?: AbortSignal): Promise<void> {
    const damaged = (found: string) =>
      new CyclopsError(`Cannot unpack ${member.name} from ${this.path}: ${found}`);
    const header = await readAt(this.#file, member.offset, LOCAL_BYTES);
    if (header.byteLength < LOCAL_BYTES || header.getUint32(0, true) !== LOCAL_SIGNATURE) {
      throw damaged("its header is missing: the file is damaged");
    }
    if (member.method !== 0 && member.method !== 8) {
      throw damaged(`compression method ${member.method}, wanted 0 (stored) or 8 (deflate)`);
    }
    const start = member.offset + LOCAL_BYTES + header.getUint16(26, true) + header.getUint16(28, true);
    let stream = byteStream(this.#file, start, member.compressed);
    if (member.method === 8) stream = stream.pipeThrough(new DecompressionStream("deflate-raw"));
    let output: Deno.FsFile | undefined;
    try {
      output = await Deno.open(destination, { write: true, createNew: true });
      let size = 0;
      let crc = 0;
      for await (const chunk of stream) {
        signal?.throwIfAborted();
        size += chunk.length;
        if (size > member.size) throw damaged(`more than the ${member.size} bytes that its header promises`);
        crc = crc32(chunk, crc);
        for (let at = 0; at < chunk.length;) at += await output.write(chunk.subarray(at));
      }
      if (size !== member.size) throw damaged(`${size} bytes, its header promises ${member.size}`);
      if (crc !== member.crc) throw damaged("its checksum (CRC-32) is wrong");
    } catch (error) {
      await Deno.remove(destination).catch(() => {});
      if (error instanceof CyclopsError || signal?.aborted) throw error;
      if (error instanceof TypeError) throw damaged(`damaged data (${messageOf(error)})`);
      throw fileError("write", destination, error);
    } finally {
      output?.close();
    }
  }

  /** Reads a small member, such as a wheel's METADATA, as text. */
  async readText(member: ZipMember): Promise<string> {
    const path = await Deno.makeTempFile({ dir: this.path.replace(/[^/]*$/, "") || "." });
    await Deno.remove(path);
    try {
      await this.extract(member, path);
      return await Deno.readTextFile(path);
    } finally {
      await Deno.remove(path).catch(() => {});
    }
  }
}

async function readAt(file: Deno.FsFile, offset: number, length: number): Promise<DataView> {
  await file.seek(offset, Deno.SeekMode.Start);
  const bytes = new Uint8Array(length);
  return new DataView(bytes.buffer, 0, await fillFrom(file, bytes));
}

function byteStream(
  file: Deno.FsFile,
  start: number,
  length: number,
): ReadableStream<Uint8Array<ArrayBuffer>> {
  let at = start;
  const end = start + length;
  return new ReadableStream({
    async pull(controller) {
      if (at >= end) return controller.close();
      const view = await readAt(file, at, Math.min(CHUNK, end - at));
      if (view.byteLength === 0) return controller.close();
      at += view.byteLength;
      controller.enqueue(new Uint8Array(view.buffer as ArrayBuffer, 0, view.byteLength));
    },
  });
}

async function readDirectory(path: string, file: Deno.FsFile): Promise<ZipMember[]> {
  const damaged = (found: string) => new CyclopsError(`Cannot read ${path}: ${found}; fetch it again`);
  const size = (await file.stat()).size;
  const tailStart = Math.max(0, size - END_BYTES - 0xffff);
  const tail = await readAt(file, tailStart, size - tailStart);
  let end = tail.byteLength - END_BYTES;
  while (end >= 0 && tail.getUint32(end, true) !== END_SIGNATURE) end--;
  if (end < 0) throw damaged("no zip file, or one that was cut off");
  const count = tail.getUint16(end + 10, true);
  const bytes = tail.getUint32(end + 12, true);
  const start = tail.getUint32(end + 16, true);
  if (start === ZIP64 || count === 0xffff) throw damaged("a zip64 file, which is not supported");
  if (start + bytes > size) throw damaged("its table of contents lies beyond its end");
  const directory = await readAt(file, start, bytes);
  const decoder = new TextDecoder();
  const members: ZipMember[] = [];
  let at = 0;
  for (let i = 0; i < count; i++) {
    if (at + ENTRY_BYTES > directory.byteLength || directory.getUint32(at, true) !== ENTRY_SIGNATURE) {
      throw damaged(`its table of contents ends after ${i} of ${count} entries`);
    }
    const nameBytes = directory.getUint16(at + 28, true);
    const next = at + ENTRY_BYTES + nameBytes + directory.getUint16(at + 30, true) +
      directory.getUint16(at + 32, true);
    if (next > directory.byteLength) throw damaged(`entry ${i} of its table of contents is cut off`);
    const member = {
      name: decoder.decode(new Uint8Array(directory.buffer as ArrayBuffer, at + ENTRY_BYTES, nameBytes)),
      method: directory.getUint16(at + 10, true),
      crc: directory.getUint32(at + 16, true),
      compressed: directory.getUint32(at + 20, true),
      size: directory.getUint32(at + 24, true),
      offset: directory.getUint32(at + 42, true),
    };
    if (member.offset === ZIP64 || member.size === ZIP64 || member.offset + member.compressed > size) {
      throw damaged(`${member.name} lies beyond its end`);
    }
    members.push(member);
    at = next;
  }
  return members;
}
