// The sums of a pass: a warp has 8 columns x kRows rows of pixels and 16 or more output channels of one image
// under one mask. Convolutions on tensor cores (float32: on CUDA cores); depthwise ones, pools and scaled
// planes in registers on the way.
#include <type_traits>

#include "elements.hpp"
#include "gpu.hpp"
#include "pass.hpp"
#include "planes.hpp"

namespace znas::cuda {

namespace {

constexpr unsigned kWarps = 4;
constexpr unsigned kThreads = 32 * kWarps;
constexpr int kColumns = 8;
constexpr unsigned kAllLanes = 0xFFFFFFFFU;

__device__ void add_scaled(float (&sum)[4], const float4& scale, const float4& x) {
    sum[0] += scale.x * x.x;
    sum[1] += scale.y * x.y;
    sum[2] += scale.z * x.z;
    sum[3] += scale.w * x.w;
}

// The lane's four channels of its pixels. Lane 4 g + j has column g and channels 4 j .. 4 j + 3 of a block.
// kFused: with separable convolutions, without squares and depthwise ones alone.
template <class P, int kBlocks, int kRows, bool kFused>
struct Lane {
    using Four = typename P::Four;
    using Number = typename P::Number;

    const Pass& pass;
    int image, block, four, x, y, height, width;
    float sums[kBlocks][kRows][4];

    // No member, so that no register holds it.
    __device__ static int mask() { return static_cast<int>(blockIdx.z); }

    __device__ const float4* channels(int vector) const {
        return reinterpret_cast<const float4*>(pass.vectors +
                                               pass.mask_vectors * static_cast<Offset>(mask()) + vector) +
               block * kFours + four;
    }
    __device__ bool left(int flag) const {
        return flag != kNone &&
               pass.flags[static_cast<Offset>(mask()) * static_cast<Offset>(pass.mask_flags) +
                          static_cast<Offset>(flag)] != 0;
    }

    __device__ void begin(int bias) {
        ZNAS_UNROLL
        for (int b = 0; b < kBlocks; ++b) {
            const float4 first = channels(bias)[b * kFours];
            ZNAS_UNROLL
            for (auto& sum : sums[b]) {
                sum[0] = first.x;
                sum[1] = first.y;
                sum[2] = first.z;
                sum[3] = first.w;
            }
        }
    }

    __device__ void add(const Operand& operand) {
        switch (operand.kind) {
            case Operand::Kind::kTaps:
                if (left(operand.flag)) add_taps(operand);
                break;
            case Operand::Kind::kSquare:
                add_square(operand);
                break;
            case Operand::Kind::kSeparable:
                if constexpr (kFused) {
                    if (left(operand.flag)) add_separable(operand);
                }
                break;
            case Operand::Kind::kDepthwise:
                if constexpr (!kFused) {
                    if (left(operand.flag)) add_depthwise(operand);
                }
                break;
            case Operand::Kind::kMaxPool:
                if (left(operand.flag)) add_max_pool(operand);
                break;
            case Operand::Kind::kAveragePool:
                if (left(operand.flag)) add_average_pool(operand);
                break;
            case Operand::Kind::kLinear:
                if (left(operand.flag)) add_linear(operand);
                break;
        }
    }

    // ---- what is read of a plane

    static constexpr int kPixel = kBlock * static_cast<int>(sizeof(typename P::Element));  // bytes

    __device__ static const Four* at(const char* pixel, int step, int i) {
        return reinterpret_cast<const Four*>(pixel + static_cast<std::ptrdiff_t>(step) * i);
    }
    // Row y of column x; word: the plane's first pixel, this lane's channels.
    __device__ static const char* pixel_of(const Four* word, const Plane& plane, int y, int x) {
        return reinterpret_cast<const char*>(word) + (y * plane.width + x) * kPixel;
    }
    __device__ static bool within(int i, int size) {
        return static_cast<unsigned>(i) < static_cast<unsigned>(size);
    }

