// A mask's blob, and the train of kernels that images go through.
#include "znas/cuda/execute.hpp"

#include <algorithm>
#include <cstring>
#include <map>
#include <optional>
#include <span>
#include <utility>

#include "compiled.hpp"
#include "elements.hpp"
#include "memory.hpp"
#include "steps.hpp"
#include "znas/codes.hpp"
#include "znas/cuda/kernels.hpp"

namespace znas::cuda {

namespace {

using native::Compiled;
using native::CompiledLinear;
using native::CompiledStep;
using native::kBlock;
using native::PlaneSpec;
using native::Shape;
using native::Value;

std::size_t at(int index) { return static_cast<std::size_t>(index); }

// ---- layouts

void pack_float32(const float* weights, std::ptrdiff_t channels, char* words) {
    std::memcpy(words, weights, sizeof(float) * static_cast<std::size_t>(channels) * kBlock);
}

// [input channel 16][output channel 16] -> [lane][first, second half of its sums][4 input channels], so that
// lane 4 g + j reads what multiply_add wants of it at once: its columns are the output channels 4 j .. 4 j +
// 3 and its rows the input channels 4 j .. 4 j + 3 that it loads of a pixel.
template <class P>
void pack_half(const float* weights, std::ptrdiff_t channels, char* words) {
    auto* out = reinterpret_cast<std::uint32_t*>(words);
    for (std::ptrdiff_t first = 0; first < channels; first += kBlock) {
        for (int lane = 0; lane < 32; ++lane) {
            const int g = lane / 4, j = lane % 4;
            for (int half = 0; half < 2; ++half) {
                const int output = g / 2 * 4 + half * 2 + g % 2;
                for (int pair = 0; pair < 2; ++pair) {
                    float x[2];
                    for (int i = 0; i < 2; ++i) {
                        const std::ptrdiff_t channel = first + 4 * j + 2 * pair + i;
                        x[i] = channel < channels ? weights[channel * kBlock + output] : 0.0F;
                    }
                    *out++ = P::narrow(x[0], x[1]);
                }
            }
        }
    }
}

constexpr native::Layout kFloat32{4, 4, 4 * kBlock * 4, pack_float32, nullptr, nullptr};
constexpr native::Layout kBFloat16{2, kBlock, kBlock * kBlock * 2, pack_half<BFloat16>, nullptr, nullptr};
constexpr native::Layout kFloat16{2, kBlock, kBlock * kBlock * 2, pack_half<Float16>, nullptr, nullptr};

// ---- blobs

class Blob {
  public:
    template <class T>
    Offset put(const std::vector<T>& values) {
        const Offset place = (bytes_.size() + 15) / 16 * 16;
        bytes_.resize(place + values.size() * sizeof(T));
        if (!values.empty()) std::memcpy(bytes_.data() + place, values.data(), values.size() * sizeof(T));
        return place;
    }
    template <class T>
    Offset put(const T& value) {
        return put(std::vector<T>{value});
    }
    const std::vector<char>& bytes() const { return bytes_; }

  private:
    std::vector<char> bytes_;
};

Plane plane_of(const Compiled& compiled, const PlaneSpec& spec, int value) {
    const Shape& shape = compiled.value(value).shape;
    return {spec.offset, spec.bytes, native::blocks_of(shape), shape.height, shape.width,
            spec.halo,   spec.used};
}
Plane raw(const Compiled& compiled, int value) { return plane_of(compiled, compiled.raw[at(value)], value); }
Plane relu(const Compiled& compiled, int value) {
    return plane_of(compiled, compiled.relu[at(value)], value);
}
Plane plain(const Compiled& compiled, int value) {
    return plane_of(compiled, compiled.plain[at(value)], value);
}

}  // namespace

class Images {
  public:
    Images(const float* images, int count, const Shape& shape, int device)
        : count(count),
          memory(device, {images, at(count) * at(shape.channels) * at(shape.height) * at(shape.width)}) {}

