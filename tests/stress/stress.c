// Load that checks itself: `stress SECONDS WORKERS`. Every worker does one kind of work after the other, each with a
// result that is known: the parent has computed it once before, when all code was new, or the work says it itself.
// Prints `stress: N rounds, no failures`, or what failed.
#define _GNU_SOURCE
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

typedef uint8_t u8;
typedef uint32_t u32;
typedef uint64_t u64;

static u64 next(u64 *state) {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    return *state ^= *state << 17;
}

static u64 integers(u64 seed) {
    u64 sum = 0;
    for (u32 i = 0; i < 60000; i++) {
        u64 r = next(&seed), d = (r >> 40) | 1;
        sum = sum * 31 + (r % d) + (u64)((int64_t)r / (int64_t)d) + (u64)__builtin_popcountll(r ^ sum);
        sum = r & 8 ? sum << (r & 31) | sum >> 3 : sum - (u64)((unsigned __int128)r * sum >> 64);
    }
    return sum;
}

static u64 doubles(u64 seed) {
    double x = 0.5, y = 1, sum = 0;
    for (u32 i = 0; i < 40000; i++) {
        double r = (double)(next(&seed) >> 11) * 0x1p-53;
        x = 3.7 * x * (1 - x), y = __builtin_sqrt(y * y + r) / (1 + x);
        sum += x < y ? x / (y + 1) : (float)(r - x);
    }
    u64 bits;
    memcpy(&bits, &sum, 8);
    return bits;
}

static int by_value(const void *a, const void *b) {
    u32 x = *(const u32 *)a, y = *(const u32 *)b;
    return x < y ? -1 : x > y;
}

static u64 sorting(u64 seed) {
    enum { N = 8000 };
    u32 *v = malloc(N * sizeof *v);
    u64 sum = 0;
    for (u32 i = 0; i < N; i++) v[i] = (u32)next(&seed);
    qsort(v, N, sizeof *v, by_value);
    for (u32 i = 0; i < N; i++) sum = sum * 31 + v[i];
    free(v);
    return sum;
}

