//! The description of a task's container for an engine.

use std::collections::HashMap;
use std::path::Path;
use std::sync::atomic::Ordering;

use bollard::Docker;
use bollard::models::{
    ContainerCreateBody, DeviceMapping, DeviceRequest, HostConfig, HostConfigCgroupnsModeEnum, HostConfigLogConfig,
    ResourcesUlimits,
};
use bollard::query_parameters::CreateContainerOptions;
use nix::sys::resource::{Resource, getrlimit};

use super::run::Place;
use super::{Engine, Root, state};
use crate::container::{ContainerError, Image, MAX_OPEN_FILES, OUTER_ID, Share, config, most_processes};
use crate::task::TaskInput;

/// Processes that a user may have over all containers; each container has its own bound besides.
const MAX_USER_PROCESSES: u64 = 32_768;

impl Engine {
    /// Makes a task's container, which does not run yet; returns its id.
    pub(super) async fn create(
        &self,
        docker: &Docker,
        place: &Place<'_>,
        image: &Image,
        task: &TaskInput<'_>,
        share: &Share,
    ) -> Result<String, ContainerError> {
        let mut body = self.describe(place, image, task, share)?;
        let options = || Some(CreateContainerOptions::default());
        if self.asks_for_namespace() {
            let mut with = body.clone();
            with.user = Some("0:0".to_owned());
            with.host_config.get_or_insert_default().userns_mode = Some("auto".to_owned());
            match docker.create_container(options(), with).await {
                Ok(made) => return Ok(made.id),
                Err(error) => {
                    body.user = Some(self.user());
                    let made =
                        docker.create_container(options(), body).await.map_err(self.fault("make a container"))?;
                    // Only now is it known that the namespace was what it lacked.
                    if !self.lacks_namespace.swap(true, Ordering::Relaxed) {
                        tracing::warn!(%error, "the engine has no user namespace for containers (see docs/containers.md)");
                    }
                    return Ok(made.id);
                }
            }
        }
        docker.create_container(options(), body).await.map(|made| made.id).map_err(self.fault("make a container"))
    }

    /// Returns the user of programs where no user namespace of their own is had: one to whom nothing belongs on the host, if
    /// we may look at what that user leaves, or else ourselves.
    fn user(&self) -> String {
        if self.root != Root::Host {
            "0:0".to_owned()
        } else if state::is_root() {
            format!("{OUTER_ID}:{OUTER_ID}")
        } else {
            format!("{}:{}", nix::unistd::getuid(), nix::unistd::getgid())
        }
    }

    fn describe(
        &self,
        place: &Place<'_>,
        image: &Image,
        task: &TaskInput<'_>,
        share: &Share,
    ) -> Result<ContainerCreateBody, ContainerError> {
        let mut host_config = self.host_config(place, task, share);
        let mut env = config::environment(image, task, share, 0);
        self.add_devices(&mut host_config, &mut env, share)?;
        let command: Vec<String> = image.command.iter().chain(task.args).cloned().collect();
        let has_input = !task.stdin.is_empty();
        let (entry, args) = command.split_at(1.min(command.len()));
        Ok(ContainerCreateBody {
            image: Some(place.loaded.reference.clone()),
            entrypoint: Some(entry.to_vec()),
            cmd: Some(args.to_vec()),
            env: Some(env),
            working_dir: Some(image.folder.clone()),
            hostname: Some("bmm".to_owned()),
            user: Some(self.user()),
            labels: Some(super::labels(&image.session)),
            attach_stdin: Some(has_input),
            attach_stdout: Some(true),
            attach_stderr: Some(true),
            open_stdin: Some(has_input),
            stdin_once: Some(has_input),
            tty: Some(false),
            network_disabled: Some(true),
            host_config: Some(host_config),
            ..ContainerCreateBody::default()
        })
    }

