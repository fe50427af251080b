// Networks on a GPU, and the train of kernels that a pass of many masks is.
#include "znas/cuda/execute.hpp"

#include <algorithm>
#include <memory>
#include <mutex>
#include <span>
#include <utility>

#include "code_gram.hpp"
#include "elements.hpp"
#include "memory.hpp"
#include "pass.hpp"
#include "plan.hpp"
#include "znas/codes.hpp"

namespace znas::cuda {

namespace {

using native::Precision;
using native::Shape;

constexpr native::Layout kFloat32{4, kBlock, kWord * 4, nullptr, nullptr, nullptr};
constexpr native::Layout kBFloat16{2, kBlock, kWord * 2, nullptr, nullptr, nullptr};
constexpr native::Layout kFloat16{2, kBlock, kWord * 2, nullptr, nullptr, nullptr};

// float16 has a range of its own: how large values become under a mask is seen on so many images, in bfloat16.
constexpr int kProbed = 4;
// Of the memory that is free, what a call takes for the masks that it runs together.
constexpr std::size_t kShare = 4;

std::size_t at(int index) { return static_cast<std::size_t>(index); }

template <class T>
Resident<T> there(const Stream& stream, const std::vector<T>& values) {
    return Resident<T>(stream, std::span<const T>(values));
}

std::vector<std::uint8_t> bytes_of(const std::vector<bool>& flags) { return {flags.begin(), flags.end()}; }

}  // namespace

class Network {
  public:
    Network(const Stream& stream, Plan made)
        : plan(std::move(made)),
          device(stream.device()),
          layout(&plan.program->layout()),
          steps(there(stream, plan.steps)),
          operands(there(stream, plan.operands)),
          places(there(stream, plan.places)),
          base(there(stream, plan.base)),
          weight_chunks(there(stream, plan.weights.chunks)),
          weight_terms(there(stream, plan.weights.terms)),
          vector_chunks(there(stream, plan.vectors.chunks)),
          vector_terms(there(stream, plan.vectors.terms)),
          shared(there(stream, bytes_of(plan.shared_))),
          head(there(stream, plan.head)),
          head_values(there(stream, plan.program->head().sources)),
          head_weights(there(stream, plan.program->head().weights)),
          slots(slots_of(plan)) {
        plan.base = {};  // the GPU has it now
    }

    int values() const { return static_cast<int>(plan.program->values().size()); }
    Plane images_plane() const {
        const Shape& shape = plan.program->values().at(0).shape;
        const int blocks = (shape.channels + kBlock - 1) / kBlock;
        return {0, at(blocks) * at(shape.height) * at(shape.width) * kBlock * at(layout->element_bytes), blocks,
                shape.height, shape.width, Where::kImages};
    }

    // Memory for one call at a time; what was used before is used again.
    std::unique_ptr<Resident<char>> borrow(const Stream& stream, std::size_t bytes) const {
        std::unique_ptr<Resident<char>> found;
        {
            const std::lock_guard guard(lock_);
            if (!idle_.empty()) {
                found = std::move(idle_.back());
                idle_.pop_back();
            }
        }
        if (found != nullptr && found->size() >= bytes) return found;
        found.reset();
        return std::make_unique<Resident<char>>(stream, bytes);
    }
    void give_back(std::unique_ptr<Resident<char>> memory) const {
        const std::lock_guard guard(lock_);
        idle_.push_back(std::move(memory));
    }
    void forget_idle() const {
        const std::lock_guard guard(lock_);
        idle_.clear();
    }

    Plan plan;
    int device;
    const native::Layout* layout;
    Resident<Step> steps;
    Resident<Operand> operands;
    Resident<Tap> places;
    Resident<float> base;
    Resident<MergeChunk> weight_chunks;
    Resident<MergeTerm> weight_terms;
    Resident<MergeChunk> vector_chunks;
    Resident<MergeTerm> vector_terms;
    Resident<std::uint8_t> shared;
    Resident<HeadSource> head;
    Resident<int> head_values;
    Resident<float> head_weights;
    int slots;  // of a mask

