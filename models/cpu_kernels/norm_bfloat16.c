/* The kernels of norm.c for images in bfloat16. */

#define BFLOAT16
#include "norm.c"
