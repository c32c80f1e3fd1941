#include "jpeg_eighth.h"

#include <string.h>

enum {
    BLOCK = 64,      /* coefficients */
    LAST = 128,      /* a flag of an advance: the block ends here */
    SOF0 = 0xC0, SOF1 = 0xC1, DHT = 0xC4, RST0 = 0xD0, SOI = 0xD8, EOI = 0xD9, SOS = 0xDA, DQT = 0xDB, DRI = 0xDD,
    APP0 = 0xE0,
};

static size_t divided_up(size_t number, size_t by) { return (number + by - 1) / by; }

static unsigned two_bytes(const uint8_t *at) { return (unsigned)at[0] << 8 | at[1]; }

/* Sets the lookups of a table from its counts and symbols. False where its codes are more than there can be. */
static bool build_codes(struct jpeg_table *table)
{
    unsigned code = 0;
    const uint8_t *symbol = table->symbols;
    memset(table->code, 0, sizeof table->code);
    for (int length = 1; length <= 16; length++, code <<= 1)
        for (int number = 0; number < table->counts[length]; number++, code++, symbol++) {
            if (code >= 1u << length)
                return false;
            if (length > JPEG_LOOKUP_BITS)
                continue;
            unsigned left = JPEG_LOOKUP_BITS - length;
            for (unsigned index = code << left; index < (code + 1) << left; index++) {
                table->code[index].length = (uint8_t)length;
                table->code[index].symbol = *symbol;
            }
        }
    return true;
}

/* An advance counts coefficients, and one for the code that ends a block, so that it never goes past the block's end
 * where all its codes are the block's. A code that means nothing, or is longer than the index, has no bits. */
static void build_skips(struct jpeg_table *table)
{
    for (unsigned index = 0; index < 1u << JPEG_LOOKUP_BITS; index++) {
        unsigned bits = 0, advance = 0, first_bits = 0, first_advance = 0;
        while (bits < JPEG_LOOKUP_BITS && advance < BLOCK) {
            unsigned next = index << bits & ((1u << JPEG_LOOKUP_BITS) - 1);
            unsigned length = table->code[next].length, symbol = table->code[next].symbol;
            unsigned run = symbol >> 4, size = symbol & 15;
            if (length == 0 || length > JPEG_LOOKUP_BITS - bits || (size == 0 && run != 0 && run != 15))
                break;
            bits += length + size;
            advance += size != 0 || run == 15 ? run + 1 : 1 | LAST;
            if (first_bits == 0)
                first_bits = bits, first_advance = advance;
            if (advance & LAST)
                break;
        }
        table->skip[index].bits = (uint8_t)bits;
        table->skip[index].advance = (uint8_t)advance;
        table->skip[index].first_bits = (uint8_t)first_bits;
        table->skip[index].first_advance = (uint8_t)first_advance;
    }
}

static bool read_tables(struct jpeg *jpeg, const uint8_t *at, const uint8_t *end)
{
    while (at < end) {
        if (end - at < 17 || (at[0] & 0xEF) > 3)
            return false;
        bool ac = at[0] >> 4;
        struct jpeg_table *table = (ac ? jpeg->ac : jpeg->dc) + (at[0] & 3);
        size_t symbols = 0;
        for (int length = 1; length <= 16; length++)
            symbols += table->counts[length] = at[length];
        at += 17;
        if (symbols > sizeof table->symbols || (size_t)(end - at) < symbols)
            return false;
        memcpy(table->symbols, at, symbols);
        at += symbols;
        if (!build_codes(table))
            return false;
        if (ac)
            build_skips(table);
        table->there = true;
    }
    return true;
}

static bool read_quanta(struct jpeg *jpeg, const uint8_t *at, const uint8_t *end)
{
    while (at < end) {
        bool wide = at[0] >> 4;
        size_t size = 1 + BLOCK * (wide ? 2 : 1);
        if ((at[0] & 0xEF) > 3 || (size_t)(end - at) < size)
            return false;
        jpeg->first_quantum[at[0] & 3] = (uint16_t)(wide ? two_bytes(at + 1) : at[1]);
        at += size;
    }
    return true;
}

static bool read_frame(struct jpeg *jpeg, const uint8_t *at, const uint8_t *end)
{
    if (jpeg->components != 0 || end - at < 6 || at[0] != 8)
        return false;
    jpeg->height = two_bytes(at + 1), jpeg->width = two_bytes(at + 3), jpeg->components = at[5];
    at += 6;
    if (jpeg->width == 0 || jpeg->height == 0 || (jpeg->components != 1 && jpeg->components != JPEG_COMPONENTS) ||
        end - at != 3 * jpeg->components)
        return false;
    for (struct jpeg_component *one = jpeg->component; at < end; one++, at += 3) {
        *one = (struct jpeg_component){.id = at[0], .across = at[1] >> 4, .down = at[1] & 15, .quantization = at[2]};
        /* One component alone is stored block by block, whatever it says. */
        if (jpeg->components == 1)
            one->across = one->down = 1;
        const struct jpeg_component *first = jpeg->component;
        if (one->across < 1 || one->down < 1 || one->across > 2 || one->down > 2 || one->quantization > 3 ||
            one->across > first->across || one->down > first->down)
            return false;
        one->plane.width = divided_up(jpeg->width * one->across, 8 * (size_t)first->across);
        one->plane.height = divided_up(jpeg->height * one->down, 8 * (size_t)first->down);
    }
    return true;
}

