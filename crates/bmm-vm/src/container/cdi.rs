//! Devices of the host by the names that the Container Device Interface gives them, such as `nvidia.com/gpu=0`.
//!
//! Specifications are the owner's own files (`nvidia-ctk cdi generate` writes them); what they say is trusted as the owner is.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use nix::sys::stat::{major, minor};
use serde::Deserialize;
use serde_json::{Value, json};

use super::ContainerError;

/// Where specifications lie; the later folder wins.
pub const CDI_FOLDERS: [&str; 2] = ["/etc/cdi", "/var/run/cdi"];
/// Largest specification, bytes.
const MAX_SPEC_BYTES: u64 = 1 << 20;
/// Most files of a folder that are read.
const MAX_SPECS: usize = 256;

/// One file: the devices of a vendor's class.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Spec {
    /// Vendor and class, such as `nvidia.com/gpu`.
    kind: String,
    devices: Vec<Device>,
    /// What every device of the file needs.
    #[serde(default)]
    container_edits: Edits,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Device {
    name: String,
    #[serde(default)]
    container_edits: Edits,
}

/// What a container gets with a device.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Edits {
    env: Vec<String>,
    device_nodes: Vec<Node>,
    mounts: Vec<Mount>,
    hooks: Vec<Hook>,
}

/// A device node; what it does not say is taken from the host's node.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Node {
    path: PathBuf,
    host_path: Option<PathBuf>,
    permissions: Option<String>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Mount {
    host_path: PathBuf,
    container_path: PathBuf,
    #[serde(default)]
    options: Vec<String>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Hook {
    #[serde(rename = "hookName")]
    name: String,
    path: PathBuf,
    #[serde(default)]
    args: Vec<String>,
    #[serde(default)]
    env: Vec<String>,
}

/// Devices that were found: what a container's description gets so that its program has them.
#[derive(Clone, Debug, Default)]
pub struct Devices {
    names: Vec<String>,
    edits: Vec<Edits>,
    fuel_per_second: u64,
}

/// What devices take, for engines that do not read specifications themselves.
pub(super) struct PlainEdits<'a> {
    /// Nodes: on the host, inside, and the access.
    pub devices: Vec<(&'a Path, &'a Path, &'a str)>,
    /// Files and folders to read: on the host and inside.
    pub mounts: Vec<(&'a Path, &'a Path)>,
    pub env: Vec<&'a String>,
}

impl Devices {
    /// Finds devices by name in the specifications of `folders`.
    ///
    /// # Errors
    /// A name that no specification has, with the places that were looked at and the names that there are; or a device whose node is not there.
    pub fn find(names: &[String], folders: &[&Path]) -> Result<Self, ContainerError> {
        if names.is_empty() {
            return Ok(Self::default());
        }
        let specs = read_specs(folders)?;
        let mut found = Self::default();
        for name in names {
            let spec = specs.iter().rev().find_map(|spec| Some((spec, spec.device(name)?)));
            let (spec, device) = spec.ok_or_else(|| unknown(name, &specs, folders))?;
            for edits in [&spec.container_edits, &device.container_edits] {
                edits.device_nodes.iter().try_for_each(|node| node.describe().map(drop))?;
                found.edits.push(edits.clone());
            }
            found.names.push(name.clone());
        }
        Ok(found)
    }

    /// Rates them: a second of one of them counts as so much fuel beside that of the cores.
    #[must_use]
    pub fn rated(self, fuel_per_second: u64) -> Self {
        Self { fuel_per_second, ..self }
    }

    /// Returns what a second of all of them counts as.
    pub(super) fn fuel_per_second(&self) -> u64 {
        u64::try_from(self.names.len()).unwrap_or(u64::MAX).saturating_mul(self.fuel_per_second)
    }

    /// Tells whether there are none.
    pub fn is_empty(&self) -> bool {
        self.edits.is_empty()
    }

    /// Returns the names that they were found by.
    pub(super) fn names(&self) -> &[String] {
        &self.names
    }

    /// Returns what they take without hooks, which no engine's API has.
    ///
    /// # Errors
    /// A device that is no more without its hook.
    pub(super) fn plain_edits(&self) -> Result<PlainEdits<'_>, ContainerError> {
        let mut plain = PlainEdits { devices: Vec::new(), mounts: Vec::new(), env: Vec::new() };
        for edits in &self.edits {
            if let Some(hook) = edits.hooks.first() {
                return Err(ContainerError::Devices(format!(
                    "the specification of {} wants to run {} ({}), which this engine does not do; use an engine that knows CDI \
                     (Docker 25 or later), or runc (without provide.engine)",
                    self.names.join(", "),
                    hook.path.display(),
                    hook.name
                )));
            }
            for node in &edits.device_nodes {
                node.describe()?;
                let host = node.host_path.as_ref().unwrap_or(&node.path);
                plain.devices.push((host, &node.path, node.permissions.as_deref().unwrap_or("rw")));
            }
            plain.mounts.extend(edits.mounts.iter().map(|mount| (&*mount.host_path, &*mount.container_path)));
            plain.env.extend(&edits.env);
        }
        Ok(plain)
    }

    /// Adds the devices to the description of a container.
    pub(super) fn add_to(&self, config: &mut Value) -> Result<(), ContainerError> {
        for edits in &self.edits {
            for node in &edits.device_nodes {
                let (device, rule) = node.describe()?;
                push(&mut config["mounts"], device);
                push(&mut config["linux"]["resources"]["devices"], rule);
            }
            for mount in &edits.mounts {
                let mut options = vec!["bind".to_owned(), "nosuid".to_owned(), "ro".to_owned()];
                options.extend(mount.options.iter().filter(|option| *option != "rw").cloned());
                push(
                    &mut config["mounts"],
                    json!({ "destination": mount.container_path, "source": mount.host_path, "type": "bind", "options": options }),
                );
            }
            edits.env.iter().for_each(|pair| push(&mut config["process"]["env"], json!(pair)));
            for hook in &edits.hooks {
                let entry = json!({ "path": hook.path, "args": hook.args, "env": hook.env });
                push(&mut config["hooks"][&hook.name], entry);
            }
        }
        Ok(())
    }
}