    // Rows first, first + step, .. of column x of a plane, `outside` beyond it.
    template <int kCount>
    __device__ static void load(Four (&rows)[kCount], const Four* word, const Plane& plane, int first,
                                int step, int x, const Four& outside) {
        const char* pixel = pixel_of(word, plane, first, x);
        ZNAS_UNROLL
        for (int i = 0; i < kCount; ++i) {
            rows[i] = outside;
            if (within(x, plane.width) && within(first + i * step, plane.height)) {
                rows[i] = __ldg(at(pixel, step * plane.width * kPixel, i));
            }
        }
    }

    // The same of neighbouring columns, one after the other. Which rows exist and how far they are apart is
    // found once, so that a pixel costs its load, a zero, a bit and an addition.
    template <int kCount, int kStep>
    struct Column {
        const char* pixel;  // of row `first`
        int step;           // bytes from row to row
        unsigned existing;  // bit i: row first + i * kStep
        int x, width;

        __device__ Column(const Four* word, const Plane& plane, int first, int x)
            : pixel(pixel_of(word, plane, first, x)),
              step(kStep * plane.width * kPixel),
              existing((~0U << rows_until(-first)) & ~(~0U << rows_until(plane.height - first))),
              x(x),
              width(plane.width) {
            keep(step);
        }

        // Of the rows, those that lie in the first so many.
        __device__ static int rows_until(int size) {
            static_assert(kCount < 32);
            return min((max(size, 0) + kStep - 1) / kStep, kCount);
        }

        __device__ void load(Four (&rows)[kCount], const Four& outside) const {
            const unsigned inside = within(x, width) ? existing : 0U;
            ZNAS_UNROLL
            for (int i = 0; i < kCount; ++i) {
                rows[i] = outside;
                if ((inside >> i & 1U) != 0) rows[i] = __ldg(at(pixel, step, i));
            }
        }

        __device__ void move(int columns) {
            x += columns;
            pixel += columns * kPixel;
        }
    };

    __device__ const Four* first_word(const Plane& plane) const {
        return plane_of<P>(pass, plane, mask(), image) + four;
    }
    __device__ static int word_fours(const Plane& plane) { return plane.height * plane.width * kFours; }

    // ---- products

    // sums += pixels * weights; rows[kFirst + i] are the pixels of row i, word: place of the weights of block
    // 0.
    template <int kFirst, int kCount>
    __device__ void multiply(const Four (&rows)[kCount], Offset word, Offset block_words) {
        if constexpr (P::kTensorCores) {
            const int lane = static_cast<int>(threadIdx.x % 32);
            uint4 weights[kBlocks];
            ZNAS_UNROLL
            for (int b = 0; b < kBlocks; ++b) {
                weights[b] = __ldg(reinterpret_cast<const uint4*>(pass.weights) +
                                   (word + static_cast<Offset>(b) * block_words) * 32 + lane);
            }
            ZNAS_UNROLL
            for (int q = 0; q < kRows; q += 2) {
                const Four &upper = rows[kFirst + q], &lower = rows[kFirst + q + 1];
                const std::uint32_t a[4] = {upper.x, lower.x, upper.y, lower.y};
                ZNAS_UNROLL
                for (int b = 0; b < kBlocks; ++b) multiply_four(sums[b][q], sums[b][q + 1], a, weights[b]);
            }
        } else {
            ZNAS_ROLL
            for (int j = 0; j < kFours; ++j) multiply_quarter<kFirst>(rows, word, block_words, j);
        }
    }

    __device__ static void multiply_four(float (&above)[4], float (&below)[4], const std::uint32_t (&a)[4],
                                         const uint4& weights) {
        multiply_add<P>(first_half(above), first_half(below), a, weights.x, weights.y);
        multiply_add<P>(second_half(above), second_half(below), a, weights.z, weights.w);
    }
    __device__ static float (&first_half(float (&sum)[4]))[2] {
        return reinterpret_cast<float (&)[2]>(sum[0]);
    }
    __device__ static float (&second_half(float (&sum)[4]))[2] {
        return reinterpret_cast<float (&)[2]>(sum[2]);
    }

