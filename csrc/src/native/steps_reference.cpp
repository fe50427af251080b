#define ZNAS_LANES 4
#define ZNAS_BF16_HARDWARE 0
#include "step_kernels.inl"

namespace znas::native {

const StepTable kReferenceFloat32 = table<Float32>();
const StepTable kReferenceBFloat16 = table<BFloat16>();

}  // namespace znas::native
