//! The bench programs as a test of exactness: under Linux on `vm-boot` each gives the checksum that it gives on the
//! host, integer, floating point, processes and generated code alike.

use tests::bench::machine::Machine;
use tests::bench::programs::Length;
use tests::bench::{linux, programs};

#[test]
fn programs_under_linux_give_the_results_of_the_host() {
    let names = programs::names().expect("tests/bench/guest");
    let initramfs = linux::prepare(&names, Length::Quick).expect("initramfs with the programs");
    let runs = linux::run(Machine::VmBoot, &initramfs, &[]).expect("a run under Linux");
    let ran: Vec<&String> = runs.iter().map(|run| &run.said.name).collect();
    assert_eq!(ran, names.iter().collect::<Vec<_>>());
    for run in &runs {
        let (checksum, _) = programs::run_native(&run.said.name, Length::Quick).expect("a run on the host");
        assert_eq!(run.said.checksum, checksum, "{}", run.said.name);
    }
}
