#include "elements.hpp"
#include "gpu.hpp"
#include "steps.hpp"

namespace znas::cuda {

namespace {

constexpr int kBlock = 16;  // channels
constexpr int kFours = kBlock / 4;
constexpr float kEpsilon = 1e-5F;  // of batch normalisation

constexpr unsigned kThreads = 128;
// Of a sum: a lane has four channels of eight pixels, a warp sixteen channels of sixty-four.
constexpr int kPixels = 8;
constexpr int kRows = 8;  // lanes side by side along pixels
constexpr unsigned kWarpPixels = kPixels * kRows;
constexpr unsigned kSumPixels = kThreads / 32 * kWarpPixels;

template <class T>
__device__ const T* at(const char* blob, Offset offset) {
    return reinterpret_cast<const T*>(blob + offset);
}

__device__ int pitch(const Plane& plane) { return plane.width + 2 * plane.halo; }
__device__ int block_pixels(const Plane& plane) { return (plane.height + 2 * plane.halo) * pitch(plane); }

// The first four channels of pixel (y, x).
template <class Four>
__device__ Four* pixel_of(const Tile& tile, const Plane& plane, int image, int block, int y, int x) {
    char* data = tile.arena + plane.offset * static_cast<Offset>(tile.images) +
                 plane.bytes * static_cast<Offset>(image);
    const int pixel = block * block_pixels(plane) + (y + plane.halo) * pitch(plane) + x + plane.halo;
    return reinterpret_cast<Four*>(data) + static_cast<std::int64_t>(pixel) * kFours;
}

// A pixel of a halo plane, and the zeros beside it where it lies at the border.
template <class P>
__device__ void store(const Tile& tile, const Plane& plane, int image, int block, int y, int x, int four,
                      const float4& value) {
    auto* to = pixel_of<typename P::Four>(tile, plane, image, block, y, x) + four;
    *to = P::narrow(value);
    const int top = y == 0 ? -plane.halo : 0, bottom = y == plane.height - 1 ? plane.halo : 0;
    const int left = x == 0 ? -plane.halo : 0, right = x == plane.width - 1 ? plane.halo : 0;
    for (int dy = top; dy <= bottom; ++dy) {
        for (int dx = left; dx <= right; ++dx) {
            if (dy != 0 || dx != 0) to[(dy * pitch(plane) + dx) * kFours] = P::narrow({0, 0, 0, 0});
        }
    }
}

__device__ float rectify(float x) { return x < 0 ? 0.0F : x; }  // NaN passes

__device__ void add_scaled(float (&sum)[4], const float4& scale, const float4& x) {
    sum[0] += scale.x * x.x;
    sum[1] += scale.y * x.y;
    sum[2] += scale.z * x.z;
    sum[3] += scale.w * x.w;
}

struct Pixel {
    int image, y, x;
};

// The index-th pixel of all images of a tile.
__device__ Pixel pixel_at(std::int64_t index, int height, int width) {
    const auto image = static_cast<int>(index / (height * width));
    const auto rest = static_cast<int>(index - static_cast<std::int64_t>(image) * height * width);
    return {image, rest / width, rest % width};
}

// Rows and columns of the input that a window over it covers.
struct Window {
    int top, bottom, left, right;
};

__device__ Window window_at(const Pixel& out, int kernel, int stride, int padding, int height, int width) {
    const int top = out.y * stride - padding, left = out.x * stride - padding;
    return {max(top, 0), min(top + kernel, height), max(left, 0), min(left + kernel, width)};
}

// Sums of one lane: channels 4 four .. 4 four + 3 of its pixels, in kBlocks blocks.
template <class P, int kBlocks>
struct Lane {
    const char* blob;
    const SumSpec& step;
    const Tile& tile;
    int four, row, block;
    Pixel pixels[kPixels];
    float sums[kBlocks][kPixels][4];

