//! Every bare-metal program of `tests/guest`, each a test of its own name; and each once more, saved and restored
//! at arbitrary moments.

use tests::guest::{Program, names};

macro_rules! programs {
    ($($name:ident,)*) => {
        const TESTED: &[&str] = &[$(stringify!($name)),*];

        $(
            #[test]
            fn $name() {
                Program::read(stringify!($name)).check();
            }
        )*

        mod saved_and_restored {
            use tests::guest::Program;

            $(
                #[test]
                fn $name() {
                    Program::read(stringify!($name)).check_in_pieces();
                }
            )*
        }
    };
}

programs! {
    accessed_dirty,
    asid,
    counters,
    csr_noise,
    delegation,
    exit_code,
    fetch_crossing,
    fp_context,
    hsm,
    htif,
    interrupt_latency,
    ipi_clint,
    ipi_sbi,
    jump_mmio,
    litmus,
    lrsc,
    misaligned,
    mprv,
    plic_uart,
    pmp,
    return_moved,
    sbi_console,
    sbi_unknown,
    sfence,
    smc_alias,
    smc_beside,
    smc_block,
    smc_data,
    smc_dma,
    smc_page,
    smc_remote,
    smp_amo,
    smp_lock,
    smp_lrsc,
    svnapot,
    svpbmt,
    timer_clint,
    timer_sbi,
    timer_sstc,
    traps,
    vectored,
    virtio_garbage,
    walk_sv39,
    walk_sv48,
    walk_sv57,
    wfi,
    zacas,
    zicbo,
}

#[test]
fn every_program_is_a_test() {
    assert_eq!(names(), TESTED, "the files of tests/guest and the list of tests");
}
