//! The file of a service: TOML, read strictly.

use crate::form::{FormError, wrong};
use crate::job::{layout::read_image, units};
use bmm_types::{
    Amount,
    market::{Content, Probe, ServicePort, ServiceSpec, ServiceVolume, Wire},
};
use serde::Deserialize;
use std::{collections::BTreeMap, path::Path};

/// A service as it was written.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ServiceFile {
    /// The image: `oci:` and a path.
    pub app: String,
    /// Name for people; that of the image if there is none.
    #[serde(default)]
    pub name: String,
    /// Arguments after those of the image.
    #[serde(default)]
    pub args: Vec<String>,
    /// Environment beside that of the image.
    #[serde(default)]
    pub env: BTreeMap<String, String>,
    /// What makes it a service.
    pub service: Section,
}

/// The section `[service]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Section {
    #[serde(default)]
    ports: BTreeMap<String, u16>,
    health: Health,
    volume: Option<Volume>,
    #[serde(default = "memory")]
    memory: String,
    #[serde(default = "minute")]
    interval: String,
    price: String,
    #[serde(default = "hour")]
    duration: String,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Health {
    tcp: Option<u16>,
    command: Option<Vec<String>>,
    #[serde(default = "ten_seconds")]
    every: String,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Volume {
    path: String,
    size: String,
}

fn memory() -> String {
    "256 MiB".to_owned()
}

fn minute() -> String {
    "1 min".to_owned()
}

fn hour() -> String {
    "1 h".to_owned()
}

fn ten_seconds() -> String {
    "10 s".to_owned()
}

impl ServiceFile {
    /// Reads a file's text.
    pub fn parse(text: &str) -> Result<Self, FormError> {
        Ok(toml::from_str(text)?)
    }

    /// Reads the image, from `base` where its path is relative; returns the description and the image's bytes.
    pub fn build(&self, base: &Path) -> Result<(ServiceSpec, Vec<u8>), FormError> {
        let path = self.app.strip_prefix("oci:").ok_or_else(|| {
            wrong("app", &self.app, "a container image such as \"oci:./image.tar\": only those can be services")
        })?;
        let path = base.join(path);
        // Whatever else is wrong is told before a large file is read.
        let mut spec = self.describe(&path)?;
        let image = read_image(&path).map_err(|reason| FormError::Image { path, reason })?;
        let image = image.ok_or_else(|| {
            wrong(
                "app",
                &self.app,
                "the archive (tar) of an image, as `podman save` writes it, or the folder of an OCI layout",
            )
        })?;
        spec.image = Content::of(&image);
        Ok((spec, image))
    }

    fn describe(&self, image: &Path) -> Result<ServiceSpec, FormError> {
        let section = &self.service;
        let time = |key, text: &str| units::millis(text).ok_or_else(|| wrong(key, text, "a time such as \"10 s\""));
        let size = |key, text: &str| units::size(text).ok_or_else(|| wrong(key, text, "a size such as \"256 MiB\""));
        let probe = match (section.health.tcp, &section.health.command) {
            (Some(port), None) => Probe::Tcp(port),
            (None, Some(command)) => Probe::Command(command.clone()),
            _ => return Err(wrong("service.health", "", "either tcp = PORT or command = [\"…\"]")),
        };
        let volume = match &section.volume {
            Some(volume) => Some(ServiceVolume {
                path: volume.path.clone(),
                size_bytes: size("service.volume.size", &volume.size)?,
            }),
            None => None,
        };
        let interval_millis = time("service.interval", &section.interval)?;
        let duration = time("service.duration", &section.duration)?;
        let price: Option<Amount> = section.price.parse().ok();
        let price = price.ok_or_else(|| wrong("service.price", &section.price, "an amount such as \"0.01 BMM\""))?;
        let stem = image.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let spec = ServiceSpec {
            name: if self.name.is_empty() { stem } else { self.name.clone() },
            image: Content::default(),
            args: self.args.clone(),
            env: self.env.clone().into_iter().collect(),
            memory_bytes: size("service.memory", &section.memory)?,
            ports: section.ports.iter().map(|(name, port)| ServicePort { name: name.clone(), port: *port }).collect(),
            probe,
            probe_millis: time("service.health.every", &section.health.every)?,
            volume,
            interval_millis,
            price,
            intervals: duration.checked_div(interval_millis).unwrap_or(0),
        };
        spec.check()?;
        Ok(spec)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WHOLE: &str = r#"
app = "oci:./node.tar"
args = ["-regtest"]
[service]
ports = { rpc = 19443 }
health = { tcp = 19443, every = "2 s" }
volume = { path = "/data", size = "64 MiB" }
interval = "1 min"
price = "0.01 BMM"
duration = "2 h"
"#;

    #[test]
    fn a_service_is_read() {
        let folder = tempfile::tempdir().expect("a folder");
        let mut image = vec![0; 512];
        image[257..262].copy_from_slice(b"ustar");
        std::fs::write(folder.path().join("node.tar"), &image).expect("written");
        let (spec, bytes) = ServiceFile::parse(WHOLE).expect("it is sound").build(folder.path()).expect("built");
        assert_eq!((spec.name.as_str(), spec.intervals, &bytes), ("node", 120, &image));
        assert_eq!(spec.image, Content::of(&image));
        assert_eq!(ServiceSpec::decode(&spec.encode()).as_ref(), Ok(&spec));
        std::fs::write(folder.path().join("node.tar"), b"something else").expect("written");
        let error = ServiceFile::parse(WHOLE).and_then(|file| file.build(folder.path())).expect_err("no archive");
        assert!(error.to_string().contains("the archive (tar) of an image"), "{error}");
    }

    #[test]
    fn what_is_wrong_is_told() {
        for (from, to, told) in [
            ("oci:./node.tar", "node.wasm", "only those can be services"),
            ("\"1 min\"", "\"1 minute\"", "service.interval"),
            ("tcp = 19443,", "", "either tcp"),
            ("\"/data\"", "\"/../etc\"", "volume"),
            ("\"2 h\"", "\"1 s\"", "intervals"),
            ("ports", "port", "unknown field `port`"),
            ("64 MiB", "64 GiB", "960 MiB"),
        ] {
            let error = ServiceFile::parse(&WHOLE.replace(from, to)).and_then(|file| file.build(Path::new("/nowhere")));
            let error = error.expect_err(told).to_string();
            assert!(error.contains(told), "{error}");
        }
    }
}
