/* Convolution, and the gradient of its kernel (`models.torch_cpu.Convolution`).

   Some rows of the input are brought into a slab, with the zeros around them; the kernel, or for its gradient the gradient of these
   rows' output, into panels of FILTERS channels. The sums of a tile of PAIRED x FILTERS products stay in registers. */

#include <stdlib.h>
#include <string.h>

#include "lanes.h"

enum {
    FILTERS = 2 * LANES,
    PAIRED = 6,      /* numbers of a window, or pixels, that meet FILTERS: 12 sums, as many as the registers hold */
    SLAB = 1 << 15,  /* numbers of input and gradient in a slab, so that a core's own cache holds it */
};

/* Call a function with a constant for `number`, which is from 1 to PAIRED, as its first argument. */
#define WITH_CONSTANT(function, number, ...)                 \
    switch (number) {                                        \
    case 1: function(1, __VA_ARGS__); break;                 \
    case 2: function(2, __VA_ARGS__); break;                 \
    case 3: function(3, __VA_ARGS__); break;                 \
    case 4: function(4, __VA_ARGS__); break;                 \
    case 5: function(5, __VA_ARGS__); break;                 \
    default: function(PAIRED, __VA_ARGS__);                  \
    }

typedef struct {
    long height, width, channels;        /* the input's shape */
    long rows, columns, filters;         /* the output's */
    long tall, wide;                     /* the kernel's */
    long stride, top, left;
} Convolution;

typedef struct {
    float *input;
    long images, rows;      /* of the output, at most */
    long lines, pixels;     /* of the input: lines of an image, pixels of a line */
} Slab;

/* Copy the lines which `rows` of the output read, from `first` on, with zeros around them. */
static void bring_input(const Convolution *of, const Slab *slab, const float *x, long images, long first, long rows)
{
    long number = of->channels, length = slab->pixels * number, copied = least(of->width, slab->pixels - of->left);
    for (long image = 0; image < images; image++)
        for (long i = 0; i < (rows - 1) * of->stride + of->tall; i++) {
            long y = first * of->stride - of->top + i;
            float *line = slab->input + (image * slab->lines + i) * length, *inside = line + of->left * number;
            if (y < 0 || y >= of->height) {
                memset(line, 0, length * sizeof(float));
                continue;
            }
            memset(line, 0, of->left * number * sizeof(float));
            memcpy(inside, x + (image * of->height + y) * of->width * number, copied * number * sizeof(float));
            memset(inside + copied * number, 0, (slab->pixels - of->left - copied) * number * sizeof(float));
        }
}

/* Copy the gradient of `rows` of the output, from `first` on, to panels: FILTERS channels of all pixels, then the next ones. */
static void bring_gradient(const Convolution *of, float *panels, const float *gradient, long images, long first, long rows)
{
    long pixels = rows * of->columns;
    for (long image = 0; image < images; image++)
        for (long pixel = 0; pixel < pixels; pixel++) {
            const float *values = gradient + ((image * of->rows + first) * of->columns + pixel) * of->filters;
            float *panel = panels + (image * pixels + pixel) * FILTERS;
            for (long filter = 0; filter < of->filters; filter += FILTERS, panel += images * pixels * FILTERS)
                memcpy(panel, values + filter, FILTERS * sizeof(float));
        }
}

/* Add to `total` (count, FILTERS of all) the products of so many numbers of every window with the window's pixel of `panel`. */
INLINE void multiply(const int count, const Convolution *of, const Slab *slab, const float *windows, const float *panel,
                     float *total, long images, long rows)
{
    long column_step = of->stride * of->channels, row_step = slab->pixels * column_step;
    long image_step = slab->lines * slab->pixels * of->channels;
    lanes sum[PAIRED][2] = {0};
    for (long image = 0; image < images; image++)
        for (long row = 0; row < rows; row++) {
            const float *window = windows + image * image_step + row * row_step;
            for (long column = 0; column < of->columns; column++, window += column_step, panel += FILTERS) {
                lanes left = *at(panel), right = *at(panel + LANES);
                UNROLLED for (int i = 0; i < count; i++) {
                    sum[i][0] += window[i] * left;
                    sum[i][1] += window[i] * right;
                }
            }
        }
    UNROLLED for (int i = 0; i < count; i++) {
        *at(total + i * of->filters) += sum[i][0];
        *at(total + i * of->filters + LANES) += sum[i][1];
    }
}

