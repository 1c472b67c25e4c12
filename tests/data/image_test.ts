import { assert, assertEquals, assertRejects, assertStringIncludes } from "../_assert.ts";
import { join } from "@std/path";
import sharp from "sharp";
import { CyclopsError } from "../../lib/base/errors.ts";
import { Random } from "../../lib/base/random.ts";
import {
  decodeRgb,
  encodeGray16Png,
  encodeRgbPng,
  imageSize,
  readGray16,
  readRgb,
  writeGray16,
  writeRgb,
} from "../../lib/data/image.ts";
import { withFolder } from "../_folder.ts";

/** Every byte different from its neighbours, so that a swap of axes or channels shows. */
function noise(width: number, height: number) {
  const data = Uint8Array.from({ length: width * height * 3 }, (_, i) => (i * 151 + (i >> 3) * 37) & 255);
  return { width, height, data };
}

Deno.test("an RGB image survives writing and reading exactly", async () => {
  await withFolder(async (folder) => {
    const image = noise(7, 5), path = join(folder, "a", "image.png");
    await writeRgb(path, image);
    assertEquals(await readRgb(path), image);
    assertEquals(await imageSize(path), { width: 7, height: 5 });
  });
});

Deno.test("a 16-bit image survives writing and reading exactly", async () => {
  await withFolder(async (folder) => {
    const data = Uint16Array.from({ length: 300 * 220 }, (_, i) => i); // every 16-bit value
    const image = { width: 300, height: 220, data }, path = join(folder, "depth.png");
    await writeGray16(path, image);
    assertEquals(await readGray16(path), image);
  });
});

Deno.test("resizing gives the size asked for and averages when it shrinks", async () => {
  const stripes = new Uint8Array(64 * 32 * 3);
  for (let i = 0; i < 64 * 32; i++) stripes.fill(i % 2 ? 200 : 100, i * 3, i * 3 + 3);
  const png = await encodeRgbPng({ width: 64, height: 32, data: stripes });
  const { width, height, data } = await decodeRgb(png, { width: 16, height: 8 });
  assertEquals([width, height, data.length], [16, 8, 16 * 8 * 3]);
  // One-pixel stripes melt into their mean; a filter that only picks pixels would keep 100 or 200.
  for (const value of data.subarray(3 * 16 * 3 + 12, 3 * 16 * 3 + 36)) {
    assert(Math.abs(value - 150) < 6, `${value}`);
  }
});

Deno.test("grey, transparent and 16-bit images become 8-bit RGB", async () => {
  const grey = await sharp(Uint8Array.of(10, 200), { raw: { width: 2, height: 1, channels: 1 } }).png()
    .toBuffer();
  assertEquals([...(await decodeRgb(grey)).data], [10, 10, 10, 200, 200, 200]);
  const clear = await sharp(Uint8Array.of(1, 2, 3, 128), { raw: { width: 1, height: 1, channels: 4 } }).png()
    .toBuffer();
  assertEquals([...(await decodeRgb(clear)).data], [1, 2, 3]);
  const deep = await encodeGray16Png({ width: 1, height: 1, data: Uint16Array.of(0x8000) });
  assertEquals([...(await decodeRgb(deep)).data], [128, 128, 128]);
});

Deno.test("a camera's orientation flag is obeyed, by the size too", async () => {
  await withFolder(async (folder) => {
    const path = join(folder, "phone.jpg");
    await sharp(noise(8, 4).data, { raw: { width: 8, height: 4, channels: 3 } })
      .withMetadata({ orientation: 6 }).jpeg().toFile(path);
    const { width, height } = await readRgb(path);
    assertEquals({ width, height }, { width: 4, height: 8 });
    assertEquals(await imageSize(path), { width: 4, height: 8 });
  });
});

