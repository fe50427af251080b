// The train of kernels that a pass of many masks is.
#include "znas/cuda/execute.hpp"

#include <algorithm>
#include <memory>
#include <optional>
#include <span>
#include <utility>

#include "elements.hpp"
#include "network.hpp"
#include "pass.hpp"

namespace znas::cuda {

namespace {

// Of the memory that is free, what a call takes for the masks that it runs together.
constexpr std::size_t kShare = 4;
constexpr std::size_t kMostMasks = 65535;  // that a launch can have

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
    Group(const Network& network, const Stream& stream, const Images& images, std::span<const float> masks,
          int count)
        : network_(network),
          plan_(network.plan),
          stream_(stream),
          images_(images),
          masks_(count),
          columns_(static_cast<int>(masks.size()) / count),
          slots_(masks.begin(), masks.end()) {
        for (int m = 0; m < count; ++m) {
            const std::vector<std::uint8_t> left = plan_.flags_under(slots_.data() + at(m) * at(columns_));
            flags_.insert(flags_.end(), left.begin(), left.end());
        }
        // What is the same under every mask is there if one of them needs it.
        for (std::size_t s = 0; s < plan_.steps.size(); ++s) {
            if (!plan_.shared(plan_.values[s])) continue;
            for (int m = 1; m < count; ++m) {
                flags_[at(plan_.steps[s].flag)] |= flags_[at(m * plan_.flags + plan_.steps[s].flag)];
            }
        }
        place();
        memory_ = workspaces().borrow(stream, size_);
    }
    // What was queued may still use the memory.
    ~Group() {
        cudaStreamSynchronize(stream_);
        workspaces().give_back(std::move(memory_));
    }
    Group(const Group&) = delete;
    Group& operator=(const Group&) = delete;

    // Codes and features of these masks go there; null where nobody asks.
    void run(std::uint16_t* codes, float* features) {
        Pass pass = described();
        copy_to_device(std::span<const float>(slots_), get<float>(mask_), stream_);
        copy_to_device(std::span<const std::uint8_t>(flags_), get<std::uint8_t>(flag_), stream_);
        clear(exponent_, at(masks_) * at(network_.values()) * sizeof(std::int32_t));
        if (network_.layout == &kFloat16Layout) choose_range(pass);
        pass.codes = codes;
        pass.features = features;
        if (network_.layout == &kFloat16Layout) {
            forward<Float16>(pass);
        } else if (network_.layout == &kBFloat16Layout) {
            forward<BFloat16>(pass);
        } else {
            forward<Float32>(pass);
        }
    }

    // What logits are for, in their place. Queues the count; `wait` for it.
    void count(const Resident<std::int64_t>& labels) {
        check(count_correct(get<float>(logits_), labels.data(), masks_, images_.count,
                            plan_.program->head().classes, get<Count>(counts_), stream_),
              "count_correct");
        copy_to_host(get<Count>(counts_), at(masks_), counted_, stream_);
    }
    void hand_out_counts(Output& output) const {
        for (const Count& of : counted_) output.counted.push_back({of.correct, of.not_finite == 0});
    }

    // These queue copies; `wait` for them.
    void copy_logits(float* logits) {
        fetch(logits, get<float>(logits_),
              at(masks_) * at(images_.count) * at(plan_.program->head().classes));
    }
    void copy_out(float* pooled) {
        fetch(pooled, get<float>(pooled_), at(masks_) * at(images_.count) * at(plan_.features));
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
        return network.plan.own_bytes * at(images) +
               network.plan.weights.size * at(network.layout->element_bytes);
    }

  private:
    void place() {
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
        counts_ = carver.take<Count>(masks);
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
        check(cudaMemcpyAsync(to, from, count * sizeof(float), cudaMemcpyDeviceToHost, stream_),
              "cudaMemcpy");
    }

    Pass described() const {
        Pass pass{};
        pass.steps = network_.steps.data();
        pass.operands = network_.operands.data();
        pass.places = network_.places.data();
        pass.filters = network_.filters.data();
        pass.narrow_filters = network_.narrow_filters.data();
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
        forward<BFloat16>(pass);
        check(choose_exponents(pass, network_.waves.data(), static_cast<int>(plan_.waves.size()),
                               network_.reads.data(), network_.shared.data(), get<float>(mask_), columns_,
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
                                get<float>(mask_), columns_, get<std::int32_t>(exponent_), network_.values(),
                                masks_, of.size, merged, stream_),
              "merge");
    }