    __device__ float4 channels(const float* values, int b) const {
        return reinterpret_cast<const float4*>(values)[(block + b) * kFours + four];
    }

    __device__ void begin(const float* bias) {
        ZNAS_UNROLL
        for (int b = 0; b < kBlocks; ++b) {
            const float4 first = channels(bias, b);
            ZNAS_UNROLL
            for (auto& sum : sums[b]) {
                sum[0] = first.x;
                sum[1] = first.y;
                sum[2] = first.z;
                sum[3] = first.w;
            }
        }
    }

    __device__ void add_linear(const Plane& raw, const float* scales) {
        ZNAS_UNROLL
        for (int b = 0; b < kBlocks; ++b) {
            const float4 scale = channels(scales, b);
            ZNAS_UNROLL
            for (int q = 0; q < kPixels; ++q) {
                const Pixel& p = pixels[q];
                add_scaled(sums[b][q], scale,
                           pixel_of<float4>(tile, raw, p.image, block + b, p.y, p.x)[four]);
            }
        }
    }

    // Padding is not counted.
    __device__ void add_pool(const PoolSpec& pool) {
        const auto* planes = at<Plane>(blob, pool.planes);
        const auto* scales = at<float>(blob, pool.scales);
        for (int i = 0; i < pool.linears; ++i) {
            const Plane& raw = planes[i];
            ZNAS_UNROLL
            for (int b = 0; b < kBlocks; ++b) {
                const float4 scale = channels(scales + i * step.blocks * kBlock, b);
                ZNAS_UNROLL
                for (int q = 0; q < kPixels; ++q) {
                    const Window w =
                        window_at(pixels[q], pool.kernel, pool.stride, pool.padding, raw.height, raw.width);
                    const float area = 1.0F / static_cast<float>((w.bottom - w.top) * (w.right - w.left));
                    float total[4] = {};
                    for (int y = w.top; y < w.bottom; ++y) {
                        const auto* x = pixel_of<float4>(tile, raw, pixels[q].image, block + b, y, w.left);
                        for (int c = w.left; c < w.right; ++c, x += kFours) {
                            add_scaled(total, {area, area, area, area}, x[four]);
                        }
                    }
                    add_scaled(sums[b][q], scale, {total[0], total[1], total[2], total[3]});
                }
            }
        }
    }

    __device__ void add_product(const ProductSpec& product) {
        using Four = typename P::Four;
        __syncwarp();  // windows at borders are smaller, and a matrix product wants all lanes at once
        const Four* x[kPixels];
        ZNAS_UNROLL
        for (int q = 0; q < kPixels; ++q) {
            const Pixel& p = pixels[q];
            x[q] =
                pixel_of<Four>(tile, product.input, p.image, 0, p.y * product.stride, p.x * product.stride);
        }
        const auto* places = at<std::int32_t>(blob, product.places);
        const std::int64_t block_fours = static_cast<std::int64_t>(block_pixels(product.input)) * kFours;
        for (int tap = 0; tap < product.taps; ++tap) {
            const std::int64_t place = static_cast<std::int64_t>(places[tap]) * kFours;
            for (int word = 0; word < product.words; ++word) {
                if constexpr (P::kTensorCores) {
                    add_matrix(product, tap, word, x, place + word * block_fours + four);
                } else {
                    add_channels(product, tap, word, x, place + word / kFours * block_fours + word % kFours);
                }
            }
        }
    }

    __device__ std::int64_t word_at(const ProductSpec& product, int b, int tap, int word) const {
        return (static_cast<std::int64_t>(block + b) * product.taps + tap) * product.words + word;
    }

