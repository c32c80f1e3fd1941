/* One kernel of minibatch discrimination, as a template: included once for each precision and instruction set.
 *
 * Expects REAL, INTEGER (as wide as REAL) with INTEGER_MIN and INTEGER_MAX, VECTOR_BYTES, TARGET (a function attribute),
 * NAME(symbol), and of the number format MANTISSA_BITS, EXPONENT_BIAS, LARGEST_DISTANCE, LN2_HIGH, LN2_LOW, EXP_TERMS.
 *
 * Activations are first transposed to [blocks, channels, LANES], a block being as many examples as a vector has lanes,
 * so that the loop over j is a loop over vectors. Lanes beyond the last example hold infinity: their distance to every
 * example is infinite and their share exactly 0. Only pairs of blocks on and above the diagonal are visited. ROWS
 * examples i, always of one block, are taken together; rows beyond the last example meet nothing but their own block,
 * the last one, and spoil only themselves. */

#define LANES (VECTOR_BYTES / sizeof(REAL))
#define ROWS (LANES < 4 ? LANES : 4)
#define vector NAME(vector)
#define integers NAME(integers)
#define INLINE TARGET static inline __attribute__((always_inline))

typedef REAL vector __attribute__((vector_size(VECTOR_BYTES), may_alias));
typedef INTEGER integers __attribute__((vector_size(VECTOR_BYTES), may_alias));

/* Returns exp(-distance) for distances from 0 on: 0 where the result would not be a normal number, NaN for NaN.
 * exp(-d) = 2^n exp(r), n = round(-d / ln 2), r = -d - n ln 2, and exp(r) is a Taylor polynomial on |r| <= ln(2) / 2. */
INLINE vector NAME(exp_of_minus)(vector distance)
{
    /* Adding this rounds to an integer and leaves n + EXPONENT_BIAS in the lowest bits. */
    const REAL shifter = (REAL)1.5 * (REAL)((INTEGER)1 << MANTISSA_BITS) + EXPONENT_BIAS;
    static const REAL reciprocals[] = {EXP_TERMS};
    const size_t terms = sizeof reciprocals / sizeof *reciprocals;

    vector shifted = distance * (REAL)-1.4426950408889634 + shifter;
    vector n = shifted - shifter;
    vector r = n * -(REAL)LN2_HIGH - distance;
    r = n * -(REAL)LN2_LOW + r;
    vector exp_r = r * reciprocals[0] + reciprocals[1];
    for (size_t k = 2; k < terms; k++)
        exp_r = exp_r * r + reciprocals[k];
    vector power = (vector)((integers)shifted << MANTISSA_BITS);
    return (vector)((integers)(exp_r * power) & ~(integers)(distance > (REAL)LARGEST_DISTANCE));
}

INLINE REAL NAME(sum_of_lanes)(vector value)
{
    for (size_t half = LANES / 2; half > 0; half /= 2)
        for (size_t lane = 0; lane < half; lane++)
            value[lane] += value[lane + half];
    return value[0];
}

/* Distances of ROWS examples, `row` being the first one's first channel, to the examples of one block. */
INLINE void NAME(distances)(const REAL *row, const REAL *block, size_t channels, vector result[ROWS])
{
    for (size_t r = 0; r < ROWS; r++)
        result[r] = (vector){0};
    for (size_t c = 0; c < channels; c++) {
        vector others = *(const vector *)(block + c * LANES);
        for (size_t r = 0; r < ROWS; r++)
            result[r] += (vector)((integers)(others - row[c * LANES + r]) & INTEGER_MAX);
    }
}

/* sign(difference) * weight with sign(0) = 0. */
INLINE vector NAME(with_sign_of)(vector difference, vector weight)
{
    integers flipped = (integers)weight ^ ((integers)difference & INTEGER_MIN);
    return (vector)(flipped & (integers)(difference != (REAL)0));
}

/* Reals from one block to the next. An odd number of vectors, lest the blocks of one channel share a few cache sets. */
INLINE size_t NAME(pitch)(size_t channels) { return (channels | 1) * LANES; }

/* Copies array[:, 0, :] of an [examples, ?, channels] array, `step` reals from one example to the next, to blocks. */
INLINE void NAME(gather)(const REAL *array, size_t step, size_t examples, size_t channels, size_t pitch, REAL padding,
                         REAL *blocks)
{
    for (size_t first = 0; first < examples; first += LANES, blocks += pitch)
        for (size_t c = 0; c < channels; c++)
            for (size_t lane = 0; lane < LANES; lane++)
                blocks[c * LANES + lane] = first + lane < examples ? array[(first + lane) * step + c] : padding;
}

/* The inverse of gather. */
INLINE void NAME(scatter)(const REAL *blocks, size_t step, size_t examples, size_t channels, size_t pitch, REAL *array)
{
    for (size_t i = 0; i < examples; i++)
        for (size_t c = 0; c < channels; c++)
            array[i * step + c] = blocks[i / LANES * pitch + c * LANES + i % LANES];
}

