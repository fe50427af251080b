// The inner loops, once for every instruction set: ZNAS_LANES floats per register.
#include <array>
#include <cstring>
#include <utility>

#include "step_kernels.hpp"
#ifdef __AVX2__
#include <immintrin.h>
#endif

namespace znas::native {

namespace {

constexpr int kLanes = ZNAS_LANES;
constexpr int kParts = kBlock / kLanes;  // registers per block of channels
typedef float Lanes __attribute__((vector_size(kLanes * 4)));
typedef std::uint32_t Bits __attribute__((vector_size(kLanes * 4)));
typedef std::uint16_t Halves __attribute__((vector_size(kLanes * 2)));

inline Lanes load(const float* from) {
    Lanes value;
    std::memcpy(&value, from, sizeof value);
    return value;
}
inline void store(float* to, Lanes value) { std::memcpy(to, &value, sizeof value); }
inline Lanes splat(float value) { return Lanes{} + value; }

constexpr int kWordBytes = kBlock * 4;  // of weights

// The nearest number of bfloat16, to even where two are as near; NaN stays NaN.
inline Lanes to_bfloat16(Lanes value) {
    const Bits bits = (Bits)value;
    const Bits rounded = (bits + 0x7fffU + ((bits >> 16) & 1U)) & 0xffff0000U;
    return (Lanes)(value == value ? rounded : Bits{} + 0x7fc00000U);
}

struct Float32 {
    using Element = float;
    static constexpr bool kTransforms = true;
    static constexpr int kWordChannels = 1;
    using Weights = Lanes;
    static Weights load_weights(const char* words) { return load(reinterpret_cast<const float*>(words)); }
    static Lanes multiply_add(Lanes sum, Weights w, const Element* x) { return sum + w * *x; }
    static Lanes read(const Element* x) { return load(x); }
    static void write(Element* to, Lanes value) { store(to, value); }
    static Lanes round(Lanes values) { return values; }
    static Element element(float value) { return value; }
};

#if ZNAS_BF16_HARDWARE
// Pairs of channels.
struct BFloat16 {
    using Element = std::uint16_t;
    static constexpr bool kTransforms = false;  // what a transform gives would be rounded once more
    static constexpr int kWordChannels = 2;
    using Weights = __m512bh;
    static Weights load_weights(const char* words) { return (__m512bh)_mm512_loadu_si512(words); }
    static Lanes multiply_add(Lanes sum, Weights w, const Element* x) {
        int pair;
        std::memcpy(&pair, x, 4);
        return (Lanes)_mm512_dpbf16_ps((__m512)sum, w, (__m512bh)_mm512_set1_epi32(pair));
    }
    static Lanes read(const Element* x) {
        Halves halves;
        std::memcpy(&halves, x, sizeof halves);
        return (Lanes)(__builtin_convertvector(halves, Bits) << 16);
    }
    static void write(Element* to, Lanes value) {
        const Halves halves = __builtin_convertvector(((Bits)to_bfloat16(value)) >> 16, Halves);
        std::memcpy(to, &halves, sizeof halves);
    }
    static Element element(float value) {
        return static_cast<Element>(((Bits)to_bfloat16(splat(value)))[0] >> 16);
    }
};
#else
// The numbers of bfloat16 in words of float32, so that products and sums are those of the hardware.
struct BFloat16 : Float32 {
    static void write(Element* to, Lanes value) { store(to, to_bfloat16(value)); }
    static Lanes round(Lanes values) { return to_bfloat16(values); }
    static Element element(float value) { return to_bfloat16(splat(value))[0]; }
};
#endif

inline Lanes rectify(Lanes x) { return x < 0 ? Lanes{} : x; }  // NaN passes

// Bit l: lane l is above zero.
inline unsigned positive(Lanes x) {
#ifdef __AVX512F__
    return _mm512_cmp_ps_mask((__m512)x, _mm512_setzero_ps(), _CMP_GT_OQ);
#elif defined(__AVX2__)
    return static_cast<unsigned>(
        _mm256_movemask_ps(_mm256_cmp_ps((__m256)x, _mm256_setzero_ps(), _CMP_GT_OQ)));
#else
    float lanes[kLanes];
    store(lanes, x);
    unsigned bits = 0;
    for (int lane = 0; lane < kLanes; ++lane) bits |= static_cast<unsigned>(lanes[lane] > 0) << lane;
    return bits;
#endif
}

template <class P>
typename P::Element* at(const HaloPlane& plane, std::ptrdiff_t block, std::ptrdiff_t pixel) {
    auto* data = reinterpret_cast<typename P::Element*>(plane.data);
    return data + (block * plane.block_pixels() + plane.origin() + pixel) * kBlock;
}

// kPixels neighbours in a row of kBlocks output blocks, of which products fill the first kUsed registers:
// the others belong to channels beyond the last.
template <class P, int kPixels, int kBlocks, int kUsed>
struct SumRegisters {
    Lanes sums[kBlocks][kPixels][kParts];

