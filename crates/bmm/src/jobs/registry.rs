//! Images of registries: `skopeo` fetches them into the data folder, once for each digest. Registries, their accounts and mirrors are as
//! its configuration says. Providers never ask a registry: they get the image's bytes from the requester, by content.

use crate::{
    failure::{Failure, IoContext, Outcome},
    output,
    paths::DataDir,
};
use std::{
    fs,
    path::Path,
    process::{Command, Output},
};

/// How a job or a service names the image of a registry.
const REMOTE: &str = "oci:docker://";

/// Makes `app` the path of a layout on this machine, if it names the image of a registry; returns the image's own name then.
pub fn fetch_image(data: &DataDir, app: &mut String, json: bool) -> Outcome<Option<String>> {
    let Some(reference) = app.strip_prefix(REMOTE) else { return Ok(None) };
    let (repository, name) = split(reference).ok_or_else(|| {
        Failure::user(format!("app is {app:?}, which names no image of a registry"))
            .hint("write it as \"oci:docker://registry.example.org/team/image:tag\"")
    })?;
    let asked = skopeo(&["inspect", "--format", "{{.Digest}}", &format!("docker://{reference}")], reference)?;
    let digest = String::from_utf8_lossy(&asked.stdout).trim().to_owned();
    let hex =
        digest.strip_prefix("sha256:").filter(|hex| hex.len() == 64 && hex.bytes().all(|b| b.is_ascii_hexdigit()));
    let hex = hex.ok_or_else(|| {
        Failure::user(format!("the registry names {reference} by {digest:?}, which is no SHA-256"))
            .hint("see `skopeo inspect docker://…`")
    })?;
    let folder = data.images().join(hex);
    if !folder.join("index.json").exists() {
        output::note(json, format!("fetching {reference}"));
        data.create(&data.images())?;
        let fresh = tempfile::tempdir_in(data.images()).doing("make a folder in", &data.images())?;
        let layout = fresh.path().join("layout");
        let to = format!("oci:{}:latest", layout.display());
        // By the digest: the tag may have moved since.
        skopeo(&["copy", "--quiet", &format!("docker://{repository}@{digest}"), &to], reference)?;
        keep(&layout, &folder)?;
    }
    *app = format!("oci:{}", folder.display());
    Ok(Some(name))
}

/// Splits a reference into the repository, without tag and digest, and its last name; `None` for what is no reference.
fn split(reference: &str) -> Option<(String, String)> {
    let letters = |byte: u8| byte.is_ascii_alphanumeric() || b"./:@_-[]".contains(&byte);
    if reference.starts_with('-') || !reference.bytes().all(letters) {
        return None;
    }
    let (before, last) = reference.rsplit_once('/').map_or(("", reference), |(before, last)| (before, last));
    let name = last.split(['@', ':']).next().filter(|name| !name.is_empty())?;
    let repository = if before.is_empty() { name.to_owned() } else { format!("{before}/{name}") };
    Some((repository, name.to_owned()))
}

/// Puts a layout that came whole in its place; another process may have been faster.
fn keep(layout: &Path, folder: &Path) -> Outcome {
    match fs::rename(layout, folder) {
        Err(_) if folder.join("index.json").exists() => Ok(()),
        done => done.doing("move the image to", folder),
    }
}

fn skopeo(args: &[&str], reference: &str) -> Outcome<Output> {
    let ran = Command::new("skopeo").args(args).output().map_err(|error| {
        Failure::user(format!("app names the image of a registry, and skopeo cannot be started: {error}"))
            .hint("install it (Debian: apt-get install skopeo), or name an archive on this machine")
    })?;
    if ran.status.success() {
        return Ok(ran);
    }
    let said = String::from_utf8_lossy(&ran.stderr);
    // Its last line, without time and level.
    let last = said.lines().rfind(|line| !line.trim().is_empty()).unwrap_or("it said nothing");
    let last = last.split_once("msg=").map_or(last, |(_, words)| words).trim_matches('"').replace("\\\"", "\"");
    Err(Failure::user(format!("the image {reference} cannot be fetched: {last}")).hint(
        "see containers-registries.conf(5) for mirrors and registries without TLS, and `skopeo login` for accounts",
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_are_split() {
        for (reference, repository, name) in [
            ("debian", "debian", "debian"),
            ("debian:12", "debian", "debian"),
            ("127.0.0.1:5000/a/b:v1", "127.0.0.1:5000/a/b", "b"),
            ("r.example/x@sha256:00", "r.example/x", "x"),
        ] {
            assert_eq!(split(reference), Some((repository.to_owned(), name.to_owned())));
        }
        for wrong in ["", "-x", "a b", "r.example/", "a;b", "r.example/:tag"] {
            assert_eq!(split(wrong), None, "{wrong}");
        }
    }
}
