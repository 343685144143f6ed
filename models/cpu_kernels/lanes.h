/* What all kernels share. Tensors are float32 and contiguous: images (N, H, W, C), values of channels (C).

   Work is divided by the number of threads alone, and parts are added in their order: results repeat to the bit. */

typedef float lanes __attribute__((vector_size(32), aligned(4), may_alias)); /* what one instruction works on */

enum { LANES = 8 };

/* For functions with arguments that are constants where they are called: loops are unrolled, branches decided. */
#define INLINE static inline __attribute__((always_inline))
#define UNROLLED _Pragma("GCC unroll 8")

static inline long least(long a, long b) { return a < b ? a : b; }
static inline lanes *at(const float *place) { return (lanes *)place; }
