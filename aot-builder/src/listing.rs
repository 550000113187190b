//! The instructions of a unit, of the guest and of the host.

use std::fmt::Write as _;

use iced_x86::{Decoder, DecoderOptions, Formatter, Instruction, IntelFormatter};
use vm_cpu::aot::unit::{AheadSite, AheadUnit};
use vm_cpu::aot::{Image, PAGE};
use vm_cpu::isa::{Extensions, decode, disassemble};

/// Widest encoding that is shown in its column.
const BYTES: usize = 10;

/// What listings of an image are made from.
pub struct Listing<'a> {
    image: &'a Image,
    text: &'a [u8],
    /// Where its words are, relative to the text.
    words: u64,
}

impl<'a> Listing<'a> {
    /// Of an image.
    pub fn of(image: &'a Image) -> Self {
        let text = &image.bytes()[image.text()];
        Self { image, text, words: text.len().next_multiple_of(PAGE) as u64 }
    }

    /// The instructions of a unit.
    pub fn unit(&self, unit: &AheadUnit) -> String {
        let mut text = String::from("  guest, by offset in its page\n");
        unit.sites.iter().for_each(|site| text += &guest(unit, site));
        text += "  host, by offset in the guest's page and in the text\n";
        text + &self.host(unit)
    }

    fn host(&self, unit: &AheadUnit) -> String {
        let code = &self.text[unit.text as usize..][..unit.len as usize];
        let mut decoder = Decoder::with_ip(64, code, unit.text.into(), DecoderOptions::NONE);
        let (mut formatter, mut spelling) = (IntelFormatter::new(), String::new());
        let (mut text, mut insn, mut before) = (String::new(), Instruction::default(), None);
        while decoder.can_decode() {
            let at = decoder.position();
            decoder.decode_out(&mut insn);
            let site = unit.site_at(at as u32).map(|site| site.offset);
            let whose = site.filter(|_| site != before).map_or(String::new(), |site| format!("{site:03x}"));
            before = site;
            let entry = unit.entries.iter().find(|entry| entry.1 as usize == at);
            if let Some((offset, _)) = entry {
                let _ = writeln!(text, "          from {offset:03x}:");
            }
            spelling.clear();
            formatter.format(&insn, &mut spelling);
            let note = self.note(unit, &insn).map(|note| format!("  ; {note}")).unwrap_or_default();
            let bytes: String = code[at..][..insn.len()].iter().map(|byte| format!("{byte:02x}")).collect();
            let width = 2 * BYTES;
            let _ = writeln!(text, "{whose:>4} {:06x}  {bytes:<width$}  {spelling}{note}", insn.ip());
        }
        text
    }

    /// Which of the image's words an instruction reaches.
    fn note(&self, unit: &AheadUnit, insn: &Instruction) -> Option<String> {
        let address = insn.is_ip_rel_memory_operand().then(|| insn.ip_rel_memory_address())?;
        let word =
            u32::try_from(address.checked_sub(self.words)? / 8).ok().filter(|&w| w < self.image.words())?;
        Some(match word.checked_sub(unit.words) {
            Some(0) => "number of the translation".to_owned(),
            Some(1) => "address of its sites".to_owned(),
            Some(own) if (own as usize) < 2 + unit.links.len() => {
                format!("cell of {:03x}", unit.links[own as usize - 2])
            }
            _ => format!("word {word}"),
        })
    }
}

fn guest(unit: &AheadUnit, site: &AheadSite) -> String {
    let digits = 2 * usize::from(site.bytes());
    let insn = decode(site.bits, Extensions::all());
    let spelling = insn.map_or("(unknown)".to_owned(), |insn| disassemble(&insn, site.offset.into()));
    let entry = unit.entries.iter().any(|entry| entry.0 == site.offset);
    let mark = if entry { '>' } else { ' ' };
    let width = 2 * BYTES;
    let bits = format!("{:0digits$x}", site.bits);
    let slot = if site.slot == 0 { String::new() } else { format!("  ; inline cache {}", site.slot) };
    let beside = if site.beside { "  ; beside code" } else { "" };
    let apart = if site.apart { "  ; checked apart" } else { "" };
    format!("  {mark} {:06x}  {bits:<width$}  {spelling}{slot}{beside}{apart}\n", site.offset)
}
