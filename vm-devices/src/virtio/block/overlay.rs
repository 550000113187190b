//! Layers over an image that stays as it is: what is stored goes to the uppermost, what is loaded comes from
//! the uppermost that has it.
//!
//! ```text
//!  store ──► top      ░░▓░░░░▓▓░░░  a temporary file of this machine
//!            saved    ░▓▓░░░░░░░░░  what snapshots kept, if the machine goes on from one: the newest first
//!  load  ◄── image    ▓▓▓▓▓▓▓▓▓▓▓▓  shared with whoever else reads it
//! ```
//! A layer is a sparse file as long as the image, and a set of the clusters it has. A cluster is there as a
//! whole: what a store leaves of its first and last one is copied up before.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use parking_lot::Mutex;
use vm_memory::VolatileSlice;
use vm_memory::bitmap::BitmapSlice;

use super::super::host;

/// Bytes of a cluster.
pub const CLUSTER: u64 = 4096;

/// A set of clusters, one bit each.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Clusters(Vec<u64>);

impl Clusters {
    /// Adds a cluster.
    pub fn insert(&mut self, cluster: u64) {
        let word = (cluster / 64) as usize;
        if self.0.len() <= word {
            self.0.resize(word + 1, 0);
        }
        self.0[word] |= 1 << (cluster % 64);
    }

    /// Whether a cluster is in it.
    pub fn contains(&self, cluster: u64) -> bool {
        self.0.get((cluster / 64) as usize).is_some_and(|word| word >> (cluster % 64) & 1 == 1)
    }

    /// All of them, ascending.
    pub fn iter(&self) -> impl Iterator<Item = u64> + '_ {
        let bits = |(at, &word): (usize, &u64)| {
            (0..64).filter(move |bit| word >> bit & 1 == 1).map(move |bit| at as u64 * 64 + bit)
        };
        self.0.iter().enumerate().flat_map(bits)
    }
}

/// One layer.
#[derive(Debug)]
pub struct Layer {
    /// Its clusters, each at its own offset.
    pub file: File,
    /// Which it has.
    pub clusters: Clusters,
}

/// All layers over an image.
#[derive(Debug)]
pub(super) struct Layers {
    /// The oldest first.
    saved: Vec<Layer>,
    top: File,
    stored: Mutex<Clusters>,
    /// Stored to since somebody asked. Taken with `stored` held.
    since: Mutex<Clusters>,
}

/// Where a piece of the disk is.
enum Place<'a> {
    Layer(&'a File),
    Image,
}

impl Layers {
    /// Over what was `saved`, the oldest first; `top` is an empty file.
    pub fn new(saved: Vec<Layer>, top: File) -> Layers {
        Layers { saved, top, stored: Mutex::default(), since: Mutex::default() }
    }

    /// The clusters that differ from the image, and so are what a snapshot keeps.
    pub fn kept(&self) -> Clusters {
        let mut kept = self.stored.lock().clone();
        self.saved.iter().flat_map(|layer| layer.clusters.iter()).for_each(|cluster| kept.insert(cluster));
        kept
    }

    /// The clusters that may have been stored to since the last call.
    pub fn take_since(&self) -> Clusters {
        let _nothing_stored = self.stored.lock();
        std::mem::take(&mut *self.since.lock())
    }

    /// Fills `slices` from `offset` on; gives how many bytes there were, like a file.
    pub fn read<B: BitmapSlice>(
        &self,
        image: &File,
        slices: &[VolatileSlice<B>],
        offset: u64,
    ) -> io::Result<u64> {
        let stored = self.stored.lock();
        let total: u64 = slices.iter().map(|slice| slice.len() as u64).sum();
        let mut done = 0;
        while done < total {
            let (place, len) = self.run(&stored, offset + done, total - done);
            let piece = part(slices, done, len)?;
            let file = match place {
                Place::Layer(file) => file,
                Place::Image => image,
            };
            let count = host::read_at(file, &piece, offset + done)?;
            done += count;
            if count < len {
                break;
            }
        }
        Ok(done)
    }

    /// Stores `slices` from `offset` on.
    pub fn write<B: BitmapSlice>(
        &self,
        image: &File,
        slices: &[VolatileSlice<B>],
        offset: u64,
    ) -> io::Result<()> {
        let len = slices.iter().map(|slice| slice.len() as u64).sum();
        self.store(image, offset, len, |top| host::write_at(top, slices, offset))
    }

