// Shared with the build script: what the layout of structures follows from, as a number.

/// Where sources are that decide on it, from the workspace on.
const SOURCES: [&str; 4] = ["Cargo.lock", "vm-cpu/src", "vm-codecache/src", "vm-mmu/src"];

/// FNV-1a of the names and bytes of the sources, and of what the compiler says of itself.
fn hash_of_sources(workspace: &Path, compiler: &[u8]) -> io::Result<u64> {
    let mut files: Vec<PathBuf> = SOURCES.iter().map(|name| workspace.join(name)).collect();
    let (mut hash, mut at) = (0xcbf2_9ce4_8422_2325u64, 0);
    let mut add = |bytes: &[u8]| {
        for &byte in bytes {
            hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
    };
    add(compiler);
    while let Some(path) = files.get(at).cloned() {
        at += 1;
        if path.is_dir() {
            let mut names = fs::read_dir(&path)?
                .map(|entry| entry.map(|entry| entry.path()))
                .collect::<io::Result<Vec<_>>>()?;
            names.sort();
            files.extend(names);
        } else {
            add(path.strip_prefix(workspace).unwrap_or(&path).as_os_str().as_encoded_bytes());
            add(&fs::read(&path)?);
        }
    }
    Ok(hash)
}
