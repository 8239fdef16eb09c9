//! The pages of this machine: those of the chain, and beside them its jobs, its wallets and its settings.

mod act;
mod api;
mod desk;
mod file;
mod jobs;
mod pool;
mod process;
mod provider;
mod submit;
mod wallet;

pub use file::PagesFile;

use crate::{
    config::Config,
    failure::{Failure, Outcome},
    jobs::JobFolder,
    node::Node,
    paths::DataDir,
};
use bmm_index::{Follower, Index};
use bmm_web::{Compute, Server, Site, SiteConfig};
use desk::Desk;
use parking_lot::Mutex;
use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

/// Time between two counts of the jobs: their folders may be many.
const COUNT_EVERY: Duration = Duration::from_secs(3);

/// What the pages are over.
#[derive(Clone, Copy)]
pub struct Served<'a> {
    /// The data folder.
    pub data: &'a DataDir,
    /// The chain, as the configuration names it.
    pub chain: &'a str,
    /// The configuration in force.
    pub config: &'a Config,
    /// Its file, if one was named.
    pub config_file: Option<&'a Path>,
}

/// Pages that are served. Dropping it ends that.
pub struct Pages {
    runtime: Option<tokio::runtime::Runtime>,
    server: Option<Server>,
    site: Option<Arc<Site>>,
    url: String,
    owner_url: String,
    file: PathBuf,
}

impl Pages {
    /// Serves the pages of a node at `address`; port 0 takes any free one.
    pub fn start(place: &Served, node: &Node, address: SocketAddr) -> Outcome<Self> {
        let Served { data, chain, config: whole, .. } = *place;
        let config = &whole.pages;
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .thread_name("bmm-pages")
            .enable_all()
            .build()
            .map_err(|error| Failure::internal(format!("cannot start threads for the pages: {error}")))?;
        let genesis = node.chain().genesis();
        let open = async {
            match &config.index {
                Some(url) => Index::open(url, genesis).await,
                None => Index::open_file(&data.chain(chain).join("index.sqlite"), genesis).await,
            }
        };
        let index = runtime.block_on(open).map_err(|error| {
            Failure::config(error).hint("the index is made anew from the chain: delete it, or set pages.index")
        })?;
        let follower = Follower::start(node.chain().clone(), index.clone(), runtime.handle().clone())
            .map_err(|error| Failure::internal(format!("cannot start a thread for the index: {error}")))?;
        let site_config = SiteConfig {
            allowed_hosts: config.allowed_hosts.clone(),
            rpc_url: node.url().to_owned(),
            own: address.ip().is_loopback(),
            ..SiteConfig::default()
        };
        let site = Site::new(node.chain().clone(), index, follower, site_config, (compute(data, node), peers(node)));
        let desk = Desk {
            site: site.clone(),
            data: Arc::new(data.clone()),
            config_file: Arc::new(place.config_file.map_or_else(|| data.config_file(), Path::to_path_buf)),
        };
        let router = bmm_web::guard(bmm_web::router(site.clone()).merge(desk.router()), site.clone());
        let server = runtime.block_on(Server::start(address, router)).map_err(|error| {
            Failure::config(format!("the pages cannot be served at {address}: {error}"))
                .hint("choose another address with --pages, for example --pages 127.0.0.1:8581, or leave them out with --no-pages")
        })?;
        let url = format!("http://{}", server.address());
        let owner_url = if site.config.own { format!("{url}{}", site.owner_path()) } else { url.clone() };
        let file = data.pages_file();
        PagesFile { pid: std::process::id(), url: owner_url.clone() }.write(&file)?;
        Ok(Self { runtime: Some(runtime), server: Some(server), site: Some(site), url, owner_url, file })
    }

    /// Returns the address for everybody.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Returns the link that makes a browser the owner's; the address for everybody where there is nothing to own.
    pub fn owner_url(&self) -> &str {
        &self.owner_url
    }
}

impl Drop for Pages {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.file);
        drop(self.server.take());
        // The follower waits for the database through the runtime: it ends first.
        drop(self.site.take());
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

fn peers(node: &Node) -> Box<dyn Fn() -> Option<usize> + Send + Sync> {
    let network = node.network();
    Box::new(move || network.as_ref().map(|network| network.peers().len()))
}

/// Counts jobs of the data folder that a process works on.
fn active_jobs(data: &DataDir) -> u64 {
    let folders = JobFolder::all(data).unwrap_or_default();
    let is_active = |folder: &&JobFolder| {
        folder.record().is_ok_and(|record| !record.status.is_over()) && jobs::is_worked_on(folder)
    };
    u64::try_from(folders.iter().filter(is_active).count()).unwrap_or(u64::MAX)
}

fn compute(data: &DataDir, node: &Node) -> Box<dyn Fn() -> Compute + Send + Sync> {
    let (place, data) = (node.place(), data.clone());
    let counted: Mutex<Option<(Instant, u64)>> = Mutex::default();
    let jobs = move || {
        let mut counted = counted.lock();
        match *counted {
            Some((when, jobs)) if when.elapsed() < COUNT_EVERY => jobs,
            _ => counted.insert((Instant::now(), active_jobs(&data))).1,
        }
    };
    Box::new(move || {
        let jobs = jobs();
        let Some(place) = &place else { return Compute { jobs, ..Compute::default() } };
        let listings = place.listings();
        let slots = |signed: &bmm_types::market::SignedListing| u64::from(signed.listing.offer.slots);
        let free = |signed: &bmm_types::market::SignedListing| u64::from(signed.listing.free_slots);
        let mut prices: Vec<_> = listings.iter().map(|signed| signed.listing.offer.price_per_gfuel.units()).collect();
        prices.sort_unstable();
        let all: u64 = listings.iter().map(slots).sum();
        Compute {
            providers: u64::try_from(listings.len()).unwrap_or(u64::MAX),
            slots: all,
            running: all.saturating_sub(listings.iter().map(free).sum()),
            jobs,
            prices: prices.first().copied().zip(prices.get(prices.len() / 2).copied()),
        }
    })
}