    int count;
    Resident<float> memory;
};

class Loaded {
  public:
    Loaded(std::shared_ptr<const Compiled> of, int on) : compiled(std::move(of)), device(on) {
        Blob blob;
        moments.assign(compiled->raw.size(), kNoMoments);
        for (const CompiledStep& step : compiled->steps) {
            const Value& value = compiled->value(step.value);
            if (value.moments) {
                const std::size_t channels = at(native::blocks_of(value.shape)) * kBlock;
                moments[at(step.value)] = static_cast<int>(moment_floats);
                moment_floats += channels * 3;
                moment_channels = std::max(moment_channels, channels);
            }
            switch (value.kind) {
                case Value::Kind::kSum:
                    sums[step.value] = sum_spec(blob, step);
                    break;
                case Value::Kind::kDepthwise:
                case Value::Kind::kMaxPool:
                    windows[step.value] = window_spec(blob, step);
                    break;
                case Value::Kind::kImages:
                    break;
            }
        }
        head = head_spec(blob);
        memory.emplace(device, blob.bytes());
    }

    // A sum: its spec on this side, and where the other side finds it.
    struct Sum {
        SumSpec spec;
        Offset place;
    };

    std::shared_ptr<const Compiled> compiled;
    int device;
    std::map<int, Sum> sums;            // by value
    std::map<int, WindowSpec> windows;  // by value
    HeadSpec head;
    std::vector<int> moments;         // per value, in floats; kNoMoments
    std::size_t moment_floats = 0;    // of all values
    std::size_t moment_channels = 0;  // of the widest value with moments
    std::size_t affine_floats = 0;    // of the largest step
    std::optional<Resident<char>> memory;

  private:
    Sum sum_spec(Blob& blob, const CompiledStep& step) {
        const Compiled& c = *compiled;
        const Shape& shape = c.value(step.value).shape;
        std::vector<float> affine = step.affine.bias;
        std::vector<LinearSpec> linears;
        for (const CompiledLinear& linear : step.affine.linears) {
            affine.insert(affine.end(), linear.scale.begin(), linear.scale.end());
            linears.push_back(
                {raw(c, linear.source), linear.normalised ? moments[at(linear.source)] : kNoMoments});
        }
        affine_floats = std::max(affine_floats, affine.size());
        std::vector<PoolSpec> pools;
        for (const auto& pool : step.pools) {
            std::vector<Plane> planes;
            std::vector<float> scales;
            for (const CompiledLinear& linear : pool.linears) {
                planes.push_back(raw(c, linear.source));
                scales.insert(scales.end(), linear.scale.begin(), linear.scale.end());
            }
            pools.push_back({pool.kernel, pool.stride, pool.padding, static_cast<int>(planes.size()),
                             blob.put(planes), blob.put(scales)});
        }
        std::vector<ProductSpec> products;
        for (const auto& product : step.products) {
            products.push_back({product.rectified ? relu(c, product.source) : plain(c, product.source),
                                product.stride, product.words, product.taps, blob.put(product.offsets),
                                blob.put(product.weights)});
        }
        const SumSpec spec{native::blocks_of(shape),
                           shape.height,
                           shape.width,
                           static_cast<int>(linears.size()),
                           static_cast<int>(pools.size()),
                           static_cast<int>(products.size()),
                           blob.put(affine),
                           blob.put(linears),
                           blob.put(pools),
                           blob.put(products),
                           raw(c, step.value),
                           relu(c, step.value),
                           plain(c, step.value)};
        return {spec, blob.put(spec)};
    }

    WindowSpec window_spec(Blob& blob, const CompiledStep& step) const {
        const Compiled& c = *compiled;
        const native::Term& term = c.value(step.value).terms[0];
        if (c.value(step.value).kind == Value::Kind::kMaxPool) {
            return {raw(c, term.source), raw(c, step.value), term.kernel, term.stride, term.padding, 1, 0};
        }
        return {term.rectified ? relu(c, term.source) : plain(c, term.source),
                plain(c, step.value),
                term.kernel,
                term.stride,
                term.padding,
                term.dilation,
                blob.put(step.depthwise)};
    }

