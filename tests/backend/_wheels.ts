/**
 * Small zip files made by hand, true and lying ones, to stand for TensorFlow's wheels.
 *
 * @module
 */
import { createHash } from "node:crypto";
import { crc32, deflateRawSync } from "node:zlib";

/** One file of a made-up zip file. */
export interface FakeMember {
  /** Path inside the zip file. */
  readonly name: string;
  /** Its content before packing. */
  readonly content: string | Uint8Array;
  /** Put into the zip file as it is. @default false */
  readonly stored?: boolean;
  /** What the headers claim instead of the truth. */
  readonly claim?: {
    readonly size?: number;
    readonly crc?: number;
    readonly offset?: number;
    readonly method?: number;
  };
}

/** The bytes of a zip file. */
export function makeZip(members: readonly FakeMember[]): Uint8Array<ArrayBuffer> {
  const parts: Uint8Array[] = [];
  const directory: Uint8Array[] = [];
  let at = 0;
  for (const { name, content, stored, claim = {} } of members) {
    const raw = typeof content === "string" ? new TextEncoder().encode(content) : content;
    const data = stored ? raw : deflateRawSync(raw);
    const nameBytes = new TextEncoder().encode(name);
    const fields = new DataView(new ArrayBuffer(22));
    fields.setUint16(4, claim.method ?? (stored ? 0 : 8), true);
    fields.setUint32(10, claim.crc ?? crc32(raw), true);
    fields.setUint32(14, data.length, true);
    fields.setUint32(18, claim.size ?? raw.length, true);
    const local = new DataView(new ArrayBuffer(30));
    local.setUint32(0, 0x04034b50, true);
    new Uint8Array(local.buffer, 4).set(new Uint8Array(fields.buffer));
    local.setUint16(26, nameBytes.length, true);
    const entry = new DataView(new ArrayBuffer(46));
    entry.setUint32(0, 0x02014b50, true);
    new Uint8Array(entry.buffer, 6).set(new Uint8Array(fields.buffer));
    entry.setUint16(28, nameBytes.length, true);
    entry.setUint32(42, claim.offset ?? at, true);
    parts.push(new Uint8Array(local.buffer), nameBytes, data);
    directory.push(new Uint8Array(entry.buffer), nameBytes);
    at += 30 + nameBytes.length + data.length;
  }
  const bytes = directory.reduce((sum, part) => sum + part.length, 0);
  const end = new DataView(new ArrayBuffer(22));
  end.setUint32(0, 0x06054b50, true);
  end.setUint16(8, members.length, true);
  end.setUint16(10, members.length, true);
  end.setUint32(12, bytes, true);
  end.setUint32(16, at, true);
  return join([...parts, ...directory, new Uint8Array(end.buffer)]);
}

function join(parts: readonly Uint8Array[]): Uint8Array<ArrayBuffer> {
  const whole = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}

/** SHA-256, hexadecimal. */
export function sha256Of(bytes: Uint8Array): string {
  return createHash("sha256").update(bytes).digest("hex");
}

/** The members of a small stand-in for TensorFlow's wheel. */
export function fakeTensorFlow(metadata = "Name: tensorflow\n"): FakeMember[] {
  return [
    { name: "tensorflow/__init__.py", content: "" },
    {
      name: "tensorflow/libtensorflow_cc.so.2",
      content: `\x7fELF\x02${"\0".repeat(95)}${"c library ".repeat(4990)}`,
    },
    { name: "tensorflow/libtensorflow_framework.so.2", content: "framework ".repeat(900), stored: true },
    { name: "tensorflow-2.15.1.dist-info/METADATA", content: metadata },
  ];
}
