use proptest::prelude::*;

use super::*;

const NOW: i64 = 1_790_000_000;
const SHORT: &str = "whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYX";
const LONG: &str = "whsec_ZGVmZ2hpamtsbW5vcHFyc3R1dnd4eXp7fH1+f4CBgoOEhYaHiImKi4yNjo+QkZKTlJWWl5iZmpucnZ6foKGiow==";

fn secret(text: &str) -> SigningSecret {
    text.parse().unwrap()
}

fn check(secrets: &[SigningSecret], id: &str, timestamp: &str, signature: &str, body: &[u8]) -> Result<(), VerifyError> {
    let headers = Headers { id: Some(id), timestamp: Some(timestamp), signature: Some(signature) };
    verify(secrets, &headers, body, NOW, TOLERANCE)
}

#[test]
fn refuses_weak_and_malformed_secrets() {
    let of = |length: usize| format!("whsec_{}", BASE64.encode(&vec![7; length]));
    assert_eq!("".parse::<SigningSecret>(), Err(SecretError::NoPrefix));
    assert_eq!("WHSEC_AAAA".parse::<SigningSecret>(), Err(SecretError::NoPrefix));
    assert_eq!("whsec_*".parse::<SigningSecret>(), Err(SecretError::NotBase64));
    assert_eq!("whsec_".parse::<SigningSecret>(), Err(SecretError::BadLength(0)));
    assert_eq!(of(23).parse::<SigningSecret>(), Err(SecretError::BadLength(23)));
    assert_eq!(of(65).parse::<SigningSecret>(), Err(SecretError::BadLength(65)));
    assert!(of(24).parse::<SigningSecret>().is_ok() && of(64).parse::<SigningSecret>().is_ok());
}

#[test]
fn secrets_read_back_and_stay_hidden() {
    for text in [SHORT, LONG] {
        assert_eq!(secret(text).expose_text(), text);
        assert_eq!(secret(text.trim_end_matches('=')), secret(text));
        assert_eq!(format!("{:?}", secret(text)), "[redacted]");
    }
    assert_eq!(SigningSecret::generate([9; 32]).expose_bytes(), [9; 32]);
}

/// Expected values from Python's `hmac`, the first also from the package `standardwebhooks`.
#[test]
fn signs_as_others_do() {
    let every_byte: Vec<u8> = (0..=255).collect();
    let vectors: [(&str, i64, &[u8], &str, &str); 3] = [
        (
            "evt_01ARYZ6S410000000000000000",
            NOW,
            br#"{"event":"scan.complete"}"#,
            "v1,Rc2wuPhhiNDhO8/ADPVIJxbrQVVSlFxTY5nNtfUiYDM=",
            "v1,cArYGz7Tvagn3mYYSKf3Y8ph6nV+Af96J5Y+nub1gFQ=",
        ),
        ("evt_1", 0, b"", "v1,Eu1SkOEEeebwJEabFkdmkHT5S3G5rUj/VZseteylmpY=", "v1,sgk8Hky1MVxXPyubnxErasqqfpyNhLzcc9YToLUM910="),
        ("evt_2", NOW, &every_byte, "v1,iJ8EGpFc9XKViprDdAvnPLHM4gkuasj5OxfqLDfILJE=", "v1,OmwR+oAt8YgXBrNNTGs1UGt8s3tlDcnh7wLSdWDc/A0="),
    ];
    for (id, timestamp, body, short, long) in vectors {
        assert_eq!(sign(&[secret(SHORT)], id, timestamp, body), short);
        assert_eq!(sign(&[secret(LONG), secret(SHORT)], id, timestamp, body), format!("{long} {short}"));
    }
    assert_eq!(sign(&[], "evt_1", NOW, b""), "");
}

#[test]
fn names_the_header_that_is_missing() {
    let all = Headers { id: Some("evt_1"), timestamp: Some("1790000000"), signature: Some("v1,AAAA") };
    for (headers, name) in [
        (Headers { id: None, ..all }, ID_HEADER),
        (Headers { timestamp: Some(""), ..all }, TIMESTAMP_HEADER),
        (Headers { signature: None, ..all }, SIGNATURE_HEADER),
    ] {
        assert_eq!(verify(&[secret(SHORT)], &headers, b"", NOW, TOLERANCE), Err(VerifyError::MissingHeader(name)));
    }
}

#[test]
fn refuses_times_that_are_none_or_far_off() {
    let at =
        |timestamp: i64| check(&[secret(SHORT)], "evt_1", &timestamp.to_string(), &sign(&[secret(SHORT)], "evt_1", timestamp, b"x"), b"x");
    assert_eq!([at(NOW), at(NOW - 300), at(NOW + 300)], [Ok(()), Ok(()), Ok(())]);
    let by = Duration::from_secs(301);
    assert_eq!(at(NOW - 301), Err(VerifyError::TooOld { by, tolerance: TOLERANCE }));
    assert_eq!(at(NOW + 301), Err(VerifyError::TooNew { by, tolerance: TOLERANCE }));
    for text in ["soon", "-5", "+1790000000", " 1790000000", "1790000000.0", "99999999999999999999", "１"] {
        assert_eq!(check(&[secret(SHORT)], "evt_1", text, "v1,AAAA", b""), Err(VerifyError::BadTimestamp), "{text}");
    }
}

#[test]
fn refuses_signatures_that_are_none_or_do_not_fit() {
    let good = sign(&[secret(SHORT)], "evt_1", NOW, b"body");
    let verdict = |id, signature: &str, body| check(&[secret(SHORT)], id, "1790000000", signature, body);
    for text in ["v1", "v1,", "v1,AAAA", "v2,AAAA", "garbage", &good.replace("v1,", "v1a,"), &good.replace("v1,", "V1,")] {
        assert_eq!(verdict("evt_1", text, b"body"), Err(VerifyError::NoSignature), "{text}");
    }
    assert_eq!(verdict("evt_2", &good, b"body"), Err(VerifyError::Mismatch));
    assert_eq!(verdict("evt_1", &good, b"Body"), Err(VerifyError::Mismatch));
    assert_eq!(check(&[secret(LONG)], "evt_1", "1790000000", &good, b"body"), Err(VerifyError::Mismatch));
    assert_eq!(check(&[], "evt_1", "1790000000", &good, b"body"), Err(VerifyError::Mismatch));
    let buried = format!("{}{good}", "v1,AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA= ".repeat(16));
    assert_eq!(verdict("evt_1", &buried, b"body"), Err(VerifyError::Mismatch));
}

#[test]
fn takes_any_of_several() {
    let both = sign(&[secret(LONG), secret(SHORT)], "evt_1", NOW, b"body");
    for secrets in [vec![secret(SHORT)], vec![secret(LONG)], vec![SigningSecret::generate([1; 32]), secret(LONG)]] {
        assert_eq!(check(&secrets, "evt_1", "1790000000", &format!("v1a,AAAA  v1,broken {both}"), b"body"), Ok(()));
    }
}

proptest! {
    #[test]
    fn takes_its_own_and_never_panics(body: Vec<u8>, id in "[a-z_0-9]{1,30}", noise in "\\PC{0,80}") {
        let secrets = [SigningSecret::generate([3; 32])];
        let signature = sign(&secrets, &id, NOW, &body);
        prop_assert_eq!(check(&secrets, &id, "1790000000", &signature, &body), Ok(()));
        prop_assert!(check(&secrets, &id, &noise, &noise, &body).is_err());
        let _ = noise.parse::<SigningSecret>();
    }
}
