#include <pybind11/stl.h>

#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "native.hpp"
#include "znas/cuda/execute.hpp"
#include "znas/native/program.hpp"

namespace py = pybind11;

namespace znas::bindings {

namespace {

// A mask on a GPU; the program outlives what was compiled from it.
struct Loaded {
    std::shared_ptr<const native::Program> program;
    std::shared_ptr<const cuda::Loaded> mask;
};

struct Images {
    std::shared_ptr<const cuda::Images> there;
    std::size_t count;
};

Images upload(const native::Program& program, const FloatArray& images, int device) {
    check_images(program, images);
    const float* pixels = images.data();
    const auto count = static_cast<std::size_t>(images.shape(0));
    const native::Shape& shape = program.values().at(0).shape;
    const py::gil_scoped_release released;
    return {cuda::upload(pixels, static_cast<int>(count), shape, device), count};
}

struct Codes {
    std::shared_ptr<const cuda::Codes> there;
    std::size_t images;
};

py::tuple run(const Loaded& loaded, const Images& images, const std::vector<int>& wanted) {
    cuda::Output output;
    {
        const py::gil_scoped_release released;
        output = cuda::run(*loaded.mask, *images.there, wanted);
    }
    py::object codes = py::cast(Codes{std::move(output.packed), images.count});
    return as_tuple(std::move(output), std::move(codes), images.count);
}

py::list packed(const Codes& codes) {
    std::vector<std::vector<std::uint64_t>> words;
    {
        const py::gil_scoped_release released;
        words = cuda::download(*codes.there);
    }
    return rows_of_each(std::move(words), codes.images);
}

py::array_t<std::int64_t> agreements(const Codes& codes, const std::vector<std::int64_t>& times) {
    std::vector<std::int64_t> gram;
    {
        const py::gil_scoped_release released;
        gram = cuda::agreements(*codes.there, times);
    }
    return rows(std::move(gram), codes.images);
}

}  // namespace

void register_cuda(py::module_& m) {
    const auto& error = py::register_exception<cuda::Error>(m, "CudaError");
    py::register_exception<cuda::OutOfMemory>(m, "CudaMemoryError", error);
    m.def("cuda_device_count", &cuda::device_count, "GPUs that this process can use; 0 without a driver.");
    m.def("cuda_capability", &cuda::capability, py::arg("device"),
          "The compute capability of a GPU, ten times: 86 for 8.6.");
    py::class_<Images>(m, "CudaImages");
    py::class_<Loaded>(m, "CudaMask").def("run", &run, py::arg("images"), py::arg("wanted"));
    py::class_<Codes>(m, "CudaCodes").def("packed", &packed).def("agreements", &agreements, py::arg("times"));
    m.def("cuda_upload", &upload, py::arg("program"), py::arg("images"), py::arg("device"));
    m.def(
        "cuda_load",
        [](std::shared_ptr<const native::Program> program, const FloatArray& mask,
           const std::vector<int>& kept, int device) {
            const std::vector<float> slots = numbers(mask);
            const py::gil_scoped_release released;
            return Loaded{program, cuda::load(program->compile(slots, kept), device)};
        },
        py::arg("program"), py::arg("mask"), py::arg("kept"), py::arg("device"));
}

}  // namespace znas::bindings
