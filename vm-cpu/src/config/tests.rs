//! What texts mean, which are refused and how, and what the device tree says.

use super::*;

fn parse(text: &str) -> CpuConfig {
    CpuConfig::parse(text).unwrap_or_else(|error| panic!("{text}: {error}"))
}

#[test]
fn the_default_is_rv64gc_with_all_that_the_machine_offers() {
    let config = parse("rv64gc");
    assert_eq!(config, CpuConfig::default());
    for name in [
        "m",
        "a",
        "f",
        "d",
        "c",
        "sstc",
        "svadu",
        "svinval",
        "svnapot",
        "svpbmt",
        "zba",
        "zbb",
        "zbs",
        "zicond",
        "zacas",
        "zfa",
        "zicbom",
        "zicbop",
        "zicboz",
        "zihintpause",
        "zicntr",
        "zihpm",
    ] {
        assert!(config.has(name.parse().unwrap()), "{name}");
    }
    assert!(!config.has(Extension::Svade), "hardware updates A and D bits");
    assert_eq!((config.paging, config.pmp_entries), (Scheme::Sv57, 16));
}

#[test]
fn keys_change_one_feature_each_in_any_order() {
    for (text, ext, on) in [
        ("rv64gc,svinval=off", Extension::Svinval, false),
        ("rv64gc,svade", Extension::Svade, true),
        ("rv64gc,svade=on,svade=off", Extension::Svade, false),
        ("rv64gc, zbb=off ", Extension::Zbb, false),
        ("rv64gc,f=off,zfa=off,d=off", Extension::F, false),
        ("rv64gc,d=off,zfa=off,f=off", Extension::F, false),
    ] {
        assert_eq!(parse(text).has(ext), on, "{text}");
    }
    for (text, paging, pmp) in [
        ("rv64gc,sv57=off,pmp=8", Scheme::Sv48, 8),
        ("rv64gc,sv48=off,sv57=off,pmp=0", Scheme::Sv39, 0),
        ("rva22,sv57,sv48", Scheme::Sv57, 16),
    ] {
        assert_eq!((parse(text).paging, parse(text).pmp_entries), (paging, pmp), "{text}");
    }
}

#[test]
fn rva22_is_the_profile_and_no_more() {
    let config = parse("rva22");
    assert_eq!(config, parse("rva22s64"));
    let names: Vec<_> = config.isa_extensions();
    for name in ["zfhmin", "svade", "svinval", "svpbmt", "zihpm", "zicbop", "za64rs", "sscounterenw"] {
        assert!(names.contains(&name), "{name}");
    }
    for name in ["svadu", "sstc", "zicond", "zacas", "zfa", "svnapot"] {
        assert!(!names.contains(&name), "{name}");
    }
    assert_eq!(config.mmu_type(), "riscv,sv39");
}

#[test]
fn what_is_refused_says_why() {
    for (text, message) in [
        ("", "expected a cpu, one of rv64gc, rva22, rva22s64, found ``"),
        ("rv32", "expected a cpu, one of rv64gc, rva22, rva22s64, found `rv32`"),
        ("rva23", "cpu `rva23` needs V and H, which are not implemented yet"),
        ("rva23s64,sstc=on", "cpu `rva23s64` needs V and H, which are not implemented yet"),
        ("rv64gc,zbx=off", "unknown cpu feature `zbx`; nearest are zba, zbb, zbs"),
        ("rv64gc,svnapt=off", "unknown cpu feature `svnapt`; nearest are svnapot, svade, svadu"),
        ("rv64gc,zbb=maybe", "cpu feature `zbb` takes `on` or `off`, found `maybe`"),
        ("rv64gc,sv48=", "cpu feature `sv48` takes `on` or `off`, found ``"),
        ("rv64gc,pmp=17", "cpu feature `pmp` takes a number of entries from 0 to 16, found `17`"),
        ("rv64gc,pmp", "cpu feature `pmp` takes a number of entries from 0 to 16, found `on`"),
        ("rv64gc,zicsr=off", "cpu feature `zicsr` cannot be switched off"),
        ("rv64gc,s=off", "cpu feature `s` cannot be switched off"),
    ] {
        let error = CpuConfig::parse(text).expect_err(text);
        assert_eq!(error.to_string(), message, "{text}");
    }
}

#[test]
fn a_feature_without_its_basis_is_refused() {
    for (text, feature, needs) in [
        ("rv64gc,f=off", "d", "f"),
        ("rv64gc,f=off,d=off", "zfa", "f"),
        ("rva22,f=off,d=off", "zfhmin", "f"),
        ("rv64gc,a=off", "zacas", "a"),
        ("rv64gc,zawrs,zacas=off,a=off", "zawrs", "a"),
        ("rv64gc,zcb,c=off", "zcb", "c"),
        ("rv64gc,zcmop", "zcmop", "zimop"),
        ("rv64gc,zicntr=off", "zihpm", "zicntr"),
        ("rv64gc,sv48=off", "sv57", "sv48"),
    ] {
        assert_eq!(CpuConfig::parse(text), Err(CpuConfigError::Needs { feature, needs }), "{text}");
    }
}

#[test]
fn the_isa_string_is_in_canonical_order() {
    let smallest = "rv64gc,zicbom=off,zicbop=off,zicboz=off,zicntr=off,zihpm=off,zicond=off,zihintpause=off,\
                    zacas=off,zfa=off,zba=off,zbs=off,sstc=off,svadu=off,svnapot=off,svpbmt=off";
    assert_eq!(
        parse(smallest).isa_string(),
        "rv64imafdc_zic64b_ziccamoa_ziccif_zicclsm_ziccrse_zicsr_zifencei_za64rs_zbb\
         _ssccptr_sscounterenw_sstvala_sstvecd_svinval"
    );
    assert_eq!(
        parse("rv64gc").isa_string(),
        "rv64imafdc_zic64b_zicbom_zicbop_zicboz_ziccamoa_ziccif_zicclsm_ziccrse_zicntr_zicond_zicsr\
         _zifencei_zihintpause_zihpm_za64rs_zacas_zfa_zba_zbb_zbs\
         _ssccptr_sscounterenw_sstc_sstvala_sstvecd_svadu_svinval_svnapot_svpbmt"
    );
}

#[test]
fn promises_about_atomics_go_with_them() {
    let names = parse("rv64gc,a=off,zacas=off").isa_extensions();
    for name in ["a", "ziccamoa", "ziccrse", "za64rs"] {
        assert!(!names.contains(&name), "{name}");
    }
}

#[test]
fn the_list_and_the_string_agree() {
    for text in ["rv64gc", "rva22", "rv64gc,svade,zcb,zimop,zcmop,zawrs,zfhmin"] {
        let config = parse(text);
        let isa = config.isa_string();
        let (letters, rest) = isa.strip_prefix("rv64").unwrap().split_once('_').unwrap();
        let mut names: Vec<String> = letters.chars().map(String::from).collect();
        names.extend(rest.split('_').map(String::from));
        assert_eq!(names, config.isa_extensions(), "{text}");
    }
}

#[test]
fn misa_shows_letters_and_b_only_as_a_whole() {
    let letters = |text| {
        let misa = parse(text).misa();
        assert_eq!(misa >> 62, 2);
        (b'a'..=b'z').filter(|l| misa >> (l - b'a') & 1 != 0).map(char::from).collect::<String>()
    };
    assert_eq!(letters("rv64gc"), "abcdfimsu");
    assert_eq!(letters("rv64gc,zbs=off"), "acdfimsu");
    assert_eq!(letters("rv64gc,d=off,c=off"), "abfimsu");
}