    // float32: the four input channels that lane j of the column has.
    template <int kFirst, int kCount>
    __device__ void multiply_quarter(const Four (&rows)[kCount], Offset word, Offset block_words, int j) {
        const int from = static_cast<int>(threadIdx.x % 32) / kFours * kFours + j;
        float4 weights[kBlocks][4];
        ZNAS_UNROLL
        for (int b = 0; b < kBlocks; ++b) {
            const auto* lying = reinterpret_cast<const float4*>(pass.weights) +
                                (word + static_cast<Offset>(b) * block_words) * (kWord / 4) + 4 * j * kFours;
            ZNAS_UNROLL
            for (int i = 0; i < 4; ++i) weights[b][i] = __ldg(lying + i * kFours + four);
        }
        ZNAS_UNROLL
        for (int q = 0; q < kRows; ++q) {
            const Four& in = rows[kFirst + q];
            const float x[4] = {__shfl_sync(kAllLanes, in.x, from), __shfl_sync(kAllLanes, in.y, from),
                                __shfl_sync(kAllLanes, in.z, from), __shfl_sync(kAllLanes, in.w, from)};
            ZNAS_UNROLL
            for (int b = 0; b < kBlocks; ++b) {
                ZNAS_UNROLL
                for (int i = 0; i < 4; ++i) add_scaled(sums[b][q], weights[b][i], {x[i], x[i], x[i], x[i]});
            }
        }
    }

    // What a pixel is at least: zero where max(plane, 0) is read. Such a maximum is taken in every case; a
    // branch around it would wait for all rows, and keep them in registers.
    __device__ static Four least_of(const Operand& o) { return o.rectified ? P::zero() : P::lowest(); }
    template <int kCount>
    __device__ static void raise(Four (&rows)[kCount], const Four& least) {
        ZNAS_UNROLL
        for (Four& four : rows) four = P::larger(four, least);
    }

    // The weights of this mask, in words.
    __device__ Offset first_weights(const Operand& o) const {
        return (o.weights + pass.mask_weights * static_cast<Offset>(mask())) / kWord;
    }

    __device__ void add_taps(const Operand& o) {
        const Plane plane = o.plane;
        const int taps = o.taps, stride = o.stride;
        const Four least = least_of(o);
        const Tap* places = pass.places + o.places;
        const Offset block_words = static_cast<Offset>(taps * plane.blocks);
        const Offset weights = first_weights(o) + static_cast<Offset>(block) * block_words;
        const Four* pixels = first_word(plane);
        ZNAS_ROLL
        for (int word = 0; word < plane.blocks; ++word) {
            ZNAS_ROLL
            for (int tap = 0; tap < taps; ++tap) {
                const Tap place = places[tap];
                Four rows[kRows];
                load(rows, pixels, plane, y * stride + place.dy, stride, x * stride + place.dx, P::zero());
                raise(rows, least);
                multiply<0>(rows, weights + static_cast<Offset>(tap * plane.blocks + word), block_words);
            }
            pixels += word_fours(plane);
        }
    }