Deno.test("the size of a PNG is read from its header alone", async () => {
  await withFolder(async (folder) => {
    const path = join(folder, "cut.png");
    await Deno.writeFile(path, (await encodeRgbPng(noise(50, 40))).subarray(0, 33));
    assertEquals(await imageSize(path), { width: 50, height: 40 });
  });
});

Deno.test("a missing image is named", async () => {
  await assertRejects(() => readRgb("nowhere/frame.png"), CyclopsError, "nowhere/frame.png: no such file");
  await assertRejects(() => imageSize("nowhere/frame.png"), CyclopsError, "nowhere/frame.png: no such file");
  await assertRejects(() => readGray16("nowhere/depth.png"), CyclopsError, "nowhere/depth.png: no such file");
});

Deno.test("a truncated PNG or JPEG is refused, not half decoded", async () => {
  await withFolder(async (folder) => {
    const whole = noise(96, 64), raw = { width: 96, height: 64, channels: 3 } as const;
    const files = {
      "cut.png": await encodeRgbPng(whole),
      "cut.jpg": await sharp(whole.data, { raw }).jpeg().toBuffer(),
    };
    for (const [name, bytes] of Object.entries(files)) {
      const path = join(folder, name);
      for (const part of [0.6, 0.95]) {
        await Deno.writeFile(path, bytes.subarray(0, Math.floor(bytes.length * part)));
        const error = await assertRejects(() => readRgb(path), CyclopsError, path);
        assertStringIncludes(error.message, "truncated or damaged");
        await assertRejects(() => readRgb(path, { width: 24, height: 16 }), CyclopsError, "damaged");
      }
    }
    const depth = await encodeGray16Png({
      width: 64,
      height: 64,
      data: new Uint16Array(4096).map((_, i) => i * 13),
    });
    await Deno.writeFile(join(folder, "depth.png"), depth.subarray(0, depth.length - 60));
    await assertRejects(() => readGray16(join(folder, "depth.png")), CyclopsError, "damaged");
  });
});

Deno.test("what is no image is called by its name", async () => {
  await withFolder(async (folder) => {
    const path = join(folder, "frame.png");
    for (
      const [content, found] of [
        ["", "an empty file (0 bytes)"],
        ["version https://git-lfs.github.com/spec/v1\n", "a Git LFS pointer"],
        ["<!DOCTYPE html><p>404", "a web page"],
        ["once upon a time", "not a known image format"],
      ]
    ) {
      await Deno.writeTextFile(path, content);
      const error = await assertRejects(() => readRgb(path), CyclopsError, path);
      assertStringIncludes(error.message, found);
      await assertRejects(() => imageSize(path), CyclopsError, found);
    }
  });
});

Deno.test("an 8-bit image is no depth map", async () => {
  await withFolder(async (folder) => {
    const path = join(folder, "image.png");
    await writeRgb(path, noise(4, 4));
    await assertRejects(
      () => readGray16(path),
      CyclopsError,
      "it is 8-bit, 3 channels, expected a 16-bit gray PNG",
    );
  });
});

Deno.test("data of another size than the image claims is refused before it is encoded", async () => {
  await assertRejects(
    () => encodeRgbPng({ width: 2, height: 2, data: new Uint8Array(11) }),
    RangeError,
    "expected 12",
  );
  await assertRejects(() => encodeGray16Png({ width: 2, height: 2, data: new Uint16Array(3) }), RangeError);
});

Deno.test("a palette makes a picture smaller and keeps its look", async () => {
  const random = new Random(1);
  const data = new Uint8Array(64 * 64 * 3).map((_, i) =>
    40 + (i % 3) * 60 + Math.floor(i / 768) * 4 + random.below(8)
  );
  const image = { width: 64, height: 64, data };
  const small = await encodeRgbPng(image, { palette: true });
  assert(small.length < (await encodeRgbPng(image)).length);
  const back = (await decodeRgb(small)).data;
  assert(data.every((value, i) => Math.abs(value - back[i]) < 8));
});