    HeadSpec head_spec(Blob& blob) const {
        const native::Head& from = compiled->head();
        std::vector<HeadSource> sources;
        int features = 0;
        for (const int value : from.sources) {
            sources.push_back({raw(*compiled, value), compiled->value(value).shape.channels});
            features += sources.back().channels;
        }
        return {static_cast<int>(sources.size()),
                from.classes,
                features,
                from.rectified,
                blob.put(sources),
                blob.put(from.weights)};
    }
};

class Codes {
  public:
    // units: of every site.
    Codes(const Stream& stream, int count, std::vector<std::size_t> units)
        : images(at(count)), bits(std::move(units)), memory(stream, images * words()) {}

    std::size_t words() const {
        std::size_t all = 0;
        for (const std::size_t units : bits) all += code_words(units);
        return all;
    }
    // For every site, where its codes [images, words] begin.
    std::vector<std::uint64_t*> sites() const {
        std::vector<std::uint64_t*> found;
        std::uint64_t* next = memory.data();
        for (const std::size_t units : bits) {
            found.push_back(next);
            next += images * code_words(units);
        }
        return found;
    }

    std::size_t images;
    std::vector<std::size_t> bits;
    Resident<std::uint64_t> memory;
};

namespace {

// One call: all images through all steps.
template <class P>
class Pass {
  public:
    Pass(const Loaded& loaded, const Images& images, const std::vector<int>& wanted)
        : loaded_(loaded),
          compiled_(*loaded.compiled),
          images_(images),
          wanted_(wanted),
          coded_(values_of(wanted)),
          stream_(loaded.device),
          planes_(stream_, compiled_.image_bytes * at(images.count)),
          codes_(stream_, code_entries() * at(images.count)),
          moments_(stream_, loaded.moment_floats),
          affine_(stream_, compiled_.batch() ? loaded.affine_floats : 0),
          partial_(stream_, compiled_.batch() ? loaded.moment_channels * 2 * at(images.count) : 0),
          pooled_(stream_, at(images.count) * at(loaded.head.features)),
          logits_(stream_, at(images.count) * at(loaded.head.classes)),
          tile_{planes_.data(), images.count} {
        std::uint16_t* codes = codes_.data();
        for (const int value : coded_) {
            codes_of_[value] = codes;
            codes += entries(value) * at(images.count);
        }
    }

    // Until the stream is done with them: what a pass that failed had queued may still write its codes.
    ~Pass() { cudaStreamSynchronize(stream_); }
    Pass(const Pass&) = delete;
    Pass& operator=(const Pass&) = delete;

    Output run() {
        for (const CompiledStep& step : compiled_.steps) run(step.value);
        const char* blob = loaded_.memory->data();
        check(classify(blob, loaded_.head, tile_, pooled_.data(), logits_.data(), stream_), "classify");
        Output output;
        logits_.copy_to(output.logits);
        pooled_.copy_to(output.pooled);
        if (!wanted_.empty()) gather_sites();
        output.packed = packed_;
        for (const int site : compiled_.kept) copy_site(site, output.features.emplace_back());
        std::vector<float> moments;
        moments_.copy_to(moments);
        stream_.wait();
        hand_out(moments, output);
        return output;
    }

  private:
    // The values of sites, each once.
    std::vector<int> values_of(const std::vector<int>& sites) const {
        std::vector<int> values;
        for (const int site : sites) {
            for (const int value : compiled_.site(site)) values.push_back(value);
        }
        std::sort(values.begin(), values.end());
        values.erase(std::unique(values.begin(), values.end()), values.end());
        return values;
    }
    // Codes of a value, per image.
    std::size_t entries(int value) const {
        const Shape& shape = compiled_.value(value).shape;
        return at(native::blocks_of(shape)) * at(shape.height) * at(shape.width);
    }
    std::size_t code_entries() const {
        std::size_t all = 0;
        for (const int value : coded_) all += entries(value);
        return all;
    }
    static std::size_t units(const Shape& shape) {
        return at(shape.channels) * at(shape.height) * at(shape.width);
    }
    std::size_t site_units(int site) const {
        std::size_t all = 0;
        for (const int value : compiled_.site(site)) all += units(compiled_.value(value).shape);
        return all;
    }

