//! A whole distribution on a disk: Debian boots to its login, works, and leaves its file system in order, also
//! after a host that ended the machine in the middle of a write.

use tests::debian::{Debian, Disk};

/// Four threads that count under one lock.
const THREADS: &str = r#"cat >threads.c <<'END'
#include <pthread.h>
#include <stdio.h>
static long count;
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static void *work(void *unused) {
    for (int i = 0; i < 20000; i++) {
        pthread_mutex_lock(&mutex);
        count++;
        pthread_mutex_unlock(&mutex);
    }
    return unused;
}
int main(void) {
    pthread_t threads[4];
    for (int i = 0; i < 4; i++) pthread_create(&threads[i], 0, work, 0);
    for (int i = 0; i < 4; i++) pthread_join(threads[i], 0);
    printf("%ld turns\n", count);
}
END"#;

/// New files, renames over old ones and syncs, without end.
const LOAD: &str = "while :; do
    for i in 1 2 3 4 5 6 7 8 9; do
        dd if=/dev/urandom of=new$i bs=64k count=4 2>/dev/null; mv new$i old$i
    done
    sync
done &";

#[test]
fn debian_boots_works_and_powers_off_in_order() {
    let disk = Disk::new();
    let mut debian = Debian::boot(&disk.path(), "2", &[]);
    let packages = debian.ask("apt list --installed 2>/dev/null | wc -l");
    assert!(packages.trim().parse::<u32>().is_ok_and(|count| count > 100), "{packages}");
    let python = debian.ask("python3 -c 'import math, sys; print(sys.version_info[0], math.sqrt(2))'");
    assert!(python.contains("3 1.4142135623730951"), "{python}");
    debian.ask(THREADS);
    let threads = debian.ask("gcc -O1 -pthread threads.c -o threads && ./threads");
    assert!(threads.contains("80000 turns"), "{threads}");
    let failed = debian.ask("systemctl --failed --no-legend --plain | cat");
    assert_eq!(failed.trim(), "", "units that failed");
    debian.power_off();
    let report = disk.check();
    assert!(!report.contains("journal recovery"), "{report}");
}

#[test]
fn a_machine_killed_while_it_writes_boots_again_and_mends_its_disk() {
    let disk = Disk::new();
    let mut debian = Debian::boot(&disk.path(), "1", &[]);
    let kept = debian.ask("dd if=/dev/urandom of=kept bs=64k count=16 2>/dev/null; sync; sha256sum kept");
    assert!(kept.contains("  kept"), "{kept}");
    debian.ask(LOAD);
    debian.ask("while [ ! -e old9 ]; do sleep 0.1; done; sleep 2");
    debian.0.kill();

    let mut debian = Debian::boot(&disk.path(), "1", &[]);
    let log = debian.ask("dmesg | grep EXT4");
    assert!(log.contains("recovery complete"), "{log}");
    assert_eq!(debian.ask("sha256sum kept"), kept);
    debian.power_off();
    disk.check();
}
