/* The kernels of mish.c for images in bfloat16. */

#define BFLOAT16
#include "mish.c"
