//! Reads an image from the bytes of an archive: an OCI layout packed by tar, or what `docker save` writes.

use std::collections::HashMap;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::Value;
use sha2::{Digest, Sha256};

use super::{ContainerError, engine::Loaded, layer, state::Session};

/// Most files in the archive itself.
const MAX_MEMBERS: usize = 10_000;
/// Largest manifest or configuration, bytes.
const MAX_JSON_BYTES: usize = 4 << 20;
/// Most indexes on the way to the manifest.
const MAX_INDEXES: usize = 4;
/// This host's architecture, as images call it.
pub(super) const ARCHITECTURE: &str = if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" };
/// Most layers of an image.
const MAX_LAYERS: usize = 128;

/// Holds an image that is unpacked and ready: any number of threads may run it at once.
#[derive(Debug)]
pub struct Image {
    pub(super) session: Arc<Session>,
    pub(super) root: PathBuf,
    pub(super) command: Vec<String>,
    pub(super) env: Vec<String>,
    pub(super) folder: String,
    /// What the engine has of it, if there is one; `root` is gone then.
    pub(super) loaded: Option<Loaded>,
}

impl Drop for Image {
    fn drop(&mut self) {
        if let (Some(engine), Some(loaded)) = (&self.session.engine, &self.loaded) {
            engine.unload(loaded);
        }
        // What stays is swept with the session.
        let _ = std::fs::remove_dir_all(&self.root);
    }
}

/// Tells whether the bytes look like an image archive (tar), rather than a module.
pub fn is_image(bytes: &[u8]) -> bool {
    bytes.get(257..262) == Some(b"ustar")
}

/// The files of an archive, by name.
struct Archive<'a> {
    bytes: &'a [u8],
    members: HashMap<String, Range<usize>>,
}

fn bad(text: impl Into<String>) -> ContainerError {
    ContainerError::Image(text.into())
}

impl<'a> Archive<'a> {
    fn read(bytes: &'a [u8]) -> Result<Self, ContainerError> {
        let mut members = HashMap::new();
        let mut archive = tar::Archive::new(bytes);
        for entry in archive.entries().map_err(|error| bad(error.to_string()))? {
            let entry = entry.map_err(|error| bad(error.to_string()))?;
            if members.len() >= MAX_MEMBERS {
                return Err(bad(format!("it has more than {MAX_MEMBERS} members")));
            }
            let name = String::from_utf8_lossy(&entry.path_bytes()).trim_start_matches("./").to_owned();
            let start = usize::try_from(entry.raw_file_position()).map_err(|_| bad("it is too large"))?;
            let len = usize::try_from(entry.size()).map_err(|_| bad("it is too large"))?;
            let range = start..start.checked_add(len).ok_or_else(|| bad("it is too large"))?;
            if entry.header().entry_type().is_file() && bytes.get(range.clone()).is_some() {
                members.insert(name, range);
            }
        }
        Ok(Self { bytes, members })
    }

    fn get(&self, name: &str) -> Result<&'a [u8], ContainerError> {
        let range = self.members.get(name).ok_or_else(|| bad(format!("the archive lacks {name}")))?;
        Ok(&self.bytes[range.clone()])
    }

    fn blob(&self, digest: &Value) -> Result<&'a [u8], ContainerError> {
        let hex = digest.as_str().and_then(|text| text.strip_prefix("sha256:"));
        let hex = hex.ok_or_else(|| bad("a digest is not of sha256"))?;
        let bytes = self.get(&format!("blobs/sha256/{hex}"))?;
        let found = format!("{:x}", Sha256::digest(bytes));
        if found == hex { Ok(bytes) } else { Err(bad(format!("the blob {hex} has the digest {found}"))) }
    }

    /// Returns the configuration and the layers, lowest first.
    fn parts(&self) -> Result<(Value, Vec<&'a [u8]>), ContainerError> {
        if self.members.contains_key("index.json") {
            let mut manifest = json(self.get("index.json")?)?;
            // An index may name one of several architectures.
            for _ in 0..MAX_INDEXES {
                let Some(choices) = manifest["manifests"].as_array() else { break };
                let ours = |choice: &&Value| choice["platform"]["architecture"] == ARCHITECTURE;
                let choice = choices.iter().find(ours).or(choices.first()).ok_or_else(|| bad("an index is empty"))?;
                manifest = json(self.blob(&choice["digest"])?)?;
            }
            let layers = list(&manifest["layers"])?.iter().map(|layer| self.blob(&layer["digest"]));
            return Ok((json(self.blob(&manifest["config"]["digest"])?)?, layers.collect::<Result<_, _>>()?));
        }
        let manifest = json(self.get("manifest.json")?)?;
        let name = |value: &Value| value.as_str().map(str::to_owned).ok_or_else(|| bad("manifest.json lacks a name"));
        let layers = list(&manifest[0]["Layers"])?.iter().map(|layer| self.get(&name(layer)?));
        Ok((json(self.get(&name(&manifest[0]["Config"])?)?)?, layers.collect::<Result<_, _>>()?))
    }
}

fn json(bytes: &[u8]) -> Result<Value, ContainerError> {
    if bytes.len() > MAX_JSON_BYTES {
        return Err(bad(format!("a description has more than {MAX_JSON_BYTES} bytes")));
    }
    serde_json::from_slice(bytes).map_err(|error| bad(format!("a description is not JSON: {error}")))
}

fn list(value: &Value) -> Result<&Vec<Value>, ContainerError> {
    let list = value.as_array().filter(|list| !list.is_empty() && list.len() <= MAX_LAYERS);
    list.ok_or_else(|| bad(format!("it has no layers, or more than {MAX_LAYERS}")))
}

fn texts(value: &Value) -> Vec<String> {
    value.as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect()
}

/// Unpacks an image under `root`.
pub(super) fn open(session: Arc<Session>, root: &Path, bytes: &[u8]) -> Result<Image, ContainerError> {
    let (config, layers) = Archive::read(bytes)?.parts()?;
    let config = &config["config"];
    let mut command = texts(&config["Entrypoint"]);
    if command.is_empty() {
        command = texts(&config["Cmd"]);
    }
    if command.is_empty() {
        return Err(bad("it names no program; set an entry point (ENTRYPOINT), to which the job's `args` are added"));
    }
    let mut env = texts(&config["Env"]);
    if !env.iter().any(|pair| pair.starts_with("PATH=")) {
        env.push("PATH=/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin".to_owned());
    }
    let folder = config["WorkingDir"].as_str().filter(|path| path.starts_with('/')).unwrap_or("/").to_owned();
    let mut image = Image { session, root: root.to_owned(), command, env, folder, loaded: None };
    let mut budget = layer::Budget::default();
    for bytes in layers {
        layer::unpack(&image.root, bytes, &mut budget)?;
    }
    let session = Arc::clone(&image.session);
    if let Some(engine) = &session.engine {
        image.loaded = Some(engine.load(&session, root, &Sha256::digest(bytes))?);
    }
    Ok(image)
}
