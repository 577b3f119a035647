use filesafety_model::Verdict;
use filesafety_store::{Accepted, Access, Lease, StoreError};

use crate::support::{Fixture, QUEUE, at, blob, facts, fixture, new_scan, now, open, outcome};

const CHUNK: usize = 64 * 1024;

async fn stored(f: &Fixture, bytes: &[u8]) -> Lease {
    let upload = blob(&f.store, bytes).await;
    assert_eq!(upload.size(), bytes.len() as u64);
    assert_eq!(f.store.accept(new_scan(f.account), facts(1), upload, QUEUE).await.unwrap(), Accepted::Queued);
    f.store.claim(now(), at(60), 1).await.unwrap().remove(0).lease
}

#[tokio::test]
async fn uploads_of_every_length_come_back() {
    let f = fixture().await;
    for length in [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 3 * CHUNK, 3 * CHUNK + 7, 4 * CHUNK, 4 * CHUNK + 1, 9 * CHUNK + 5] {
        let bytes: Vec<u8> = (0..length).map(|index| (index / 7) as u8).collect();
        let mut writer = f.store.blob_writer().await.unwrap();
        for piece in bytes.chunks(1000) {
            writer.write(piece).await.unwrap();
        }
        let upload = writer.finish().await.unwrap();
        assert_eq!(f.store.accept(new_scan(f.account), facts(1), upload, QUEUE).await.unwrap(), Accepted::Queued);
        let lease = f.store.claim(now(), at(60), 1).await.unwrap().remove(0).lease;
        let read = f.store.read_blob(&lease, Vec::with_capacity(length)).await.unwrap();
        assert!(read == bytes && read.capacity() == bytes.len(), "{length}");
    }
}

#[tokio::test]
async fn an_upload_is_not_readable_on_disk() {
    let f = fixture().await;
    stored(&f, &[b"open secret ".repeat(10_000)].concat()).await;
    let file = std::fs::read(&f.uploads()[0]).unwrap();
    assert!(!file.windows(11).any(|window| window == b"open secret"));
    let mode = std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(&f.uploads()[0]).unwrap().permissions());
    assert_eq!(mode & 0o777, 0o600);
}

#[tokio::test]
async fn a_damaged_upload_is_told() {
    let f = fixture().await;
    let lease = stored(&f, &vec![5; 2 * CHUNK + 9]).await;
    let path = f.uploads().remove(0);
    let whole = std::fs::read(&path).unwrap();
    let sealed = CHUNK + 16;
    let flip = |place: usize| {
        let mut bytes = whole.clone();
        bytes[place] ^= 1;
        bytes
    };
    let swapped = [&whole[sealed..2 * sealed], &whole[..sealed], &whole[2 * sealed..]].concat();
    let repeated = [&whole[..sealed], &whole[..sealed], &whole[2 * sealed..]].concat();
    for damaged in
        [flip(0), flip(whole.len() - 1), flip(sealed), swapped, repeated, whole[..2 * sealed].to_vec(), vec![], [&whole[..], b"x"].concat()]
    {
        std::fs::write(&path, damaged).unwrap();
        assert!(matches!(f.store.read_blob(&lease, Vec::new()).await, Err(StoreError::Corrupt(_))));
    }
    std::fs::remove_file(&path).unwrap();
    assert!(matches!(f.store.read_blob(&lease, Vec::new()).await, Err(StoreError::Corrupt(_))));
    f.store.complete(lease, outcome(Verdict::Failed)).await.unwrap();
}

#[tokio::test]
async fn what_no_row_names_goes() {
    let f = fixture().await;
    let mut writer = f.store.blob_writer().await.unwrap();
    writer.write(&[1; 3 * CHUNK]).await.unwrap();
    drop(writer);
    drop(blob(&f.store, b"abc").await);
    let lease = stored(&f, b"kept").await;
    std::fs::write(f.folder.path().join("data/uploads/orphan"), b"x").unwrap();
    let Fixture { store, account, folder } = f;
    store.close().await;
    assert!(matches!(store.ping().await, Err(StoreError::Unavailable(_))));
    let shared = open(&folder, Access::Shared).await.unwrap();
    let f = Fixture { store: shared, account, folder };
    assert!(f.uploads().len() >= 2, "a command beside a server sweeps nothing");
    f.store.close().await;
    let store = open(&f.folder, Access::Exclusive).await.unwrap();
    assert_eq!(f.uploads().len(), 1);
    assert_eq!(store.read_blob(&lease, Vec::new()).await.unwrap(), b"kept");
}

#[test]
fn uploads_that_wait_for_the_network_hold_no_thread() {
    let runtime = tokio::runtime::Builder::new_current_thread().max_blocking_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        let f = fixture().await;
        let mut slow = Vec::new();
        for _ in 0..20 {
            let mut writer = f.store.blob_writer().await.unwrap();
            writer.write(&[3; 5 * CHUNK]).await.unwrap();
            slow.push(writer);
        }
        let lease = stored(&f, b"quick").await;
        assert_eq!(f.store.read_blob(&lease, Vec::new()).await.unwrap(), b"quick");
        for writer in slow {
            assert_eq!(writer.finish().await.unwrap().size(), 5 * CHUNK as u64);
        }
        assert_eq!(f.uploads().len(), 1);
    });
}
