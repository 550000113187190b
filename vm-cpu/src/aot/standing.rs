//! What runs have shown of an image, as a file beside it.
//!
//! ```text
//!  00000042-x86-64-v3.aot
//!  00000042-x86-64-v3.aot.proven        a digest of the image's header: runs compared it, and found nothing
//!  00000042-x86-64-v3.aot.quarantined   the same, and what was found
//! ```
//! **Invariant.** It is of one image: another under the same name begins anew.

use std::fs;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use super::draft::Draft;
use super::image::hex;

/// What is known of an image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It is new: what it does is to be compared.
    Canary,
    /// It was compared, and did what it should.
    Proven,
    /// It did not; what was found.
    Quarantined(String),
}

const PROVEN: &str = "proven";
const QUARANTINED: &str = "quarantined";

impl Standing {
    /// Of the image at a path, whose first page is `page`.
    pub fn of(image: &Path, page: &[u8]) -> io::Result<Standing> {
        let id = id(page);
        let told = |ending: &str| match fs::read_to_string(beside(image, ending)) {
            Ok(text) => {
                Ok(text.split_once('\n').filter(|(of, _)| *of == id).map(|(_, rest)| rest.to_owned()))
            }
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        };
        if let Some(report) = told(QUARANTINED)? {
            return Ok(Standing::Quarantined(report));
        }
        Ok(told(PROVEN)?.map_or(Standing::Canary, |_| Standing::Proven))
    }

    /// Notes it; where.
    pub fn note(&self, image: &Path, page: &[u8]) -> io::Result<Option<PathBuf>> {
        let (ending, report) = match self {
            Standing::Canary => return Ok(None),
            Standing::Proven => (PROVEN, ""),
            Standing::Quarantined(report) => (QUARANTINED, report.as_str()),
        };
        let path = beside(image, ending);
        let dir = image.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
        Draft::write(dir, format!("{}\n{report}\n", id(page)).as_bytes())?.replace(&path)?;
        Ok(Some(path))
    }
}

/// The image that a file says something of, if it is such a file.
pub fn image_of(path: &Path) -> Option<PathBuf> {
    let ours = path.extension().is_some_and(|end| end == PROVEN || end == QUARANTINED);
    ours.then(|| path.with_extension(""))
}

fn beside(image: &Path, ending: &str) -> PathBuf {
    let mut path = image.as_os_str().to_owned();
    path.push(".");
    path.push(ending);
    path.into()
}

fn id(page: &[u8]) -> String {
    hex(blake3::hash(page).as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_found_stays_with_the_image_and_with_no_other() {
        let dir = tempfile::tempdir().unwrap();
        let image = dir.path().join("1.aot");
        let of = |page: &[u8]| Standing::of(&image, page).unwrap();
        assert_eq!(of(b"one"), Standing::Canary);
        let noted = Standing::Proven.note(&image, b"one").unwrap().unwrap();
        assert_eq!((of(b"one"), of(b"two")), (Standing::Proven, Standing::Canary));
        assert_eq!(image_of(&noted), Some(image.clone()));
        let bad = Standing::Quarantined("x5 differs\nand x6".to_owned());
        bad.note(&image, b"one").unwrap();
        let Standing::Quarantined(report) = of(b"one") else { panic!("it is what was noted last") };
        assert!(report.contains("and x6"), "{report}");
        assert_eq!(of(b"two"), Standing::Canary);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 2, "no drafts");
    }
}