    // Up to a block of input channels. weights: of block 0; those of the next are `block_weights` bytes on.
    inline __attribute__((always_inline)) void add_words(const char* weights, std::ptrdiff_t block_weights,
                                                         const typename P::Element* x, int words,
                                                         int stride) {
#pragma GCC unroll 4
        for (int k = 0; k < words; ++k) {
            for (int part = 0; part < kUsed; ++part) {
                typename P::Weights w[kBlocks];
#pragma GCC unroll 4
                for (int b = 0; b < kBlocks; ++b) {
                    w[b] = P::load_weights(weights + b * block_weights + part * kLanes * 4);
                }
#pragma GCC unroll 16
                for (int p = 0; p < kPixels; ++p) {
#pragma GCC unroll 4
                    for (int b = 0; b < kBlocks; ++b) {
                        sums[b][p][part] = P::multiply_add(sums[b][p][part], w[b], x + p * stride * kBlock);
                    }
                }
            }
            x += P::kWordChannels;
            weights += kWordBytes;
        }
    }

    // stride: the product's; where a caller knows it, it is known to the compiler.
    inline __attribute__((always_inline)) void add(const Product& product, int block, std::ptrdiff_t pixel,
                                                   int stride) {
        const std::ptrdiff_t block_weights =
            static_cast<std::ptrdiff_t>(product.taps) * product.words * kWordBytes;
        const char* weights = product.weights + block * block_weights;
        constexpr int kBlockWords = kBlock / P::kWordChannels;
        for (int tap = 0; tap < product.taps; ++tap) {
            const auto* x = at<P>(product.input, 0, pixel + product.offsets[tap]);
            for (int begin = 0; begin < product.words; begin += kBlockWords) {
                const int left = product.words - begin;
                const int words = left < kBlockWords ? left : kBlockWords;
                add_words(weights, block_weights, x, words, stride);
                weights += static_cast<std::ptrdiff_t>(words) * kWordBytes;
                x += product.input.block_pixels() * kBlock;
            }
        }
    }
};

// visit(pixel, part) of every register of a row of pixels, unrolled: what it indexes stays in registers.
template <int kPixels, class Visit>
inline __attribute__((always_inline)) void each_part(Visit visit) {
#pragma GCC unroll 16
    for (int p = 0; p < kPixels; ++p) {
#pragma GCC unroll 16
        for (int part = 0; part < kParts; ++part) visit(p, part);
    }
}

// What a strip of rows begins with besides the bias: [blocks][rows][width][kBlock].
struct Start {
    const float* values = nullptr;
    int first_row = 0, rows = 0;

