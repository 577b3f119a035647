//! Tells the code that reads and compiles ClamAV signatures from any other version of it: what one compiled, another must not use.

use std::{env, fs, io, path::Path};

const CODE: [&str; 2] = ["src/clamdb.rs", "src/clamdb"];

fn main() -> io::Result<()> {
    let mut sum = 0xcbf2_9ce4_8422_2325;
    for path in CODE {
        println!("cargo::rerun-if-changed={path}");
        add(&mut sum, Path::new(path))?;
    }
    println!("cargo::rustc-env=FILESAFETY_CLAMDB_CODE={sum:016x} {}", env::var("TARGET").unwrap_or_default());
    Ok(())
}

/// The file, or each file of the folder in the order of names, by FNV-1a.
fn add(sum: &mut u64, path: &Path) -> io::Result<()> {
    if path.is_dir() {
        let mut paths = fs::read_dir(path)?.map(|entry| Ok(entry?.path())).collect::<io::Result<Vec<_>>>()?;
        paths.sort();
        return paths.iter().try_for_each(|path| add(sum, path));
    }
    let bytes = fs::read(path)?;
    for byte in path.as_os_str().as_encoded_bytes().iter().chain(&bytes) {
        *sum = (*sum ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3);
    }
    Ok(())
}
