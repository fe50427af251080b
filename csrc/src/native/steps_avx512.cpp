#define ZNAS_LANES 16
#define ZNAS_BF16_HARDWARE 0
#include "step_kernels.inl"

namespace znas::native {

const Layout kAvx512Float32 = layout<Float32>();
const Layout kAvx512BFloat16 = layout<BFloat16>();

}  // namespace znas::native
