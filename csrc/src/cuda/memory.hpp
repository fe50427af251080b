// Streams and memory of a GPU that give themselves back.
#pragma once

#include <cuda_runtime_api.h>

#include <algorithm>
#include <cstdint>
#include <map>
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

// Streams of a device that no call uses at the moment.
class Streams {
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
        keep_freed_memory(device);
        cudaStream_t stream = nullptr;
        check(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking), "cudaStreamCreate");
        return stream;
    }
    void give(int device, cudaStream_t stream) {
        const std::lock_guard guard(lock_);
        idle_[device].push_back(stream);
    }

  private:
    // Or every synchronisation would hand it back to the driver.
    static void keep_freed_memory(int device) {
        cudaMemPool_t pool = nullptr;
        check(cudaDeviceGetDefaultMemPool(&pool, device), "cudaDeviceGetDefaultMemPool");
        std::uint64_t all = UINT64_MAX;
        check(cudaMemPoolSetAttribute(pool, cudaMemPoolAttrReleaseThreshold, &all),
              "cudaMemPoolSetAttribute");
    }

    std::mutex lock_;
    std::map<int, std::vector<cudaStream_t>> idle_;
};

inline Streams& streams() {
    static auto* all = new Streams;  // never destroyed: the driver may be gone by then
    return *all;
}

// A stream of one's own, for one call on one device.
class Stream {
  public:
    explicit Stream(int device) : device_(device) {
        check(cudaSetDevice(device), "cudaSetDevice");
        stream_ = streams().take(device);
    }
    ~Stream() { streams().give(device_, stream_); }
    Stream(const Stream&) = delete;
    Stream& operator=(const Stream&) = delete;

    operator cudaStream_t() const { return stream_; }
    int device() const { return device_; }
    void wait() const { check(cudaStreamSynchronize(stream_), "the GPU failed"); }

  private:
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

// Memory that is ours until the stream has done what it was asked before the end of this object.
template <class T>
class Buffer {
  public:
    Buffer(cudaStream_t stream, std::size_t size) : stream_(stream), size_(size) {
        void* data = nullptr;
        if (size != 0) check(cudaMallocAsync(&data, size * sizeof(T), stream), "cudaMalloc");
        data_ = static_cast<T*>(data);
    }
    Buffer(cudaStream_t stream, std::span<const T> values) : Buffer(stream, values.size()) {
        if (size_ == 0) return;
        check(cudaMemcpyAsync(data_, values.data(), values.size_bytes(), cudaMemcpyHostToDevice, stream),
              "cudaMemcpy");
    }
    ~Buffer() {
        if (data_ != nullptr) cudaFreeAsync(data_, stream_);
    }
    Buffer(const Buffer&) = delete;
    Buffer& operator=(const Buffer&) = delete;

    T* data() const { return data_; }
    void clear() const {
        if (size_ != 0) check(cudaMemsetAsync(data_, 0, size_ * sizeof(T), stream_), "cudaMemset");
    }
    void copy_to(std::vector<T>& values) const { copy_to_host(data_, size_, values, stream_); }

  private:
    cudaStream_t stream_;
    std::size_t size_;
    T* data_;
};

// Memory that outlives the call which made it; no stream has work on it when it is given back.
template <class T>
class Resident {
  public:
    // For work on this stream, until somebody has waited for it.
    Resident(const Stream& stream, std::size_t size) : device_(stream.device()) {
        void* data = nullptr;
        check(cudaMallocAsync(&data, std::max<std::size_t>(size, 1) * sizeof(T), stream), "cudaMalloc");
        data_ = static_cast<T*>(data);
    }
    Resident(int device, std::span<const T> values) : Resident(Stream(device), values) {}
    ~Resident() {
        // Nothing to be done where that fails: the GPU is lost, or the process ends and the driver is gone.
        if (cudaSetDevice(device_) == cudaSuccess) cudaFreeAsync(data_, nullptr);
    }
    Resident(const Resident&) = delete;
    Resident& operator=(const Resident&) = delete;

    T* data() const { return data_; }
    int device() const { return device_; }

  private:
    Resident(const Stream& stream, std::span<const T> values) : Resident(stream, values.size()) {
        if (!values.empty()) {
            check(cudaMemcpyAsync(data_, values.data(), values.size_bytes(), cudaMemcpyHostToDevice, stream),
                  "cudaMemcpy");
        }
        stream.wait();
    }

    int device_;
    T* data_;
};

}  // namespace znas::cuda