    __device__ void add_square(const Operand& o) {
        const bool product = !kFused && left(o.flag), pool = left(o.pool_flag), linear = left(o.flag_linear);
        if (!product && !pool && !linear) return;
        const Plane plane = o.plane;
        const Four least = least_of(o);
        const Offset block_words = static_cast<Offset>(9 * plane.blocks);
        const Offset weights = first_weights(o) + static_cast<Offset>(block) * block_words;
        const Four* pixels = first_word(plane);
        ZNAS_ROLL
        for (int word = 0; word < plane.blocks; ++word) {
            const bool mine = word >= block && word < block + kBlocks;
            if (mine || product) {
                Number across[kRows + 2] = {};  // of a row's three columns
                Column<kRows + 2, 1> column(pixels, plane, y - 1, x - 1);
                ZNAS_ROLL
                for (int dx = 0; dx < 3; ++dx) {
                    Four rows[kRows + 2];
                    column.load(rows, P::zero());
                    column.move(1);
                    if (mine && pool) add_rows(across, rows);
                    if (mine && linear && dx == 1) add_scaled_rows<1>(o.linear_scale, word - block, rows);
                    if constexpr (kFused) continue;
                    if (!product) continue;
                    raise(rows, least);
                    const Offset at = weights + static_cast<Offset>(dx * plane.blocks + word);
                    const auto tap_row = static_cast<Offset>(3 * plane.blocks);
                    multiply<0>(rows, at, block_words);
                    multiply<1>(rows, at + tap_row, block_words);
                    multiply<2>(rows, at + 2 * tap_row, block_words);
                }
                if (mine && pool) {
                    Number pooled[kRows];
                    ZNAS_UNROLL
                    for (int q = 0; q < kRows; ++q) {
                        pooled[q] = P::sum(P::sum(across[q], across[q + 1]), across[q + 2]);
                    }
                    add_average(o.pool_scale, word - block, pooled, 3, 1, -1, plane);
                }
            }
            pixels += word_fours(plane);
        }
    }

    // A depthwise convolution of 16 channels, which is then a factor of the product.
    __device__ void add_separable(const Operand& o) {
        if (o.kernel == 3) {
            add_windows<3>(o);
        } else {
            add_windows<5>(o);
        }
    }
    template <int kKernel>
    __device__ void add_windows(const Operand& o) {
        if (o.stride == 1) {
            o.dilation == 1 ? add_windows<kKernel, 1, 1>(o) : add_windows<kKernel, 2, 1>(o);
        } else {
            o.dilation == 1 ? add_windows<kKernel, 1, 2>(o) : add_windows<kKernel, 2, 2>(o);
        }
    }

    // A column's share of windows: kRows of them, kStride apart, whose rows are kDilation apart. Of the rows
    // that they span, those that one of them reads are kStep apart.
    template <int kKernel, int kDilation, int kStride>
    struct Windows {
        static constexpr int kStep = kDilation % kStride == 0 ? kStride : 1;
        static constexpr int kSpan = ((kRows - 1) * kStride + (kKernel - 1) * kDilation) / kStep + 1;

        __device__ static void add(Number (&to)[kRows], const Number (&scales)[kKernel],
                                   const Four (&rows)[kSpan]) {
            ZNAS_UNROLL
            for (int r = 0; r < kSpan; ++r) {
                const Number in = P::number_of(rows[r]);
                ZNAS_UNROLL
                for (int ky = 0; ky < kKernel; ++ky) {
                    const int below = r * kStep - ky * kDilation, q = below / kStride;
                    if (below >= 0 && below % kStride == 0 && q < kRows) {
                        to[q] = P::add_product(to[q], scales[ky], in);
                    }
                }
            }
        }
    };

    __device__ const Number* filters_of(const Operand& o) const {
        if constexpr (P::kAddsPairs) {
            return reinterpret_cast<const Number*>(pass.narrow_filters + o.depthwise);
        } else {
            return reinterpret_cast<const Number*>(pass.filters + o.depthwise);
        }
    }

    template <int kKernel, int kDilation, int kStride>
    __device__ void add_windows(const Operand& o) {
        using Read = Windows<kKernel, kDilation, kStride>;
        const Plane plane = o.plane;
        const int first = o.first;
        const Four least = least_of(o);
        const Offset block_words = static_cast<Offset>(plane.blocks);
        const Offset weights = first_weights(o) + static_cast<Offset>(block) * block_words;
        const Number* filters = filters_of(o) + four;
        const Four* pixels = first_word(plane);
        ZNAS_ROLL
        for (int word = 0; word < plane.blocks; ++word) {
            Number made[kRows] = {};
            Column<Read::kSpan, Read::kStep> column(pixels, plane, y * kStride + first, x * kStride + first);
            const Number* taps = filters;
            ZNAS_ROLL
            for (int kx = 0; kx < kKernel; ++kx) {
                Number scales[kKernel];
                ZNAS_UNROLL
                for (int ky = 0; ky < kKernel; ++ky) {
                    scales[ky] = __ldg(taps + ky * kKernel * kFours);
                }
                Four rows[Read::kSpan];
                column.load(rows, P::zero());
                raise(rows, least);
                Read::add(made, scales, rows);
                column.move(kDilation);
                taps += kFours;
            }
            Four rows[kRows];
            ZNAS_UNROLL
            for (int q = 0; q < kRows; ++q) rows[q] = P::four_of(made[q]);
            multiply<0>(rows, weights + static_cast<Offset>(word), block_words);
            pixels += word_fours(plane);
            filters += kKernel * kKernel * kFours;
        }
    }

