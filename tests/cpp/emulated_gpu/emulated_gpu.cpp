// Coroutines for the threads of a block, and the calls of the CUDA runtime that we use, on a processor.
#include "emulated_gpu.hpp"

#include <sys/mman.h>

#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <limits>
#include <map>
#include <memory>
#include <mutex>
#include <numeric>
#include <random>
#include <utility>
#include <vector>

#ifdef __SANITIZE_ADDRESS__
#include <pthread.h>
#include <sanitizer/common_interface_defs.h>
#endif

thread_local constinit uint3 threadIdx, blockIdx, blockDim, gridDim;

namespace znas::emulated {

namespace {

constexpr std::size_t kPage = 4096;
constexpr std::size_t kStackBytes = 128 * 1024;
// Stacks do not lie a power of two apart, or what lanes use at the same time would compete for the same
// places of the cache.
constexpr std::size_t kStackStride = kStackBytes + kPage;
constexpr std::size_t kColour = 128;  // of a lane
constexpr unsigned kMostThreads = 1024;

enum class State : std::uint8_t { kReady, kWithWarp, kWithBlock, kEnded };

// Where a coroutine goes on; the first three are read by name of their offsets below.
struct Context {
    void* instruction = nullptr;
    void* stack = nullptr;
    void* frame = nullptr;
#ifdef __SANITIZE_ADDRESS__
    const void* bottom = nullptr;
    std::size_t size = 0;
#endif
};

struct Warp {
    Context lanes[kLanes];
    uint3 indices[kLanes];
    State states[kLanes];
    // Of the meeting that goes on.
    void* shares[kLanes];
    void (*together)(void* const*) = nullptr;
    unsigned arrived = 0;
    unsigned step = 1;  // lane l is followed by lane l + step
};

// The threads' stacks, below each a page that nothing may touch.
class Stacks {
  public:
    Stacks() {
        const std::size_t bytes = kMostThreads * kStackStride;
        memory_ = static_cast<char*>(
            mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0));
        if (memory_ == MAP_FAILED) fail("no memory for stacks");
        for (unsigned t = 0; t < kMostThreads; ++t) mprotect(memory_ + t * kStackStride, kPage, PROT_NONE);
    }
    ~Stacks() { munmap(memory_, kMostThreads * kStackStride); }
    Stacks(const Stacks&) = delete;
    Stacks& operator=(const Stacks&) = delete;

    char* bottom(unsigned thread) const { return memory_ + thread * kStackStride + kPage; }

