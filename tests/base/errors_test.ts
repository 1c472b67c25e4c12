import { assertEquals, assertInstanceOf } from "../_assert.ts";
import { CyclopsError, receiveError, sendError } from "../../lib/base/errors.ts";

Deno.test("an error that was sent to another thread is of its kind there, with message and stack", () => {
  const wrong = new CyclopsError("no such file");
  const received = receiveError(structuredClone(sendError(wrong)));
  assertInstanceOf(received, CyclopsError);
  assertEquals([received.message, received.stack], [wrong.message, wrong.stack]);
  const bug = receiveError(structuredClone(sendError(new TypeError("not a function"))));
  assertEquals([bug instanceof CyclopsError, bug.message], [false, "not a function"]);
  assertEquals(receiveError(sendError("thrown text")).message, "thrown text");
});

Deno.test("a message that quotes a file cannot drive the terminal, and keeps its lines", () => {
  const { message, stack } = new CyclopsError("line 2:\n\x1b]0;title\x07 \x9b31m\r\u202Etxt\tünï");
  assertEquals(message, "line 2:\n\\x1b]0;title\\x07 \\x9b31m\\x0d\\u202etxt\tünï");
  // deno-lint-ignore no-control-regex
  assertEquals(/[\x1b\x9b]/.test(stack!), false);
});
