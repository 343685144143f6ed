/* Batch norm with the addition and the ReLU that follow it, in training and at inference (`models.torch_cpu`). */

#include <math.h>
#include <stddef.h>
#include <string.h>

#include "stored.h"

/* Where a ReLU lets a value pass, all bits are set. What is no number passes, as everywhere in PyTorch. */
#define PASSES(value) (((value) > 0) | ((value) != (value)))

enum {
    ABREAST = 4, /* lanes side by side of which sums are taken at a time */
    TILE = 64,   /* rows whose moments are taken at a time, while the nearest cache holds them */
};

/* Images as rows of `width` numbers: a pixel each, or as many side by side as ABREAST lanes hold. */
typedef struct { long rows, width; } Layout;

static Layout layout_of(long pixels, long channels)
{
    long fold = ABREAST * LANES / channels;
    int fits = fold > 1 && fold * channels == ABREAST * LANES && pixels % fold == 0;
    return fits ? (Layout){pixels / fold, channels * fold} : (Layout){pixels, channels};
}

/* Add a tile of rows to the mean and the sum of squared deviations of those before it (Chan et al. 1979, eq. 2.1). */
INLINE void add_moments(const int count, const stored *x, long rows, long width, long before, float *mean, float *square)
{
    lanes own[ABREAST] = {0}, gaps[ABREAST] = {0};
    for (long row = 0; row < rows; row++)
        UNROLLED for (int i = 0; i < count; i++) own[i] += load(x + row * width + i * LANES);
    UNROLLED for (int i = 0; i < count; i++) own[i] /= (float)rows;
    for (long row = 0; row < rows; row++)
        UNROLLED for (int i = 0; i < count; i++) {
            lanes gap = load(x + row * width + i * LANES) - own[i];
            gaps[i] += gap * gap;
        }
    float share = (float)rows / (float)(before + rows);
    UNROLLED for (int i = 0; i < count; i++) {
        lanes gap = own[i] - *at(mean + i * LANES);
        *at(mean + i * LANES) += gap * share;
        *at(square + i * LANES) += gaps[i] + gap * gap * (share * (float)before);
    }
}

static void moments_of(const stored *x, long rows, long width, float *mean, float *square)
{
    memset(mean, 0, width * sizeof(float));
    memset(square, 0, width * sizeof(float));
    for (long first = 0; first < rows; first += TILE) {
        const stored *tile = x + first * width;
        long count = least(TILE, rows - first), c = 0;
        for (; c + ABREAST * LANES <= width; c += ABREAST * LANES)
            add_moments(ABREAST, tile + c, count, width, first, mean + c, square + c);
        for (; c < width; c += LANES)
            add_moments(1, tile + c, count, width, first, mean + c, square + c);
    }
}

INLINE void transform(const int is_added, const int is_activated, const stored *x, const stored *added, stored *y, long rows,
                      long width, const float *scale, const float *shift)
{
    for (long row = 0; row < rows; row++)
        for (long c = 0; c < width; c += LANES) {
            long place = row * width + c;
            lanes value = load(x + place) * *at(scale + c) + *at(shift + c);
            if (is_added) value += load(added + place);
            store(y + place, is_activated ? WHERE(PASSES(value), value) : value);
        }
}

/* Write `y = x * scale + shift`, with what is added unless that is NULL and with a ReLU if `is_activated`. */
static void transform_all(const stored *x, const stored *added, stored *y, Layout layout, const float *scale, const float *shift,
                          long is_activated, long threads)
{
    long rows = layout.rows, width = layout.width;
    #pragma omp parallel for schedule(static, 1) num_threads(threads)
    for (long t = 0; t < threads; t++) {
        long first = rows * t / threads, count = rows * (t + 1) / threads - first, place = first * width;
        if (added && is_activated) transform(1, 1, x + place, added + place, y + place, count, width, scale, shift);
        else if (added) transform(1, 0, x + place, added + place, y + place, count, width, scale, shift);
        else if (is_activated) transform(0, 1, x + place, NULL, y + place, count, width, scale, shift);
        else transform(0, 0, x + place, NULL, y + place, count, width, scale, shift);
    }
}

/* Write `y = gamma * (x - mean) / sqrt(variance + epsilon) + beta` with given statistics, `added` and a ReLU as in `norm_forward`.

   `room` has 2 * max(C, 4 * LANES) numbers. */