  private:
    char* memory_;
};

// One per processor thread, which runs one block at a time.
struct Block {
    Stacks stacks;
    std::vector<Warp> warps;
    Context scheduler;
    const std::function<void()>* body = nullptr;

#ifdef __SANITIZE_ADDRESS__
    Block() {  // exceptions that come later need the bounds of the thread's own stack
        pthread_attr_t attributes;
        void* bottom = nullptr;
        if (pthread_getattr_np(pthread_self(), &attributes) != 0 ||
            pthread_attr_getstack(&attributes, &bottom, &scheduler.size) != 0) {
            fail("no bounds of a stack");
        }
        scheduler.bottom = bottom;
        pthread_attr_destroy(&attributes);
    }
#endif
};

// What runs on this processor thread.
struct Here {
    Block* block;
    Warp* warp;
    unsigned lane;
};
thread_local constinit Here here{};

// Saves where the one goes on and goes on with the other: System V, x86-64. Not a function of its own, so
// that calls and returns stay in step for the processor that predicts them.
[[gnu::always_inline]] inline void go_on(Context& from, Context& to) {
#ifdef __SANITIZE_ADDRESS__
    void* fake = nullptr;
    __sanitizer_start_switch_fiber(&fake, to.bottom, to.size);
#endif
    Context *saved = &from, *next = &to;
    asm volatile(
        "leaq 1f(%%rip), %%rax\n"
        "movq %%rax, 0(%0)\n"
        "movq %%rsp, 8(%0)\n"
        "movq %%rbp, 16(%0)\n"
        "movq 8(%1), %%rsp\n"
        "movq 16(%1), %%rbp\n"
        "jmpq *0(%1)\n"
        "1:\n"
        : "+D"(saved), "+S"(next)
        :
        : "rax", "rbx", "rcx", "rdx", "r8", "r9", "r10", "r11", "r12", "r13", "r14", "r15", "xmm0", "xmm1",
          "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9", "xmm10", "xmm11", "xmm12", "xmm13",
          "xmm14", "xmm15", "memory", "cc");
#ifdef __SANITIZE_ADDRESS__
    __sanitizer_finish_switch_fiber(fake, nullptr, nullptr);
#endif
}

// The next lane of the warp that has something to do, or the scheduler where none has.
[[gnu::always_inline]] inline void leave(State state) {
    Block& block = *here.block;
    Warp& warp = *here.warp;
    const unsigned lane = here.lane;
    warp.states[lane] = state;
    unsigned next = (lane + warp.step) % kLanes;
    while (next != lane && warp.states[next] != State::kReady) next = (next + warp.step) % kLanes;
    Context& to = next == lane ? block.scheduler : warp.lanes[next];
    here.lane = next;
    threadIdx = warp.indices[next];
    go_on(warp.lanes[lane], to);
}

[[noreturn]] void enter() {
#ifdef __SANITIZE_ADDRESS__
    __sanitizer_finish_switch_fiber(nullptr, nullptr, nullptr);
#endif
    (*here.block->body)();
    leave(State::kEnded);
    __builtin_unreachable();
}

// Threads that wait for the block, when nobody else is left; whether there were some.
bool release(Block& block) {
    bool some = false;
    for (Warp& warp : block.warps) {
        for (State& state : warp.states) {
            if (state == State::kWithWarp) fail("lanes of a warp wait for one that does not come");
            if (state != State::kWithBlock) continue;
            state = State::kReady;
            some = true;
        }
    }
    return some;
}

void start_threads(Block& block, unsigned size, std::minstd_rand& draw) {
    const unsigned warps = (size + kLanes - 1) / kLanes;
    if (block.warps.size() != warps) block.warps = std::vector<Warp>(warps);
    for (unsigned t = 0; t < warps * kLanes; ++t) {
        Warp& warp = block.warps[t / kLanes];
        const unsigned lane = t % kLanes;
        warp.states[lane] = t < size ? State::kReady : State::kEnded;
        if (t >= size) continue;
        warp.indices[lane] = {t % blockDim.x, t / blockDim.x % blockDim.y, t / blockDim.x / blockDim.y};
        // As if `enter` had just been called: its return address lies 8 bytes off a multiple of 16.
        char* bottom = block.stacks.bottom(t);
        warp.lanes[lane].instruction = reinterpret_cast<void*>(&enter);
        warp.lanes[lane].stack = bottom + kStackBytes - lane * kColour - 8;
#ifdef __SANITIZE_ADDRESS__
        warp.lanes[lane].bottom = bottom;
        warp.lanes[lane].size = kStackBytes;
#endif
    }
    for (Warp& warp : block.warps) {
        warp.arrived = 0;
        warp.step = static_cast<unsigned>(draw()) / 2 * 2 + 1;
    }
}

void run_block(Block& block, unsigned size, std::minstd_rand& draw) {
    start_threads(block, size, draw);
    const auto warps = static_cast<unsigned>(block.warps.size());
    do {
        const auto first = static_cast<unsigned>(draw());
        for (unsigned w = 0; w < warps; ++w) {
            Warp& warp = block.warps[(first + w) % warps];
            const auto first_lane = static_cast<unsigned>(draw());
            for (unsigned l = 0; l < kLanes; ++l) {
                const unsigned lane = (first_lane + l) % kLanes;
                if (warp.states[lane] != State::kReady) continue;
                here = {&block, &warp, lane};
                threadIdx = warp.indices[lane];
                go_on(block.scheduler, warp.lanes[lane]);  // until no lane of the warp can
            }
        }
    } while (release(block));
}

}  // namespace

void fail(const char* what) {
    std::fprintf(stderr, "emulated GPU: %s: thread (%u, %u, %u) of block (%u, %u, %u)\n", what, threadIdx.x,
                 threadIdx.y, threadIdx.z, blockIdx.x, blockIdx.y, blockIdx.z);
    std::abort();
}

[[gnu::noinline]] void wait_for_block() { leave(State::kWithBlock); }

unsigned lane() { return here.lane; }