  private:
    static int slots_of(const Plan& plan) {
        int most = native::kNoSlot;
        for (const native::Value& value : plan.program->values()) {
            for (const native::Term& term : value.terms) most = std::max(most, term.slot);
        }
        return most + 1;
    }

    mutable std::mutex lock_;
    mutable std::vector<std::unique_ptr<Resident<char>>> idle_;
};

class Images {
  public:
    Images(const Network& network, const Stream& stream, const float* images, int count)
        : count(count), plane(stream, network.images_plane().bytes * at(count)) {
        const Shape& shape = network.plan.program->values().at(0).shape;
        const std::size_t floats = at(count) * at(shape.channels) * at(shape.height) * at(shape.width);
        const Resident<float> pixels(stream, std::span<const float>(images, floats));
        const Plane out = network.images_plane();
        const auto load = network.layout == &kFloat16    ? Kernels<Float16>::load_images
                          : network.layout == &kBFloat16 ? Kernels<BFloat16>::load_images
                                                         : Kernels<Float32>::load_images;
        check(load(pixels.data(), count, shape.channels, out, plane.data(), stream), "load_images");
        if (network.layout == &kFloat16) {
            const int few = std::min(count, kProbed);
            probed = std::make_unique<Resident<char>>(stream, out.bytes * at(few));
            check(Kernels<BFloat16>::load_images(pixels.data(), few, shape.channels, out, probed->data(), stream),
                  "load_images");
        }
        stream.wait();
    }

    int count;
    Resident<char> plane;
    std::unique_ptr<Resident<char>> probed;  // the first of them in bfloat16
};

class Codes {
  public:
    Codes(std::shared_ptr<const Network> of, const Stream& stream, int masks, int images)
        : network(std::move(of)),
          masks(masks),
          images(images),
          entries(stream, at(masks) * at(images) * network->plan.code_entries) {
        check(cudaMemsetAsync(entries.data(), 0, entries.size() * sizeof(std::uint16_t), stream), "cudaMemset");
    }

    std::shared_ptr<const Network> network;
    int masks, images;
    Resident<std::uint16_t> entries;  // [masks, images, entries of all coded values]
};

namespace {

// Places of arrays in one piece of memory.
class Carver {
  public:
    template <class T>
    Offset take(std::size_t count) {
        const Offset place = size_;
        size_ += (count * sizeof(T) + 255) / 256 * 256;
        return place;
    }
    std::size_t size() const { return size_; }

  private:
    std::size_t size_ = 0;
};

// Some masks over all images.
class Group {
  public:
    Group(const Network& network, const Stream& stream, const Images& images, const float* masks, int count,
          bool keeps)
        : network_(network),
          plan_(network.plan),
          stream_(stream),
          images_(images),
          masks_(count),
          slots_(masks, masks + at(count) * at(network.slots)) {
        for (int m = 0; m < count; ++m) {
            const std::vector<std::uint8_t> left = plan_.flags_under(slots_.data() + at(m) * at(network.slots));
            flags_.insert(flags_.end(), left.begin(), left.end());
        }
        // What is the same under every mask is there if one of them needs it.
        for (std::size_t s = 0; s < plan_.steps.size(); ++s) {
            if (!plan_.shared(plan_.values[s])) continue;
            for (int m = 1; m < count; ++m) {
                flags_[at(plan_.steps[s].flag)] |= flags_[at(m * plan_.flags + plan_.steps[s].flag)];
            }
        }
        place(keeps);
        memory_ = network.borrow(stream, size_);
    }
    // What was queued may still use the memory.
    ~Group() {
        cudaStreamSynchronize(stream_);
        network_.give_back(std::move(memory_));
    }
    Group(const Group&) = delete;
    Group& operator=(const Group&) = delete;