void KERNEL(norm_at_inference)(const stored *x, const stored *added, stored *y, const float *gamma, const float *beta,
                               const float *mean, const float *variance, float *room, long pixels, long channels, double epsilon,
                               long is_activated, long threads)
{
    Layout layout = layout_of(pixels, channels);
    float *scale = room, *shift = room + layout.width;
    for (long c = 0; c < layout.width; c++) {
        long channel = c % channels;
        double slope = gamma[channel] / sqrt(variance[channel] + epsilon);
        scale[c] = slope;
        shift[c] = beta[channel] - mean[channel] * slope;
    }
    transform_all(x, added, y, layout, scale, shift, is_activated, threads);
}

/* Write `y = x * scale + shift`, which is `gamma * (x - mean) / sqrt(variance + epsilon) + beta` with the batch's statistics.

   `added` is added to it unless that is NULL; a ReLU is applied if `is_activated`. Writes scale and shift, the mean, and `inverse`,
   1 / sqrt(variance + epsilon); moves the moving statistics to `momentum * old + (1 - momentum) * batch`. `room` has
   2 * (threads + 1) * max(C, 4 * LANES) numbers. */
void KERNEL(norm_forward)(const stored *x, const stored *added, stored *y, const float *gamma, const float *beta,
                          float *moving_mean, float *moving_variance, float *mean_of, float *inverse_of, float *scale_of,
                          float *shift_of, float *room, long pixels, long channels, double momentum, double epsilon,
                          long is_activated, long threads)
{
    Layout layout = layout_of(pixels, channels);
    long rows = layout.rows, width = layout.width;
    float *scale = room + 2 * threads * width, *shift = scale + width;
    #pragma omp parallel for schedule(static, 1) num_threads(threads)
    for (long t = 0; t < threads; t++) {
        long first = rows * t / threads, last = rows * (t + 1) / threads;
        moments_of(x + first * width, last - first, width, room + 2 * t * width, room + (2 * t + 1) * width);
    }
    for (long channel = 0; channel < channels; channel++) {
        double mean = 0, square = 0, count = 0;
        for (long t = 0; t < threads; t++)
            for (long c = channel; c < width; c += channels) {
                double own = rows * (t + 1) / threads - rows * t / threads, total = count + own;
                double gap = room[2 * t * width + c] - mean;
                if (own == 0) continue;
                mean += gap * own / total;
                square += room[(2 * t + 1) * width + c] + gap * gap * count * own / total;
                count = total;
            }
        double variance = square / count, inverse = 1 / sqrt(variance + epsilon);
        mean_of[channel] = mean;
        inverse_of[channel] = inverse;
        scale_of[channel] = gamma[channel] * inverse;
        shift_of[channel] = beta[channel] - mean * gamma[channel] * inverse;
        moving_mean[channel] += (1 - momentum) * (mean - moving_mean[channel]);
        moving_variance[channel] += (1 - momentum) * (variance - moving_variance[channel]);
    }
    for (long c = 0; c < width; c++) {
        scale[c] = scale_of[c % channels];
        shift[c] = shift_of[c % channels];
    }
    transform_all(x, added, y, layout, scale, shift, is_activated, threads);
}

/* How the backward pass tells where the gradient counts: everywhere, where x passed the ReLU, or where y did. */
enum { EVERYWHERE, FROM_X, FROM_Y };

/* Add a tile's sums of the gradient that counts and of its product with `x - mean`. FROM_Y: write that gradient to `entered`. */
INLINE void add_gradients(const int count, const int kind, const stored *gradient, const stored *x, const stored *y, stored *entered,
                          long rows, long width, const float *mean, const float *scale, const float *shift, float *sum_of,
                          float *product_of)
{
    lanes sum[ABREAST] = {0}, product[ABREAST] = {0};
    for (long row = 0; row < rows; row++)
        UNROLLED for (int i = 0; i < count; i++) {
            long place = row * width + i * LANES;
            lanes slope = load(gradient + place), value = load(x + place);
            if (kind == FROM_X) slope = WHERE(PASSES(value * *at(scale + i * LANES) + *at(shift + i * LANES)), slope);
            if (kind == FROM_Y) store(entered + place, slope = WHERE(PASSES(load(y + place)), slope));
            sum[i] += slope;
            product[i] += slope * (value - *at(mean + i * LANES));
        }
    UNROLLED for (int i = 0; i < count; i++) {
        *at(sum_of + i * LANES) += sum[i];
        *at(product_of + i * LANES) += product[i];
    }
}

