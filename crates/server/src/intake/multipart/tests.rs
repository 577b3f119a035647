use proptest::prelude::*;

use super::*;

/// A body in pieces of a given size.
struct Pieces {
    body: Bytes,
    size: usize,
}

impl Source for Pieces {
    fn next(&mut self) -> impl Future<Output = Result<Option<Bytes>, BodyFault>> + Send {
        let take = self.size.min(self.body.len());
        std::future::ready(Ok((take > 0).then(|| self.body.split_to(take))))
    }
}

type Read = Result<Vec<(Part, Vec<u8>)>, MultipartError>;

async fn read_with(content_type: &str, body: &[u8], size: usize) -> Read {
    let mut form = Multipart::new(content_type, Pieces { body: Bytes::copy_from_slice(body), size })?;
    let mut parts = Vec::new();
    while let Some(part) = form.next_part().await? {
        let mut content = Vec::new();
        while let Some(chunk) = form.chunk().await? {
            content.extend_from_slice(&chunk);
        }
        parts.push((part, content));
    }
    Ok(parts)
}

fn read_in(size: usize, body: &[u8]) -> Read {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(read_with("multipart/form-data; boundary=XX", body, size))
}

fn read(body: &[u8]) -> Read {
    read_in(usize::MAX, body)
}

fn part(disposition: &str, content: &str) -> String {
    format!("--XX\r\nContent-Disposition: {disposition}\r\n\r\n{content}\r\n")
}

#[test]
fn reads_parts_in_pieces_of_any_size() {
    let body = part("form-data; name=\"file\"; filename=\"a b.txt\"", "one\r\n--X\r\n--XY two")
        + &part("form-data; name=metadata", "{}")
        + "--XX--\r\n";
    for size in 1..body.len() {
        let parts = read_in(size, body.as_bytes()).unwrap();
        assert_eq!(parts.len(), 2);
        assert_eq!(parts[0].0, Part { name: "file".into(), file_name: Some("a b.txt".into()) });
        assert_eq!(parts[0].1, b"one\r\n--X\r\n--XY two");
        assert_eq!((parts[1].0.name.as_str(), parts[1].1.as_slice()), ("metadata", &b"{}"[..]));
    }
}

#[test]
fn reads_names_as_clients_write_them() {
    for (written, name) in [
        (r#"filename="a\"b.txt""#, "a\"b.txt"),
        (r#"filename="C:\dir\a.txt""#, r"C:\dir\a.txt"),
        (r#"filename="a%22b.txt""#, "a\"b.txt"),
        ("filename=plain.txt", "plain.txt"),
        ("filename=\"x\"; filename*=UTF-8''na%C3%AFve.txt", "naïve.txt"),
        (r#"filename="semi;colon.txt""#, "semi;colon.txt"),
    ] {
        let parts = read((part(&format!("form-data; name=\"file\"; {written}"), "x") + "--XX--").as_bytes()).unwrap();
        assert_eq!(parts[0].0.file_name.as_deref(), Some(name), "{written}");
    }
}

#[test]
fn refuses_what_is_no_form() {
    let whole = part("form-data; name=\"file\"", "content") + "--XX--\r\n";
    for end in 0..whole.len() - 4 {
        assert!(read(&whole.as_bytes()[..end]).is_err(), "cut at {end}");
    }
    let malformed = |body: &str| assert!(matches!(read(body.as_bytes()), Err(MultipartError::Malformed(_))), "{body}");
    malformed("--XX\r\nContent-Type: text/plain\r\n\r\nx\r\n--XX--");
    malformed(&(part("attachment; name=\"file\"", "x") + "--XX--"));
    malformed(&(part("form-data", "x") + "--XX--"));
    malformed("--XX\r\n\r\nx\r\n--XX--");
    malformed("--XXjunk\r\n");
    malformed(&"p".repeat(10_000));
}

#[test]
fn bounds_headers_and_parts() {
    let long = part(&format!("form-data; name=\"{}\"", "n".repeat(1 << 20)), "x") + "--XX--";
    assert_eq!(read(long.as_bytes()), Err(MultipartError::HeadersTooLong));
    assert_eq!(read_in(100, long.as_bytes()), Err(MultipartError::HeadersTooLong));
    let many = part("form-data; name=\"file\"", "x").repeat(10_000);
    assert_eq!(read(many.as_bytes()), Err(MultipartError::TooManyParts));
}

#[test]
fn refuses_bad_boundaries() {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    for content_type in [
        "multipart/form-data",
        "multipart/form-data; boundary=",
        "multipart/form-data; boundary=\"\"",
        "multipart/form-data; boundary=\"open",
        &format!("multipart/form-data; boundary={}", "b".repeat(71)),
    ] {
        assert_eq!(runtime.block_on(read_with(content_type, b"", 1)), Err(MultipartError::NoBoundary), "{content_type}");
    }
}

proptest! {
    #[test]
    fn never_panics_and_gives_back_what_was_sent(content in proptest::collection::vec(any::<u8>(), 0..300), size in 1_usize..64) {
        prop_assume!(memmem::find(&content, b"\r\n--XX").is_none() && !content.starts_with(b"--XX"));
        let mut body = b"--XX\r\nContent-Disposition: form-data; name=\"file\"\r\n\r\n".to_vec();
        body.extend_from_slice(&content);
        body.extend_from_slice(b"\r\n--XX--\r\n");
        prop_assert_eq!(&read_in(size, &body).unwrap()[0].1, &content);
    }

    #[test]
    fn takes_any_bytes_without_panic(body in proptest::collection::vec(any::<u8>(), 0..400), content_type in ".{0,60}") {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let _ = runtime.block_on(read_with(&content_type, &body, 7));
        let _ = read(&[b"--XX\r\n", body.as_slice()].concat());
    }
}
