// Runs OpenAI's own Node client over a quern server: whole and streamed answers, errors by name.
//
//   npm install openai
//   quern serve demo --port 0 --ready-file /tmp/ready &
//   node tests/clients/openai_node.mjs $(cat /tmp/ready)
//
// Exit status 0 if all holds, 1 with a line for each check that does not.

import { createRequire } from "node:module";
import { pathToFileURL } from "node:url";

// The package is looked for where the command is run, not beside this file.
const require = createRequire(pathToFileURL(process.cwd() + "/"));
const OpenAI = require("openai").default ?? require("openai");

const client = new OpenAI({ baseURL: process.argv[2] + "/v1", apiKey: "none", maxRetries: 0 });
let count = 0;
let failed = 0;

function check(what, holds, detail = "") {
  count += 1;
  if (holds) return;
  failed += 1;
  console.log(`FAILED ${what}: ${detail}`);
}

async function refused(what, status, param, call) {
  try {
    await call();
    check(what, false, "it was answered");
  } catch (error) {
    check(what, error.status === status && error.param === param, `${error.status} ${error.param}`);
  }
}

const model = (await client.models.list()).data[0].id;
const messages = [{ role: "user", content: "Tell me a story about a fox." }];

for (const extra of [{}, { temperature: 0 }, { n: 2 }, { stop: ["."] },
                     { logprobs: true, top_logprobs: 2 }]) {
  const body = { model, messages, max_tokens: 24, seed: 3, ...extra };
  const name = JSON.stringify(extra);
  const whole = await client.chat.completions.create(body);
  const texts = {};
  const reasons = {};
  let usage = null;
  const stream = await client.chat.completions.create({
    ...body, stream: true, stream_options: { include_usage: true } });
  for await (const chunk of stream) {
    usage = chunk.usage ?? usage;
    for (const choice of chunk.choices) {
      texts[choice.index] = (texts[choice.index] ?? "") + (choice.delta.content ?? "");
      if (choice.finish_reason) reasons[choice.index] = choice.finish_reason;
    }
  }
  for (const choice of whole.choices) {
    check(`chat ${name} text`, texts[choice.index] === choice.message.content,
          `${texts[choice.index]} | ${choice.message.content}`);
    check(`chat ${name} reason`, reasons[choice.index] === choice.finish_reason);
  }
  check(`chat ${name} usage`, usage.total_tokens === whole.usage.total_tokens);
}

for (const extra of [{}, { echo: true }, { logprobs: 2 }]) {
  const body = { model, prompt: "Once upon a time", max_tokens: 16, seed: 3, ...extra };
  const whole = await client.completions.create(body);
  let text = "";
  for await (const chunk of await client.completions.create({ ...body, stream: true })) {
    text += chunk.choices[0]?.text ?? "";
  }
  check(`completion ${JSON.stringify(extra)}`, text === whole.choices[0].text);
}

// A client that leaves in mid-stream, and the server that goes on.
const left = await client.completions.create(
  { model, prompt: "Once", max_tokens: 500, stream: true, ignore_eos: true });
for await (const chunk of left) {
  check("first chunk", chunk.choices.length === 1);
  left.controller.abort();
  break;
}
check("after a client has left", (await client.models.retrieve(model)).id === model);

await refused("tools", 400, "tools", () => client.chat.completions.create(
  { model, messages, tools: [{ type: "function", function: { name: "f" } }] }));
await refused("bounds", 400, "temperature",
              () => client.chat.completions.create({ model, messages, temperature: -1 }));
await refused("unknown", 400, "colour",
              () => client.chat.completions.create({ model, messages, colour: 1 }));
await refused("model", 404, "model",
              () => client.chat.completions.create({ model: "other", messages }));

console.log(`${count - failed} of ${count} checks hold`);
process.exit(failed > 0 ? 1 : 0);