    void run(std::uint16_t* codes) {
        Pass pass = described();
        copy_to_device(std::span<const float>(slots_), get<float>(mask_), stream_);
        copy_to_device(std::span<const std::uint8_t>(flags_), get<std::uint8_t>(flag_), stream_);
        clear(exponent_, at(masks_) * at(network_.values()) * sizeof(std::int32_t));
        if (network_.layout == &kFloat16) choose_range(pass);
        pass.codes = codes;
        if (network_.layout == &kFloat16) {
            forward<Float16>(pass);
        } else if (network_.layout == &kBFloat16) {
            forward<BFloat16>(pass);
        } else {
            forward<Float32>(pass);
        }
    }

    // Queues the copies; `wait` for them.
    void copy_out(float* logits, float* pooled, const std::vector<float*>& features) {
        const std::size_t images = at(masks_) * at(images_.count);
        fetch(logits, get<float>(logits_), images * at(plan_.program->head().classes));
        fetch(pooled, get<float>(pooled_), images * at(plan_.features));
        Offset first = 0;
        for (std::size_t site = 0; site < features.size(); ++site) {
            const Offset floats = plan_.kept_sizes[site] * at(images_.count);
            for (int m = 0; m < masks_; ++m) {
                fetch(features[site] + floats * at(m),
                      get<float>(features_) + plan_.kept_floats * at(images_.count) * at(m) + first, floats);
            }
            first += floats;
        }
        copy_to_host(get<float>(moments_), at(masks_) * plan_.moment_floats, moment_values_, stream_);
    }
    void wait() const { stream_.wait(); }

    void hand_out_moments(Output& output) const {
        std::vector<Moments> by_value = plan_.moments;
        std::sort(by_value.begin(), by_value.end(),
                  [](const Moments& a, const Moments& b) { return a.value < b.value; });
        for (int m = 0; m < masks_; ++m) {
            auto& means = output.means.emplace_back();
            auto& variances = output.variances.emplace_back();
            for (const Moments& of : by_value) {
                const Step& step = plan_.steps[at(plan_.step_of_[at(of.value)])];
                const bool live = flags_[at(m * plan_.flags + step.flag)] != 0;
                const auto part = [&](int which) -> std::vector<float> {
                    if (!live) return {};
                    const auto first = moment_values_.begin() +
                                       static_cast<std::ptrdiff_t>(at(m) * plan_.moment_floats + of.out +
                                                                   at(which * of.plane.blocks) * kBlock);
                    return {first, first + step.channels};
                };
                means.push_back(part(0));
                variances.push_back(part(1));
            }
        }
    }

    // What the planes of a mask need.
    static std::size_t bytes_per_mask(const Network& network, int images) {
        return network.plan.own_bytes * at(images) + network.plan.weights.size * at(network.layout->element_bytes);
    }

  private:
    void place(bool keeps) {
        const std::size_t count = at(images_.count), masks = at(masks_), values = at(network_.values());
        Carver carver;
        mask_ = carver.take<float>(slots_.size());
        flag_ = carver.take<std::uint8_t>(flags_.size());
        exponent_ = carver.take<std::int32_t>(masks * values);
        largest_ = carver.take<std::int32_t>(masks * values);
        weights_ = carver.take<char>(masks * plan_.weights.size * at(network_.layout->element_bytes));
        vectors_ = carver.take<float>(masks * plan_.vectors.size);
        shared_ = carver.take<char>(count * plan_.shared_bytes);
        own_ = carver.take<char>(masks * count * plan_.own_bytes);
        moments_ = carver.take<float>(masks * plan_.moment_floats);
        std::size_t widest = 0;
        for (const Moments& of : plan_.moments) widest = std::max(widest, at(of.plane.blocks) * kBlock);
        partial_ = carver.take<double>(masks * count * widest * 2);
        pooled_ = carver.take<float>(masks * count * at(plan_.features));
        logits_ = carver.take<float>(masks * count * at(plan_.program->head().classes));
        keeps_ = keeps;
        features_ = carver.take<float>(keeps ? masks * count * plan_.kept_floats : 0);
        size_ = carver.size();
    }

