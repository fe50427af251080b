// Supernets on a GPU: many masks at a time, all images of each.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <stdexcept>
#include <string>
#include <vector>

#include "znas/native/program.hpp"

namespace znas::cuda {

// What CUDA refused, in one line with its own words.
class Error : public std::runtime_error {
  public:
    using std::runtime_error::runtime_error;
};

// There is no room for that many images together.
class OutOfMemory : public Error {
  public:
    using Error::Error;
};

// GPUs that this process can use; 0 where there is no driver.
int device_count();

// The compute capability of one of them, ten times: 86 for 8.6.
int capability(int device);

// Makes a GPU ready, which the first use waits for otherwise.
void make_ready(int device);

// The layout of programs for a GPU. float32 runs on CUDA cores, the halves on tensor cores; sums are float32
// in all of them. No mask is compiled: `Network` serves all.
const native::Layout& layout(native::Precision precision);

// How many steps a program has on a GPU, and in how many launches they run, whatever the number of masks.
struct PlanSize {
    int steps, launches;
};
// program, and what is thrown: as of `network`; no GPU is needed.
PlanSize plan_size(std::shared_ptr<const native::Program> program);

// A program in a GPU's memory, with its weights.
class Network;
// program: with a layout of this file. kept: sites whose values a run hands out. Throws std::invalid_argument
// for what no kernel computes.
std::shared_ptr<const Network> network(std::shared_ptr<const native::Program> program,
                                       const std::vector<int>& kept, int device);

// Images in a GPU's memory, as one network reads them.
class Images;
// images [count, channels, height, width].
std::shared_ptr<const Images> upload(const Network& network, const float* images, int count);

// The activation codes of masks, in the memory of the GPU that made them.
class Codes;
// The values of kept sites under masks, likewise; a site's place in `kept` is its number.
class Features;

// Of `masks` masks.
struct Output {
    std::vector<float> logits;                 // [masks, images, classes]
    std::vector<float> pooled;                 // what the classifier reads [masks, images, channels]
    std::shared_ptr<const Features> features;  // null where nothing is kept
    // Per mask and value with moments [channels]; empty where the mask leaves nobody who reads it.
    std::vector<std::vector<std::vector<float>>> means, variances;
    std::shared_ptr<const Codes> codes;  // null where they were not asked for
    std::vector<native::Count> counted;  // per mask, in the place of logits
};

// masks [count, slots]: all images under each; they may have slots that the network does not read. labels:
// [images], each in [0, classes), or null where logits are asked for and no counts. Safe to call from several
// threads at once.
Output run(const std::shared_ptr<const Network>& network, const Images& images, std::span<const float> masks,
           int count, bool codes, const std::int64_t* labels = nullptr);

// The codes of a site under a mask [images, words], on the host. The order of a site's units is this file's
// own.
std::vector<std::uint64_t> download(const Codes& codes, int mask, int site);

// [masks, images, images]: sum over sites s of times[mask][s] * number of bits in which images i and j agree.
std::vector<std::int64_t> agreements(const Codes& codes, const std::vector<std::vector<std::int64_t>>& times);

// [masks]: how many different patterns the units of sites s with times[mask][s] above 0 make over the images,
// of which there are 64 at most.
std::vector<std::int32_t> patterns(const Codes& codes, const std::vector<std::vector<std::int64_t>>& times);

// A kept site [masks, images, channels, height, width], on the host.
std::vector<float> download(const Features& features, int site);

// What znas/grams.hpp makes of features on the host, of all masks at once and of every site. These throw
// std::invalid_argument for a site of values of several sizes.
struct ChannelGram {
    std::vector<double> means;  // [masks, channels]
    std::vector<double> gram;   // [masks, channels, channels]
};
std::vector<ChannelGram> channel_grams(const Features& features, const std::vector<int>& sites);
std::vector<std::vector<double>> image_grams(const Features& features, const std::vector<int>& sites);
// Of every site but the first. nudged: of the same masks and images as still. Throws std::invalid_argument
// for a site whose pixels are no whole fraction of those before.
struct ResponseGram {
    int before, after;           // channels
    std::vector<double> energy;  // [masks, channels before, channels before]
    std::vector<double> cross;   // [masks, channels before, channels]
};
std::vector<ResponseGram> response_grams(const Features& still, const Features& nudged,
                                         const std::vector<int>& sites);
// Of the same masks and images at four places, [masks, images, 3] of every site: with a = nudged - start and
// b = moved - middle the products a . a, b . b and a . b of every image.
std::vector<std::vector<double>> answer_products(const Features& start, const Features& nudged,
                                                 const Features& middle, const Features& moved,
                                                 const std::vector<int>& sites);

}  // namespace znas::cuda