    /// Makes the range read as zeros.
    pub fn zero(&self, image: &File, offset: u64, len: u64) -> io::Result<()> {
        static ZEROS: [u8; 1 << 16] = [0; 1 << 16];
        self.store(image, offset, len, |top| {
            let mut done = 0;
            while done < len {
                let count = (len - done).min(ZEROS.len() as u64);
                top.write_all_at(&ZEROS[..count as usize], offset + done)?;
                done += count;
            }
            Ok(())
        })
    }

    /// Copies up what `act` leaves of the clusters it changes, lets it change them, and notes them.
    fn store(
        &self,
        image: &File,
        offset: u64,
        len: u64,
        act: impl FnOnce(&File) -> io::Result<()>,
    ) -> io::Result<()> {
        if len == 0 {
            return Ok(());
        }
        let mut stored = self.stored.lock();
        let (first, last) = (offset / CLUSTER, (offset + len - 1) / CLUSTER);
        // Before, because a store that fails may have changed something.
        (first..=last).for_each(|cluster| self.since.lock().insert(cluster));
        for cluster in [first, last] {
            let whole = offset <= cluster * CLUSTER && (cluster + 1) * CLUSTER <= offset + len;
            if !whole && !stored.contains(cluster) {
                self.copy_up(image, &stored, cluster)?;
                stored.insert(cluster);
            }
        }
        act(&self.top)?;
        (first..=last).for_each(|cluster| stored.insert(cluster));
        Ok(())
    }

    fn copy_up(&self, image: &File, stored: &Clusters, cluster: u64) -> io::Result<()> {
        let mut bytes = [0; CLUSTER as usize];
        self.cluster(image, stored, cluster, &mut bytes)?;
        self.top.write_all_at(&bytes, cluster * CLUSTER)
    }

    /// What a cluster reads as. Behind the end of the image there are zeros.
    pub fn read_cluster(&self, image: &File, cluster: u64, bytes: &mut [u8]) -> io::Result<()> {
        self.cluster(image, &self.stored.lock(), cluster, bytes)
    }