    template <class T>
    T* get(Offset place) const {
        return reinterpret_cast<T*>(memory_->data() + place);
    }
    void clear(Offset place, std::size_t bytes) const {
        check(cudaMemsetAsync(memory_->data() + place, 0, bytes, stream_), "cudaMemset");
    }
    void fetch(float* to, const float* from, std::size_t count) const {
        if (count == 0) return;
        check(cudaMemcpyAsync(to, from, count * sizeof(float), cudaMemcpyDeviceToHost, stream_), "cudaMemcpy");
    }

    Pass described() const {
        Pass pass{};
        pass.steps = network_.steps.data();
        pass.operands = network_.operands.data();
        pass.places = network_.places.data();
        pass.base = network_.base.data();
        pass.values = network_.values();
        pass.weights = get<char>(weights_);
        pass.mask_weights = plan_.weights.size;
        pass.vectors = get<float>(vectors_);
        pass.mask_vectors = plan_.vectors.size;
        pass.flags = get<std::uint8_t>(flag_);
        pass.mask_flags = plan_.flags;
        pass.exponents = get<std::int32_t>(exponent_);
        pass.count = images_.count;
        pass.masks = masks_;
        pass.images = images_.plane.data();
        pass.shared = get<char>(shared_);
        pass.own = get<char>(own_);
        pass.image_codes = plan_.code_entries;
        pass.features = keeps_ ? get<float>(features_) : nullptr;
        pass.mask_features = plan_.kept_floats * at(images_.count);
        pass.moments = get<float>(moments_);
        pass.mask_moments = plan_.moment_floats;
        return pass;
    }

    void choose_range(Pass pass) {
        const std::size_t bytes = at(masks_) * at(network_.values()) * sizeof(std::int32_t);
        clear(largest_, bytes);
        pass.images = images_.probed->data();
        pass.count = std::min(images_.count, kProbed);
        pass.largest = get<std::int32_t>(largest_);
        pass.features = nullptr;
        forward<BFloat16>(pass);
        check(choose_exponents(pass.largest, network_.shared.data(), pass.values, masks_,
                               get<std::int32_t>(exponent_), stream_),
              "choose_exponents");
    }

    template <class P>
    void forward(const Pass& pass) {
        merge<P>(network_.weight_chunks, network_.weight_terms, plan_.weights, get<char>(weights_));
        merge<Float32>(network_.vector_chunks, network_.vector_terms, plan_.vectors, pass.vectors);
        std::size_t measured = 0;
        for (std::size_t w = 0; w < plan_.waves.size(); ++w) {
            for (const Normalised& of : plan_.normalised[w]) check(normalise(pass, of, stream_), "normalise");
            check(Kernels<P>::sum(pass, plan_.waves[w], stream_), "sum");
            for (; measured < plan_.moments.size() && plan_.moments[measured].wave == static_cast<int>(w);
                 ++measured) {
                check(Kernels<P>::measure(pass, plan_.moments[measured], get<double>(partial_), stream_),
                      "measure");
            }
        }
        const native::Head& head = plan_.program->head();
        check(Kernels<P>::classify(pass, network_.head.data(), network_.head_values.data(),
                                   static_cast<int>(plan_.head.size()), plan_.features, head.rectified,
                                   network_.head_weights.data(), head.classes, get<float>(pooled_),
                                   get<float>(logits_), stream_),
              "classify");
    }

    template <class P>
    void merge(const Resident<MergeChunk>& chunks, const Resident<MergeTerm>& terms, const Merge& of,
               void* merged) const {
        check(Kernels<P>::merge(chunks.data(), of.chunks.size(), terms.data(), network_.base.data(),
                                get<float>(mask_), network_.slots, get<std::int32_t>(exponent_),
                                network_.values(), masks_, of.size, merged, stream_),
              "merge");
    }

