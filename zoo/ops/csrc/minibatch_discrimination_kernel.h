/* One kernel of minibatch discrimination, as a template: included once for each precision and instruction set.
 *
 * Expects REAL, INTEGER (as wide as REAL) with INTEGER_MIN and INTEGER_MAX, VECTOR_BYTES, TARGET (a function
 * attribute), NAME(symbol), SHUFFLE, and of the number format MANTISSA_BITS, EXPONENT_BIAS, LARGEST_DISTANCE, LN2_HIGH,
 * LN2_LOW and EXP_TERMS.
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
#define quad NAME(quad)
#define quad_integers NAME(quad_integers)
#define INLINE TARGET static inline __attribute__((always_inline))

typedef REAL vector __attribute__((vector_size(VECTOR_BYTES), may_alias));
typedef INTEGER integers __attribute__((vector_size(VECTOR_BYTES), may_alias));
typedef REAL quad __attribute__((vector_size(4 * sizeof(REAL)), may_alias));
typedef INTEGER quad_integers __attribute__((vector_size(4 * sizeof(REAL))));

/* Turns distances from 0 on to exp(-distance): 0 where that would not be a normal number, NaN for NaN.
 * exp(-d) = 2^n exp(r), n = round(-d / ln 2), r = -d - n ln 2, and exp(r) is a polynomial on |r| <= ln(2) / 2. The
 * steps depend on one another, so the rows take each step together. */
INLINE void NAME(exp_of_minus)(vector rows[ROWS])
{
    /* Adding this rounds to an integer and leaves n + EXPONENT_BIAS in the lowest bits. */
    const REAL shifter = (REAL)1.5 * (REAL)((INTEGER)1 << MANTISSA_BITS) + EXPONENT_BIAS;
    static const REAL coefficients[] = {EXP_TERMS};
    const size_t terms = sizeof coefficients / sizeof *coefficients;
    vector shifted[ROWS], rest[ROWS], result[ROWS];

    for (size_t r = 0; r < ROWS; r++)
        shifted[r] = rows[r] * (REAL)-1.4426950408889634 + shifter;
    for (size_t r = 0; r < ROWS; r++) {
        vector n = shifted[r] - shifter;
        rest[r] = n * -(REAL)LN2_LOW + (n * -(REAL)LN2_HIGH - rows[r]);
    }
    for (size_t r = 0; r < ROWS; r++)
        result[r] = rest[r] * coefficients[0] + coefficients[1];
    for (size_t k = 2; k < terms; k++)
        for (size_t r = 0; r < ROWS; r++)
            result[r] = result[r] * rest[r] + coefficients[k];
    for (size_t r = 0; r < ROWS; r++) {
        vector power = (vector)((integers)shifted[r] << MANTISSA_BITS);
        rows[r] = (vector)((integers)(result[r] * power) & ~(integers)(rows[r] > (REAL)LARGEST_DISTANCE));
    }
}

/* Adds the sum over the lanes of each row's vector to sums[ROWS]. */
INLINE void NAME(add_lanes)(const vector rows[ROWS], REAL *sums)
{
    if (ROWS < 4) {
        for (size_t r = 0; r < ROWS; r++)
            for (size_t lane = 0; lane < LANES; lane++)
                sums[r] += rows[r][lane];
        return;
    }
    quad folded[4];
    for (size_t r = 0; r < 4; r++) {
        const quad *parts = (const quad *)&rows[r];
        folded[r] = parts[0];
        for (size_t part = 1; 4 * part < LANES; part++)
            folded[r] += parts[part];
    }
    /* Two steps of a transposition, each halving what is left to add. */
    quad first = SHUFFLE(folded[0], folded[1], 0, 4, 1, 5) + SHUFFLE(folded[0], folded[1], 2, 6, 3, 7);
    quad second = SHUFFLE(folded[2], folded[3], 0, 4, 1, 5) + SHUFFLE(folded[2], folded[3], 2, 6, 3, 7);
    *(quad *)sums += SHUFFLE(first, second, 0, 1, 4, 5) + SHUFFLE(first, second, 2, 3, 6, 7);
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
    for (size_t first = 0; first < examples; first += LANES, blocks += pitch, array += LANES * step) {
        const size_t lanes = examples - first < LANES ? examples - first : LANES;
        for (size_t lane = 0; lane < LANES; lane++)
            for (size_t c = 0; c < channels; c++)
                blocks[c * LANES + lane] = lane < lanes ? array[lane * step + c] : padding;
    }
}

