/* A photo at an eighth of its size from its JPEG file, without what libjpeg does for the coefficients it then drops.
 *
 * At an eighth every block of 8x8 pixels is one pixel, its mean, which is the first of 64 coefficients. libjpeg decodes
 * the others bit by bit all the same; here they are skipped, several at a time.
 */
#ifndef IGAN_ZOO_JPEG_EIGHTH_H
#define IGAN_ZOO_JPEG_EIGHTH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { JPEG_COMPONENTS = 3, JPEG_LOOKUP_BITS = 11 };

/* One component at an eighth of its own size: rows of `width` bytes. */
struct jpeg_plane {
    size_t width, height;
    uint8_t *pixels;
};

/* A Huffman table by the next bits of the file. */
struct jpeg_table {
    bool there;
    uint8_t counts[17], symbols[256];
    /* The first code: its length (0: longer than the index) and symbol. */
    struct { uint8_t length, symbol; } code[1 << JPEG_LOOKUP_BITS];
    /* Whole coefficients with their bits, as many as begin in the index, and the first alone; see build_skips. */
    struct { uint8_t bits, advance, first_bits, first_advance; } skip[1 << JPEG_LOOKUP_BITS];
};

struct jpeg_component {
    uint8_t id, across, down, quantization;
    const struct jpeg_table *dc, *ac;
    struct jpeg_plane plane;
};

struct jpeg {
    const uint8_t *at, *end;
    int components;
    struct jpeg_component component[JPEG_COMPONENTS];
    size_t width, height, restart_interval;
    uint16_t first_quantum[4];
    struct jpeg_table dc[4], ac[4];
};

/* Reads the header of a file. False where it is anything but 8-bit baseline in one scan of 1 or 3 components, the first
 * of which has as many pixels as any: whoever asks lets libjpeg decode it, and say what is wrong. */
bool jpeg_read_header(struct jpeg *jpeg, const uint8_t *content, size_t size);

/* Writes the planes, whose memory the caller has given. False at the first thing that is not regular. */
bool jpeg_read_planes(struct jpeg *jpeg);

#endif