    const Network& network_;
    const Plan& plan_;
    const Stream& stream_;
    const Images& images_;
    int masks_;
    std::vector<float> slots_;
    std::vector<std::uint8_t> flags_;
    Offset mask_ = 0, flag_ = 0, exponent_ = 0, largest_ = 0, weights_ = 0, vectors_ = 0, shared_ = 0, own_ = 0,
           moments_ = 0, partial_ = 0, pooled_ = 0, logits_ = 0, features_ = 0;
    bool keeps_ = false;
    std::size_t size_ = 0;
    std::unique_ptr<Resident<char>> memory_;
    std::vector<float> moment_values_;
};

// As many masks as memory has room for.
int group_size(const Network& network, const Images& images, int masks) {
    std::size_t free = 0, total = 0;
    check(cudaMemGetInfo(&free, &total), "cudaMemGetInfo");
    const std::size_t fitting = free / kShare / std::max<std::size_t>(Group::bytes_per_mask(network, images.count), 1);
    return static_cast<int>(std::clamp<std::size_t>(fitting, 1, at(masks)));
}

// Bits one after another.
class Bits {
  public:
    explicit Bits(std::uint64_t* words) : words_(words) {}
    void put(std::uint64_t bits, int width) {
        const std::size_t word = filled_ / 64, place = filled_ % 64;
        words_[word] |= bits << place;
        if (place + at(width) > 64) words_[word + 1] |= bits >> (64 - place);
        filled_ += at(width);
    }

