#include <pybind11/stl.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include "labels.hpp"
#include "native.hpp"
#include "tensor_view.hpp"
#include "znas/cuda/execute.hpp"
#include "znas/native/program.hpp"

namespace py = pybind11;

namespace znas::bindings {

namespace {

struct Network {
    std::shared_ptr<const native::Program> program;
    std::shared_ptr<const cuda::Network> there;
};

struct Images {
    std::shared_ptr<const cuda::Images> there;
    py::ssize_t count;
};

struct Codes {
    std::shared_ptr<const cuda::Codes> there;
    py::ssize_t masks, images;
};

struct Features {
    std::shared_ptr<const cuda::Features> there;
    py::ssize_t masks, images;
};

// Of that shape, without a copy.
template <typename T>
py::array_t<T> shaped(std::vector<T>&& flat, std::vector<py::ssize_t> shape) {
    auto* owned = new std::vector<T>(std::move(flat));
    const py::capsule owner(owned, [](void* p) { delete static_cast<std::vector<T>*>(p); });
    return py::array_t<T>(std::move(shape), owned->data(), owner);
}

// [masks, images, columns]
template <typename T>
py::array_t<T> cube(std::vector<T>&& flat, py::ssize_t masks, py::ssize_t images) {
    const auto size = static_cast<py::ssize_t>(flat.size());
    const py::ssize_t rows = masks * images;
    return shaped(std::move(flat), {masks, images, rows == 0 ? 0 : size / rows});
}

// [masks, rows, columns] of so many columns.
py::array_t<double> matrices(std::vector<double>&& flat, py::ssize_t masks, py::ssize_t columns) {
    const py::ssize_t rows = static_cast<py::ssize_t>(flat.size()) / masks / columns;
    return shaped(std::move(flat), {masks, rows, columns});
}

Images upload(const Network& network, const FloatArray& images) {
    check_images(*network.program, images);
    const float* pixels = images.data();
    const auto count = images.shape(0);
    const py::gil_scoped_release released;
    return {cuda::upload(*network.there, pixels, static_cast<int>(count)), count};
}

// What a run of many masks hands to Python.
struct Output {
    py::object logits;    // None where they were counted
    py::object codes;     // None where they were not asked for
    py::object features;  // likewise
    py::object pooled;
    std::vector<std::vector<std::vector<float>>> means, variances;
    std::vector<native::Count> counted;
};

Output run(const Network& network, const Images& images, const FloatArray& masks, bool codes,
           const py::object& labels) {
    const std::span<const float> slots(masks.data(), static_cast<std::size_t>(masks.size()));
    const py::ssize_t count = masks.shape(0);
    std::optional<TensorView> truth;
    const std::int64_t* label = nullptr;
    if (!labels.is_none()) {
        const auto classes = static_cast<std::size_t>(network.program->head().classes);
        truth.emplace(labels, "labels");
        label = checked_labels(*truth, static_cast<std::size_t>(images.count), classes, "images");
    }
    cuda::Output output;
    {
        const py::gil_scoped_release released;
        output = cuda::run(network.there, *images.there, slots, static_cast<int>(count), codes, label);
    }
    py::object made = py::none(), features = py::none(), logits = py::none();
    if (output.features != nullptr) {
        features = py::cast(Features{std::move(output.features), count, images.count});
    }
    if (codes) made = py::cast(Codes{std::move(output.codes), count, images.count});
    if (label == nullptr) logits = cube(std::move(output.logits), count, images.count);
    return {std::move(logits),        std::move(made),
            std::move(features),      cube(std::move(output.pooled), count, images.count),
            std::move(output.means),  std::move(output.variances),
            std::move(output.counted)};
}

py::array_t<std::uint64_t> packed(const Codes& codes, int mask, int site) {
    std::vector<std::uint64_t> words;
    {
        const py::gil_scoped_release released;
        words = cuda::download(*codes.there, mask, site);
    }
    return rows(std::move(words), static_cast<std::size_t>(codes.images));
}

py::array_t<std::int64_t> agreements(const Codes& codes,
                                     const std::vector<std::vector<std::int64_t>>& times) {
    std::vector<std::int64_t> gram;
    {
        const py::gil_scoped_release released;
        gram = cuda::agreements(*codes.there, times);
    }
    return cube(std::move(gram), codes.masks, codes.images);
}

// What is computed of features, without the lock.
template <typename Compute>
auto unlocked(const Compute& compute) {
    const py::gil_scoped_release released;
    return compute();
}

py::array_t<float> map_of(const Features& features, int site) {
    return cube(unlocked([&] { return cuda::download(*features.there, site); }), features.masks,
                features.images);
}

py::list channel_grams(const Features& features, const std::vector<int>& sites) {
    py::list found;
    for (auto& of : unlocked([&] { return cuda::channel_grams(*features.there, sites); })) {
        const py::ssize_t channels = static_cast<py::ssize_t>(of.means.size()) / features.masks;
        found.append(py::make_tuple(shaped(std::move(of.means), {features.masks, channels}),
                                    matrices(std::move(of.gram), features.masks, channels)));
    }
    return found;
}

py::list image_grams(const Features& features, const std::vector<int>& sites) {
    py::list found;
    for (auto& gram : unlocked([&] { return cuda::image_grams(*features.there, sites); })) {
        found.append(matrices(std::move(gram), features.masks, features.images));
    }
    return found;
}

py::list response_grams(const Features& still, const Features& nudged, const std::vector<int>& sites) {
    py::list found;
    for (auto& of : unlocked([&] { return cuda::response_grams(*still.there, *nudged.there, sites); })) {
        found.append(py::make_tuple(matrices(std::move(of.energy), still.masks, of.before),
                                    matrices(std::move(of.cross), still.masks, of.after)));
    }
    return found;
}

py::list answer_products(const Features& start, const Features& nudged, const Features& middle,
                         const Features& moved, const std::vector<int>& sites) {
    py::list found;
    for (auto& products : unlocked([&] {
             return cuda::answer_products(*start.there, *nudged.there, *middle.there, *moved.there, sites);
         })) {
        found.append(matrices(std::move(products), start.masks, 3));
    }
    return found;
}

std::vector<std::int32_t> patterns(const Codes& codes, const std::vector<std::vector<std::int64_t>>& times) {
    return unlocked([&] { return cuda::patterns(*codes.there, times); });
}

}  // namespace

void register_cuda(py::module_& m) {
    const auto& error = py::register_exception<cuda::Error>(m, "CudaError");
    py::register_exception<cuda::OutOfMemory>(m, "CudaMemoryError", error);
    m.def("cuda_device_count", &cuda::device_count, "GPUs that this process can use; 0 without a driver.");
    m.def("cuda_capability", &cuda::capability, py::arg("device"),
          "The compute capability of a GPU, ten times: 86 for 8.6.");
    m.def(
        "cuda_plan_size",
        [](std::shared_ptr<const native::Program> program) {
            const cuda::PlanSize size = cuda::plan_size(std::move(program));
            return std::pair(size.steps, size.launches);
        },
        py::arg("program"));
    m.def("cuda_make_ready", &cuda::make_ready, py::arg("device"), py::call_guard<py::gil_scoped_release>(),
          "Makes a GPU ready, which its first use waits for.");
    py::class_<Images>(m, "CudaImages");
    py::class_<Codes>(m, "CudaCodes")
        .def("packed", &packed, py::arg("mask"), py::arg("site"))
        .def("agreements", &agreements, py::arg("times"))
        .def("patterns", &patterns, py::arg("times"));
    py::class_<Features>(m, "CudaFeatures")
        .def("map", &map_of, py::arg("site"))
        .def("channel_grams", &channel_grams, py::arg("sites"))
        .def("image_grams", &image_grams, py::arg("sites"))
        .def("response_grams", &response_grams, py::arg("nudged"), py::arg("sites"))
        .def("answer_products", &answer_products, py::arg("nudged"), py::arg("middle"), py::arg("moved"),
             py::arg("sites"));
    py::class_<Output>(m, "CudaOutput")
        .def_readonly("logits", &Output::logits)
        .def_readonly("codes", &Output::codes)
        .def_readonly("features", &Output::features)
        .def_readonly("pooled", &Output::pooled)
        .def_readonly("means", &Output::means)
        .def_readonly("variances", &Output::variances)
        .def_readonly("counted", &Output::counted);
    py::class_<Network>(m, "CudaNetwork")
        .def("upload", &upload, py::arg("images"))
        .def("run", &run, py::arg("images"), py::arg("masks"), py::kw_only(), py::arg("codes"),
             py::arg("labels") = py::none());
    m.def(
        "cuda_network",
        [](std::shared_ptr<const native::Program> program, const std::vector<int>& kept, int device) {
            const py::gil_scoped_release released;
            return Network{program, cuda::network(program, kept, device)};
        },
        py::arg("program"), py::arg("kept"), py::arg("device"));
}

}  // namespace znas::bindings