    // Four input channels; a word is [input channel][output channel].
    __device__ void add_channels(const ProductSpec& product, int tap, int word,
                                 const typename P::Four* const (&x)[kPixels], std::int64_t place) {
        float4 weights[kBlocks][4];
        ZNAS_UNROLL
        for (int b = 0; b < kBlocks; ++b) {
            const float4* from =
                at<float4>(blob, product.weights) + word_at(product, b, tap, word) * 4 * kFours;
            ZNAS_UNROLL
            for (int i = 0; i < 4; ++i) weights[b][i] = from[i * kFours + four];
        }
        ZNAS_UNROLL
        for (int q = 0; q < kPixels; ++q) {
            const float4 in = P::widen(x[q][place]);
            ZNAS_UNROLL
            for (int b = 0; b < kBlocks; ++b) {
                add_scaled(sums[b][q], weights[b][0], {in.x, in.x, in.x, in.x});
                add_scaled(sums[b][q], weights[b][1], {in.y, in.y, in.y, in.y});
                add_scaled(sums[b][q], weights[b][2], {in.z, in.z, in.z, in.z});
                add_scaled(sums[b][q], weights[b][3], {in.w, in.w, in.w, in.w});
            }
        }
    }

    // Sixteen input channels, in an order of their own (pack_half): the lane's four neighbours are one load.
    __device__ void add_matrix(const ProductSpec& product, int tap, int word,
                               const typename P::Four* const (&x)[kPixels], std::int64_t place) {
        uint4 weights[kBlocks];
        const int lane = row * kFours + four;
        ZNAS_UNROLL
        for (int b = 0; b < kBlocks; ++b) {
            weights[b] = at<uint4>(blob, product.weights)[word_at(product, b, tap, word) * 32 + lane];
        }
        ZNAS_UNROLL
        for (int q = 0; q < kPixels; q += 2) {
            const auto upper = x[q][place], lower = x[q + 1][place];
            const std::uint32_t a[4] = {upper.x, lower.x, upper.y, lower.y};
            ZNAS_UNROLL
            for (int b = 0; b < kBlocks; ++b) {
                auto& above = sums[b][q];
                auto& below = sums[b][q + 1];
                multiply_add<P>(first_half(above), first_half(below), a, weights[b].x, weights[b].y);
                multiply_add<P>(second_half(above), second_half(below), a, weights[b].z, weights[b].w);
            }
        }
    }

    __device__ static float (&first_half(float (&sum)[4]))[2] {
        return reinterpret_cast<float (&)[2]>(sum[0]);
    }
    __device__ static float (&second_half(float (&sum)[4]))[2] {
        return reinterpret_cast<float (&)[2]>(sum[2]);
    }

