#ifndef __GNUC__
#error "igan_zoo.ops is written with the vector extensions of GCC and Clang; without them it uses its reference."
#endif

#include "minibatch_discrimination.h"

#include <math.h>
#include <omp.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

/* Lanes of two vectors `a` and `b` of four lanes, counted through both. */
#if __has_builtin(__builtin_shufflevector)
#define SHUFFLE(a, b, ...) __builtin_shufflevector(a, b, __VA_ARGS__)
#else /* GCC before 12 */
#define SHUFFLE(a, b, ...) __builtin_shuffle(a, b, (quad_integers){__VA_ARGS__})
#endif

#define NAME_OF_(symbol) #symbol
#define NAME_OF(symbol) NAME_OF_(symbol)

/* 16 bytes: SSE2 on x86-64, NEON on 64-bit ARM, and plain scalar code where there is nothing. */
#define SUFFIX baseline
#define VECTOR_BYTES 16
#define TARGET
#include "minibatch_discrimination_precisions.h"

#ifdef __x86_64__
#define SUFFIX avx2
#define VECTOR_BYTES 32
#define TARGET __attribute__((target("avx2,fma")))
#include "minibatch_discrimination_precisions.h"

#define SUFFIX avx512
#define VECTOR_BYTES 64
#define TARGET __attribute__((target("avx512f,avx512vl,avx512bw,avx512dq,avx2,fma")))
#include "minibatch_discrimination_precisions.h"
#endif

enum { ALIGNMENT = 64 };

const struct implementation *const *usable_implementations(void)
{
    static const struct implementation *usable[4];
    size_t count = 0;
    usable[count++] = &implementation_baseline_both;
#ifdef __x86_64__
    __builtin_cpu_init();
    const bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
    if (avx2)
        usable[count++] = &implementation_avx2_both;
    if (avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl") &&
        __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq"))
        usable[count++] = &implementation_avx512_both;
#endif
    return usable;
}

/* The scratch memory of one thread, as the kernel divides it up. */
static size_t scratch_bytes(const struct implementation *implementation, enum precision precision, bool backward,
                            struct shape shape)
{
    const size_t real = precision == SINGLE_PRECISION ? sizeof(float) : sizeof(double);
    const size_t lanes = implementation->vector_bytes / real;
    const size_t blocks = (shape.examples + lanes - 1) / lanes, channels = shape.channels | 1;
    const size_t vectors = blocks * (backward ? 2 * channels + 1 + 4 : channels + 1);
    return (vectors * implementation->vector_bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
}

bool minibatch_discrimination(const struct implementation *implementation, enum precision precision,
                              const void *activations, const void *grad_output, void *result, struct shape shape,
                              int threads)
{
    const bool backward = grad_output != NULL;
    kernel_function *function = (backward ? implementation->backward : implementation->forward)[precision];
    const size_t bytes = scratch_bytes(implementation, precision, backward, shape);
    if ((size_t)threads > shape.kernels)
        threads = (int)shape.kernels;
    char *scratch = aligned_alloc(ALIGNMENT, bytes * (size_t)threads);
    if (scratch == NULL)
        return false;
#pragma omp parallel num_threads(threads)
    {
        void *own = scratch + bytes * (size_t)omp_get_thread_num();
#pragma omp for schedule(static)
        for (size_t kernel = 0; kernel < shape.kernels; kernel++)
            function(activations, grad_output, result, shape, kernel, own);
    }
    free(scratch);
    return true;
}
