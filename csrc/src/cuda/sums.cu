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

    const Pass& pass;
    int mask, image, block, four, x, y, height, width;
    float sums[kBlocks][kRows][4];

    __device__ const float4* channels(int vector) const {
        return reinterpret_cast<const float4*>(pass.vectors + pass.mask_vectors * static_cast<Offset>(mask) +
                                               vector) +
               block * kFours + four;
    }
    __device__ bool left(int flag) const {
        return flag != kNone && pass.flags[static_cast<Offset>(mask) * static_cast<Offset>(pass.mask_flags) +
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

    // Rows first, first + step, .. of a column, `outside` beyond the plane; word: its first pixel, this
    // lane's channels.
    template <int kCount>
    __device__ static void load(Four (&rows)[kCount], const Four* word, const Plane& plane, int first,
                                int step, int column, const Four& outside) {
        const bool inside = static_cast<unsigned>(column) < static_cast<unsigned>(plane.width);
        ZNAS_UNROLL
        for (int i = 0; i < kCount; ++i) {
            const int row = first + i * step;
            rows[i] = outside;
            if (inside && static_cast<unsigned>(row) < static_cast<unsigned>(plane.height)) {
                rows[i] = __ldg(word + (row * plane.width + column) * kFours);
            }
        }
    }

    __device__ const Four* first_word(const Plane& plane) const {
        return plane_of<P>(pass, plane, mask, image) + four;
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

    template <int kCount>
    __device__ static void rectify(Four (&rows)[kCount]) {
        ZNAS_UNROLL
        for (Four& four : rows) four = P::rectified(four);
    }

    // The weights of this mask, in words.
    __device__ Offset first_weights(const Operand& o) const {
        return (o.weights + pass.mask_weights * static_cast<Offset>(mask)) / kWord;
    }

    __device__ void add_taps(const Operand& o) {
        const Plane plane = o.plane;
        const int taps = o.taps, stride = o.stride, rectified = o.rectified;
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
                if (rectified) rectify(rows);
                multiply<0>(rows, weights + static_cast<Offset>(tap * plane.blocks + word), block_words);
            }
            pixels += word_fours(plane);
        }
    }

    __device__ void add_square(const Operand& o) {
        const bool product = !kFused && left(o.flag), pool = left(o.pool_flag), linear = left(o.flag_linear);
        if (!product && !pool && !linear) return;
        const Plane plane = o.plane;
        const int rectified = o.rectified;
        const Offset block_words = static_cast<Offset>(9 * plane.blocks);
        const Offset weights = first_weights(o) + static_cast<Offset>(block) * block_words;
        const Four* pixels = first_word(plane);
        ZNAS_ROLL
        for (int word = 0; word < plane.blocks; ++word) {
            const bool mine = word >= block && word < block + kBlocks;
            if (mine || product) {
                float across[kRows + 2][4] = {};  // of a row's three columns
                ZNAS_ROLL
                for (int dx = 0; dx < 3; ++dx) {
                    Four rows[kRows + 2];
                    load(rows, pixels, plane, y - 1, 1, x + dx - 1, P::zero());
                    if (mine && pool) add_pixels(across, rows);
                    if (mine && linear && dx == 1) add_scaled_rows<1>(o.linear_scale, word - block, rows);
                    if constexpr (kFused) continue;
                    if (!product) continue;
                    if (rectified) rectify(rows);
                    const Offset at = weights + static_cast<Offset>(dx * plane.blocks + word);
                    const auto tap_row = static_cast<Offset>(3 * plane.blocks);
                    multiply<0>(rows, at, block_words);
                    multiply<1>(rows, at + tap_row, block_words);
                    multiply<2>(rows, at + 2 * tap_row, block_words);
                }
                if (mine && pool) {
                    float pooled[kRows][4];
                    ZNAS_UNROLL
                    for (int q = 0; q < kRows; ++q) {
                        ZNAS_UNROLL
                        for (int c = 0; c < 4; ++c) {
                            pooled[q][c] = across[q][c] + across[q + 1][c] + across[q + 2][c];
                        }
                    }
                    add_average(o.pool_scale, word - block, pooled, 3, 1, -1, plane);
                }
            }
            pixels += word_fours(plane);
        }
    }

    // A depthwise convolution of 16 channels, which is then a factor of the product.
    __device__ void add_separable(const Operand& o) {
        if (o.stride == 1) {
            if (o.kernel == 3) {
                o.dilation == 1 ? add_windows<3, 1, 1>(o) : add_windows<3, 2, 1>(o);
            } else {
                o.dilation == 1 ? add_windows<5, 1, 1>(o) : add_windows<5, 2, 1>(o);
            }
        } else if (o.kernel == 3) {
            add_windows<3, 0, 2>(o);
        } else {
            add_windows<5, 0, 2>(o);
        }
    }

    // What a depthwise convolution of this lane's pixels adds up in.
    struct Window {
        using Number = std::conditional_t<P::kAddsPairs, Four, float4>;
        Number made[kRows];

        __device__ Window() {
            ZNAS_UNROLL
            for (Number& number : made) number = {};
        }
        __device__ static Number factor(const float4& scale) {
            if constexpr (P::kAddsPairs) {
                return P::narrow(scale);
            } else {
                return scale;
            }
        }
        __device__ void add(int q, const Number& scale, const Number& in) {
            if constexpr (P::kAddsPairs) {
                made[q] = P::add_product(made[q], scale, in);
            } else {
                made[q].x += scale.x * in.x;
                made[q].y += scale.y * in.y;
                made[q].z += scale.z * in.z;
                made[q].w += scale.w * in.w;
            }
        }
        __device__ static Number pixel(const Four& four, bool rectified) {
            const Four in = rectified ? P::rectified(four) : four;
            if constexpr (P::kAddsPairs) {
                return in;
            } else {
                return P::widen(in);
            }
        }
        __device__ void narrow(Four (&rows)[kRows]) const {
            ZNAS_UNROLL
            for (int q = 0; q < kRows; ++q) {
                if constexpr (P::kAddsPairs) {
                    rows[q] = made[q];
                } else {
                    rows[q] = P::narrow(made[q]);
                }
            }
        }
    };

    // kDilation: 0 where it is the operand's.
    template <int kKernel, int kDilation, int kStride>
    __device__ void add_windows(const Operand& o) {
        const Plane plane = o.plane;
        const int first = o.first, rectified = o.rectified,
                  dilation = kDilation == 0 ? o.dilation : kDilation;
        const Offset block_words = static_cast<Offset>(plane.blocks);
        const Offset weights = first_weights(o) + static_cast<Offset>(block) * block_words;
        const auto* taps = reinterpret_cast<const float4*>(pass.base + o.depthwise) + four;
        const Four* pixels = first_word(plane);
        ZNAS_ROLL
        for (int word = 0; word < plane.blocks; ++word) {
            Window window;
            ZNAS_ROLL
            for (int kx = 0; kx < kKernel; ++kx) {
                typename Window::Number scales[kKernel];
                ZNAS_UNROLL
                for (int ky = 0; ky < kKernel; ++ky) {
                    scales[ky] = Window::factor(__ldg(taps + (ky * kKernel + kx) * kFours));
                }
                const int column = x * kStride + first + kx * dilation;
                if constexpr (kStride == 1) {
                    constexpr int kReach = (kKernel - 1) * kDilation;
                    Four rows[kRows + kReach];
                    load(rows, pixels, plane, y + first, 1, column, P::zero());
                    ZNAS_UNROLL
                    for (int r = 0; r < kRows + kReach; ++r) {
                        const auto in = Window::pixel(rows[r], rectified);
                        ZNAS_UNROLL
                        for (int ky = 0; ky < kKernel; ++ky) {
                            const int q = r - ky * kDilation;
                            if (q >= 0 && q < kRows) window.add(q, scales[ky], in);
                        }
                    }
                } else {
                    ZNAS_UNROLL
                    for (int ky = 0; ky < kKernel; ++ky) {
                        Four rows[kRows];
                        load(rows, pixels, plane, y * kStride + first + ky * dilation, kStride, column,
                             P::zero());
                        ZNAS_UNROLL
                        for (int q = 0; q < kRows; ++q)
                            window.add(q, scales[ky], Window::pixel(rows[q], rectified));
                    }
                }
            }
            Four rows[kRows];
            window.narrow(rows);
            multiply<0>(rows, weights + static_cast<Offset>(word), block_words);
            pixels += word_fours(plane);
            taps += kKernel * kKernel * kFours;
        }
    }

    // ---- channel by channel: block b of the output from block b of the plane

    template <int kCount>
    __device__ static void add_pixels(float (&to)[kCount][4], const Four (&rows)[kCount]) {
        ZNAS_UNROLL
        for (int q = 0; q < kCount; ++q) add_scaled(to[q], {1, 1, 1, 1}, P::widen(rows[q]));
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

    __device__ void add_average(int scale, int b, const float (&pooled)[kRows][4], int kernel, int stride,
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
                const float (&from)[4] = pooled[q];
                add_scaled(sums[own][q], {scales.x * part, scales.y * part, scales.z * part, scales.w * part},
                           {from[0], from[1], from[2], from[3]});
            }
        }
    }

    __device__ void add_average_pool(const Operand& o) {
        const Plane plane = o.plane;
        const int kernel = o.kernel, stride = o.stride, first = o.first;
        ZNAS_ROLL
        for (int b = 0; b < kBlocks; ++b) {
            const Four* pixels = first_word(plane) + (block + b) * word_fours(plane);
            float pooled[kRows][4] = {};
            ZNAS_ROLL
            for (int tap = 0; tap < kernel * kernel; ++tap) {
                Four rows[kRows];
                load(rows, pixels, plane, y * stride + first + tap / kernel, stride,
                     x * stride + first + tap % kernel, P::zero());
                add_pixels(pooled, rows);
            }
            add_average(o.pool_scale, b, pooled, kernel, stride, first, plane);
        }
    }

    __device__ void add_max_pool(const Operand& o) {
        const Plane plane = o.plane;
        const int kernel = o.kernel, stride = o.stride, first = o.first;
        ZNAS_ROLL
        for (int b = 0; b < kBlocks; ++b) {
            const Four* pixels = first_word(plane) + (block + b) * word_fours(plane);
            Four best[kRows];
            ZNAS_UNROLL
            for (Four& four : best) four = P::lowest();
            if (kernel == 3 && stride == 1) {
                ZNAS_ROLL
                for (int dx = 0; dx < 3; ++dx) {
                    Four rows[kRows + 2];
                    load(rows, pixels, plane, y + first, 1, x + first + dx, P::lowest());
                    ZNAS_UNROLL
                    for (int q = 0; q < kRows; ++q) {
                        best[q] = P::larger(P::larger(best[q], rows[q]), P::larger(rows[q + 1], rows[q + 2]));
                    }
                }
                add_scaled_rows<0>(o.pool_scale, b, best);
                continue;
            }
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
        const int kernel = o.kernel, stride = o.stride, first = o.first, dilation = o.dilation,
                  rectified = o.rectified;
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
                    if (rectified) rectify(rows);
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
            load(rows, first_word(plane) + (block + b) * word_fours(plane), plane, y, 1, x, P::zero());
            add_scaled_rows<0>(o.linear_scale, b, rows);
        }
    }

    // ---- what comes out

    __device__ void store(const Step& step, bool shared) const {
        const int size = height * width;
        const bool column = x < width;
        auto* out = const_cast<Four*>(first_word(step.out)) + block * word_fours(step.out);
        float largest = 0;
        ZNAS_UNROLL
        for (int b = 0; b < kBlocks; ++b) {
            ZNAS_UNROLL
            for (int q = 0; q < kRows; ++q) {
                const float (&sum)[4] = sums[b][q];
                const int pixel = (y + q) * width + x;
                const bool inside = column && y + q < height;
                if (pass.codes != nullptr && step.codes != kNowhere) {
                    unsigned code = 0;
                    for (int c = 0; c < 4; ++c) code |= (sum[c] > 0 ? 1U : 0U) << (four * 4 + c);
                    code |= __shfl_xor_sync(kAllLanes, code, 1);
                    code |= __shfl_xor_sync(kAllLanes, code, 2);
                    if (inside && four == 0) {
                        store_code(step.codes + static_cast<Offset>((block + b) * size + pixel), code,
                                   shared);
                    }
                }
                if (!inside) continue;
                if (step.stored)
                    out[b * size * kFours + pixel * kFours] = P::narrow({sum[0], sum[1], sum[2], sum[3]});
                if (pass.features != nullptr && step.feature != kNowhere)
                    store_feature(step, b, pixel, sum, shared);
                if (pass.largest != nullptr) {
                    for (int c = 0; c < 4; ++c) largest = fmaxf(largest, fabsf(sum[c]));
                }
            }
        }
        if (pass.largest == nullptr) return;
        for (int other = 16; other > 0; other /= 2) {
            largest = fmaxf(largest, __shfl_xor_sync(kAllLanes, largest, other));
        }
        if (threadIdx.x % 32 == 0) {
            std::int32_t bits;
            memcpy(&bits, &largest, sizeof bits);
            atomicMax(pass.largest + mask * pass.values + step.value, bits);
        }
    }

    // Masks that this step's value is the same under: the last of them, from this one on.
    __device__ int last_mask(bool shared) const { return shared ? pass.masks - 1 : mask; }

    __device__ void store_code(Offset place, unsigned code, bool shared) const {
        for (int m = mask; m <= last_mask(shared); ++m) {
            pass.codes[(static_cast<Offset>(m) * static_cast<Offset>(pass.count) +
                        static_cast<Offset>(image)) *
                           pass.image_codes +
                       place] = static_cast<std::uint16_t>(code);
        }
    }

    __device__ void store_feature(const Step& step, int b, int pixel, const float (&sum)[4],
                                  bool shared) const {
        const int exponent = pass.exponents[mask * pass.values + step.value];
        const Offset place = step.feature * static_cast<Offset>(pass.count) +
                             step.feature_image * static_cast<Offset>(image) + step.feature_place;
        for (int c = 0; c < 4; ++c) {
            const int channel = (block + b) * kBlock + four * 4 + c;
            if (channel >= step.channels) return;
            for (int m = mask; m <= last_mask(shared); ++m) {
                pass.features[pass.mask_features * static_cast<Offset>(m) + place +
                              static_cast<Offset>(channel * height * width + pixel)] =
                    ldexpf(sum[c], exponent);
            }
        }
    }
};

