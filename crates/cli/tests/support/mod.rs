//! What the tests of the running binary share: the server itself, a client with control over every byte, web servers and webhook
//! receivers of their own, and files built in code.

pub(crate) mod account;
pub(crate) mod archives;
pub(crate) mod authority;
pub(crate) mod backlog;
pub(crate) mod clamd;
pub(crate) mod client;
pub(crate) mod clock;
pub(crate) mod data;
pub(crate) mod eicar;
pub(crate) mod farm;
pub(crate) mod form;
pub(crate) mod name_server;
pub(crate) mod pdf;
pub(crate) mod pictures;
pub(crate) mod pulse;
pub(crate) mod quine;
pub(crate) mod receiver;
pub(crate) mod sandboxes;
pub(crate) mod server;
pub(crate) mod site;
pub(crate) mod web;

pub(crate) use client::{Answer, Request};
pub(crate) use form::Form;
pub(crate) use receiver::{Receiver, Reply};
pub(crate) use server::{Options, Server};
pub(crate) use site::Site;
