#include "tensor_view.hpp"

#include <bit>
#include <string_view>
#include <utility>

#include "dlpack.hpp"

namespace py = pybind11;

namespace znas::bindings {

namespace {

std::string join(const std::vector<std::string>& words, std::string_view separator) {
    std::string text;
    for (const std::string& word : words) text += (text.empty() ? "" : std::string(separator)) + word;
    return text;
}

DType numbered(const std::string& kind, int bits) { return {kind + std::to_string(bits), bits}; }

// The element type of a buffer. Foreign byte order stays in the name, so that it equals no type of ours.
DType dtype_of_buffer(std::string_view format, std::ptrdiff_t itemsize) {
    constexpr char kNativeOrder = std::endian::native == std::endian::little ? '<' : '>';
    const int bits = static_cast<int>(itemsize) * 8;
    std::string_view code = format;
    if (code.starts_with('@') || code.starts_with('=') || code.starts_with(kNativeOrder))
        code.remove_prefix(1);
    const auto is_one_of = [code](std::string_view codes) {
        return code.size() == 1 && codes.find(code) != std::string_view::npos;
    };
    if (code == "?") return kBool;
    if (is_one_of("efdg")) return numbered("float", bits);
    if (is_one_of("bhilqn")) return numbered("int", bits);
    if (is_one_of("BHILQN")) return numbered("uint", bits);
    return {std::string(format), bits};
}

DType dtype_of_dlpack(const dlpack::DataType& dtype) {
    const int bits = dtype.bits * dtype.lanes;
    if (dtype.lanes == 1) {
        switch (dtype.kind) {
            case dlpack::kInt:
                return numbered("int", bits);
            case dlpack::kUInt:
                return numbered("uint", bits);
            case dlpack::kFloat:
                return numbered("float", bits);
            case dlpack::kBfloat:
                return numbered("bfloat", bits);
            case dlpack::kComplex:
                return numbered("complex", bits);
            case dlpack::kBool:
                if (bits == kBool.bits) return kBool;
                break;
        }
    }
    return {"DLPack type " + std::to_string(dtype.kind) + " of " + std::to_string(bits) + " bits", bits};
}

// Asks for a versioned capsule; an exporter from before DLPack 1.0 does not know the keyword.
py::object ask_for_capsule(py::handle array) {
    const py::object method = array.attr("__dlpack__");
    try {
        return method(py::arg("max_version") = py::make_tuple(1, 0));
    } catch (py::error_already_set& error) {
        if (!error.matches(PyExc_TypeError)) throw;
    }
    return method();
}

}  // namespace

std::string show(const std::vector<std::size_t>& shape) {
    std::vector<std::string> words;
    for (const std::size_t extent : shape) words.push_back(std::to_string(extent));
    return "[" + join(words, ", ") + "]";
}

TensorView::TensorView(py::handle array, std::string name) : name_(std::move(name)) {
    try {
        if (PyObject_CheckBuffer(array.ptr()) != 0) {
            borrow_buffer(array);
        } else if (py::hasattr(array, "__dlpack__")) {
            borrow_dlpack(array);
        } else {
            refuse("must be an array (buffer protocol or DLPack) but got " +
                   std::string(Py_TYPE(array.ptr())->tp_name));
        }
    } catch (py::error_already_set& error) {
        // Lenders say no in many types; an interrupt or exhausted memory is not a no.
        if (!error.matches(PyExc_BufferError) && !error.matches(PyExc_ValueError) &&
            !error.matches(PyExc_TypeError) && !error.matches(PyExc_RuntimeError)) {
            throw;
        }
        refuse("cannot be borrowed: " + py::cast<std::string>(py::str(error.value())));
    }
}

void TensorView::borrow_buffer(py::handle array) {
    buffer_ = py::reinterpret_borrow<py::buffer>(array).request();
    data_ = buffer_->ptr;
    dtype_ = dtype_of_buffer(buffer_->format, buffer_->itemsize);
    std::vector<std::int64_t> strides;
    for (py::ssize_t axis = 0; axis < buffer_->ndim; ++axis) {
        shape_.push_back(static_cast<std::size_t>(buffer_->shape[axis]));
        strides.push_back(buffer_->strides[axis]);
    }
    require_contiguous(strides);
}

void TensorView::borrow_dlpack(py::handle array) {
    const auto device = py::cast<std::pair<std::int32_t, std::int32_t>>(array.attr("__dlpack_device__")());
    if (device.first != dlpack::kCpu && device.first != dlpack::kCudaHost) {
        refuse("must live in CPU memory but got DLPack device type " + std::to_string(device.first));
    }

    capsule_ = ask_for_capsule(array);
    const dlpack::Tensor* tensor = nullptr;
    if (PyCapsule_IsValid(capsule_.ptr(), "dltensor_versioned") != 0) {
        const auto* lent =
            static_cast<dlpack::Versioned*>(PyCapsule_GetPointer(capsule_.ptr(), "dltensor_versioned"));
        if (lent->version.major != 1) {
            refuse("must come in DLPack version 1 but got " + std::to_string(lent->version.major));
        }
        tensor = &lent->tensor;
    } else if (PyCapsule_IsValid(capsule_.ptr(), "dltensor") != 0) {
        tensor = &static_cast<dlpack::Legacy*>(PyCapsule_GetPointer(capsule_.ptr(), "dltensor"))->tensor;
    } else {
        refuse("must return a DLPack capsule but got " + std::string(py::str(py::repr(capsule_))));
    }

    data_ = static_cast<char*>(tensor->data) + tensor->byte_offset;
    dtype_ = dtype_of_dlpack(tensor->dtype);
    shape_.assign(tensor->shape, tensor->shape + tensor->dimensions);
    if (tensor->strides != nullptr) {
        std::vector<std::int64_t> strides(tensor->strides, tensor->strides + tensor->dimensions);
        for (std::int64_t& stride : strides) stride *= dtype_.bits / 8;
        require_contiguous(strides);
    }
}

// `strides` in bytes. The stride of an axis that is never stepped along says nothing.
void TensorView::require_contiguous(const std::vector<std::int64_t>& strides) const {
    if (size() == 0) return;
    std::int64_t expected = dtype_.bits / 8;
    for (std::size_t axis = shape_.size(); axis-- > 0;) {
        if (shape_[axis] != 1 && strides[axis] != expected) {
            refuse("must be C-contiguous; pass a contiguous copy");
        }
        expected *= static_cast<std::int64_t>(shape_[axis]);
    }
}

void TensorView::require_dtype(const std::vector<DType>& allowed) const {
    std::vector<std::string> names;
    for (const DType& dtype : allowed) {
        if (dtype == dtype_) return;
        names.push_back(dtype.name);
    }
    refuse("must have dtype " + join(names, " or ") + " but got " + dtype_.name);
}

void TensorView::require_axes(const std::vector<std::string>& axes) const {
    if (axes.size() == shape_.size()) return;
    refuse("must have shape [" + join(axes, ", ") + "] but got " + show(shape_));
}

std::size_t TensorView::size() const {
    std::size_t product = 1;
    for (const std::size_t extent : shape_) product *= extent;
    return product;
}

void TensorView::refuse(const std::string& problem) const {
    throw py::value_error("`" + name_ + "` " + problem);
}

}  // namespace znas::bindings
