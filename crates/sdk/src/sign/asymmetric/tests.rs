use crate::sign::{Headers, TOLERANCE, VerifyError, sign};

use super::*;

/// A pair with a signature, as the libraries of Svix test theirs; checked with Python's `cryptography`.
const SECRET_KEY: &str = "whsk_6Xb/dCcHpPea21PS1N9VY/NZW723CEc77N4rJCubMbfVKIDij2HKpMKkioLlX0dRqSKJp4AJ6p9lMicMFs6Kvg==";
const PUBLIC_KEY: &str = "whpk_1SiA4o9hyqTCpIqC5V9HUakiiaeACeqfZTInDBbOir4=";
const ID: &str = "msg_p5jXN8AQM9LWM0D4loKWxJek";
const AT: i64 = 1_614_265_330;
const BODY: &[u8] = br#"{"test": 2432232314}"#;
const SIGNATURE: &str = "v1a,hnO3f9T8Ytu9HwrXslvumlUpqtNVqkhqw/enGzPCXe5BdqzCInXqYXFymVJaA7AZdpXwVLPo3mNl8EM+m7TBAg==";

const SHARED: &str = "whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYX";

fn check(verifiers: &[&str], id: &str, signature: &str, body: &[u8]) -> Result<(), VerifyError> {
    let verifiers: Vec<Verifier> = verifiers.iter().map(|text| text.parse().unwrap()).collect();
    let timestamp = AT.to_string();
    let headers = Headers { id: Some(id), timestamp: Some(&timestamp), signature: Some(signature) };
    verify_with(&verifiers, &headers, body, AT, TOLERANCE)
}

#[test]
fn refuses_what_is_no_key() {
    let of = |prefix: &str, length: usize| format!("{prefix}{}", BASE64.encode(&vec![7; length]));
    assert_eq!(SHARED.parse::<PublicKey>(), Err(KeyError::NoPrefix("whpk_")));
    assert_eq!(PUBLIC_KEY.parse::<SecretKey>().unwrap_err(), KeyError::NoPrefix("whsk_"));
    assert_eq!("whpk_*".parse::<PublicKey>(), Err(KeyError::NotBase64));
    for length in [0, 31, 33, 64] {
        assert_eq!(of("whpk_", length).parse::<PublicKey>(), Err(KeyError::BadLength(length)));
    }
    for length in [0, 31, 33, 63, 65, 96] {
        assert_eq!(of("whsk_", length).parse::<SecretKey>().unwrap_err(), KeyError::BadLength(length));
    }
    assert_eq!(of("whsk_", 64).parse::<SecretKey>().unwrap_err(), KeyError::OtherPair);
    assert_eq!("hello".parse::<Signer>().unwrap_err(), SignerError::NoPrefix);
    // What signs is not taken where only a proof is wanted, nor the other way round.
    assert_eq!(SECRET_KEY.parse::<Verifier>().unwrap_err(), SignerError::NoPrefix);
    assert_eq!(PUBLIC_KEY.parse::<Signer>().unwrap_err(), SignerError::NoPrefix);
    assert!(matches!("whsec_AAAA".parse::<Verifier>(), Err(SignerError::Secret(SecretError::BadLength(3)))));
}

#[test]
fn keys_read_back_and_the_secret_one_stays_hidden() {
    let key: SecretKey = SECRET_KEY.parse().unwrap();
    assert_eq!(key.expose_text(), SECRET_KEY);
    assert_eq!(key.public_key().to_string(), PUBLIC_KEY);
    assert_eq!(SecretKey::from_bytes(&key.expose_bytes()[..32]).unwrap().expose_text(), SECRET_KEY);
    assert_eq!(format!("{key:?} {:?}", Signer::Key(key.clone())), "[redacted] Key([redacted])");
}

#[test]
fn signs_as_others_do() {
    assert_eq!(sign_with(&[SECRET_KEY.parse().unwrap()], ID, AT, BODY), SIGNATURE);
    let shared: SigningSecret = SHARED.parse().unwrap();
    let both = sign_with(&[shared.clone().into(), SECRET_KEY.parse().unwrap()], ID, AT, BODY);
    assert_eq!(both, format!("{} {SIGNATURE}", sign(&[shared], ID, AT, BODY)));
    assert_eq!(sign_with(&[], ID, AT, BODY), "");
}

#[test]
fn refuses_signatures_that_are_none_or_do_not_fit() {
    let other = SecretKey::generate([3; 32]).public_key().to_string();
    assert_eq!(check(&[PUBLIC_KEY], "msg_other", SIGNATURE, BODY), Err(VerifyError::Mismatch));
    assert_eq!(check(&[PUBLIC_KEY], ID, SIGNATURE, b"other"), Err(VerifyError::Mismatch));
    assert_eq!(check(&[&other], ID, SIGNATURE, BODY), Err(VerifyError::Mismatch));
    for text in ["v1a,AAAA", "v1a,", "v1,AAAA", "garbage", &SIGNATURE.replace("v1a,", "v1,"), &SIGNATURE.replace("v1a,", "V1A,")] {
        assert_eq!(check(&[PUBLIC_KEY], ID, text, BODY), Err(VerifyError::NoSignature), "{text}");
    }
    // A signature by the shared secret proves nothing to who has the public key alone, and the other way round.
    let shared = sign(&[SHARED.parse().unwrap()], ID, AT, BODY);
    assert_eq!(check(&[PUBLIC_KEY], ID, &shared, BODY), Err(VerifyError::NoSignature));
    assert_eq!(check(&[SHARED], ID, SIGNATURE, BODY), Err(VerifyError::NoSignature));
    assert_eq!(check(&[], ID, SIGNATURE, BODY), Err(VerifyError::NoSignature));
    let buried = format!("{}{SIGNATURE}", format!("v1a,{} ", BASE64.encode(&[0; 64])).repeat(16));
    assert_eq!(check(&[PUBLIC_KEY], ID, &buried, BODY), Err(VerifyError::Mismatch));
    // A small-order point "signs" everything for those who do not look: the all-zero key and signature.
    let zero = format!("whpk_{}", BASE64.encode(&[0; 32]));
    assert_eq!(check(&[&zero], ID, &format!("v1a,{}", BASE64.encode(&[0; 64])), BODY), Err(VerifyError::Mismatch));
}

#[test]
fn takes_any_of_several() {
    let other = SecretKey::generate([3; 32]).public_key().to_string();
    let shared = sign(&[SHARED.parse().unwrap()], ID, AT, BODY);
    for verifiers in [[PUBLIC_KEY, SHARED], [&other, PUBLIC_KEY], [SHARED, &other]] {
        assert_eq!(check(&verifiers, ID, &format!("{shared} {SIGNATURE}"), BODY), Ok(()), "{verifiers:?}");
    }
    assert_eq!(check(&[PUBLIC_KEY], ID, SIGNATURE, BODY), Ok(()));
}

#[test]
fn the_time_counts_as_it_does_for_secrets() {
    let verifiers = [PUBLIC_KEY.parse().unwrap()];
    let timestamp = AT.to_string();
    let headers = Headers { id: Some(ID), timestamp: Some(&timestamp), signature: Some(SIGNATURE) };
    assert!(matches!(verify_with(&verifiers, &headers, BODY, AT + 301, TOLERANCE), Err(VerifyError::TooOld { .. })));
    assert!(matches!(verify_with(&verifiers, &headers, BODY, AT - 301, TOLERANCE), Err(VerifyError::TooNew { .. })));
    assert_eq!(verify_with(&verifiers, &headers, BODY, AT + 300, TOLERANCE), Ok(()));
}