    const Network& network_;
    const Plan& plan_;
    const Stream& stream_;
    const Images& images_;
    int masks_;
    int columns_;               // of a mask
    std::vector<float> slots_;  // [masks, columns]
    std::vector<std::uint8_t> flags_;
    Offset mask_ = 0, flag_ = 0, exponent_ = 0, largest_ = 0, weights_ = 0, vectors_ = 0, shared_ = 0,
           own_ = 0, moments_ = 0, partial_ = 0, pooled_ = 0, logits_ = 0, counts_ = 0;
    std::size_t size_ = 0;
    std::unique_ptr<Resident<char>> memory_;
    std::vector<float> moment_values_;
    std::vector<Count> counted_;
};

// Room for codes or features, if need be that of workspaces which nobody uses.
template <class Kept>
std::shared_ptr<Kept> room_for(const std::shared_ptr<const Network>& network, const Stream& stream, int masks,
                               int images) {
    try {
        return std::make_shared<Kept>(network, stream, masks, images);
    } catch (const OutOfMemory&) {
        workspaces().forget_idle(network->device);
        return std::make_shared<Kept>(network, stream, masks, images);
    }
}

// As many masks as memory has room for.
int group_size(const Network& network, const Images& images) {
    std::size_t free = 0, total = 0;
    check(cudaMemGetInfo(&free, &total), "cudaMemGetInfo");
    const std::size_t fitting =
        free / kShare / std::max<std::size_t>(Group::bytes_per_mask(network, images.count), 1);
    return static_cast<int>(std::clamp<std::size_t>(fitting, 1, kMostMasks));
}

}  // namespace

Output run(const std::shared_ptr<const Network>& network, const Images& images, std::span<const float> masks,
           int count, bool codes, const std::int64_t* labels) {
    if (images.plane.device() != network->device) throw Error("images and network are on different GPUs");
    const std::size_t columns = count == 0 ? 0 : masks.size() / at(count);
    if (count != 0 && columns < at(network->slots)) throw Error("masks lack entries that the network reads");
    // Before the stream, which is waited for on the way out of an error.
    std::shared_ptr<Codes> made;
    std::shared_ptr<Features> kept;
    const Stream stream(network->device);
    const std::size_t all = at(count) * at(images.count);
    Output output;
    const auto classes = at(network->plan.program->head().classes);
    std::optional<Resident<std::int64_t>> truth;
    if (labels != nullptr) {
        truth.emplace(stream, std::span<const std::int64_t>(labels, at(images.count)));
    } else {
        output.logits.resize(all * classes);
    }
    output.pooled.resize(all * at(network->plan.features));
    if (codes) made = room_for<Codes>(network, stream, count, images.count);
    if (!network->plan.kept.empty()) kept = room_for<Features>(network, stream, count, images.count);
    int size = group_size(*network, images);
    for (int first = 0; first < count;) {
        const int here = std::min(size, count - first);
        try {
            const std::size_t before = at(first) * at(images.count);
            Group group(*network, stream, images, masks.subspan(at(first) * columns, at(here) * columns),
                        here);
            group.run(made == nullptr ? nullptr : made->entries.data() + before * network->plan.code_entries,
                      kept == nullptr ? nullptr : kept->floats.data() + at(first) * kept->mask_floats());
            if (truth) {
                group.count(*truth);
            } else {
                group.copy_logits(output.logits.data() + before * classes);
            }
            group.copy_out(output.pooled.data() + before * at(network->plan.features));
            group.wait();
            group.hand_out_counts(output);
            group.hand_out_moments(output);
            first += here;
        } catch (const OutOfMemory&) {
            workspaces().forget_idle(network->device);
            if (here == 1) throw;
            size = here / 2;
        }
    }
    output.codes = std::move(made);
    output.features = std::move(kept);
    return output;
}

}  // namespace znas::cuda
