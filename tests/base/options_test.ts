import { assert, assertEquals, assertStringIncludes, assertThrows } from "../_assert.ts";
import { CyclopsError, UsageError } from "../../lib/base/errors.ts";
import {
  allowedValues,
  choice,
  flag,
  formatOptions,
  integer,
  list,
  nearestNames,
  number,
  parseSize,
  resolveOptions,
  size,
  toKebabCase,
} from "../../lib/base/options.ts";

const specs = {
  steps: integer({ default: 100, min: 1, max: 1000, unit: "steps", help: "Updates." }),
  rate: number({ default: 0.5, min: 0, help: "Rate." }),
  limit: number({ help: "No default." }),
  view: choice(["left", "right"], { default: "left", help: "View." }),
  size: size({ default: "64x192", help: "Size." }),
  parts: list({ choices: ["wheel", "door"], value: "PART", help: "Parts." }),
  fast: flag({ help: "Fast." }),
};

Deno.test("defaults fill what is not given, undefined counts as not given, the result is frozen", () => {
  const options = resolveOptions("a test", specs, { rate: 2, view: undefined });
  assertEquals({ ...options }, {
    steps: 100,
    rate: 2,
    limit: undefined,
    view: "left",
    size: { height: 64, width: 192 },
    parts: undefined,
    fast: false,
  });
  assert(Object.isFrozen(options));
});

Deno.test("a value that is not allowed is refused with key, value and what is allowed", () => {
  const cases: [Record<string, unknown>, string][] = [
    [{ steps: 0 }, "steps is 0, expected an integer from 1 to 1000 (steps)"],
    [{ steps: 1.5 }, "steps is 1.5"],
    [{ steps: "7" }, 'steps is "7"'],
    [{ rate: -1 }, "rate is -1, expected a number, at least 0"],
    [{ rate: NaN }, "rate is NaN, expected a number"],
    [{ view: "up" }, 'view is "up", expected "left" or "right"'],
    [{ size: "64*192" }, "HEIGHTxWIDTH"],
    [{ size: { height: 64 } }, 'size is {"height":64}, expected HEIGHTxWIDTH'],
    [{ parts: "wheel,roof" }, 'parts is "wheel,roof", expected some of wheel, door'],
    [{ parts: ["roof"] }, 'parts is ["roof"]'],
    [{ fast: 1 }, "fast is 1, expected true or false"],
  ];
  for (const [given, message] of cases) {
    const error = assertThrows(() => resolveOptions("a test", specs, given), UsageError);
    assertStringIncludes(error.message, `Cannot configure a test: `);
    assertStringIncludes(error.message, message);
  }
});

Deno.test("sizes and lists come as text or typed, are typed inside and text on disk", () => {
  const { size, parts } = resolveOptions("a test", specs, { size: "8x16", parts: "door, wheel" });
  assertEquals(size, { height: 8, width: 16 });
  assertEquals(parts, ["door", "wheel"]);
  assertEquals(resolveOptions("a test", specs, { size, parts }).parts, parts);
  assertEquals(resolveOptions("a test", specs, { parts: "" }).parts, []);
  assertEquals(formatOptions(specs, { size, parts, steps: 3, other: [1] }), {
    size: "8x16",
    parts: "door,wheel",
    steps: 3,
    other: [1],
  });
});

Deno.test("an unknown key is refused with the nearest known one, or all of them", () => {
  assertStringIncludes(
    assertThrows(() => resolveOptions("a test", specs, { step: 1 }), UsageError).message,
    "did you mean steps",
  );
  assertStringIncludes(
    assertThrows(() => resolveOptions("a test", specs, { wavelength: 1 }), UsageError).message,
    "known: steps, rate",
  );
});

Deno.test("names, sizes and phrases", () => {
  assertEquals(toKebabCase("maxDisparity"), "max-disparity");
  assertEquals(nearestNames("stpes", ["steps", "epochs"]), ["steps"]);
  assertEquals(nearestNames("zzzzzz", ["steps", "epochs"]), []);
  assertEquals(parseSize("64x192"), { height: 64, width: 192 });
  assertEquals(parseSize("64x"), undefined);
  assertEquals(allowedValues(number({ max: 3, help: "" })), "a number, at most 3");
  assert(new UsageError("x") instanceof CyclopsError);
});
