#include "cli/commands.h"
#include "cli/load_flags.h"
#include "cli/model_argument.h"
#include "cli/output.h"

namespace quern {

namespace {

std::string mebibytes(int64_t bytes) {
  const int64_t tenths = (bytes * 10 + (1 << 20) - 1) >> 20;
  return cat(tenths / 10, ".", tenths % 10, " MiB");
}

Result<int> run_plan_command(const Arguments& arguments) {
  ASSIGN_OR_RETURN(const RunOptions options, read_load_flags(arguments));
  ASSIGN_OR_RETURN(const std::unique_ptr<Model> model, open_model_argument(arguments));
  ASSIGN_OR_RETURN(const RunPlan plan, plan_run(*model, options));
  const MemoryNeed& need = plan.need;
  if (arguments.on("--json")) {
    print_json({{"bytes",
                 {{"weights", need.weights},
                  {"kv", need.kv},
                  {"work", need.work},
                  {"other", need.other},
                  {"total", need.total()}}},
                {"kv_bytes_per_token", plan.kv_bytes_per_token},
                {"available_bytes", plan.available_bytes},
                {"fits", plan.fits()},
                {"max_context_that_fits", plan.max_context_that_fits},
                {"max_seqs_that_fit", plan.max_seqs_that_fit},
                {"max_model_len", plan.shape.max_model_len},
                {"max_num_seqs", plan.shape.max_num_seqs},
                {"predicted", nullptr}});
    return 0;
  }
  print_text(cat("weights    ", mebibytes(need.weights), "\nKV cache   ", mebibytes(need.kv), " (",
                 plan.kv_bytes_per_token, " bytes a token, ", plan.shape.max_num_seqs,
                 " sequences of ", plan.shape.max_model_len, " tokens)\nwork       ",
                 mebibytes(need.work), "\nother      ", mebibytes(need.other), "\ntotal      ",
                 mebibytes(need.total()), " of ", mebibytes(plan.available_bytes),
                 " available: ", plan.fits() ? "fits" : "does not fit", "\n",
                 plan.context_lowered ? cat("context lowered from the model's ",
                                            plan.program.context_length, " so that it fits\n")
                                      : std::string(),
                 "at most    ", plan.max_context_that_fits, " tokens for ", plan.shape.max_num_seqs,
                 " sequences, or ", plan.max_seqs_that_fit, " sequences of ",
                 plan.shape.max_model_len, " tokens\n"));
  return 0;
}

constexpr std::string_view kFlags[] = {"--model"};

}  // namespace

const Command kPlanCommand = {{.name = "plan",
                               .arguments = "MODEL",
                               .summary = "the memory a run will take, from headers alone",
                               .min_positional = 1,
                               .max_positional = 1,
                               .load_flags = true,
                               .flags = kFlags},
                              run_plan_command};

}  // namespace quern
