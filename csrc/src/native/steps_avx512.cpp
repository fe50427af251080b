#define ZNAS_LANES 16
#define ZNAS_BF16_HARDWARE 0
#include "step_kernels.inl"

namespace znas::native {

const StepTable kAvx512Float32 = table<Float32>();
const StepTable kAvx512BFloat16 = table<BFloat16>();

}  // namespace znas::native
