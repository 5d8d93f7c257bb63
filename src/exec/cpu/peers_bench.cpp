// OpenBLAS and oneDNN at the work of the product kernels: y[T, N] = x[T, K] * weights[N, K]^T.
// Weights are packed before, where the library can, and lie in as many copies as four last-level
// caches hold. The integer product of oneDNN has no scales and gives int32: less work than a
// quantised format's.
#include "exec/cpu/peers_bench.h"

#include <unistd.h>

#include <algorithm>

#ifdef QUERN_HAS_OPENBLAS
#include <cblas.h>
#endif
#ifdef QUERN_HAS_ONEDNN
#include <dnnl.hpp>
#include <unordered_map>
#endif

namespace quern {
namespace {

#if defined(QUERN_HAS_OPENBLAS) || defined(QUERN_HAS_ONEDNN)

int64_t num_copies(int64_t matrix_bytes) {
  const int64_t l3 = std::max<int64_t>(32 << 20, ::sysconf(_SC_LEVEL3_CACHE_SIZE));
  return std::clamp<int64_t>(4 * l3 / matrix_bytes, 2, 512);
}

void count(benchmark::State& state, int64_t matrix_bytes, int64_t rows, int64_t cols,
           int64_t tokens) {
  state.counters["bytes"] = static_cast<double>(matrix_bytes);
  state.counters["operations"] = 2.0 * static_cast<double>(rows * cols * tokens);
}

#endif

#ifdef QUERN_HAS_OPENBLAS

void openblas_f32(benchmark::State& state, int64_t rows, int64_t cols, int64_t tokens) {
  openblas_set_num_threads(1);
  const int64_t copies = num_copies(rows * cols * 4);
  // Kept for the next number of tokens; all cases have the same matrix.
  static const std::vector<float> weights(static_cast<size_t>(copies * rows * cols), 0.5f);
  const std::vector<float> x(static_cast<size_t>(tokens * cols), 0.25f);
  std::vector<float> y(static_cast<size_t>(tokens * rows));
  int64_t copy = 0;
  for (auto _ : state) {
    const float* const w = weights.data() + copy * rows * cols;
    const auto n = static_cast<blasint>(rows), k = static_cast<blasint>(cols);
    if (tokens == 1) {
      cblas_sgemv(CblasRowMajor, CblasNoTrans, n, k, 1, w, k, x.data(), 1, 0, y.data(), 1);
    } else {
      cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, static_cast<blasint>(tokens), n, k, 1,
                  x.data(), k, w, k, 0, y.data(), n);
    }
    benchmark::ClobberMemory();
    copy = (copy + 1) % copies;
  }
  count(state, rows * cols * 4, rows, cols, tokens);
}

#endif

#ifdef QUERN_HAS_ONEDNN

using dnnl::memory;

void onednn(benchmark::State& state, memory::data_type in, memory::data_type out, int64_t rows,
            int64_t cols, int64_t tokens) {
  try {
    dnnl::engine engine(dnnl::engine::kind::cpu, 0);
    dnnl::stream stream(engine);
    using Tag = memory::format_tag;
    const memory::desc x_desc({tokens, cols}, in, Tag::ab);
    const memory::desc y_desc({tokens, rows}, out, Tag::ab);
    const memory::desc plain({cols, rows}, in, Tag::ba);
    const memory::desc any({cols, rows}, in, Tag::any);
    const dnnl::matmul::primitive_desc plan(dnnl::matmul::desc(x_desc, any, y_desc), engine);
    const dnnl::matmul product(plan);
    memory x(x_desc, engine), y(y_desc, engine), stored(plain, engine);
    auto* const bytes = static_cast<unsigned char*>(stored.get_data_handle());
    // Small numbers of either sign in each of the types.
    for (size_t i = 0; i < plain.get_size(); ++i) bytes[i] = i % 4 == 3 ? 0x3C : 0x01;
    auto* const x_bytes = static_cast<unsigned char*>(x.get_data_handle());
    for (size_t i = 0; i < x_desc.get_size(); ++i) x_bytes[i] = i % 4 == 3 ? 0x3C : 0x01;
    const auto packed_bytes = static_cast<int64_t>(plan.weights_desc().get_size());
    std::vector<memory> packed;
    for (int64_t i = 0; i < num_copies(packed_bytes); ++i) {
      packed.emplace_back(plan.weights_desc(), engine);
      dnnl::reorder(stored, packed.back()).execute(stream, stored, packed.back());
    }
    stream.wait();
    size_t copy = 0;
    for (auto _ : state) {
      product.execute(stream,
                      {{DNNL_ARG_SRC, x}, {DNNL_ARG_WEIGHTS, packed[copy]}, {DNNL_ARG_DST, y}});
      stream.wait();
      copy = (copy + 1) % packed.size();
    }
    count(state, packed_bytes, rows, cols, tokens);
  } catch (const dnnl::error& failure) {
    state.SkipWithError(failure.what());  // a type that this CPU lacks
  }
}

void onednn_f32(benchmark::State& state, int64_t rows, int64_t cols, int64_t tokens) {
  onednn(state, memory::data_type::f32, memory::data_type::f32, rows, cols, tokens);
}
void onednn_bf16(benchmark::State& state, int64_t rows, int64_t cols, int64_t tokens) {
  onednn(state, memory::data_type::bf16, memory::data_type::f32, rows, cols, tokens);
}
void onednn_int8(benchmark::State& state, int64_t rows, int64_t cols, int64_t tokens) {
  onednn(state, memory::data_type::s8, memory::data_type::s32, rows, cols, tokens);
}

#endif

}  // namespace

std::vector<PeerBench> peer_benches() {
  std::vector<PeerBench> benches;
#ifdef QUERN_HAS_OPENBLAS
  benches.push_back({"openblas", "f32", openblas_f32});
#endif
#ifdef QUERN_HAS_ONEDNN
  benches.push_back({"onednn", "f32", onednn_f32});
  benches.push_back({"onednn", "bf16", onednn_bf16});
  benches.push_back({"onednn", "int8", onednn_int8});
#endif
  return benches;
}

}  // namespace quern
