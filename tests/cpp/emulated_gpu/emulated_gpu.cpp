// Coroutines for the threads of a block, and the calls of the CUDA runtime that we use, on a processor.
#include "emulated_gpu.hpp"

#include <atomic>
#include <cstdlib>
#include <limits>
#include <map>
#include <memory>
#include <mutex>
#include <vector>

thread_local uint3 threadIdx, blockIdx;
thread_local dim3 blockDim, gridDim;

// Saves the registers of the one and goes on with the other: System V, x86-64.
extern "C" void znas_emulated_switch(void** from, void* to);
asm(R"(
.text
.globl znas_emulated_switch
znas_emulated_switch:
    pushq %rbp
    pushq %rbx
    pushq %r12
    pushq %r13
    pushq %r14
    pushq %r15
    movq %rsp, (%rdi)
    movq %rsi, %rsp
    popq %r15
    popq %r14
    popq %r13
    popq %r12
    popq %rbx
    popq %rbp
    ret
)");

namespace znas::emulated {

namespace {

constexpr std::size_t kStackBytes = 128 * 1024;
constexpr unsigned kLanes = 32;

struct Meeting {
    unsigned expected = 0, arrived = 0, turn = 0;
};

struct Warp {
    Meeting meeting;
    std::array<Slots, 2> slots;  // in turn: nobody is two exchanges ahead
};

struct Thread {
    std::unique_ptr<char[]> stack{new char[kStackBytes]};
    void* registers = nullptr;
    bool done = false;
};

// One per processor thread, which runs one block at a time.
struct Block {
    std::vector<Thread> threads;
    std::vector<Warp> warps;
    Meeting all;
    void* scheduler = nullptr;
    unsigned current = 0;
    const std::function<void()>* body = nullptr;
};

thread_local Block block_here;

void yield() {
    Block& block = block_here;
    znas_emulated_switch(&block.threads[block.current].registers, block.scheduler);
}

void meet(Meeting& meeting) {
    const unsigned turn = meeting.turn;
    if (++meeting.arrived == meeting.expected) {
        meeting.arrived = 0;
        ++meeting.turn;
        return;
    }
    while (meeting.turn == turn) yield();
}

void enter() {
    (*block_here.body)();
    block_here.threads[block_here.current].done = true;
    yield();
}

void run_block(unsigned size) {
    Block& block = block_here;
    if (block.threads.size() < size) block.threads = std::vector<Thread>(size);
    block.warps.assign((size + kLanes - 1) / kLanes, {});
    for (unsigned w = 0; w < block.warps.size(); ++w) {
        block.warps[w].meeting.expected = std::min(kLanes, size - w * kLanes);
    }
    block.all = {size, 0, 0};
    for (unsigned t = 0; t < size; ++t) {
        Thread& thread = block.threads[t];
        thread.done = false;
        // As if `enter` had just been called: its return address lies 8 bytes off a multiple of 16.
        auto top = reinterpret_cast<std::uintptr_t>(thread.stack.get()) + kStackBytes;
        auto** frame = reinterpret_cast<void**>(top / 16 * 16 - 8);
        *--frame = reinterpret_cast<void*>(&enter);
        for (int saved = 0; saved < 6; ++saved) *--frame = nullptr;
        thread.registers = frame;
    }
    for (unsigned left = size; left != 0;) {
        for (unsigned t = 0; t < size; ++t) {
            if (block.threads[t].done) continue;
            block.current = t;
            threadIdx = {t % blockDim.x, t / blockDim.x % blockDim.y, t / blockDim.x / blockDim.y};
            znas_emulated_switch(&block.scheduler, block.threads[t].registers);
            left -= block.threads[t].done ? 1 : 0;
        }
    }
}

}  // namespace

void wait_for_block() { meet(block_here.all); }

unsigned lane() { return block_here.current % kLanes; }

const Slots& exchange(const Slot& slot) {
    Warp& warp = block_here.warps[block_here.current / kLanes];
    Slots& slots = warp.slots[warp.meeting.turn % 2];
    slots[lane()] = slot;
    meet(warp.meeting);
    return slots;
}

namespace {

std::atomic<long> launches{0};

// $name as a number, or what it is where that is not set.
long setting(const char* name, long usual) {
    const char* text = std::getenv(name);
    return text == nullptr ? usual : std::strtol(text, nullptr, 10);
}

// ZNAS_EMULATED_GPU_LAUNCHES: after so many kernels the device is lost.
bool lost() { return launches > setting("ZNAS_EMULATED_GPU_LAUNCHES", std::numeric_limits<long>::max()); }

}  // namespace

cudaError_t run(const std::function<void()>& thread, dim3 grid, dim3 block) {
    ++launches;
    if (lost()) return cudaErrorLaunchFailure;
    if (grid.x == 0 || grid.y == 0 || grid.z == 0 || grid.y > 65535 || grid.z > 65535) {
        return cudaErrorInvalidConfiguration;
    }
    const unsigned size = block.x * block.y * block.z;
    if (size == 0 || size > 1024) return cudaErrorInvalidConfiguration;
    gridDim = grid;
    blockDim = block;
    block_here.body = &thread;
    for (unsigned z = grid.z; z-- > 0;) {
        for (unsigned y = grid.y; y-- > 0;) {
            for (unsigned x = grid.x; x-- > 0;) {
                blockIdx = {x, y, z};
                run_block(size);
            }
        }
    }
    return cudaSuccess;
}

namespace {

// ZNAS_EMULATED_GPU_BYTES: what one device has; memory is full beyond.
struct Memory {
    std::mutex lock;
    std::map<void*, std::size_t> sizes;
    std::size_t used = 0;