    const float* at(int block, int row, int column, int width) const {
        const std::ptrdiff_t line = static_cast<std::ptrdiff_t>(block) * rows + row - first_row;
        return values + (line * width + column) * kBlock;
    }
};

// kPixels neighbours in a row of one block of channels, and where they are stored. kTurns: the row may be all
// pixels of a plane one after another, which in one with a halo turn where its own rows end.
template <class P, int kPixels, bool kTurns>
struct Stored {
    const Outputs& out;
    int height, width, block, row, column;
    unsigned codes[kPixels] = {};

    std::ptrdiff_t first() const {
        return (static_cast<std::ptrdiff_t>(block) * height + row) * width + column;
    }
    // visit(p, place) of all of them, one register of channels.
    inline __attribute__((always_inline)) void each_place(const HaloPlane& plane, int part,
                                                          auto visit) const {
        int y = row, x = column;
        if (kTurns && x >= plane.width) {
            y += x / plane.width;
            x %= plane.width;
        }
        auto* to = at<P>(plane, block, static_cast<std::ptrdiff_t>(y) * plane.pitch() + x) + part * kLanes;
        const std::ptrdiff_t turn = static_cast<std::ptrdiff_t>(2 * plane.halo) * kBlock;
#pragma GCC unroll 16
        for (int p = 0; p < kPixels; ++p) {
            visit(p, to);
            to += kBlock;
            if (kTurns && ++x == plane.width) {
                x = 0;
                to += turn;
            }
        }
    }

    // One register of channels of all of them.
    inline __attribute__((always_inline)) void put(int part, auto value) {
        if (out.raw) {
            float* to = out.raw + first() * kBlock + part * kLanes;
#pragma GCC unroll 16
            for (int p = 0; p < kPixels; ++p) store(to + p * kBlock, value(p));
        }
        if (out.relu.data) {
            each_place(out.relu, part, [&](int p, auto* to) { P::write(to, rectify(value(p))); });
        }
        if (out.plain.data) {
            each_place(out.plain, part, [&](int p, auto* to) { P::write(to, value(p)); });
        }
        if (out.codes) {
#pragma GCC unroll 16
            for (int p = 0; p < kPixels; ++p) codes[p] |= positive(value(p)) << (part * kLanes);
        }
    }