    fn host_config(&self, place: &Place<'_>, task: &TaskInput<'_>, share: &Share) -> HostConfig {
        let number = |value: u64| i64::try_from(value).unwrap_or(i64::MAX);
        let memory = number(task.limits.memory_bytes);
        let bind = |from: &Path, to: &str, mode: &str| format!("{}:{to}:{mode}", from.display());
        // Docker knows no more of these.
        let more = if self.is_podman { ",nosuid,nodev,noexec" } else { "" };
        let mut security = vec!["no-new-privileges".to_owned()];
        security.extend(place.seccomp.as_ref().map(|path| format!("seccomp={}", path.display())));
        HostConfig {
            network_mode: Some("none".to_owned()),
            ipc_mode: Some("private".to_owned()),
            cgroupns_mode: Some(HostConfigCgroupnsModeEnum::PRIVATE),
            readonly_rootfs: Some(true),
            cap_drop: Some(vec!["ALL".to_owned()]),
            security_opt: Some(security),
            privileged: Some(false),
            memory: Some(memory),
            memory_swap: Some(memory),
            nano_cpus: Some(i64::from(share.cores.max(1)) * 1_000_000_000),
            pids_limit: Some(number(most_processes(task.limits.memory_bytes))),
            ulimits: Some(vec![
                ulimit("nofile", MAX_OPEN_FILES, Resource::RLIMIT_NOFILE),
                ulimit("nproc", MAX_USER_PROCESSES, Resource::RLIMIT_NPROC),
                ulimit("core", 0, Resource::RLIMIT_CORE),
            ]),
            binds: Some(vec![
                bind(&place.folder.join("in"), "/in", &format!("ro{more}")),
                bind(&place.outputs(), "/out", &format!("rw{more}")),
            ]),
            // Part of the task's memory, as what is in the shared memory.
            tmpfs: Some(HashMap::from([(
                "/tmp".to_owned(),
                format!("rw,nosuid,nodev,exec,mode=1777,size={}", task.limits.memory_bytes),
            )])),
            shm_size: Some(memory),
            // What a program writes is read as it comes, and kept nowhere else.
            log_config: Some(HostConfigLogConfig { typ: Some("none".to_owned()), config: None }),
            cgroup_parent: place.group.as_ref().map(|group| format!("/{group}")),
            ..HostConfig::default()
        }
    }

    /// Adds the devices of the task's share: by name where the engine knows the specifications too, else what they say.
    fn add_devices(&self, config: &mut HostConfig, env: &mut Vec<String>, share: &Share) -> Result<(), ContainerError> {
        if share.devices.is_empty() {
            return Ok(());
        }
        if self.knows_cdi {
            config.device_requests = Some(vec![DeviceRequest {
                driver: Some("cdi".to_owned()),
                device_ids: Some(share.devices.names().to_vec()),
                ..DeviceRequest::default()
            }]);
            return Ok(());
        }
        let edits = share.devices.plain_edits()?;
        let text = |path: &Path| path.to_string_lossy().into_owned();
        let device = |(host, inside, access): (&Path, &Path, &str)| DeviceMapping {
            path_on_host: Some(text(host)),
            path_in_container: Some(text(inside)),
            cgroup_permissions: Some(access.to_owned()),
        };
        config.devices = Some(edits.devices.into_iter().map(device).collect());
        let binds =
            edits.mounts.into_iter().map(|(host, inside)| format!("{}:{}:ro", host.display(), inside.display()));
        config.binds.get_or_insert_default().extend(binds);
        env.extend(edits.env.into_iter().cloned());
        Ok(())
    }
}

/// Returns a limit that is no higher than our own: an engine that is no more than we are cannot set a higher one.
fn ulimit(name: &str, value: u64, own: Resource) -> ResourcesUlimits {
    let own = getrlimit(own).map_or(value, |(_, hard)| hard);
    let value = i64::try_from(value.min(own)).unwrap_or(i64::MAX);
    ResourcesUlimits { name: Some(name.to_owned()), soft: Some(value), hard: Some(value) }
}