[[gnu::noinline]] void wait_for_warp(void* share, void (*together)(void* const*)) {
    Warp& warp = *here.warp;
    warp.shares[here.lane] = share;
    if (warp.arrived == 0) {
        warp.together = together;
    } else if (warp.together != together) {
        fail("lanes of a warp wait for different things");
    }
    if (++warp.arrived < kLanes) {
        leave(State::kWithWarp);
        return;
    }
    warp.arrived = 0;
    together(warp.shares);
    std::memset(warp.states, static_cast<int>(State::kReady), sizeof warp.states);
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

namespace {

thread_local int device_here = 0;
thread_local cudaError_t last_error = cudaSuccess;

// What a call returns; a launch that does not clear it is blamed for it.
cudaError_t told(cudaError_t error) {
    if (error != cudaSuccess) last_error = error;
    return error;
}

// Its work begins when somebody waits for it: what that reads and writes must be there until then.
struct Stream {
    int device;
    std::vector<std::function<void()>> queued;
};

Stream* queue_of(cudaStream_t stream) {
    return stream == cudaStreamPerThread ? nullptr : reinterpret_cast<Stream*>(stream);
}

// On the default streams at once.
cudaError_t queue(cudaStream_t stream, std::function<void()> work) {
    if (Stream* own = queue_of(stream)) {
        own->queued.push_back(std::move(work));
    } else {
        work();
    }
    return cudaSuccess;
}

void run_blocks(const std::function<void()>& thread, dim3 grid, dim3 block) {
    gridDim = {grid.x, grid.y, grid.z};
    blockDim = {block.x, block.y, block.z};
    thread_local Block threads;
    threads.body = &thread;
    // ZNAS_EMULATED_GPU_SEED: of the order in which blocks, warps and lanes take turns.
    std::minstd_rand draw(static_cast<unsigned>(setting("ZNAS_EMULATED_GPU_SEED", 1)));
    const auto blocks = std::uint64_t{grid.x} * grid.y * grid.z;
    std::uint64_t step = draw() % blocks, next = draw() % blocks;
    while (std::gcd(step, blocks) != 1) ++step;
    for (std::uint64_t i = 0; i < blocks; ++i) {
        blockIdx = {static_cast<unsigned>(next % grid.x), static_cast<unsigned>(next / grid.x % grid.y),
                    static_cast<unsigned>(next / grid.x / grid.y)};
        run_block(threads, block.x * block.y * block.z, draw);
        next = (next + step) % blocks;
    }
}

}  // namespace

void run(std::function<void()> thread, dim3 grid, dim3 block, cudaStream_t stream) {
    const unsigned size = block.x * block.y * block.z;
    const Stream* own = queue_of(stream);
    ++launches;
    if (lost()) {
        told(cudaErrorLaunchFailure);
    } else if (grid.x == 0 || grid.y == 0 || grid.z == 0 || grid.y > 65535 || grid.z > 65535 || size == 0 ||
               size > 1024) {
        told(cudaErrorInvalidConfiguration);
    } else if (own != nullptr && own->device != device_here) {
        told(cudaErrorInvalidResourceHandle);
    } else {
        queue(stream, [=, thread = std::move(thread)] { run_blocks(thread, grid, block); });
    }
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
        // Not a byte more, so that the address sanitizer sees what lies beyond.
        if (posix_memalign(pointer, 256, bytes) != 0) return cudaErrorMemoryAllocation;
        std::memset(*pointer, 0xFF, bytes);
        sizes[*pointer] = bytes;
        used += bytes;
        return cudaSuccess;
    }
    static std::size_t most() {
        return static_cast<std::size_t>(setting("ZNAS_EMULATED_GPU_BYTES", std::numeric_limits<long>::max()));
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
    if (device < 0 || device >= znas::emulated::devices())
        return znas::emulated::told(cudaErrorInvalidDevice);
    znas::emulated::device_here = device;
    return cudaSuccess;
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
cudaError_t cudaGetLastError() { return std::exchange(znas::emulated::last_error, cudaSuccess); }
const char* cudaGetErrorString(cudaError_t error) {
    return error == cudaErrorMemoryAllocation ? "out of memory" : "an error of the emulated GPU";
}
cudaError_t cudaDeviceSynchronize() { return cudaSuccess; }
cudaError_t cudaMalloc(void** pointer, size_t bytes) {
    return znas::emulated::told(znas::emulated::memory.take(pointer, bytes));
}
cudaError_t cudaFree(void* pointer) { return znas::emulated::told(znas::emulated::memory.give(pointer)); }
cudaError_t cudaFreeAsync(void* pointer, cudaStream_t) { return cudaFree(pointer); }
cudaError_t cudaMemcpy(void* to, const void* from, size_t bytes, cudaMemcpyKind) {
    if (bytes != 0) std::memmove(to, from, bytes);
    return cudaSuccess;
}
cudaError_t cudaMemcpyAsync(void* to, const void* from, size_t bytes, cudaMemcpyKind kind,
                            cudaStream_t stream) {
    return znas::emulated::queue(stream, [=] { cudaMemcpy(to, from, bytes, kind); });
}
cudaError_t cudaMemset(void* to, int value, size_t bytes) {
    if (bytes != 0) std::memset(to, value, bytes);
    return cudaSuccess;
}
cudaError_t cudaMemsetAsync(void* to, int value, size_t bytes, cudaStream_t stream) {
    return znas::emulated::queue(stream, [=] { cudaMemset(to, value, bytes); });
}
cudaError_t cudaStreamCreateWithFlags(cudaStream_t* stream, unsigned) {
    *stream = reinterpret_cast<cudaStream_t>(new znas::emulated::Stream{znas::emulated::device_here, {}});
    return cudaSuccess;
}
cudaError_t cudaStreamSynchronize(cudaStream_t stream) {
    std::vector<std::function<void()>> queued;
    if (znas::emulated::Stream* own = znas::emulated::queue_of(stream)) queued.swap(own->queued);
    if (znas::emulated::lost()) return cudaErrorLaunchFailure;
    for (const auto& work : queued) work();
    return cudaSuccess;
}
cudaError_t cudaGetDevice(int* device) {
    *device = znas::emulated::device_here;
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
                              size_t height, cudaMemcpyKind kind, cudaStream_t stream) {
    return znas::emulated::queue(stream, [=] {
        for (size_t row = 0; row < height; ++row) {
            cudaMemcpy(static_cast<char*>(to) + row * to_pitch,
                       static_cast<const char*>(from) + row * from_pitch, width, kind);
        }
    });
}
cudaError_t cudaMemPoolTrimTo(cudaMemPool_t, size_t) { return cudaSuccess; }
cudaError_t cudaMemPoolSetAttribute(cudaMemPool_t, cudaMemPoolAttr, void*) { return cudaSuccess; }

}  // extern "C"
