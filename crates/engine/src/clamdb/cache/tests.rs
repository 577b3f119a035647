use std::{
    cell::Cell,
    os::unix::fs::symlink,
    time::{Duration, SystemTime},
};

use super::*;

/// A folder of signatures, a cache, and how often was compiled.
struct Setup {
    folder: tempfile::TempDir,
    compiled: Cell<usize>,
}

impl Setup {
    fn new() -> Self {
        let setup = Self { folder: tempfile::tempdir().unwrap(), compiled: Cell::new(0) };
        fs::create_dir(setup.signatures()).unwrap();
        setup.put("a.hdb", "one");
        setup.put("b.ndb", "two");
        setup
    }

    fn signatures(&self) -> PathBuf {
        self.folder.path().join("signatures")
    }

    fn cache(&self) -> PathBuf {
        self.folder.path().join("cache")
    }

    /// Written an hour ago, as far as the times tell that can be set.
    fn put(&self, name: &str, text: &str) {
        let path = self.signatures().join(name);
        fs::write(&path, text).unwrap();
        let before = SystemTime::now() - Duration::from_secs(3600);
        File::options().write(true).open(path).unwrap().set_modified(before).unwrap();
    }

    /// What the cache gives, and whether it had to be compiled.
    fn load(&self, settings: &str) -> (Vec<u8>, bool) {
        let mut paths: Vec<_> = fs::read_dir(self.signatures()).unwrap().map(|entry| entry.unwrap().path()).collect();
        paths.sort();
        let origin = Origin { folder: &self.signatures(), paths: &paths, settings: settings.to_owned() };
        let before = self.compiled.get();
        let compile = |writer: &mut Writer<'_>| {
            self.compiled.set(self.compiled.get() + 1);
            let all: Vec<u8> = paths.iter().flat_map(|path| fs::read(path).unwrap()).collect();
            writer.section(&all).map_err(|error| LoadError::Signatures { message: error.to_string() })
        };
        let block = load(&self.cache(), &origin, &compile).unwrap();
        let mut reader = block.reader();
        skip_manifest(&mut reader).unwrap();
        (reader.section::<u8>().unwrap().to_vec(), self.compiled.get() > before)
    }

    fn kept(&self) -> PathBuf {
        let mut kept = fs::read_dir(self.cache()).unwrap().map(|entry| entry.unwrap().path());
        kept.find(|path| path.extension().is_none()).unwrap()
    }
}

#[test]
fn what_was_compiled_once_is_mapped() {
    let setup = Setup::new();
    assert_eq!(setup.load(""), (b"onetwo".to_vec(), true));
    assert_eq!(setup.load(""), (b"onetwo".to_vec(), false));
    let mode = |path: &Path| fs::metadata(path).unwrap().mode() & 0o7777;
    assert_eq!((mode(&setup.cache()), mode(&setup.kept())), (0o700, 0o400));
    let left: Vec<_> = fs::read_dir(setup.cache()).unwrap().collect();
    assert_eq!(left.len(), 2, "the cache and its lock alone: {left:?}");
}

#[test]
fn a_change_is_noticed() {
    let setup = Setup::new();
    setup.load("");
    // The same length and time of modification.
    setup.put("a.hdb", "eno");
    assert_eq!(setup.load(""), (b"enotwo".to_vec(), true));
    setup.put("c.ndb", "three");
    assert_eq!(setup.load(""), (b"enotwothree".to_vec(), true));
    fs::rename(setup.signatures().join("c.ndb"), setup.signatures().join("d.ndb")).unwrap();
    assert!(setup.load("").1);
    fs::remove_file(setup.signatures().join("d.ndb")).unwrap();
    assert_eq!(setup.load(""), (b"enotwo".to_vec(), true));
    assert!(setup.load("other settings").1 && !setup.load("other settings").1 && setup.load("").1);
}

#[test]
fn files_that_were_only_copied_are_the_same() {
    let setup = Setup::new();
    setup.load("");
    setup.put("a.hdb", "one");
    assert_eq!(setup.load(""), (b"onetwo".to_vec(), false));
}

#[test]
fn a_damaged_cache_is_made_again() {
    let setup = Setup::new();
    setup.load("");
    let whole = fs::read(setup.kept()).unwrap();
    for at in 0..whole.len() {
        let mut damaged = whole.clone();
        damaged[at] ^= 0x40;
        replace(&setup.kept(), &damaged, 0o600);
        assert_eq!(setup.load(""), (b"onetwo".to_vec(), true), "byte {at}");
    }
    for length in [0, 1, 31, 32, 63, 64, whole.len() - 1] {
        replace(&setup.kept(), &whole[..length], 0o600);
        assert_eq!(setup.load(""), (b"onetwo".to_vec(), true), "cut to {length}");
    }
}

#[test]
fn a_cache_that_others_could_have_written_is_not_used() {
    let setup = Setup::new();
    setup.load("");
    let whole = fs::read(setup.kept()).unwrap();
    replace(&setup.kept(), &whole, 0o620);
    assert!(setup.load("").1);
    // Nor is a link followed, and what it points to stays as it is.
    let elsewhere = setup.folder.path().join("elsewhere");
    replace(&elsewhere, &whole, 0o600);
    let kept = setup.kept();
    fs::remove_file(&kept).unwrap();
    symlink(&elsewhere, &kept).unwrap();
    assert!(setup.load("").1 && fs::read(&elsewhere).unwrap() == whole);
    fs::set_permissions(setup.cache(), Permissions::from_mode(0o777)).unwrap();
    assert!(setup.load("").1 && setup.load("").1, "a folder that is open to others is not used");
}

#[test]
fn without_a_place_all_is_compiled_in_memory() {
    let setup = Setup::new();
    fs::write(setup.cache(), "a file where the folder should be").unwrap();
    assert!(setup.load("").1 && setup.load("").1);
}

#[test]
fn what_does_not_compile_leaves_the_cache_as_it_is() {
    let setup = Setup::new();
    setup.load("");
    let whole = fs::read(setup.kept()).unwrap();
    let origin = Origin { folder: &setup.signatures(), paths: &[], settings: String::new() };
    let refuses = |_: &mut Writer<'_>| Err(LoadError::Signatures { message: "no".into() });
    assert!(load(&setup.cache(), &origin, &refuses).is_err());
    assert_eq!(fs::read(setup.kept()).unwrap(), whole);
    assert!(!setup.load("").1);
}

#[test]
fn several_at_once_compile_once() {
    let setup = Setup::new();
    let (folder, cache) = (setup.signatures(), setup.cache());
    let paths = [folder.join("a.hdb"), folder.join("b.ndb")];
    let compiled = std::sync::atomic::AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                let origin = Origin { folder: &folder, paths: &paths, settings: String::new() };
                let compile = |writer: &mut Writer<'_>| {
                    compiled.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                    std::thread::sleep(Duration::from_millis(50));
                    writer.section(b"all").map_err(|error| LoadError::Signatures { message: error.to_string() })
                };
                let block = load(&cache, &origin, &compile).unwrap();
                let mut reader = block.reader();
                skip_manifest(&mut reader).unwrap();
                assert_eq!(&*reader.section::<u8>().unwrap(), b"all");
            });
        }
    });
    assert_eq!(compiled.into_inner(), 1);
}

fn replace(path: &Path, bytes: &[u8], mode: u32) {
    fs::remove_file(path).unwrap_or_default();
    fs::write(path, bytes).unwrap();
    fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
}
