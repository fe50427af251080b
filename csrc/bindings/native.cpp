#include "native.hpp"

#include <pybind11/stl.h>

#include <string>
#include <utility>
#include <vector>

#include "znas/native/program.hpp"
#if ZNAS_CUDA
#include "znas/cuda/execute.hpp"
#endif

namespace py = pybind11;

namespace znas::bindings {

namespace {

using native::Head;
using native::Precision;
using native::Program;
using native::Term;
using native::Value;
using Extent = std::tuple<int, int, int>;

Precision precision_from_name(const std::string& name) {
    if (name == "float32") return Precision::kFloat32;
    if (name == "bfloat16") return Precision::kBFloat16;
    if (name == "float16") return Precision::kFloat16;
    throw py::value_error("unknown precision '" + name + "'");
}

// target: an instruction set, or "cuda" where the module was built for GPUs.
const native::Layout& layout(const std::string& precision, const std::string& target) {
#if ZNAS_CUDA
    if (target == "cuda") return cuda::layout(precision_from_name(precision));
#endif
    const std::optional<Isa> isa = isa_from_name(target);
    if (!isa) throw py::value_error("unknown target '" + target + "'");
    return native::layout_of(precision_from_name(precision), *isa);
}

// A program under construction; every method that makes a value returns its number.
class Builder {
  public:
    int value(Value::Kind kind, Extent shape, bool moments = false) {
        const auto [channels, height, width] = shape;
        values_.push_back({kind, {channels, height, width}, {}, moments});
        return static_cast<int>(values_.size()) - 1;
    }
    void add(int value, Term term) {
        values_.at(static_cast<std::size_t>(value)).terms.push_back(std::move(term));
    }

    std::vector<Value> values_;
    Head head_;
    std::vector<std::vector<int>> sites_;
};

struct Runnable {
    std::shared_ptr<const Program> program;  // outlives what was compiled from it
    std::shared_ptr<const native::Compiled> compiled;
};

py::tuple run(const Runnable& runnable, const FloatArray& images, const std::vector<int>& wanted) {
    check_images(*runnable.program, images);
    native::Output output;
    const float* pixels = images.data();
    const auto count = static_cast<std::size_t>(images.shape(0));
    {
        const py::gil_scoped_release released;
        output = native::run(*runnable.compiled, pixels, static_cast<int>(count), wanted);
    }
    py::list codes = rows_of_each(std::move(output.codes), count);
    return as_tuple(std::move(output), std::move(codes), count);
}

}  // namespace

std::vector<float> numbers(const FloatArray& array) { return {array.data(), array.data() + array.size()}; }

void check_images(const native::Program& program, const FloatArray& images) {
    const auto& in = program.values().at(0).shape;
    if (images.ndim() == 4 && images.shape(1) == in.channels && images.shape(2) == in.height &&
        images.shape(3) == in.width) {
        return;
    }
    throw py::value_error("`images` must have the shape [n, " + std::to_string(in.channels) + ", " +
                          std::to_string(in.height) + ", " + std::to_string(in.width) + "]");
}

py::tuple as_tuple(native::Output output, py::object codes, std::size_t images) {
    return py::make_tuple(rows(std::move(output.logits), images), std::move(codes),
                          rows(std::move(output.pooled), images),
                          rows_of_each(std::move(output.features), images), output.means, output.variances);
}

void register_native(py::module_& m) {
    py::class_<Runnable>(m, "Compiled").def("run", &run, py::arg("images"), py::arg("wanted"));
    py::class_<Program, std::shared_ptr<Program>>(m, "Program")
        .def(
            "compile",
            [](std::shared_ptr<Program> program, const FloatArray& mask, const std::vector<int>& kept) {
                const std::vector<float> slots = numbers(mask);
                const py::gil_scoped_release released;
                return Runnable{program, program->compile(slots, kept)};
            },
            py::arg("mask"), py::arg("kept"));
    py::class_<Builder>(m, "ProgramBuilder")
        .def(py::init<>())
        .def("images", [](Builder& b, Extent shape) { return b.value(Value::Kind::kImages, shape); })
        .def("sum", [](Builder& b, Extent shape,
                       bool moments) { return b.value(Value::Kind::kSum, shape, moments); })
        .def("depthwise",
             [](Builder& b, Extent shape, int source, const FloatArray& weight, bool rectified, int kernel,
                int stride, int padding, int dilation) {
                 const int made = b.value(Value::Kind::kDepthwise, shape);
                 b.add(made, {Term::Kind::kProduct, source, native::kNoSlot, rectified, false, kernel, stride,
                              padding, dilation, 0, numbers(weight)});
                 return made;
             })
        .def("max_pool",
             [](Builder& b, Extent shape, int source, int kernel, int stride, int padding) {
                 const int made = b.value(Value::Kind::kMaxPool, shape);
                 b.add(made, {Term::Kind::kLinear,
                              source,
                              native::kNoSlot,
                              false,
                              false,
                              kernel,
                              stride,
                              padding,
                              1,
                              0,
                              {}});
                 return made;
             })
        .def(
            "linear",
            [](Builder& b, int value, int source, const FloatArray& scale, int slot, bool normalised) {
                b.add(value,
                      {Term::Kind::kLinear, source, slot, false, normalised, 1, 1, 0, 1, 0, numbers(scale)});
            },
            py::arg("value"), py::arg("source"), py::arg("scale"), py::arg("slot"), py::arg("normalised"))
        .def(
            "average_pool",
            [](Builder& b, int value, int source, const FloatArray& scale, int slot, int kernel, int stride,
               int padding) {
                b.add(value, {Term::Kind::kAveragePool, source, slot, false, false, kernel, stride, padding,
                              1, 0, numbers(scale)});
            },
            py::arg("value"), py::arg("source"), py::arg("scale"), py::arg("slot"), py::arg("kernel"),
            py::arg("stride"), py::arg("padding"))
        .def(
            "product",
            [](Builder& b, int value, int source, const FloatArray& weight, int slot, bool rectified,
               int kernel, int stride, int padding, int dilation, int shift) {
                b.add(value, {Term::Kind::kProduct, source, slot, rectified, false, kernel, stride, padding,
                              dilation, shift, numbers(weight)});
            },
            py::arg("value"), py::arg("source"), py::arg("weight"), py::arg("slot"), py::arg("rectified"),
            py::arg("kernel"), py::arg("stride"), py::arg("padding"), py::arg("dilation"), py::arg("shift"))
        .def("constant",
             [](Builder& b, int value, const FloatArray& constant, int slot) {
                 b.add(value,
                       {Term::Kind::kConstant, -1, slot, false, false, 1, 1, 0, 1, 0, numbers(constant)});
             })
        .def("head",
             [](Builder& b, std::vector<int> sources, bool rectified, const FloatArray& weights) {
                 b.head_ = {std::move(sources), rectified, static_cast<int>(weights.shape(0)),
                            numbers(weights)};
             })
        .def("site",
             [](Builder& b, std::vector<int> values) {
                 b.sites_.push_back(std::move(values));
                 return static_cast<int>(b.sites_.size()) - 1;
             })
        .def("build", [](const Builder& b, const std::string& precision, const std::string& target) {
            return std::make_shared<Program>(b.values_, b.head_, b.sites_, layout(precision, target));
        });
}

}  // namespace znas::bindings
