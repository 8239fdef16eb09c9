//! `bmm dashboard`: the way to the pages.

use super::Context;
use crate::{
    failure::{Failure, Outcome},
    output,
    web::PagesFile,
};
use clap::Args;
use std::{
    net::{SocketAddr, TcpStream},
    process::{Command, Stdio},
    time::Duration,
};

/// `bmm dashboard`
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  bmm up                      a node that serves the pages
  bmm dashboard               print the link that opens them for the owner of this machine
  bmm dashboard --open        open it in the browser")]
pub struct Dashboard {
    /// Open the link in the browser of this desktop
    #[arg(long)]
    open: bool,
}

/// Answers `bmm dashboard`.
pub fn run(context: &Context, args: &Dashboard) -> Outcome {
    let nobody = || {
        Failure::user("no node of this data folder serves pages")
            .hint("start one with `bmm up` or `bmm node`; its pages are at pages.listen of the configuration")
    };
    let pages = PagesFile::read(&context.data.pages_file())?.ok_or_else(nobody)?;
    let host = pages.url.split("://").nth(1).and_then(|rest| rest.split('/').next());
    let address: Option<SocketAddr> = host.and_then(|host| host.parse().ok());
    // The file of a process that was killed stays behind.
    let answers = address.is_some_and(|at| TcpStream::connect_timeout(&at, Duration::from_secs(2)).is_ok());
    if !answers {
        return Err(nobody());
    }
    output::print(context.global.json, &serde_json::json!({ "url": pages.url }), &pages.url);
    if args.open {
        let program = if cfg!(target_os = "macos") { "open" } else { "xdg-open" };
        let mut command = Command::new(program);
        command.arg(&pages.url).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        command.spawn().map_err(|error| {
            Failure::user(format!("cannot start {program}: {error}")).hint("open the link above by hand")
        })?;
    }
    Ok(())
}
