import { selectBackend } from "../../lib/backend/mod.ts";
import { testAdam } from "./_adam.ts";

await selectBackend({ backend: "cpu" });
testAdam("cpu");
