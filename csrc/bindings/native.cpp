#include "native.hpp"

#include <pybind11/stl.h>

#include <algorithm>
#include <map>
#include <memory>
#include <numeric>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "labels.hpp"
#include "tensor_view.hpp"
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
        values_.push_back({.kind = kind, .shape = {channels, height, width}, .moments = moments});
        return static_cast<int>(values_.size()) - 1;
    }
    void add(int value, Term term) {
        values_.at(static_cast<std::size_t>(value)).terms.push_back(std::move(term));
    }

    std::vector<Value> values_;
    Head head_;
    std::vector<std::vector<int>> sites_;
};

// What a mask's run hands to Python.
struct Output {
    py::object logits;  // None where they were counted
    py::list codes;
    py::object pooled;
    py::list features;
    std::vector<std::vector<float>> means, variances;
    std::optional<native::Count> counted;
};

// An array that several masks may be handed.
template <class Array>
Array read_only(Array array) {
    array.attr("flags").attr("writeable") = false;
    return array;
}

// Per kept size an array [count, values] and where its values go. All lie in one block of NumPy's, which it
// leaves as it is and asks large pages for: fresh pages would cost more than what is written to them.
std::pair<std::vector<py::object>, std::vector<float*>> room(const native::Compiled& compiled,
                                                             std::size_t count) {
    const std::vector<std::size_t> sizes = native::kept_sizes(compiled);
    const std::size_t all = std::accumulate(sizes.begin(), sizes.end(), std::size_t{0});
    py::array_t<float> block(static_cast<py::ssize_t>(count * all));
    float* at = block.mutable_data();
    std::pair<std::vector<py::object>, std::vector<float*>> found;
    for (const std::size_t size : sizes) {
        found.first.push_back(read_only(py::array_t<float>({count, size}, at, block)));
        found.second.push_back(at);
        at += count * size;
    }
    return found;
}

// The arrays of codes that outputs share.
class CodeArrays {
  public:
    explicit CodeArrays(std::size_t images) : images_(images) {}

    py::list of(const std::vector<std::shared_ptr<const native::Codes>>& sites) {
        py::list all;
        for (const auto& site : sites) {
            py::object& array = made_[site.get()];
            if (!array) array = of(site);
            all.append(array);
        }
        return all;
    }

  private:
    py::object of(const std::shared_ptr<const native::Codes>& site) const {
        using Owner = std::shared_ptr<const native::Codes>;
        const py::capsule owner(new Owner(site), [](void* p) { delete static_cast<Owner*>(p); });
        return read_only(py::array_t<std::uint64_t>(
            {images_, site->size() / std::max<std::size_t>(images_, 1)}, site->data(), owner));
    }

    std::size_t images_;
    std::map<const native::Codes*, py::object> made_;
};

// Bytes that masks which run together may take beside what the one with the most takes alone.
constexpr std::size_t kShared = std::size_t{1} << 27;

// Some masks, those that share work compiled together. For one thread at a time.
class Runnable {
  public:
    // program: outlives what is compiled from it.
    Runnable(std::shared_ptr<const Program> program, native::Masks masks, std::vector<int> kept)
        : program_(std::move(program)), masks_(std::move(masks)), kept_(std::move(kept)) {}

    py::list run(const FloatArray& images, const std::vector<std::vector<int>>& wanted,
                 const py::object& labels) {
        check_images(*program_, images);
        if (wanted.size() != masks_.size())
            throw py::value_error("`wanted` must have the sites of every mask");
        const auto count = static_cast<std::size_t>(images.shape(0));
        std::optional<TensorView> truth;
        const std::int64_t* label = nullptr;
        if (!labels.is_none()) {
            truth.emplace(labels, "labels");
            label =
                checked_labels(*truth, count, static_cast<std::size_t>(program_->head().classes), "images");
        }
        std::vector<py::object> found(masks_.size());
        divide(static_cast<int>(count));
        bytes_ = 0;
        for (std::size_t p = 0; p < parts_.size(); ++p) run_part(p, images, wanted, label, found);
        py::list all;
        for (py::object& output : found) all.append(std::move(output));
        return all;
    }

    // The most that a part of the last run took: see native::run_bytes.
    std::size_t bytes() const { return bytes_; }
    std::size_t parts() const { return parts_.size(); }

  private:
    void divide(int images) {
        if (images == images_) return;
        const py::gil_scoped_release released;
        auto parts = program_->parts(masks_, kept_, images, kShared);
        if (parts != parts_) compiled_.reset();
        parts_ = std::move(parts);
        images_ = images;
    }

    // Chunks of images follow one another: what is compiled stays, but that of one part is enough.
    void compile(std::size_t part) {
        if (compiled_ && at_ == part) return;
        compiled_.reset();
        native::Masks masks;
        for (const std::size_t mask : parts_[part]) masks.push_back(masks_[mask]);
        const py::gil_scoped_release released;
        compiled_ = program_->compile(masks, kept_);
        at_ = part;
    }

    void run_part(std::size_t part, const FloatArray& images, const std::vector<std::vector<int>>& wanted,
                  const std::int64_t* labels, std::vector<py::object>& found) {
        compile(part);
        bytes_ = std::max(bytes_, native::run_bytes(*compiled_, images_));
        const auto count = static_cast<std::size_t>(images_);
        const float* pixels = images.data();
        std::vector<std::vector<int>> sites;
        for (const std::size_t mask : parts_[part]) sites.push_back(wanted[mask]);
        const auto [features, places] = room(*compiled_, count);
        std::vector<native::Output> outputs;
        {
            const py::gil_scoped_release released;
            outputs = native::run(*compiled_, pixels, images_, sites, places, labels);
        }
        CodeArrays codes(count);
        for (std::size_t m = 0; m < outputs.size(); ++m) {
            native::Output& output = outputs[m];
            py::object logits = py::none();
            if (labels == nullptr) logits = rows(std::move(output.logits), count);
            py::list kept;
            for (const int k : native::kept_of(*compiled_)[m])
                kept.append(features[static_cast<std::size_t>(k)]);
            found[parts_[part][m]] = py::cast(Output{
                std::move(logits), codes.of(output.codes), rows(std::move(output.pooled), count),
                std::move(kept), std::move(output.means), std::move(output.variances), output.counted});
        }
    }

