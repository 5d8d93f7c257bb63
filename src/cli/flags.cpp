#include "cli/flags.h"

#include <algorithm>

#include "base/ensure.h"
#include "exec/cpu/isa.h"
#include "llm/run_plan.h"
#include "measure/load/prompts.h"
#include "tensor/dtype.h"

namespace quern {

namespace {

using enum FlagKind;
using enum FlagGroup;

// Names: vLLM's; aliases: llama.cpp's. Defaults stand in the help text and are applied where the
// flag is read.
constexpr Flag kFlags[] = {
    {"--json", "", kSwitch, kOutput, "", "one JSON object on stdout"},
    {"--verbose", "", kSwitch, kOutput, "", "durations and rates on stderr at the end"},
    {"--log-level", "", kValue, kOutput, "LEVEL", "debug, info, warning (default), error or off"},

    {"--executor", "", kValue, kLoad, "NAME", "default cpu; ", "", executor_names},
    {"--isa", "", kValue, kLoad, "LEVEL", "auto (default), ", "", cpu::isa_names},
    {"--threads", "-t", kValue, kLoad, "N", "default: the cores this process may use"},
    {"--dtype", "", kValue, kLoad, "TYPE", "weights: auto (as stored), ", "", dtype_names},
    {"--dtype-override", "", kRepeatable, kLoad, "REGEX=TYPE",
     "for weights whose name matches; the first match wins"},
    {"--activations", "", kValue, kLoad, "KIND",
     "auto (int8 with quantised weights, in blocks of 32 or for w8a8 by token, else f32), f32, "
     "int8"},
    {"--kv-cache-dtype", "-ctk --cache-type-k", kValue, kLoad, "TYPE",
     "auto (by the type of most weight bytes), f32, f16, bf16, q8_0, q4_0, fp8_e4m3"},
    {"--cache-type-v", "-ctv", kValue, kLoad, "TYPE",
     "as --kv-cache-dtype: values have the type of keys", "--kv-cache-dtype"},
    {"--max-model-len", "-c --ctx-size", kValue, kLoad, "N",
     "tokens of one sequence; auto (default): the model's, lowered until memory suffices"},
    {"--max-num-seqs", "-np --parallel", kValue, kLoad, "N", "sequences at once (default 16)"},
    {"--max-num-batched-tokens", "-b --batch-size", kValue, kLoad, "N",
     "prompt tokens of one step (default 512)"},
    {"--memory-limit", "", kValue, kLoad, "SIZE", "refuse to start above it (8GiB, 512M)"},
    {"--kv-cache-memory-bytes", "", kValue, kLoad, "SIZE",
     "blocks of keys and values that all sequences share (default: as many as --max-num-seqs need "
     "at their longest)"},
    {"--weight-cache", "", kValue, kLoad, "DIR|off",
     "where packed weights are kept for the next start (default: the user's cache folder)"},
    {"--seed", "-s", kValue, kLoad, "N", "default: random, printed"},
    {"--no-kv-cache", "", kSwitch, kLoad, "", "compute the whole prefix anew for each token"},
    {"--enable-prefix-caching", "--cache-prompt", kNegatable, kLoad, "",
     "reuse the keys and values of equal prefixes (default on)"},
    {"--no-fuse", "", kOptional, kLoad, "NAME,..", "leave out these fusions, or all"},
    {"--scheduling", "", kValue, kLoad, "KIND", "continuous (default) or static"},

    {"--max-tokens", "-n --n-predict", kValue, kRequest, "N",
     "of the answer (128 with a prompt; the rest of the context in chat)"},
    {"--min-tokens", "", kValue, kRequest, "N", "no end before so many"},
    {"--temperature", "--temp", kValue, kRequest, "X", "0 is greedy; default: the model's, else 1"},
    {"--top-k", "", kValue, kRequest, "N", "sample from the N likeliest; 0: all"},
    {"--top-p", "", kValue, kRequest, "X", "from the likeliest that sum to X; default 1"},
    {"--min-p", "", kValue, kRequest, "X", "drop what is below X times the likeliest"},
    {"--typical-p", "--typical", kValue, kRequest, "X", "locally typical sampling; 1: off"},
    {"--repetition-penalty", "--repeat-penalty", kValue, kRequest, "X", "1: off"},
    {"--presence-penalty", "", kValue, kRequest, "X", "0: off"},
    {"--frequency-penalty", "", kValue, kRequest, "X", "0: off"},
    {"--logit-bias", "", kRepeatable, kRequest, "ID=X", "added to the logit of a token"},
    {"--stop", "", kRepeatable, kRequest, "TEXT", "end before this text"},
    {"--stop-token-ids", "", kRepeatable, kRequest, "ID", "end at this token"},
    {"--allowed-token-ids", "", kRepeatable, kRequest, "ID", "nothing but these tokens can come"},
    {"--bad-words", "", kRepeatable, kRequest, "TEXT",
     "the tokens of these words cannot come in a row"},
    {"--ignore-eos", "", kSwitch, kRequest, "", "do not end at the model's end tokens"},
    {"--logprobs", "", kValue, kRequest, "K", "log-probabilities with the K likeliest (0 to 20)"},
    {"--prompt-logprobs", "", kValue, kRequest, "K", "the same for the prompt"},
    {"--logits-hash", "", kSwitch, kRequest, "", "a hash of the logits per token"},

    {"--model", "-m", kValue, kCommand, "MODEL", "the same as the first argument"},
    {"--prompt", "-p", kValue, kCommand, "TEXT", "the same as the second argument"},
    {"--messages", "", kValue, kCommand, "FILE", "a JSON array of messages"},
    {"--raw", "", kSwitch, kCommand, "", "no chat template"},
    {"--system", "-sys", kValue, kCommand, "TEXT", "the system message"},
    {"--prompts", "", kValue, kCommand, "FILE|-", "one JSON request a line, run together"},
    {"--unordered", "", kSwitch, kCommand, "", "answers as they end, not in input order",
     "--prompts"},
    {"--summary", "", kValue, kCommand, "FILE", "write totals of --prompts there", "--prompts"},
    {"--image", "", kRepeatable, kCommand, "FILE", "an image for the prompt"},

    {"--chat-template-file", "", kValue, kCommand, "FILE",
     "instead of the model's own chat template: Jinja (*.jinja), or JSON that has one"},

    {"--container", "", kSwitch, kCommand, "", "the file format alone, whatever the model"},
    {"--program", "", kSwitch, kCommand, "", "the steps the model computes"},
    {"--batch", "", kValue, kCommand, "N", "sequences the costs are for (default 1)", "--program"},
    {"--context", "", kValue, kCommand, "N", "context the costs are for (default 128)",
     "--program"},

    {"--text", "", kValue, kCommand, "TEXT", "default: all of stdin"},
    {"--special-tokens", "", kNegatable, kCommand, "", "add what the tokenizer adds (default on)"},
    {"--parse-special", "", kNegatable, kCommand, "",
     "recognise special tokens in the text (default on)"},
    {"--jsonl", "", kSwitch, kCommand, "", "one JSON object a line, in and out"},
    {"--decode", "", kSwitch, kCommand, "", "ids to text"},
    {"--skip-special-tokens", "", kSwitch, kCommand, "", "leave them out of the text", "--decode"},

    {"--tools", "", kValue, kCommand, "FILE", "a JSON array of tools"},
    {"--vars", "", kValue, kCommand, "FILE", "a JSON object of further variables"},
    {"--generation-prompt", "", kNegatable, kCommand, "",
     "end with the start of an answer (default on)"},
    {"--now", "", kValue, kCommand, "TIME", "2024-07-26T12:00:00 for strftime_now"},

    {"--ids", "", kSwitch, kCommand, "", "FILE is a JSON array of token ids"},
    {"--ctx", "", kValue, kCommand, "N", "tokens of a window (default: min(512, context))"},
    {"--method", "", kValue, kCommand, "NAME", "window (default) or llama.cpp"},
    {"--reference", "", kValue, kCommand, "MODEL", "also the KL divergence from this model"},
    {"--reference-dtype", "", kValue, kCommand, "TYPE", "as --dtype, for --reference",
     "--reference"},
    {"--reference-kv-cache-dtype", "", kValue, kCommand, "TYPE", "as --kv-cache-dtype",
     "--reference"},
    {"--reference-activations", "", kValue, kCommand, "KIND", "as --activations", "--reference"},

    {"--keep", "", kRepeatable, kCommand, "REGEX=TYPE",
     "of matrices whose name matches; the first match wins"},
    {"--calibrate", "", kValue, kCommand, "FILE", "text to choose scales by"},
    {"--force", "", kSwitch, kCommand, "", "replace a file that exists"},

    {"--ceilings", "", kSwitch, kCommand, "", "measure what this machine can do"},
    {"--probe", "", kSwitch, kCommand, "",
     "measure reading and the integer units alone, in a second or two; nothing is stored"},

    {"--n-prompt", "-p", kValue, kCommand, "N,..", "prompt lengths (default 512)"},
    {"--n-gen", "-n", kValue, kCommand, "N,..", "tokens to generate (default 128)"},
    {"--n-depth", "-d", kValue, kCommand, "N,..", "tokens in the context before (default 0)"},
    {"--batches", "-b", kValue, kCommand, "N,..", "sequences decoded together (default 1)"},
    {"--repetitions", "-r", kValue, kCommand, "N", "default 5"},
    {"--output", "-o", kValue, kCommand, "FORMAT", "md (default), json, jsonl or csv"},

    {"--host", "", kValue, kCommand, "ADDRESS", "to listen on (default 127.0.0.1)"},
    {"--port", "", kValue, kCommand, "N", "default 8000; 0: a free one"},
    {"--served-model-name", "-a --alias", kValue, kCommand, "NAME",
     "the model's name in the API (default: the last part of its path)"},
    {"--api-key", "", kRepeatable, kCommand, "KEY",
     "of serve: asked for on every route but the probes, each a tenant of its own; else what is "
     "sent"},
    {"--api-key-file", "", kValue, kCommand, "FILE", "keys, one a line"},
    {"--ssl-certfile", "--ssl-cert-file", kValue, kCommand, "FILE", "TLS with this certificate",
     "--ssl-keyfile"},
    {"--ssl-keyfile", "--ssl-key-file", kValue, kCommand, "FILE", "and its key", "--ssl-certfile"},
    {"--ready-file", "", kValue, kCommand, "FILE", "write the URL there once requests are taken"},
    {"--drain-timeout", "", kValue, kCommand, "SECONDS",
     "for answers under way when the server is told to stop (default 30)"},
    {"--max-queue", "", kValue, kCommand, "N",
     "requests that may wait beside those that run; more are refused with 503 (default 256)"},
    {"--max-live-tokens", "", kValue, kCommand, "N",
     "prompts and answers at their longest, of all that run or wait, at least the context; more "
     "are refused with 503 (default: no bound)"},
    {"--max-cached-share", "", kValue, kCommand, "X",
     "of the blocks that prefixes of one key (and cache_salt) may hold (default 1)"},
    {"--max-step-stretch", "", kValue, kCommand, "X",
     "a step with prompt tokens takes at most about X times one without, longer where several "
     "prompts wait (default 1.35; 0: no bound)"},
    {"--access-log", "", kValue, kCommand, "FILE|-", "a JSON line for each answer"},
    {"--metrics", "", kSwitch, kCommand, "", "/metrics, which is always there"},
    {"--slots", "", kSwitch, kCommand, "", "/slots, which is always there"},
    {"--jinja", "", kSwitch, kCommand, "", "chat templates in Jinja, as always"},

    {"--backend", "--endpoint-type", kValue, kCommand, "NAME",
     "openai (completions, the default) or openai-chat"},
    {"--base-url", "", kValue, kCommand, "URL", "default http://127.0.0.1:8000"},
    {"--endpoint", "", kValue, kCommand, "PATH",
     "default /v1/completions, of openai-chat /v1/chat/completions"},
    {"--insecure", "", kSwitch, kCommand, "", "take any certificate of an https server"},
    {"--ready-check-timeout-sec", "", kValue, kCommand, "S",
     "wait so long for the server (default 60)"},
    {"--dataset-name", "", kValue, kCommand, "NAME", "default random; ", "", dataset_names},
    {"--dataset-path", "", kValue, kCommand, "FILE", "the dataset, of all but random",
     "--dataset-name"},
    {"--num-prompts", "", kValue, kCommand, "N",
     "requests (default 1000; of a trace all; with a rate and a duration as many as arrive)"},
    {"--random-input-len", "--isl --input-len", kValue, kCommand, "N",
     "tokens of a random prompt (default 1024); words, where no --tokenizer counts them"},
    {"--random-output-len", "--osl --output-len --custom-output-len --sharegpt-output-len", kValue,
     kCommand, "N", "most tokens of an answer (default: the dataset's, else 128)"},
    {"--random-prefix-len", "", kValue, kCommand, "N",
     "tokens before them that all random prompts share (default 0)"},
    {"--random-range-ratio", "", kValue, kCommand, "X",
     "random lengths from 1 - X to 1 + X times those (default 0)"},
    {"--tokenizer", "", kValue, kCommand, "MODEL",
     "counts prompts, and answers again: a model or a file as for tokenize"},
    {"--request-rate", "", kValue, kCommand, "X|inf",
     "requests a second, whatever the answers (default inf: all at once, or as users of "
     "--max-concurrency)"},
    {"--arrivals", "", kValue, kCommand, "KIND",
     "gaps of that rate: poisson (default), gamma, constant; trace: the dataset's own times"},
    {"--burstiness", "", kValue, kCommand, "X",
     "shape of gamma gaps: 1 Poisson, below 1 in bursts, above 1 more even"},
    {"--ramp-up-strategy", "", kValue, kCommand, "KIND",
     "instead of --request-rate one that grows over the requests: linear or exponential"},
    {"--ramp-up-start-rps", "", kValue, kCommand, "X", "requests a second at its beginning",
     "--ramp-up-strategy"},
    {"--ramp-up-end-rps", "", kValue, kCommand, "X", "and at its end", "--ramp-up-strategy"},
    {"--max-concurrency", "", kValue, kCommand, "N",
     "requests under way at once; without a rate so many users, each of whom waits for an answer"},
    {"--benchmark-duration", "", kValue, kCommand, "S", "send nothing new after so long"},
    {"--num-warmups", "", kValue, kCommand, "N",
     "requests before, not counted; the first shows whether the server takes them (default 1)"},
    {"--probe-request-rate", "", kValue, kCommand, "X",
     "requests a second of a few words and one token beside the load, reported apart"},
    {"--profile", "", kSwitch, kCommand, "",
     "have the server record a profile of the load: /start_profile before, /stop_profile after"},
    {"--mode", "", kValue, kCommand, "KIND", "stream (default) or sync: whole answers"},
    {"--cancel-rate", "", kValue, kCommand, "X",
     "share of requests that the client leaves in the middle of the answer (default 0)"},
    {"--goodput", "", kRepeatable, kCommand, "METRIC:MS",
     "count requests within all such limits of ttft, tpot, e2el"},
    {"--percentile-metrics", "", kValue, kCommand, "NAME,..",
     "what the console shows (default ttft,tpot,itl,e2el)"},
    {"--metric-percentiles", "", kValue, kCommand, "X,..", "default 50,90,99"},
    {"--save-result", "", kSwitch, kCommand, "",
     "write the JSON to a file too, beside it a line for each request, and a row to runs.csv"},
    {"--save-detailed", "", kSwitch, kCommand, "", "with times and texts of every request",
     "--save-result"},
    {"--result-dir", "", kValue, kCommand, "DIR", "default: here", "--save-result"},
    {"--result-filename", "", kValue, kCommand, "FILE", "default: by backend, rate, model and time",
     "--save-result"},
    {"--metadata", "", kRepeatable, kCommand, "KEY=VALUE",
     "goes into the result, and into the column of runs.csv that has its name"},

    {"--filter", "", kValue, kCommand, "REGEX",
     "names to run: multiply/FORMAT/int8|float/LEVEL/TOKENS and peer/LIBRARY/FORMAT/TOKENS "
     "(default: all of these), step/FORMAT/WHAT"},
};

}  // namespace

std::span<const Flag> flags() { return kFlags; }

const Flag& flag(std::string_view name) {
  const auto found = std::ranges::find(kFlags, name, &Flag::name);
  ENSURE(found != std::end(kFlags), "no flag ", name);
  return *found;
}

}  // namespace quern
