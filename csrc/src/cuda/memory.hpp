// Streams and memory of a GPU that give themselves back.
#pragma once

#include <cuda_runtime_api.h>

#include <algorithm>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <vector>

#include "znas/cuda/execute.hpp"

namespace znas::cuda {

inline void check(cudaError_t error, const char* what) {
    if (error == cudaSuccess) return;
    cudaGetLastError();  // or the next call would report it once more
    const std::string text = std::string(what) + ": " + cudaGetErrorString(error);
    if (error == cudaErrorMemoryAllocation) throw OutOfMemory(text);
    throw Error(text);
}

// The calling thread's device, which it has again at the end of the object: others in the process may have
// chosen it.
class DeviceKept {
  public:
    DeviceKept() { cudaGetDevice(&before_); }
    ~DeviceKept() {
        cudaSetDevice(before_);
        cudaGetLastError();  // or the next launch would be blamed for it
    }
    DeviceKept(const DeviceKept&) = delete;
    DeviceKept& operator=(const DeviceKept&) = delete;

  private:
    int before_ = 0;
};

// The calling thread works on this device until the end of the object.
class OnDevice {
  public:
    explicit OnDevice(int device) { check(cudaSetDevice(device), "cudaSetDevice"); }

  private:
    DeviceKept kept_;
};

// Per device, streams that no call uses at the moment and a pool of memory of our own: what other libraries
// of the process do with the device's default pool is theirs.
class Devices {
  public:
    cudaStream_t take(int device) {
        {
            const std::lock_guard guard(lock_);
            auto& idle = idle_[device];
            if (!idle.empty()) {
                const cudaStream_t stream = idle.back();
                idle.pop_back();
                return stream;
            }
        }
        cudaStream_t stream = nullptr;
        check(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking), "cudaStreamCreate");
        return stream;
    }
    void give(int device, cudaStream_t stream) {
        const std::lock_guard guard(lock_);
        idle_[device].push_back(stream);
    }
    // What this thread gave back to the pool goes on to the device, but for so many bytes; the pool waits
    // with that until somebody waits for a stream. Where it fails, see ~Resident.
    void trim(int device, std::uint64_t kept) {
        const std::lock_guard guard(lock_);
        const DeviceKept before;
        if (pools_[device] == nullptr || cudaSetDevice(device) != cudaSuccess) return;
        cudaStreamSynchronize(cudaStreamPerThread);
        cudaMemPoolTrimTo(pools_[device], kept);
    }
    cudaMemPool_t pool(int device) {
        const std::lock_guard guard(lock_);
        auto& pool = pools_[device];
        if (pool == nullptr) {
            cudaMemPoolProps props{};
            props.allocType = cudaMemAllocationTypePinned;
            props.location.type = cudaMemLocationTypeDevice;
            props.location.id = device;
            check(cudaMemPoolCreate(&pool, &props), "cudaMemPoolCreate");
            std::uint64_t kept = kKept;
            check(cudaMemPoolSetAttribute(pool, cudaMemPoolAttrReleaseThreshold, &kept),
                  "cudaMemPoolSetAttribute");
        }
        return pool;
    }

    static constexpr std::uint64_t kKept = std::uint64_t{1} << 30;  // bytes that are not handed back at once

  private:
    std::mutex lock_;
    std::map<int, std::vector<cudaStream_t>> idle_;
    std::map<int, cudaMemPool_t> pools_;
};

inline Devices& devices() {
    static auto* all = new Devices;  // never destroyed: the driver may be gone by then
    return *all;
}

// A stream of one's own, for one call on one device. It has done everything when it is given back.
class Stream {
  public:
    explicit Stream(int device) : on_(device), device_(device), stream_(devices().take(device)) {}
    ~Stream() {
        cudaStreamSynchronize(stream_);
        devices().give(device_, stream_);
    }
    Stream(const Stream&) = delete;
    Stream& operator=(const Stream&) = delete;

