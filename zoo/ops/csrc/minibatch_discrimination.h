/* Minibatch discrimination, o[i,b] = sum over j of exp(-sum over c of |M[i,b,c] - M[j,b,c]|), and its gradient.
 *
 * Arrays are row-major: M [examples, kernels, channels], o [examples, kernels]. Real numbers are float or double. */
#ifndef IGAN_ZOO_MINIBATCH_DISCRIMINATION_H
#define IGAN_ZOO_MINIBATCH_DISCRIMINATION_H

#include <stdbool.h>
#include <stddef.h>

enum precision { SINGLE_PRECISION, DOUBLE_PRECISION, PRECISIONS };

struct shape {
    size_t examples, kernels, channels;
};

/* Computes one kernel b: reads activations[:, b, :], and backward also grad_output[:, b], and writes result[:, b],
 * which is o forward and the gradient of M backward. Scratch memory is aligned to 64 bytes. */
typedef void kernel_function(const void *activations, const void *grad_output, void *result, struct shape shape,
                             size_t kernel, void *scratch);

/* The same algorithm compiled for one instruction set. */
struct implementation {
    const char *name;
    size_t vector_bytes;
    kernel_function *forward[PRECISIONS];
    kernel_function *backward[PRECISIONS];
};

/* Returns the implementations that this processor can run, slowest first, and then NULL. There is always one. */
const struct implementation *const *usable_implementations(void);

/* Runs forward (grad_output is NULL) or backward for all kernels on so many threads. Each kernel is computed by one
 * thread, so the bits of the result do not depend on their number. Returns false where there is no memory. */
bool minibatch_discrimination(const struct implementation *implementation, enum precision precision,
                              const void *activations, const void *grad_output, void *result, struct shape shape,
                              int threads);

#endif