    // ---- channel by channel: block b of the output from block b of the plane

    template <int kCount>
    __device__ static void add_rows(Number (&to)[kCount], const Four (&rows)[kCount]) {
        ZNAS_UNROLL
        for (int q = 0; q < kCount; ++q) to[q] = P::sum(to[q], P::number_of(rows[q]));
    }

    // b: which of the sums, found by comparison so that they stay in registers.
    template <int kFirst, int kCount>
    __device__ void add_scaled_rows(int scale, int b, const Four (&rows)[kCount]) {
        const float4 scales = channels(scale)[b * kFours];
        ZNAS_UNROLL
        for (int own = 0; own < kBlocks; ++own) {
            if (own != b) continue;
            ZNAS_UNROLL
            for (int q = 0; q < kRows; ++q) add_scaled(sums[own][q], scales, P::widen(rows[kFirst + q]));
        }
    }

    // What a window over [0, size) has from `first` on.
    __device__ static int inside(int first, int kernel, int size) {
        return max(min(first + kernel, size) - max(first, 0), 1);
    }

    __device__ void add_average(int scale, int b, const Number (&pooled)[kRows], int kernel, int stride,
                                int first, const Plane& plane) {
        const float4 scales = channels(scale)[b * kFours];
        const int columns = inside(x * stride + first, kernel, plane.width);
        ZNAS_UNROLL
        for (int own = 0; own < kBlocks; ++own) {
            if (own != b) continue;
            ZNAS_UNROLL
            for (int q = 0; q < kRows; ++q) {
                const int rows = inside((y + q) * stride + first, kernel, plane.height);
                const float part = __fdividef(1.0F, static_cast<float>(rows * columns));
                add_scaled(sums[own][q], {scales.x * part, scales.y * part, scales.z * part, scales.w * part},
                           P::wide(pooled[q]));
            }
        }
    }

    __device__ void add_average_pool(const Operand& o) {
        if (o.kernel == 3 && o.stride == 2) return add_average_of_three<2>(o);
        const Plane plane = o.plane;
        const int kernel = o.kernel, stride = o.stride, first = o.first;
        ZNAS_ROLL
        for (int b = 0; b < kBlocks; ++b) {
            const Four* pixels = first_word(plane) + (block + b) * word_fours(plane);
            Number pooled[kRows] = {};
            ZNAS_ROLL
            for (int tap = 0; tap < kernel * kernel; ++tap) {
                Four rows[kRows];
                load(rows, pixels, plane, y * stride + first + tap / kernel, stride,
                     x * stride + first + tap % kernel, P::zero());
                add_rows(pooled, rows);
            }
            add_average(o.pool_scale, b, pooled, kernel, stride, first, plane);
        }
    }

    // With windows of 3 x 3, of which a column is loaded once.
    template <int kStride>
    __device__ void add_average_of_three(const Operand& o) {
        using Read = Windows<3, 1, kStride>;
        const Plane plane = o.plane;
        const int first = o.first;
        const Number one = P::number({1, 1, 1, 1}), scales[3] = {one, one, one};
        ZNAS_ROLL
        for (int b = 0; b < kBlocks; ++b) {
            Number pooled[kRows] = {};
            Column<Read::kSpan, Read::kStep> column(first_word(plane) + (block + b) * word_fours(plane),
                                                    plane, y * kStride + first, x * kStride + first);
            ZNAS_ROLL
            for (int dx = 0; dx < 3; ++dx) {
                Four rows[Read::kSpan];
                column.load(rows, P::zero());
                column.move(1);
                Read::add(pooled, scales, rows);
            }
            add_average(o.pool_scale, b, pooled, 3, kStride, first, plane);
        }
    }

