import { assert, assertEquals, assertStringIncludes, assertThrows } from "../_assert.ts";
import { stripVTControlCharacters } from "node:util";
import { join } from "@std/path";
import { UsageError } from "../../lib/base/errors.ts";
import { flag, integer, list, number, size, text } from "../../lib/base/options.ts";
import { helpText, parseTaskArgs, userPath, withUserPaths } from "../../tasks/_task.ts";
import { TRAIN } from "../../tasks/train.ts";
import { withFolder } from "../_folder.ts";

const TASK = {
  name: "test",
  summary: "",
  positionals: "WORD…",
  options: {
    out: text({ default: "runs/first", value: "DIR", help: "" }),
    from: list({ value: "RUN", help: "" }),
    split: text({ value: "eigen|FILE", help: "" }),
    size: size({ help: "" }),
    seed: integer({ default: 1, min: 0, help: "" }),
    headBias: number({ default: 0, help: "" }),
    resume: flag({ help: "" }),
    flip: flag({ default: true, help: "" }),
  },
} as const;

Deno.test("a command line becomes options and words", () => {
  const { options, positionals, given } = parseTaskArgs(
    TASK,
    ["01", "--head-bias", "-2.4", "--seed=3", "--resume", "--no-flip", "b.png"],
  );
  const { headBias, seed, resume, flip, out } = options;
  assertEquals([headBias, seed, resume, flip, out], [-2.4, 3, true, false, "runs/first"]);
  assertEquals(positionals, ["01", "b.png"]);
  assertEquals([...given].sort(), ["flip", "headBias", "resume", "seed"]);
});

Deno.test("a wrong command line is refused, naming the option and what is expected", () => {
  const wrong: readonly (readonly [string, string])[] = [
    ["--sead 2", "unknown option --sead (did you mean --seed?)"],
    ["--toString", "unknown option --toString"],
    ["--seed", "--seed needs a value, an integer, at least 0"],
    ["--seed --resume", "--seed needs a value"],
    ["-s 1", "unknown option -s"],
    ["--no-seed", "unknown option --no-seed"],
    ["--seed two", '--seed is "two", expected an integer, at least 0'],
    ["--seed -1", "seed is -1, expected an integer, at least 0"],
    ["--seed 1 --seed 2", "--seed is given more than once"],
    ["--head-bias Infinity", '--head-bias is "Infinity", expected a number'],
    ["--out= --seed 1", "--out needs a value"],
    ["--resume=maybe", "--resume=maybe, expected --resume or --no-resume"],
  ];
  for (const [line, message] of wrong) {
    assertThrows(() => parseTaskArgs(TASK, line.split(" ")), UsageError, message, line);
  }
});

Deno.test("a relative path is resolved against the user's directory, and stays short within the project", () => {
  const here = Deno.cwd();
  assertEquals(userPath("runs/a", here), "runs/a");
  assertEquals(userPath("a.png", join(here, "photos")), "photos/a.png");
  assertEquals(userPath("../runs/a", join(here, "photos")), "runs/a");
  assertEquals(userPath("..", join(here, "photos")), ".");
  assertEquals(userPath("a.png", "/elsewhere/photos"), "/elsewhere/photos/a.png");
  assertEquals(userPath("/data/kitti", "/elsewhere"), "/data/kitti");
});

Deno.test("options that name files follow the user, defaults and names stay", async () => {
  const before = Deno.env.get("INIT_CWD");
  await withFolder(async (folder) => {
    Deno.env.set("INIT_CWD", folder);
    try {
      await Deno.writeTextFile(join(folder, "mine.txt"), "");
      const spell = async (line: string) => {
        const { options, given } = parseTaskArgs(TASK, line.split(" "));
        return await withUserPaths(TASK.options, options, given);
      };
      const { out, from, split, size } = await spell("--from a,/b --split eigen --size 64x192");
      assertEquals([out, from, split, size], ["runs/first", [join(folder, "a"), "/b"], "eigen", {
        height: 64,
        width: 192,
      }]);
      const own = await spell("--out a,b --split mine.txt");
      assertEquals([own.out, own.split], [join(folder, "a,b"), join(folder, "mine.txt")]);
    } finally {
      if (before === undefined) Deno.env.delete("INIT_CWD");
      else Deno.env.set("INIT_CWD", before);
    }
  });
});

Deno.test("the help names every option with its value, unit and default", () => {
  const help = stripVTControlCharacters(
    helpText({ ...TASK, summary: "Tests.", examples: ["deno task test"] }),
  );
  assertEquals(help.split("\n")[0], "deno task test WORD… [options]");
  for (
    const line of ["--out DIR", "default: runs/first", "--seed N", "--head-bias X", "--[no-]flip", "--resume"]
  ) {
    assertStringIncludes(help, line);
  }
  assertStringIncludes(help, "Examples\n  deno task test");
});

Deno.test("the help fits 80 columns and groups options under headings", () => {
  const help = stripVTControlCharacters(helpText(TRAIN));
  for (const line of help.split("\n")) assert(line.length <= 80, line);
  for (const heading of ["Run", "Data", "Losses", "Examples"]) assertStringIncludes(help, `\n\n${heading}\n`);
  assertStringIncludes(help, "  --teacher-inputs INPUT[,INPUT…]\n                          Inputs of the");
});