    // When all parts are put.
    inline __attribute__((always_inline)) void put_codes() const {
        if (!out.codes) return;
        std::uint16_t* to = out.codes + first();
#pragma GCC unroll 16
        for (int p = 0; p < kPixels; ++p) to[p] = static_cast<std::uint16_t>(codes[p]);
    }
};

template <class P, int kPixels, int kBlocks, int kUsed>
void sum_pixels(const SumStep& step, const Start& start, int block, int row, int column) {
    SumRegisters<P, kPixels, kBlocks, kUsed> registers;
    const std::ptrdiff_t plane = static_cast<std::ptrdiff_t>(step.height) * step.width;
    const std::ptrdiff_t first = static_cast<std::ptrdiff_t>(row) * step.width + column;
#pragma GCC unroll 4
    for (int b = 0; b < kBlocks; ++b) {
#pragma GCC unroll 16
        for (int p = 0; p < kPixels; ++p) {
            for (int part = 0; part < kParts; ++part) {
                const std::ptrdiff_t channel = (block + b) * kBlock + part * kLanes;
                registers.sums[b][p][part] = load(step.bias + channel);
            }
        }
    }
    if (start.values) {
#pragma GCC unroll 4
        for (int b = 0; b < kBlocks; ++b) {
            const float* from = start.at(block + b, row, column, step.width);
            each_part<kPixels>([&](int p, int part) {
                registers.sums[b][p][part] += load(from + p * kBlock + part * kLanes);
            });
        }
    }
    for (int i = 0; i < step.linear_count; ++i) {
        const Linear& linear = step.linears[i];
#pragma GCC unroll 4
        for (int b = 0; b < kBlocks; ++b) {
            const float* raw = linear.raw + ((block + b) * plane + first) * kBlock;
            for (int part = 0; part < kParts; ++part) {
                const Lanes scale = load(linear.scale + (block + b) * kBlock + part * kLanes);
#pragma GCC unroll 16
                for (int p = 0; p < kPixels; ++p) {
                    registers.sums[b][p][part] += scale * load(raw + p * kBlock + part * kLanes);
                }
            }
        }
    }
    for (int i = 0; i < step.product_count; ++i) {
        const Product& product = step.products[i];
        const std::ptrdiff_t pixel =
            static_cast<std::ptrdiff_t>(row) * product.stride * product.input.pitch() +
            column * product.stride;
        if (kPixels == 1 || product.stride == 1) {
            registers.add(product, block, pixel, 1);
        } else {
            registers.add(product, block, pixel, 2);
        }
    }
#pragma GCC unroll 4
    for (int b = 0; b < kBlocks; ++b) {
        const auto& sums = registers.sums[b];
        Stored<P, kPixels, true> stored{step.out, step.height, step.width, block + b, row, column};
#pragma GCC unroll 16
        for (int part = 0; part < kParts; ++part) {
            stored.put(part, [&](int p) { return sums[p][part]; });
        }
        stored.put_codes();
    }
}

// So many output blocks share what is read of a pixel; so many pixels share a weight: what registers hold.
constexpr int kBlocksTogether = kLanes == 16 ? 2 : 1;
constexpr int kMostPixels = kLanes == 16 ? 14 : kLanes == 8 ? 6 : 3;

// A row in tiles of nearly one size: remainders of a few pixels would wait for each other's sums.
// kMost: pixels of a tile; 1 where a product has a stride that they do not know.
template <class P, int kMost, int kBlocks, int kUsed>
void sum_row(const SumStep& step, const Start& start, int block, int row) {
    using Tile = void (*)(const SumStep&, const Start&, int, int, int);
    static constexpr auto kTiles = []<int... kBefore>(std::integer_sequence<int, kBefore...>) {
        return std::array<Tile, kMost>{sum_pixels<P, kBefore + 1, kBlocks, kUsed>...};
    }(std::make_integer_sequence<int, kMost>());
    const int tiles = (step.width + kMost - 1) / kMost, size = step.width / tiles;
    for (int tile = 0, column = 0; tile < tiles; ++tile) {
        const int pixels = size + (tile < step.width % tiles ? 1 : 0);
        kTiles[static_cast<std::size_t>(pixels - 1)](step, start, block, row, column);
        column += pixels;
    }
}

template <class P, int kMost>
void sum_rows_of(const SumStep& step, const Start& start, int begin, int end) {
    for (int block = 0; block * kBlock < step.channels;) {
        const int left = step.channels - block * kBlock;
        const bool together = kBlocksTogether > 1 && left > kBlock;
        for (int row = begin; row < end; ++row) {
            if (together) {
                sum_row<P, kMost, kBlocksTogether, kParts>(step, start, block, row);
            } else if (kParts > 1 && left <= kLanes) {
                sum_row<P, kMost, 1, 1>(step, start, block, row);
            } else {
                sum_row<P, kMost, 1, kParts>(step, start, block, row);
            }
        }
        block += together ? kBlocksTogether : 1;
    }
}

// Rows `begin` to `end` of all that is not transformed.
template <class P>
void sum_rows(const SumStep& step, const Start& start, int begin, int end) {
    for (int i = 0; i < step.product_count; ++i) {
        if (step.products[i].stride > 2) return sum_rows_of<P, 1>(step, start, begin, end);
    }
    sum_rows_of<P, kMostPixels>(step, start, begin, end);
}

// Whether pixel by pixel the sum reads what lies at the same place of planes without a halo.
inline bool is_pixelwise(const SumStep& step) {
    for (int i = 0; i < step.product_count; ++i) {
        const Product& product = step.products[i];
        if (product.stride != 1 || product.taps != 1 || product.offsets[0] != 0 || product.input.halo != 0 ||
            product.input.height != step.height || product.input.width != step.width) {
            return false;
        }
    }
    return true;
}

#include "winograd.inl"

template <class P>
void sum(const SumStep& step) {
    if constexpr (P::kTransforms) {
        if (step.transformed_count > 0) return sum_strips<P>(step);
    }
    if (!is_pixelwise(step)) return sum_rows<P>(step, {}, 0, step.height);
    SumStep flat = step;  // all pixels are one row
    flat.width *= flat.height;
    flat.height = 1;
    sum_rows<P>(flat, {}, 0, 1);
}

// kPixels neighbours in a row of one block of channels.
template <class P, int kKernel, int kStride, int kDilation, int kPixels>
void depthwise_pixels(const DepthwiseStep& step, int block, int row, int column) {
    constexpr int kReach = (kPixels - 1) * kStride + (kKernel - 1) * kDilation + 1;
    const auto* x = at<P>(step.in, block,
                          (static_cast<std::ptrdiff_t>(row) * kStride + step.first) * step.in.pitch() +
                              column * kStride + step.first);
    const std::ptrdiff_t line = static_cast<std::ptrdiff_t>(step.in.pitch()) * kDilation * kBlock;
    const float* weights = step.weights + static_cast<std::ptrdiff_t>(block) * kKernel * kKernel * kBlock;
    Stored<P, kPixels, false> stored{step.out, step.height, step.width, block, row, column};
    for (int part = 0; part < kParts; ++part) {
        Lanes sums[kPixels];
        const Lanes bias = load(step.bias + block * kBlock + part * kLanes);
        for (Lanes& sum : sums) sum = bias;
        for (int ky = 0; ky < kKernel; ++ky) {
            Lanes w[kKernel];
#pragma GCC unroll 8
            for (int kx = 0; kx < kKernel; ++kx) {
                w[kx] = load(weights + (ky * kKernel + kx) * kBlock + part * kLanes);
            }
#pragma GCC unroll 32
            for (int j = 0; j < kReach; ++j) {
                const Lanes value = P::read(x + ky * line + j * kBlock + part * kLanes);
#pragma GCC unroll 8
                for (int kx = 0; kx < kKernel; ++kx) {
                    const int shifted = j - kx * kDilation;
                    if (shifted >= 0 && shifted % kStride == 0 && shifted / kStride < kPixels) {
                        sums[shifted / kStride] += value * w[kx];
                    }
                }
            }
        }
        stored.put(part, [&](int p) { return sums[p]; });
    }
    stored.put_codes();
}

// As many pixels at a time as fit into what is left of a row. Fewer cost as much: where a row is wide enough,
// the last ones begin further left and some are computed twice.
template <class P, int kKernel, int kStride, int kDilation, int kPixels>
int depthwise_columns(const DepthwiseStep& step, int block, int row, int column) {
    const auto from = [&](int first) {
        depthwise_pixels<P, kKernel, kStride, kDilation, kPixels>(step, block, row, first);
    };
    for (; column + kPixels <= step.width; column += kPixels) from(column);
    if (2 * (step.width - column) > kPixels && step.width >= kPixels) {
        from(step.width - kPixels);
        return step.width;
    }
    return column;
}

template <class P, int kKernel, int kStride, int kDilation>
void depthwise_planes(const DepthwiseStep& step) {
    for (int block = 0; block < step.in.blocks; ++block) {
        for (int row = 0; row < step.height; ++row) {
            int column = depthwise_columns<P, kKernel, kStride, kDilation, 8>(step, block, row, 0);
            column = depthwise_columns<P, kKernel, kStride, kDilation, 4>(step, block, row, column);
            column = depthwise_columns<P, kKernel, kStride, kDilation, 2>(step, block, row, column);
            depthwise_columns<P, kKernel, kStride, kDilation, 1>(step, block, row, column);
        }
    }
}

template <class P, int kKernel>
void depthwise_of(const DepthwiseStep& step) {
    if (step.stride == 1 && step.dilation == 1) return depthwise_planes<P, kKernel, 1, 1>(step);
    if (step.stride == 1) return depthwise_planes<P, kKernel, 1, 2>(step);
    if (step.dilation == 1) return depthwise_planes<P, kKernel, 2, 1>(step);
    depthwise_planes<P, kKernel, 2, 2>(step);
}

template <class P>
void depthwise(const DepthwiseStep& step) {
    step.kernel == 3   ? depthwise_of<P, 3>(step)
    : step.kernel == 5 ? depthwise_of<P, 5>(step)
                       : depthwise_of<P, 7>(step);
}

template <class Fold>
void pool(const PoolStep& step, Fold fold) {
    const std::ptrdiff_t plane = static_cast<std::ptrdiff_t>(step.height) * step.width;
    for (int block = 0; block < step.blocks; ++block) {
        const float* in = step.in + block * plane * kBlock;
        float* out =
            step.out + static_cast<std::ptrdiff_t>(block) * step.out_height * step.out_width * kBlock;
        for (int row = 0; row < step.out_height; ++row) {
            int top = row * step.stride - step.padding, bottom = top + step.kernel;
            top = top < 0 ? 0 : top;
            bottom = bottom > step.height ? step.height : bottom;
            for (int column = 0; column < step.out_width; ++column, out += kBlock) {
                int left = column * step.stride - step.padding, right = left + step.kernel;
                left = left < 0 ? 0 : left;
                right = right > step.width ? step.width : right;
                for (int part = 0; part < kParts; ++part) {
                    const float* x = in + part * kLanes;
                    store(out + part * kLanes, fold(x, step.width, top, bottom, left, right));
                }
            }
        }
    }
}

// 3 x 3, stride 1, padding 1: column sums of three rows slide along, so that a value is read three times.
void average_pool_3x3(const PoolStep& step) {
    const std::ptrdiff_t line = static_cast<std::ptrdiff_t>(step.width) * kBlock;
    for (int block = 0; block < step.blocks; ++block) {
        for (int row = 0; row < step.height; ++row) {
            const int top = row > 0 ? row - 1 : 0, bottom = row + 1 < step.height ? row + 2 : step.height;
            const float* in = step.in + (static_cast<std::ptrdiff_t>(block) * step.height + top) * line;
            float* out = step.out + (static_cast<std::ptrdiff_t>(block) * step.height + row) * line;
            const float rows = static_cast<float>(bottom - top);
            const Lanes middle = splat(1.0F / (3 * rows)), edge = splat(1.0F / (2 * rows));
            for (int part = 0; part < kParts; ++part) {
                const auto column = [&](int x) {
                    Lanes total = {};
                    const float* from = in + static_cast<std::ptrdiff_t>(x) * kBlock + part * kLanes;
                    for (int y = top; y < bottom; ++y, from += line) total += load(from);
                    return total;
                };
                Lanes left = {}, here = column(0);
                for (int x = 0; x < step.width; ++x) {
                    const Lanes right = x + 1 < step.width ? column(x + 1) : Lanes{};
                    const bool inside = x > 0 && x + 1 < step.width;
                    store(out + static_cast<std::ptrdiff_t>(x) * kBlock + part * kLanes,
                          (left + here + right) * (inside ? middle : edge));
                    left = here;
                    here = right;
                }
            }
        }
    }
}

void average_pool(const PoolStep& step) {
    if (step.kernel == 3 && step.stride == 1 && step.padding == 1 && step.width > 1) {
        return average_pool_3x3(step);
    }
    pool(step, [](const float* x, int width, int top, int bottom, int left, int right) {
        Lanes total = {};
        for (int y = top; y < bottom; ++y) {
            for (int c = left; c < right; ++c)
                total += load(x + (static_cast<std::ptrdiff_t>(y) * width + c) * kBlock);
        }
        return total * splat(1.0F / static_cast<float>((bottom - top) * (right - left)));
    });
}

void max_pool(const PoolStep& step) {
    pool(step, [](const float* x, int width, int top, int bottom, int left, int right) {
        Lanes best = load(x + (static_cast<std::ptrdiff_t>(top) * width + left) * kBlock);
        for (int y = top; y < bottom; ++y) {
            for (int c = left; c < right; ++c) {
                const Lanes value = load(x + (static_cast<std::ptrdiff_t>(y) * width + c) * kBlock);
                best = ((best >= value) | (best != best)) ? best : value;  // NaN wins
            }
        }
        return best;
    });
}

void combine(const Linear* linears, int count, int blocks, std::ptrdiff_t pixels, float* out) {
    for (int block = 0; block < blocks; ++block) {
        for (std::ptrdiff_t pixel = 0; pixel < pixels; ++pixel) {
            const std::ptrdiff_t here = (block * pixels + pixel) * kBlock;
            for (int part = 0; part < kParts; ++part) {
                Lanes total = {};
                for (int i = 0; i < count; ++i) {
                    total += load(linears[i].scale + block * kBlock + part * kLanes) *
                             load(linears[i].raw + here + part * kLanes);
                }
                store(out + here + part * kLanes, total);
            }
        }
    }
}

template <class P>
void load_images(const float* images, int channels, const HaloPlane& out) {
    const std::ptrdiff_t pixels = static_cast<std::ptrdiff_t>(out.height) * out.width;
    for (int block = 0; block < out.blocks; ++block, images += pixels * kBlock, channels -= kBlock) {
        const int width = channels < kBlock ? channels : kBlock;
        const float* from = images;
        for (int y = 0; y < out.height; ++y) {
            auto* to = at<P>(out, block, static_cast<std::ptrdiff_t>(y) * out.pitch());
            for (int x = 0; x < out.width; ++x, ++from, to += kBlock) {
                std::memset(to, 0, sizeof *to * kBlock);
                for (int c = 0; c < width; ++c) to[c] = P::element(from[c * pixels]);
            }
        }
    }
}

template <class P>
void pack(const float* weights, std::ptrdiff_t channels, char* words) {
    auto* out = reinterpret_cast<typename P::Element*>(words);
    for (std::ptrdiff_t channel = 0; channel < channels; ++channel) {
        const std::ptrdiff_t word = channel / P::kWordChannels, half = channel % P::kWordChannels;
        for (int o = 0; o < kBlock; ++o) {
            out[(word * kBlock + o) * P::kWordChannels + half] = P::element(weights[channel * kBlock + o]);
        }
    }
}

void moments(const float* raw, std::ptrdiff_t pixels, double* sum, double* square) {
    double sums[kBlock], squares[kBlock];
    std::memcpy(sums, sum, sizeof sums);
    std::memcpy(squares, square, sizeof squares);
    for (std::ptrdiff_t p = 0; p < pixels; ++p, raw += kBlock) {
        for (int c = 0; c < kBlock; ++c) {
            const double x = raw[c];
            sums[c] += x;
            squares[c] += x * x;
        }
    }
    std::memcpy(sum, sums, sizeof sums);
    std::memcpy(square, squares, sizeof squares);
}

template <class P>
constexpr StepTable kSteps = {sum<P>, depthwise<P>, average_pool, max_pool, combine, moments, load_images<P>};

template <class P>
constexpr Layout layout() {
    Layout made{sizeof(typename P::Element), P::kWordChannels, kWordBytes, pack<P>, nullptr, &kSteps<P>};
    if constexpr (P::kTransforms) made.pack_transformed = pack_transformed<P>;
    return made;
}

}  // namespace

}  // namespace znas::native