/* The inverse of gather. */
INLINE void NAME(scatter)(const REAL *blocks, size_t step, size_t examples, size_t channels, size_t pitch, REAL *array)
{
    for (size_t i = 0; i < examples; i++) {
        const REAL *own = blocks + i / LANES * pitch + i % LANES;
        for (size_t c = 0; c < channels; c++)
            array[i * step + c] = own[c * LANES];
    }
}

TARGET static void NAME(forward)(const void *activations, const void *grad_output, void *result, struct shape shape,
                                 size_t kernel, void *scratch)
{
    (void)grad_output;
    const size_t channels = shape.channels, step = shape.kernels * channels, pitch = NAME(pitch)(channels);
    const size_t count = (shape.examples + LANES - 1) / LANES;
    REAL *blocks = scratch;              /* [count, channels, LANES] */
    REAL *sums = blocks + count * pitch; /* [count, LANES] */
    NAME(gather)((const REAL *)activations + kernel * channels, step, shape.examples, channels, pitch, INFINITY,
                 blocks);
    memset(sums, 0, count * sizeof(vector));

    for (size_t i = 0; i < shape.examples; i += ROWS) {
        const size_t diagonal = i / LANES;
        const REAL *row = blocks + diagonal * pitch + i % LANES;
        vector row_sums[ROWS];
        NAME(distances)(row, blocks + diagonal * pitch, channels, row_sums);
        NAME(exp_of_minus)(row_sums);
        for (size_t block = diagonal + 1; block < count; block++) {
            vector closeness[ROWS], column_sum = {0};
            NAME(distances)(row, blocks + block * pitch, channels, closeness);
            NAME(exp_of_minus)(closeness);
            for (size_t r = 0; r < ROWS; r++) {
                row_sums[r] += closeness[r];
                column_sum += closeness[r];
            }
            *(vector *)(sums + block * LANES) += column_sum;
        }
        NAME(add_lanes)(row_sums, sums + i);
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
    NAME(gather)((const REAL *)activations + kernel * channels, step, shape.examples, channels, pitch, INFINITY,
                 blocks);
    NAME(gather)((const REAL *)grad_output + kernel, shape.kernels, shape.examples, 1, LANES, 0, upstream);
    memset(gradient, 0, count * pitch * sizeof(REAL));

    for (size_t i = 0; i < shape.examples; i += ROWS) {
        const size_t diagonal = i / LANES;
        const REAL *row = blocks + diagonal * pitch + i % LANES;
        /* First what each pair weighs, (g[i] + g[j]) exp(-d[i,j]); then, for each channel, its sign. */
        for (size_t block = diagonal; block < count; block++) {
            vector closeness[ROWS];
            NAME(distances)(row, blocks + block * pitch, channels, closeness);
            NAME(exp_of_minus)(closeness);
            for (size_t r = 0; r < ROWS; r++)
                *(vector *)(weights + (block * ROWS + r) * LANES) =
                    (*(vector *)(upstream + block * LANES) + upstream[i + r]) * closeness[r];
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
            NAME(add_lanes)(row_sums, gradient + diagonal * pitch + c * LANES + i % LANES);
        }
    }
    NAME(scatter)(gradient, step, shape.examples, channels, pitch, (REAL *)result + kernel * channels);
}

#undef LANES
#undef ROWS
#undef vector
#undef integers
#undef quad
#undef quad_integers
#undef INLINE
