//! `bmm service …`: programs that run on, on other people's machines.

use super::{
    Context,
    buyer::{Buyer, Which, read_file},
};
use crate::{
    failure::{Failure, IoContext, Outcome},
    jobs::fetch_image,
    output,
    service::{NewService, ServiceFolder, resume, stop},
};
use bmm_market::{FormError, service::ServiceFile};
use clap::{Args, Subcommand};
use std::{
    collections::BTreeMap,
    fmt::Write as _,
    fs::{self, File},
    io::{Read, Seek, SeekFrom},
    path::{Path, PathBuf},
    time::Duration,
};

/// How often a followed log is looked at.
const LOOK: Duration = Duration::from_millis(300);

/// `bmm service …`
#[derive(Debug, Subcommand)]
#[command(after_help = "ID is the service's id or its first digits, as `bmm service list` shows it.

Examples:
  bmm service run node.toml --network            have it hosted, and reach its ports on this machine
  bmm service run node.toml --listen rpc=9000    reach the port called rpc at 127.0.0.1:9000
  bmm service logs 3fa9 --follow
  bmm service stop 3fa9")]
pub enum ServiceCommand {
    /// Have a service hosted by a provider, and keep it running until it is stopped or its time is over
    Run(Box<Run>),
    /// Go on with a service whose process has ended
    Resume(Which),
    /// List the services of this data folder, newest first
    List,
    /// Show a service: who hosts it, where its ports are, what it has cost
    Show(Which),
    /// Print what the program of a service has written
    Logs {
        #[command(flatten)]
        which: Which,
        /// Go on printing, until Ctrl-C
        #[arg(long, short)]
        follow: bool,
    },
    /// Stop a service, pay its providers, and take back the rest
    Stop(Which),
}

/// `bmm service run`
#[derive(Debug, Args)]
pub struct Run {
    /// The file of the service: see docs/services.md
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Reach the port called NAME at this port of 127.0.0.1 (repeat for more) [default: the service's own number; 0 is any free one]
    #[arg(long, value_name = "NAME=PORT")]
    listen: Vec<String>,
    #[command(flatten)]
    buyer: Buyer,
}

/// Answers `bmm service`.
pub fn run(context: &Context, command: &ServiceCommand) -> Outcome {
    match command {
        ServiceCommand::Run(args) => begin(context, args),
        ServiceCommand::Resume(which) => resume(context, &which.id, which.password_file.as_deref()),
        ServiceCommand::Stop(which) => stop(context, &which.id, which.password_file.as_deref()),
        ServiceCommand::List => list(context),
        ServiceCommand::Show(which) => show(context, which),
        ServiceCommand::Logs { which, follow } => logs(&ServiceFolder::find(context, &which.id)?.0, *follow),
    }
}

fn begin(context: &Context, args: &Run) -> Outcome {
    let text = read_file(&args.file)?;
    let base = args.file.parent().unwrap_or(Path::new(""));
    let wrong = |error: FormError| {
        Failure::user(format!("{}: {error}", args.file.display())).hint("docs/services.md has a whole example")
    };
    let mut file = ServiceFile::parse(&text).map_err(wrong)?;
    if let Some(name) = fetch_image(&context.data, &mut file.app, context.global.json)?
        && file.name.is_empty()
    {
        file.name = name;
    }
    let (spec, image) = file.build(base).map_err(wrong)?;
    let mut listen = BTreeMap::new();
    for pair in &args.listen {
        let read = pair.split_once('=').and_then(|(name, port)| Some((name.to_owned(), port.parse().ok()?)));
        let (name, port) = read.ok_or_else(|| {
            Failure::user(format!("--listen {pair:?} is not NAME=PORT")).hint("for example --listen rpc=9000")
        })?;
        listen.insert(name, port);
    }
    let network = args.buyer.network(context)?;
    let service = NewService { spec, image, listen, network, wallet: args.buyer.wallet.clone() };
    service.run(context, args.buyer.password_file.as_deref())
}

fn list(context: &Context) -> Outcome {
    let all = ServiceFolder::all(&context.data)?;
    let records: Vec<_> = all.into_iter().map(|(_, record)| record).collect();
    let line = |record: &crate::service::ServiceRecord| {
        let host = record.host.map_or_else(|| "nobody".to_owned(), |host| host.to_string());
        format!(
            "{}  {}  {:?}  {} intervals, {}  hosted by {host}",
            record.account.short_id(),
            record.account.name,
            record.account.state,
            record.intervals,
            record.account.spent()
        )
    };
    let text: Vec<String> = records.iter().map(line).collect();
    let text =
        if text.is_empty() { "no services; begin one with `bmm service run FILE`".to_owned() } else { text.join("\n") };
    output::print(context.global.json, &records, text);
    Ok(())
}

fn show(context: &Context, which: &Which) -> Outcome {
    let (folder, record) = ServiceFolder::find(context, &which.id)?;
    let kept = folder.lock()?.is_none();
    let host = record.host.filter(|_| kept).map_or_else(|| "nobody".to_owned(), |host| host.to_string());
    let mut text = format!(
        "service {:x} ({}), {:?}\n  hosted by {host}, {}\n  begun {} times, {} intervals paid, {} of {}",
        record.account.id,
        record.account.name,
        record.account.state,
        if record.healthy { "healthy" } else { "not healthy" },
        record.begun,
        record.intervals,
        record.account.spent(),
        record.account.budget_bmm
    );
    for (name, at) in &record.ports {
        let _ = write!(text, "\n  port {name}: {at}");
    }
    if !kept && record.account.settle_transaction.is_none() {
        text.push_str("\n  no process keeps it: `bmm service resume` goes on, `bmm service stop` ends it");
    }
    output::print(context.global.json, &record, text);
    Ok(())
}

fn logs(folder: &ServiceFolder, follow: bool) -> Outcome {
    let path = folder.log();
    let mut at = 0;
    loop {
        // It is begun anew when it is long.
        let length = fs::metadata(&path).map_or(0, |found| found.len());
        if length < at {
            at = 0;
        }
        if length > at {
            let mut file = File::open(&path).doing("open", &path)?;
            file.seek(SeekFrom::Start(at)).doing("read", &path)?;
            let mut bytes = Vec::new();
            file.take(1 << 20).read_to_end(&mut bytes).doing("read", &path)?;
            at = at.saturating_add(u64::try_from(bytes.len()).unwrap_or(u64::MAX));
            output::print_raw(&bytes);
            continue;
        }
        if !follow {
            return Ok(());
        }
        std::thread::sleep(LOOK);
    }
}