impl Spec {
    fn device(&self, name: &str) -> Option<&Device> {
        let own = name.strip_prefix(&self.kind)?.strip_prefix('=')?;
        self.devices.iter().find(|device| device.name == own)
    }
}

impl Node {
    /// Returns the mount of the host's node, as no node can be made in a user namespace, and the rule that lets the control group use it.
    fn describe(&self) -> Result<(Value, Value), ContainerError> {
        let host = self.host_path.as_ref().unwrap_or(&self.path);
        let found = fs::metadata(host).map_err(super::host("look at the device", host))?;
        let kind = if found.file_type().is_block_device() { "b" } else { "c" };
        if !found.file_type().is_char_device() && kind == "c" {
            let reason = "it is no device".to_owned();
            return Err(ContainerError::Host { what: "look at the device", path: host.clone(), reason });
        }
        let (major, minor) = (major(found.rdev()), minor(found.rdev()));
        let access = self.permissions.as_deref().unwrap_or("rw");
        let options = ["bind", "nosuid", "noexec"];
        let device = json!({ "destination": self.path, "source": host, "type": "bind", "options": options });
        Ok((device, json!({ "allow": true, "type": kind, "major": major, "minor": minor, "access": access })))
    }
}

fn push(list: &mut Value, entry: Value) {
    match list {
        Value::Array(list) => list.push(entry),
        _ => *list = json!([entry]),
    }
}

fn read_specs(folders: &[&Path]) -> Result<Vec<Spec>, ContainerError> {
    let mut specs = Vec::new();
    for folder in folders {
        let Ok(entries) = fs::read_dir(folder) else { continue };
        let mut files: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
        files.sort_unstable();
        for file in files.into_iter().take(MAX_SPECS) {
            let kind = file.extension().and_then(|extension| extension.to_str());
            if !matches!(kind, Some("json" | "yaml" | "yml")) {
                continue;
            }
            let fault = |reason: String| ContainerError::Devices(format!("{}: {reason}", file.display()));
            let size = fs::metadata(&file).map_err(|error| fault(error.to_string()))?.len();
            if size > MAX_SPEC_BYTES {
                return Err(fault(format!("it has {size} bytes, more than {MAX_SPEC_BYTES}")));
            }
            let text = fs::read_to_string(&file).map_err(|error| fault(error.to_string()))?;
            // JSON is YAML too.
            specs.push(serde_yaml_ng::from_str(&text).map_err(|error| fault(error.to_string()))?);
        }
    }
    Ok(specs)
}

fn unknown(name: &str, specs: &[Spec], folders: &[&Path]) -> ContainerError {
    let there: BTreeSet<String> = specs
        .iter()
        .flat_map(|spec| spec.devices.iter().map(|device| format!("{}={}", spec.kind, device.name)))
        .collect();
    let there = if there.is_empty() { "none".to_owned() } else { there.into_iter().collect::<Vec<_>>().join(", ") };
    let folders: Vec<String> = folders.iter().map(|folder| folder.display().to_string()).collect();
    ContainerError::Devices(format!(
        "no CDI specification names the device {name:?}; looked in {}, where these are named: {there}",
        folders.join(" and ")
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    const YAML: &str = "cdiVersion: 0.6.0\nkind: example.org/null\ndevices:\n- name: \"0\"\n  containerEdits:\n    \
        deviceNodes:\n    - path: /dev/harmless\n      hostPath: /dev/null\n- name: gone\n  containerEdits:\n    \
        deviceNodes:\n    - path: /dev/no-such-device\ncontainerEdits:\n  env: [\"FOUND=yes\"]\n";

    #[test]
    fn a_device_is_found_by_name_and_added() {
        let folder = tempfile::tempdir().expect("a folder");
        fs::write(folder.path().join("a.yaml"), YAML).expect("written");
        let find = |name: &str| Devices::find(&[name.to_owned()], &[Path::new("/nonexistent"), folder.path()]);
        let mut config = json!({ "process": { "env": [] }, "linux": { "resources": { "devices": [] } } });
        find("example.org/null=0").expect("it is there").add_to(&mut config).expect("the node is there");
        assert_eq!(config["process"]["env"][0], "FOUND=yes");
        let mount = &config["mounts"][0];
        assert_eq!((&mount["destination"], &mount["source"]), (&json!("/dev/harmless"), &json!("/dev/null")));
        let rules = config["linux"]["resources"]["devices"].as_array().expect("a list");
        assert_eq!(rules.len(), 1);
        assert_eq!((&rules[0]["major"], &rules[0]["minor"]), (&json!(1), &json!(3)));
        let missing = find("nvidia.com/gpu=all").expect_err("there is none").to_string();
        assert!(missing.contains("/nonexistent and ") && missing.contains("example.org/null=0"), "{missing}");
        let gone = find("example.org/null=gone").expect_err("its node is not there").to_string();
        assert!(gone.contains("/dev/no-such-device"), "{gone}");
        fs::write(folder.path().join("b.json"), "{\"kind\": 5}").expect("written");
        assert!(find("example.org/null=0").expect_err("damaged").to_string().contains("b.json"));
    }
}
