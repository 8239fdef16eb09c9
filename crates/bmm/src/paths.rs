//! Where things lie in the data folder.

use crate::failure::{Failure, IoContext, Outcome};
use std::path::{Path, PathBuf};

/// The data folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DataDir(PathBuf);

impl DataDir {
    /// Takes `chosen`, or the user's data folder, and creates it (readable by its owner only).
    pub fn open(chosen: Option<&Path>) -> Outcome<Self> {
        let path = match chosen {
            Some(path) => std::path::absolute(path).doing("resolve", path)?,
            None => directories::ProjectDirs::from("", "", "bmm")
                .ok_or_else(|| Failure::config("no home folder is known").hint("choose a folder with --data DIR"))?
                .data_dir()
                .to_owned(),
        };
        let dir = Self(path);
        dir.create(&dir.0)?;
        Ok(dir)
    }

    /// Returns the folder itself.
    pub fn root(&self) -> &Path {
        &self.0
    }

    /// Returns the configuration file.
    pub fn config_file(&self) -> PathBuf {
        self.0.join("config.toml")
    }

    /// Returns the folder of the keystores.
    pub fn wallets(&self) -> PathBuf {
        self.0.join("wallets")
    }

    /// Returns the folder of the chain called `name`: its parameters, its database.
    pub fn chain(&self, name: &str) -> PathBuf {
        self.0.join("chains").join(name)
    }

    /// Returns the folder of the database of the chain called `name`.
    pub fn chain_db(&self, name: &str) -> PathBuf {
        self.chain(name).join("db")
    }

    /// Returns the file of the smallest hashes that the miner found on the chain called `name`.
    pub fn solutions(&self, name: &str) -> PathBuf {
        self.chain(name).join("solutions")
    }

    /// Returns the file of the development chain's own key, which its genesis funds.
    pub fn dev_key(&self) -> PathBuf {
        self.chain("dev").join("wallet.key")
    }

    /// Returns the folder of the jobs.
    pub fn jobs(&self) -> PathBuf {
        self.0.join("jobs")
    }

    /// Returns the folder of the keys of this machine's providers.
    pub fn providers(&self) -> PathBuf {
        self.0.join("providers")
    }

    /// Returns the folder of what this machine's providers have earned.
    pub fn earnings(&self) -> PathBuf {
        self.0.join("earnings")
    }

    /// Returns the folder of the mining pool: its share logs and, by default, its books.
    pub fn pool(&self) -> PathBuf {
        self.0.join("pool")
    }

    /// Returns the folder of content that providers have fetched.
    pub fn content_cache(&self) -> PathBuf {
        self.0.join("cache").join("content")
    }

    /// Returns the folder of images that came from registries, by digest.
    pub fn images(&self) -> PathBuf {
        self.0.join("cache").join("images")
    }

    /// Returns the folder of compiled modules.
    pub fn module_cache(&self) -> PathBuf {
        self.0.join("cache").join("modules")
    }

    /// Returns the folder of the node's key on the network and of the peers it knows.
    pub fn network(&self) -> PathBuf {
        self.0.join("network")
    }

    /// Returns the folder through which commands ask the running node of this folder.
    pub fn control(&self) -> PathBuf {
        self.0.join("control")
    }

    /// Returns the file that names the running node of this folder.
    pub fn node_file(&self) -> PathBuf {
        self.0.join("node.json")
    }

    /// Returns the file that names the pages that are served, with the owner's key.
    pub fn pages_file(&self) -> PathBuf {
        self.root().join("pages.json")
    }

    /// Creates `dir` and its parents, readable by their owner only.
    pub fn create(&self, dir: &Path) -> Outcome {
        let mut builder = std::fs::DirBuilder::new();
        builder.recursive(true);
        #[cfg(unix)]
        std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
        builder.create(dir).doing("create", dir)
    }
}

/// Writes `bytes` to `path` so that a crash leaves the old file or the new one, never half of one; readable by its owner only.
pub fn write_atomically(path: &Path, bytes: &[u8]) -> Outcome {
    use std::io::Write;
    let dir = path.parent().unwrap_or(Path::new("."));
    let mut file = tempfile::NamedTempFile::new_in(dir).doing("write into", dir)?;
    file.write_all(bytes).and_then(|()| file.as_file().sync_all()).doing("write", path)?;
    file.persist(path).map_err(|error| error.error).doing("replace", path)?;
    std::fs::File::open(dir).and_then(|dir| dir.sync_all()).doing("sync", dir)
}
