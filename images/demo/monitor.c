// The prompt: a table of commands and the words of a line.
#include "monitor.h"
#include "bench.h"
#include "console.h"
#include "lib.h"
#include "machine.h"
#include "trap.h"

#define WORDS 16
#define LINE 128

struct command {
    const char *name, *arguments, *help;
    u64 least, most; // words after the name
    void (*run)(u64 count, char **words);
};

static const struct command commands[];

static void run_info(u64 count, char **words) {
    (void)count, (void)words;
    machine_print();
}

static void run_bench(u64 count, char **words) {
    if (!bench_run(count ? words[0] : "")) print("bench: no benchmark begins with '%s'\n", words[0]);
}

struct access {
    u64 address, bits, value;
    int store;
};

static void do_access(void *argument) {
    struct access *a = argument;
    volatile void *p = (volatile void *)a->address;
    switch (a->bits | (u64)a->store) {
    case 8: a->value = *(volatile u8 *)p; break;
    case 16: a->value = *(volatile u16 *)p; break;
    case 32: a->value = *(volatile u32 *)p; break;
    case 64: a->value = *(volatile u64 *)p; break;
    case 9: *(volatile u8 *)p = (u8)a->value; break;
    case 17: *(volatile u16 *)p = (u16)a->value; break;
    case 33: *(volatile u32 *)p = (u32)a->value; break;
    case 65: *(volatile u64 *)p = a->value; break;
    }
}

// Reads or writes memory as asked; false with a message if the machine or the user's numbers do not allow it.
static int try_access(struct access *a) {
    u64 cause, address;
    if (a->bits != 8 && a->bits != 16 && a->bits != 32 && a->bits != 64) {
        print("the width is 8, 16, 32 or 64 bits, not %lu\n", a->bits);
        return 0;
    }
    if (survives(do_access, a, &cause, &address)) return 1;
    print("%s at %p\n", cause_name(cause), (void *)address);
    return 0;
}

static int number(const char *word, u64 *value) {
    if (parse_number(word, value)) return 1;
    print("'%s' is not a number\n", word);
    return 0;
}

static void run_peek(u64 count, char **words) {
    struct access a = {.bits = 32};
    if (!number(words[0], &a.address) || (count > 1 && !number(words[1], &a.bits))) return;
    if (try_access(&a)) print("%p: %p\n", (void *)a.address, (void *)a.value);
}

static void run_poke(u64 count, char **words) {
    struct access a = {.bits = 32, .store = 1};
    if (!number(words[0], &a.address) || !number(words[1], &a.value)) return;
    if (count > 2 && !number(words[2], &a.bits)) return;
    try_access(&a);
}

static void run_harts(u64 count, char **words) {
    (void)count, (void)words;
    harts_say_hello();
}

// Gregorian date of a day since 1970-01-01, by whole 400-year eras that begin in March.
static void print_date(u64 days) {
    u64 z = days + 719468, era = z / 146097, of_era = z % 146097;
    u64 year = (of_era - of_era / 1460 + of_era / 36524 - of_era / 146096) / 365;
    u64 of_year = of_era - (365 * year + year / 4 - year / 100), march = (5 * of_year + 2) / 153;
    u64 month = march < 10 ? march + 3 : march - 9;
    print("%lu-%02lu-%02lu", year + era * 400 + (month <= 2), month, of_year - (153 * march + 2) / 5 + 1);
}

static void run_time(u64 count, char **words) {
    (void)count, (void)words;
    u64 now = ticks(), ns;
    print("  time       %lu ticks, %lu.%03lu s\n", now, now / machine.timebase,
          now % machine.timebase * 1000 / machine.timebase);
    if (!machine_wall_clock(&ns)) return;
    u64 s = ns / 1000000000;
    print("  clock      ");
    print_date(s / 86400);
    print(" %02lu:%02lu:%02lu UTC\n", s / 3600 % 24, s / 60 % 60, s % 60);
}

static void run_echo(u64 count, char **words) {
    for (u64 i = 0; i < count; i++) print("%s%s", i ? " " : "", words[i]);
    print("\n");
}

static void run_poweroff(u64 count, char **words) {
    (void)count, (void)words;
    machine_poweroff();
}

static void run_reboot(u64 count, char **words) {
    (void)count, (void)words;
    machine_reboot();
}

static void run_exit(u64 count, char **words) {
    u64 code = 0;
    if (count && !number(words[0], &code)) return;
    if (code > 0xffff) return print("an exit code is at most 65535\n");
    if (!machine.test) return print("exit: this machine has no test device\n");
    machine_exit(code);
}

static void run_help(u64 count, char **words) {
    (void)count, (void)words;
    for (const struct command *c = commands; c->name; c++)
        print("  %-9s %-22s %s\n", c->name, c->arguments, c->help);
    print("  Ctrl-C gives a line up, Ctrl-U empties it; Ctrl-C also ends `bench`.\n");
}

static const struct command commands[] = {
    {"help", "", "this list", 0, 0, run_help},
    {"info", "", "what machine this is", 0, 0, run_info},
    {"bench", "[PREFIX]", "micro-benchmarks, or those whose name begins so", 0, 1, run_bench},
    {"peek", "ADDRESS [WIDTH]", "read 8, 16, 32 or 64 bits of memory", 1, 2, run_peek},
    {"poke", "ADDRESS VALUE [WIDTH]", "write them", 2, 3, run_poke},
    {"harts", "", "let every hart say hello", 0, 0, run_harts},
    {"time", "", "the timebase and the clock device", 0, 0, run_time},
    {"echo", "[WORD...]", "print the words", 0, WORDS, run_echo},
    {"poweroff", "", "shut the machine down", 0, 0, run_poweroff},
    {"reboot", "", "start it again", 0, 0, run_reboot},
    {"exit", "[CODE]", "end through the test device, with an exit code", 0, 1, run_exit},
    {0},
};

static u64 split(char *line, char **words) {
    u64 count = 0;
    for (;;) {
        while (*line == ' ' || *line == '\t') *line++ = 0;
        if (!*line || count == WORDS) return count;
        words[count++] = line;
        while (*line && *line != ' ' && *line != '\t') line++;
    }
}

void monitor_execute(char *line) {
    char *words[WORDS];
    u64 count = split(line, words);
    if (!count) return;
    for (const struct command *c = commands; c->name; c++) {
        if (strcmp(c->name, words[0])) continue;
        if (count - 1 < c->least || count - 1 > c->most)
            print("usage: %s %s\n", c->name, c->arguments);
        else
            c->run(count - 1, words + 1);
        return;
    }
    print("no command '%s'; `help` lists them\n", words[0]);
}

void monitor_run(void) {
    char line[LINE];
    for (;;)
        if (console_line("demo> ", line, sizeof line)) monitor_execute(line);
}
