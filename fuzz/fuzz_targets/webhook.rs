//! What a receiver is sent: headers and body.
#![no_main]

use libfuzzer_sys::fuzz_target;

use filesafety::{Event, SigningSecret, sign};

fuzz_target!(|request: (&str, &str, &str, &[u8])| {
    let (id, timestamp, signature, body) = request;
    let secret = SigningSecret::from_bytes(&[7; 32]).expect("32 bytes are a secret");
    let headers = sign::Headers { id: Some(id), timestamp: Some(timestamp), signature: Some(signature) };
    let now = 1_790_000_000;
    assert!(sign::verify(std::slice::from_ref(&secret), &headers, body, now, sign::TOLERANCE).is_err(), "a signature was guessed");
    let ours = sign::sign(std::slice::from_ref(&secret), id, now, body);
    let headers = sign::Headers { signature: Some(&ours), timestamp: Some("1790000000"), ..headers };
    let verified = sign::verify(&[secret], &headers, body, now, sign::TOLERANCE).is_ok();
    assert!(verified || id.is_empty(), "our own signature is refused");
    if let Ok(event) = Event::parse(body) {
        let _ = format!("{event:?}");
    }
});
