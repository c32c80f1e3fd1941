/* Both precisions of the kernel for one instruction set: expects VECTOR_BYTES, TARGET and SUFFIX. */

#define JOIN_(symbol, suffix, precision) symbol##_##suffix##_##precision
#define JOIN(symbol, suffix, precision) JOIN_(symbol, suffix, precision)

#define REAL float
#define INTEGER int32_t
#define INTEGER_MIN INT32_MIN
#define INTEGER_MAX INT32_MAX
#define MANTISSA_BITS 23
#define EXPONENT_BIAS 127
#define LARGEST_DISTANCE 87.0f /* exp(-87) = 1.6e-38, the smallest normal number is 1.2e-38 */
#define LN2_HIGH 0.693359375f  /* 9 bits: its products with integers are exact */
#define LN2_LOW -2.12194440e-4f
/* Minimax of degree 6 by Lawson's iteration: relative error 3e-9. */
#define EXP_TERMS 1.3814598e-3f, 8.3687168e-3f, 4.1668388e-2f, 1.6666521e-1f, 4.9999993e-1f, 1, 1
#define NAME(symbol) JOIN(symbol, SUFFIX, single)
#include "minibatch_discrimination_kernel.h"
#undef REAL
#undef INTEGER
#undef INTEGER_MIN
#undef INTEGER_MAX
#undef MANTISSA_BITS
#undef EXPONENT_BIAS
#undef LARGEST_DISTANCE
#undef LN2_HIGH
#undef LN2_LOW
#undef EXP_TERMS
#undef NAME

#define REAL double
#define INTEGER int64_t
#define INTEGER_MIN INT64_MIN
#define INTEGER_MAX INT64_MAX
#define MANTISSA_BITS 52
#define EXPONENT_BIAS 1023
#define LARGEST_DISTANCE 708.0 /* exp(-708) = 3.3e-308, the smallest normal number is 2.2e-308 */
#define LN2_HIGH 0.693147180369123816490 /* 33 bits */
#define LN2_LOW 1.90821492927058770002e-10
/* Taylor's of degree 13: relative error 4e-18. */
#define EXP_TERMS                                                                                              \
    1 / 6227020800.0, 1 / 479001600.0, 1 / 39916800.0, 1 / 3628800.0, 1 / 362880.0, 1 / 40320.0, 1 / 5040.0, \
        1 / 720.0, 1 / 120.0, 1 / 24.0, 1 / 6.0, 1 / 2.0, 1, 1
#define NAME(symbol) JOIN(symbol, SUFFIX, double)
#include "minibatch_discrimination_kernel.h"
#undef REAL
#undef INTEGER
#undef INTEGER_MIN
#undef INTEGER_MAX
#undef MANTISSA_BITS
#undef EXPONENT_BIAS
#undef LARGEST_DISTANCE
#undef LN2_HIGH
#undef LN2_LOW
#undef EXP_TERMS
#undef NAME

static const struct implementation JOIN(implementation, SUFFIX, both) = {
    .name = NAME_OF(SUFFIX),
    .vector_bytes = VECTOR_BYTES,
    .forward = {JOIN(forward, SUFFIX, single), JOIN(forward, SUFFIX, double)},
    .backward = {JOIN(backward, SUFFIX, single), JOIN(backward, SUFFIX, double)},
};

#undef JOIN
#undef JOIN_
#undef VECTOR_BYTES
#undef TARGET
#undef SUFFIX
