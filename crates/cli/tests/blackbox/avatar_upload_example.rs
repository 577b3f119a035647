//! The example application with the real service: a form, a scan, a webhook, and what follows of it.

use std::net::SocketAddr;
use std::time::Duration;

use avatar_upload::{App, Settings};
use tempfile::TempDir;

use crate::support::clock::wait_for;
use crate::support::eicar::{SIGNATURE, eicar};
use crate::support::pictures::{PORN, black_png};
use crate::support::server::{KEY, SECRET};
use crate::support::{Answer, Options, Request};

fn upload(app: SocketAddr, name: &str, content: &[u8]) {
    let head = format!("--b\r\nContent-Disposition: form-data; name=\"picture\"; filename=\"{name}\"\r\n\r\n");
    let body = [head.as_bytes(), content, b"\r\n--b--\r\n"].concat();
    let answer = Request::new(app, "POST", "/avatars").header("content-type", "multipart/form-data; boundary=b").body(body).send();
    assert_eq!((answer.status, answer.header("location")), (303, Some("/")), "{}", answer.text());
}

fn get(app: SocketAddr, target: &str) -> Answer {
    Request::new(app, "GET", target).send()
}

/// What the page says of a file, once it is more than that it is being checked.
#[track_caller]
fn judged(app: SocketAddr, name: &str) -> String {
    wait_for("the webhook to have its effect", Duration::from_secs(60), || {
        let page = get(app, "/").text();
        let item = page.split("<li ").find(|item| item.contains(&format!("<h3>{name}</h3>"))).expect("the upload is on the page");
        Some(item.to_owned()).filter(|item| !item.contains("data-state=\"checking\""))
    })
}

fn address_of(item: &str) -> &str {
    let start = item.find("/avatars/").expect("an address");
    &item[start..start + "/avatars/".len() + 32]
}

#[test]
fn uploads_are_shown_once_they_are_clean_and_only_then() {
    let service = Options::new().env("FILESAFETY_WEBHOOK_HTTP", "1").start();
    let folder = TempDir::new().unwrap();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let settings = Settings {
        listen: "127.0.0.1:0".parse().unwrap(),
        folder: folder.path().to_owned(),
        service: format!("http://{}", service.address()),
        key: KEY.to_owned(),
        secret: SECRET.parse().unwrap(),
    };
    let app = runtime.block_on(App::start(settings)).unwrap();
    let address = app.address();
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let running = runtime.spawn(app.run(async {
        let _ = stopped.await;
    }));

    upload(address, "clean.png", &black_png(8, 8));
    upload(address, "virus.png", &eicar());
    upload(address, "nude.png", PORN);
    let infected = judged(address, "virus.png");
    assert!(infected.contains("data-state=\"quarantined\"") && infected.contains(SIGNATURE), "{infected}");
    let nude = judged(address, "nude.png");
    assert!(nude.contains("data-state=\"review\""), "{nude}");
    assert_eq!(get(address, address_of(&nude)).status, 404);
    let clean = judged(address, "clean.png");
    assert!(clean.contains("data-state=\"published\""), "{clean}");
    let served = get(address, address_of(&clean));
    assert_eq!((served.status, served.header("content-type"), &served.body), (200, Some("image/png"), &black_png(8, 8)));
    upload(address, "plain.txt", b"plain");
    let plain = judged(address, "plain.txt");
    assert!(plain.contains("data-state=\"published\""), "{plain}");
    let served = get(address, address_of(&plain));
    assert_eq!((served.status, served.text().as_str()), (200, "plain"));
    assert_eq!(served.header("content-disposition"), Some("attachment"), "no page of a stranger opens here");

    stop.send(()).unwrap();
    runtime.block_on(running).unwrap().unwrap();
}
