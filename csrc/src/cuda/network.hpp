// A supernet, its images and its codes in the memory of a GPU.
#pragma once

#include <algorithm>
#include <cstdint>
#include <memory>
#include <span>
#include <utility>
#include <vector>

#include "memory.hpp"
#include "plan.hpp"
#include "znas/cuda/execute.hpp"

namespace znas::cuda {

extern const native::Layout kFloat32Layout, kBFloat16Layout, kFloat16Layout;

// float16 has a range of its own: how large values become under a mask is seen on so many images, in
// bfloat16.
constexpr int kProbed = 4;

inline std::size_t at(int index) { return static_cast<std::size_t>(index); }

class Network {
  public:
    Network(const Stream& stream, Plan made)
        : plan(std::move(made)),
          device(stream.device()),
          layout(&plan.program->layout()),
          steps(there(stream, plan.steps)),
          operands(there(stream, plan.operands)),
          reads(there(stream, plan.reads)),
          waves(there(stream, plan.waves)),
          places(there(stream, plan.places)),
          base(there(stream, plan.base)),
          filters(there(stream, plan.filters)),
          narrow_filters(there(stream, narrowed(plan))),
          weight_chunks(there(stream, plan.weights.chunks)),
          weight_terms(there(stream, plan.weights.terms)),
          vector_chunks(there(stream, plan.vectors.chunks)),
          vector_terms(there(stream, plan.vectors.terms)),
          shared(there(stream, std::vector<std::uint8_t>(plan.shared_.begin(), plan.shared_.end()))),
          head(there(stream, plan.head)),
          head_values(there(stream, plan.program->head().sources)),
          head_weights(there(stream, plan.program->head().weights)),
          slots(slots_of(plan)) {
        plan.base = {};  // the GPU has it now
        plan.filters = {};
    }

    int values() const { return static_cast<int>(plan.program->values().size()); }
    Plane images_plane() const {
        const native::Shape& shape = plan.program->values().at(0).shape;
        const int blocks = (shape.channels + kBlock - 1) / kBlock;
        return {
            0,           at(blocks) * at(shape.height) * at(shape.width) * kBlock * at(layout->element_bytes),
            blocks,      shape.height,
            shape.width, Where::kImages};
    }

    Plan plan;
    int device;
    const native::Layout* layout;
    Resident<Step> steps;
    Resident<Operand> operands;
    Resident<Read> reads;
    Resident<Wave> waves;
    Resident<Tap> places;
    Resident<float> base;
    Resident<float> filters;
    Resident<std::uint16_t> narrow_filters;  // in float16, where that is the precision
    Resident<MergeChunk> weight_chunks;
    Resident<MergeTerm> weight_terms;
    Resident<MergeChunk> vector_chunks;
    Resident<MergeTerm> vector_terms;
    Resident<std::uint8_t> shared;
    Resident<HeadSource> head;
    Resident<int> head_values;
    Resident<float> head_weights;
    int slots;  // that are read, of a mask

  private:
    static std::vector<std::uint16_t> narrowed(const Plan& plan);
    template <class T>
    static Resident<T> there(const Stream& stream, const std::vector<T>& values) {
        return Resident<T>(stream, std::span<const T>(values));
    }
    static int slots_of(const Plan& plan) {
        int most = native::kNoSlot;
        for (const native::Value& value : plan.program->values()) {
            for (const native::Term& term : value.terms) most = std::max(most, term.slot);
        }
        return most + 1;
    }

    Presence presence_{device};
};

class Images {
  public:
    // images [count, channels, height, width] float32
    Images(const Network& network, const Stream& stream, const float* images, int count);

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
        check(cudaMemsetAsync(entries.data(), 0, entries.size() * sizeof(std::uint16_t), stream),
              "cudaMemset");
    }

    std::shared_ptr<const Network> network;
    int masks, images;
    Resident<std::uint16_t> entries;  // [masks, images, entries of all coded values]
};

class Features {
  public:
    Features(std::shared_ptr<const Network> of, const Stream& stream, int masks, int images)
        : network(std::move(of)), masks(masks), images(images), floats(stream, at(masks) * mask_floats()) {}

    Offset mask_floats() const { return network->plan.kept_floats * at(images); }

    std::shared_ptr<const Network> network;
    int masks, images;
    Resident<float> floats;  // [masks] of all kept sites: [images, channels, height, width] each
};

}  // namespace znas::cuda