    void run(int value) {
        const char* blob = loaded_.memory->data();
        switch (compiled_.value(value).kind) {
            case Value::Kind::kImages:
                check(Steps<P>::load_images(images_.memory.data(), compiled_.value(value).shape.channels,
                                            plain(compiled_, value), tile_, stream_),
                      "load_images");
                break;
            case Value::Kind::kSum:
                sum(value, blob);
                break;
            case Value::Kind::kDepthwise:
                check(Steps<P>::depthwise(blob, loaded_.windows.at(value), tile_, stream_), "depthwise");
                break;
            case Value::Kind::kMaxPool:
                check(max_pool(loaded_.windows.at(value), tile_, stream_), "max_pool");
                break;
        }
        if (!compiled_.value(value).moments) return;
        const MomentsSpec spec{raw(compiled_, value), moments_.data() + loaded_.moments[at(value)]};
        check(measure(spec, tile_, partial_.data(), stream_), "measure");
    }

    void sum(int value, const char* blob) {
        const Loaded::Sum& step = loaded_.sums.at(value);
        const float* affine = reinterpret_cast<const float*>(blob + step.spec.affine);
        if (compiled_.batch()) {
            check(normalise(blob, step.place, step.spec, moments_.data(), affine_.data(), stream_),
                  "normalise");
            affine = affine_.data();
        }
        const auto codes = codes_of_.find(value);
        check(Steps<P>::sum(blob, step.place, step.spec, affine, tile_,
                            codes == codes_of_.end() ? nullptr : codes->second, stream_),
              "sum");
    }

    void gather_sites() {
        std::vector<std::size_t> units;
        std::vector<std::vector<Segment>> segments;
        for (const int site : wanted_) {
            units.push_back(site_units(site));
            segments.push_back(segments_of(site));
        }
        packed_ = std::make_shared<const Codes>(stream_, images_.count, std::move(units));
        const std::vector<std::uint64_t*> places = packed_->sites();
        for (std::size_t s = 0; s < segments.size(); ++s) {
            const Buffer<Segment> there(stream_, std::span<const Segment>(segments[s]));
            check(gather(there.data(), static_cast<int>(segments[s].size()), places[s],
                         code_words(packed_->bits[s]), tile_, stream_),
                  "gather");
        }
    }

    std::vector<Segment> segments_of(int site) const {
        std::vector<Segment> segments;
        Offset bit = 0;
        for (const int value : compiled_.site(site)) {
            const Shape& shape = compiled_.value(value).shape;
            const int pixels = shape.height * shape.width;
            for (int b = 0; b < native::blocks_of(shape); ++b) {
                const int channels = std::min(kBlock, shape.channels - b * kBlock);
                segments.push_back(
                    {bit, channels, pixels, codes_of_.at(value) + at(b) * at(pixels), entries(value)});
                bit += at(channels) * at(pixels);
            }
        }
        return segments;
    }

    void copy_site(int site, std::vector<float>& features) {
        const std::size_t image_floats = site_units(site);
        const Buffer<float> copied(stream_, image_floats * at(images_.count));
        float* out = copied.data();
        for (const int value : compiled_.site(site)) {
            const Shape& shape = compiled_.value(value).shape;
            check(copy_out({raw(compiled_, value), shape.channels, out, image_floats}, tile_, stream_),
                  "copy_out");
            out += units(shape);
        }
        copied.copy_to(features);
    }