    template <int kStride>
    __device__ void add_max_of_three(const Operand& o) {
        constexpr int kSpan = Windows<3, 1, kStride>::kSpan;
        const Plane plane = o.plane;
        const int first = o.first;
        ZNAS_ROLL
        for (int b = 0; b < kBlocks; ++b) {
            Four best[kRows];
            ZNAS_UNROLL
            for (Four& four : best) four = P::lowest();
            Column<kSpan, 1> column(first_word(plane) + (block + b) * word_fours(plane), plane,
                                    y * kStride + first, x * kStride + first);
            ZNAS_ROLL
            for (int dx = 0; dx < 3; ++dx) {
                Four rows[kSpan];
                column.load(rows, P::lowest());
                column.move(1);
                ZNAS_UNROLL
                for (int q = 0; q < kRows; ++q) {
                    const int r = q * kStride;
                    best[q] = P::larger(P::larger(best[q], rows[r]), P::larger(rows[r + 1], rows[r + 2]));
                }
            }
            add_scaled_rows<0>(o.pool_scale, b, best);
        }
    }

    __device__ void add_max_pool(const Operand& o) {
        if (o.kernel == 3 && o.stride == 1) return add_max_of_three<1>(o);
        if (o.kernel == 3 && o.stride == 2) return add_max_of_three<2>(o);
        const Plane plane = o.plane;
        const int kernel = o.kernel, stride = o.stride, first = o.first;
        ZNAS_ROLL
        for (int b = 0; b < kBlocks; ++b) {
            const Four* pixels = first_word(plane) + (block + b) * word_fours(plane);
            Four best[kRows];
            ZNAS_UNROLL
            for (Four& four : best) four = P::lowest();
            ZNAS_ROLL
            for (int tap = 0; tap < kernel * kernel; ++tap) {
                Four rows[kRows];
                load(rows, pixels, plane, y * stride + first + tap / kernel, stride,
                     x * stride + first + tap % kernel, P::lowest());
                ZNAS_UNROLL
                for (int q = 0; q < kRows; ++q) best[q] = P::larger(best[q], rows[q]);
            }
            add_scaled_rows<0>(o.pool_scale, b, best);
        }
    }

    // Tap by tap: neighbours read the same pixels, which the first level of cache holds.
    __device__ void add_depthwise(const Operand& o) {
        const Plane plane = o.plane;
        const int kernel = o.kernel, stride = o.stride, first = o.first, dilation = o.dilation;
        const Four least = least_of(o);
        ZNAS_ROLL
        for (int b = 0; b < kBlocks; ++b) {
            const Four* pixels = first_word(plane) + (block + b) * word_fours(plane);
            int filter = o.filters;
            ZNAS_ROLL
            for (int ky = 0; ky < kernel; ++ky) {
                ZNAS_ROLL
                for (int kx = 0; kx < kernel; ++kx) {
                    Four rows[kRows];
                    load(rows, pixels, plane, y * stride + first + ky * dilation, stride,
                         x * stride + first + kx * dilation, P::zero());
                    raise(rows, least);
                    add_scaled_rows<0>(filter, b, rows);
                    filter += plane.blocks * kBlock;
                }
            }
        }
    }

    __device__ void add_linear(const Operand& o) {
        const Plane plane = o.plane;
        ZNAS_ROLL
        for (int b = 0; b < kBlocks; ++b) {
            Four rows[kRows];
            const Four* pixels = first_word(plane) + (block + b) * word_fours(plane);
            load(rows, pixels, plane, y, 1, x, P::zero());
            add_scaled_rows<0>(o.linear_scale, b, rows);
        }
    }

    // ---- what comes out

