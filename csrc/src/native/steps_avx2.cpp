#define ZNAS_LANES 8
#define ZNAS_BF16_HARDWARE 0
#include "step_kernels.inl"

namespace znas::native {

const StepTable kAvx2Float32 = table<Float32>();
const StepTable kAvx2BFloat16 = table<BFloat16>();

}  // namespace znas::native
