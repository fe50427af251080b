// A supernet as a program of fused steps, compiled for some masks and run on any number of images.
//
// A value is one tensor of the network. A sum is bias + linear terms + convolutions of other values, dense or
// depthwise; a term is multiplied by the mask entry of its slot. Under a mask, terms with a zero entry and
// values that nobody reads are cut, and dense convolutions of one input are merged into one: a 1x1 becomes
// the centre of a 3x3. Masks that are compiled together share every value on all of whose terms, and on those
// of all that these read, they agree: it is computed once, and is the same to the bit as if each mask were
// compiled alone.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "znas/isa.hpp"

namespace znas::native {

// Of channels: planes and packed weights lie in blocks of them, on processors and GPUs alike.
inline constexpr int kBlock = 16;
// What normalisation adds to a variance: znas_engine.supernet.normalisation.EPSILON.
inline constexpr float kEpsilon = 1e-5F;

enum class Precision { kFloat32, kBFloat16, kFloat16 };

struct StepTable;

// How the weights and planes of compiled masks lie in memory.
struct Layout {
    int element_bytes;  // of the planes that products read
    int word_channels;  // input channels of one word of weights
    int word_bytes;     // of a word, which holds a block of output channels
    // weights [channels][a block of outputs] float32 -> words
    void (*pack)(const float* weights, std::ptrdiff_t channels, char* words);
    // taps [9][channels][a block of outputs] float32 of a 3x3 kernel -> its 16 positions (see winograd.inl),
    // `position_bytes` apart; null where such products are not transformed.
    void (*pack_transformed)(const float* const* taps, std::ptrdiff_t channels, char* words,
                             std::ptrdiff_t position_bytes);
    const StepTable* steps;  // what `run` calls; null where a GPU runs instead: see znas/cuda/execute.hpp
};

// The layout of a processor's own steps. Throws std::invalid_argument where the machine lacks `isa` and for
// float16, which no processor's steps have.
const Layout& layout_of(Precision precision, Isa isa);

struct Shape {
    int channels, height, width;
};

inline constexpr int kNoSlot = -1;

// A term is multiplied by mask[slot], or by 1. Every term may add a constant per channel.
struct Term {
    enum class Kind { kLinear, kAveragePool, kProduct, kDepthwise, kConstant } kind;
    int source = -1;
    int slot = kNoSlot;
    bool rectified = false;   // reads max(source, 0); convolutions only
    bool normalised = false;  // reads source by its own moments; linear terms only
    int kernel = 1, stride = 1, padding = 0, dilation = 1, shift = 0;
    std::vector<float> values{};  // scale [channels] of kLinear and kAveragePool, constant of kConstant,
                                  // [out, in, kernel, kernel] of kProduct, [channels, kernel, kernel] of
                                  // kDepthwise; a program keeps these packed
};

struct Value {
    enum class Kind { kImages, kSum, kMaxPool } kind;
    Shape shape;
    std::vector<Term> terms{};  // kMaxPool: the one input and its geometry
    bool moments = false;       // mean and variance over the images in hand are needed
};

// The classifier reads the mean over height and width of its sources' channels, one after another.
struct Head {
    std::vector<int> sources;
    bool rectified = false;
    int classes = 0;
    std::vector<float> weights;  // [classes, channels of all sources]
};

// What is counted where the logits are, so that these need not leave.
struct Count {
    std::int64_t correct = 0;  // images whose label has the largest logit, the lowest class winning ties
    bool finite = true;        // whether all logits are
};

using Codes = std::vector<std::uint64_t>;

// What a mask gives.
struct Output {
    std::vector<float> logits;                         // [images, classes]
    std::vector<std::shared_ptr<const Codes>> codes;   // per wanted site [images, words]; equal ones are one
    std::vector<float> pooled;                         // what the classifier reads [images, channels]
    std::vector<std::vector<float>> means, variances;  // per value with moments, where live
    std::optional<Count> counted;                      // in the place of logits
};

class Compiled;
// Each [slots].
using Masks = std::vector<std::vector<float>>;

class Program {
  public:
    // Throws std::invalid_argument where a value is malformed. layout: kept, not copied.
    Program(std::vector<Value> values, Head head, std::vector<std::vector<int>> sites, const Layout& layout);
    ~Program();

    // The steps that the masks leave. kept: sites whose values a run hands out, also where no logit depends
    // on them. Safe to call from several threads; throws std::invalid_argument for a site of values that are
    // neither sums nor pools.
    std::shared_ptr<const Compiled> compile(const Masks& masks, const std::vector<int>& kept = {}) const;

    // The numbers of masks that are best compiled together, in the order in which they are: see parts.cpp.
    // images: of a run. room: bytes that those of a part may take beside what the one with the most takes
    // alone.
    std::vector<std::vector<std::size_t>> parts(const Masks& masks, const std::vector<int>& kept, int images,
                                                std::size_t room) const;

    const std::vector<Value>& values() const { return values_; }
    const Head& head() const { return head_; }
    const std::vector<std::vector<int>>& sites() const { return sites_; }
    const Layout& layout() const { return *layout_; }
    // Some value needs moments: all images go through together.
    bool batch() const { return batch_; }
    // The weights of a term in step order: [output block][tap][input channel][kBlock] of a product,
    // [block][tap][kBlock] of a depthwise convolution.
    const std::vector<float>& packed(int value, std::size_t term) const {
        return packed_[static_cast<std::size_t>(value)][term];
    }

  private:
    std::vector<Value> values_;
    Head head_;
    std::vector<std::vector<int>> sites_;
    const Layout* layout_;
    bool batch_;
    std::vector<std::vector<std::vector<float>>> packed_;  // per value and term
};

// What a run on `images` images takes, at most: planes and merged weights.
std::size_t run_bytes(const Compiled& compiled, int images);

// What is handed out of kept sites: how many values an image has there, and for every mask and site that was
// to be kept, which of these it is.
std::vector<std::size_t> kept_sizes(const Compiled& compiled);
const std::vector<std::vector<int>>& kept_of(const Compiled& compiled);

// images [count, channels, height, width]; wanted: per mask the sites whose codes are asked for; features:
// per kept size room for its values [count, channels, height, width]; labels: [count], each in [0, classes),
// or null where logits are asked for and no count. One thread, safe to call from several at once. The
// program's layout is one of `layout_of`. -> what every mask gives.
std::vector<Output> run(const Compiled& compiled, const float* images, int count,
                        const std::vector<std::vector<int>>& wanted, const std::vector<float*>& features,
                        const std::int64_t* labels = nullptr);

}  // namespace znas::native
