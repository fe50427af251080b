// Compiled masks on a GPU: the steps of znas/native/program.hpp as kernels, one stream per call.
#pragma once

#include <cstdint>
#include <memory>
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

// There is no room for that many images together, or for the mask.
class OutOfMemory : public Error {
  public:
    using Error::Error;
};

// GPUs that this process can use; 0 where there is no driver.
int device_count();

// The compute capability of one of them, ten times: 86 for 8.6.
int capability(int device);

// The layout of programs whose masks are loaded onto a GPU. float32 runs on CUDA cores, the halves on tensor
// cores; sums are float32 in all of them.
const native::Layout& layout(native::Precision precision);

// Images in a GPU's memory.
class Images;
// images [count, channels, height, width] of that shape.
std::shared_ptr<const Images> upload(const float* images, int count, const native::Shape& shape, int device);

// A compiled mask in a GPU's memory.
class Loaded;
// compiled: of a program with a layout of this file; it must outlive what is returned.
std::shared_ptr<const Loaded> load(std::shared_ptr<const native::Compiled> compiled, int device);

// The activation codes of a pass, in the memory of the GPU that made them.
class Codes;

// `codes` is empty: they stay on the GPU.
struct Output : native::Output {
    std::shared_ptr<const Codes> packed;  // of every wanted site; null where none is
};

// As native::run, on the device that both were brought to, all images together; safe to call from several
// threads at once.
Output run(const Loaded& loaded, const Images& images, const std::vector<int>& wanted);

// Per site [images, words], on the host.
std::vector<std::vector<std::uint64_t>> download(const Codes& codes);

// [images, images]: sum over sites s of times[s] * number of bits in which images i and j agree.
std::vector<std::int64_t> agreements(const Codes& codes, const std::vector<std::int64_t>& times);

}  // namespace znas::cuda