    cudaError_t take(void** pointer, std::size_t bytes) {
        const std::lock_guard guard(lock);
        if (used + bytes > most()) return cudaErrorMemoryAllocation;
        *pointer = std::aligned_alloc(256, (bytes + 256) / 256 * 256);
        std::memset(*pointer, 0xFF, bytes);
        sizes[*pointer] = bytes;
        used += bytes;
        return cudaSuccess;
    }
    static std::size_t most() {
        return static_cast<std::size_t>(
            setting("ZNAS_EMULATED_GPU_BYTES", std::numeric_limits<long>::max()));
    }
    cudaError_t give(void* pointer) {
        if (pointer == nullptr) return cudaSuccess;
        const std::lock_guard guard(lock);
        const auto found = sizes.find(pointer);
        if (found == sizes.end()) return cudaErrorInvalidValue;
        used -= found->second;
        sizes.erase(found);
        std::free(pointer);
        return cudaSuccess;
    }
};

Memory memory;

// ZNAS_EMULATED_GPUS: how many devices there are, 1 where it is not set.
int devices() { return static_cast<int>(setting("ZNAS_EMULATED_GPUS", 1)); }

}  // namespace

}  // namespace znas::emulated

extern "C" {

cudaError_t cudaGetDeviceCount(int* count) {
    *count = znas::emulated::devices();
    return *count > 0 ? cudaSuccess : cudaErrorNoDevice;
}
cudaError_t cudaSetDevice(int device) {
    return device >= 0 && device < znas::emulated::devices() ? cudaSuccess : cudaErrorInvalidDevice;
}
// ZNAS_EMULATED_GPU_CAPABILITY: ten times the compute capability of them all, 90 where it is not set.
cudaError_t cudaDeviceGetAttribute(int* value, cudaDeviceAttr attribute, int) {
    const int capability = static_cast<int>(znas::emulated::setting("ZNAS_EMULATED_GPU_CAPABILITY", 90));
    if (attribute == cudaDevAttrComputeCapabilityMajor) {
        *value = capability / 10;
    } else if (attribute == cudaDevAttrComputeCapabilityMinor) {
        *value = capability % 10;
    } else {
        return cudaErrorInvalidValue;
    }
    return cudaSuccess;
}
cudaError_t cudaGetLastError() { return cudaSuccess; }
const char* cudaGetErrorString(cudaError_t error) {
    return error == cudaErrorMemoryAllocation ? "out of memory" : "an error of the emulated GPU";
}
cudaError_t cudaDeviceSynchronize() { return cudaSuccess; }
cudaError_t cudaMalloc(void** pointer, size_t bytes) { return znas::emulated::memory.take(pointer, bytes); }
cudaError_t cudaFree(void* pointer) { return znas::emulated::memory.give(pointer); }
cudaError_t cudaMallocAsync(void** pointer, size_t bytes, cudaStream_t) { return cudaMalloc(pointer, bytes); }
cudaError_t cudaFreeAsync(void* pointer, cudaStream_t) { return cudaFree(pointer); }
cudaError_t cudaMemcpy(void* to, const void* from, size_t bytes, cudaMemcpyKind) {
    if (bytes != 0) std::memmove(to, from, bytes);
    return cudaSuccess;
}
cudaError_t cudaMemcpyAsync(void* to, const void* from, size_t bytes, cudaMemcpyKind kind, cudaStream_t) {
    return cudaMemcpy(to, from, bytes, kind);
}
cudaError_t cudaMemset(void* to, int value, size_t bytes) {
    if (bytes != 0) std::memset(to, value, bytes);
    return cudaSuccess;
}
cudaError_t cudaMemsetAsync(void* to, int value, size_t bytes, cudaStream_t) {
    return cudaMemset(to, value, bytes);
}
cudaError_t cudaStreamCreateWithFlags(cudaStream_t* stream, unsigned) {
    *stream = nullptr;
    return cudaSuccess;
}
cudaError_t cudaStreamDestroy(cudaStream_t) { return cudaSuccess; }
cudaError_t cudaStreamSynchronize(cudaStream_t) {
    return znas::emulated::lost() ? cudaErrorLaunchFailure : cudaSuccess;
}
cudaError_t cudaGetDevice(int* device) {
    *device = 0;
    return cudaSuccess;
}
cudaError_t cudaMemGetInfo(size_t* free, size_t* total) {
    *free = *total = znas::emulated::memory.most();
    return cudaSuccess;
}
cudaError_t cudaMemPoolCreate(cudaMemPool_t* pool, const cudaMemPoolProps*) {
    static char pools;
    *pool = reinterpret_cast<cudaMemPool_t>(&pools);
    return cudaSuccess;
}
cudaError_t cudaMallocFromPoolAsync(void** pointer, size_t bytes, cudaMemPool_t, cudaStream_t) {
    return cudaMalloc(pointer, bytes);
}
cudaError_t cudaMemcpy2DAsync(void* to, size_t to_pitch, const void* from, size_t from_pitch, size_t width,
                              size_t height, cudaMemcpyKind, cudaStream_t) {
    for (size_t row = 0; row < height; ++row) {
        std::memmove(static_cast<char*>(to) + row * to_pitch, static_cast<const char*>(from) + row * from_pitch,
                     width);
    }
    return cudaSuccess;
}
cudaError_t cudaMemPoolSetAttribute(cudaMemPool_t, cudaMemPoolAttr, void*) { return cudaSuccess; }

}  // extern "C"