/* Add a slab's products to the kernel's gradient `total` (tall, wide * C_in, C_out); a window's row is contiguous in the slab. */
static void add_products(const Convolution *of, const Slab *slab, const float *panels, float *total, long images, long rows)
{
    long across = of->wide * of->channels, pixels = images * rows * of->columns;
    for (long filter = 0; filter < of->filters; filter += FILTERS)
        for (long tap = 0; tap < of->tall; tap++)
            for (long i = 0; i < across; i += PAIRED) {
                const float *windows = slab->input + tap * slab->pixels * of->channels + i, *panel = panels + filter * pixels;
                float *sums = total + (tap * across + i) * of->filters + filter;
                WITH_CONSTANT(multiply, least(PAIRED, across - i), of, slab, windows, panel, sums, images, rows)
            }
}

/* Make room for a slab of at most `images` images. Returns whether memory is lacking. */
static int make_slab(const Convolution *of, Slab *slab, long images)
{
    long rows = SLAB / (of->channels + of->filters) / of->columns;
    slab->rows = rows < 1 ? 1 : least(rows, of->rows);
    slab->images = rows < of->rows ? 1 : least(rows / of->rows, images);
    slab->lines = (slab->rows - 1) * of->stride + of->tall;
    slab->pixels = (of->columns - 1) * of->stride + of->wide;
    slab->input = malloc(slab->images * slab->lines * slab->pixels * of->channels * sizeof(float));
    return !slab->input;
}

/* Add the products of images from `first` to `last`. Returns whether memory is lacking. */
static int add_images(const Convolution *of, const float *x, const float *gradient, float *total, long first, long last)
{
    Slab slab;
    int failed = make_slab(of, &slab, last - first);
    float *panels = malloc(slab.images * slab.rows * of->columns * of->filters * sizeof(float));
    failed |= !panels;
    for (long image = first; image < last && !failed; image += slab.images)
        for (long row = 0; row < of->rows; row += slab.rows) {
            long images = least(slab.images, last - image), rows = least(slab.rows, of->rows - row);
            bring_input(of, &slab, x + image * of->height * of->width * of->channels, images, row, rows);
            bring_gradient(of, panels, gradient + image * of->rows * of->columns * of->filters, images, row, rows);
            add_products(of, &slab, panels, total, images, rows);
        }
    free(slab.input);
    free(panels);
    return failed;
}

/* Write the gradient of a kernel, in the order C_out, tall, wide, C_in, for the gradient of the output (N, rows, columns, C_out).

   C_out is a multiple of FILTERS. `top` and `left` are the rows and columns of zeros before the input x; behind it zeros follow as far
   as they are read. The images' sums are taken in so many parts, and added in `totals`, which has room for that many results.
   Returns whether memory is lacking. */
int kernel_gradient(const float *x, const float *gradient, float *result, float *totals, long count, long height, long width,
                    long channels, long rows, long columns, long filters, long tall, long wide, long stride, long top, long left,
                    long threads, long parts)
{
    Convolution of = {height, width, channels, rows, columns, filters, tall, wide, stride, top, left};
    long taps = tall * wide * channels;
    int failed = 0;
    #pragma omp parallel for schedule(dynamic) num_threads(threads) reduction(|:failed)
    for (long part = 0; part < parts; part++) {
        float *total = totals + part * taps * filters;
        memset(total, 0, taps * filters * sizeof(float));
        failed |= add_images(&of, x, gradient, total, count * part / parts, count * (part + 1) / parts);
    }
    #pragma omp parallel for schedule(static) num_threads(threads)
    for (long first = 0; first < filters; first += FILTERS)
        for (long tap = 0; tap < taps; tap++)
            for (long filter = first; filter < first + FILTERS; filter++) {
                float sum = 0;
                for (long part = 0; part < parts; part++) sum += totals[(part * taps + tap) * filters + filter];
                result[filter * taps + tap] = sum;
            }
    return failed;
}

