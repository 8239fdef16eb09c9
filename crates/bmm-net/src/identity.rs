//! The node's key: made once, kept in a file that only its owner can read.

use crate::error::NetError;
use libp2p::identity::Keypair;
use std::{
    fs::{self, OpenOptions},
    io::{self, Read as _, Write as _},
    path::Path,
};

/// Longest file that is read as a key, in bytes.
const MAX_KEY_BYTES: u64 = 4_096;

/// Reads the key of `folder`, or makes one.
pub(crate) fn load_or_create(folder: &Path) -> Result<Keypair, NetError> {
    let path = folder.join("node.key");
    let failed = |error: io::Error| NetError::File { path: path.clone(), error };
    match fs::File::open(&path) {
        Ok(file) => {
            let mut bytes = Vec::new();
            file.take(MAX_KEY_BYTES).read_to_end(&mut bytes).map_err(failed)?;
            Keypair::from_protobuf_encoding(&bytes).map_err(|_| NetError::Key(path.clone()))
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let key = Keypair::generate_ed25519();
            let bytes = key.to_protobuf_encoding().map_err(|error| NetError::Setup(error.to_string()))?;
            write_private(&path, &bytes).map_err(failed)?;
            Ok(key)
        }
        Err(error) => Err(failed(error)),
    }
}

/// Writes a file that only its owner can read, so that a crash leaves the old one or the new one.
pub(crate) fn write_private(path: &Path, bytes: &[u8]) -> io::Result<()> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    let beside = path.with_extension("new");
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(&beside)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(beside, path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_made_once_and_rubbish_is_not_replaced() {
        let folder = tempfile::tempdir().expect("folder");
        let key = load_or_create(folder.path()).expect("made");
        let again = load_or_create(folder.path()).expect("read");
        assert_eq!(key.public(), again.public());
        let path = folder.path().join("node.key");
        #[cfg(unix)]
        {
            let mode = std::os::unix::fs::PermissionsExt::mode(&fs::metadata(&path).expect("there").permissions());
            assert_eq!(mode & 0o777, 0o600);
        }
        fs::write(&path, b"rubbish").expect("written");
        assert!(matches!(load_or_create(folder.path()), Err(NetError::Key(_))));
        assert_eq!(fs::read(&path).expect("there"), b"rubbish");
    }
}
