// The CUDA kernels against the reference, bit for bit, on sizes around every tile and block boundary.
// A plain executable: it says what failed and returns 1, or 77 where there is no GPU (ctest: skipped).
#include <cuda_runtime_api.h>

#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <limits>
#include <random>
#include <vector>

#include "znas/codes.hpp"
#include "znas/count_correct.hpp"
#include "znas/cuda/kernels.hpp"
#include "znas/masked_sum.hpp"

namespace {

using znas::Isa;

constexpr int kSkipped = 77;
int failures = 0;

void check(cudaError_t error, const char* what) {
    if (error == cudaSuccess) return;
    std::printf("FAILED %s: %s\n", what, cudaGetErrorString(error));
    std::exit(1);
}

template <typename T>
void expect_equal(const std::vector<T>& expected, const std::vector<T>& found, const char* what,
                  std::size_t size) {
    if (expected == found) return;
    ++failures;
    std::printf("FAILED %s: size %zu\n", what, size);
}

// An array on the device.
template <typename T>
class Array {
  public:
    explicit Array(const std::vector<T>& values) : size_(values.size()) {
        check(cudaMalloc(&data_, (size_ + 1) * sizeof(T)), "cudaMalloc");
        check(cudaMemcpy(data_, values.data(), size_ * sizeof(T), cudaMemcpyHostToDevice), "cudaMemcpy");
    }
    Array(const Array&) = delete;
    Array& operator=(const Array&) = delete;
    ~Array() { cudaFree(data_); }

    T* data() const { return static_cast<T*>(data_); }
    std::vector<T> values() const {
        std::vector<T> found(size_);
        check(cudaDeviceSynchronize(), "kernel");
        check(cudaMemcpy(found.data(), data_, size_ * sizeof(T), cudaMemcpyDeviceToHost), "cudaMemcpy");
        return found;
    }

  private:
    std::size_t size_;
    void* data_ = nullptr;
};

std::vector<float> normal(std::mt19937& rng, std::size_t size) {
    std::normal_distribution<float> draw;
    std::vector<float> values(size);
    for (float& value : values) value = draw(rng);
    return values;
}

void masked_sum(std::mt19937& rng) {
    for (const std::size_t size : {0, 1, 255, 256, 257, 3000000}) {
        std::vector<std::vector<float>> tensors;
        for (int t = 0; t < 4; ++t) tensors.push_back(normal(rng, size));
        tensors[2].assign(size, std::numeric_limits<float>::quiet_NaN());  // under a zero: never read
        const std::vector<float> coefficients{0.2F, -1.5F, 0.0F, 3e-3F};
        std::vector<const float*> pointers;
        for (const auto& tensor : tensors) pointers.push_back(tensor.data());
        std::vector<float> expected(size);
        znas::masked_sum(pointers, coefficients, expected, Isa::kReference, 1);

        const Array<float> a(tensors[0]), b(tensors[1]), c(tensors[2]), d(tensors[3]), out(expected);
        const Array<const float*> there({a.data(), b.data(), c.data(), d.data()});
        const Array<float> scales(coefficients);
        check(cudaMemset(out.data(), 0xFF, size * sizeof(float)), "cudaMemset");
        check(znas::cuda::masked_sum(there.data(), scales.data(), 4, size, out.data(), nullptr),
              "masked_sum");
        expect_equal(expected, out.values(), "masked_sum", size);
    }
}

void count_correct(std::mt19937& rng) {
    constexpr std::size_t kMasks = 3;
    for (const std::size_t images : {0, 1, 255, 256, 1000}) {
        for (const std::size_t classes : {1, 10, 120}) {
            std::vector<float> logits = normal(rng, kMasks * images * classes);
            for (float& logit : logits) logit = std::round(logit);  // many ties
            std::uniform_int_distribution<std::int64_t> draw(0, static_cast<std::int64_t>(classes) - 1);
            std::vector<std::int64_t> labels(images);
            for (std::int64_t& label : labels) label = draw(rng);
            std::vector<std::int64_t> expected(kMasks);
            znas::count_correct(logits.data(), labels.data(), kMasks, images, classes, expected.data(),
                                Isa::kReference, 1);

            const Array<float> scores(logits);
            const Array<std::int64_t> truth(labels), counts(std::vector<std::int64_t>(kMasks, -1));
            check(znas::cuda::count_correct(scores.data(), truth.data(), kMasks, images, classes,
                                            counts.data(), nullptr),
                  "count_correct");
            expect_equal(expected, counts.values(), "count_correct", images);
        }
    }
}

void add_code_gram(std::mt19937& rng) {
    for (const std::size_t images : {1, 15, 16, 17, 70}) {
        for (const std::size_t units : {0, 1, 64, 65, 2048, 5000}) {
            const std::vector<float> activations = normal(rng, images * units);
            std::vector<std::uint64_t> codes(images * znas::code_words(units));
            znas::pack_codes(activations.data(), images, units, codes.data(), Isa::kReference, 1);
            std::vector<std::int64_t> expected(images * images);
            znas::code_gram(codes.data(), images, units, expected.data(), Isa::kReference, 1);

            const Array<std::uint64_t> packed(codes);
            const Array<std::int64_t> gram(std::vector<std::int64_t>(images * images, -1));
            check(znas::cuda::add_code_gram(packed.data(), images, units, 3, gram.data(), nullptr),
                  "add_code_gram");
            for (std::int64_t& alike : expected) alike = 3 * alike - 1;
            expect_equal(expected, gram.values(), "add_code_gram", units);
        }
    }
}

}  // namespace

int main() {
    int devices = 0;
    if (cudaGetDeviceCount(&devices) != cudaSuccess || devices == 0) {
        std::printf("skipped: no GPU\n");
        return kSkipped;
    }
    std::mt19937 rng(7);
    masked_sum(rng);
    count_correct(rng);
    add_code_gram(rng);
    if (failures == 0) std::printf("all equal\n");
    return failures == 0 ? 0 : 1;
}