TARGET static void NAME(forward)(const void *activations, const void *grad_output, void *result, struct shape shape,
                                 size_t kernel, void *scratch)
{
    (void)grad_output;
    const size_t channels = shape.channels, step = shape.kernels * channels, pitch = NAME(pitch)(channels);
    const size_t count = (shape.examples + LANES - 1) / LANES;
    REAL *blocks = scratch;              /* [count, channels, LANES] */
    REAL *sums = blocks + count * pitch; /* [count, LANES] */
    NAME(gather)((const REAL *)activations + kernel * channels, step, shape.examples, channels, pitch, INFINITY, blocks);
    memset(sums, 0, count * sizeof(vector));

    for (size_t i = 0; i < shape.examples; i += ROWS) {
        const size_t diagonal = i / LANES;
        const REAL *row = blocks + diagonal * pitch + i % LANES;
        vector distances[ROWS], row_sums[ROWS];
        NAME(distances)(row, blocks + diagonal * pitch, channels, distances);
        for (size_t r = 0; r < ROWS; r++)
            row_sums[r] = NAME(exp_of_minus)(distances[r]);
        for (size_t block = diagonal + 1; block < count; block++) {
            vector column_sum = {0};
            NAME(distances)(row, blocks + block * pitch, channels, distances);
            for (size_t r = 0; r < ROWS; r++) {
                vector closeness = NAME(exp_of_minus)(distances[r]);
                row_sums[r] += closeness;
                column_sum += closeness;
            }
            *(vector *)(sums + block * LANES) += column_sum;
        }
        for (size_t r = 0; r < ROWS; r++)
            sums[i + r] += NAME(sum_of_lanes)(row_sums[r]);
    }
    NAME(scatter)(sums, shape.kernels, shape.examples, 1, LANES, (REAL *)result + kernel);
}

TARGET static void NAME(backward)(const void *activations, const void *grad_output, void *result, struct shape shape,
                                  size_t kernel, void *scratch)
{
    const size_t channels = shape.channels, step = shape.kernels * channels, pitch = NAME(pitch)(channels);
    const size_t count = (shape.examples + LANES - 1) / LANES;
    REAL *blocks = scratch;                   /* [count, channels, LANES] */
    REAL *gradient = blocks + count * pitch;  /* [count, channels, LANES] */
    REAL *upstream = gradient + count * pitch; /* [count, LANES] */
    REAL *weights = upstream + count * LANES; /* [count, ROWS, LANES] */
    NAME(gather)((const REAL *)activations + kernel * channels, step, shape.examples, channels, pitch, INFINITY, blocks);
    NAME(gather)((const REAL *)grad_output + kernel, shape.kernels, shape.examples, 1, LANES, 0, upstream);
    memset(gradient, 0, count * pitch * sizeof(REAL));

    for (size_t i = 0; i < shape.examples; i += ROWS) {
        const size_t diagonal = i / LANES;
        const REAL *row = blocks + diagonal * pitch + i % LANES;
        /* First what each pair weighs, (g[i] + g[j]) exp(-d[i,j]); then, for each channel, its sign. */
        for (size_t block = diagonal; block < count; block++) {
            vector distances[ROWS];
            NAME(distances)(row, blocks + block * pitch, channels, distances);
            for (size_t r = 0; r < ROWS; r++)
                *(vector *)(weights + (block * ROWS + r) * LANES) =
                    (*(vector *)(upstream + block * LANES) + upstream[i + r]) * NAME(exp_of_minus)(distances[r]);
        }
        for (size_t c = 0; c < channels; c++) {
            const REAL *others = blocks + c * LANES, *own = row + c * LANES;
            vector row_sums[ROWS];
            for (size_t r = 0; r < ROWS; r++)
                row_sums[r] = NAME(with_sign_of)(*(const vector *)(others + diagonal * pitch) - own[r],
                                                 *(vector *)(weights + (diagonal * ROWS + r) * LANES));
            for (size_t block = diagonal + 1; block < count; block++) {
                vector column_sum = {0};
                for (size_t r = 0; r < ROWS; r++) {
                    vector pull = NAME(with_sign_of)(*(const vector *)(others + block * pitch) - own[r],
                                                     *(vector *)(weights + (block * ROWS + r) * LANES));
                    row_sums[r] += pull;
                    column_sum += pull;
                }
                *(vector *)(gradient + block * pitch + c * LANES) -= column_sum;
            }
            for (size_t r = 0; r < ROWS; r++)
                gradient[diagonal * pitch + c * LANES + i % LANES + r] += NAME(sum_of_lanes)(row_sums[r]);
        }
    }
    NAME(scatter)(gradient, step, shape.examples, channels, pitch, (REAL *)result + kernel * channels);
}

#undef LANES
#undef ROWS
#undef vector
#undef integers
#undef INLINE
