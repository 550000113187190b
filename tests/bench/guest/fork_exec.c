// Programs that are started and end at once: fork, exec of this very program, wait.
//
// group: system
#define TIMES 2
#include "bench.h"

#define STARTS 200

static u64 work(void) {
    static char *const arguments[] = {"bench", "end", NULL};
    u64 good = 0;
    for (u32 i = 0; i < STARTS; i++) {
        pid_t child = fork();
        if (child < 0) fail("fork");
        if (child == 0) {
            execv("/proc/self/exe", arguments);
            _exit(1);
        }
        int status;
        waitpid(child, &status, 0);
        good += WIFEXITED(status) && WEXITSTATUS(status) == 0;
    }
    return good;
}
