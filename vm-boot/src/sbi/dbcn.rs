//! Debug console (SBI 3.0, chapter 12): whole buffers a call.

use super::{Answer, Call, Caller, Error};

/// Bytes moved between guest memory and console at a time; a call may move any number.
const CHUNK: usize = 4096;

pub(super) fn handle(call: &Call, caller: &mut dyn Caller) -> Answer {
    let [len, low, high, ..] = call.args;
    let result = match call.function {
        0 => buffer(len, low, high, caller).map(|()| write(low, len, caller)),
        1 => buffer(len, low, high, caller).map(|()| read(low, len, caller)),
        2 => {
            caller.console_write(&[call.args[0] as u8]);
            Ok(0)
        }
        _ => Err(Error::NotSupported),
    };
    result.into()
}

/// The buffer must be RAM from end to end. Physical addresses have no high half on RV64.
fn buffer(len: u64, low: u64, high: u64, caller: &dyn Caller) -> Result<(), Error> {
    if high == 0 && (len == 0 || caller.is_ram(low, len)) { Ok(()) } else { Err(Error::InvalidParam) }
}

/// Returns the bytes written; stops short if the memory goes away meanwhile.
fn write(gpa: u64, len: u64, caller: &mut dyn Caller) -> u64 {
    let mut chunk = [0; CHUNK];
    let mut done = 0;
    while done < len {
        let part = &mut chunk[..(len - done).min(CHUNK as u64) as usize];
        if !caller.read(gpa + done, part) {
            break;
        }
        caller.console_write(part);
        done += part.len() as u64;
    }
    done
}

/// Returns the bytes read, 0 if nothing was typed.
fn read(gpa: u64, len: u64, caller: &mut dyn Caller) -> u64 {
    let mut chunk = [0; CHUNK];
    let mut done = 0;
    while done < len {
        let room = (len - done).min(CHUNK as u64) as usize;
        let got = caller.console_read(&mut chunk[..room]);
        if got == 0 || !caller.write(gpa + done, &chunk[..got]) {
            break;
        }
        done += got as u64;
    }
    done
}

#[cfg(test)]
mod tests {
    use super::super::fake::{Fake, RAM};
    use super::super::{Answer, Error, answer};

    const DBCN: u32 = 0x4442_434e;

    #[test]
    fn writes_whole_buffers() {
        let mut fake = Fake::new(1);
        let text: Vec<u8> = (0..10_000u32).map(|i| i as u8).collect();
        fake.ram[16..16 + text.len()].copy_from_slice(&text);
        let call = Fake::call(DBCN, 0, &[text.len() as u64, RAM.start + 16, 0]);
        assert_eq!(answer(&call, &mut fake), Answer::Value(10_000));
        assert_eq!(fake.printed, text);
        answer(&Fake::call(DBCN, 2, &[0x1_41]), &mut fake);
        assert_eq!(fake.printed.last(), Some(&b'A'));
    }

    #[test]
    fn reads_what_was_typed_and_no_more() {
        let mut fake = Fake::new(1);
        fake.typed.extend(b"hello");
        let call = Fake::call(DBCN, 1, &[3, RAM.start, 0]);
        assert_eq!(answer(&call, &mut fake), Answer::Value(3));
        assert_eq!(answer(&call, &mut fake), Answer::Value(2));
        assert_eq!(answer(&call, &mut fake), Answer::Value(0));
        assert_eq!(&fake.ram[..3], b"lol");
    }

    #[test]
    fn buffers_outside_ram_are_refused() {
        let mut fake = Fake::new(1);
        for args in [
            [1, RAM.start, 1],
            [1, 0, 0],
            [2, RAM.end - 1, 0],
            [u64::MAX, RAM.start, 0],
            [RAM.end - RAM.start + 1, RAM.start, 0],
        ] {
            for function in [0, 1] {
                let call = Fake::call(DBCN, function, &args);
                assert_eq!(answer(&call, &mut fake), Answer::Error(Error::InvalidParam), "{args:x?}");
            }
        }
        assert_eq!(answer(&Fake::call(DBCN, 0, &[0, 0, 0]), &mut fake), Answer::Value(0));
        assert_eq!(fake.printed, b"");
    }
}
