#include "znas/count_correct.hpp"

#include <algorithm>
#include <atomic>

#include "dispatch.hpp"
#include "parallel.hpp"

namespace znas {

namespace {

constexpr std::size_t kElements = 65536;  // logits per task

}  // namespace

void count_correct(const float* logits, const std::int64_t* labels, std::size_t masks, std::size_t images,
                   std::size_t classes, std::int64_t* counts, Isa isa, int threads) {
    const KernelTable& table = kernels(isa);
    std::fill_n(counts, masks, 0);

    // A task is a range of the masks * images rows; it may begin and end in the middle of a mask.
    const std::size_t rows = masks * images;
    const std::size_t grain = std::max<std::size_t>(1, kElements / std::max<std::size_t>(1, classes));
    parallel_for((rows + grain - 1) / grain, threads, [&](std::size_t task) {
        const std::size_t end = std::min((task + 1) * grain, rows);
        for (std::size_t row = task * grain; row < end;) {
            const std::size_t mask = row / images;
            const std::size_t stop = std::min((mask + 1) * images, end);
            const std::int64_t correct = table.count_correct(
                logits + row * classes, labels + (row - mask * images), stop - row, classes);
            std::atomic_ref(counts[mask]).fetch_add(correct, std::memory_order_relaxed);
            row = stop;
        }
    });
}

}  // namespace znas
