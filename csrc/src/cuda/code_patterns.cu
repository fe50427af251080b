// Different patterns of units, counted in a table of those that were seen.
#include "code_patterns.hpp"
#include "gpu.hpp"

namespace znas::cuda {

namespace {

constexpr unsigned kThreads = 128;
constexpr unsigned long long kNobody =
    ~0ULL;  // a free place; the pattern that is the same has one of its own

// Whether nobody was here with this pattern.
__device__ bool first_with(unsigned long long pattern, unsigned long long* table, Offset slots) {
    if (pattern == kNobody) return atomicCAS(table + slots, kNobody, 0ULL) == kNobody;
    // The upper bits of a product hang on all bits of the pattern.
    Offset place = (pattern * 0x9E3779B97F4A7C15ULL >> 32) & (slots - 1);
    for (;; place = (place + 1) & (slots - 1)) {
        // Patterns never leave the table: what is read is right, or older and free.
        unsigned long long there = table[place];
        if (there == kNobody) there = atomicCAS(table + place, kNobody, pattern);
        if (there == kNobody) return true;
        if (there == pattern) return false;
    }
}

// A thread per entry of a value's codes (y), under a mask (z).
__global__ void __launch_bounds__(kThreads)
    patterns_of_entry(const std::uint16_t* codes, int images, Offset image_codes, const CodeUnits* values,
                      int count, const std::int32_t* times, unsigned long long* tables, Offset slots,
                      std::int32_t* found) {
    const CodeUnits value = values[blockIdx.y];
    if (times[static_cast<unsigned>(count) * blockIdx.z + blockIdx.y] == 0) return;
    const int entry = static_cast<int>(blockIdx.x * kThreads + threadIdx.x);
    const int blocks = (value.channels + kBlock - 1) / kBlock;
    if (entry >= blocks * value.pixels) return;
    codes +=
        static_cast<Offset>(images) * image_codes * blockIdx.z + value.first + static_cast<Offset>(entry);
    unsigned long long patterns[kBlock] = {};
    for (int n = 0; n < images; ++n) {
        const unsigned long long code = codes[image_codes * static_cast<Offset>(n)];
        ZNAS_UNROLL
        for (int c = 0; c < kBlock; ++c) patterns[c] |= (code >> c & 1) << n;
    }
    const int channels = min(kBlock, value.channels - entry / value.pixels * kBlock);
    int fresh = 0;
    ZNAS_UNROLL
    for (int c = 0; c < kBlock; ++c) {
        if (c < channels && first_with(patterns[c], tables + (slots + 1) * blockIdx.z, slots)) ++fresh;
    }
    if (fresh > 0) atomicAdd(found + blockIdx.z, fresh);
}

}  // namespace

cudaError_t count_patterns(const std::uint16_t* codes, int masks, int images, Offset image_codes,
                           const CodeUnits* values, int count, int most_entries, const std::int32_t* times,
                           unsigned long long* tables, Offset slots, std::int32_t* found,
                           cudaStream_t stream) {
    if (masks == 0 || count == 0) return cudaSuccess;
    const dim3 grid((static_cast<unsigned>(most_entries) + kThreads - 1) / kThreads,
                    static_cast<unsigned>(count), static_cast<unsigned>(masks));
    return launch(patterns_of_entry, grid, dim3(kThreads), stream, codes, images, image_codes, values, count,
                  times, tables, slots, found);
}

}  // namespace znas::cuda
