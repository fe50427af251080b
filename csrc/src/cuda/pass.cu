// What a pass has beside its sums: images, merged weights, moments, the classifier.
#include "elements.hpp"
#include "gpu.hpp"
#include "pass.hpp"
#include "planes.hpp"

namespace znas::cuda {

namespace {

constexpr unsigned kThreads = 256;
constexpr unsigned kWarps = kThreads / 32;
constexpr unsigned kAllLanes = 0xFFFFFFFFU;

unsigned blocks_for(std::int64_t threads) {
    return static_cast<unsigned>((threads + kThreads - 1) / kThreads);
}

__device__ Offset thread_here() { return static_cast<Offset>(blockIdx.x) * kThreads + threadIdx.x; }

template <class T>
__device__ T sum_over_warp(T value) {
    for (int other = 16; other > 0; other /= 2) value += __shfl_xor_sync(kAllLanes, value, other);
    return value;
}

// A thread per pixel and four channels; blockIdx.y is the block of channels.
template <class P>
__global__ void images_into(const float* images, int count, int channels, Plane out, char* plane) {
    const Offset size = static_cast<Offset>(out.height * out.width);
    const Offset here = thread_here();
    if (here >= static_cast<Offset>(count) * size * kFours) return;
    const Offset four = here % kFours, pixel = here / kFours % size, image = here / kFours / size;
    float values[4] = {};
    for (Offset c = 0; c < 4; ++c) {
        const Offset channel = blockIdx.y * kBlock + four * 4 + c;
        if (channel >= static_cast<Offset>(channels)) break;
        values[c] = images[(image * static_cast<Offset>(channels) + channel) * size + pixel];
    }
    auto* to = reinterpret_cast<typename P::Four*>(plane + out.bytes * image);
    to[(blockIdx.y * size + pixel) * kFours + four] = P::narrow({values[0], values[1], values[2], values[3]});
}

// A block of threads per chunk (x) and mask (y).
template <class T, T (*kNarrow)(float)>
__global__ void merge_chunk(const MergeChunk* chunks, const MergeTerm* terms, const float* base,
                            const float* mask, int slots, const std::int32_t* exponents, int values,
                            Offset size, T* merged) {
    const MergeChunk chunk = chunks[blockIdx.x];
    mask += blockIdx.y * static_cast<unsigned>(slots);
    exponents += blockIdx.y * static_cast<unsigned>(values);
    T* out = merged + size * blockIdx.y + chunk.out;
    const int unit = chunk.value == kNone ? 0 : exponents[chunk.value];
    for (int i = static_cast<int>(threadIdx.x); i < chunk.count; i += static_cast<int>(kThreads)) {
        float sum = 0;
        for (int t = 0; t < chunk.terms; ++t) {
            const MergeTerm term = terms[chunk.first_term + t];
            const float factor = term.slot == native::kNoSlot ? 1.0F : mask[term.slot];
            if (factor == 0) continue;
            const int source = term.source == kNone ? 0 : exponents[term.source];
            sum += ldexpf(factor, source - unit) * base[term.from + static_cast<Offset>(i)];
        }
        out[i] = kNarrow(sum);
    }
}

// A block of threads per mask, wave after wave; in a wave a thread per step.
__global__ void choose(const __grid_constant__ Pass pass, const Wave* waves, int count, const Read* reads,
                       const std::uint8_t* shared, const float* masks, int slots, std::int32_t* exponents) {
    constexpr int kMantissa = 23, kBias = 127, kInfinite = 255;
    const auto mask = static_cast<int>(blockIdx.x);
    masks += mask * slots;
    exponents += mask * pass.values;
    for (int w = 0; w < count; ++w) {
        const int end = waves[w].first + waves[w].count;
        for (int s = waves[w].first + static_cast<int>(threadIdx.x); s < end;
             s += static_cast<int>(kThreads)) {
            const Step& step = pass.steps[s];
            const int seen = shared[step.value] != 0 ? 0 : mask;
            const int power = pass.largest[seen * pass.values + step.value] >> kMantissa;  // no sign is set
            int exponent = power == kInfinite ? 0 : power == 0 ? kLeast : power - kBias - kTarget;
            for (int r = step.first_read; r < step.first_read + step.reads; ++r) {
                if (reads[r].slot != native::kNoSlot && masks[reads[r].slot] == 0) continue;
                exponent = max(exponent, exponents[reads[r].source] - kMostShift);
            }
            exponents[step.value] = exponent;
        }
        __syncthreads();
    }
}

__device__ bool is_read(const Pass& pass, const Moments& of, int mask) {
    return pass.flags[mask * pass.mask_flags + of.flag] != 0;
}

// A block of threads per image (x), block of channels (y) and mask (z).
template <class P>
__global__ void moments_of_image(const __grid_constant__ Pass pass, Moments of, double* partial) {
    __shared__ double sums[kThreads][4];
    __shared__ double squares[kThreads][4];
    const int image = static_cast<int>(blockIdx.x), block = static_cast<int>(blockIdx.y);
    const Plane plane = of.plane;
    const int mask = static_cast<int>(blockIdx.z), size = plane.height * plane.width;
    if (!is_read(pass, of, mask)) return;  // the whole block; nobody has written the plane
    const int four = static_cast<int>(threadIdx.x) % kFours;
    double sum[4] = {}, square[4] = {};
    const auto* pixels = plane_of<P>(pass, plane, mask, image) + block * size * kFours + four;
    for (int p = static_cast<int>(threadIdx.x) / kFours; p < size; p += static_cast<int>(kThreads) / kFours) {
        const float4 of = P::widen(pixels[p * kFours]);
        const double values[4] = {of.x, of.y, of.z, of.w};
        for (int c = 0; c < 4; ++c) {
            sum[c] += values[c];
            square[c] += values[c] * values[c];
        }
    }
    for (int c = 0; c < 4; ++c) {
        sums[threadIdx.x][c] = sum[c];
        squares[threadIdx.x][c] = square[c];
    }
    __syncthreads();
    if (threadIdx.x >= kBlock) return;
    const int c = static_cast<int>(threadIdx.x) % 4;
    double total = 0, total_square = 0;
    for (int t = static_cast<int>(threadIdx.x) / 4; t < static_cast<int>(kThreads); t += kFours) {
        total += sums[t][c];
        total_square += squares[t][c];
    }
    const auto unit =
        static_cast<Offset>(mask) * static_cast<Offset>(pass.count) + static_cast<Offset>(image);
    double* to =
        partial +
        ((unit * static_cast<Offset>(plane.blocks) + static_cast<Offset>(block)) * kBlock + threadIdx.x) * 2;
    to[0] = total;
    to[1] = total_square;
}

// A thread per channel; blockIdx.y is the mask.
__global__ void moments_of_all(const __grid_constant__ Pass pass, Moments of, const double* partial) {
    const auto channels = static_cast<Offset>(of.plane.blocks * kBlock);
    const Offset c = thread_here(), mask = blockIdx.y;
    if (c >= channels) return;
    double total = 0, square = 0;
    const Offset images = is_read(pass, of, static_cast<int>(mask)) ? static_cast<Offset>(pass.count) : 0;
    for (Offset n = 0; n < images; ++n) {
        const double* from = partial + ((mask * static_cast<Offset>(pass.count) + n) * channels + c) * 2;
        total += from[0];
        square += from[1];
    }
    const int exponent = pass.exponents[static_cast<int>(mask) * pass.values + of.value];
    const double size = static_cast<double>(pass.count) * of.plane.height * of.plane.width;
    const double mean = total / size, variance = square / size - mean * mean;
    const auto narrow = static_cast<float>(ldexp(variance < 0 ? 0 : variance, 2 * exponent));  // NaN passes
    float* out = pass.moments + pass.mask_moments * mask + of.out;
    out[c] = static_cast<float>(ldexp(mean, exponent));
    out[channels + c] = narrow;
    out[2 * channels + c] = 1.0F / sqrtf(narrow + native::kEpsilon);
}

// A thread per channel; blockIdx.y is the mask.
__global__ void normalise_step(const __grid_constant__ Pass pass, Normalised of) {
    const Offset c = thread_here(), mask = blockIdx.y;
    if (c >= static_cast<Offset>(of.channels)) return;
    const float* moments = pass.moments + pass.mask_moments * mask + of.moments;
    float* vectors = pass.vectors + pass.mask_vectors * mask + c;
    const int exponent = pass.exponents[static_cast<int>(mask) * pass.values + of.source];
    const float scale =
        vectors[of.scale] == 0 ? 0 : vectors[of.scale] * moments[2 * of.channels + static_cast<int>(c)];
    vectors[of.scale] = scale;
    if (scale != 0) vectors[of.bias] -= scale * ldexpf(moments[c], -exponent);
}

// A block of threads per image (x) and mask (y): mean over pixels, then the classifier; a warp per four
// channels or per class.
template <class P>
__global__ void classify_image(const __grid_constant__ Pass pass, const HeadSource* sources,
                               const int* values, int count, int features, bool rectified,
                               const float* weights, int classes, float* pooled, float* logits) {
    const int image = static_cast<int>(blockIdx.x), mask = static_cast<int>(blockIdx.y);
    const auto unit =
        static_cast<Offset>(mask) * static_cast<Offset>(pass.count) + static_cast<Offset>(image);
    const int warp = static_cast<int>(threadIdx.x / 32), lane = static_cast<int>(threadIdx.x % 32);
    float* means = pooled + unit * static_cast<Offset>(features);
    int first = 0;
    for (int s = 0; s < count; ++s) {
        const HeadSource source = sources[s];
        const int size = source.plane.height * source.plane.width;
        const int exponent = pass.exponents[mask * pass.values + values[s]];
        const auto* pixels = plane_of<P>(pass, source.plane, mask, image);
        for (int four = warp; four * 4 < source.channels; four += static_cast<int>(kWarps)) {
            float total[4] = {};
            for (int p = lane; p < size; p += 32) {
                auto x = pixels[(four / kFours * size + p) * kFours + four % kFours];
                if (rectified) x = P::rectified(x);
                const float4 wide = P::widen(x);
                total[0] += wide.x;
                total[1] += wide.y;
                total[2] += wide.z;
                total[3] += wide.w;
            }
            for (int c = 0; c < 4; ++c) {
                const float sum = sum_over_warp(total[c]);
                if (lane == 0 && four * 4 + c < source.channels) {
                    means[first + four * 4 + c] = ldexpf(sum / static_cast<float>(size), exponent);
                }
            }
        }
        first += source.channels;
    }
    __syncthreads();
    for (int k = warp; k < classes; k += static_cast<int>(kWarps)) {
        double total = 0;
        for (int i = lane; i < features; i += 32) {
            total += static_cast<double>(weights[static_cast<Offset>(k) * static_cast<Offset>(features) +
                                                 static_cast<Offset>(i)]) *
                     static_cast<double>(means[i]);
        }
        total = sum_over_warp(total);
        if (lane == 0) {
            logits[unit * static_cast<Offset>(classes) + static_cast<Offset>(k)] = static_cast<float>(total);
        }
    }
}

// A block of threads per mask, a thread per image.
__global__ void count_of_mask(const float* logits, const std::int64_t* labels, int images, int classes,
                              Count* counts) {
    const auto mask = static_cast<Offset>(blockIdx.x);
    Count mine{};
    for (int image = static_cast<int>(threadIdx.x); image < images; image += static_cast<int>(kThreads)) {
        const float* scores = logits + (mask * static_cast<Offset>(images) + static_cast<Offset>(image)) *
                                           static_cast<Offset>(classes);
        int best = 0;
        bool finite = true;
        for (int c = 0; c < classes; ++c) {
            if (scores[c] > scores[best]) best = c;
            finite = finite && fabsf(scores[c]) < INFINITY;  // NaN is not
        }
        mine.correct += best == labels[image] ? 1 : 0;
        mine.not_finite += finite ? 0 : 1;
    }
    __shared__ Count warps[kWarps];
    mine.correct = sum_over_warp(mine.correct);
    mine.not_finite = sum_over_warp(mine.not_finite);
    if (threadIdx.x % 32 == 0) warps[threadIdx.x / 32] = mine;
    __syncthreads();
    if (threadIdx.x != 0) return;
    Count total{};
    for (const Count& of : warps) {
        total.correct += of.correct;
        total.not_finite += of.not_finite;
    }
    counts[mask] = total;
}

}  // namespace

template <class P>
cudaError_t Kernels<P>::load_images(const float* images, int count, int channels, const Plane& out,
                                    char* plane, cudaStream_t stream) {
    const dim3 grid(blocks_for(std::int64_t{count} * out.height * out.width * kFours),
                    static_cast<unsigned>(out.blocks));
    return launch(images_into<P>, grid, dim3(kThreads), stream, images, count, channels, out, plane);
}

template <class P>
cudaError_t Kernels<P>::merge(const MergeChunk* chunks, std::size_t count, const MergeTerm* terms,
                              const float* base, const float* mask, int slots, const std::int32_t* exponents,
                              int values, int masks, Offset size, void* merged, cudaStream_t stream) {
    if (count == 0) return cudaSuccess;
    const dim3 grid(static_cast<unsigned>(count), static_cast<unsigned>(masks));
    using Element = typename P::Element;
    return launch(merge_chunk<Element, P::element>, grid, dim3(kThreads), stream, chunks, terms, base, mask,
                  slots, exponents, values, size, static_cast<Element*>(merged));
}

template <class P>
cudaError_t Kernels<P>::measure(const Pass& pass, const Moments& moments, double* partial,
                                cudaStream_t stream) {
    const dim3 grid(static_cast<unsigned>(pass.count), static_cast<unsigned>(moments.plane.blocks),
                    static_cast<unsigned>(pass.masks));
    const cudaError_t error =
        launch(moments_of_image<P>, grid, dim3(kThreads), stream, pass, moments, partial);
    if (error != cudaSuccess) return error;
    const dim3 channels(blocks_for(moments.plane.blocks * kBlock), static_cast<unsigned>(pass.masks));
    return launch(moments_of_all, channels, dim3(kThreads), stream, pass, moments, partial);
}

template <class P>
cudaError_t Kernels<P>::classify(const Pass& pass, const HeadSource* sources, const int* values, int count,
                                 int features, bool rectified, const float* weights, int classes,
                                 float* pooled, float* logits, cudaStream_t stream) {
    const dim3 grid(static_cast<unsigned>(pass.count), static_cast<unsigned>(pass.masks));
    return launch(classify_image<P>, grid, dim3(kThreads), stream, pass, sources, values, count, features,
                  rectified, weights, classes, pooled, logits);
}

template struct Kernels<Float32>;
template struct Kernels<BFloat16>;
template struct Kernels<Float16>;

cudaError_t choose_exponents(const Pass& pass, const Wave* waves, int count, const Read* reads,
                             const std::uint8_t* shared, const float* masks, int slots,
                             std::int32_t* exponents, cudaStream_t stream) {
    return launch(choose, dim3(static_cast<unsigned>(pass.masks)), dim3(kThreads), stream, pass, waves, count,
                  reads, shared, masks, slots, exponents);
}

cudaError_t count_correct(const float* logits, const std::int64_t* labels, int masks, int images, int classes,
                          Count* counts, cudaStream_t stream) {
    return launch(count_of_mask, dim3(static_cast<unsigned>(masks)), dim3(kThreads), stream, logits, labels,
                  images, classes, counts);
}

cudaError_t normalise(const Pass& pass, const Normalised& of, cudaStream_t stream) {
    const dim3 grid(blocks_for(of.channels), static_cast<unsigned>(pass.masks));
    return launch(normalise_step, grid, dim3(kThreads), stream, pass, of);
}

}  // namespace znas::cuda
