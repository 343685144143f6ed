/* What all kernels share. Tensors are float32 and contiguous: images (N, H, W, C), values of channels (C).

   Work is divided by the number of threads alone, and parts are added in their order: results repeat to the bit. */

#ifdef __AVX512F__
enum { LANES = 16 };
#else
enum { LANES = 8 };
#endif

typedef float lanes __attribute__((vector_size(4 * LANES), aligned(4), may_alias)); /* what one instruction works on */

/* For functions with arguments that are constants where they are called: loops are unrolled, branches decided. */
#define INLINE static inline __attribute__((always_inline))
#define UNROLLED _Pragma("GCC unroll 8")

static inline long least(long a, long b) { return a < b ? a : b; }
static inline lanes *at(const float *place) { return (lanes *)place; }

typedef unsigned short bfloat16; /* the upper half of a float */
typedef unsigned short halves __attribute__((vector_size(2 * LANES), aligned(2), may_alias));
typedef unsigned bits __attribute__((vector_size(4 * LANES)));

static inline lanes widened(const bfloat16 *place) { return (lanes)(__builtin_convertvector(*(halves *)place, bits) << 16); }

/* Write the nearest bfloat16, of two that are as near the even one; what is no number stays none. */
static inline void put_rounded(bfloat16 *place, lanes value)
{
    bits all = (bits)value, is_none = (bits)(value != value), rounded = (all + 0x7fff + (all >> 16 & 1)) >> 16;
    *(halves *)place = __builtin_convertvector((rounded & ~is_none) | (is_none & 0x7fc0), halves);
}
