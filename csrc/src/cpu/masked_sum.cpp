#include "znas/masked_sum.hpp"

#include <algorithm>
#include <vector>

#include "dispatch.hpp"
#include "parallel.hpp"

namespace znas {

namespace {

constexpr std::size_t kBlock = 16384;  // elements per task: 64 KB of every tensor, well past a thread's start

}  // namespace

void masked_sum(std::span<const float* const> tensors, std::span<const float> coefficients,
                std::span<float> out, Isa isa, int threads) {
    const KernelTable& table = kernels(isa);

    std::vector<const float*> terms;
    std::vector<float> weights;
    for (std::size_t t = 0; t < tensors.size(); ++t) {
        if (coefficients[t] == 0.0F) continue;
        terms.push_back(tensors[t]);
        weights.push_back(coefficients[t]);
    }

    const std::size_t tasks = (out.size() + kBlock - 1) / kBlock;
    parallel_for(tasks, threads, [&](std::size_t task) {
        const std::size_t begin = task * kBlock;
        const std::size_t end = std::min(begin + kBlock, out.size());
        table.masked_sum(terms.data(), weights.data(), terms.size(), begin, end, out.data());
    });
}

}  // namespace znas