/* Write `count` pixels of the result, FILTERS of all: sums over windows side by side, of their products with a panel of the kernel. */
INLINE void convolve_pixels(const int count, const Convolution *of, const Slab *slab, const float *windows, const float *panel,
                            float *y)
{
    long across = of->wide * of->channels, step = of->stride * of->channels, line = slab->pixels * of->channels;
    lanes sum[PAIRED][2] = {0};
    for (long tap = 0; tap < of->tall; tap++, windows += line)
        for (long i = 0; i < across; i++, panel += FILTERS) {
            lanes left = *at(panel), right = *at(panel + LANES);
            UNROLLED for (int pixel = 0; pixel < count; pixel++) {
                float value = windows[pixel * step + i];
                sum[pixel][0] += value * left;
                sum[pixel][1] += value * right;
            }
        }
    UNROLLED for (int pixel = 0; pixel < count; pixel++) {
        *at(y + pixel * of->filters) = sum[pixel][0];
        *at(y + pixel * of->filters + LANES) = sum[pixel][1];
    }
}

static void convolve_row(const Convolution *of, const Slab *slab, const float *line, const float *panel, float *y)
{
    for (long column = 0, count; column < of->columns; column += count) {
        const float *windows = line + column * of->stride * of->channels;
        float *place = y + column * of->filters;
        long left = of->columns - column;
        count = left == 8 ? 4 : least(left, PAIRED); /* 4 and 4 keep more sums at work than 6 and 2 */
        WITH_CONSTANT(convolve_pixels, count, of, slab, windows, panel, place)
    }
}

static int convolve_images(const Convolution *of, const float *x, const float *panels, float *y, long first, long last)
{
    Slab slab;
    int failed = make_slab(of, &slab, 1);
    for (long image = first; image < last && !failed; image++)
        for (long row = 0; row < of->rows; row += slab.rows) {
            long rows = least(slab.rows, of->rows - row);
            bring_input(of, &slab, x + image * of->height * of->width * of->channels, 1, row, rows);
            for (long filter = 0; filter < of->filters; filter += FILTERS)
                for (long i = 0; i < rows; i++)
                    convolve_row(of, &slab, slab.input + i * of->stride * slab.pixels * of->channels,
                                 panels + filter * of->tall * of->wide * of->channels,
                                 y + ((image * of->rows + row + i) * of->columns) * of->filters + filter);
        }
    free(slab.input);
    return failed;
}

/* Write the convolution y (N, rows, columns, C_out) of x with a kernel in the order C_out, tall, wide, C_in; the rest is as above.

   `panels` has room for a copy of the kernel, `parts` is how many parts of the images the threads take one after the other. */
int convolve(const float *x, const float *kernel, float *y, float *panels, long count, long height, long width, long channels,
             long rows, long columns, long filters, long tall, long wide, long stride, long top, long left, long threads, long parts)
{
    Convolution of = {height, width, channels, rows, columns, filters, tall, wide, stride, top, left};
    long taps = tall * wide * channels;
    int failed = 0;
    for (long filter = 0; filter < filters; filter++)
        for (long tap = 0; tap < taps; tap++)
            panels[(filter / FILTERS * taps + tap) * FILTERS + filter % FILTERS] = kernel[filter * taps + tap];
    #pragma omp parallel for schedule(dynamic) num_threads(threads) reduction(|:failed)
    for (long part = 0; part < parts; part++)
        failed |= convolve_images(&of, x, panels, y, count * part / parts, count * (part + 1) / parts);
    return failed;
}