// A warp per tile of pixels, group of output blocks, image (x), step of the wave (y) and mask (z).
template <class P, int kBlocks, int kRows, bool kFused, int kResident>
__global__ void __launch_bounds__(kThreads, kResident)
    sums_of(const __grid_constant__ Pass pass, const __grid_constant__ Wave wave) {
    const Step& step = pass.steps[wave.first + static_cast<int>(blockIdx.y)];
    const int across = (wave.width + kColumns - 1) / kColumns, down = (wave.height + kRows - 1) / kRows;
    const int groups = wave.blocks / kBlocks;
    int index = static_cast<int>(blockIdx.x * kWarps + threadIdx.x / 32);
    if (index >= groups * across * down * pass.count) return;  // the whole warp, and blocks never wait
    const int block = index % groups * kBlocks;
    index /= groups;
    const int column = index % across * kColumns;
    index /= across;
    const int row = index % down * kRows, lane = static_cast<int>(threadIdx.x % 32);
    Lane<P, kBlocks, kRows, kFused> mine{pass,          static_cast<int>(blockIdx.z),
                                         index / down,  block,
                                         lane % kFours, column + lane / kFours,
                                         row,           wave.height,
                                         wave.width,    {}};
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
    const std::int64_t across = (wave.width + kColumns - 1) / kColumns,
                       down = (wave.height + kRows - 1) / kRows;
    const std::int64_t warps = wave.blocks / kBlocks * across * down * pass.count;
    const dim3 grid(static_cast<unsigned>((warps + kWarps - 1) / kWarps), static_cast<unsigned>(wave.count),
                    wave.shared ? 1U : static_cast<unsigned>(pass.masks));
    return launch(sums_of<P, kBlocks, kRows, kFused, kResident>, grid, dim3(kThreads), stream, pass, wave);
}

}  // namespace

// A depthwise pixel of float32 takes twice the registers.
template <class P>
cudaError_t Kernels<P>::sum(const Pass& pass, const Wave& wave, cudaStream_t stream) {
    constexpr int kRows = P::kTensorCores ? 8 : 4;
    constexpr int kResident = P::kAddsPairs ? 4 : 3;
    if (!wave.fused) return start<P, 1, 8, false, 4>(pass, wave, stream);
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