    // A value that is not live has no moments.
    void hand_out(const std::vector<float>& moments, Output& output) const {
        for (std::size_t v = 0; v < loaded_.moments.size(); ++v) {
            const Value& value = compiled_.value(static_cast<int>(v));
            if (!value.moments) continue;
            const auto part = [&](int which) -> std::vector<float> {
                if (loaded_.moments[v] == kNoMoments) return {};
                const auto first =
                    moments.begin() + loaded_.moments[v] +
                    static_cast<std::ptrdiff_t>(which) * native::blocks_of(value.shape) * kBlock;
                return {first, first + value.shape.channels};
            };
            output.means.push_back(part(0));
            output.variances.push_back(part(1));
        }
    }

    const Loaded& loaded_;
    const Compiled& compiled_;
    const Images& images_;
    const std::vector<int>& wanted_;
    std::vector<int> coded_;
    Stream stream_;
    Buffer<char> planes_;
    Buffer<std::uint16_t> codes_;
    Buffer<float> moments_, affine_;
    Buffer<double> partial_;
    Buffer<float> pooled_, logits_;
    Tile tile_;
    std::map<int, std::uint16_t*> codes_of_;  // per value of a wanted site, [image][block][pixel]
    std::shared_ptr<const Codes> packed_;     // of all wanted sites
};

}  // namespace

int device_count() {
    int count = 0;
    return cudaGetDeviceCount(&count) == cudaSuccess ? count : (cudaGetLastError(), 0);
}

int capability(int device) {
    int major = 0, minor = 0;
    check(cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, device), "compute capability");
    check(cudaDeviceGetAttribute(&minor, cudaDevAttrComputeCapabilityMinor, device), "compute capability");
    return 10 * major + minor;
}

const native::Layout& layout(native::Precision precision) {
    switch (precision) {
        case native::Precision::kBFloat16:
            return kBFloat16;
        case native::Precision::kFloat16:
            return kFloat16;
        case native::Precision::kFloat32:
            break;
    }
    return kFloat32;
}

std::shared_ptr<const Images> upload(const float* images, int count, const Shape& shape, int device) {
    return std::make_shared<const Images>(images, count, shape, device);
}

std::shared_ptr<const Loaded> load(std::shared_ptr<const Compiled> compiled, int device) {
    return std::make_shared<const Loaded>(std::move(compiled), device);
}

std::vector<std::vector<std::uint64_t>> download(const Codes& codes) {
    const Stream stream(codes.memory.device());
    const std::vector<std::uint64_t*> places = codes.sites();
    std::vector<std::vector<std::uint64_t>> found(places.size());
    for (std::size_t s = 0; s < places.size(); ++s) {
        copy_to_host(places[s], codes.images * code_words(codes.bits[s]), found[s], stream);
    }
    stream.wait();
    return found;
}

std::vector<std::int64_t> agreements(const Codes& codes, const std::vector<std::int64_t>& times) {
    const std::vector<std::uint64_t*> places = codes.sites();
    if (times.size() != places.size()) throw Error("one factor per site is needed");
    const Stream stream(codes.memory.device());
    const Buffer<std::int64_t> gram(stream, codes.images * codes.images);
    gram.clear();
    for (std::size_t s = 0; s < places.size(); ++s) {
        check(add_code_gram(places[s], codes.images, codes.bits[s], times[s], gram.data(), stream),
              "add_code_gram");
    }
    std::vector<std::int64_t> found;
    gram.copy_to(found);
    stream.wait();
    return found;
}

Output run(const Loaded& loaded, const Images& images, const std::vector<int>& wanted) {
    if (images.memory.device() != loaded.device) throw Error("images and mask are on different GPUs");
    const native::Layout* of = loaded.compiled->layout;
    if (of == &kBFloat16) return Pass<BFloat16>(loaded, images, wanted).run();
    if (of == &kFloat16) return Pass<Float16>(loaded, images, wanted).run();
    return Pass<Float32>(loaded, images, wanted).run();
}

}  // namespace znas::cuda