static bool read_scan(struct jpeg *jpeg, const uint8_t *at, const uint8_t *end)
{
    static const uint8_t whole[] = {0, BLOCK - 1, 0};
    int components = jpeg->components;
    if (components == 0 || end - at != 4 + 2 * components || at[0] != components ||
        memcmp(end - sizeof whole, whole, sizeof whole) != 0)
        return false;
    at++;
    for (struct jpeg_component *one = jpeg->component; one < jpeg->component + components; one++, at += 2) {
        if (at[0] != one->id || (at[1] & 0xCC) != 0)
            return false;
        one->dc = &jpeg->dc[at[1] >> 4], one->ac = &jpeg->ac[at[1] & 15];
        if (!one->dc->there || !one->ac->there || jpeg->first_quantum[one->quantization] == 0)
            return false;
    }
    return true;
}

bool jpeg_read_header(struct jpeg *jpeg, const uint8_t *content, size_t size)
{
    memset(jpeg, 0, sizeof *jpeg);
    const uint8_t *at = content, *end = content + size;
    if (size < 4 || two_bytes(at) != (0xFF00 | SOI))
        return false;
    for (at += 2; end - at >= 4 && at[0] == 0xFF;) {
        uint8_t marker = at[1];
        unsigned length = two_bytes(at + 2);
        if (length < 2 || (size_t)(end - at - 2) < length)
            return false;
        const uint8_t *body = at + 4;
        at += 2 + length;
        if (marker == SOS) {
            jpeg->at = at, jpeg->end = end;
            return read_scan(jpeg, body, at);
        }
        /* Else another kind of frame, arithmetic codes, a height that comes later, or what has no length. */
        bool good = marker >= APP0 && marker < 0xFF;
        if (marker == SOF0 || marker == SOF1)
            good = read_frame(jpeg, body, at);
        else if (marker == DHT)
            good = read_tables(jpeg, body, at);
        else if (marker == DQT)
            good = read_quanta(jpeg, body, at);
        else if (marker == DRI && length == 4) {
            jpeg->restart_interval = two_bytes(body);
            good = true;
        }
        if (!good)
            return false;
    }
    return false;
}

/* The next bits of the entropy-coded data, from the highest of `held` on: `count` of them, the last `missing` of which
 * are behind a marker, or the end, and are zero. Up to `plain` eight bytes can be read of which none is 0xFF. */
struct reader {
    const uint8_t *at, *plain, *end;
    uint64_t held;
    int count, missing;
};

static inline uint64_t eight_bytes(const uint8_t *at)
{
    uint64_t bytes = 0;
    for (int number = 0; number < 8; number++)
        bytes = bytes << 8 | at[number];
    return bytes;
}

/* By value, so that the reader of the caller can be in registers. */
__attribute__((noinline)) static struct reader filled_by_bytes(struct reader reader)
{
    while (reader.count <= 56) {
        const uint8_t *at = reader.at;
        bool there = at < reader.end, escaped = there && at[0] == 0xFF;
        if (there && (!escaped || (reader.end - at >= 2 && at[1] == 0))) {
            reader.held |= (uint64_t)at[0] << (56 - reader.count);
            reader.at += escaped ? 2 : 1;
        } else
            reader.missing += 8;
        reader.count += 8;
    }
    if (reader.at < reader.end) {
        const uint8_t *next = memchr(reader.at, 0xFF, (size_t)(reader.end - reader.at));
        next = next == NULL ? reader.end : next;
        reader.plain = next - reader.at >= 8 ? next - 8 : NULL;
    } else
        reader.plain = NULL;
    return reader;
}

/* Takes in bits until there are more than 56, and 31 are enough for a code and what follows it. */
static inline void fill(struct reader *reader)
{
    if (reader->at <= reader->plain) {
        reader->held |= eight_bytes(reader->at) >> reader->count;
        reader->at += (63 - reader->count) >> 3;
        reader->count |= 56;
    } else
        *reader = filled_by_bytes(*reader);
}

static inline void drop(struct reader *reader, unsigned bits)
{
    reader->held <<= bits;
    reader->count -= (int)bits;
}

