#define ZNAS_LANES 4
#define ZNAS_BF16_HARDWARE 0
#include "step_kernels.inl"

namespace znas::native {

const Layout kReferenceFloat32 = layout<Float32>();
const Layout kReferenceBFloat16 = layout<BFloat16>();

}  // namespace znas::native
