use filesafety_model::Reason;

use super::open;
use crate::unpack::fixtures::{Record, eicar, tar, tar_member};

fn opened(content: &[u8]) -> Record {
    let mut record = Record::default();
    open(content, &mut record).unwrap();
    record
}

#[test]
fn tar_names_can_be_long() {
    let long = "directory/".repeat(20);
    let gnu = [tar_member("././@LongLink", b'L', long.as_bytes()), tar_member("short", b'0', b"one")].concat();
    assert_eq!(opened(&gnu).children, [(long.clone(), b"one".to_vec())]);
    let record = format!("{} path={long}\n", long.len() + 10);
    let pax = [tar_member("paxheader", b'x', record.as_bytes()), tar_member("short", b'0', b"one")].concat();
    assert_eq!(opened(&pax).children, [(long, b"one".to_vec())]);
}

#[test]
fn sparse_members_give_what_is_stored() {
    let mut member = tar_member("sparse", b'S', b"stored");
    // One further map stands between header and content.
    member[482] = 1;
    member[148..156].fill(b' ');
    let sum: u32 = member[..512].iter().map(|&byte| u32::from(byte)).sum();
    member[148..155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
    member.splice(512..512, [0; 512]);
    let record = opened(&[member, tar(&[("next", b"next")])].concat());
    assert_eq!(record.contents(), [&b"stored"[..], b"next"]);
    // Its map has holes that are not filled here.
    assert!(record.says(Reason::Unsupported, "TarSparse"));
}

#[test]
fn holes_of_a_sparse_member_are_filled() {
    let whole = [vec![0; 1_000], b"one".to_vec(), vec![0; 997], b"two".to_vec(), vec![0; 2_000]].concat();
    let mut old = tar_member("sparse", b'S', b"onetwo");
    for (at, value) in [(386, 1_000), (398, 3), (410, 2_000), (422, 3), (483, whole.len())] {
        old[at..at + 12].copy_from_slice(format!("{value:011o}\0").as_bytes());
    }
    old[148..156].fill(b' ');
    let sum: u32 = old[..512].iter().map(|&byte| u32::from(byte)).sum();
    old[148..155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
    let pax = |records: &[(&str, String)], content: &[u8]| {
        let records: String = records
            .iter()
            .map(|(key, value)| {
                let rest = key.len() + value.len() + 3;
                let length = rest + if rest + 2 > 99 { 3 } else { 2 };
                format!("{length} {key}={value}\n")
            })
            .collect();
        [tar_member("paxheader", b'x', records.as_bytes()), tar_member("sparse", b'0', content)].concat()
    };
    let size = ("GNU.sparse.realsize", whole.len().to_string());
    let mut mapped = b"2\n1000\n3\n2000\n3\n".to_vec();
    mapped.resize(512, 0);
    mapped.extend(b"onetwo");
    let version_1 = pax(&[("GNU.sparse.major", "1".to_owned()), ("GNU.sparse.minor", "0".to_owned()), size.clone()], &mapped);
    let version_0 = pax(&[("GNU.sparse.map", "1000,3,2000,3".to_owned()), size], b"onetwo");
    for archive in [old, version_1, version_0] {
        let record = opened(&archive);
        assert!(record.has(&whole) && record.is_complete(), "{:?}", record.unexamined);
    }
}

#[test]
fn a_sparse_member_without_holes_is_a_member() {
    let mut member = tar_member("sparse", b'S', b"stored");
    member[386..398].copy_from_slice(b"00000000000\0");
    member[398..410].copy_from_slice(b"00000000006\0");
    member[483..495].copy_from_slice(b"00000000006\0");
    member[148..156].fill(b' ');
    let sum: u32 = member[..512].iter().map(|&byte| u32::from(byte)).sum();
    member[148..155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
    let record = opened(&member);
    assert!(record.has(b"stored") && record.is_complete(), "{:?}", record.unexamined);
}

#[test]
fn a_tar_goes_on_behind_a_damaged_header() {
    let mut damaged = tar_member("b", b'0', b"two");
    damaged[0] ^= 0xff;
    let archive = [tar_member("a", b'0', b"one"), damaged, tar_member("c", b'0', &eicar()), vec![0; 1_024]].concat();
    let record = opened(&archive);
    assert!(record.has(b"one") && record.has(&eicar()) && record.says(Reason::Broken, "Tar"));
}

#[test]
fn a_tar_without_its_end_is_noted_and_what_follows_is_examined() {
    let record = opened(&tar_member("a", b'0', b"one"));
    assert!(record.is_complete());
    assert_eq!(record.notes, ["no end blocks"]);
    let record = opened(&[tar(&[("a", b"one")]), eicar()].concat());
    assert!(record.has(&eicar()) && record.is_complete());
    assert!(opened(&[tar(&[("a", b"one")]), tar(&[("b", &eicar())])].concat()).has(&eicar()));
}
