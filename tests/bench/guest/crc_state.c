// Branchy byte work: a lexer as a state machine over generated text, and a bitwise CRC-32 of what it finds.
//
// group: integer
#define TIMES 8
#include "bench.h"

#define TEXT 16384
#define ROUNDS 240

enum state { BETWEEN, WORD, INTEGER, FRACTION, STRING, ESCAPE, COMMENT, STATES };

static char text[TEXT + 1];
static u32 counts[STATES];

static int is_digit(u32 c) { return c - '0' < 10u; }
static int is_letter(u32 c) { return (c | 32) - 'a' < 26u || c == '_'; }

static enum state begin(u32 c) {
    if (is_letter(c)) return WORD;
    if (is_digit(c)) return INTEGER;
    if (c == '"') return STRING;
    return c == '#' ? COMMENT : BETWEEN;
}

APART static enum state step(enum state state, u32 c) {
    switch (state) {
    case WORD: return is_letter(c) || is_digit(c) ? WORD : begin(c);
    case INTEGER: return is_digit(c) ? INTEGER : c == '.' ? FRACTION : begin(c);
    case FRACTION: return is_digit(c) ? FRACTION : begin(c);
    case STRING: return c == '"' ? BETWEEN : c == '\\' ? ESCAPE : STRING;
    case ESCAPE: return STRING;
    case COMMENT: return c == '\n' ? BETWEEN : COMMENT;
    default: return begin(c);
    }
}

APART static u32 crc32(u32 crc, const u8 *data, u64 length) {
    crc = ~crc;
    while (length--) {
        crc ^= *data++;
        for (u32 bit = 0; bit < 8; bit++) crc = crc >> 1 ^ (crc & 1 ? 0xedb88320 : 0);
    }
    return ~crc;
}

static u64 work(void) {
    static const char alphabet[] = "abcdefxyz_ 0123456789.  \"\\\n#+-*/();";
    u32 crc = 0;
    for (u32 i = 0; i < TEXT; i++) text[i] = alphabet[random_next() % (sizeof alphabet - 1)];
    for (u32 round = 0; round < ROUNDS; round++) {
        enum state state = BETWEEN;
        for (u32 i = 0; i < TEXT; i++) counts[state = step(state, (u8)text[i])]++;
        crc = crc32(crc, (const u8 *)counts, sizeof counts);
        crc = crc32(crc, (const u8 *)text, TEXT / 4);
        text[round * 131 % TEXT] = alphabet[round % (sizeof alphabet - 1)];
    }
    return crc;
}