static u64 memory(u64 seed) {
    enum { BYTES = 1 << 20 };
    u8 *m = mmap(0, BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    u64 sum = 0;
    for (u32 i = 0; i < BYTES; i += 8) {
        u64 r = next(&seed);
        memcpy(m + i, &r, 8);
    }
    for (u32 i = 0; i < 2000; i++) {
        u64 r = next(&seed);
        memmove(m + r % (BYTES / 2), m + (r >> 20) % (BYTES / 2), (r >> 40) % 700);
    }
    mprotect(m, BYTES, PROT_READ);
    for (u32 i = 0; i < BYTES; i += 8) {
        u64 r;
        memcpy(&r, m + i, 8);
        sum = sum * 31 + r;
    }
    munmap(m, BYTES);
    return sum;
}

// Functions are written over each other and called; what they compute is computed beside.
static u64 own_code(u64 seed) {
    u32 *code = mmap(0, 16384, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    u64 sum = 0;
    for (u32 round = 0; round < 400; round++) {
        u32 *at = code + next(&seed) % 4000, steps = 1 + next(&seed) % 20;
        if (at + steps + 1 > code + 4096) at = code;
        u64 expected = round;
        for (u32 i = 0; i < steps; i++) {
            u32 n = next(&seed) & 0x7ff, x = next(&seed) & 1;
            at[i] = n << 20 | 10 << 15 | (x ? 4u : 0) << 12 | 10 << 7 | 0x13; // xori or addi a0, a0, n
            expected = x ? expected ^ n : expected + n;
        }
        at[steps] = 0x00008067;
        __builtin___clear_cache((char *)at, (char *)(at + steps + 1));
        for (u32 call = 0; call < 20; call++)
            if (((u64(*)(u64))(void *)at)(round) != expected) return 0;
        sum += expected;
    }
    munmap(code, 16384);
    return sum;
}

static u64 processes(u64 seed) {
    u64 sum = 0;
    for (u32 i = 0; i < 4; i++) {
        int ends[2];
        if (pipe(ends)) return 0;
        pid_t child = fork();
        if (child == 0) {
            u64 answer = seed * (i + 1);
            _exit(write(ends[1], &answer, 8) != 8);
        }
        u64 answer = 0;
        int status = 1;
        if (read(ends[0], &answer, 8) != 8 || waitpid(child, &status, 0) != child || status) return 0;
        close(ends[0]), close(ends[1]);
        sum += answer;
    }
    return sum;
}

static struct {
    pthread_mutex_t mutex;
    u64 locked;
    atomic_ulong added, most;
} shared = {.mutex = PTHREAD_MUTEX_INITIALIZER};

static void *thread(void *unused) {
    for (u32 i = 0; i < 500; i++) {
        pthread_mutex_lock(&shared.mutex);
        shared.locked++;
        pthread_mutex_unlock(&shared.mutex);
        u64 mine = atomic_fetch_add(&shared.added, 3), seen = atomic_load(&shared.most);
        while (seen < mine && !atomic_compare_exchange_weak(&shared.most, &seen, mine)) {}
    }
    return unused;
}

static u64 threads(u64 seed) {
    pthread_t ids[4];
    shared.locked = 0;
    atomic_store(&shared.added, 0);
    atomic_store(&shared.most, 0);
    for (u32 i = 0; i < 4; i++) pthread_create(&ids[i], 0, thread, 0);
    for (u32 i = 0; i < 4; i++) pthread_join(ids[i], 0);
    return shared.locked == 2000 && shared.added == 6000 && shared.most == 5997 ? seed : 0;
}

static u64 files(u64 seed) {
    enum { BYTES = 100000 };
    char name[] = "/tmp/stress-XXXXXX";
    u8 *out = malloc(BYTES), *in = malloc(BYTES);
    int file = mkstemp(name);
    for (u32 i = 0; i < BYTES; i++) out[i] = (u8)next(&seed);
    int good = file >= 0 && write(file, out, BYTES) == BYTES && (seed & 7 || !fsync(file)) &&
               pread(file, in, BYTES, 0) == BYTES && !memcmp(in, out, BYTES);
    close(file), unlink(name);
    free(out), free(in);
    return good;
}

static atomic_uint ticks;
static void on_tick(int signal) { (void)signal, ticks++; }

// Signals come in the middle of arithmetic, which must not notice.
static u64 signals(u64 seed) {
    struct itimerval often = {{0, 700}, {0, 700}}, never = {{0, 0}, {0, 0}};
    signal(SIGALRM, on_tick);
    setitimer(ITIMER_REAL, &often, 0);
    u64 sum = integers(seed) ^ doubles(seed);
    setitimer(ITIMER_REAL, &never, 0);
    return sum;
}

static const struct {
    const char *name;
    u64 (*work)(u64 seed);
} kinds[] = {
    {"integers", integers}, {"doubles", doubles},     {"sorting", sorting}, {"memory", memory}, {"own code", own_code},
    {"threads", threads},   {"processes", processes}, {"files", files},     {"signals", signals},
};
enum { KINDS = sizeof kinds / sizeof kinds[0], SEEDS = 4 };
static u64 expected[KINDS][SEEDS];

static u64 work(u32 kind, u32 seed) { return kinds[kind].work(0x9e3779b97f4a7c15 * (seed + 1)); }

static u64 labour(u32 worker, time_t end) {
    u64 rounds = 0;
    for (; time(0) < end; rounds++) {
        u32 kind = (u32)((rounds + worker) % KINDS), seed = (u32)(rounds / KINDS % SEEDS);
        u64 found = work(kind, seed);
        if (found == expected[kind][seed] && found) continue;
        printf("stress: FAILED: %s in worker %u, round %lu: expected %lx, found %lx\n", kinds[kind].name, worker, rounds,
               expected[kind][seed], found);
        fflush(stdout);
        _exit(1);
    }
    return rounds;
}

int main(int argc, char **argv) {
    time_t end = time(0) + atoi(argc > 1 ? argv[1] : "10");
    u32 workers = (u32)atoi(argc > 2 ? argv[2] : "8");
    u64 *rounds = mmap(0, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0), all = 0;
    int failures = 0;
    for (u32 kind = 0; kind < KINDS; kind++)
        for (u32 seed = 0; seed < SEEDS; seed++) expected[kind][seed] = work(kind, seed);
    for (u32 worker = 0; worker < workers; worker++)
        if (!fork()) {
            rounds[worker] = labour(worker, end);
            _exit(0);
        }
    for (int status; wait(&status) > 0;) failures += status != 0;
    for (u32 worker = 0; worker < workers; worker++) all += rounds[worker];
    if (failures) printf("stress: %d workers failed\n", failures);
    else printf("stress: %lu rounds, no failures\n", all);
    return failures;
}