    operator cudaStream_t() const { return stream_; }
    int device() const { return device_; }
    void wait() const {
        check(cudaStreamSynchronize(stream_), "some kernel (CUDA_LAUNCH_BLOCKING=1 names it)");
    }

  private:
    OnDevice on_;
    int device_;
    cudaStream_t stream_;
};

// The values are there once the stream has been waited for.
template <class T>
void copy_to_host(const T* data, std::size_t size, std::vector<T>& values, cudaStream_t stream) {
    values.resize(size);
    if (size == 0) return;
    check(cudaMemcpyAsync(values.data(), data, size * sizeof(T), cudaMemcpyDeviceToHost, stream),
          "cudaMemcpy");
}

// values must stay until the stream has been waited for.
template <class T>
void copy_to_device(std::span<const T> values, T* data, cudaStream_t stream) {
    if (values.empty()) return;
    check(cudaMemcpyAsync(data, values.data(), values.size_bytes(), cudaMemcpyHostToDevice, stream),
          "cudaMemcpy");
}

// Memory that outlives the call which made it; no stream has work on it when it is given back.
template <class T>
class Resident {
  public:
    Resident(const Stream& stream, std::size_t size) : device_(stream.device()), size_(size) {
        void* data = nullptr;
        check(cudaMallocFromPoolAsync(&data, std::max<std::size_t>(size, 1) * sizeof(T),
                                      devices().pool(device_), stream),
              "cudaMalloc");
        data_ = static_cast<T*>(data);
    }
    // Waits until the values are there.
    Resident(const Stream& stream, std::span<const T> values) : Resident(stream, values.size()) {
        copy_to_device(values, data_, stream);
        stream.wait();
    }
    ~Resident() {
        // Nothing to be done where that fails: the GPU is lost, or the process ends and the driver is gone.
        const DeviceKept kept;
        if (cudaSetDevice(device_) == cudaSuccess) cudaFreeAsync(data_, cudaStreamPerThread);
    }
    Resident(const Resident&) = delete;
    Resident& operator=(const Resident&) = delete;

    T* data() const { return data_; }
    std::size_t size() const { return size_; }
    int device() const { return device_; }

  private:
    int device_;
    std::size_t size_;
    T* data_;
};

// Memory for the length of a call, kept for the next one, whichever network it is of, as long as there are
// networks on the device.
class Workspaces {
  public:
    std::unique_ptr<Resident<char>> borrow(const Stream& stream, std::size_t bytes) {
        std::unique_ptr<Resident<char>> found;
        {
            const std::lock_guard guard(lock_);
            auto& idle = idle_[stream.device()];
            if (!idle.empty()) {
                found = std::move(idle.back());
                idle.pop_back();
            }
        }
        if (found != nullptr && found->size() >= bytes) return found;
        found.reset();
        return std::make_unique<Resident<char>>(stream, bytes);
    }
    void give_back(std::unique_ptr<Resident<char>> memory) {
        const std::lock_guard guard(lock_);
        idle_[memory->device()].push_back(std::move(memory));
    }
    void forget_idle(int device) {
        const std::lock_guard guard(lock_);
        idle_[device].clear();
        devices().trim(device, 0);
    }
    void enter(int device) {
        const std::lock_guard guard(lock_);
        ++networks_[device];
    }
    void leave(int device) {
        const std::lock_guard guard(lock_);
        if (--networks_[device] > 0) return;
        idle_[device].clear();
        devices().trim(device, Devices::kKept);
    }

  private:
    std::mutex lock_;
    std::map<int, std::vector<std::unique_ptr<Resident<char>>>> idle_;
    std::map<int, int> networks_;
};

inline Workspaces& workspaces() {
    static auto* all = new Workspaces;  // never destroyed: the driver may be gone by then
    return *all;
}

// That there is a network on a device.
class Presence {
  public:
    explicit Presence(int device) : device_(device) { workspaces().enter(device); }
    ~Presence() { workspaces().leave(device_); }
    Presence(const Presence&) = delete;
    Presence& operator=(const Presence&) = delete;

  private:
    int device_;
};

}  // namespace znas::cuda
