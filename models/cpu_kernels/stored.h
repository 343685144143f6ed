/* Images are float32, or with BFLOAT16 bfloat16; all that is computed is float32. */

#include "lanes.h"

#ifdef BFLOAT16
typedef bfloat16 stored;
#define KERNEL(name) name##_bfloat16
static inline lanes load(const stored *place) { return widened(place); }
static inline void store(stored *place, lanes value) { put_rounded(place, value); }
#else
typedef float stored;
#define KERNEL(name) name
static inline lanes load(const stored *place) { return *at(place); }
static inline void store(stored *place, lanes value) { *at(place) = value; }
#endif

/* `value` where the bits of a mask are set, else 0. */
#define WHERE(mask, value) ((lanes)((mask) & (__typeof__(mask))(value)))
