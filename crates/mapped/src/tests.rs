use std::{
    fs::{self, OpenOptions, Permissions},
    io::{Read, Seek, Write},
    os::{
        fd::OwnedFd,
        unix::fs::{OpenOptionsExt, PermissionsExt},
    },
};

use rustix::fs::{MemfdFlags, fcntl_add_seals, memfd_create};

use super::*;

fn private(folder: &tempfile::TempDir, bytes: &[u8], mode: u32) -> File {
    let path = folder.path().join("file");
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path).unwrap();
    file.write_all(bytes).unwrap();
    fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
    File::open(path).unwrap()
}

fn unsealed(bytes: &[u8]) -> OwnedFd {
    let mut file = File::from(memfd_create("test", MemfdFlags::ALLOW_SEALING).unwrap());
    file.write_all(bytes).unwrap();
    file.into()
}

#[test]
fn a_missing_seal_refuses() {
    assert!(matches!(Mapped::sealed(unsealed(b"abc")), Err(MapError::NotSealed)));
    for missing in [SealFlags::WRITE, SealFlags::GROW, SealFlags::SHRINK, SealFlags::SEAL] {
        let file = unsealed(b"abc");
        fcntl_add_seals(&file, SEALS - missing).unwrap();
        assert!(matches!(Mapped::sealed(&file), Err(MapError::NotSealed)), "without {missing:?}");
    }
    let folder = tempfile::tempdir().unwrap();
    assert!(matches!(Mapped::sealed(private(&folder, b"abc", 0o600)), Err(MapError::NotSealed)), "a file of a folder has no seals");
}

#[test]
fn a_file_that_others_reach_refuses() {
    for mode in [0o640, 0o604, 0o620, 0o602, 0o610, 0o601] {
        let folder = tempfile::tempdir().unwrap();
        assert!(matches!(Mapped::private_file(&private(&folder, b"abc", mode)), Err(MapError::NotPrivate(shown)) if shown == mode));
    }
}

#[test]
fn what_is_no_regular_file_refuses() {
    let folder = tempfile::tempdir().unwrap();
    assert!(matches!(Mapped::private_file(&File::open(folder.path()).unwrap()), Err(MapError::NotRegular)));
    assert!(matches!(Mapped::private_file(&File::open("/dev/null").unwrap()), Err(MapError::NotRegular)));
}

#[test]
fn a_file_of_another_user_refuses() {
    // Only root has files of others that it can read and that nobody else can.
    if geteuid().is_root() {
        let folder = tempfile::tempdir().unwrap();
        let file = private(&folder, b"abc", 0o600);
        std::os::unix::fs::chown(folder.path().join("file"), Some(12_345), None).unwrap();
        assert!(matches!(Mapped::private_file(&file), Err(MapError::NotOurs)));
    }
}

#[test]
fn sealed_bytes_are_read_by_all_and_changed_by_none() {
    let file = seal("test", b"some bytes").unwrap();
    let map = Mapped::sealed(&file).unwrap();
    assert_eq!(&*map, b"some bytes");
    let mut again = File::from(file.try_clone().unwrap());
    assert!(again.write_all(b"x").is_err() && again.set_len(0).is_err() && again.set_len(100).is_err());
    again.rewind().unwrap();
    let mut read = Vec::new();
    again.read_to_end(&mut read).unwrap();
    assert_eq!(read, b"some bytes");
    drop((file, again));
    std::thread::spawn(move || assert_eq!(&*map, b"some bytes")).join().unwrap();
}

#[test]
fn bytes_may_come_piece_by_piece() {
    let mut sealing = Sealing::new("test").unwrap();
    for piece in 0..1000u32 {
        sealing.write_all(&piece.to_le_bytes()).unwrap();
    }
    let map = Mapped::sealed(sealing.finish().unwrap()).unwrap();
    assert!(map.chunks(4).zip(0..1000u32).all(|(found, piece)| found == piece.to_le_bytes()) && map.len() == 4000);
}

#[test]
fn nothing_is_mapped_as_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let maps = [Mapped::sealed(seal("test", b"").unwrap()).unwrap(), Mapped::private_file(&private(&folder, b"", 0o600)).unwrap()];
    maps.iter().for_each(|map| {
        map.will_need();
        assert!(map.is_empty());
    });
}

#[test]
fn a_private_file_stays_mapped_when_another_takes_its_place() {
    let folder = tempfile::tempdir().unwrap();
    let map = Mapped::private_file(&private(&folder, &[7; 10_000], 0o400)).unwrap();
    map.will_need();
    fs::write(folder.path().join("other"), b"other").unwrap();
    fs::rename(folder.path().join("other"), folder.path().join("file")).unwrap();
    assert!(map.len() == 10_000 && map.iter().all(|&byte| byte == 7));
}
