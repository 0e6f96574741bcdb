//! The files of HTTP listeners.

use crate::service::http::{Files, Setup};
use crate::shard::directory::Directory;
use anyhow::Context as _;

/// Opens the directory that `setup` names, if it does.
pub(super) fn open(setup: &Setup) -> anyhow::Result<Box<dyn Files + Send>> {
    let root = setup.root.as_deref();
    let directory = Directory::open(root, setup.transfers_max)
        .with_context(|| format!("cannot serve the directory {}", root.unwrap_or_default()))?;
    Ok(Box::new(directory))
}
