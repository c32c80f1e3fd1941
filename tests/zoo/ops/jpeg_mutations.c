/* Mutated JPEG files through the decoder at an eighth, for a build with sanitizers.
 *
 *     jpeg_mutations COUNT FILE...
 *
 * Prints how many of COUNT files had a header and how many of them had pixels. */
#include "jpeg_eighth.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { FILES = 64, MOST_PIXELS = 4000000, HEADER = 700 };

struct file {
    uint8_t *bytes;
    size_t size;
};

static uint64_t state = 88172645463325252u;

static size_t below(size_t bound)
{
    state ^= state << 13, state ^= state >> 7, state ^= state << 17; /* xorshift */
    return bound == 0 ? 0 : (size_t)(state % bound);
}

static struct file read_file(const char *path)
{
    struct file file = {malloc(1 << 20), 0};
    FILE *stream = fopen(path, "rb");
    if (stream == NULL || file.bytes == NULL)
        exit(2);
    file.size = fread(file.bytes, 1, 1 << 20, stream);
    fclose(stream);
    return file;
}

/* Most changes are in the header, where few bytes mean much. */
static void mutate(uint8_t *bytes, size_t size)
{
    size_t zone = below(3) == 0 || size < HEADER ? size : HEADER;
    for (size_t left = below(12); size > 0 && left > 0; left--) {
        size_t at = below(zone), from = below(size), length = below(16);
        switch (below(4)) {
        case 0: bytes[at] = (uint8_t)below(256); break;
        case 1: bytes[at] ^= (uint8_t)(1 << below(8)); break;
        case 2: bytes[at] = 0xFF; break;
        default:
            if (at + length <= size && from + length <= size)
                memmove(bytes + at, bytes + from, length);
        }
    }
}

static void decode(const uint8_t *bytes, size_t size, unsigned *headers, unsigned *photos)
{
    struct jpeg *jpeg = malloc(sizeof *jpeg);
    if (jpeg_read_header(jpeg, bytes, size) && jpeg->width * jpeg->height <= MOST_PIXELS) {
        ++*headers;
        for (int number = 0; number < jpeg->components; number++) {
            struct jpeg_plane *plane = &jpeg->component[number].plane;
            plane->pixels = malloc(plane->width * plane->height);
        }
        *photos += jpeg_read_planes(jpeg);
        for (int number = 0; number < jpeg->components; number++)
            free(jpeg->component[number].plane.pixels);
    }
    free(jpeg);
}

int main(int count, char **arguments)
{
    struct file files[FILES];
    int given = count - 2;
    unsigned headers = 0, photos = 0;
    if (given < 1 || given > FILES)
        return 2;
    for (int number = 0; number < given; number++)
        files[number] = read_file(arguments[number + 2]);
    for (long left = atol(arguments[1]); left > 0; left--) {
        const struct file *one = &files[below((size_t)given)];
        /* Memory of exactly its size: the sanitizer sees the first byte beyond it. */
        size_t size = below(4) == 0 ? below(one->size) + 1 : one->size;
        uint8_t *bytes = malloc(size);
        memcpy(bytes, one->bytes, size);
        mutate(bytes, size);
        decode(bytes, size, &headers, &photos);
        free(bytes);
    }
    for (int number = 0; number < given; number++)
        free(files[number].bytes);
    printf("%u %u\n", headers, photos);
    return 0;
}