    std::shared_ptr<const Program> program_;
    native::Masks masks_;
    std::vector<int> kept_;
    int images_ = -1;                              // that the parts are for
    std::vector<std::vector<std::size_t>> parts_;  // in the order in which they run
    std::shared_ptr<const native::Compiled> compiled_;
    std::size_t at_ = 0;  // the part that is compiled
    std::size_t bytes_ = 0;
};

native::Masks masks_of(const FloatArray& masks) {
    native::Masks found;
    const auto count = static_cast<std::size_t>(masks.shape(0));
    const std::size_t slots = count ? static_cast<std::size_t>(masks.size()) / count : 0;
    for (std::size_t m = 0; m < count; ++m) {
        const float* row = masks.data() + m * slots;
        found.emplace_back(row, row + slots);
    }
    return found;
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

void register_native(py::module_& m) {
    py::class_<native::Count>(m, "Count")
        .def_readonly("correct", &native::Count::correct)
        .def_readonly("finite", &native::Count::finite);
    py::class_<Output>(m, "Output")
        .def_readonly("logits", &Output::logits)
        .def_readonly("codes", &Output::codes)
        .def_readonly("pooled", &Output::pooled)
        .def_readonly("features", &Output::features)
        .def_readonly("means", &Output::means)
        .def_readonly("variances", &Output::variances)
        .def_readonly("counted", &Output::counted);
    py::class_<Runnable>(m, "Compiled")
        .def("run", &Runnable::run, py::arg("images"), py::arg("wanted"), py::arg("labels") = py::none())
        .def_property_readonly("bytes", &Runnable::bytes)
        .def_property_readonly("parts", &Runnable::parts);
    m.attr("SHARED_BYTES") = kShared;
    py::class_<Program, std::shared_ptr<Program>>(m, "Program")
        .def(
            "compile",
            [](std::shared_ptr<Program> program, const FloatArray& masks, const std::vector<int>& kept) {
                return Runnable(std::move(program), masks_of(masks), kept);
            },
            py::arg("masks"), py::arg("kept"));
    py::enum_<Term::Kind>(m, "TermKind")
        .value("linear", Term::Kind::kLinear)
        .value("average_pool", Term::Kind::kAveragePool)
        .value("product", Term::Kind::kProduct)
        .value("depthwise", Term::Kind::kDepthwise)
        .value("constant", Term::Kind::kConstant);
    py::class_<Builder>(m, "ProgramBuilder")
        .def(py::init<>())
        .def(
            "images", [](Builder& b, Extent shape) { return b.value(Value::Kind::kImages, shape); },
            py::arg("shape"))
        .def(
            "sum",
            [](Builder& b, Extent shape, bool moments) { return b.value(Value::Kind::kSum, shape, moments); },
            py::arg("shape"), py::kw_only(), py::arg("moments"))
        .def(
            "max_pool",
            [](Builder& b, Extent shape, int source, int kernel, int stride, int padding) {
                const int made = b.value(Value::Kind::kMaxPool, shape);
                b.add(made, {.kind = Term::Kind::kLinear,
                             .source = source,
                             .kernel = kernel,
                             .stride = stride,
                             .padding = padding});
                return made;
            },
            py::arg("shape"), py::kw_only(), py::arg("source"), py::arg("kernel"), py::arg("stride"),
            py::arg("padding"))
        .def(
            "add",
            [](Builder& b, int value, Term::Kind kind, const FloatArray& values, int source, int slot,
               bool rectified, bool normalised, int kernel, int stride, int padding, int dilation,
               int shift) {
                b.add(value, {.kind = kind,
                              .source = source,
                              .slot = slot,
                              .rectified = rectified,
                              .normalised = normalised,
                              .kernel = kernel,
                              .stride = stride,
                              .padding = padding,
                              .dilation = dilation,
                              .shift = shift,
                              .values = numbers(values)});
            },
            py::arg("value"), py::kw_only(), py::arg("kind"), py::arg("values"), py::arg("source"),
            py::arg("slot"), py::arg("rectified"), py::arg("normalised"), py::arg("kernel"),
            py::arg("stride"), py::arg("padding"), py::arg("dilation"), py::arg("shift"))
        .def(
            "head",
            [](Builder& b, std::vector<int> sources, bool rectified, const FloatArray& weights) {
                b.head_ = {.sources = std::move(sources),
                           .rectified = rectified,
                           .classes = static_cast<int>(weights.shape(0)),
                           .weights = numbers(weights)};
            },
            py::kw_only(), py::arg("sources"), py::arg("rectified"), py::arg("weights"))
        .def(
            "site",
            [](Builder& b, std::vector<int> values) {
                b.sites_.push_back(std::move(values));
                return static_cast<int>(b.sites_.size()) - 1;
            },
            py::arg("values"))
        .def(
            "build",
            [](const Builder& b, const std::string& precision, const std::string& target) {
                return std::make_shared<Program>(b.values_, b.head_, b.sites_, layout(precision, target));
            },
            py::kw_only(), py::arg("precision"), py::arg("target"));
}

}  // namespace znas::bindings
