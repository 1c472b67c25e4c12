import { assertEquals, assertRejects, assertStringIncludes, assertThrows } from "../_assert.ts";
import { join } from "@std/path";
import { CyclopsError } from "../../lib/base/errors.ts";
import { writeAtomic } from "../../lib/base/files.ts";
import { checkPairs, formatSplit, listFiles, parseSplit, readSplit } from "../../lib/data/split.ts";
import { withFolder } from "../_folder.ts";

const pairs = [{ left: "a/l0.png", right: "a/r0.png" }, { left: "b/l1.png", right: "b/r1.png" }];

Deno.test("a split is one pair a line, left and right", () => {
  assertEquals(formatSplit(pairs), "a/l0.png a/r0.png\nb/l1.png b/r1.png\n");
  assertEquals(parseSplit(formatSplit(pairs), "split"), pairs);
});

Deno.test("blank lines, comments, tabs and Windows line ends do not matter", () => {
  assertEquals(parseSplit("# drives\r\na/l0.png\ta/r0.png \r\n\r\n b/l1.png  b/r1.png", "split"), pairs);
});

Deno.test("all bad lines of a split are named with their numbers", () => {
  const error = assertThrows(
    () => parseSplit("a b\none\na b c\n/etc/x b\na ../../b\n", "my.txt"),
    CyclopsError,
    "my.txt",
  );
  for (const said of ["line 2 has 1 words: one", "line 3 has 3 words", "line 4 leaves", "line 5 leaves"]) {
    assertStringIncludes(error.message, said);
  }
});

Deno.test("a split without a pair, or without a file, is refused", async () => {
  assertThrows(() => parseSplit("\n# nothing\n", "empty.txt"), CyclopsError, "empty.txt: it names no pair");
  await assertRejects(() => readSplit("nowhere.txt"), CyclopsError, "nowhere.txt: no such file");
});

Deno.test("every absent image is listed, not the first alone", async () => {
  await withFolder(async (root) => {
    await writeAtomic(join(root, "a/l0.png"), "");
    const error = await assertRejects(
      () => checkPairs(root, pairs),
      CyclopsError,
      "3 of 4 images are absent",
    );
    for (const path of ["a/r0.png", "b/l1.png", "b/r1.png"]) {
      assertStringIncludes(error.message, `\n  ${path}`);
    }
    assertEquals(error.message.includes("a/l0.png"), false);
  });
});

Deno.test("only the images that are needed must be there", async () => {
  await withFolder(async (root) => {
    await writeAtomic(join(root, "a/l0.png"), "");
    await writeAtomic(join(root, "b/l1.png"), "");
    assertEquals(await checkPairs(root, pairs, "left"), pairs);
    await assertRejects(() => checkPairs(root, pairs, "right"), CyclopsError, "2 of 2 images");
  });
});

Deno.test("a JPEG stands in for the PNG of the split, and the other way round", async () => {
  await withFolder(async (root) => {
    for (const name of ["a/l0.jpg", "a/r0.png", "b/l1.png", "b/r1.jpeg"]) {
      await writeAtomic(join(root, name), "");
    }
    assertEquals(await checkPairs(root, pairs), [
      { left: "a/l0.jpg", right: "a/r0.png" },
      { left: "b/l1.png", right: "b/r1.jpeg" },
    ]);
    const jpegs = [{ left: "a/r0.jpg", right: "b/l1.jpg" }];
    assertEquals(await checkPairs(root, jpegs), [{ left: "a/r0.png", right: "b/l1.png" }]);
  });
});

Deno.test("a long list of files ends with counts by folder", () => {
  const paths = Array.from({ length: 130 }, (_, i) => `${i < 110 ? "a" : "b"}/${i}.png`);
  const lines = listFiles(paths).split("\n");
  assertEquals(lines.length, 102);
  assertEquals(lines.slice(99), ["  a/99.png", "  … and 10 in a", "  … and 20 in b"]);
  const scattered = Array.from({ length: 150 }, (_, i) => `${i}/left.png`);
  assertEquals(listFiles(scattered).split("\n").slice(-2), [
    "  … and 1 in 119",
    "  … and 30 in 30 more folders",
  ]);
});
