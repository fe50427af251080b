// Devices, and what is brought to them before a pass.
#include "network.hpp"

#include "elements.hpp"
#include "pass.hpp"

namespace znas::cuda {

using native::Precision;
using native::Shape;

const native::Layout kFloat32Layout{4, kBlock, kWord * 4, nullptr, nullptr, nullptr};
const native::Layout kBFloat16Layout{2, kBlock, kWord * 2, nullptr, nullptr, nullptr};
const native::Layout kFloat16Layout{2, kBlock, kWord * 2, nullptr, nullptr, nullptr};

std::vector<std::uint16_t> Network::narrowed(const Plan& plan) {
    std::vector<std::uint16_t> filters;
    if (&plan.program->layout() != &kFloat16Layout) return filters;
    for (const float x : plan.filters) filters.push_back(Float16::element(x));
    return filters;
}

Images::Images(const Network& network, const Stream& stream, const float* images, int count)
    : count(count), plane(stream, network.images_plane().bytes * at(count)) {
    const Shape& shape = network.plan.program->values().at(0).shape;
    const std::size_t floats = at(count) * at(shape.channels) * at(shape.height) * at(shape.width);
    const Resident<float> pixels(stream, std::span<const float>(images, floats));
    const Plane out = network.images_plane();
    const int few = std::min(count, kProbed);
    // Before there is work that a full memory would leave behind.
    if (network.layout == &kFloat16Layout) {
        probed = std::make_unique<Resident<char>>(stream, out.bytes * at(few));
    }
    const auto load = network.layout == &kFloat16Layout    ? Kernels<Float16>::load_images
                      : network.layout == &kBFloat16Layout ? Kernels<BFloat16>::load_images
                                                           : Kernels<Float32>::load_images;
    check(load(pixels.data(), count, shape.channels, out, plane.data(), stream), "load_images");
    if (probed != nullptr) {
        check(Kernels<BFloat16>::load_images(pixels.data(), few, shape.channels, out, probed->data(), stream),
              "load_images");
    }
    stream.wait();
}

int device_count() {
    int count = 0;
    return cudaGetDeviceCount(&count) == cudaSuccess ? count : (cudaGetLastError(), 0);
}

int capability(int device) {
    int major = 0, minor = 0;
    check(cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, device), "compute capability");
    check(cudaDeviceGetAttribute(&minor, cudaDevAttrComputeCapabilityMinor, device), "compute capability");
    return 10 * major + minor;
}

void make_ready(int device) {
    const Stream stream(device);
    devices().pool(device);
}

const native::Layout& layout(Precision precision) {
    switch (precision) {
        case Precision::kBFloat16:
            return kBFloat16Layout;
        case Precision::kFloat16:
            return kFloat16Layout;
        case Precision::kFloat32:
            break;
    }
    return kFloat32Layout;
}

PlanSize plan_size(std::shared_ptr<const native::Program> program) {
    const Plan made = plan(std::move(program), {});
    return {static_cast<int>(made.steps.size()), static_cast<int>(made.waves.size())};
}

std::shared_ptr<const Network> network(std::shared_ptr<const native::Program> program,
                                       const std::vector<int>& kept, int device) {
    Plan made = plan(std::move(program), kept);
    const Stream stream(device);
    return std::make_shared<const Network>(stream, std::move(made));
}

std::shared_ptr<const Images> upload(const Network& network, const float* images, int count) {
    const Stream stream(network.device);
    return std::make_shared<const Images>(network, stream, images, count);
}

}  // namespace znas::cuda
