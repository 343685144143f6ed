/* Mish, x * tanh(softplus(x)) (Misra 2019, eq. 1), and its gradient: one exponential and one division for a value.

   With e = exp(x) and w = e (e + 2), tanh(softplus(x)) is w / (w + 2), and its derivative 4 e (e + 1) / (w + 2)^2. */

#include "stored.h"

#define LARGEST 20.0f   /* tanh(softplus(20)) is 1 in float32, and exp(20) squared still finite */
#define SMALLEST -87.0f /* exp(-87) is still a normal number */

/* exp(x) with x between SMALLEST and LARGEST: 2^n exp(r), where n is whole and r at most ln 2 / 2; of r, Taylor's series. */
INLINE lanes exponential(lanes x)
{
    __typeof__(x > x) is_large = x > LARGEST, is_small = x < SMALLEST;
    x = WHERE(~(is_large | is_small), x) + WHERE(is_large, (lanes){} + LARGEST) + WHERE(is_small, (lanes){} + SMALLEST);
    lanes rounded = x * 1.44269504f + 0x1.8p23f; /* so large a number has no bits behind the point: its last bits are n */
    bits exponent = (bits)rounded << 23;
    lanes n = rounded - 0x1.8p23f, r = x - n * 0x1.62e4p-1f - n * 0x1.7f7d1cp-20f; /* ln 2 in two parts: n times the first is exact */
    lanes sum = r * (1 / 5040.0f) + 1 / 720.0f;
    sum = sum * r + 1 / 120.0f;
    sum = sum * r + 1 / 24.0f;
    sum = sum * r + 1 / 6.0f;
    sum = sum * r + 0.5f;
    sum = sum * r * r + r + 1;
    return (lanes)((bits)sum + exponent);
}

void KERNEL(mish_forward)(const stored *x, stored *y, long count, long threads)
{
    long blocks = count / LANES;
    #pragma omp parallel for schedule(static, 1) num_threads(threads)
    for (long t = 0; t < threads; t++)
        for (long i = blocks * t / threads * LANES; i < blocks * (t + 1) / threads * LANES; i += LANES) {
            lanes value = load(x + i), e = exponential(value), w = e * (e + 2);
            store(y + i, value * (w / (w + 2)));
        }
}

void KERNEL(mish_backward)(const stored *x, const stored *gradient, stored *result, long count, long threads)
{
    long blocks = count / LANES;
    #pragma omp parallel for schedule(static, 1) num_threads(threads)
    for (long t = 0; t < threads; t++)
        for (long i = blocks * t / threads * LANES; i < blocks * (t + 1) / threads * LANES; i += LANES) {
            lanes value = load(x + i), e = exponential(value), w = e * (e + 2), inverse = 1 / (w + 2);
            lanes slope = 4 * e * (e + 1) * inverse * inverse * value + w * inverse;
            store(result + i, slope * load(gradient + i));
        }
}
