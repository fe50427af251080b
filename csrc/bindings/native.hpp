#pragma once

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>

#include <cstddef>
#include <utility>
#include <vector>

#include "znas/native/program.hpp"

namespace znas::bindings {

using FloatArray = pybind11::array_t<float, pybind11::array::c_style | pybind11::array::forcecast>;

std::vector<float> numbers(const FloatArray& array);
// Refuses what has not the shape [n, channels, height, width] of the program's images.
void check_images(const native::Program& program, const FloatArray& images);
// [count, columns] without a copy.
template <typename T>
pybind11::array_t<T> rows(std::vector<T>&& flat, std::size_t count) {
    auto* owned = new std::vector<T>(std::move(flat));
    const pybind11::capsule owner(owned, [](void* p) { delete static_cast<std::vector<T>*>(p); });
    const std::size_t columns = owned->size() / (count ? count : 1);
    return pybind11::array_t<T>({count, columns}, owned->data(), owner);
}
// The classes ProgramBuilder, Program, Compiled and Output: what the native backend is made of.
void register_native(pybind11::module_& m);
// The classes CudaNetwork, CudaImages, CudaCodes and CudaOutput, and what makes them: the same on a GPU.
void register_cuda(pybind11::module_& m);

}  // namespace znas::bindings