    __device__ void store_all(std::int64_t first, std::int64_t total, std::uint16_t* codes) const {
        const int size = step.height * step.width;
        ZNAS_UNROLL
        for (int b = 0; b < kBlocks; ++b) {
            ZNAS_UNROLL
            for (int q = 0; q < kPixels; ++q) {
                const float (&sum)[4] = sums[b][q];
                const Pixel& p = pixels[q];
                unsigned code = 0;
                for (int c = 0; c < 4; ++c) code |= (sum[c] > 0 ? 1U : 0U) << (four * 4 + c);
                code |= __shfl_xor_sync(0xFFFFFFFFU, code, 1);
                code |= __shfl_xor_sync(0xFFFFFFFFU, code, 2);
                if (first + q * kRows >= total) continue;
                if (codes != nullptr && four == 0) {
                    codes[(static_cast<std::int64_t>(p.image) * step.blocks + block + b) * size +
                          p.y * step.width + p.x] = static_cast<std::uint16_t>(code);
                }
                const float4 value = {sum[0], sum[1], sum[2], sum[3]};
                if (step.raw.used) {
                    pixel_of<float4>(tile, step.raw, p.image, block + b, p.y, p.x)[four] = value;
                }
                if (step.relu.used) {
                    store<P>(tile, step.relu, p.image, block + b, p.y, p.x, four,
                             {rectify(sum[0]), rectify(sum[1]), rectify(sum[2]), rectify(sum[3])});
                }
                if (step.plain.used) {
                    store<P>(tile, step.plain, p.image, block + b, p.y, p.x, four, value);
                }
            }
        }
    }
};

template <class P, int kBlocks>
__global__ void __launch_bounds__(kThreads)
    sum_of(const char* blob, Offset spec, const float* affine, Tile tile, std::uint16_t* codes) {
    const SumSpec& step = *at<SumSpec>(blob, spec);
    const std::int64_t total = static_cast<std::int64_t>(tile.images) * step.height * step.width;
    const std::int64_t warp =
        static_cast<std::int64_t>(blockIdx.x) * kSumPixels + threadIdx.x / 32 * kWarpPixels;
    if (warp >= total) return;  // the whole warp, and blocks never wait
    const int lane = threadIdx.x % 32;
    Lane<P, kBlocks> mine{
        blob, step, tile, lane % kFours, lane / kFours, static_cast<int>(blockIdx.y) * kBlocks, {}, {}};
    const std::int64_t first = warp + mine.row;
    ZNAS_UNROLL
    for (int q = 0; q < kPixels; ++q) {
        const std::int64_t index = first + q * kRows;
        mine.pixels[q] = pixel_at(index < total ? index : total - 1, step.height, step.width);
    }
    mine.begin(affine);
    const auto* linears = at<LinearSpec>(blob, step.linear_specs);
    for (int i = 0; i < step.linears; ++i) {
        mine.add_linear(linears[i].raw, affine + (1 + i) * step.blocks * kBlock);
    }
    const auto* pools = at<PoolSpec>(blob, step.pool_specs);
    for (int i = 0; i < step.pools; ++i) mine.add_pool(pools[i]);
    const auto* products = at<ProductSpec>(blob, step.product_specs);
    for (int i = 0; i < step.products; ++i) mine.add_product(products[i]);
    mine.store_all(first, total, codes);
}

// One thread per pixel and four channels; blockIdx.y is the block of channels.
struct Place {
    Pixel pixel;
    int block, four;
    bool inside;
};

__device__ Place place_here(const Tile& tile, int height, int width) {
    const std::int64_t thread = static_cast<std::int64_t>(blockIdx.x) * kThreads + threadIdx.x;
    const std::int64_t index = thread / kFours;
    const std::int64_t total = static_cast<std::int64_t>(tile.images) * height * width;
    return {pixel_at(index < total ? index : total - 1, height, width), static_cast<int>(blockIdx.y),
            static_cast<int>(thread % kFours), index < total};
}

dim3 grid_of(const Tile& tile, int blocks, int height, int width) {
    const std::int64_t threads = static_cast<std::int64_t>(tile.images) * height * width * kFours;
    return {static_cast<unsigned>((threads + kThreads - 1) / kThreads), static_cast<unsigned>(blocks), 1};
}

template <class P>
__global__ void images_into(const float* images, int channels, Plane out, Tile tile) {
    const Place here = place_here(tile, out.height, out.width);
    if (!here.inside) return;
    const auto [image, y, x] = here.pixel;
    float value[4] = {};
    for (int c = 0; c < 4; ++c) {
        const int channel = here.block * kBlock + here.four * 4 + c;
        if (channel >= channels) break;
        value[c] =
            images[((static_cast<std::int64_t>(image) * channels + channel) * out.height + y) * out.width +
                   x];
    }
    store<P>(tile, out, image, here.block, y, x, here.four, {value[0], value[1], value[2], value[3]});
}

template <class P>
__global__ void depthwise_of(const char* blob, WindowSpec step, Tile tile) {
    const Place here = place_here(tile, step.out.height, step.out.width);
    if (!here.inside) return;
    const auto [image, y, x] = here.pixel;
    const int taps = step.kernel * step.kernel;
    const auto* weights = at<float4>(blob, step.weights) + here.block * taps * kFours + here.four;
    const auto* in =
        pixel_of<typename P::Four>(tile, step.in, image, here.block, y * step.stride - step.padding,
                                   x * step.stride - step.padding) +
        here.four;
    float sum[4] = {};
    for (int ky = 0; ky < step.kernel; ++ky) {
        for (int kx = 0; kx < step.kernel; ++kx) {
            const int pixel = (ky * pitch(step.in) + kx) * step.dilation;
            add_scaled(sum, weights[(ky * step.kernel + kx) * kFours], P::widen(in[pixel * kFours]));
        }
    }
    store<P>(tile, step.out, image, here.block, y, x, here.four, {sum[0], sum[1], sum[2], sum[3]});
}

__device__ float larger(float a, float b) { return a >= b ? a : b; }  // NaN in b wins

__global__ void max_pool_of(WindowSpec step, Tile tile) {
    const Place here = place_here(tile, step.out.height, step.out.width);
    if (!here.inside) return;
    const Window w =
        window_at(here.pixel, step.kernel, step.stride, step.padding, step.in.height, step.in.width);
    float4 best = pixel_of<float4>(tile, step.in, here.pixel.image, here.block, w.top, w.left)[here.four];
    for (int y = w.top; y < w.bottom; ++y) {
        for (int x = w.left; x < w.right; ++x) {
            const float4 v = pixel_of<float4>(tile, step.in, here.pixel.image, here.block, y, x)[here.four];
            best = {larger(best.x, v.x), larger(best.y, v.y), larger(best.z, v.z), larger(best.w, v.w)};
        }
    }
    pixel_of<float4>(tile, step.out, here.pixel.image, here.block, here.pixel.y, here.pixel.x)[here.four] =
        best;
}

// One block of threads per image and block of channels.
__global__ void moments_of_image(MomentsSpec step, Tile tile, double* partial) {
    __shared__ double sums[kThreads][4];
    __shared__ double squares[kThreads][4];
    const int image = static_cast<int>(blockIdx.x), block = static_cast<int>(blockIdx.y);
    const int four = static_cast<int>(threadIdx.x) % kFours;
    double sum[4] = {}, square[4] = {};
    const float4* raw = pixel_of<float4>(tile, step.raw, image, block, 0, 0) + four;
    for (int p = static_cast<int>(threadIdx.x) / kFours; p < step.raw.height * step.raw.width;
         p += kThreads / kFours) {
        const float4 four_values = raw[p * kFours];
        const double values[4] = {four_values.x, four_values.y, four_values.z, four_values.w};
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
    double* to =
        partial + ((static_cast<std::int64_t>(image) * step.raw.blocks + block) * kBlock + threadIdx.x) * 2;
    to[0] = total;
    to[1] = total_square;
}

__global__ void moments_of_all(MomentsSpec step, Tile tile, const double* partial) {
    const int channels = step.raw.blocks * kBlock;
    const int c = static_cast<int>(blockIdx.x * kThreads + threadIdx.x);
    if (c >= channels) return;
    double total = 0, square = 0;
    for (int n = 0; n < tile.images; ++n) {
        const double* from = partial + (static_cast<std::int64_t>(n) * channels + c) * 2;
        total += from[0];
        square += from[1];
    }
    const double size = static_cast<double>(tile.images) * step.raw.height * step.raw.width;
    const double mean = total / size, variance = square / size - mean * mean;
    const auto narrow = static_cast<float>(variance < 0 ? 0 : variance);  // NaN passes
    step.out[c] = static_cast<float>(mean);
    step.out[channels + c] = narrow;
    step.out[2 * channels + c] = 1.0F / sqrtf(narrow + kEpsilon);
}

__global__ void normalise_of(const char* blob, Offset spec, const float* moments, float* affine) {
    const SumSpec& step = *at<SumSpec>(blob, spec);
    const int channels = step.blocks * kBlock;
    const int c = static_cast<int>(blockIdx.x * kThreads + threadIdx.x);
    if (c >= channels) return;
    const auto* from = at<float>(blob, step.affine);
    const auto* linears = at<LinearSpec>(blob, step.linear_specs);
    float bias = from[c];
    for (int i = 0; i < step.linears; ++i) {
        float scale = from[(1 + i) * channels + c];
        if (linears[i].moments != kNoMoments) {
            const float* of_value = moments + linears[i].moments;
            scale *= of_value[2 * channels + c];
            bias -= scale * of_value[c];
        }
        affine[(1 + i) * channels + c] = scale;
    }
    affine[c] = bias;
}

// One block of threads per image: mean over pixels, then the classifier.
__global__ void classify_image(const char* blob, HeadSpec head, Tile tile, float* pooled, float* logits) {
    const int image = static_cast<int>(blockIdx.x);
    const auto* sources = at<HeadSource>(blob, head.source_specs);
    float* means = pooled + static_cast<std::int64_t>(image) * head.features;
    int first = 0;
    for (int s = 0; s < head.sources; ++s) {
        const HeadSource& source = sources[s];
        const int pixels = source.raw.height * source.raw.width;
        for (int c = static_cast<int>(threadIdx.x); c < source.channels; c += static_cast<int>(kThreads)) {
            const auto* x =
                reinterpret_cast<const float*>(pixel_of<float4>(tile, source.raw, image, c / kBlock, 0, 0)) +
                c % kBlock;
            double total = 0;
            for (int p = 0; p < pixels; ++p) {
                const float unit = x[static_cast<std::int64_t>(p) * kBlock];
                total += head.rectified ? rectify(unit) : unit;
            }
            means[first + c] = static_cast<float>(total / pixels);
        }
        first += source.channels;
    }
    __syncthreads();
    const auto* weights = at<float>(blob, head.weights);
    for (int k = static_cast<int>(threadIdx.x); k < head.classes; k += static_cast<int>(kThreads)) {
        double total = 0;
        for (int i = 0; i < head.features; ++i) {
            total +=
                static_cast<double>(weights[static_cast<std::int64_t>(k) * head.features + i] * means[i]);
        }
        logits[static_cast<std::int64_t>(image) * head.classes + k] = static_cast<float>(total);
    }
}

// One thread per word.
__global__ void gather_words(const Segment* segments, int count, std::uint64_t* words,
                             Offset words_per_image) {
    constexpr int kBits = 64;
    const Offset word = static_cast<Offset>(blockIdx.x) * kThreads + threadIdx.x;
    if (word >= words_per_image) return;
    const Offset image = blockIdx.y;
    std::uint64_t bits = 0;
    int s = 0;
    for (int filled = 0; filled < kBits && s < count;) {
        const Segment& segment = segments[s];
        const Offset place = word * kBits + filled - segment.first_bit;
        if (place >= static_cast<Offset>(segment.channels) * segment.pixels) {
            ++s;
            continue;
        }
        const auto pixel = static_cast<int>(place / segment.channels);
        const auto channel = static_cast<int>(place % segment.channels);
        const std::uint64_t code = segment.codes[image * segment.image_codes + pixel] >> channel;
        const int width = segment.channels - channel;
        bits |= code << filled;
        filled += width;
    }
    words[image * words_per_image + word] = bits;
}

__global__ void copy_channels(CopySpec copy, Tile tile) {
    const Place here = place_here(tile, copy.raw.height, copy.raw.width);
    if (!here.inside) return;
    const auto [image, y, x] = here.pixel;
    const float4 four = pixel_of<float4>(tile, copy.raw, image, here.block, y, x)[here.four];
    const float values[4] = {four.x, four.y, four.z, four.w};
    for (int i = 0; i < 4; ++i) {
        const int channel = here.block * kBlock + here.four * 4 + i;
        if (channel >= copy.channels) return;
        copy.out[image * copy.image_floats +
                 (static_cast<Offset>(channel) * copy.raw.height + y) * copy.raw.width + x] = values[i];
    }
}

}  // namespace

template <class P>
cudaError_t Steps<P>::load_images(const float* images, int channels, const Plane& out, const Tile& tile,
                                  cudaStream_t stream) {
    return launch(images_into<P>, grid_of(tile, out.blocks, out.height, out.width), dim3(kThreads), stream,
                  images, channels, out, tile);
}

template <class P>
cudaError_t Steps<P>::sum(const char* blob, Offset spec, const SumSpec& step, const float* affine,
                          const Tile& tile, std::uint16_t* codes, cudaStream_t stream) {
    const std::int64_t pixels = static_cast<std::int64_t>(tile.images) * step.height * step.width;
    const auto tiles = static_cast<unsigned>((pixels + kSumPixels - 1) / kSumPixels);
    if (step.blocks % 2 == 0) {
        return launch(sum_of<P, 2>, dim3(tiles, static_cast<unsigned>(step.blocks / 2)), dim3(kThreads),
                      stream, blob, spec, affine, tile, codes);
    }
    return launch(sum_of<P, 1>, dim3(tiles, static_cast<unsigned>(step.blocks)), dim3(kThreads), stream, blob,
                  spec, affine, tile, codes);
}

template <class P>
cudaError_t Steps<P>::depthwise(const char* blob, const WindowSpec& step, const Tile& tile,
                                cudaStream_t stream) {
    return launch(depthwise_of<P>, grid_of(tile, step.out.blocks, step.out.height, step.out.width),
                  dim3(kThreads), stream, blob, step, tile);
}

template struct Steps<Float32>;
template struct Steps<BFloat16>;
template struct Steps<Float16>;

cudaError_t max_pool(const WindowSpec& step, const Tile& tile, cudaStream_t stream) {
    return launch(max_pool_of, grid_of(tile, step.out.blocks, step.out.height, step.out.width),
                  dim3(kThreads), stream, step, tile);
}

cudaError_t measure(const MomentsSpec& step, const Tile& tile, double* partial, cudaStream_t stream) {
    const dim3 grid(static_cast<unsigned>(tile.images), static_cast<unsigned>(step.raw.blocks));
    const cudaError_t error = launch(moments_of_image, grid, dim3(kThreads), stream, step, tile, partial);
    if (error != cudaSuccess) return error;
    const unsigned blocks = (static_cast<unsigned>(step.raw.blocks) * kBlock + kThreads - 1) / kThreads;
    return launch(moments_of_all, dim3(blocks), dim3(kThreads), stream, step, tile, partial);
}

cudaError_t normalise(const char* blob, Offset spec, const SumSpec& step, const float* moments, float* affine,
                      cudaStream_t stream) {
    const unsigned blocks = (static_cast<unsigned>(step.blocks) * kBlock + kThreads - 1) / kThreads;
    return launch(normalise_of, dim3(blocks), dim3(kThreads), stream, blob, spec, moments, affine);
}

cudaError_t classify(const char* blob, const HeadSpec& head, const Tile& tile, float* pooled, float* logits,
                     cudaStream_t stream) {
    return launch(classify_image, dim3(static_cast<unsigned>(tile.images)), dim3(kThreads), stream, blob,
                  head, tile, pooled, logits);
}

cudaError_t gather(const Segment* segments, int count, std::uint64_t* words, Offset words_per_image,
                   const Tile& tile, cudaStream_t stream) {
    if (words_per_image == 0) return cudaSuccess;
    const dim3 grid(static_cast<unsigned>((words_per_image + kThreads - 1) / kThreads),
                    static_cast<unsigned>(tile.images));
    return launch(gather_words, grid, dim3(kThreads), stream, segments, count, words, words_per_image);
}

cudaError_t copy_out(const CopySpec& copy, const Tile& tile, cudaStream_t stream) {
    return launch(copy_channels, grid_of(tile, copy.raw.blocks, copy.raw.height, copy.raw.width),
                  dim3(kThreads), stream, copy, tile);
}

}  // namespace znas::cuda
