//! `deliveries`: what became of a scan's webhook, and delivering it again.

use std::{
    io::{self, Write as _},
    path::PathBuf,
};

use anyhow::Result;
use hyper::Method;
use serde_json::Value;

use super::{CLEAN, block_on, submit::scan_id};
use crate::{arguments::DeliveriesArguments, client::Client, settings::SettingFlags, terminal::print_table};

pub(super) fn run(arguments: &DeliveriesArguments, config: Option<PathBuf>) -> Result<u8> {
    let scan = scan_id(&arguments.scan)?;
    let client = Client::new(&SettingFlags::default().resolve(config)?)?;
    block_on(async {
        if arguments.redeliver {
            client.call(Method::POST, &format!("/v1/scan/{scan}/redeliver")).await?.success()?;
            writeln!(io::stderr(), "One attempt is made now; see `filesafety deliveries {scan}`.")?;
            return Ok(CLEAN);
        }
        let answer = client.call(Method::GET, &format!("/v1/scan/{scan}/deliveries")).await?.success()?;
        if arguments.json {
            writeln!(io::stdout(), "{}", serde_json::to_string_pretty(&answer)?)?;
        } else {
            show(&answer)?;
        }
        Ok(CLEAN)
    })
}