    __device__ bool is_inside(int q) const { return x < width && y + q < height; }
    __device__ int pixel(int q) const { return (y + q) * width + x; }

    __device__ void store(const Step& step, bool shared) const {
        if (step.stored) store_plane(step.out);
        if (pass.codes != nullptr && step.codes != kNowhere) store_codes(step.codes, shared);
        if (pass.features != nullptr && step.feature != kNowhere) store_features(step, shared);
        if (pass.largest != nullptr) store_largest(step.value);
    }

    __device__ void store_plane(const Plane& plane) const {
        auto* out = const_cast<Four*>(first_word(plane)) + block * word_fours(plane) + pixel(0) * kFours;
        const int row = width * kFours, word = word_fours(plane);
        ZNAS_UNROLL
        for (int b = 0; b < kBlocks; ++b) {
            ZNAS_UNROLL
            for (int q = 0; q < kRows; ++q) {
                const float (&sum)[4] = sums[b][q];
                if (is_inside(q)) out[q * row] = P::narrow({sum[0], sum[1], sum[2], sum[3]});
            }
            out += word;
        }
    }

    __device__ void store_codes(Offset place, bool shared) const {
        ZNAS_UNROLL
        for (int b = 0; b < kBlocks; ++b) {
            ZNAS_UNROLL
            for (int q = 0; q < kRows; ++q) {
                unsigned code = 0;
                for (int c = 0; c < 4; ++c) code |= (sums[b][q][c] > 0 ? 1U : 0U) << (four * 4 + c);
                code |= __shfl_xor_sync(kAllLanes, code, 1);
                code |= __shfl_xor_sync(kAllLanes, code, 2);
                if (is_inside(q) && four == 0) {
                    store_code(place + static_cast<Offset>((block + b) * height * width + pixel(q)), code,
                               shared);
                }
            }
        }
    }

    __device__ void store_features(const Step& step, bool shared) const {
        ZNAS_UNROLL
        for (int b = 0; b < kBlocks; ++b) {
            ZNAS_UNROLL
            for (int q = 0; q < kRows; ++q) {
                if (is_inside(q)) store_feature(step, b, pixel(q), sums[b][q], shared);
            }
        }
    }

    // The largest number of the lanes' pixels, whatever its sign.
    __device__ void store_largest(int value) const {
        float largest = 0;
        ZNAS_UNROLL
        for (int b = 0; b < kBlocks; ++b) {
            ZNAS_UNROLL
            for (int q = 0; q < kRows; ++q) {
                if (!is_inside(q)) continue;
                for (int c = 0; c < 4; ++c) largest = fmaxf(largest, fabsf(sums[b][q][c]));
            }
        }
        for (int other = 16; other > 0; other /= 2) {
            largest = fmaxf(largest, __shfl_xor_sync(kAllLanes, largest, other));
        }
        if (threadIdx.x % 32 == 0) {
            std::int32_t bits;
            memcpy(&bits, &largest, sizeof bits);
            atomicMax(pass.largest + mask() * pass.values + value, bits);
        }
    }

    // Masks that this step's value is the same under: the last of them, from this one on.
    __device__ int last_mask(bool shared) const { return shared ? pass.masks - 1 : mask(); }

    __device__ void store_code(Offset place, unsigned code, bool shared) const {
        for (int m = mask(); m <= last_mask(shared); ++m) {
            pass.codes[(static_cast<Offset>(m) * static_cast<Offset>(pass.count) +
                        static_cast<Offset>(image)) *
                           pass.image_codes +
                       place] = static_cast<std::uint16_t>(code);
        }
    }

