import { fromFileUrl } from "@std/path";
import { assertEquals } from "../_assert.ts";

const adapter = await navigator.gpu?.requestAdapter();

Deno.test({
  name: "webgpu: a student trains, is saved and predicts; its loss is that of plain JavaScript",
  ignore: !adapter,
  fn: async () => {
    const script = fromFileUrl(new URL("./_webgpu.ts", import.meta.url));
    const { code, stderr } = await new Deno.Command(Deno.execPath(), { args: ["run", "-A", script] })
      .output();
    assertEquals(code, 0, new TextDecoder().decode(stderr));
  },
});