/* Returns the length of the next code and its symbol, or 0 where there is no such code. */
static inline unsigned next_code(uint64_t held, const struct jpeg_table *table, unsigned *symbol)
{
    unsigned index = (unsigned)(held >> (64 - JPEG_LOOKUP_BITS));
    *symbol = table->code[index].symbol;
    if (table->code[index].length != 0)
        return table->code[index].length;
    unsigned first = 0, passed = 0;
    for (unsigned length = 1; length <= 16; length++) {
        unsigned code = (unsigned)(held >> (64 - length)), count = table->counts[length];
        if (code - first < count) {
            *symbol = table->symbols[passed + code - first];
            return length;
        }
        passed += count;
        first = (first + count) << 1;
    }
    return 0;
}

/* Adds what the first coefficient of a block differs from that of the block before; takes at most 27 bits. */
static inline bool add_difference(struct reader *reader, const struct jpeg_table *table, int *before)
{
    unsigned size, length = next_code(reader->held, table, &size);
    if (length == 0 || size > 11)
        return false;
    int bits = (int)(reader->held << length >> 1 >> (63 - size)), half = 1 << size >> 1;
    drop(reader, length + size);
    *before += bits < half ? bits - (1 << size) + 1 : bits;
    return true;
}

/* Skips coefficients; takes at most 31 bits. */
static inline bool skip_some(struct reader *reader, const struct jpeg_table *table, unsigned *position)
{
    unsigned index = (unsigned)(reader->held >> (64 - JPEG_LOOKUP_BITS));
    unsigned bits = table->skip[index].bits, advance = table->skip[index].advance;
    if (*position + (advance & (LAST - 1)) > BLOCK)
        bits = table->skip[index].first_bits, advance = table->skip[index].first_advance;
    if (bits == 0) {
        unsigned symbol, length = next_code(reader->held, table, &symbol), run = symbol >> 4, size = symbol & 15;
        if (length == 0 || (size == 0 && run != 0 && run != 15))
            return false;
        bits = length + size;
        advance = size != 0 || run == 15 ? run + 1 : 1 | LAST;
    }
    drop(reader, bits);
    *position += advance;
    return (*position & (LAST - 1)) <= BLOCK;
}

/* Reads a block and adds to `before` what its first coefficient differs from that of the block before. */
static inline bool read_block(struct reader *reader, const struct jpeg_component *one, int *before)
{
    unsigned position = 1;
    fill(reader);
    if (!add_difference(reader, one->dc, before))
        return false;
    do {
        fill(reader);
        if (!skip_some(reader, one->ac, &position))
            return false;
    } while (position < BLOCK);
    return reader->missing <= reader->count && *before >= INT16_MIN && *before <= INT16_MAX;
}

/* Writes the pixel that libjpeg makes of a first coefficient: its reduced inverse transform of one. */
static inline bool write_pixel(struct jpeg_plane *plane, size_t x, size_t y, int coefficient)
{
    int value = ((coefficient + 4) >> 3) + 128;
    if (value < -384 || value > 639) /* libjpeg wraps around there */
        return false;
    /* Blocks that fill up the last MCU are no pixels. */
    if (x < plane->width && y < plane->height)
        plane->pixels[y * plane->width + x] = (uint8_t)(value < 0 ? 0 : value > 255 ? 255 : value);
    return true;
}

static inline bool read_unit(struct jpeg *jpeg, struct reader *reader, int *before, size_t column, size_t row)
{
    for (int number = 0; number < jpeg->components; number++) {
        struct jpeg_component *one = &jpeg->component[number];
        int quantum = jpeg->first_quantum[one->quantization];
        for (size_t y = 0; y < one->down; y++)
            for (size_t x = 0; x < one->across; x++)
                if (!read_block(reader, one, &before[number]) ||
                    !write_pixel(&one->plane, column * one->across + x, row * one->down + y, before[number] * quantum))
                    return false;
    }
    return true;
}

bool jpeg_read_planes(struct jpeg *jpeg)
{
    const struct jpeg_component *first = jpeg->component;
    size_t columns = divided_up(jpeg->width, 8 * (size_t)first->across);
    size_t total = columns * divided_up(jpeg->height, 8 * (size_t)first->down);
    size_t interval = jpeg->restart_interval > 0 ? jpeg->restart_interval : total;
    struct reader reader = {.at = jpeg->at, .end = jpeg->end};
    for (size_t unit = 0, restarts = 0; unit < total; restarts++) {
        int before[JPEG_COMPONENTS] = {0};
        reader.held = 0, reader.count = reader.missing = 0;
        for (size_t left = interval; left > 0 && unit < total; left--, unit++)
            if (!read_unit(jpeg, &reader, before, unit % columns, unit / columns))
                return false;
        /* Only the bits that fill up the last byte may be left before the marker. */
        reader = filled_by_bytes(reader);
        uint8_t marker = (uint8_t)(unit < total ? RST0 + restarts % 8 : EOI);
        if (reader.count - reader.missing >= 8 || reader.end - reader.at < 2 || reader.at[0] != 0xFF ||
            reader.at[1] != marker)
            return false;
        reader.at += 2;
    }
    return true;
}