    __device__ void store_feature(const Step& step, int b, int pixel, const float (&sum)[4],
                                  bool shared) const {
        const int exponent = pass.exponents[mask() * pass.values + step.value];
        const Offset place = step.feature * static_cast<Offset>(pass.count) +
                             step.feature_image * static_cast<Offset>(image) + step.feature_place;
        for (int c = 0; c < 4; ++c) {
            const int channel = (block + b) * kBlock + four * 4 + c;
            if (channel >= step.channels) return;
            for (int m = mask(); m <= last_mask(shared); ++m) {
                pass.features[pass.mask_features * static_cast<Offset>(m) + place +
                              static_cast<Offset>(channel * height * width + pixel)] =
                    ldexpf(sum[c], exponent);
            }
        }
    }
};

__host__ __device__ unsigned tiles(int size, int tile) {
    return static_cast<unsigned>((size + tile - 1) / tile);
}

// A warp per tile of pixels, group of output blocks, image (x), step of the wave (y) and mask (z).
template <class P, int kBlocks, int kRows, bool kFused, int kResident>
__global__ void __launch_bounds__(kThreads, kResident)
    sums_of(const __grid_constant__ Pass pass, const __grid_constant__ Wave wave) {
    const Step& step = pass.steps[wave.first + static_cast<int>(blockIdx.y)];
    // Division without signs takes half the instructions.
    const unsigned across = tiles(wave.width, kColumns), down = tiles(wave.height, kRows);
    const auto groups = static_cast<unsigned>(wave.blocks / kBlocks),
               images = static_cast<unsigned>(pass.count);
    unsigned index = blockIdx.x * kWarps + threadIdx.x / 32;
    if (index >= groups * across * down * images) return;  // the whole warp, and blocks never wait
    const int block = static_cast<int>(index % groups) * kBlocks;
    index /= groups;
    const int column = static_cast<int>(index % across) * kColumns;
    index /= across;
    const int row = static_cast<int>(index % down) * kRows, lane = static_cast<int>(threadIdx.x % 32);
    Lane<P, kBlocks, kRows, kFused> mine{pass,
                                         static_cast<int>(index / down),
                                         block,
                                         lane % kFours,
                                         column + lane / kFours,
                                         row,
                                         wave.height,
                                         wave.width,
                                         {}};
    if (!mine.left(step.flag)) return;
    mine.begin(step.bias);
    const int first = step.first_operand, last = first + step.operands;
    ZNAS_ROLL
    for (int i = first; i < last; ++i) mine.add(pass.operands[i]);
    mine.store(step, wave.shared);
}

// kResident: blocks of threads that a multiprocessor has registers for.
template <class P, int kBlocks, int kRows, bool kFused, int kResident>
cudaError_t start(const Pass& pass, const Wave& wave, cudaStream_t stream) {
    const unsigned warps = static_cast<unsigned>(wave.blocks / kBlocks) * tiles(wave.width, kColumns) *
                           tiles(wave.height, kRows) * static_cast<unsigned>(pass.count);
    const dim3 grid((warps + kWarps - 1) / kWarps, static_cast<unsigned>(wave.count),
                    wave.shared ? 1U : static_cast<unsigned>(pass.masks));
    return launch(sums_of<P, kBlocks, kRows, kFused, kResident>, grid, dim3(kThreads), stream, pass, wave);
}

}  // namespace

// What is added up in float32 takes twice the registers.
template <class P>
cudaError_t Kernels<P>::sum(const Pass& pass, const Wave& wave, cudaStream_t stream) {
    constexpr int kRows = P::kTensorCores ? 8 : 4;
    constexpr int kResident = P::kAddsPairs ? 4 : 3;
    if (!wave.fused) return start<P, 1, 8, false, kResident>(pass, wave, stream);
    switch (wave.together) {
        case 4:
            return start<P, 4, 4, true, kResident>(pass, wave, stream);
        case 2:
            return start<P, 2, kRows, true, 3>(pass, wave, stream);
        default:
            return start<P, 1, kRows, true, kResident>(pass, wave, stream);
    }
}

template cudaError_t Kernels<Float32>::sum(const Pass&, const Wave&, cudaStream_t);
template cudaError_t Kernels<BFloat16>::sum(const Pass&, const Wave&, cudaStream_t);
template cudaError_t Kernels<Float16>::sum(const Pass&, const Wave&, cudaStream_t);

}  // namespace znas::cuda
