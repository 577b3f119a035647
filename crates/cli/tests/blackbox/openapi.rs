//! The description of the API, and its page.

use crate::support::Server;

#[test]
fn it_names_every_call() {
    let server = Server::shared();
    let document = server.anonymous("GET", "/openapi.json").send().expect(200);
    assert!(document["openapi"].as_str().is_some_and(|version| version.starts_with("3.1")), "{}", document["openapi"]);
    for (path, methods) in [
        ("/v1/scan", ["post"].as_slice()),
        ("/v1/scan/async", &["post"]),
        ("/v1/scans", &["get"]),
        ("/v1/deliveries", &["get"]),
        ("/v1/webhooks/test", &["post"]),
        ("/v1/usage", &["get"]),
        ("/v1/events", &["get"]),
        ("/healthz", &["get"]),
        ("/readyz", &["get"]),
        ("/metrics", &["get"]),
    ] {
        for method in methods {
            assert!(document["paths"][path][method].is_object(), "{method} {path}");
        }
    }
    let paths = document["paths"].as_object().expect("paths");
    let with = |part: &str, method: &str| paths.iter().any(|(path, item)| path.contains(part) && item[method].is_object());
    assert!(with("/v1/scan/{", "get") && with("/v1/scan/{", "delete"));
    assert!(with("/deliveries", "get") && with("/redeliver", "post"));
    assert!(paths.values().any(|item| item["put"].is_object()), "the upload itself");
}

#[test]
fn the_page_needs_nothing_from_elsewhere() {
    let server = Server::shared();
    let page = server.anonymous("GET", "/docs").send();
    assert_eq!(page.status, 200);
    assert!(page.header("content-type").is_some_and(|kind| kind.starts_with("text/html")));
    assert!(
        page.header("content-security-policy")
            .is_some_and(|policy| policy.contains("default-src 'self'") || policy.contains("default-src 'none'"))
    );
    let mut texts = vec![page.text()];
    for reference in references(&page.text()) {
        assert!(!reference.contains("//"), "{reference}");
        if reference.starts_with('#') {
            continue;
        }
        let path = if reference.starts_with('/') {
            reference
        } else {
            format!("/docs/{}", reference.trim_start_matches("docs/").trim_start_matches("./"))
        };
        let answer = server.anonymous("GET", &path).send();
        assert_eq!(answer.status, 200, "{path}");
        if !path.ends_with(".json") {
            texts.push(answer.text());
        }
    }
    for text in texts {
        for outside in ["https://cdn", "http://cdn", "//fonts.", "@import", "url(http", "src=\"http"] {
            assert!(!text.contains(outside), "{outside}");
        }
    }
}

fn references(page: &str) -> Vec<String> {
    let mut found = Vec::new();
    for attribute in ["src=\"", "href=\""] {
        for rest in page.split(attribute).skip(1) {
            found.push(rest.split('"').next().unwrap_or_default().to_owned());
        }
    }
    found
}