INLINE void gradients_of(const int kind, const stored *gradient, const stored *x, const stored *y, stored *entered, long rows,
                         long width, const float *mean, const float *scale, const float *shift, float *sum, float *product)
{
    memset(sum, 0, width * sizeof(float));
    memset(product, 0, width * sizeof(float));
    for (long first = 0; first < rows; first += TILE) {
        long count = least(TILE, rows - first), place = first * width, c = 0;
        for (; c + ABREAST * LANES <= width; c += ABREAST * LANES)
            add_gradients(ABREAST, kind, gradient + place + c, x + place + c, y + place + c, entered + place + c, count, width,
                          mean + c, scale + c, shift + c, sum + c, product + c);
        for (; c < width; c += LANES)
            add_gradients(1, kind, gradient + place + c, x + place + c, y + place + c, entered + place + c, count, width,
                          mean + c, scale + c, shift + c, sum + c, product + c);
    }
}

INLINE void transform_gradient(const int kind, const stored *gradient, const stored *x, stored *result, long rows, long width,
                               const float *scale, const float *shift, const float *slope, const float *constant)
{
    for (long row = 0; row < rows; row++)
        for (long c = 0; c < width; c += LANES) {
            long place = row * width + c;
            lanes given = load(gradient + place), value = load(x + place);
            if (kind == FROM_X) given = WHERE(PASSES(value * *at(scale + c) + *at(shift + c)), given);
            store(result + place, given * *at(scale + c) + (value * *at(slope + c) + *at(constant + c)));
        }
}

/* Write the gradients of x, gamma and beta for that of y: x's is linear in the gradient and in x,
   `scale * (gradient - its mean - normalised x * the mean of their product)`.

   With `y`, what was added before a ReLU has the gradient that is written to `entered`. `room` has 2 * threads + 5 rows. */
void KERNEL(norm_backward)(const stored *gradient, const stored *x, const stored *y, stored *entered, stored *to_x,
                           float *to_gamma, float *to_beta, const float *mean_of, const float *inverse_of, const float *scale_of,
                           const float *shift_of, float *room, long pixels, long channels, long is_activated, long threads)
{
    Layout layout = layout_of(pixels, channels);
    long rows = layout.rows, width = layout.width;
    float *mean = room + 2 * threads * width, *scale = mean + width, *shift = scale + width, *slope = shift + width;
    float *constant = slope + width;
    for (long c = 0; c < width; c++) {
        mean[c] = mean_of[c % channels];
        scale[c] = scale_of[c % channels];
        shift[c] = shift_of[c % channels];
    }
    #pragma omp parallel for schedule(static, 1) num_threads(threads)
    for (long t = 0; t < threads; t++) {
        long first = rows * t / threads, count = rows * (t + 1) / threads - first, place = first * width;
        const stored *given = gradient + place, *own = x + place;
        float *sum = room + 2 * t * width, *product = sum + width;
        if (y) gradients_of(FROM_Y, given, own, y + place, entered + place, count, width, mean, scale, shift, sum, product);
        else if (is_activated) gradients_of(FROM_X, given, own, own, to_x, count, width, mean, scale, shift, sum, product);
        else gradients_of(EVERYWHERE, given, own, own, to_x, count, width, mean, scale, shift, sum, product);
    }
    for (long channel = 0; channel < channels; channel++) {
        double sum = 0, product = 0, inverse = inverse_of[channel];
        for (long t = 0; t < threads; t++)
            for (long c = channel; c < width; c += channels) {
                sum += room[2 * t * width + c];
                product += room[(2 * t + 1) * width + c];
            }
        double own_slope = -scale_of[channel] * inverse * inverse * product / pixels;
        to_beta[channel] = sum;
        to_gamma[channel] = product * inverse;
        for (long c = channel; c < width; c += channels) {
            slope[c] = own_slope;
            constant[c] = -scale_of[channel] * sum / pixels - own_slope * mean_of[channel];
        }
    }
    #pragma omp parallel for schedule(static, 1) num_threads(threads)
    for (long t = 0; t < threads; t++) {
        long first = rows * t / threads, count = rows * (t + 1) / threads - first, place = first * width;
        const stored *given = y ? entered + place : gradient + place;
        if (is_activated && !y) transform_gradient(FROM_X, given, x + place, to_x + place, count, width, scale, shift, slope, constant);
        else transform_gradient(EVERYWHERE, given, x + place, to_x + place, count, width, scale, shift, slope, constant);
    }
}
