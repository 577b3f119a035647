//! Accounts besides the default one, made by the command line as an operator makes them.

use std::process::Output;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::support::client::Request;
use crate::support::server::{Options, Server};

pub(crate) struct Account {
    pub(crate) name: String,
    pub(crate) key: String,
}

impl Account {
    /// A new account with one key.
    pub(crate) fn create(options: &Options) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name = format!("account-{}", COUNT.fetch_add(1, Ordering::SeqCst));
        expect_success(&options.run(&["accounts", "create", &name]));
        let key = create_key(options, &name);
        Self { name, key }
    }

    pub(crate) fn request(&self, server: &Server, method: &str, target: &str) -> Request {
        server.anonymous(method, target).key(&self.key)
    }

    pub(crate) fn set(&self, options: &Options, arguments: &[&str]) {
        expect_success(&options.run(&[&["accounts", "set", &self.name], arguments].concat()));
    }
}

pub(crate) fn create_key(options: &Options, account: &str) -> String {
    let output = expect_success(&options.run(&["keys", "create", "--account", account, "--name", "tests"]));
    let start = output.find("fs_live_").unwrap_or_else(|| panic!("no key in {output:?}"));
    output[start..]
        .split(|letter: char| !(letter.is_ascii_alphanumeric() || "_-".contains(letter)))
        .next()
        .expect("a first word")
        .to_owned()
}

/// What a command wrote that had to succeed.
#[track_caller]
pub(crate) fn expect_success(output: &Output) -> String {
    let (stdout, stderr) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{}: {stdout}{stderr}", output.status);
    stdout.into_owned()
}
