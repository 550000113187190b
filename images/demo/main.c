// From the first C statement to the prompt.
#include "console.h"
#include "lib.h"
#include "machine.h"
#include "monitor.h"
#include "paging.h"

#define RUN_OPTION "run="
#define SCRIPT 512

// Boot arguments may end in `run=COMMAND;COMMAND…`: what would be typed at the prompt.
static void run_script(const char *bootargs) {
    static char script[SCRIPT];
    const char *from = bootargs;
    while (*from && !starts_with(from, RUN_OPTION)) from++;
    if (!*from) return;
    from += strlen(RUN_OPTION);
    while (*from) {
        u64 length = 0;
        while (*from && *from != ';') {
            if (length + 1 < SCRIPT) script[length++] = *from;
            from++;
        }
        script[length] = 0;
        if (*from == ';') from++;
        monitor_execute(script);
    }
}

// From head.S.
void demo_main(const void *fdt) {
    int found = machine_discover(fdt, this_hart()->id);
    print("\ndemo guest: S-mode, own page tables\n\n");
    if (!found) {
        print("expected a device tree with harts at %p (a1)\n", fdt);
        machine_poweroff();
    }
    paging_start();
    console_start();
    machine_print();
    print("\n`help` lists the commands.\n");
    if (machine.bootargs) run_script(machine.bootargs);
    monitor_run();
}