  private:
    std::uint64_t* words_;
    std::size_t filled_ = 0;
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

const native::Layout& layout(Precision precision) {
    switch (precision) {
        case Precision::kBFloat16:
            return kBFloat16;
        case Precision::kFloat16:
            return kFloat16;
        case Precision::kFloat32:
            break;
    }
    return kFloat32;
}

std::shared_ptr<const Network> network(std::shared_ptr<const native::Program> program,
                                       const std::vector<int>& kept, int device) {
    Plan made = plan(std::move(program), kept);
    const Stream stream(device);
    return std::make_shared<const Network>(stream, std::move(made));
}

std::shared_ptr<const Images> upload(const Network& network, const float* images, int count) {
    const Stream stream(network.device);
    return std::make_shared<const Images>(network, stream, images, count);
}

Output run(const std::shared_ptr<const Network>& network, const Images& images, const float* masks, int count,
           bool codes) {
    if (images.plane.device() != network->device) throw Error("images and network are on different GPUs");
    const Stream stream(network->device);
    const std::size_t all = at(count) * at(images.count);
    Output output;
    output.logits.resize(all * at(network->plan.program->head().classes));
    output.pooled.resize(all * at(network->plan.features));
    for (const Offset floats : network->plan.kept_sizes) output.features.emplace_back(all * floats);
    std::shared_ptr<Codes> made;
    if (codes) made = std::make_shared<Codes>(network, stream, count, images.count);
    int size = group_size(*network, images, count);
    for (int first = 0; first < count;) {
        const int here = std::min(size, count - first);
        try {
            const std::size_t before = at(first) * at(images.count);
            Group group(*network, stream, images, masks + at(first) * at(network->slots), here,
                        !output.features.empty());
            group.run(made == nullptr ? nullptr : made->entries.data() + before * network->plan.code_entries);
            std::vector<float*> features;
            for (std::size_t site = 0; site < output.features.size(); ++site) {
                features.push_back(output.features[site].data() + before * network->plan.kept_sizes[site]);
            }
            group.copy_out(output.logits.data() + before * at(network->plan.program->head().classes),
                           output.pooled.data() + before * at(network->plan.features), features);
            group.wait();
            group.hand_out_moments(output);
            first += here;
        } catch (const OutOfMemory&) {
            network->forget_idle();
            if (here == 1) throw;
            size = here / 2;
        }
    }
    output.codes = std::move(made);
    return output;
}

std::vector<std::uint64_t> download(const Codes& codes, int mask, int site) {
    const Plan& plan = codes.network->plan;
    const std::vector<int>& values = plan.program->sites().at(at(site));
    std::size_t units = 0;
    for (const int v : values) {
        const Shape& shape = plan.program->values()[at(v)].shape;
        units += at(shape.channels) * at(shape.height) * at(shape.width);
    }
    const std::size_t images = at(codes.images), pitch = plan.code_entries * sizeof(std::uint16_t);
    std::vector<std::vector<std::uint16_t>> entries;  // per value [images, entries]
    const Stream stream(codes.entries.device());
    for (const int v : values) {
        const Shape& shape = plan.program->values()[at(v)].shape;
        const std::size_t count = at((shape.channels + kBlock - 1) / kBlock) * at(shape.height) * at(shape.width);
        auto& lying = entries.emplace_back(images * count);
        const auto place = static_cast<std::size_t>(std::lower_bound(plan.coded.begin(), plan.coded.end(), v) -
                                                    plan.coded.begin());
        const std::uint16_t* from =
            codes.entries.data() + at(mask) * images * plan.code_entries + plan.code_places[place];
        check(cudaMemcpy2DAsync(lying.data(), count * sizeof(std::uint16_t), from, pitch,
                                count * sizeof(std::uint16_t), images, cudaMemcpyDeviceToHost, stream),
              "cudaMemcpy");
    }
    stream.wait();
    std::vector<std::uint64_t> words(images * code_words(units));
    for (std::size_t n = 0; n < images; ++n) {
        Bits bits(words.data() + n * code_words(units));
        for (std::size_t i = 0; i < values.size(); ++i) {
            const Shape& shape = plan.program->values()[at(values[i])].shape;
            const std::size_t pixels = at(shape.height) * at(shape.width), count = entries[i].size() / images;
            for (std::size_t e = 0; e < count; ++e) {
                const int block = static_cast<int>(e / pixels);
                bits.put(entries[i][n * count + e], std::min(kBlock, shape.channels - block * kBlock));
            }
        }
    }
    return words;
}

std::vector<std::int64_t> agreements(const Codes& codes, const std::vector<std::vector<std::int64_t>>& times) {
    const Plan& plan = codes.network->plan;
    const auto& sites = plan.program->sites();
    constexpr std::size_t kEntries = 4;  // of 16 units in a word
    static_assert(kCodeEntries == kEntries * kCodeWords);
    std::vector<CodeRange> ranges;
    for (std::size_t i = 0; i < plan.coded.size(); ++i) {
        const Shape& shape = plan.program->values()[at(plan.coded[i])].shape;
        const Offset end = i + 1 < plan.coded.size() ? plan.code_places[i + 1] : plan.code_entries;
        ranges.push_back({plan.code_places[i] / kEntries, end / kEntries,
                          static_cast<std::int64_t>(shape.channels) * shape.height * shape.width});
    }
    std::vector<std::int32_t> counted;  // [masks, values]
    for (const auto& of_mask : times) {
        if (of_mask.size() != sites.size()) throw Error("one factor per site is needed");
        const std::size_t first = counted.size();
        counted.resize(first + ranges.size());
        for (std::size_t s = 0; s < sites.size(); ++s) {
            for (const int v : sites[s]) {
                const auto place = std::lower_bound(plan.coded.begin(), plan.coded.end(), v) - plan.coded.begin();
                counted[first + static_cast<std::size_t>(place)] += static_cast<std::int32_t>(of_mask[s]);
            }
        }
    }
    if (times.size() != at(codes.masks)) throw Error("one row of factors per mask is needed");
    const Stream stream(codes.entries.device());
    const Resident<CodeRange> ranges_there(stream, std::span<const CodeRange>(ranges));
    const Resident<std::int32_t> counted_there(stream, std::span<const std::int32_t>(counted));
    const std::size_t images = at(codes.images), size = at(codes.masks) * images * images;
    const Resident<std::int64_t> gram(stream, size);
    check(cudaMemsetAsync(gram.data(), 0, size * sizeof(std::int64_t), stream), "cudaMemset");
    check(code_gram(reinterpret_cast<const std::uint64_t*>(codes.entries.data()), codes.masks, codes.images,
                    plan.code_entries / kEntries, ranges_there.data(), static_cast<int>(ranges.size()),
                    counted_there.data(), gram.data(), stream),
          "code_gram");
    std::vector<std::int64_t> found;
    copy_to_host(gram.data(), size, found, stream);
    stream.wait();
    return found;
}

}  // namespace znas::cuda
