// znas_engine._core: checks what Python hands over, lets go of the interpreter, calls the kernel.
// Private: znas_engine.kernels is the public face and words the contracts.
#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <string>
#include <vector>

#include "grams.hpp"
#include "labels.hpp"
#include "native.hpp"
#include "tensor_view.hpp"
#include "znas/codes.hpp"
#include "znas/count_correct.hpp"
#include "znas/isa.hpp"

namespace py = pybind11;

namespace znas::bindings {

namespace {

std::vector<std::string> available_isas() {
    std::vector<std::string> names;
    for (const Isa isa : kIsas) {
        if (available(isa)) names.emplace_back(name(isa));
    }
    return names;
}

void check_threads(int threads) {
    if (threads >= 1) return;
    throw py::value_error("`threads` must be at least 1 but got " + std::to_string(threads));
}

template <typename T>
py::array_t<T> new_array(const std::vector<std::size_t>& shape) {
    return py::array_t<T>(py::array::ShapeContainer(shape.begin(), shape.end()));
}

py::array_t<std::int64_t> count_correct(const py::object& logits, const py::object& labels, int threads,
                                        const std::string& isa_name) {
    const Isa isa = parse_isa(isa_name);
    check_threads(threads);
    const TensorView scores(logits, "logits");
    scores.require_dtype({kFloat32});
    scores.require_axes({"masks", "images", "classes"});
    const TensorView truth(labels, "labels");
    const std::size_t masks = scores.shape()[0];
    const std::size_t images = scores.shape()[1];
    const std::size_t classes = scores.shape()[2];
    const std::int64_t* label = checked_labels(truth, images, classes, "logits");

    py::array_t<std::int64_t> counts = new_array<std::int64_t>({masks});
    std::int64_t* result = counts.mutable_data();
    {
        const py::gil_scoped_release released;
        znas::count_correct(scores.data<const float>(), label, masks, images, classes, result, isa, threads);
    }
    return counts;
}

py::array_t<std::uint64_t> pack_codes(const py::object& activations, int threads,
                                      const std::string& isa_name) {
    const Isa isa = parse_isa(isa_name);
    check_threads(threads);
    const TensorView units(activations, "activations");
    units.require_dtype({kFloat32, kBool});
    if (units.shape().empty()) units.refuse("must have shape [images, ...] but got []");

    const std::size_t images = units.shape()[0];
    std::size_t per_image = 1;
    for (std::size_t axis = 1; axis < units.shape().size(); ++axis) per_image *= units.shape()[axis];

    py::array_t<std::uint64_t> codes = new_array<std::uint64_t>({images, code_words(per_image)});
    std::uint64_t* result = codes.mutable_data();
    {
        const py::gil_scoped_release released;
        if (units.dtype() == kBool) {
            znas::pack_codes(units.data<const std::uint8_t>(), images, per_image, result, isa, threads);
        } else {
            znas::pack_codes(units.data<const float>(), images, per_image, result, isa, threads);
        }
    }
    return codes;
}

py::array_t<std::int64_t> code_gram(const py::object& codes, std::size_t bits, int threads,
                                    const std::string& isa_name) {
    const Isa isa = parse_isa(isa_name);
    check_threads(threads);
    const TensorView rows(codes, "codes");
    rows.require_dtype({kUInt64});
    rows.require_axes({"images", "words"});

    const std::size_t images = rows.shape()[0];
    const std::size_t words = code_words(bits);
    if (rows.shape()[1] != words) {
        rows.refuse("must have " + std::to_string(words) + " words per image for " + std::to_string(bits) +
                    " bits but got " + std::to_string(rows.shape()[1]));
    }
    const auto* data = rows.data<const std::uint64_t>();
    for (std::size_t image = 0; bits % 64 != 0 && image < images; ++image) {
        if (data[image * words + words - 1] >> (bits % 64) != 0) {
            rows.refuse("must be zero beyond bit " + std::to_string(bits) + " but image " +
                        std::to_string(image) + " is not");
        }
    }

    py::array_t<std::int64_t> gram = new_array<std::int64_t>({images, images});
    std::int64_t* result = gram.mutable_data();
    {
        const py::gil_scoped_release released;
        znas::code_gram(data, images, bits, result, isa, threads);
    }
    return gram;
}

}  // namespace

}  // namespace znas::bindings

PYBIND11_MODULE(_core, m) {
    znas::bindings::register_grams(m);
    znas::bindings::register_native(m);
#if ZNAS_CUDA
    znas::bindings::register_cuda(m);
#endif
    m.doc() = "Compiled kernels of znas_engine.kernels.";
    m.attr("commit") = ZNAS_COMMIT;
    m.attr("EPSILON") = znas::native::kEpsilon;
    m.attr("NO_SLOT") = znas::native::kNoSlot;
    m.def("available_isas", [] { return py::tuple(py::cast(znas::bindings::available_isas())); });
    m.def("count_correct", &znas::bindings::count_correct, py::arg("logits"), py::arg("labels"),
          py::arg("threads"), py::arg("isa"));
    m.def("pack_codes", &znas::bindings::pack_codes, py::arg("activations"), py::arg("threads"),
          py::arg("isa"));
    m.def("code_gram", &znas::bindings::code_gram, py::arg("codes"), py::arg("bits"), py::arg("threads"),
          py::arg("isa"));
}
