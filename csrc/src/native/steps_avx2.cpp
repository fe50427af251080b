#define ZNAS_LANES 8
#define ZNAS_BF16_HARDWARE 0
#include "step_kernels.inl"

namespace znas::native {

const Layout kAvx2Float32 = layout<Float32>();
const Layout kAvx2BFloat16 = layout<BFloat16>();

}  // namespace znas::native
