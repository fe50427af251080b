#define ZNAS_LANES 16
#define ZNAS_BF16_HARDWARE 1
#include "step_kernels.inl"

namespace znas::native {

const Layout kAvx512Bf16BFloat16 = layout<BFloat16>();

}  // namespace znas::native