    fn cluster(&self, image: &File, stored: &Clusters, cluster: u64, bytes: &mut [u8]) -> io::Result<()> {
        let file = match self.run(stored, cluster * CLUSTER, CLUSTER).0 {
            Place::Layer(file) => file,
            Place::Image => image,
        };
        bytes.fill(0);
        let mut done = 0;
        while done < bytes.len() {
            match file.read_at(&mut bytes[done..], cluster * CLUSTER + done as u64) {
                Ok(0) => break,
                Ok(count) => done += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Where the byte at `offset` is, and how many of the `most` bytes from there on are in the same place.
    fn run(&self, stored: &Clusters, offset: u64, most: u64) -> (Place<'_>, u64) {
        // 0 is the image, the next ones are the layers, the last one is the top.
        let above = self.saved.len() + 1;
        let level = |cluster| match stored.contains(cluster) {
            true => above,
            false => {
                self.saved.iter().rposition(|layer| layer.clusters.contains(cluster)).map_or(0, |at| at + 1)
            }
        };
        let first = offset / CLUSTER;
        let here = level(first);
        let end = offset + most;
        let next = (first + 1..).find(|&cluster| cluster * CLUSTER >= end || level(cluster) != here);
        let len = next.map_or(most, |cluster| (cluster * CLUSTER).min(end) - offset);
        let place = match here {
            0 => Place::Image,
            _ => Place::Layer(self.saved.get(here - 1).map_or(&self.top, |layer| &layer.file)),
        };
        (place, len)
    }
}

/// `len` bytes of `slices` from byte `from` on.
fn part<'a, B: BitmapSlice>(
    slices: &[VolatileSlice<'a, B>],
    from: u64,
    len: u64,
) -> io::Result<Vec<VolatileSlice<'a, B>>> {
    let (mut skip, mut left) = (from as usize, len as usize);
    let mut parts = Vec::new();
    for slice in slices {
        let start = skip.min(slice.len());
        skip -= start;
        let count = (slice.len() - start).min(left);
        if count > 0 {
            parts.push(slice.subslice(start, count).map_err(io::Error::other)?);
            left -= count;
        }
    }
    Ok(parts)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use vm_memory::{Bytes, GuestAddress, GuestMemory, GuestMemoryMmap, Permissions};

    const DISK: usize = 10 * CLUSTER as usize + 512;

    fn image() -> File {
        let file = tempfile::tempfile().unwrap();
        let bytes: Vec<u8> = (0..DISK).map(|at| (at / 512) as u8 | 0x80).collect();
        file.write_all_at(&bytes, 0).unwrap();
        file
    }

    fn content(file: &File) -> Vec<u8> {
        let mut bytes = vec![0; DISK];
        file.read_exact_at(&mut bytes, 0).unwrap();
        bytes
    }

    /// A snapshot keeps what differs; a machine that goes on has it below its own layer.
    fn kept(layers: &Layers, image: &File) -> Layer {
        let saved = Layer { file: tempfile::tempfile().unwrap(), clusters: layers.kept() };
        for cluster in saved.clusters.iter() {
            let mut bytes = [0; CLUSTER as usize];
            layers.read_cluster(image, cluster, &mut bytes).unwrap();
            saved.file.write_all_at(&bytes, cluster * CLUSTER).unwrap();
        }
        saved
    }

    /// Does what `steps` say to layers and to plain bytes, and compares all reads.
    fn play(layers: &Layers, image: &File, model: &mut [u8], steps: &[(u8, usize, usize, u8)]) {
        let mem: GuestMemoryMmap<()> = GuestMemoryMmap::from_ranges(&[(GuestAddress(0), 0x2_0000)]).unwrap();
        for &(what, start, len, byte) in steps {
            let (start, len) = (start % (DISK / 512), len % 40 + 1);
            let (start, len) = (start * 512, (len * 512).min(DISK - start * 512));
            // In two pieces.
            let split = len / 2 / 512 * 512;
            let slices: Vec<_> = [(0, split), (0x1_0000, len - split)]
                .into_iter()
                .filter(|&(_, len)| len > 0)
                .map(|(at, len)| {
                    mem.get_slices(GuestAddress(at), len, Permissions::Write)
                        .unwrap()
                        .next()
                        .unwrap()
                        .unwrap()
                })
                .collect();
            match what % 3 {
                0 => {
                    slices.iter().for_each(|slice| slice.write_slice(&vec![byte; slice.len()], 0).unwrap());
                    layers.write(image, &slices, start as u64).unwrap();
                    model[start..start + len].fill(byte);
                }
                1 => {
                    layers.zero(image, start as u64, len as u64).unwrap();
                    model[start..start + len].fill(0);
                }
                _ => {
                    assert_eq!(layers.read(image, &slices, start as u64).unwrap(), len as u64);
                    let mut read = vec![0; len];
                    slices[0].read_slice(&mut read[..slices[0].len()], 0).unwrap();
                    if let Some(second) = slices.get(1) {
                        second.read_slice(&mut read[len - second.len()..], 0).unwrap();
                    }
                    assert!(read == model[start..start + len], "{start:#x}+{len:#x}");
                }
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn layers_read_like_one_disk_and_the_image_stays(
            steps in prop::collection::vec(any::<(u8, usize, usize, u8)>(), 1..60),
        ) {
            let image = image();
            let before = content(&image);
            let mut model = before.clone();
            let third = steps.len() / 3;
            let lower = Layers::new(Vec::new(), tempfile::tempfile().unwrap());
            play(&lower, &image, &mut model, &steps[..third]);
            let middle = Layers::new(vec![kept(&lower, &image)], tempfile::tempfile().unwrap());
            play(&middle, &image, &mut model, &steps[third..2 * third]);
            // What a snapshot keeps on top of the one before.
            let both = vec![kept(&lower, &image), kept(&middle, &image)];
            let upper = Layers::new(both, tempfile::tempfile().unwrap());
            play(&upper, &image, &mut model, &steps[2 * third..]);
            let all: Vec<_> = (0..DISK / 512).map(|sector| (2, sector, 0, 0)).collect();
            play(&upper, &image, &mut model, &all);
            prop_assert!(content(&image) == before);
            let since = middle.take_since();
            prop_assert!(since.iter().all(|cluster| middle.kept().contains(cluster)));
            prop_assert!(middle.kept().iter().all(|cluster| since.contains(cluster) || lower.kept().contains(cluster)));
            prop_assert_eq!(middle.take_since().iter().count(), 0);
            for cluster in lower.kept().iter().chain(middle.kept().iter()) {
                prop_assert!(upper.kept().contains(cluster));
            }
        }
    }
}
