#include "znas/grams.hpp"

#include <pybind11/numpy.h>

#include <vector>

#include "grams.hpp"
#include "tensor_view.hpp"

namespace py = pybind11;

namespace znas::bindings {

namespace {

py::array_t<double> square(std::size_t rows) { return py::array_t<double>({rows, rows}); }

TensorView features(const py::handle& array, const std::string& name) {
    TensorView view(array, name);
    view.require_dtype({kFloat32});
    return view;
}

// Of the axes from `first` on; nothing has a mean over no pixels.
std::size_t extent(const TensorView& view, std::size_t first) {
    if (view.size() == 0) view.refuse("must not be empty but has shape " + show(view.shape()));
    std::size_t product = 1;
    for (std::size_t axis = first; axis < view.shape().size(); ++axis) product *= view.shape()[axis];
    return product;
}

py::tuple channel_gram(const py::object& x, const std::string& isa_name) {
    const Isa isa = parse_isa(isa_name);
    const TensorView view = features(x, "x");
    view.require_axes({"images", "channels", "height", "width"});
    const std::size_t pixels = extent(view, 2), images = view.shape()[0], channels = view.shape()[1];
    py::array_t<double> mean(static_cast<py::ssize_t>(channels));
    py::array_t<double> gram = square(channels);
    double *means = mean.mutable_data(), *sums = gram.mutable_data();
    {
        const py::gil_scoped_release released;
        znas::channel_gram(view.data<const float>(), images, channels, pixels, means, sums, isa);
    }
    return py::make_tuple(mean, gram);
}

py::array_t<double> image_gram(const py::object& x, const std::string& isa_name) {
    const Isa isa = parse_isa(isa_name);
    const TensorView view = features(x, "x");
    if (view.shape().empty()) view.refuse("must have shape [images, ...] but got []");
    const std::size_t units = extent(view, 1), images = view.shape()[0];
    py::array_t<double> gram = square(images);
    double* sums = gram.mutable_data();
    {
        const py::gil_scoped_release released;
        znas::image_gram(view.data<const float>(), images, units, sums, isa);
    }
    return gram;
}

// [rows, columns] of the numbers of a matrix.
py::array_t<double> matrix(const std::vector<double>& values, std::size_t rows) {
    return py::array_t<double>({rows, values.size() / rows}, values.data());
}

py::list response_grams(const py::sequence& still, const py::sequence& nudged, const std::string& isa_name) {
    const Isa isa = parse_isa(isa_name);
    if (still.size() != nudged.size()) {
        throw py::value_error("`nudged` must have " + std::to_string(still.size()) +
                              " features, like `still`, but has " + std::to_string(nudged.size()));
    }
    std::vector<TensorView> lent;  // alive while they are read
    std::vector<Answer> answers;
    for (std::size_t k = 0; k < still.size(); ++k) {
        const std::string place = "[" + std::to_string(k) + "]";
        const TensorView& a = lent.emplace_back(features(still[k], "still" + place));
        a.require_axes({"images", "channels", "height", "width"});
        extent(a, 0);
        const auto shape = a.shape();
        const auto* values = a.data<const float>();
        const TensorView& b = lent.emplace_back(features(nudged[k], "nudged" + place));
        if (b.shape() != shape) b.refuse("must have shape " + show(shape) + " but got " + show(b.shape()));
        answers.push_back({values, b.data<const float>(), shape[1], shape[2], shape[3]});
        if (k == 0) continue;
        const Answer &before = answers[k - 1], &after = answers[k];
        const std::size_t factor = before.height / after.height;
        if (lent[0].shape()[0] == shape[0] && factor > 0 && before.height == factor * after.height &&
            before.width == factor * after.width) {
            continue;
        }
        lent[2 * k].refuse("must have " + std::to_string(lent[0].shape()[0]) +
                           " images and pixels that those before are a whole multiple of but has shape " +
                           show(shape));
    }
    std::vector<Response> found;
    {
        const py::gil_scoped_release released;
        found = znas::response_grams(answers, answers.empty() ? 0 : lent[0].shape()[0], isa);
    }
    py::list all;
    for (std::size_t k = 0; k < found.size(); ++k) {
        all.append(py::make_tuple(matrix(found[k].energy, answers[k].channels),
                                  matrix(found[k].cross, answers[k].channels)));
    }
    return all;
}

}  // namespace

void register_grams(py::module_& m) {
    m.def("channel_gram", &channel_gram, py::arg("x"), py::arg("isa"));
    m.def("image_gram", &image_gram, py::arg("x"), py::arg("isa"));
    m.def("response_grams", &response_grams, py::arg("still"), py::arg("nudged"), py::arg("isa"));
}

}  // namespace znas::bindings
