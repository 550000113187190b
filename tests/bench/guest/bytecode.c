// A stack machine: a loop over a switch, running a program that sieves numbers by trial division.
//
// group: integer
#define TIMES 3
#include "bench.h"

#define LAST 60000

enum op { PUSH, GET, SET, ADD, MUL, MOD, LESS, JUMP, JUMP_ZERO, HALT };
enum variable { N, DIVISOR, COUNT, SUM };
// Places in the program.
enum { OUTER = 4, INNER = 15, PRIME = 44, NEXT = 61, END = 70 };

static const u32 program[] = {
    PUSH, 2, SET, N,
    /* OUTER */ GET, N, PUSH, LAST, LESS, JUMP_ZERO, END,
    PUSH, 2, SET, DIVISOR,
    /* INNER: while DIVISOR * DIVISOR < N + 1 */
    GET, DIVISOR, GET, DIVISOR, MUL, GET, N, PUSH, 1, ADD, LESS, JUMP_ZERO, PRIME,
    GET, N, GET, DIVISOR, MOD, JUMP_ZERO, NEXT,
    GET, DIVISOR, PUSH, 1, ADD, SET, DIVISOR, JUMP, INNER,
    /* PRIME */ GET, COUNT, PUSH, 1, ADD, SET, COUNT,
    GET, SUM, PUSH, 31, MUL, GET, N, ADD, SET, SUM,
    /* NEXT */ GET, N, PUSH, 1, ADD, SET, N, JUMP, OUTER,
    /* END */ HALT,
};

static u64 variables[4];

APART static void run(const u32 *code) {
    u64 stack[32], *top = stack;
    for (const u32 *pc = code;;) {
        switch ((enum op)*pc++) {
        case PUSH: *top++ = *pc++; break;
        case GET: *top++ = variables[*pc++]; break;
        case SET: variables[*pc++] = *--top; break;
        case ADD: top--, top[-1] += top[0]; break;
        case MUL: top--, top[-1] *= top[0]; break;
        case MOD: top--, top[-1] %= top[0]; break;
        case LESS: top--, top[-1] = top[-1] < top[0]; break;
        case JUMP: pc = code + *pc; break;
        case JUMP_ZERO: pc = *--top ? pc + 1 : code + *pc; break;
        default: return;
        }
    }
}

static u64 work(void) {
    memset(variables, 0, sizeof variables);
    run(program);
    if (variables[COUNT] != 6057) fail("the primes below 60000 are 6057");
    return variables[SUM];
}
